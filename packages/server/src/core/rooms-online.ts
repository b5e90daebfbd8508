import { limits } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import type { Services } from './context.ts';
import { type Topic, encodeSignal } from './core.ts';
import { readProfiles } from './entities.ts';
import type { Change } from './presence.ts';

/** Milliseconds between two signals about one room. */
const tellEveryMs = 1_000;

export const roomTopic = (conversationId: string): Topic => `online:${conversationId}`;

/** What is to be told of a room. */
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

  /** How many people are online in each of these rooms; 0 where it has no entry. */
  async counts(q: Query, conversationIds: string[]): Promise<Map<string, number>> {
    const rows = await membersOnline(q, conversationIds)
      .select((eb) => ['members.conversation_id', eb.fn.countAll<number>().as('count')])
      .groupBy('members.conversation_id')
      .execute();
    return new Map(rows.map(({ conversation_id, count }) => [conversation_id, Number(count)]));
  }

  /** Some of those online in a room. */
  async among(q: Query, conversationId: string, most: number): Promise<string[]> {
    const rows = await membersOnline(q, [conversationId]).select('members.user_id').limit(most).execute();
    return rows.map((row) => row.user_id);
  }

  /** A member of the room is there, if they are online at all. */
  enter(conversationId: string, userId: string): void {
    const { joined, out } = this.#of(conversationId);
    if (!out.delete(userId)) joined.add(userId);
  }

  /** They are no longer a member. */
  exit(conversationId: string, userId: string): void {
    const { joined, out } = this.#of(conversationId);
    if (!joined.delete(userId)) out.add(userId);
  }

  /** People came online or went offline: all rooms they are members of change. */
  async changed(changes: Change[]): Promise<void> {
    const rows = await this.#services.db.read((q) =>
      q
        .selectFrom('inbox')
        .innerJoin('conversations', 'conversations.id', 'inbox.conversation_id')
        .select(['conversations.id', 'inbox.user_id'])
        .where(
          'inbox.user_id',
          'in',
          changes.map(({ userId }) => userId),
        )
        .where('joined', '=', 1)
        .where('conversations.type', '=', 'room')
        .execute(),
    );
    const rooms = Map.groupBy(rows, (row) => row.user_id);
    for (const { userId, online } of changes) {
      for (const { id } of rooms.get(userId) ?? []) {
        const { joined, left } = this.#of(id);
        // Gone and back within the second is no news, but for the count.
        if (!(online ? left : joined).delete(userId)) (online ? joined : left).add(userId);
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
    const told = await db.read(async (q) => {
      const online = await presence.among(q, [...joined, ...out]);
      const here = [...joined].filter((userId) => online.has(userId));
      const count = (await this.counts(q, [conversationId])).get(conversationId) ?? 0;
      return { count, joined: await readProfiles(q, here.slice(0, limits.roomOnlineUsers)), left: [...left, ...[...out].filter((userId) => online.has(userId))] };
    });
    if (told.joined.length + told.left.length === 0) return;
    publish([{ kind: 'signal', topic: roomTopic(conversationId), frame: encodeSignal({ signal: 'room.online', data: { conversationId, ...told } }) }]);
  }

  close(): void {
    for (const { timer } of this.#news.values()) clearTimeout(timer);
  }
}

const membersOnline = (q: Query, conversationIds: string[]) =>
  q
    .selectFrom('members')
    .innerJoin('presence', 'presence.user_id', 'members.user_id')
    .where('members.conversation_id', 'in', ['', ...conversationIds])
    .where('members.state', '=', 'joined');
