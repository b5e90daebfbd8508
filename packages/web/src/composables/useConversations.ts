import type { ConversationView } from '@kith/client';
import { computed } from 'vue';
import { fromReplica } from './useClient.ts';
import { useMe } from './useMe.ts';

const all = fromReplica<ConversationView[]>(
  ['inbox', 'conversation', 'member', 'message', 'friend', 'outbox', 'draft', 'read', 'timeline', 'user'],
  (client) => client.conversations(),
  [],
);
export const isMuted = (view: ConversationView): boolean => view.inbox.mutedUntil > Date.now();

const me = useMe();
/** Nobody to talk to yet: one's own notes are no company. */
const quiet = computed(() =>
  all.value.every(({ conversation, peer }) => conversation.type !== 'group' && (conversation.type !== 'direct' || !peer || peer.userId === me.value?.id)),
);

/** The list of conversations, pinned first, then by activity. */
export function useConversations() {
  return {
    conversations: all,
    quiet,
    /** Of everything that is not muted: what stands on the tab and in the title. */
    unreadTotal: computed(() => all.value.reduce((sum, view) => sum + (isMuted(view) ? 0 : view.unread), 0)),
    find: (id: string) => all.value.find((view) => view.id === id),
  };
}
