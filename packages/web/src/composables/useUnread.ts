import { onScopeDispose, ref } from 'vue';
import { useClient } from './useClient.ts';
import { useConversations } from './useConversations.ts';

/** A message counts as read after it was in view this long, in a window that has the focus. Milliseconds. */
const readAfterMs = 1_000;

/**
 * Where the unread line stands in an open conversation, and how far it has been read.
 *
 * @param lastSeen  The highest `seq` in view now; 0 when nothing is.
 */
export function useUnread(conversationId: string, lastSeen: () => number) {
  const client = useClient();
  const { find } = useConversations();
  const entered = find(conversationId);
  /** Set once at entry and kept until leaving. */
  const line = ref(entered && entered.unread > 0 ? { after: entered.readSeq, count: entered.unread } : undefined);

  let timer: ReturnType<typeof setTimeout> | undefined;
  const isLooking = () => document.visibilityState === 'visible' && document.hasFocus();
  const unreadSeq = () => {
    const seq = lastSeen();
    const read = find(conversationId)?.readSeq ?? Infinity;
    return isLooking() && seq > read ? seq : 0;
  };

  /** To be called whenever what is in view may have changed. */
  function look() {
    const seq = unreadSeq();
    if (!seq || timer) return;
    timer = setTimeout(() => {
      timer = undefined;
      // What came into view meanwhile has its own second.
      const now = Math.min(unreadSeq(), seq);
      if (now) client.markRead(conversationId, now);
      look();
    }, readAfterMs);
  }

  /** The second is one of looking, from its beginning to its end. */
  function lookAway() {
    clearTimeout(timer);
    timer = undefined;
    look();
  }

  addEventListener('focus', look);
  addEventListener('blur', lookAway);
  document.addEventListener('visibilitychange', lookAway);
  onScopeDispose(() => {
    clearTimeout(timer);
    removeEventListener('focus', look);
    removeEventListener('blur', lookAway);
    document.removeEventListener('visibilitychange', lookAway);
  });
  return { line, look };
}
