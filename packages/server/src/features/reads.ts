import { type Receipt, conversationStream, limits, userStream } from '@kith/protocol';
import { type Membership, isWaiting, peerOf, readPair, requireMember } from '../core/access.ts';
import type { Handlers } from '../core/context.ts';
import { readInbox, toReceipt } from '../core/entities.ts';
import { readSettings } from '../core/privacy.ts';
import type { Commit } from '../core/streams.ts';

export const reads: Handlers<'read.mark' | 'read.unread' | 'receipt.delivered'> = {
  async 'read.mark'(context, { conversationId, seq }) {
    const { userId } = context;
    const own = userStream(userId);
    const result = await context.commit([conversationStream(conversationId), own], async (c) => {
      const membership = await requireMember(c.q, conversationId, userId);
      const readSeq = await withinConversation(c, conversationId, seq);
      const before = await readInbox(c.q, userId, conversationId);
      if (readSeq <= before.readSeq) throw c.unchanged({ inbox: before });
      await c.q
        .updateTable('inbox')
        .set({ read_seq: readSeq, marked_unread: 0, version: c.version(own), read_version: c.version(own) })
        .where('user_id', '=', userId)
        .where('conversation_id', '=', conversationId)
        .execute();
      const inbox = await readInbox(c.q, userId, conversationId);
      c.put(own, inbox);
      await setReceipt(c, membership, conversationId, userId, { delivered: readSeq, read: readSeq });
      return { inbox };
    });
    context.services.push.marked(context.identity, result.inbox);
    return result;
  },

  'read.unread': (context, { conversationId, on, base }) => {
    const { userId } = context;
    const own = userStream(userId);
    return context.commit([own], async (c) => {
      await requireMember(c.q, conversationId, userId);
      // What a device decided before it heard of the newest is decided already: a mark of yesterday must not come back tomorrow.
      const changed = await c.q
        .updateTable('inbox')
        .set({ marked_unread: on ? 1 : 0, version: c.version(own), read_version: c.version(own) })
        .where('user_id', '=', userId)
        .where('conversation_id', '=', conversationId)
        .where('marked_unread', '=', on ? 0 : 1)
        .where('read_version', '<=', base)
        .returning('conversation_id')
        .executeTakeFirst();
      const inbox = await readInbox(c.q, userId, conversationId);
      if (!changed) throw c.unchanged({ inbox });
      c.put(own, inbox);
      return { inbox };
    });
  },

  async 'receipt.delivered'(context, { conversationId, seq }) {
    await context.commit([conversationStream(conversationId)], async (c) => {
      const membership = await requireMember(c.q, conversationId, context.userId);
      const delivered = await withinConversation(c, conversationId, seq);
      if (!(await setReceipt(c, membership, conversationId, context.userId, { delivered, read: 0 }))) throw c.unchanged(undefined);
    });
    return {};
  },
};

async function withinConversation(c: Commit, conversationId: string, seq: number): Promise<number> {
  const stream = await c.q.selectFrom('streams').select('seq').where('id', '=', conversationStream(conversationId)).executeTakeFirstOrThrow();
  return Math.min(seq, stream.seq);
}

/** Not across a block, not while one has not accepted, and not for who has switched receipts off; between two, neither tells if one of them has. */
async function mayTell(c: Commit, membership: Membership, conversationId: string, userId: string): Promise<boolean> {
  if (await isWaiting(c.q, conversationId, userId)) return false;
  const peer = membership.type === 'direct' ? [peerOf(membership.directKey!, userId)] : [];
  for (const settings of (await readSettings(c.q, [userId, ...peer])).values()) if (settings.read_receipts === 0) return false;
  return peer.length === 0 || !(await readPair(c.q, userId, peer[0]!)).blocked;
}

/** Tells the others, where the conversation is small enough and nobody blocked. Both marks only ever grow. */
async function setReceipt(c: Commit, membership: Membership, conversationId: string, userId: string, to: { delivered: number; read: number }): Promise<boolean> {
  if (membership.memberCount > limits.attentionMembers || membership.type === 'announcements') return false;
  if (!(await mayTell(c, membership, conversationId, userId))) return false;
  const stream = conversationStream(conversationId);
  const before = await c.q.selectFrom('receipts').selectAll().where('conversation_id', '=', conversationId).where('user_id', '=', userId).executeTakeFirst();
  const delivered_seq = Math.max(to.delivered, before?.delivered_seq ?? 0);
  const read_seq = Math.max(to.read, before?.read_seq ?? 0);
  if (before && before.delivered_seq === delivered_seq && before.read_seq === read_seq) return false;
  const values = { delivered_seq, read_seq, version: c.version(stream) };
  await c.q
    .insertInto('receipts')
    .values({ conversation_id: conversationId, user_id: userId, ...values })
    .onConflict((conflict) => conflict.columns(['conversation_id', 'user_id']).doUpdateSet(values))
    .execute();
  const receipt: Receipt = toReceipt({ conversation_id: conversationId, user_id: userId, ...values });
  c.put(stream, receipt);
  return true;
}
