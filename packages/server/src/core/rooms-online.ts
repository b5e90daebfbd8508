import { type StreamId, limits, userStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import { readBlocks } from './access.ts';
import type { Services } from './context.ts';
import { type Topic, encodeSignal } from './core.ts';
import { readProfiles } from './entities.ts';
import { joinedAmong } from './membership.ts';
import type { Change } from './presence.ts';
import { shownToAll } from './privacy.ts';

/** Milliseconds between two signals about one room. */
const tellEveryMs = 1_000;

export const roomTopic = (conversationId: string): Topic => `online:${conversationId}`;

/** What is to be told of a room: the last that was heard of each one, also of who was back within the second, as somebody may have asked in between. */
interface News {
  joined: Set<string>;
  left: Set<string>;
  /** They are no longer members, which is news only of those who are online. */
  out: Set<string>;
  timer: NodeJS.Timeout;
}

/** Who of each room is online. Changes are told by the node where they happen, at most once a second. */
export class RoomsOnline {
  readonly #services: Pick<Services, 'db' | 'presence' | 'publish'>;
  readonly #news = new Map<string, News>();

  constructor(services: Pick<Services, 'db' | 'presence' | 'publish'>) {
    this.#services = services;
  }

  /** How many people are online in each of these rooms, as one of them sees it; 0 where it has no entry. */
  async counts(q: Query, conversationIds: string[], hidden: string[] = []): Promise<Map<string, number>> {
    const rows = await membersOnline(q, conversationIds, hidden)
      .select((eb) => ['members.conversation_id', eb.fn.countAll<number>().as('count')])
      .groupBy('members.conversation_id')
      .execute();
    return new Map(rows.map(({ conversation_id, count }) => [conversation_id, Number(count)]));
  }

  /** Some of those online in a room. */
  async among(q: Query, conversationId: string, hidden: string[], most: number): Promise<string[]> {
    const rows = await membersOnline(q, [conversationId], hidden).select('members.user_id').limit(most).execute();
    return rows.map((row) => row.user_id);
  }

  /** A member of the room is there, if they are online at all. */
  enter(conversationId: string, userId: string): void {
    const { joined, out } = this.#of(conversationId);
    out.delete(userId);
    joined.add(userId);
  }

  /** They are no longer a member. */
  exit(conversationId: string, userId: string): void {
    const { joined, out } = this.#of(conversationId);
    joined.delete(userId);
    out.add(userId);
  }

  /** People came online or went offline: all rooms they are members of change, but for those who are not shown there. */
  async changed(changes: Change[]): Promise<void> {
    const shown = await this.#services.db.read((q) =>
      shownToAll(
        q,
        changes.map(({ userId }) => userId),
      ),
    );
    await this.#changed(changes.filter(({ userId }) => shown.has(userId)));
  }

  /** Somebody is not shown any more: to all rooms they have left. */
  async hidden(userId: string): Promise<void> {
    await this.#changed([{ userId, online: false }]);
  }

  async #changed(changes: Change[]): Promise<void> {
    const rooms = await this.#services.db.read((q) =>
      roomsOf(
        q,
        changes.map(({ userId }) => userId),
      ),
    );
    for (const { userId, online } of changes) {
      for (const { id } of rooms.get(userId) ?? []) {
        const { joined, left } = this.#of(id);
        (online ? left : joined).delete(userId);
        (online ? joined : left).add(userId);
      }
    }
  }

  #of(conversationId: string): News {
    let news = this.#news.get(conversationId);
    if (!news) {
      const timer = setTimeout(() => void this.#publish(conversationId).catch(() => {}), tellEveryMs);
      this.#news.set(conversationId, (news = { joined: new Set(), left: new Set(), out: new Set(), timer }));
    }
    return news;
  }

  async #publish(conversationId: string): Promise<void> {
    const { joined, left, out } = this.#news.get(conversationId)!;
    this.#news.delete(conversationId);
    if (joined.size + left.size + out.size === 0) return;
    const { db, presence, publish } = this.#services;
    await presence.settled();
    const topic = roomTopic(conversationId);
    const signals = await db.read(async (q) => {
      const online = await presence.among(q, [...joined, ...out]);
      const shown = await shownToAll(q, [...online]);
      const here = await readProfiles(q, [...joined].filter((userId) => shown.has(userId)).slice(0, limits.roomOnlineUsers));
      const gone = [...left, ...[...out].filter((userId) => shown.has(userId))];
      const frame = async (hidden: string[]): Promise<string | undefined> => {
        const told = { joined: here.filter(({ id }) => !hidden.includes(id)), left: gone.filter((id) => !hidden.includes(id)) };
        if (told.joined.length + told.left.length === 0) return undefined;
        const count = (await this.counts(q, [conversationId], hidden)).get(conversationId) ?? 0;
        return encodeSignal({ signal: 'room.online', data: { conversationId, count, ...told } });
      };
      // Who has a block with one of these is told of the others alone.
      const apart = await blockedWith(q, conversationId, [...here.map(({ id }) => id), ...gone]);
      const all = await frame([]);
      const found: { topic: Topic; frame: string; notTo?: StreamId[] }[] =
        all === undefined ? [] : [{ topic, frame: all, ...(apart.length > 0 && { notTo: apart.map(userStream) }) }];
      for (const userId of apart) {
        const theirs = await frame(await readBlocks(q, userId));
        if (theirs !== undefined) found.push({ topic: userStream(userId), frame: theirs });
      }
      return found;
    });
    publish(signals.map((signal) => ({ kind: 'signal', ...signal })));
  }

  close(): void {
    for (const { timer } of this.#news.values()) clearTimeout(timer);
  }
}

