import type { Pending } from '@kith/client';
import { type Ref, onScopeDispose, ref, watch } from 'vue';

/** Who has waited so long for a message to leave may want to try again, or to take it back. Milliseconds. */
const slowMs = 10_000;

/** Has it waited that long? Of files their own progress tells. */
export function useSlow(pending: () => Pending | undefined): Ref<boolean> {
  const slow = ref(false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  function look() {
    clearTimeout(timer);
    const entry = pending();
    const left = entry?.state === 'waiting' && (!entry.file || entry.file.state === 'stored') ? entry.addedAt + slowMs - Date.now() : Infinity;
    slow.value = left <= 0;
    if (left > 0 && left < Infinity) timer = setTimeout(look, left);
  }
  watch(pending, look, { immediate: true });
  onScopeDispose(() => clearTimeout(timer));
  return slow;
}
