import { type Friend, RequestError, limits, userStream } from '@kith/protocol';
import { requirePerson } from '../core/access.ts';
import type { Context, Handlers } from '../core/context.ts';
import { readFriend } from '../core/entities.ts';
import { friendsTopic, sharedTopic } from '../core/presence-topics.ts';
import type { Commit } from '../core/streams.ts';
import type { FriendsTable } from '../db/schema.ts';
import { requireFewStrangers } from '../core/quotas.ts';

type Side = Pick<FriendsTable, 'state' | 'note' | 'remark' | 'blocked' | 'since'>;

export const friends: Handlers<'friend.request' | 'friend.accept' | 'friend.refuse' | 'friend.remove' | 'friend.remark' | 'block.add' | 'block.remove'> = {
  'friend.request': (context, { userId, note = '' }) =>
    change(context, userId, async ({ c, mine, theirs, setMine, setTheirs }) => {
      if (mine.blocked) throw new RequestError('forbidden', { message: 'Unblock this person first.' });
      if (mine.state === 'friends' || mine.state === 'outgoing') return;
      await requirePerson(c.q, userId);
      if (mine.state === 'incoming') {
        await setMine({ state: 'friends', since: c.now });
        await setTheirs({ state: 'friends', since: c.now });
        return;
      }
      await requireFewStrangers(context, c.q);
      await setMine({ state: 'outgoing', note, since: c.now });
      // Asked even where it will not be told: a block must not be told apart from a full list.
      if (theirs.state !== 'incoming') await requireFewRequests(c, userId);
      // Whoever blocked the asker hears nothing of it, and the asker cannot tell.
      if (!theirs.blocked) await setTheirs({ state: 'incoming', note, since: c.now });
    }),

  'friend.accept': (context, { userId }) =>
    change(context, userId, async ({ c, mine, setMine, setTheirs }) => {
      if (mine.state === 'friends') return;
      if (mine.state !== 'incoming') throw new RequestError('not_found');
      await requirePerson(c.q, userId);
      await setMine({ state: 'friends', since: c.now });
      await setTheirs({ state: 'friends', since: c.now });
    }),

  'friend.refuse': (context, { userId }) =>
    change(context, userId, async ({ c, mine, theirs, setMine, setTheirs }) => {
      if (mine.state === 'incoming') return setMine({ state: 'none', since: c.now });
      if (mine.state !== 'outgoing') throw new RequestError('not_found');
      await setMine({ state: 'none', since: c.now });
      if (theirs.state === 'incoming') await setTheirs({ state: 'none', since: c.now });
    }),

  'friend.remove': (context, { userId }) =>
    change(context, userId, async ({ c, mine, setMine, setTheirs }) => {
      if (mine.state === 'none') return;
      if (mine.state !== 'friends') throw new RequestError('not_friends');
      silence(c, context.userId, userId);
      await setMine({ state: 'none', since: c.now });
      await setTheirs({ state: 'none', since: c.now });
    }),

  'friend.remark': (context, { userId, remark }) =>
    change(context, userId, async ({ c, mine, setMine }) => {
      if (mine.remark === remark) return;
      await requirePerson(c.q, userId);
      await setMine({ remark: remark });
    }),

  'block.add': (context, { userId }) =>
    change(context, userId, async ({ c, mine, setMine }) => {
      if (mine.blocked) return;
      await requirePerson(c.q, userId);
      await setMine({ blocked: 1, ...(mine.state === 'incoming' && { state: 'none', since: c.now }) });
      silence(c, context.userId, userId);
    }),

  'block.remove': (context, { userId }) =>
    change(context, userId, async ({ mine, setMine }) => {
      if (mine.blocked) await setMine({ blocked: 0 });
    }),
};

/** The two no longer hear of each other's presence, on any of their devices. */
function silence(c: Commit, userId: string, otherId: string): void {
  c.unfollow(userStream(userId), friendsTopic(otherId), sharedTopic(otherId));
  c.unfollow(userStream(otherId), friendsTopic(userId), sharedTopic(userId));
}

