import { computed } from 'vue';
import { attempt } from './useClient.ts';
import { isMuted, useConversations } from './useConversations.ts';
import { useNow } from './useNow.ts';

/** The conversations that are muted now. */
export function useMuted() {
  const now = useNow();
  const { conversations } = useConversations();
  return {
    muted: computed(() => (void now.value, conversations.value.filter(isMuted))),
    unmute: (conversationId: string) => void attempt('conversation.mute', { conversationId, until: 0 }),
  };
}
