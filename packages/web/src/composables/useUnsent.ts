import type { Pending } from '@kith/client';
import { fromReplica, useClient } from './useClient.ts';
import { takeBack } from './useTimeline.ts';

/** Messages of one conversation that have waited so long that they ask before they go out. */
export function useUnsent(conversationId: string) {
  const client = useClient();
  const asking = fromReplica<Pending[]>(['outbox'], ({ outbox }) => outbox.pending(conversationId).filter(({ state }) => state === 'asking'), []);
  return {
    asking,
    /** All of them, in the order in which they were written. */
    send: () => asking.value.forEach(({ clientId }) => client.outbox.retry(clientId)),
    /** @returns What they said, for going on with it, but for what was sent all the same. */
    async discard(): Promise<string> {
      const texts = await Promise.all(asking.value.map(({ clientId }) => takeBack(client, clientId)));
      return texts.filter(Boolean).join('\n');
    },
  };
}
