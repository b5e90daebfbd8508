import { type Message, RequestError, limits } from '@kith/protocol';
import { type Clock, fullJitter } from './clock.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

/** Milliseconds in which people who are missing are asked for together. */
const gatherMs = 50;

/** Who wrote what is held, where a snapshot did not carry all members: asked for once, in groups. */
export class MissingMembers {
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** By conversation. */
  readonly #wanted = new Map<string, Set<string>>();
  /** Asked for on this connection; those who are not answered are nobody's business. */
  #asked = new Set<string>();
  #call: Call | undefined;
  #timer: unknown;
  #attempt = 0;

  constructor(options: { replica: Replica; clock: Clock; random: () => number }) {
    this.#replica = options.replica;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  onMessage({ conversationId, senderId, event }: Message): void {
    const { store } = this.#replica;
    if (store.get('conversation', conversationId)?.type === 'announcements') return;
    for (const userId of [senderId, ...(event?.userIds ?? [])]) {
      if (store.get('member', conversationId, userId) || this.#asked.has(`${conversationId} ${userId}`)) continue;
      const wanted = this.#wanted.get(conversationId);
      if (wanted) wanted.add(userId);
      else this.#wanted.set(conversationId, new Set([userId]));
      this.#schedule(gatherMs);
    }
  }

  resume(call: Call): void {
    this.#call = call;
    this.#asked = new Set();
    this.#schedule(gatherMs);
  }

  pause(): void {
    this.#call = undefined;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(ms: number): void {
    if (!this.#call || this.#wanted.size === 0) return;
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      void this.#ask();
    }, ms);
  }

  async #ask(): Promise<void> {
    for (const [conversationId, wanted] of this.#wanted) {
      const call = this.#call;
      if (!call) return;
      // What a later push has brought, or a snapshot, is not missing any more.
      const missing = [...wanted].filter((userId) => !this.#replica.store.get('member', conversationId, userId));
      const userIds = missing.slice(0, limits.historyPage);
      if (userIds.length === missing.length) this.#wanted.delete(conversationId);
      else for (const userId of userIds) wanted.delete(userId);
      if (userIds.length === 0) continue;
      try {
        const { members } = await call('member.list', { conversationId, userIds, limit: limits.historyPage });
        for (const userId of userIds) this.#asked.add(`${conversationId} ${userId}`);
        this.#replica.merge(members);
        this.#attempt = 0;
      } catch (error) {
        if (error instanceof RequestError && !error.retryable) continue;
        const left = this.#wanted.get(conversationId) ?? new Set();
        this.#wanted.set(conversationId, left);
        for (const userId of userIds) left.add(userId);
        return this.#schedule(Math.max(1_000, fullJitter(this.#attempt++, this.#random)));
      }
    }
    this.#schedule(gatherMs);
  }
}
