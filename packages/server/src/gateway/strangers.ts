import { isLoopback } from '../config.ts';
import type { LimitName } from '../metrics.ts';
import { TokenBucket } from './rate-limit.ts';

/** Connections that have not said hello. */
const strangersAtOnce = 1_000;
const strangersPerAddress = 10;
/** New connections. */
const rateOfAll = { burst: 1_000, perSecond: 500 };
const ratePerAddress = { burst: 30, perSecond: 5 };
/** Addresses remembered; beyond, those that have nothing open are forgotten. */
const mostAddresses = 10_000;

/**
 * Counts those who knock: a connection costs memory before it is known whose it is. Addresses of the machine itself are
 * only counted in all, since whoever is on it can do worse; IPv6 addresses count by /64, the least that one customer has.
 */
export class Strangers {
  readonly #all: TokenBucket;
  readonly #addresses = new Map<string, { now: number; rate: TokenBucket }>();
  #now = 0;

  constructor(now: number) {
    this.#all = new TokenBucket(rateOfAll, now);
  }

  /** @returns The limit that keeps this one out; else it counts until `leave`. */
  enter(ip: string, now: number): LimitName | undefined {
    if (this.#now >= strangersAtOnce) return 'pending-total';
    if (this.#all.take(now) > 0) return 'connections-rate';
    if (!isLoopback(ip)) {
      const key = network(ip);
      let address = this.#addresses.get(key);
      if (!address) {
        if (this.#addresses.size >= mostAddresses) this.#forget();
        this.#addresses.set(key, (address = { now: 0, rate: new TokenBucket(ratePerAddress, now) }));
      }
      if (address.now >= strangersPerAddress) return 'pending-address';
      if (address.rate.take(now) > 0) return 'connections-address';
      address.now++;
    }
    this.#now++;
    return undefined;
  }

  /** This one said hello, or went. */
  leave(ip: string): void {
    this.#now--;
    const address = this.#addresses.get(network(ip));
    if (address && !isLoopback(ip)) address.now--;
  }

  get addressesKnown(): number {
    return this.#addresses.size;
  }

  #forget(): void {
    for (const [key, address] of this.#addresses) if (address.now === 0) this.#addresses.delete(key);
  }
}

/** What one customer has: an IPv4 address, or the first 64 bits of an IPv6 one. */
export function network(ip: string): string {
  if (!ip.includes(':')) return ip;
  const [head = '', tail] = ip.split('::');
  const left = head.split(':').filter(Boolean);
  const right = tail?.split(':').filter(Boolean) ?? [];
  const groups = tail === undefined ? left : [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right];
  return groups.slice(0, 4).join(':');
}
