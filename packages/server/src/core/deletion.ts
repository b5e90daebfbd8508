import { RequestError, userStream } from '@kith/protocol';
import type { Selectable } from 'kysely';
import type { Query } from '../db/db.ts';
import type { DeletionsTable } from '../db/schema.ts';
import { record } from './audit.ts';
import { emptiedAtOnce, emptyMessages } from './empty-messages.ts';
import { readFriend, readUser } from './entities.ts';
import { forgetReports } from './reports.ts';
import { showChanged } from './shown.ts';
import type { Commit, Log } from './streams.ts';

// A deleted account is nobody to others at once. What it takes to bring it back is in a row of its own for 14 days, and
// then all that is the person's goes for good: their rows, and, if they want, what they wrote.

/** Messages that are looked at, at once, for those of a person. */
const lookedAtOnce = 2_000;
/** In the place of a seq: the conversation has been gone through. */
const allOfIt = -1;

/** Milliseconds in which a deletion can be undone. */
export const undoMs = 14 * 86_400_000;

/** The deleted account that had this user name, while it can be brought back. */
export const findDeletion = (q: Query, handle: string, now: number): Promise<Selectable<DeletionsTable> | undefined> =>
  q.selectFrom('deletions').selectAll().where('handle', '=', handle).where('purge_at', '>', now).executeTakeFirst();

/**
 * Keeps aside in this commit what it takes to undo the deletion: before the account is emptied and its friendships end.
 *
 * @returns until when; undefined: it has no password, so nobody could show that it is theirs
 */
export async function keepAside(c: Commit, userId: string, erase: boolean): Promise<number | undefined> {
  const { handle, name, bio, password, accepts, operator } = await c.q.selectFrom('users').selectAll().where('id', '=', userId).executeTakeFirstOrThrow();
  const friends = await c.q.selectFrom('friends').select(['friend_id as id', 'since']).where('user_id', '=', userId).where('state', '=', 'friends').execute();
  const until = password === null ? undefined : c.now + undoMs;
  const row = {
    user_id: userId,
    at: c.now,
    purge_at: until ?? c.now,
    erase: erase ? 1 : 0,
    handle,
    name,
    bio,
    password,
    accepts,
    operator,
    friends: JSON.stringify(friends),
  } as const;
  await c.q.insertInto('deletions').values(row).execute();
  return until;
}

/**
 * The account is as it was, in a commit over all streams in which the person stands. Groups that were left are left: who
 * runs them may not want them back.
 *
 * @throws not_found when it is too late
 */
export async function bringBack(c: Commit, userId: string): Promise<void> {
  const own = userStream(userId);
  const kept = await c.q.deleteFrom('deletions').where('user_id', '=', userId).where('purge_at', '>', c.now).returningAll().executeTakeFirst();
  if (!kept) throw new RequestError('not_found');
  const { handle, name, bio, password, accepts, operator } = kept;
  await c.q
    .updateTable('users')
    .set({ handle, name, bio, password, accepts, operator, deleted_at: null, version: c.version(own) })
    .where('id', '=', userId)
    .execute();
  for (const { id, since } of JSON.parse(kept.friends) as { id: string; since: number }[]) await befriendAgain(c, userId, id, since);
  await showChanged(c, userId);
  c.put(own, await readUser(c.q, userId));
}

/** Nobody can have done anything about a friend who was nobody; but they may have left themselves. */
async function befriendAgain(c: Commit, userId: string, friendId: string, since: number): Promise<void> {
  const own = userStream(userId);
  const there = await c.q.selectFrom('users').select('id').where('id', '=', friendId).where('deleted_at', 'is', null).executeTakeFirst();
  if (!there) return;
  await c.q.updateTable('friends').set({ state: 'friends', since }).where('user_id', '=', friendId).where('friend_id', '=', userId).execute();
  await c.q
    .updateTable('friends')
    .set({ state: 'friends', since, version: c.version(own) })
    .where('user_id', '=', userId)
    .where('friend_id', '=', friendId)
    .execute();
  c.put(own, await readFriend(c.q, userId, friendId));
}

