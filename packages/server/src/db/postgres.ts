import { RequestError } from '@kith/protocol';
import { type ControlledTransaction, Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { type Append, CommitUnknown, type Database, DatabaseError, type Primary, type Query, busy, retryAfterMs } from './db.ts';
import { migrate } from './migrate.ts';
import { preparing } from './often.ts';
import { Appends } from './postgres-append.ts';
import { PostgresPrimary, wireOf } from './postgres-primary.ts';
import type { Schema } from './schema.ts';

const connections = 10;
/** Milliseconds until a statement is given up, and until a connection is. */
const statementMs = 10_000;
const connectMs = 5_000;
const attempts = 5;
/** Messages of one conversation that are written in one go, at most. */
const appendsAtOnce = 128;

/** Deadlock and serialisation failure: nothing is wrong with the work, run it again. */
const conflicts = new Set(['40P01', '40001']);
/** Somebody else took a unique name between our look and our write: the work looks again, and finds it taken. */
const uniqueViolation = '23505';
const full = new Set(['53100']);
/** The last words of a server that ends a connection, or itself. */
const cuts = new Set(['57P01', '57P02']);

const INT8 = 20;
// All our integers are below 2^53; as text they would not compare.
pg.types.setTypeParser(INT8, Number);

/**
 * PostgreSQL 15 or newer.
 *
 * @param url            `postgres://user:password@host:port/database`
 * @param options.longestMs  Until a statement is given up; and as long again until a server that says nothing at all is.
 * @throws DatabaseError when it cannot be reached, is no primary, acknowledges before it is durable, or is newer than this program
 */
export async function openPostgres(url: string, { longestMs = statementMs }: { longestMs?: number } = {}): Promise<Database> {
  const options = {
    connectionString: url,
    statement_timeout: longestMs,
    // A node that stands still in a transaction holds a stream that others wait for.
    idle_in_transaction_session_timeout: longestMs,
    connectionTimeoutMillis: connectMs,
  };
  /** @param check  Of every connection, also those after a failover: the server behind the name may be another one now. */
  const openPool = (check: (client: pg.PoolClient) => Promise<void>): { pool: pg.Pool; db: Kysely<Schema> } => {
    const verify: pg.PoolConfig['verify'] = (client, done) => {
      // oxlint-disable-next-line promise/no-callback-in-promise -- the pool knows no promises here
      void check(client).then(() => done(), done);
    };
    const pool = new pg.Pool({ ...options, max: connections, verify });
    // A connection that breaks is replaced at its next use, and its queries tell. Without listeners, on the pool for the
    // idle ones and on each for when it is in use, the process would end.
    pool.on('error', () => {});
    pool.on('connect', (client) => {
      client.on('error', () => {});
      giveUpSilent(client, 2 * longestMs);
    });
    return { pool, db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool: preparing(pool) }) }) };
  };
  const primary = new PostgresPrimary(async () => {
    const client = new pg.Client(options);
    client.on('error', () => {});
    await client.connect();
    giveUpSilent(client, 2 * longestMs);
    try {
      await requireCareful(client);
    } catch (error) {
      await client.end();
      throw error;
    }
    return client;
  });
  // Which history its server has stands in the tables: the others come when there are any.
  const first = openPool(requireCareful);
  try {
    // By itself, so that what is wrong with the server is not taken for what is wrong with its tables.
    await first.pool.query('select 1');
    await migrate(first.db);
  } catch (error) {
    if (error instanceof DatabaseError) throw error;
    throw new DatabaseError(`PostgreSQL cannot be used: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    await first.db.destroy();
  }
  const { pool, db } = openPool(async (client) => {
    await requireCareful(client);
    await primary.admit(client);
  });
  return new PostgresDatabase(db, new Appends(pool, db), primary);
}

/**
 * A server that says `kith.may_lose_data=on` is there for tests, and may be as careless as it likes about power cuts.
 *
 * @throws DatabaseError
 */
async function requireCareful(client: pg.ClientBase): Promise<void> {
  const asked = ['transaction_read_only', 'synchronous_commit', 'fsync', 'full_page_writes', 'kith.may_lose_data'];
  const setting = (name: string) => `current_setting('${name}', true) as "${name}"`;
  const { rows } = await client.query<Record<string, string | null>>(`select ${asked.map(setting).join(', ')}`);
  const settings = rows[0]!;
  if (settings['transaction_read_only'] === 'on')
    throw new DatabaseError('PostgreSQL takes no writes there: it is a standby, or default_transaction_read_only is on. Connect to the primary.');
  if (settings['synchronous_commit'] === 'off') throw new DatabaseError('PostgreSQL has synchronous_commit=off: it would confirm messages that a crash loses. Turn it on.');
  if (settings['kith.may_lose_data'] === 'on') return;
  for (const name of ['fsync', 'full_page_writes'])
    if (settings[name] === 'off') throw new DatabaseError(`PostgreSQL has ${name}=off: a power cut can destroy the whole database. Turn it on.`);
}

/**
 * Ends a connection on which nothing has come or gone for so long: the server would have given the statement up long before, so it is
 * the network that swallows everything. Idle ones are closed by the pool before that.
 */
function giveUpSilent(client: pg.ClientBase, ms: number): void {
  const { stream } = wireOf(client);
  stream.setTimeout(ms, () => stream.destroy());
}

/** A write that waits to be done together with others. */
interface Waiting {
  append: Append<unknown>;
  work: (q: Query) => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

class PostgresDatabase implements Database {
  readonly primary: Primary;
  readonly #db: Query;
  readonly #appends: Appends;
  /** The last writer of each key: those of one conversation wait here in order, not at the row lock in any order. */
  readonly #last = new Map<string, Promise<boolean>>();
  /** Where the last writer of a key is a group of messages that has not been taken up yet: more may join it. */
  readonly #gathering = new Map<string, Waiting[]>();
  readonly #running = new Set<Promise<unknown>>();
  /** Those that wait for their turn. */
  readonly #waiting = new Set<(error: RequestError) => void>();
  /** How often they were refused. */
  #refusals = 0;

  constructor(db: Query, appends: Appends, primary: Primary) {
    this.#db = db;
    this.#appends = appends;
    this.primary = primary;
  }

  read<T>(work: (q: Query) => Promise<T>): Promise<T> {
    return this.#track(this.#read(work));
  }

  async #read<T>(work: (q: Query) => Promise<T>): Promise<T> {
    const isLate = this.#deadline();
    const transaction = this.#db.transaction().setIsolationLevel('repeatable read').setAccessMode('read only');
    try {
      return await begin((begun) =>
        transaction.execute((q) => {
          begun();
          if (isLate()) throw busy();
          return work(q);
        }),
      );
    } catch (error) {
      throw refusal(error);
    }
  }

  write<T>(keys: readonly string[], work: (q: Query) => Promise<T>, append?: Append<T>): Promise<T> {
    if (append) return this.#track(this.#gather(append, work));
    const isLate = this.#deadline();
    return this.#track(this.#inTurn(keys, () => this.#write(work, isLate)));
  }

  /** Has what is asked for now been refused since? */
  #deadline(): () => boolean {
    const asked = this.#refusals;
    return () => asked !== this.#refusals;
  }

  /** What waits for a connection is refused when it has one. */
  refuseWaiting(): void {
    this.#refusals += 1;
    for (const refuse of this.#waiting) refuse(busy());
  }

  /**
   * Who waits behind a write that the database did not do is not done either: else it could be committed before what was sent before it,
   * which comes once more.
   */
  #inTurn<T>(keys: readonly string[], start: () => Promise<T>): Promise<T> {
    for (const key of keys) this.#gathering.delete(key);
    const before = Promise.all(keys.map((key) => this.#last.get(key)));
    const isLate = this.#deadline();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.add(reject);
    const run = before.then((undone) => {
      this.#waiting.delete(reject);
      if (isLate()) throw busy();
      if (undone.includes(true)) throw new Away();
      return start();
    });
    // In one go, so that who asks again as soon as it knows does not find it there.
    const leave = (undone: boolean): boolean => {
      for (const key of keys) if (this.#last.get(key) === settled) this.#last.delete(key);
      return undone;
    };
    const settled: Promise<boolean> = run.then(
      () => leave(false),
      (error: unknown) => leave(isUndone(error)),
    );
    for (const key of keys) this.#last.set(key, settled);
    run.then(resolve, reject);
    return promise;
  }

  /** While one group is written, or waits for a connection, the next one comes together: the more there is to do, the less each costs. */
  #gather<T>(append: Append<T>, work: (q: Query) => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const { stream } = append;
    const waiting: Waiting = { append, work, resolve, reject };
    const group = this.#gathering.get(stream);
    if (group && group.length < appendsAtOnce) group.push(waiting);
    else {
      const begun = [waiting];
      this.#inTurn([stream], () => this.#together(begun)).catch((error: unknown) => {
        this.#closeGroup(begun);
        for (const { reject: refuse } of begun) refuse(error);
      });
      this.#gathering.set(stream, begun);
    }
    return promise as Promise<T>;
  }

  /** Nobody joins it any more. */
  #closeGroup(group: readonly Waiting[]): void {
    const { stream } = group[0]!.append;
    if (this.#gathering.get(stream) === group) this.#gathering.delete(stream);
  }

  /**
   * All at once, and where that does not go through, those to blame for it alone; where nobody knows which, in halves. Settles them in their order.
   *
   * @throws Away when the database did not do it: what is not settled yet is not done
   */
  async #together(group: Waiting[]): Promise<void> {
    const isLate = this.#deadline();
    let odd: Set<number>;
    try {
      const outcome = await this.#appends.run(() => {
        if (isLate()) throw busy();
        this.#closeGroup(group);
        return group.map(({ append }) => append);
      });
      if ('places' in outcome) {
        for (const [at, place] of outcome.places.entries()) group[at]!.resolve(group[at]!.append.done(place));
        return;
      }
      ({ odd } = outcome);
    } catch (error) {
      this.#closeGroup(group);
      const refused = refusal(error);
      for (const { reject } of group) reject(refused);
      if (isUndone(refused)) throw new Away();
      return;
    }
    if (group.length === 1) return this.#alone(group[0]!);
    const ends = odd.size === 0 ? [group.length >> 1] : [...odd].sort((a, b) => a - b).flatMap((at) => [at, at + 1]);
    for (const [at, from] of [0, ...ends].entries()) {
      const part = group.slice(from, ends[at]);
      if (part.length === 1 && odd.has(from)) await this.#alone(part[0]!);
      else if (part.length > 0) await this.#together(part);
    }
  }

  async #alone({ work, resolve, reject }: Waiting): Promise<void> {
    try {
      resolve(await this.#write(work, this.#deadline()));
    } catch (error) {
      reject(error);
      if (isUndone(error)) throw new Away();
    }
  }

  async #write<T>(work: (q: Query) => Promise<T>, isLate: () => boolean): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const tx = await begin(() => this.#db.startTransaction().execute());
        let value: T;
        try {
          if (isLate()) throw busy();
          value = await work(tx);
        } catch (error) {
          await giveBack(tx);
          throw error;
        }
        try {
          await tx.commit().execute();
        } catch (error) {
          await giveBack(tx);
          // A refused commit (a deferred constraint, a conflict) has a code and is rolled back; a lost connection has not.
          if (isSqlState(error) && !error.code.startsWith('08') && !error.code.startsWith('57')) throw error;
          throw new CommitUnknown(error, false);
        }
        return value;
      } catch (error) {
        if (attempt < attempts && isSqlState(error) && (conflicts.has(error.code) || error.code === uniqueViolation)) continue;
        throw refusal(error);
      }
    }
  }

  /** When rows that are dead are overwritten, and how long its log is kept, the server decides. */
  async scrub(): Promise<boolean> {
    return true;
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => {},
      () => {},
    );
    this.#running.add(settled);
    void settled.then(() => this.#running.delete(settled));
    return work;
  }

  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#db.destroy();
  }
}

/**
 * Begins on another connection when the one from the pool was cut while it was idle, which may be found out only now.
 * After a server was restarted that can be all of them, each found twice: by its last word, then by its end.
 */
async function begin<T>(start: (begun: () => void) => Promise<T>): Promise<T> {
  let begun = false;
  for (let left = 2 * connections; ; left -= 1) {
    try {
      return await start(() => (begun = true));
    } catch (error) {
      if (begun || left === 0 || !wasCut(error)) throw error;
    }
  }
}

/**
 * Rolls back what is left of a transaction. After a failed commit too: until then its connection is not back in the pool,
 * and after ten of them there is none. A connection that is dead cannot roll back, and is replaced.
 */
async function giveBack(tx: ControlledTransaction<Schema>): Promise<void> {
  await tx
    .rollback()
    .execute()
    .catch(() => {});
}

/** What the server said. Not by the look of the code: EPIPE, of a lost connection, has five letters too. */
const isSqlState = (error: unknown): error is { code: string } => error instanceof pg.DatabaseError && error.code !== undefined;

/** Is it of a connection that was there and is gone? One that cannot be made at all is not. */
function wasCut(error: unknown): boolean {
  if (isSqlState(error)) return cuts.has(error.code);
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === 'ECONNRESET' || code === 'EPIPE' || /Connection terminated unexpectedly|not queryable/.test(String(message));
}

/** The database is not there to do it, or not now. */
class Away extends RequestError {
  constructor() {
    super('busy', { retryAfterMs });
  }
}

/** Is it for want of the database that it was not done, or that nobody knows whether it was? */
const isUndone = (error: unknown): boolean => error instanceof Away || error instanceof CommitUnknown;

function refusal(error: unknown): unknown {
  if (error instanceof RequestError || error instanceof CommitUnknown) return error;
  // Not a server to write to, or not any more: there may be another one behind its name soon.
  if (error instanceof DatabaseError) return new Away();
  if (isSqlState(error)) {
    if (full.has(error.code)) return new RequestError('storage_full');
    // 08 connection, 53 resources, 57 shutdown or cancelled, 25P03 we stood still: the request is fine.
    if (conflicts.has(error.code) || /^(?:08|53|57|25P03)/.test(error.code)) return new Away();
    return error;
  }
  const code = (error as { code?: unknown } | null)?.code;
  const message = error instanceof Error ? error.message : '';
  if ((typeof code === 'string' && /^E[A-Z]+$/.test(code)) || /Connection terminated|not queryable|timeout exceeded when trying to connect/.test(message)) return new Away();
  return error;
}