interface Pair {
  c: Commit;
  mine: Side;
  theirs: Side;
  setMine: (values: Partial<Side>) => Promise<void>;
  setTheirs: (values: Partial<Side>) => Promise<void>;
}

/** One commit over both people's streams; each side has its own row, and hears only of changes to it. */
async function change(context: Context, otherId: string, work: (pair: Pair) => Promise<void>): Promise<{ friend: Friend }> {
  const { userId } = context;
  if (otherId === userId) throw new RequestError('bad_request', { path: 'params.userId', message: 'params.userId: this is you' });
  return context.commit([userStream(userId), userStream(otherId)], async (c) => {
    const before = await readSides(c, userId, otherId);
    let changed = false;
    const set = async (ownerId: string, friendId: string, side: Side, values: Partial<Side>): Promise<void> => {
      changed = true;
      const wasKept = isKept(side);
      Object.assign(side, values);
      if (!wasKept && isKept(side)) await requireFewEnough(c, ownerId);
      const row = { ...side, version: c.version(userStream(ownerId)) };
      await c.q
        .insertInto('friends')
        .values({ user_id: ownerId, friend_id: friendId, ...row })
        .onConflict((conflict) => conflict.columns(['user_id', 'friend_id']).doUpdateSet(row))
        .execute();
      c.put(userStream(ownerId), await readFriend(c.q, ownerId, friendId));
    };
    await work({
      c,
      ...before,
      setMine: (values) => set(userId, otherId, before.mine, values),
      setTheirs: (values) => set(otherId, userId, before.theirs, values),
    });
    if (changed) return { friend: await readFriend(c.q, userId, otherId) };
    if (!before.known) throw new RequestError('not_found');
    throw c.unchanged({ friend: await readFriend(c.q, userId, otherId) });
  });
}

async function readSides(c: Commit, userId: string, otherId: string): Promise<{ mine: Side; theirs: Side; known: boolean }> {
  const rows = await c.q
    .selectFrom('friends')
    .select(['user_id', 'state', 'note', 'remark', 'blocked', 'since'])
    .where((eb) => eb.or([eb.and([eb('user_id', '=', userId), eb('friend_id', '=', otherId)]), eb.and([eb('user_id', '=', otherId), eb('friend_id', '=', userId)])]))
    .execute();
  const side = (ownerId: string): Side => {
    const { user_id: _, ...found } = rows.find((row) => row.user_id === ownerId) ?? { user_id: '', state: 'none', note: '', remark: '', blocked: 0, since: c.now };
    return found;
  };
  return { mine: side(userId), theirs: side(otherId), known: rows.some((row) => row.user_id === userId) };
}

/** Is this one of those whom the owner of the row has chosen to have there? A request of somebody else's is not. */
const isKept = ({ state, blocked, remark }: Side): boolean => state === 'friends' || state === 'outgoing' || blocked === 1 || remark !== '';

/** @throws too_many */
async function requireFewEnough(c: Commit, userId: string): Promise<void> {
  const { count } = await c.q
    .selectFrom('friends')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('user_id', '=', userId)
    .where((eb) => eb.or([eb('state', 'in', ['friends', 'outgoing']), eb('blocked', '=', 1), eb('remark', '!=', '')]))
    .executeTakeFirstOrThrow();
  if (Number(count) >= limits.friendsPerUser)
    throw new RequestError('too_many', {
      limit: 'friendsPerUser',
      message: `A person has at most ${limits.friendsPerUser} friends, requests sent, blocked people and remarks together.`,
    });
}

/** @throws too_many */
async function requireFewRequests(c: Commit, userId: string): Promise<void> {
  const { count } = await c.q
    .selectFrom('friends')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('user_id', '=', userId)
    .where('state', '=', 'incoming')
    .executeTakeFirstOrThrow();
  if (Number(count) >= limits.incomingRequests)
    throw new RequestError('too_many', { limit: 'incomingRequests', message: `At most ${limits.incomingRequests} requests wait for the answer of one person.` });
}