/**
 * Takes away for good some of what is a deleted person's, when their time is over.
 *
 * @returns more: there is more of it, or of others. gone: a person is gone now
 */
export async function purgeDeleted(log: Log): Promise<'nothing' | 'more' | 'gone'> {
  const now = log.now();
  const due = await log.db.read((q) => q.selectFrom('deletions').selectAll().where('purge_at', '<=', now).orderBy('purge_at').limit(1).executeTakeFirst());
  if (!due) return 'nothing';
  if (await emptySome(log, due)) return 'more';
  await log.db.write([userStream(due.user_id)], (q) => purgeRows(q, due.user_id, log.now()));
  return 'gone';
}

/**
 * What they wrote, if they want that; what they wrote to themselves alone in any case. All conversations that they have been in are gone through, one after the
 * other, from the first message to the last: it is noted how far.
 *
 * @returns whether there was any left
 */
async function emptySome(log: Log, { user_id: userId, erase, erased_conversation: from, erased_seq: before }: Selectable<DeletionsTable>): Promise<boolean> {
  const found = await log.db.read(async (q) => {
    const notes = q.selectFrom('conversations').select('id').where('direct_key', '=', `${userId} ${userId}`);
    const all = q.selectFrom('members').select('conversation_id as id').where('user_id', '=', userId).orderBy('conversation_id').limit(1);
    const on = before === allOfIt ? '>' : '>=';
    const at = await (erase === 1 ? all.where('conversation_id', on, from) : notes.where('id', on, from)).executeTakeFirst();
    if (!at) return undefined;
    const rows = await q
      .selectFrom('messages')
      .select(['id', 'seq', 'sender_id', 'client_id'])
      .where('conversation_id', '=', at.id)
      .where('seq', '>', at.id === from ? before : 0)
      .orderBy('seq')
      .limit(lookedAtOnce)
      .execute();
    // One that is emptied has no client id any more.
    const theirs = rows.filter(({ sender_id, client_id }) => sender_id === userId && client_id !== null).slice(0, emptiedAtOnce);
    return { ...at, ids: theirs.map(({ id }) => id), last: theirs.length === emptiedAtOnce ? theirs.at(-1)! : rows.at(-1) };
  });
  if (!found) return false;
  const { id: conversationId, ids, last } = found;
  if (ids.length > 0)
    await emptyMessages(log, conversationId, (q) => q.selectFrom('messages').selectAll().where('id', 'in', ids).where('client_id', 'is not', null).execute(), userId);
  const reached = { erased_conversation: conversationId, erased_seq: last?.seq ?? allOfIt };
  await log.db.write([userStream(userId)], (q) => q.updateTable('deletions').set(reached).where('user_id', '=', userId).execute());
  return true;
}

/** All that only the person saw. Nobody follows their stream any more, so no version tells of it. */
async function purgeRows(q: Query, userId: string, now: number): Promise<void> {
  const gone = await q.deleteFrom('deletions').where('user_id', '=', userId).where('purge_at', '<=', now).returning('erase').executeTakeFirst();
  if (!gone) return;
  for (const table of [
    'sessions',
    'security',
    'passkeys',
    'recovery_codes',
    'settings',
    'drafts',
    'hidden',
    'heard',
    'push_subscriptions',
    'push_told',
    'inbox',
    'friends',
    'exports',
  ] as const)
    await q.deleteFrom(table).where('user_id', '=', userId).execute();
  await q.deleteFrom('withdrawn').where('sender_id', '=', userId).execute();
  await forgetReports(q, userId);
  await q.updateTable('invites').set({ created_by: null }).where('created_by', '=', userId).execute();
  await q.updateTable('files').set({ state: 'dropped', expires_at: now }).where('owner_id', '=', userId).where('expires_at', 'is not', null).execute();
  // What others go on having keeps its bytes, and loses the name under which it was known to its owner's devices.
  await q.updateTable('files').set({ client_id: null }).where('owner_id', '=', userId).execute();
  await q.updateTable('users').set({ last_seen_at: null }).where('id', '=', userId).execute();
  await record(q, now, { event: 'account.purged', subject: userId, detail: { messages: gone.erase === 1 ? 'erased' : 'kept' } });
}
