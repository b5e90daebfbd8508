import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Database, Query } from '../db/db.ts';
import { sha256 } from './context.ts';
import type { Secrets } from './secrets.ts';

type Keys = Pick<Secrets, 'ticketKey' | 'ticketKeys' | 'names'>;

const nonceBytes = 12;
const macBytes = 16;
const bytes = nonceBytes + 6 + macBytes;

/** Milliseconds in which a link for a new password is good. */
export const resetMs = 1_800_000;

/** What such a link is for; with another password it is not good any more. */
export const resetOf = ({ id, password }: { id: string; password: string | null }): string => `reset ${id} ${password ?? ''}`;

/**
 * What the server hands out to be brought back: a challenge, the first step of a sign-in. Nothing is stored until it comes
 * back, so nobody can fill the database by asking; what it is for is sealed into it, and read from it by nobody.
 */
export class Tickets {
  readonly #secrets: Keys;
  readonly #db: Database;
  readonly #now: () => number;

  constructor(secrets: Keys, { db, now }: { db: Database; now: () => number }) {
    this.#secrets = secrets;
    this.#db = db;
    this.#now = now;
  }

  /** @param purpose  And all that it is bound to: it is good for the same alone. @returns base64url */
  seal(purpose: string, lifeMs: number): string {
    const head = Buffer.alloc(nonceBytes + 6);
    randomBytes(nonceBytes).copy(head);
    head.writeUIntBE(this.#now() + lifeMs, nonceBytes, 6);
    return Buffer.concat([head, mac(this.#secrets.ticketKey, head, purpose)]).toString('base64url');
  }

  /** Is it one of ours, for this, and not too old? It may have been used. */
  isGood(ticket: string, purpose: string): boolean {
    const given = Buffer.from(ticket, 'base64url');
    if (given.length !== bytes || given.toString('base64url') !== ticket) return false;
    const head = given.subarray(0, nonceBytes + 6);
    const sealed = this.#secrets.ticketKeys.some((key) => timingSafeEqual(given.subarray(nonceBytes + 6), mac(key, head, purpose)));
    return sealed && this.#expiresAt(ticket) > this.#now();
  }

  /**
   * Takes a good one, which is then used up.
   *
   * @param q  In this transaction: what is rolled back did not use it up.
   * @returns whether it was good, and not used up before
   */
  async use(ticket: string, purpose: string, q?: Query): Promise<boolean> {
    return this.isGood(ticket, purpose) && this.spend(ticket, this.#expiresAt(ticket), q);
  }

  /** @returns false: that was done before */
  async spend(token: string, expiresAt: number, inside?: Query): Promise<boolean> {
    const work = async (q: Query): Promise<boolean> => {
      await q.deleteFrom('spent_tokens').where('expires_at', '<', this.#now()).execute();
      const spent = await q
        .insertInto('spent_tokens')
        .values({ hash: sha256(token), expires_at: expiresAt })
        .onConflict((conflict) => conflict.doNothing())
        .returning('hash')
        .executeTakeFirst();
      return spent !== undefined;
    };
    return inside ? work(inside) : this.#db.write([], work);
  }

  /** One of so many names, always the same ones, of whom nobody else can tell which. */
  isOneOf(many: number, name: string): boolean {
    return createHmac('sha256', this.#secrets.names).update(`one of ${many}: ${name}`).digest().readUInt32BE() % many === 0;
  }

  #expiresAt(ticket: string): number {
    return Buffer.from(ticket, 'base64url').readUIntBE(nonceBytes, 6);
  }
}

const mac = (key: Buffer, head: Buffer, purpose: string): Buffer => createHmac('sha256', key).update(head).update(purpose).digest().subarray(0, macBytes);
