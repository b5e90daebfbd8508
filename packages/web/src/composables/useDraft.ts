import { type Ref, onScopeDispose, ref, watch } from 'vue';
import { useClient } from './useClient.ts';

/** Written down once the fingers rest this long. Milliseconds. */
const restMs = 200;

/** What stands in the composer of a conversation, kept over leaving and reloading. */
export function useDraft(conversationId: Ref<string>) {
  const { drafts } = useClient();
  const text = ref('');
  let timer: ReturnType<typeof setTimeout> | undefined;
  let of = '';

  function save() {
    clearTimeout(timer);
    timer = undefined;
    if (of) drafts.set(of, text.value);
  }

  watch(
    conversationId,
    (id) => {
      if (timer) save();
      of = id;
      text.value = drafts.get(id);
    },
    { immediate: true, flush: 'sync' },
  );
  watch(text, () => {
    clearTimeout(timer);
    timer = setTimeout(save, restMs);
  });
  addEventListener('pagehide', save);
  onScopeDispose(() => {
    removeEventListener('pagehide', save);
    save();
  });
  return { text, save };
}
