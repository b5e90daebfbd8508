import { fileUrl } from '@kith/client';
import type { Result } from '@kith/protocol';
import { computed, onScopeDispose, ref } from 'vue';
import { attempt } from './useClient.ts';

/** Milliseconds between two looks whether it is there. */
const lookMs = 3_000;

/** A copy of one's account: asked for, on its way, there. */
export function useAccountCopy() {
  const copy = ref<Result<'export.get'>['export']>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function keep(found: typeof copy.value) {
    copy.value = found;
    clearTimeout(timer);
    if (found?.state === 'making') timer = setTimeout(() => void look(), lookMs);
  }
  async function look() {
    keep((await attempt('export.get', {}))?.export);
  }
  void look();
  onScopeDispose(() => clearTimeout(timer));

  return {
    copy,
    /** Where it is to be had. */
    href: computed(() => copy.value?.file && fileUrl(copy.value.file)),
    async start() {
      const started = await attempt('export.start', {});
      if (started) keep(started.export);
    },
  };
}
