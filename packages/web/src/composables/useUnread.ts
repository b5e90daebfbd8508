import { onScopeDispose, ref, watch } from 'vue';
import { useClient } from './useClient.ts';
import { useConnection } from './useConnection.ts';
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
  const unreadNow = () => {
    const view = find(conversationId);
    return view && view.unread > 0 && !view.marked ? { after: view.readSeq, count: view.unread } : undefined;
  };
  /** Set once at entry and kept until leaving. */
  const line = ref(unreadNow());

  // A start shows what this device knew. What came since then is as unread as the rest, until one has read on here.
  const following = watch(
    () => [find(conversationId)?.unread, find(conversationId)?.readSeq],
    () => (line.value = unreadNow()),
    { flush: 'sync' },
  );
  const { connection } = useConnection();
  watch(
    () => connection.value.at === 'ready',
    (inStep) => inStep && following(),
    { immediate: true },
  );

  let timer: ReturnType<typeof setTimeout> | undefined;
  const isLooking = () => document.visibilityState === 'visible' && document.hasFocus();
  const unreadSeq = () => {
    const seq = lastSeen();
    const read = find(conversationId)?.readSeq ?? Infinity;
    return isLooking() && seq > read ? seq : 0;
  };
  /** One comes to it, and has not looked for a second yet. What is marked as unread while one looks stays so until one comes again. */
  let coming = true;
  const isMarked = () => coming && isLooking() && (find(conversationId)?.marked ?? false);

  /** To be called whenever what is in view may have changed. */
  function look() {
    const seq = unreadSeq();
    if ((!seq && !isMarked()) || timer) return;
    timer = setTimeout(() => {
      timer = undefined;
      // What came into view meanwhile has its own second.
      const now = Math.min(unreadSeq(), seq);
      if (now) {
        following();
        client.markRead(conversationId, now);
      }
      if (isMarked()) client.markUnread(conversationId, false);
      coming = false;
      look();
    }, readAfterMs);
  }
  function come() {
    coming = true;
    look();
  }

  /** The second is one of looking, from its beginning to its end. */
  function lookAway() {
    clearTimeout(timer);
    timer = undefined;
    come();
  }

  // Taken back (all marked as read) it is unread again, under the same eyes.
  watch(() => find(conversationId)?.readSeq, look);
  look();
  addEventListener('focus', come);
  addEventListener('blur', lookAway);
  document.addEventListener('visibilitychange', lookAway);
  onScopeDispose(() => {
    clearTimeout(timer);
    removeEventListener('focus', come);
    removeEventListener('blur', lookAway);
    document.removeEventListener('visibilitychange', lookAway);
  });
  return { line, look };
}
