import { RequestError, type SignalOf, limits } from '@kith/protocol';
import { type Clock, fullJitter } from './clock.ts';
import { Listeners } from './listeners.ts';
import type { Call } from './sync.ts';

export interface PresenceOf {
  online: boolean;
  /** null: never, or not for you. */
  lastSeenAt: number | null;
}

/** Milliseconds in which people that come into view are asked for together. */
const gatherMs = 50;
/** Milliseconds that people stay watched after they went out of view: lists scroll back and forth. */
const lingerMs = 5_000;

/** Who is online, of the people somebody looks at. Asked again after every reconnect. */
export class Presence {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #watched = new Map<string, number>();
  readonly #known = new Map<string, PresenceOf>();
  readonly #listeners = new Listeners<[userIds: string[]]>();
  /** Whom the server tells us about, on this connection. */
  #told = new Set<string>();
  /** Whom the person signed in lets see that they are there. */
  #shown = 'everyone';
  #call: Call | undefined;
  #timer: unknown;
  #attempt = 0;

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Follows these people until the returned function is called. */
  watch(userIds: Iterable<string>): () => void {
    const mine = [...new Set(userIds)];
    for (const id of mine) this.#watched.set(id, (this.#watched.get(id) ?? 0) + 1);
    this.#schedule(gatherMs);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      for (const id of mine) {
        const left = this.#watched.get(id)! - 1;
        if (left > 0) this.#watched.set(id, left);
        else this.#watched.delete(id);
      }
      this.#schedule(lingerMs);
    };
  }

  /** undefined: not watched, or not known yet. As of the last connection while there is none. */
  get(userId: string): PresenceOf | undefined {
    return this.#known.get(userId);
  }

  onChange(fn: (userIds: string[]) => void): () => void {
    return this.#listeners.add(fn);
  }

  /** @internal */
  onSignal({ userId, online, lastSeenAt }: SignalOf<'presence'>): void {
    this.#known.set(userId, { online, lastSeenAt });
    this.#listeners.emit([userId]);
  }

  /** @internal Who hides from everybody is told of nobody; who does not any more asks anew. */
  onShown(shown: string): void {
    const turned = (shown === 'nobody') !== (this.#shown === 'nobody');
    this.#shown = shown;
    if (!turned) return;
    const known = [...this.#known.keys()];
    this.#known.clear();
    this.#told.clear();
    this.#listeners.emit(known);
    this.#schedule(gatherMs);
  }

  /** @internal */
  resume(call: Call): void {
    this.#call = call;
    this.#told = new Set();
    this.#attempt = 0;
    this.#cancel();
    this.#schedule(0);
  }

  /** @internal */
  pause(): void {
    this.#call = undefined;
    this.#cancel();
  }

  #cancel(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(ms: number): void {
    if (!this.#call) return;
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      void this.#settle();
    }, ms);
  }

  async #settle(): Promise<void> {
    const call = this.#call;
    if (!call) return;
    const gone = [...this.#told].filter((id) => !this.#watched.has(id));
    const wanted = [...this.#watched.keys()].slice(0, limits.presenceWatched).filter((id) => !this.#told.has(id));
    if (gone.length === 0 && wanted.length === 0) return;
    try {
      if (gone.length > 0) {
        for (const id of gone) {
          this.#told.delete(id);
          this.#known.delete(id);
        }
        await call('presence.unwatch', { userIds: gone });
      }
      if (wanted.length > 0) {
        for (const id of wanted) this.#told.add(id);
        const { presence } = await call('presence.watch', { userIds: wanted });
        for (const { userId, online, lastSeenAt } of presence) this.#known.set(userId, { online, lastSeenAt });
        this.#listeners.emit(wanted);
      }
      this.#attempt = 0;
    } catch (error) {
      if (this.#call !== call) return;
      for (const id of wanted) this.#told.delete(id);
      // Who may not be watched is left out of the answer, so a refusal is about rate or a passing trouble.
      if (!(error instanceof RequestError) || error.retryable) this.#schedule(Math.max(1_000, fullJitter(this.#attempt++, this.#random)));
    }
  }
}
