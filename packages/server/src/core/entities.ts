import type { Conversation, Draft, Entity, Friend, Heard, Hidden, Inbox, Member, Message, Profile, Receipt, Security, Session, Settings, User } from '@kith/protocol';
import { limits } from '@kith/protocol';
import { type Selectable, sql } from 'kysely';
import type { Query } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { ConversationsTable, DraftsTable, HeardTable, HiddenTable, InboxTable, MessagesTable, ReceiptsTable, SessionsTable, SettingsTable, UsersTable } from '../db/schema.ts';

// Rows as the wire shows them: one pair of query and shape per kind. Pushes, snapshots and changes all come from here,
// so that they cannot differ.

export const toUser = (row: UsersTable): User => ({
  kind: 'user',
  id: row.id,
  version: row.version,
  handle: row.handle,
  name: row.name,
  avatar: row.avatar,
  bio: row.bio,
  guest: row.guest === 1,
  operator: row.operator === 1,
  accepts: row.accepts,
  createdAt: row.created_at,
});

type ProfileRow = Pick<UsersTable, 'id' | 'handle' | 'name' | 'avatar' | 'bio' | 'guest' | 'deleted_at'>;
export const profileColumns = ['users.id', 'users.handle', 'users.name', 'users.avatar', 'users.bio', 'users.guest', 'users.deleted_at'] as const;
export const toProfile = (row: ProfileRow): Profile => ({
  id: row.id,
  handle: row.handle,
  name: row.name,
  avatar: row.avatar,
  bio: row.bio,
  guest: row.guest === 1,
  ...(row.deleted_at !== null && { deleted: true }),
});

export async function readProfiles(q: Query, userIds: string[]): Promise<Profile[]> {
  if (userIds.length === 0) return [];
  const rows = await q.selectFrom('users').select(profileColumns).where('id', 'in', userIds).execute();
  return rows.map(toProfile);
}

export const toSession = (row: SessionsTable): Session => ({
  kind: 'session',
  id: row.id,
  version: row.version,
  device: row.device,
  createdAt: row.created_at,
  usedAt: row.used_at,
  endedAt: row.ended_at,
});

export const toConversation = (row: Selectable<ConversationsTable>): Conversation => ({
  kind: 'conversation',
  id: row.id,
  version: row.version,
  type: row.type,
  title: row.title,
  avatar: row.avatar,
  createdBy: row.created_by,
  createdAt: row.created_at,
  memberCount: row.member_count,
  ...(row.retention_days > 0 && { retentionDays: row.retention_days }),
});

export const toInbox = (row: InboxTable): Inbox => ({
  kind: 'inbox',
  conversationId: row.conversation_id,
  version: row.version,
  joined: row.joined === 1,
  readSeq: row.read_seq,
  mutedUntil: row.muted_until,
  pinnedAt: row.pinned_at,
  markedUnread: row.marked_unread === 1,
  request: row.request === 1,
});

export const toDraft = (row: DraftsTable): Draft => ({
  kind: 'draft',
  conversationId: row.conversation_id,
  version: row.version,
  text: row.text,
  other: row.other,
  at: row.at,
});

export const toHidden = (row: HiddenTable): Hidden => ({
  kind: 'hidden',
  messageId: row.message_id,
  conversationId: row.conversation_id,
  version: row.version,
  seq: row.seq,
});

export const toHeard = (row: HeardTable): Heard => ({
  kind: 'heard',
  conversationId: row.conversation_id,
  version: row.version,
  upTo: row.up_to,
  seqs: JSON.parse(row.seqs) as number[],
});

export const toSettings = (row: SettingsTable): Settings => ({
  kind: 'settings',
  version: row.version,
  readReceipts: row.read_receipts === 1,
  typing: row.typing === 1,
  presence: row.presence,
  groups: row.groups_from,
  findable: row.findable === 1,
  pushContent: row.push_content === 1,
  linkPreviews: row.link_previews === 1,
  quietFrom: row.quiet_from,
  quietTo: row.quiet_to,
  timeZone: row.time_zone,
});

