import { type Ref, computed } from 'vue';
import { findClient } from './useClient.ts';
import { useConversations } from './useConversations.ts';
import { useTitle } from './useTitle.ts';

/** The groups that somebody and you are both in. */
export function useSharedGroups(userId: Ref<string>) {
  const { conversations } = useConversations();
  const { title } = useTitle();
  return {
    groups: computed(() =>
      conversations.value
        .filter((view) => view.conversation.type === 'group' && findClient()?.store.get('member', view.id, userId.value)?.state === 'joined')
        .map((view) => ({ id: view.id, title: title(view) })),
    ),
  };
}
