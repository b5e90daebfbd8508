import { userStream } from '@kith/protocol';
import type { Config } from '../config.ts';
import type { Query } from '../db/db.ts';
import type { SessionsTable } from '../db/schema.ts';
import type { Identity } from './core.ts';
import { endSessions, touchSession } from './sessions.ts';
import { type Log, commit } from './streams.ts';

const dayMs = 86_400_000;
const hourMs = 3_600_000;
/** Sessions looked at in one question. */
const atOnce = 100;

type Bounds = Pick<Config, 'sessionIdleDays' | 'sessionMaxDays' | 'operatorIdleHours'>;
type Ages = Pick<SessionsTable, 'used_at' | 'created_at'>;

const isOld = (session: Ages, bounds: Bounds, now: number): boolean => now - session.created_at > bounds.sessionMaxDays * dayMs;
const isIdle = (session: Ages, bounds: Bounds, now: number, operator = false): boolean =>
  now - session.used_at > Math.min(bounds.sessionIdleDays * dayMs, operator ? bounds.operatorIdleHours * hourMs : Infinity);

/** Has nobody used this session for so long, or is it so old, that it is over? */
export const isOver = (session: Ages, bounds: Bounds, now: number, operator = false): boolean => isOld(session, bounds, now) || isIdle(session, bounds, now, operator);

/** Whoever comes by a session of theirs has the whole server, so it is over sooner. */
export const isOperator = async (q: Query, userId: string): Promise<boolean> =>
  (await q.selectFrom('users').select('id').where('id', '=', userId).where('operator', '=', 1).executeTakeFirst()) !== undefined;

interface Used {
  userId: string;
  connections: number;
  /** When its use was last written down, or is as good as that. */
  since: number;
}

/** Ends sessions that are over. One with a connection is in use, however long ago it was opened. */
export class SessionAges {
  readonly #log: Log;
  readonly #bounds: Bounds;
  readonly #connected = new Map<string, Used>();

  constructor(log: Log, bounds: Bounds) {
    this.#log = log;
    this.#bounds = bounds;
  }

  connected({ sessionId, userId }: Identity): void {
    const used = this.#connected.get(sessionId);
    if (used) used.connections += 1;
    else this.#connected.set(sessionId, { userId, connections: 1, since: this.#log.now() });
  }

  disconnected({ sessionId }: Identity): void {
    const used = this.#connected.get(sessionId);
    if (used && (used.connections -= 1) === 0) this.#connected.delete(sessionId);
  }

  async sweep(): Promise<void> {
    const now = this.#log.now();
    const operators = (await this.#log.db.read((q) => q.selectFrom('users').select('id').where('operator', '=', 1).execute())).map(({ id }) => id);
    await this.#useConnected(now, new Set(operators));
    const idleBefore = now - this.#bounds.operatorIdleHours * hourMs;
    for (const userId of operators) await this.#each((q) => openSessions(q).where('user_id', '=', userId).where('used_at', '<', idleBefore).limit(atOnce).execute(), now, true);
    const usedBefore = now - this.#bounds.sessionIdleDays * dayMs;
    const madeBefore = now - this.#bounds.sessionMaxDays * dayMs;
    await this.#each((q) => openSessions(q).where('used_at', '<', usedBefore).orderBy('used_at').limit(atOnce).execute(), now);
    await this.#each((q) => openSessions(q).where('created_at', '<', madeBefore).orderBy('created_at').limit(atOnce).execute(), now);
  }

  /** Other nodes know nothing of these connections: for them it has to be written down in time that a session is in use. */
  async #useConnected(now: number, operators: Set<string>): Promise<void> {
    const idleMs = this.#bounds.sessionIdleDays * dayMs;
    const ofOperators = Math.min(idleMs, this.#bounds.operatorIdleHours * hourMs);
    for (const [sessionId, used] of this.#connected) {
      if (used.since > now - (operators.has(used.userId) ? ofOperators : idleMs) / 2) continue;
      await touchSession(this.#log, sessionId, used.userId, now);
      used.since = now;
    }
  }

  /** Whatever is found is ended or used, so that it is not found again. */
  async #each(find: (q: Query) => Promise<SessionsTable[]>, now: number, operator = false): Promise<void> {
    for (let found = await this.#log.db.read(find); found.length > 0; found = found.length < atOnce ? [] : await this.#log.db.read(find))
      for (const session of found) await this.#endOrUse(session, now, operator);
  }

  async #endOrUse({ id, user_id: userId, ...ages }: SessionsTable, now: number, operator: boolean): Promise<void> {
    if (this.#connected.has(id) && !isOld(ages, this.#bounds, now)) return touchSession(this.#log, id, userId, now);
    await commit(this.#log, [userStream(userId)], async (c) => {
      const row = await openSessions(c.q).where('id', '=', id).executeTakeFirst();
      // Used again, or ended, since it was found.
      if (!row || !isOver(row, this.#bounds, now, operator)) throw c.unchanged(undefined);
      await endSessions(c, userId, 'age', { only: id });
    });
  }
}

const openSessions = (q: Query) => q.selectFrom('sessions').selectAll().where('ended_at', 'is', null);
