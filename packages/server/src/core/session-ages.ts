import { userStream } from '@kith/protocol';
import type { Config } from '../config.ts';
import type { Query } from '../db/db.ts';
import type { SessionsTable } from '../db/schema.ts';
import type { Identity } from './core.ts';
import { endSessions, touchSession } from './sessions.ts';
import { type Log, commit } from './streams.ts';

const dayMs = 86_400_000;
/** Sessions looked at in one question. */
const atOnce = 100;

type Bounds = Pick<Config, 'sessionIdleDays' | 'sessionMaxDays'>;
type Ages = Pick<SessionsTable, 'used_at' | 'created_at'>;

const isOld = (session: Ages, bounds: Bounds, now: number): boolean => now - session.created_at > bounds.sessionMaxDays * dayMs;
const isIdle = (session: Ages, bounds: Bounds, now: number): boolean => now - session.used_at > bounds.sessionIdleDays * dayMs;

/** Has nobody used this session for so long, or is it so old, that it is over? */
export const isOver = (session: Ages, bounds: Bounds, now: number): boolean => isOld(session, bounds, now) || isIdle(session, bounds, now);

/** Ends sessions that are over. One with a connection is in use, however long ago it was opened. */
export class SessionAges {
  readonly #log: Log;
  readonly #bounds: Bounds;
  readonly #connections = new Map<string, number>();

  constructor(log: Log, bounds: Bounds) {
    this.#log = log;
    this.#bounds = bounds;
  }

  connected({ sessionId }: Identity): void {
    this.#connections.set(sessionId, (this.#connections.get(sessionId) ?? 0) + 1);
  }

  disconnected({ sessionId }: Identity): void {
    const left = (this.#connections.get(sessionId) ?? 0) - 1;
    if (left > 0) this.#connections.set(sessionId, left);
    else this.#connections.delete(sessionId);
  }

  async sweep(): Promise<void> {
    const now = this.#log.now();
    const usedBefore = now - this.#bounds.sessionIdleDays * dayMs;
    const madeBefore = now - this.#bounds.sessionMaxDays * dayMs;
    await this.#each((q) => openSessions(q).where('used_at', '<', usedBefore).orderBy('used_at').limit(atOnce).execute(), now);
    await this.#each((q) => openSessions(q).where('created_at', '<', madeBefore).orderBy('created_at').limit(atOnce).execute(), now);
  }

  /** Whatever is found is ended or used, so that it is not found again. */
  async #each(find: (q: Query) => Promise<SessionsTable[]>, now: number): Promise<void> {
    for (let found = await this.#log.db.read(find); found.length > 0; found = found.length < atOnce ? [] : await this.#log.db.read(find))
      for (const session of found) await this.#endOrUse(session, now);
  }

  async #endOrUse({ id, user_id: userId, ...ages }: SessionsTable, now: number): Promise<void> {
    if (this.#connections.has(id) && !isOld(ages, this.#bounds, now)) return touchSession(this.#log, id, userId, now);
    await commit(this.#log, [userStream(userId)], async (c) => {
      const row = await openSessions(c.q).where('id', '=', id).executeTakeFirst();
      // Used again, or ended, since it was found.
      if (!row || !isOver(row, this.#bounds, now)) throw c.unchanged(undefined);
      await endSessions(c, userId, 'age', { only: id });
    });
  }
}

const openSessions = (q: Query) => q.selectFrom('sessions').selectAll().where('ended_at', 'is', null);
