import type { Report } from '@kith/protocol';
import { ref, watch } from 'vue';
import { attempt } from './useClient.ts';
import { openReports as open } from './open-reports.ts';

/** What people told the operators of others, page by page. */
export function useReports() {
  const shown = ref<'open' | 'settled'>('open');
  const reports = ref<Report[]>([]);
  const more = ref(false);
  const loaded = ref(false);

  async function load(before?: string) {
    const asked = shown.value;
    const answer = await attempt('admin.reports', { settled: asked === 'settled', ...(before && { before }) });
    if (!answer || asked !== shown.value) return;
    reports.value = before ? [...reports.value, ...answer.reports] : answer.reports;
    ({ more: more.value, open: open.value } = answer);
    loaded.value = true;
  }
  watch(
    shown,
    () => {
      reports.value = [];
      loaded.value = more.value = false;
      void load();
    },
    { immediate: true },
  );

  return {
    shown,
    reports,
    more,
    loaded,
    loadMore: () => load(reports.value.at(-1)?.id),
    async settle({ id }: Report) {
      if (!(await attempt('admin.settle', { reportId: id }))) return;
      reports.value = reports.value.filter((report) => report.id !== id);
      open.value = Math.max(0, open.value - 1);
    },
  };
}
