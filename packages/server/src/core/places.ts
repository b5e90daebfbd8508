import { conversationStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import type { ConversationsTable } from '../db/schema.ts';
import { newId } from './context.ts';
import { enterInbox } from './membership.ts';
import { type Commit, type Log, commit } from './streams.ts';

/**
 * The two places every server has: the Lobby, which people enter if they like, and the announcements, in which everyone
 * is. Made at the first start.
 */
export async function makePlaces(log: Log): Promise<void> {
  // Their keys keep two nodes that start at once from making two.
  await makePlace(log, 'room', 'Lobby', 'place lobby');
  await makePlace(log, 'announcements', 'Announcements', 'place announcements');
}

async function makePlace(log: Log, type: ConversationsTable['type'], title: string, key: string): Promise<void> {
  const id = newId();
  const stream = conversationStream(id);
  await commit(log, [], async (c) => {
    await c.begin(stream);
    const row = { id, version: c.version(stream), type, title, avatar: '', created_by: null, created_at: c.now, member_count: 0, direct_key: key, client_id: null };
    const made = await c.q
      .insertInto('conversations')
      .values(row)
      .onConflict((conflict) => conflict.column('direct_key').doNothing())
      .returning('id')
      .executeTakeFirst();
    if (!made) throw c.unchanged(undefined);
  });
}

export async function announcementsId(q: Query): Promise<string> {
  return (await q.selectFrom('conversations').select('id').where('type', '=', 'announcements').executeTakeFirstOrThrow()).id;
}

/**
 * Everyone is a member of the announcements without being listed: neither the conversation's stream nor its other
 * members hear of it, so that ten thousand people can register without ten thousand pushes to each.
 */
export async function enterAnnouncements(c: Commit, conversationId: string, userId: string): Promise<void> {
  await c.q.insertInto('members').values({ conversation_id: conversationId, user_id: userId, version: 0, role: 'member', state: 'joined', joined_at: c.now }).execute();
  await enterInbox(c, conversationId, userId, false);
}