/** How a person signs in; undefined: by a password alone, as far as anything was ever changed. */
export async function readSecurity(q: Query, userId: string, since = 0): Promise<Security | undefined> {
  const row = await q.selectFrom('security').selectAll().where('user_id', '=', userId).where('version', '>', since).executeTakeFirst();
  if (!row) return undefined;
  const passkeys = await q.selectFrom('passkeys').selectAll().where('user_id', '=', userId).orderBy('created_at').execute();
  const { left } = await q
    .selectFrom('recovery_codes')
    .select((eb) => eb.fn.countAll<number>().as('left'))
    .where('user_id', '=', userId)
    .executeTakeFirstOrThrow();
  return {
    kind: 'security',
    version: row.version,
    appSince: row.app_since,
    passkeys: passkeys.map(({ id, name, created_at: createdAt, used_at: usedAt }) => ({ id, name, createdAt, usedAt })),
    recoveryCodes: left,
    last: { what: row.last_what, at: row.last_at, sessionId: row.last_session_id },
  };
}

export const toReceipt = (row: ReceiptsTable): Receipt => ({
  kind: 'receipt',
  conversationId: row.conversation_id,
  userId: row.user_id,
  version: row.version,
  deliveredSeq: row.delivered_seq,
  readSeq: row.read_seq,
});

export const toMessage = (row: MessagesTable): Message => ({
  kind: 'message',
  id: row.id,
  conversationId: row.conversation_id,
  seq: row.seq,
  version: row.version,
  senderId: row.sender_id,
  clientId: row.client_id,
  type: row.type,
  text: row.text,
  at: row.at,
  ...(row.edited_at !== null && { editedAt: row.edited_at }),
  ...(row.deleted_at !== null && { deletedAt: row.deleted_at }),
  ...(row.deleted_by !== null && { deletedBy: row.deleted_by }),
  ...(row.event !== null && { event: JSON.parse(row.event) as Message['event'] }),
  ...(row.file !== null && { file: JSON.parse(row.file) as Message['file'] }),
  ...(row.link !== null && { link: JSON.parse(row.link) as Message['link'] }),
});

/** Members carry the name, picture and handle of the person, so that a conversation can be shown from its stream alone. */
export const memberRows = (q: Query) =>
  q.selectFrom('members').innerJoin('users', 'users.id', 'members.user_id').selectAll('members').select(['users.name', 'users.avatar', 'users.handle']);
type MemberRow = Awaited<ReturnType<ReturnType<typeof memberRows>['executeTakeFirstOrThrow']>>;
export const toMember = (row: MemberRow): Member => ({
  kind: 'member',
  conversationId: row.conversation_id,
  userId: row.user_id,
  version: row.version,
  role: row.role,
  state: row.state,
  joinedAt: row.joined_at,
  name: row.name,
  avatar: row.avatar,
  handle: row.handle,
});

/** Friends carry the name, picture and handle of the other person. */
export const friendRows = (q: Query) =>
  q.selectFrom('friends').innerJoin('users', 'users.id', 'friends.friend_id').selectAll('friends').select(['users.name', 'users.avatar as picture', 'users.handle']);
type FriendRow = Awaited<ReturnType<ReturnType<typeof friendRows>['executeTakeFirstOrThrow']>>;
export const toFriend = (row: FriendRow): Friend => ({
  kind: 'friend',
  userId: row.friend_id,
  version: row.version,
  state: row.state,
  note: row.note,
  remark: row.remark,
  blocked: row.blocked === 1,
  since: row.since,
  name: row.name,
  avatar: row.picture,
  handle: row.handle,
});

export async function readMember(q: Query, conversationId: string, userId: string): Promise<Member> {
  return toMember(await memberRows(q).where('conversation_id', '=', conversationId).where('user_id', '=', userId).executeTakeFirstOrThrow());
}

export async function readFriend(q: Query, userId: string, friendId: string): Promise<Friend> {
  return toFriend(await friendRows(q).where('user_id', '=', userId).where('friend_id', '=', friendId).executeTakeFirstOrThrow());
}

export async function readConversation(q: Query, conversationId: string): Promise<Conversation> {
  return toConversation(await q.selectFrom('conversations').selectAll().where('id', '=', conversationId).executeTakeFirstOrThrow());
}