/** Who is shown to everybody there. */
const membersOnline = (q: Query, conversationIds: string[], hidden: string[]) =>
  q
    .selectFrom('members')
    .innerJoin('presence', 'presence.user_id', 'members.user_id')
    .where('members.conversation_id', 'in', ['', ...conversationIds])
    .where('members.state', '=', 'joined')
    // Of each one that is there: nobody else's settings are read for it.
    .where(({ eb, fn, selectFrom, val }) =>
      eb(fn.coalesce(selectFrom('settings').select('presence').whereRef('settings.user_id', '=', 'members.user_id'), val('everyone')), '=', 'everyone'),
    )
    .$if(hidden.length > 0, (query) => query.where('members.user_id', 'not in', hidden));

/** The rooms that these people are in. */
async function roomsOf(q: Query, userIds: string[]): Promise<Map<string, { id: string }[]>> {
  const rows = await q
    .selectFrom('inbox')
    .innerJoin('conversations', 'conversations.id', 'inbox.conversation_id')
    .select(['conversations.id', 'inbox.user_id'])
    .where('inbox.user_id', 'in', ['', ...userIds])
    .where('joined', '=', 1)
    .where('conversations.type', '=', 'room')
    .execute();
  return Map.groupBy(rows, (row) => row.user_id);
}

/** Members of a room who have a block with one of these people, whoever made it. */
async function blockedWith(q: Query, conversationId: string, userIds: string[]): Promise<string[]> {
  const some = ['', ...userIds];
  const rows = await q
    .selectFrom('friends')
    .select(['user_id', 'friend_id'])
    .where('blocked', '=', 1)
    .where((eb) => eb.or([eb('user_id', 'in', some), eb('friend_id', 'in', some)]))
    .execute();
  const others = new Set(rows.flatMap((row) => [...(userIds.includes(row.user_id) ? [row.friend_id] : []), ...(userIds.includes(row.friend_id) ? [row.user_id] : [])]));
  return others.size === 0 ? [] : [...(await joinedAmong({ q }, conversationId, [...others]))];
}
