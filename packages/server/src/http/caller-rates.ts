import type { MethodName } from '@kith/protocol';
import { isLoopback } from '../config.ts';
import type { Identity } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import { rateOf } from '../gateway/peek.ts';
import { CallRates } from '../gateway/rate-limit.ts';
import { network } from '../gateway/strangers.ts';

/** Callers remembered, and the milliseconds after which one's buckets are full again, so that forgetting it changes nothing. */
const callersKnown = 20_000;
const refilledMs = 10_000;

/** The rates of a socket, for those who call over HTTP: by session, and before sign-in by address. */
export class CallerRates {
  readonly #clock: Clock;
  readonly #callers = new Map<string, { rates: CallRates; at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns 0, or the milliseconds after which such a call is taken again. */
  take(method: MethodName, identity: Identity | undefined, ip: string): number {
    if (!identity && isLoopback(ip)) return 0;
    const key = identity?.sessionId ?? network(ip);
    const now = this.#clock.now();
    const caller = this.#callers.get(key) ?? { rates: new CallRates(), at: now };
    // The latest last, so that the first are those to forget.
    this.#callers.delete(key);
    this.#callers.set(key, caller);
    caller.at = now;
    for (const [other, { at }] of this.#callers) {
      if (now - at < refilledMs && this.#callers.size <= callersKnown) break;
      this.#callers.delete(other);
    }
    return caller.rates.take(rateOf(method), now);
  }
}