export async function readInbox(q: Query, userId: string, conversationId: string): Promise<Inbox> {
  return toInbox(await q.selectFrom('inbox').selectAll().where('user_id', '=', userId).where('conversation_id', '=', conversationId).executeTakeFirstOrThrow());
}

const findUser = prepare((q, { id }: { id: string }) => q.selectFrom('users').selectAll().where('id', '=', id));

export async function readUser(q: Query, userId: string): Promise<User> {
  const row = await findUser.first(q, { id: userId });
  if (!row) throw new Error(`there is no user ${userId}`);
  return toUser(row);
}

/**
 * What is private to a person, changed after a version, by version.
 *
 * @param limit  Rows of each kind at most.
 */
export const readUserStream = (q: Query, userId: string, since: number, limit: number): Promise<Entity[]> =>
  readPersonal(q, userId, since, { sessions: limit, friends: limit, inbox: limit, drafts: limit, hidden: limit, heard: limit });

/** All that is private to a person now. Ended sessions, conversations left and friendships without trace are passed over. */
export const readUserSnapshot = (q: Query, userId: string): Promise<Entity[]> => readPersonal(q, userId, 0, most);

/** Rows of each kind that there can be, so that a snapshot cuts nothing off. */
const most: Record<'sessions' | 'friends' | 'inbox' | 'drafts' | 'hidden' | 'heard', number> = {
  sessions: limits.sessionsPerUser,
  friends: limits.friendsPerUser + limits.incomingRequests,
  inbox: limits.conversationsPerUser,
  drafts: limits.draftsPerUser,
  hidden: limits.hiddenMessages,
  heard: limits.conversationsPerUser,
};

async function readPersonal(q: Query, userId: string, since: number, limit: typeof most): Promise<Entity[]> {
  const fresh = since === 0;
  const own = await q.selectFrom('users').selectAll().where('id', '=', userId).where('version', '>', since).execute();
  const sessions = await q
    .selectFrom('sessions')
    .selectAll()
    .where('user_id', '=', userId)
    .where('version', '>', since)
    .$if(fresh, (query) => query.where('ended_at', 'is', null))
    .orderBy('version')
    .limit(limit.sessions)
    .execute();
  const friends = await friendRows(q)
    .where('friends.user_id', '=', userId)
    .where('friends.version', '>', since)
    .$if(fresh, (query) => query.where((eb) => eb.or([eb('state', '!=', 'none'), eb('blocked', '=', 1), eb('remark', '!=', '')])))
    .orderBy('friends.version')
    .limit(limit.friends)
    .execute();
  const inbox = await q
    .selectFrom('inbox')
    .selectAll()
    .where('user_id', '=', userId)
    .where('version', '>', since)
    .$if(fresh, (query) => query.where('joined', '=', 1))
    .orderBy('version')
    .limit(limit.inbox)
    .execute();
  const settings = await q.selectFrom('settings').selectAll().where('user_id', '=', userId).where('version', '>', since).execute();
  const drafts = await q
    .selectFrom('drafts')
    .selectAll()
    .where('user_id', '=', userId)
    .where('version', '>', since)
    .$if(fresh, (query) => query.where((eb) => eb.or([eb('text', '!=', ''), eb('other', 'is not', null)])))
    .orderBy('version')
    .limit(limit.drafts)
    .execute();
  const hidden = await q.selectFrom('hidden').selectAll().where('user_id', '=', userId).where('version', '>', since).orderBy('version').limit(limit.hidden).execute();
  const heard = await q
    .selectFrom('heard')
    .selectAll()
    .where('user_id', '=', userId)
    .where('version', '>', since)
    .$if(fresh, (query) => query.where((eb) => eb.or([eb('up_to', '>', 0), eb('seqs', '!=', '[]')])))
    .orderBy('version')
    .limit(limit.heard)
    .execute();
  const security = await readSecurity(q, userId, since);
  const personal = [...(security ? [security] : []), ...settings.map(toSettings), ...drafts.map(toDraft), ...hidden.map(toHidden), ...heard.map(toHeard)];
  return byVersion([...own.map(toUser), ...sessions.map(toSession), ...friends.map(toFriend), ...inbox.map(toInbox), ...personal]);
}

