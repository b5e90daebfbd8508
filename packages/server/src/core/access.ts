import { RequestError } from '@kith/protocol';
import type { Config } from '../config.ts';
import type { Query, Rights } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { ConversationsTable, FriendsTable, MembersTable, UsersTable } from '../db/schema.ts';

// Every question of who may do what. Asked inside the transaction that does it, so that a removal cannot slip between.

export interface Membership {
  type: ConversationsTable['type'];
  memberCount: number;
  directKey: string | null;
  createdBy: string | null;
  role: MembersTable['role'];
}

const findMembership = prepare((q, { conversationId, userId }: { conversationId: string; userId: string }) =>
  q
    .selectFrom('members')
    .innerJoin('conversations', 'conversations.id', 'members.conversation_id')
    .select(['conversations.type', 'conversations.member_count as memberCount', 'conversations.direct_key as directKey', 'conversations.created_by as createdBy', 'members.role'])
    .where('members.conversation_id', '=', conversationId)
    .where('members.user_id', '=', userId)
    .where('members.state', '=', 'joined'),
);

/** @throws not_a_member, the same for a conversation that does not exist */
export async function requireMember(q: Query, conversationId: string, userId: string): Promise<Membership> {
  const row = await findMembership.first(q, { conversationId, userId });
  if (!row) throw new RequestError('not_a_member');
  return row;
}

/** @throws not_a_member, forbidden */
export async function requireGroupAdmin(q: Query, conversationId: string, userId: string): Promise<Membership> {
  const membership = await requireMember(q, conversationId, userId);
  if (membership.type !== 'group' && membership.type !== 'room') throw new RequestError('forbidden');
  const role = await readRank(q, membership, userId);
  if (role === 'member') throw new RequestError('forbidden');
  return { ...membership, role };
}

/** The role by which somebody may do things: operators of the server are admins of its rooms, the Lobby too, which nobody owns. */
export async function readRank(q: Query, { type, role }: Pick<Membership, 'type' | 'role'>, userId: string): Promise<Membership['role']> {
  return type === 'room' && role === 'member' && (await isOperator(q, userId)) ? 'admin' : role;
}

/** Who was removed from a room comes back later. @throws forbidden */
export async function requireNotBarred(q: Query, roomId: string, userId: string, now: number): Promise<void> {
  const row = await q.selectFrom('members').select('barred_until').where('conversation_id', '=', roomId).where('user_id', '=', userId).executeTakeFirst();
  if (row && row.barred_until > now) throw new RequestError('forbidden', { message: 'You were removed from this room. Come back later.' });
}

/** @throws forbidden */
export async function requireOperator(q: Query, userId: string): Promise<void> {
  if (!(await isOperator(q, userId))) throw new RequestError('forbidden');
}

export async function isOperator(q: Query, userId: string): Promise<boolean> {
  const row = await q.selectFrom('users').select('operator').where('id', '=', userId).where('operator', '=', 1).executeTakeFirst();
  return row !== undefined;
}

/** Where registration is closed, codes of before do not open it, and there are no new ones. @throws forbidden */
export function requireOpenToInvited({ config }: { config: Pick<Config, 'registration'> }): void {
  if (config.registration === 'closed') throw new RequestError('forbidden', { message: 'This server makes no new accounts.' });
}

const findPerson = prepare((q, { id }: { id: string }) => q.selectFrom('users').selectAll().where('id', '=', id).where('deleted_at', 'is', null).where('disabled_at', 'is', null));

/** Can this person be written to, asked, added? Deleted and disabled accounts cannot. @throws not_found */
export async function requirePerson(q: Query, userId: string) {
  const row = await findPerson.first(q, { id: userId });
  if (!row) throw new RequestError('not_found');
  return row;
}

const findPair = prepare((q, { userId, otherId }: { userId: string; otherId: string }) =>
  q
    .selectFrom('friends')
    .select(['user_id', 'state', 'blocked'])
    .where((eb) => eb.or([eb.and([eb('user_id', '=', userId), eb('friend_id', '=', otherId)]), eb.and([eb('user_id', '=', otherId), eb('friend_id', '=', userId)])])),
);

