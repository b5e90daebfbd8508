import type { Message } from '@kith/protocol';
import { computed } from 'vue';
import { useClient } from './useClient.ts';
import { useConversations } from './useConversations.ts';
import { useMe } from './useMe.ts';
import { usePeople } from './usePeople.ts';
import { peerOf, useTitle } from './useTitle.ts';

/** Somewhere a message can go. */
export interface Target {
  key: string;
  title: string;
  /** What else it is found by. */
  also: string[];
  seed: string;
  group: boolean;
  /** Finds the conversation, or begins it. */
  conversationId: () => Promise<string>;
}

/** Conversations where one may write, the most recent first, then friends without one. */
export function useForwardTargets() {
  const client = useClient();
  const me = useMe();
  const { conversations } = useConversations();
  const { title, seed, isNotes } = useTitle();
  const { friends, person } = usePeople();

  const targets = computed((): Target[] => {
    const known = new Set(conversations.value.map(peerOf));
    const chats = conversations.value
      .filter(({ conversation, inbox }) => !inbox.request && (conversation.type !== 'announcements' || me.value?.operator === true))
      .toSorted((a, b) => b.at - a.at)
      .map((view): Target => {
        const peer = peerOf(view);
        const who = peer && !isNotes(view) ? person(peer, view.id) : undefined;
        return {
          key: view.id,
          title: title(view),
          also: who ? [who.ownName, who.handle ?? ''] : [],
          seed: seed(view),
          group: view.conversation.type !== 'direct',
          conversationId: () => Promise.resolve(view.id),
        };
      });
    const people = friends.value
      .filter(({ userId }) => !known.has(userId))
      .map(({ userId }): Target => {
        const who = person(userId);
        return {
          key: userId,
          title: who.name,
          also: [who.ownName, who.handle ?? ''],
          seed: who.seed,
          group: false,
          conversationId: async () => (await client.call('conversation.direct', { userId })).conversation.id,
        };
      });
    return [...chats, ...people];
  });

  /** A new message in each of them; what cannot go at once waits in the outbox. */
  async function send(message: Message, to: readonly Target[]): Promise<void> {
    for (const target of to) client.forward(await target.conversationId(), message);
  }

  return { targets, send };
}
