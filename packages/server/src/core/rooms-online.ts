import { limits } from '@kith/protocol';
import type { Services } from './context.ts';
import { type Topic, encodeSignal } from './core.ts';
import { readProfiles } from './entities.ts';

/** Milliseconds between two signals about one room. */
const tellEveryMs = 1_000;

export const roomTopic = (conversationId: string): Topic => `online:${conversationId}`;

/** Who of each room is online, kept as people come and go, and told at most once a second. */
export class RoomsOnline {
  readonly #services: Pick<Services, 'db' | 'online' | 'publish'>;
  readonly #rooms = new Map<string, Set<string>>();
  readonly #changes = new Map<string, { joined: Set<string>; left: Set<string>; timer: NodeJS.Timeout }>();

  constructor(services: Pick<Services, 'db' | 'online' | 'publish'>) {
    this.#services = services;
  }

  count(conversationId: string): number {
    return this.#rooms.get(conversationId)?.size ?? 0;
  }

  among(conversationId: string): string[] {
    return [...(this.#rooms.get(conversationId) ?? [])];
  }

  /** A member of the room is there, if they are online at all. */
  enter(conversationId: string, userId: string): void {
    if (!this.#services.online.isOnline(userId)) return;
    let room = this.#rooms.get(conversationId);
    if (!room) this.#rooms.set(conversationId, (room = new Set()));
    if (room.has(userId)) return;
    room.add(userId);
    this.#tell(conversationId, userId, 'joined', 'left');
  }

  exit(conversationId: string, userId: string): void {
    const room = this.#rooms.get(conversationId);
    if (!room?.delete(userId)) return;
    if (room.size === 0) this.#rooms.delete(conversationId);
    this.#tell(conversationId, userId, 'left', 'joined');
  }

  /** Somebody came online or went offline: all rooms they are a member of change. */
  async changed(userId: string, online: boolean): Promise<void> {
    if (!online) {
      for (const [conversationId, room] of this.#rooms) if (room.has(userId)) this.exit(conversationId, userId);
      return;
    }
    const rows = await this.#services.db.read((q) =>
      q
        .selectFrom('inbox')
        .innerJoin('conversations', 'conversations.id', 'inbox.conversation_id')
        .select('conversations.id')
        .where('inbox.user_id', '=', userId)
        .where('joined', '=', 1)
        .where('conversations.type', '=', 'room')
        .execute(),
    );
    for (const { id } of rows) this.enter(id, userId);
  }

  #tell(conversationId: string, userId: string, to: 'joined' | 'left', from: 'joined' | 'left'): void {
    let change = this.#changes.get(conversationId);
    if (!change) {
      const timer = setTimeout(() => void this.#publish(conversationId), tellEveryMs);
      this.#changes.set(conversationId, (change = { joined: new Set(), left: new Set(), timer }));
    }
    // Gone and back within the second is no news, but for the count.
    if (!change[from].delete(userId)) change[to].add(userId);
  }

  async #publish(conversationId: string): Promise<void> {
    const change = this.#changes.get(conversationId);
    this.#changes.delete(conversationId);
    if (!change || change.joined.size + change.left.size === 0) return;
    const joined = await this.#services.db.read((q) => readProfiles(q, [...change.joined].slice(0, limits.roomOnlineUsers)));
    const data = { conversationId, count: this.count(conversationId), joined, left: [...change.left] };
    this.#services.publish([{ kind: 'signal', topic: roomTopic(conversationId), frame: encodeSignal({ signal: 'room.online', data }) }]);
  }

  close(): void {
    for (const { timer } of this.#changes.values()) clearTimeout(timer);
  }
}