/** How two people stand to each other. */
export async function readPair(q: Query, userId: string, otherId: string) {
  const rows = await findPair.all(q, { userId, otherId });
  const mine = rows.find((row) => row.user_id === userId);
  return {
    friends: mine?.state === 'friends',
    /** There was a friendship or a request, and somebody ended it. */
    ended: mine?.state === 'none',
    /** By either of the two. */
    blocked: rows.some((row) => row.blocked === 1),
  };
}

/** The other person of a direct conversation; yourself in your notes. */
export function peerOf(directKey: string, userId: string): string {
  const [a, b] = directKey.split(' ') as [string, string];
  return a === userId ? b : a;
}

/** The other person of a direct conversation, and how the two stand to each other. */
interface Peer {
  accepts: UsersTable['accepts'];
  state: FriendsTable['state'] | null;
  blocked: number | null;
  blockedByThem: number | null;
}

/** Somebody's peer, while there is one: accounts that are deleted or disabled are none. */
const findPeer = prepare((q, { userId, peerId }: { userId: string; peerId: string }) =>
  q
    .selectFrom('users')
    .leftJoin('friends as mine', (on) => on.onRef('mine.friend_id', '=', 'users.id').on('mine.user_id', '=', userId))
    .leftJoin('friends as theirs', (on) => on.onRef('theirs.user_id', '=', 'users.id').on('theirs.friend_id', '=', userId))
    .select(['users.accepts', 'mine.state', 'mine.blocked', 'theirs.blocked as blockedByThem'])
    .where('users.id', '=', peerId)
    .where('users.deleted_at', 'is', null)
    .where('users.disabled_at', 'is', null),
);

/** Both at once, because it is asked at every message. */
const findMembershipAndPeer = prepare((q, { conversationId, userId }: { conversationId: string; userId: string }) =>
  q
    .selectFrom('members')
    .innerJoin('conversations', 'conversations.id', 'members.conversation_id')
    .leftJoin('users as peer', (on) =>
      on
        // What the key of a direct conversation names besides this person: see `peerOf`. Of others there is no key.
        .on('peer.id', '=', (eb) => eb.fn<string>('trim', [eb.fn('replace', ['conversations.direct_key', eb.val(userId), eb.val('')])]))
        .on('peer.deleted_at', 'is', null)
        .on('peer.disabled_at', 'is', null),
    )
    .leftJoin('friends as mine', (on) => on.onRef('mine.friend_id', '=', 'peer.id').on('mine.user_id', '=', userId))
    .leftJoin('friends as theirs', (on) => on.onRef('theirs.user_id', '=', 'peer.id').on('theirs.friend_id', '=', userId))
    .select(['conversations.type', 'conversations.member_count as memberCount', 'conversations.direct_key as directKey', 'conversations.created_by as createdBy', 'members.role'])
    .select(['peer.accepts', 'mine.state', 'mine.blocked', 'theirs.blocked as blockedByThem'])
    .where('members.conversation_id', '=', conversationId)
    .where('members.user_id', '=', userId)
    .where('members.state', '=', 'joined'),
);

/**
 * May this person write in this conversation now? `requireMember` and `requireMayWrite` in one question.
 *
 * @throws not_a_member, and what `requireMayWrite` throws
 */
export async function requireWriter(q: Query, conversationId: string, userId: string): Promise<Membership> {
  const row = await findMembershipAndPeer.first(q, { conversationId, userId });
  if (row?.type === 'announcements') await requireOperator(q, userId);
  return requireWriterBy(row, userId);
}

type Writer = NonNullable<Awaited<ReturnType<typeof findMembershipAndPeer.first>>>;

function requireWriterBy(row: Writer | undefined, userId: string): Membership {
  if (!row) throw new RequestError('not_a_member');
  const { accepts, ...rest } = row;
  if (row.type === 'direct') requireWelcome(row, userId, accepts === null ? undefined : { ...rest, accepts });
  return row;
}

/** The same for a work that is said in values. In announcements it takes a look at the person too: there it is never said so. */
export const writerRights = (conversationId: string, userId: string): Rights => ({
  asks: `${conversationId} ${userId}`,
  rights: (q) => findMembershipAndPeer.statement(q, { conversationId, userId }),
  allows(rows) {
    try {
      return requireWriterBy((rows as Writer[])[0], userId).type !== 'announcements';
    } catch (error) {
      if (error instanceof RequestError) return false;
      throw error;
    }
  },
});

