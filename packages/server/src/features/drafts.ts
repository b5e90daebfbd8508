import { RequestError, limits, userStream } from '@kith/protocol';
import { sql } from 'kysely';
import { requireMember } from '../core/access.ts';
import type { Handlers } from '../core/context.ts';
import { toDraft } from '../core/entities.ts';
import type { Commit } from '../core/streams.ts';

export const drafts: Handlers<'draft.set'> = {
  async 'draft.set'(context, { conversationId, text, base }) {
    const { userId } = context;
    const own = userStream(userId);
    return context.commit([own], async (c) => {
      await requireMember(c.q, conversationId, userId);
      const before = await c.q.selectFrom('drafts').selectAll().where('user_id', '=', userId).where('conversation_id', '=', conversationId).executeTakeFirst();
      if (before?.text === text && (before.other === null || base !== before.version)) throw c.unchanged({ draft: toDraft(before) });
      if (!before && text === '') throw c.unchanged({ draft: toDraft({ user_id: userId, conversation_id: conversationId, version: 0, text: '', other: null, at: c.now }) });
      // Written over something it has not seen: what the other device had is kept beside it.
      const unseen = before !== undefined && base < before.version;
      const other = unseen ? (before.text !== '' && before.text !== text ? before.text : before.other) : null;
      const row = { user_id: userId, conversation_id: conversationId, version: c.version(own), text, other, at: c.now };
      if (text !== '') await requireFewDrafts(c, userId, conversationId, Buffer.byteLength(text) + Buffer.byteLength(other ?? ''));
      await c.q
        .insertInto('drafts')
        .values(row)
        .onConflict((conflict) => conflict.columns(['user_id', 'conversation_id']).doUpdateSet(row))
        .execute();
      c.put(own, toDraft(row));
      return { draft: toDraft(row) };
    });
  },
};

/** @param bytes  Of this draft, beside all the others. @throws too_many */
async function requireFewDrafts(c: Commit, userId: string, conversationId: string, bytes: number): Promise<void> {
  const others = await c.q
    .selectFrom('drafts')
    .select((eb) => [eb.fn.countAll<number>().as('count'), sql<number | null>`sum(octet_length(text) + coalesce(octet_length(other), 0))`.as('bytes')])
    .where('user_id', '=', userId)
    .where('conversation_id', '!=', conversationId)
    .where((eb) => eb.or([eb('text', '!=', ''), eb('other', 'is not', null)]))
    .executeTakeFirstOrThrow();
  if (Number(others.count) >= limits.draftsPerUser) throw new RequestError('too_many', { limit: 'draftsPerUser', message: `A person has at most ${limits.draftsPerUser} drafts.` });
  if (Number(others.bytes ?? 0) + bytes > limits.draftBytes)
    throw new RequestError('too_many', { limit: 'draftBytes', message: `The drafts of a person have at most ${limits.draftBytes} bytes.` });
}
