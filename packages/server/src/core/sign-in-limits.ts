import { RequestError, type SetBound } from '@kith/protocol';
import type { Database } from '../db/db.ts';
import { count, keyOf } from './tries.ts';

/** Failed sign-ins to one account that cost nothing; then 1, 2, 4 … seconds of waiting, up to a quarter of an hour. */
const freeFailures = 5;
const longestWaitMs = 900_000;
/** Failed sign-ins from one address in a quarter of an hour. */
const failuresPerAddress = 30;
const accountMs = 86_400_000;
const addressMs = 900_000;
const registrationMs = 3_600_000;

interface Options {
  db: Database;
  now: () => number;
  on: boolean;
  registrationsPerHour: number;
}

/**
 * Limits on guessing passwords and on making accounts, the same for all nodes and over a restart: they are counted in the database.
 * What cannot be counted is refused. Whom or which address a row is about can be recomputed, but not read.
 */
export class SignInLimits {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * Counts a try, before the password is looked at: as a failure, until `succeeded` takes that back. So of many guesses
   * made at once, at however many nodes, no more are heard than of those made one by one.
   *
   * @throws rate_limited, busy
   */
  async requireMayTry(handle: string, ip: string): Promise<void> {
    const { db, on, now } = this.#options;
    if (!on) return;
    const [account, address] = [keyOf('account', handle), keyOf('address', ip)];
    const at = now();
    await db.write([account, address], async (q) => {
      const tried = await count(q, account, accountMs, at);
      if (tried.waits_until > at) throw tooMany(tried.waits_until - at, 'signIn');
      const from = await count(q, address, addressMs, at);
      if (from.points > failuresPerAddress) throw tooMany(from.expires_at - at, 'signIn');
      const over = tried.points - freeFailures;
      if (over > 0)
        await q
          .updateTable('tries')
          .set({ waits_until: at + Math.min(longestWaitMs, 1_000 * 2 ** (over - 1)) })
          .where('key', '=', account)
          .execute();
    });
  }

  async succeeded(handle: string, ip: string): Promise<void> {
    const { db, on } = this.#options;
    if (!on) return;
    const [account, address] = [keyOf('account', handle), keyOf('address', ip)];
    await db.write([account, address], async (q) => {
      await q.deleteFrom('tries').where('key', '=', account).execute();
      await q
        .updateTable('tries')
        .set((eb) => ({ points: eb('points', '-', 1) }))
        .where('key', '=', address)
        .where('points', '>', 0)
        .execute();
    });
  }

  /** @throws rate_limited, busy */
  async requireMayRegister(ip: string): Promise<void> {
    const { db, on, now, registrationsPerHour } = this.#options;
    if (!on) return;
    const key = keyOf('registration', ip);
    const at = now();
    await db.write([key], async (q) => {
      const made = await count(q, key, registrationMs, at);
      if (made.points > registrationsPerHour) throw tooMany(made.expires_at - at, 'registration');
    });
  }

  /** Forgets what is over. */
  async sweep(): Promise<void> {
    const { db, now } = this.#options;
    const at = now();
    const over = await db.read((q) => q.selectFrom('tries').select('key').where('expires_at', '<=', at).limit(1).executeTakeFirst());
    if (over) await db.write([], (q) => q.deleteFrom('tries').where('expires_at', '<=', at).execute());
  }
}

const tooMany = (ms: number, limit: SetBound): RequestError => new RequestError('rate_limited', { limit, retryAfterMs: Math.max(1_000, ms) });