/**
 * May this person write in this conversation, of which they are a member, now?
 *
 * @throws not_found when one of the two blocked the other or the other is gone: the same answer, so that a block is not told
 * @throws not_friends, forbidden
 */
export async function requireMayWrite(q: Query, membership: Membership, userId: string): Promise<void> {
  if (membership.type === 'announcements') return requireOperator(q, userId);
  if (membership.type !== 'direct') return;
  requireWelcome(membership, userId, await findPeer.first(q, { userId, peerId: peerOf(membership.directKey!, userId) }));
}

/** @throws not_found, not_friends */
function requireWelcome({ directKey, createdBy }: Membership, userId: string, peer: Peer | undefined): void {
  const peerId = peerOf(directKey!, userId);
  if (peerId === userId) return;
  if (!peer || peer.blocked === 1 || peer.blockedByThem === 1) throw new RequestError('not_found');
  // Who opened the conversation wanted an answer, whatever their own setting says; until one of the two ended it.
  const asked = createdBy === peerId && peer.state !== 'none';
  if (peer.state !== 'friends' && peer.accepts !== 'anyone' && !asked) throw new RequestError('not_friends');
}

/** Is it a stranger's conversation that this person has not accepted yet? Until then they tell nothing of themselves there. */
export async function isWaiting(q: Query, conversationId: string, userId: string): Promise<boolean> {
  const row = await q.selectFrom('inbox').select('request').where('user_id', '=', userId).where('conversation_id', '=', conversationId).executeTakeFirst();
  return row?.request === 1;
}

/** Those with whom this person has a block, whoever of the two made it. */
export async function readBlocks(q: Query, userId: string): Promise<string[]> {
  const rows = await q
    .selectFrom('friends')
    .select(['user_id', 'friend_id'])
    .where('blocked', '=', 1)
    .where((eb) => eb.or([eb('user_id', '=', userId), eb('friend_id', '=', userId)]))
    .execute();
  return [...new Set(rows.map((row) => (row.user_id === userId ? row.friend_id : row.user_id)))];
}

/**
 * Which of these may this person see at all: friends, and members of conversations they are in too; without blocks.
 *
 * @param requests  Also those with a friend request between them, in either direction.
 * @param accepted  Only by conversations that they have accepted: who puts somebody into a group learns nothing by that.
 */
export async function visiblePeople(q: Query, userId: string, candidates: string[], { requests = false, accepted = false } = {}): Promise<Set<string>> {
  if (candidates.length === 0) return new Set();
  const shared = await q
    .selectFrom('members as theirs')
    .innerJoin('members as mine', 'mine.conversation_id', 'theirs.conversation_id')
    .innerJoin('conversations', 'conversations.id', 'mine.conversation_id')
    .select('theirs.user_id as id')
    .distinct()
    .where('mine.user_id', '=', userId)
    .where('mine.state', '=', 'joined')
    .where('theirs.state', '=', 'joined')
    .where('conversations.type', '!=', 'announcements')
    .where('theirs.user_id', 'in', candidates)
    .$if(accepted, (query) =>
      query.where(({ exists, selectFrom }) =>
        exists(
          selectFrom('inbox')
            .select('inbox.user_id')
            .whereRef('inbox.user_id', '=', 'theirs.user_id')
            .whereRef('inbox.conversation_id', '=', 'theirs.conversation_id')
            .where('inbox.request', '=', 0),
        ),
      ),
    )
    .execute();
  const friends = await q
    .selectFrom('friends')
    .select('friend_id as id')
    .where('user_id', '=', userId)
    .where('state', 'in', requests ? ['friends', 'incoming', 'outgoing'] : ['friends'])
    .where('friend_id', 'in', candidates)
    .execute();
  const blocks = await q
    .selectFrom('friends')
    .select(['user_id', 'friend_id'])
    .where('blocked', '=', 1)
    .where((eb) => eb.or([eb.and([eb('user_id', '=', userId), eb('friend_id', 'in', candidates)]), eb.and([eb('friend_id', '=', userId), eb('user_id', 'in', candidates)])]))
    .execute();
  const visible = new Set([...shared, ...friends].map((row) => row.id));
  for (const block of blocks) visible.delete(block.user_id === userId ? block.friend_id : block.user_id);
  if (candidates.includes(userId)) visible.add(userId);
  return visible;
}
