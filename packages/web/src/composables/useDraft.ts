import { onScopeDispose, ref, watch } from 'vue';
import { useClient } from './useClient.ts';

/** Written down once the fingers rest this long. Milliseconds. */
const restMs = 200;

/** What stood in the field when the page went: its storage takes longer than a page has then. Good for a reload. */
const leftKey = 'kith.draft';
const leftMs = 30_000;
interface Left {
  conversationId: string;
  text: string;
  at: number;
}

function takeLeft(conversationId: string): string | undefined {
  const left = JSON.parse(sessionStorage.getItem(leftKey) ?? 'null') as Left | null;
  if (left?.conversationId !== conversationId) return undefined;
  sessionStorage.removeItem(leftKey);
  return Date.now() - left.at < leftMs ? left.text : undefined;
}

/**
 * What stands in the composer of a conversation, kept over leaving and reloading, and the same on all devices of the
 * person. What two of them wrote at the same time is kept until the person has chosen.
 *
 * @param hands  Whether somebody is at the field now: `composing` when an input method has begun a word in it.
 */
export function useDraft(conversationId: string, hands: () => 'away' | 'at it' | 'composing') {
  const { drafts } = useClient();
  const text = ref(drafts.show(conversationId));
  /** What other devices wrote that does not stand in the field. */
  const others = ref<string[]>(drafts.others(conversationId, text.value));
  const declined = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function save() {
    clearTimeout(timer);
    timer = undefined;
    drafts.set(conversationId, text.value);
  }

  /** Something changed, perhaps on another device. Nothing is changed under the hands of who writes. */
  function look() {
    if (timer) save();
    const now = drafts.get(conversationId);
    const at = hands();
    if (text.value === now) drafts.show(conversationId);
    else if (at !== 'composing') {
      const wasSent = now === '' && drafts.other(conversationId) !== text.value;
      if (text.value === '' || wasSent || (at === 'away' && others.value.length === 0)) text.value = drafts.show(conversationId);
    }
    others.value = drafts.others(conversationId, text.value).filter((other) => !declined.has(other));
  }

  function chosen() {
    clearTimeout(timer);
    timer = undefined;
    others.value = others.value.filter((other) => other !== text.value && !declined.has(other));
    if (others.value.length > 0) return save();
    declined.clear();
    drafts.settle(conversationId, text.value);
  }

  /** By this device's clock. */
  let writtenAt = 0;
  watch(
    text,
    () => {
      writtenAt = Date.now();
      clearTimeout(timer);
      timer = setTimeout(save, restMs);
    },
    // At once: whoever looks next has to know that something was written.
    { flush: 'sync' },
  );
  text.value = takeLeft(conversationId) ?? text.value;
  onScopeDispose(drafts.onChange((id) => id === conversationId && look()));
  function leave() {
    save();
    if (Date.now() - writtenAt > leftMs) return;
    sessionStorage.setItem(leftKey, JSON.stringify({ conversationId, text: text.value, at: Date.now() } satisfies Left));
  }
  const comeBack = (event: PageTransitionEvent) => event.persisted && sessionStorage.removeItem(leftKey);
  addEventListener('pagehide', leave);
  addEventListener('pageshow', comeBack);
  onScopeDispose(() => {
    removeEventListener('pagehide', leave);
    removeEventListener('pageshow', comeBack);
    save();
  });

  return {
    text,
    others,
    /** To be called when the hands left the field. */
    rest() {
      save();
      look();
    },
    /** The person wants what another device wrote, in place of what stands here. */
    take(other: string) {
      declined.add(text.value);
      text.value = other;
      chosen();
    },
    /** The person does not want it. */
    decline(other: string) {
      declined.add(other);
      chosen();
    },
    /** What stood in the field was sent. What another device wrote and nobody has chosen against is next. */
    clear() {
      const left = others.value.join('\n\n');
      text.value = left;
      clearTimeout(timer);
      timer = undefined;
      if (left) drafts.settle(conversationId, left);
      else drafts.set(conversationId, '');
      look();
    },
  };
}
