import { limits } from '@kith/protocol';
import { computed } from 'vue';
import { type Tick, tickOf } from './timeline-items.ts';
import { findClient, fromReplica } from './useClient.ts';
import { useMe } from './useMe.ts';

const me = useMe();

function others(conversationId: string) {
  const client = findClient();
  const conversation = client?.store.get('conversation', conversationId);
  if (!client || !conversation || conversation.memberCount > limits.attentionMembers) return [];
  return client.store.members(conversationId).filter((member) => member.state === 'joined' && member.userId !== me.value?.id);
}

/** How far the others have received and read a conversation. Large ones tell nobody. */
export function useReceipts(conversationId: string) {
  const marks = fromReplica(['receipt', 'member'], (client) => new Map(client.store.receipts(conversationId).map((receipt) => [receipt.userId, receipt])), new Map());
  const readers = computed(() => {
    void marks.value;
    return others(conversationId);
  });
  return {
    /** Whom a message has reached, by person; nobody where the conversation is too large for receipts. */
    reached(seq: number): Record<'read' | 'delivered' | 'waiting', string[]> {
      const found: Record<'read' | 'delivered' | 'waiting', string[]> = { read: [], delivered: [], waiting: [] };
      for (const { userId } of readers.value) {
        const mark = marks.value.get(userId);
        found[(mark?.readSeq ?? 0) >= seq ? 'read' : (mark?.deliveredSeq ?? 0) >= seq ? 'delivered' : 'waiting'].push(userId);
      }
      return found;
    },
    tick: (seq: number): Tick => tickOf(seq, readers.value, marks.value),
    /** How many of the others have read it, and how many there are. */
    readBy: (seq: number) => ({ read: readers.value.filter(({ userId }) => (marks.value.get(userId)?.readSeq ?? 0) >= seq).length, of: readers.value.length }),
  };
}

/** For a row of the list: the tick of the last message, if it is one's own. */
export function rowTick(conversationId: string, seq: number): Tick {
  const marks = new Map((findClient()?.store.receipts(conversationId) ?? []).map((receipt) => [receipt.userId, receipt]));
  return tickOf(seq, others(conversationId), marks);
}
