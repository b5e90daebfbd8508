import { type StreamId, conversationStream, userStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import { readFriend, readMember } from './entities.ts';
import type { Commit } from './streams.ts';

// What others see of a person stands in their streams, so that it can be shown without asking; it changes with the person.

/** The streams in which somebody's name, picture and handle stand: their own, their conversations', and those of people who know them. */
export async function streamsThatShow(q: Query, userId: string): Promise<StreamId[]> {
  const conversations = await listedIn(q, userId);
  const friends = await q.selectFrom('friends').select('user_id').where('friend_id', '=', userId).execute();
  return [userStream(userId), ...conversations.map(conversationStream), ...friends.map((row) => userStream(row.user_id))];
}

async function listedIn(q: Query, userId: string): Promise<string[]> {
  const rows = await q
    .selectFrom('members')
    .innerJoin('conversations', 'conversations.id', 'members.conversation_id')
    .select('conversations.id')
    .where('members.user_id', '=', userId)
    .where('conversations.type', '!=', 'announcements')
    .execute();
  return rows.map((row) => row.id);
}

/** Puts the person, as others see them now, into all of those streams. */
export async function showChanged(c: Commit, userId: string): Promise<void> {
  for (const id of await listedIn(c.q, userId)) {
    const stream = conversationStream(id);
    await c.q
      .updateTable('members')
      .set({ version: c.version(stream) })
      .where('conversation_id', '=', id)
      .where('user_id', '=', userId)
      .execute();
    c.put(stream, await readMember(c.q, id, userId));
  }
  const friends = await c.q.selectFrom('friends').select('user_id').where('friend_id', '=', userId).execute();
  for (const { user_id: friendId } of friends) {
    const stream = userStream(friendId);
    await c.q
      .updateTable('friends')
      .set({ version: c.version(stream) })
      .where('user_id', '=', friendId)
      .where('friend_id', '=', userId)
      .execute();
    c.put(stream, await readFriend(c.q, friendId, userId));
  }
}
