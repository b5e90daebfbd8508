import { type Conversation, RequestError, type StreamId, conversationStream, limits, userStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { ConversationsTable, MembersTable } from '../db/schema.ts';
import { readPair } from './access.ts';
import { changeAvatar } from './avatars.ts';
import { letGoOfAll } from './files.ts';
import { readConversation, readInbox, readMember } from './entities.ts';
import { forgetHeard } from './heard.ts';
import { sharedTopic } from './presence-topics.ts';
import { readSettings } from './privacy.ts';
import type { Commit } from './streams.ts';

// The two ends of a membership: the member in the conversation's stream, the inbox row in the person's own.

const findJoined = prepare((q, { userId }: { userId: string }) => q.selectFrom('inbox').select('conversation_id').where('user_id', '=', userId).where('joined', '=', 1));

/** The conversations somebody is in. */
export const readJoined = async (q: Query, userId: string): Promise<string[]> => (await findJoined.all(q, { userId })).map((row) => row.conversation_id);

/**
 * Makes people members. The commit has locked the conversation's stream and theirs.
 *
 * @param people  Those who are not members now.
 * @throws too_many
 */
export async function join(c: Commit, conversation: { id: string; type: ConversationsTable['type'] }, people: Newcomer[]): Promise<void> {
  const stream = conversationStream(conversation.id);
  for (const { userId, role = 'member', request = false } of people) {
    await requireRoom(c, userId);
    const member = { version: c.version(stream), role, state: 'joined', joined_at: c.now } as const;
    await c.q
      .insertInto('members')
      .values({ conversation_id: conversation.id, user_id: userId, ...member })
      .onConflict((conflict) => conflict.columns(['conversation_id', 'user_id']).doUpdateSet(member))
      .execute();
    await enterInbox(c, conversation.id, userId, request);
    c.put(stream, await readMember(c.q, conversation.id, userId));
  }
  await countMembers(c, conversation.id, people.length);
}

/** The conversation appears in the person's list, read up to its end: nobody is greeted by a thousand unread messages. */
export async function enterInbox(c: Commit, conversationId: string, userId: string, request: boolean): Promise<void> {
  const own = userStream(userId);
  const { seq } = await c.q.selectFrom('streams').select('seq').where('id', '=', conversationStream(conversationId)).executeTakeFirstOrThrow();
  const row = {
    version: c.version(own),
    joined: 1,
    read_seq: seq,
    marked_unread: 0,
    read_version: c.version(own),
    muted_until: 0,
    pinned_at: 0,
    request: request ? 1 : 0,
  } as const;
  await c.q
    .insertInto('inbox')
    .values({ user_id: userId, conversation_id: conversationId, ...row })
    .onConflict((conflict) => conflict.columns(['user_id', 'conversation_id']).doUpdateSet(row))
    .execute();
  c.put(own, await readInbox(c.q, userId, conversationId));
  c.follow(own, conversationStream(conversationId));
}

/** Ends a membership: from this commit on the person gets nothing of the conversation. */
export async function leave(c: Commit, conversationId: string, userId: string): Promise<void> {
  const stream = conversationStream(conversationId);
  const own = userStream(userId);
  await c.q
    .updateTable('members')
    .set({ version: c.version(stream), state: 'left', role: 'member' })
    .where('conversation_id', '=', conversationId)
    .where('user_id', '=', userId)
    .execute();
  await c.q
    .updateTable('inbox')
    .set({ version: c.version(own), joined: 0, marked_unread: 0, pinned_at: 0, request: 0 })
    .where('user_id', '=', userId)
    .where('conversation_id', '=', conversationId)
    .execute();
  c.put(stream, await readMember(c.q, conversationId, userId));
  c.put(own, await readInbox(c.q, userId, conversationId));
  await forgetHeard(c, conversationId, userId);
  c.unfollow(own, conversationStream(conversationId), `online:${conversationId}`);
  // It may have been the last that the others shared with them. Which of the leaver's own watches end is asked with the unfollowing.
  c.doubt(stream, sharedTopic(userId));
  const { type, avatar, memberCount } = await countMembers(c, conversationId, -1);
  // Nobody can come back to a group without members.
  if (type !== 'group' || memberCount > 0) return;
  await letGoOfAll(c, conversationId);
  // What was said goes in slices, by and by.
  await c.q.updateTable('conversations').set({ retention_days: -1 }).where('id', '=', conversationId).execute();
  await changeAvatar(c, userId, stream, avatar, '');
}

async function countMembers(c: Commit, conversationId: string, change: number): Promise<Conversation> {
  const stream = conversationStream(conversationId);
  await c.q
    .updateTable('conversations')
    .set((eb) => ({ version: c.version(stream), member_count: eb('member_count', '+', change) }))
    .where('id', '=', conversationId)
    .execute();
  const conversation = await readConversation(c.q, conversationId);
  if (conversation.type !== 'room' && conversation.memberCount > limits.groupMembers)
    throw new RequestError('too_many', { limit: 'groupMembers', message: `A group has at most ${limits.groupMembers} members.` });
  c.put(stream, conversation);
  return conversation;
}

async function requireRoom(c: Commit, userId: string): Promise<void> {
  const { count } = await c.q
    .selectFrom('inbox')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('user_id', '=', userId)
    .where('joined', '=', 1)
    .executeTakeFirstOrThrow();
  if (Number(count) >= limits.conversationsPerUser)
    throw new RequestError('too_many', { limit: 'conversationsPerUser', message: `A person is in at most ${limits.conversationsPerUser} conversations.` });
}

/** Of these, who is a member now. */
export async function joinedAmong(c: Pick<Commit, 'q'>, conversationId: string, userIds: string[]): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await c.q
    .selectFrom('members')
    .select('user_id')
    .where('conversation_id', '=', conversationId)
    .where('state', '=', 'joined')
    .where('user_id', 'in', userIds)
    .execute();
  return new Set(rows.map((row) => row.user_id));
}

