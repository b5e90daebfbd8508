import type { RateClass } from '@kith/protocol';

/** Tokens that a full bucket holds, and how many come back in a second. */
export interface Rate {
  burst: number;
  perSecond: number;
}

/** Of one connection, and over HTTP of one session. */
export const rates: Record<RateClass, Rate> = {
  command: { burst: 60, perSecond: 20 },
  send: { burst: 60, perSecond: 10 },
  sync: { burst: 600, perSecond: 100 },
  fleeting: { burst: 60, perSecond: 20 },
  // Each is a guess at a name.
  search: { burst: 10, perSecond: 1 },
};
const pingRate: Rate = { burst: 10, perSecond: 10 };

/** A connection that was refused this often within this many milliseconds is closed. */
const refusals = { count: 100, withinMs: 10_000 };
/** The same for frames that are not JSON: the peer does not speak this protocol. */
const badFrames = { count: 5, withinMs: 60_000 };

/** Holds `burst` tokens at most, refilled over time. */
export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  /** @param now  Milliseconds, monotonic, as in `take`. */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#at = now;
  }

  /** Takes a token. @returns 0, or the milliseconds until there is one again. */
  take(now: number): number {
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + ((now - this.#at) * this.#rate.perSecond) / 1_000);
    this.#at = now;
    // A hair less than a whole token is a whole token: sums of fractions are never exact.
    const missing = 1 - this.#tokens - 1e-6;
    if (missing > 0) return Math.ceil((missing * 1_000) / this.#rate.perSecond);
    this.#tokens -= 1;
    return 0;
  }

  /** Would a new one be the same? */
  isFull(now: number): boolean {
    return this.#tokens + ((now - this.#at) * this.#rate.perSecond) / 1_000 >= this.#rate.burst;
  }
}

/** The buckets of one caller, one for each class, made when first used. */
export class CallRates {
  readonly #buckets = new Map<RateClass, TokenBucket>();

  /** @returns 0, or the milliseconds after which a call of this class is taken again. */
  take(rate: RateClass, now: number): number {
    let bucket = this.#buckets.get(rate);
    if (!bucket) this.#buckets.set(rate, (bucket = new TokenBucket(rates[rate], now)));
    return bucket.take(now);
  }

  isFull(now: number): boolean {
    for (const bucket of this.#buckets.values()) if (!bucket.isFull(now)) return false;
    return true;
  }
}

/** All that is counted about one connection. */
export class ConnectionRates {
  readonly #calls = new CallRates();
  #refused: Recent | undefined;
  #bad: Recent | undefined;
  #pings: TokenBucket | undefined;

  take(rate: RateClass, now: number): number {
    return this.#calls.take(rate, now);
  }

  /** Counts a ping or a pong. @returns Whether there were too many. */
  pinged(now: number): boolean {
    this.#pings ??= new TokenBucket(pingRate, now);
    return this.#pings.take(now) > 0;
  }

  /** Counts a refused request. @returns Whether there were too many. */
  refused(now: number): boolean {
    return (this.#refused ??= new Recent(refusals)).add(now);
  }

  /** Counts a frame that was not JSON. @returns Whether there were too many. */
  bad(now: number): boolean {
    return (this.#bad ??= new Recent(badFrames)).add(now);
  }

  /** Is there nothing that is still counted? Then it can be forgotten. */
  isIdle(now: number): boolean {
    return this.#calls.isFull(now) && (this.#pings?.isFull(now) ?? true) && (this.#refused?.isEmpty(now) ?? true) && (this.#bad?.isEmpty(now) ?? true);
  }
}

/** Counts events of the last while; bounded, since it ends at `count`. */
class Recent {
  readonly #limit: { count: number; withinMs: number };
  #times: number[] = [];

  constructor(limit: { count: number; withinMs: number }) {
    this.#limit = limit;
  }

  /** @returns Whether there were more than `count` within the time. */
  add(now: number): boolean {
    this.#times = this.#times.filter((time) => now - time < this.#limit.withinMs);
    this.#times.push(now);
    return this.#times.length > this.#limit.count;
  }

  isEmpty(now: number): boolean {
    return this.#times.every((time) => now - time >= this.#limit.withinMs);
  }
}
