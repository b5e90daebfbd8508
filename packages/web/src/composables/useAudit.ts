import type { AuditEntry } from '@kith/protocol';
import { ref, shallowRef } from 'vue';
import { t } from '../i18n.ts';
import { attempt } from './useClient.ts';

/** The audit log of the server, for its operators: the latest first, earlier ones when asked for. */
export function useAudit() {
  const entries = shallowRef<AuditEntry[]>([]);
  const names = ref<Record<string, string>>({});
  const more = ref(false);
  const busy = ref(false);

  async function load() {
    if (busy.value) return;
    busy.value = true;
    const last = entries.value.at(-1);
    const page = await attempt('admin.audit', { ...(last && { before: last.seq }), limit: 50 });
    busy.value = false;
    if (!page) return;
    entries.value = [...entries.value, ...page.entries];
    names.value = { ...names.value, ...page.names };
    more.value = page.more;
  }
  void load();

  const nameOf = (id: string | null) => (id === null ? '' : (names.value[id] ?? t('audit.somebody')));
  return {
    entries,
    more,
    busy,
    load,
    /** Who, and whom if that is another. */
    people: ({ actorId, subjectId }: AuditEntry) => [nameOf(actorId), subjectId === actorId ? '' : nameOf(subjectId)].filter((name) => name !== '').join(' → '),
    /** What stands beside it: names of settings, ids, counts. */
    detail: ({ detail }: AuditEntry) =>
      Object.entries(detail)
        .map(([key, value]) => `${key}: ${String(value)}`)
        .join(' · '),
  };
}