export interface Newcomer {
  userId: string;
  role?: MembersTable['role'];
  request?: boolean;
}

/**
 * Of the people somebody wants in a group, those who can be added: they exist, neither side blocked the other, and they let
 * people put them into groups who are not their friends. The others are passed over without a word, so that a block is not told. For strangers the group waits among the
 * requests.
 */
export async function findNewcomers(c: Commit, adderId: string, userIds: string[]): Promise<Newcomer[]> {
  if (userIds.length === 0) return [];
  const people = await c.q.selectFrom('users').select('id').where('id', 'in', userIds).where('deleted_at', 'is', null).where('disabled_at', 'is', null).execute();
  const settings = await readSettings(
    c.q,
    people.map((row) => row.id),
  );
  const newcomers: Newcomer[] = [];
  for (const { id } of people) {
    const pair = await readPair(c.q, adderId, id);
    if (!pair.blocked && (pair.friends || settings.get(id)!.groups_from === 'anyone')) newcomers.push({ userId: id, request: !pair.friends });
  }
  return newcomers;
}

/** The streams of these people; ids of nobody have none to lock. */
export async function streamsOf(q: Query, userIds: string[]): Promise<StreamId[]> {
  if (userIds.length === 0) return [];
  return (await q.selectFrom('users').select('id').where('id', 'in', userIds).execute()).map((row) => userStream(row.id));
}

/** A group without an owner gets one: the longest-standing admin, else the longest-standing member. */
export async function passOnOwnership(c: Commit, conversationId: string): Promise<void> {
  const stream = conversationStream(conversationId);
  const heir = await c.q
    .selectFrom('members')
    .select('user_id')
    .where('conversation_id', '=', conversationId)
    .where('state', '=', 'joined')
    .orderBy((eb) => eb.case().when('role', '=', 'admin').then(0).else(1).end())
    .orderBy('joined_at')
    .orderBy('user_id')
    .limit(1)
    .executeTakeFirst();
  if (!heir) return;
  await c.q
    .updateTable('members')
    .set({ role: 'owner', version: c.version(stream) })
    .where('conversation_id', '=', conversationId)
    .where('user_id', '=', heir.user_id)
    .execute();
  c.put(stream, await readMember(c.q, conversationId, heir.user_id));
}
