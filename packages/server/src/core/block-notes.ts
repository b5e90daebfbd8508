import { RequestError } from '@kith/protocol';
import { record } from './audit.ts';
import type { Log } from './streams.ts';

/** Milliseconds within which one limit that one address runs into is told once. */
const everyMs = 60_000;
/** Addresses and limits kept in mind. With more of them at once, the others are not told: there is no shortage of lines then. */
const most = 1_000;

/** Tells the audit log of limits that somebody ran into, once a minute for each: a log that can be flooded tells nothing. */
export class BlockNotes {
  readonly #log: Log;
  readonly #told = new Map<string, number>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** @throws what `ask` throws; if that is `rate_limited`, the log knows */
  async watch<T>(limit: string, { ip, identity }: { ip: string; identity?: { userId: string } | undefined }, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof RequestError && error.code === 'rate_limited') await this.tell(limit, ip, identity?.userId);
      throw error;
    }
  }

  async tell(limit: string, ip: string, actor?: string): Promise<void> {
    const now = this.#log.now();
    const key = `${limit} ${ip}`;
    for (const [one, at] of this.#told) if (Math.abs(now - at) >= everyMs) this.#told.delete(one);
    if (this.#told.has(key) || this.#told.size >= most) return;
    this.#told.set(key, now);
    await this.#log.db.write([], (q) => record(q, now, { event: 'limit.hit', actor, ip, detail: { limit } }));
  }
}