/** What changed in a conversation after a version, by version. Members of announcements are nobody's business. */
export async function readConversationStream(q: Query, conversationId: string, since: number, limit: number): Promise<Entity[]> {
  const conversation = await q.selectFrom('conversations').selectAll().where('id', '=', conversationId).executeTakeFirstOrThrow();
  const members = await conversationMembers(q, conversation, since, limit);
  const receipts = await q.selectFrom('receipts').selectAll().where('conversation_id', '=', conversationId).where('version', '>', since).orderBy('version').limit(limit).execute();
  const messages = await messagesSince(q, conversationId, since, limit);
  const changed = conversation.version > since ? [toConversation(conversation)] : [];
  return byVersion([...changed, ...members, ...receipts.map(toReceipt), ...messages.map(toMessage)]);
}

/**
 * Messages that are new or changed since a version, in the order of their versions. What is new begins at a place in the conversation, because
 * versions and seqs are taken together; what was changed since it was new is in an index of its own.
 */
async function messagesSince(q: Query, conversationId: string, since: number, limit: number): Promise<MessagesTable[]> {
  const all = q.selectFrom('messages').selectAll().where('conversation_id', '=', conversationId).limit(limit);
  const changed = await all.where('born', 'is not', null).where('version', '>', since).orderBy('version').execute();
  if (changed.length === limit) return changed;
  // All that is passed over here was changed since, too, and is less than the limit.
  const fresh = await all
    .where('seq', '>', await seqAt(q, conversationId, since))
    .where('born', 'is', null)
    .orderBy('seq')
    .execute();
  return [...changed, ...fresh].sort((a, b) => a.version - b.version).slice(0, limit);
}

/**
 * At which seq a conversation was at a version, or a later one at which no message is left: in steps half as long each time, all of them in
 * one question.
 *
 * @param version  From 1.
 */
async function seqAt(q: Query, conversationId: string, version: number): Promise<number> {
  // A message takes a version, so there are no more of them than versions.
  const longest = 2 ** Math.floor(Math.log2(version));
  const born = sql`(select coalesce(born, version) from messages where conversation_id = ${conversationId} and seq <= low + step order by seq desc limit 1)`;
  const { rows } = await sql<{ seq: number }>`with recursive search (low, step) as (
      select cast(0 as bigint), cast(${longest} as bigint)
      union all
      select case when ${born} > ${version} then low else low + step end, step / 2 from search where step > 0
    ) select max(low) as seq from search`.execute(q);
  return rows[0]!.seq;
}

/** A conversation as it is now: its members, how far they have read, and its latest messages. */
export async function readConversationSnapshot(q: Query, conversationId: string): Promise<Entity[]> {
  const conversation = await q.selectFrom('conversations').selectAll().where('id', '=', conversationId).executeTakeFirstOrThrow();
  const members = await conversationMembers(q, conversation, 0, limits.snapshotMembers);
  const receipts = await q.selectFrom('receipts').selectAll().where('conversation_id', '=', conversationId).limit(limits.snapshotMembers).execute();
  const messages = await q.selectFrom('messages').selectAll().where('conversation_id', '=', conversationId).orderBy('seq', 'desc').limit(limits.snapshotMessages).execute();
  return [toConversation(conversation), ...members, ...receipts.map(toReceipt), ...withinPage(messages).map(toMessage).reverse()];
}

async function conversationMembers(q: Query, conversation: Pick<ConversationsTable, 'id' | 'type'>, since: number, limit: number): Promise<Member[]> {
  if (conversation.type === 'announcements') return [];
  const rows = await memberRows(q).where('conversation_id', '=', conversation.id).where('members.version', '>', since).orderBy('members.version').limit(limit).execute();
  return rows.map(toMember);
}

/** The first messages whose text, with what is shown of its link, fits a page, or a part of one; at least one. */
export function withinPage(messages: MessagesTable[], pageBytes: number = limits.pageBytes): MessagesTable[] {
  let bytes = 0;
  const end = messages.findIndex((message) => (bytes += Buffer.byteLength(message.text) + Buffer.byteLength(message.link ?? '')) > pageBytes);
  return end === -1 ? messages : messages.slice(0, Math.max(1, end));
}

const byVersion = (list: Entity[]): Entity[] => list.sort((a, b) => a.version - b.version);
