import { type Heard, limits, userStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import { toHeard } from './entities.ts';
import type { Commit } from './streams.ts';

// Which voice messages a person has heard: up to a seq all, above it these. One row a conversation, and no more than they
// are in; so nothing is ever taken out of a stream, which the laws do not know.

/** Version 0: nothing was heard yet. */
export async function findHeard(q: Query, userId: string, conversationId: string): Promise<Heard> {
  const row = await q.selectFrom('heard').selectAll().where('user_id', '=', userId).where('conversation_id', '=', conversationId).executeTakeFirst();
  return toHeard(row ?? { user_id: userId, conversation_id: conversationId, version: 0, up_to: 0, seqs: '[]' });
}

/** @returns undefined: it was known before, and nothing is written */
export async function addHeard(c: Commit, userId: string, conversationId: string, seq: number): Promise<Heard | undefined> {
  const own = userStream(userId);
  const before = await findHeard(c.q, userId, conversationId);
  if (seq <= before.upTo || before.seqs.includes(seq)) return undefined;
  const seqs = [...before.seqs, seq].sort((a, b) => a - b);
  // Who has heard so many later ones will not come back for one before: the oldest becomes the floor.
  const upTo = seqs.length > limits.heardSeqs ? seqs.shift()! : before.upTo;
  const row = { user_id: userId, conversation_id: conversationId, version: c.version(own), up_to: upTo, seqs: JSON.stringify(seqs) };
  await c.q
    .insertInto('heard')
    .values(row)
    .onConflict((conflict) => conflict.columns(['user_id', 'conversation_id']).doUpdateSet(row))
    .execute();
  c.put(own, toHeard(row));
  return toHeard(row);
}

/** Of a conversation that a person leaves nothing is kept. The commit has locked their stream. */
export async function forgetHeard(c: Commit, conversationId: string, userId: string): Promise<void> {
  const own = userStream(userId);
  const empty = { version: c.version(own), up_to: 0, seqs: '[]' };
  const row = await c.q
    .updateTable('heard')
    .set(empty)
    .where('user_id', '=', userId)
    .where('conversation_id', '=', conversationId)
    .where((eb) => eb.or([eb('up_to', '>', 0), eb('seqs', '!=', '[]')]))
    .returningAll()
    .executeTakeFirst();
  if (row) c.put(own, toHeard(row));
}
