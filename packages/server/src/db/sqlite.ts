import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { RequestError } from '@kith/protocol';
import { Kysely, SqliteDialect } from 'kysely';
import { CommitUnknown, type Database, DatabaseError, type Query } from './db.ts';
import { migrate } from './migrate.ts';
import type { Schema } from './schema.ts';

/** Writes that share one fsync, at most; and the milliseconds after which a batch is closed. */
const batchSize = 256;
const batchMs = 5;
/** Milliseconds to wait for another process (a backup) that holds the file. This thread stands still meanwhile. */
const busyMs = 250;
const preparedStatements = 500;

const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;

interface Job {
  work: (q: Query) => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/**
 * SQLite in WAL mode with `synchronous=FULL`: when a commit returns, it survives a power cut.
 *
 * Two connections: one writes, one reads only what is committed. Writes that are waiting share one transaction, each in
 * a savepoint of its own (group commit): one fsync for all, and a failed one takes nobody with it.
 *
 * @param dir  Data directory; made if missing. One process at a time.
 * @throws DatabaseError when the directory is in use or cannot be written to, or the file is damaged or newer than this program
 */
export async function openSqlite(dir: string): Promise<Database> {
  const file = path.join(dir, 'kith.db');
  makeWritable(dir, file);
  const lock = lockDirectory(dir);
  let writer: DatabaseSync | undefined;
  try {
    check(file);
    writer = openFile(file);
    const write = kyselyOn(writer);
    // Here a migration is not a transaction by itself, and one that was killed half-way could never be run again.
    writer.exec('begin immediate');
    await migrate(write);
    writer.exec('commit');
    const reader = openFile(file);
    reader.exec('pragma query_only = on');
    return new SqliteDatabase(lock, writer, write, reader, kyselyOn(reader));
  } catch (error) {
    writer?.close();
    lock.close();
    if (error instanceof DatabaseError) throw error;
    if (errcode(error) === SQLITE_BUSY) throw new DatabaseError(`${file} is held by another program, a backup perhaps. Start again when that is done.`, { cause: error });
    throw new DatabaseError(`${file} cannot be opened: ${error instanceof Error ? error.message : String(error)}. It was left as it is.`, { cause: error });
  }
}

/** SQLite opens what it may not write to all the same, only for reading: then even the lock would keep nobody out. */
function makeWritable(dir: string, file: string): void {
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    fs.accessSync(dir, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    for (const used of [path.join(dir, 'kith.lock'), file, `${file}-wal`]) if (fs.existsSync(used)) fs.accessSync(used, fs.constants.R_OK | fs.constants.W_OK);
  } catch (error) {
    throw new DatabaseError(`The data directory ${dir} cannot be used: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  }
}

/** A lock that dies with the process: an exclusive transaction on a file of its own, held until close. */
function lockDirectory(dir: string): DatabaseSync {
  const file = path.join(dir, 'kith.lock');
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec('begin exclusive');
    return lock;
  } catch (error) {
    lock?.close();
    if (errcode(error) === SQLITE_BUSY) throw new DatabaseError(`Another Kith is running on ${dir}. One data directory serves one process.`, { cause: error });
    throw new DatabaseError(`${file} cannot be used: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  }
}

function openFile(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: busyMs });
  db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma temp_store = memory; pragma cache_size = -32000');
  return db;
}

function check(file: string): void {
  const size = sizeOf(file);
  // SQLite would throw the log away.
  if (size === 0 && sizeOf(`${file}-wal`) > 0) {
    throw new DatabaseError(`${file} is missing or empty although its write-ahead log is there. Restore it; Kith makes no new one beside the old log.`);
  }
  // What the very first start was doing when it was killed: only a connection that writes can undo it.
  if (size === 0 || sizeOf(`${file}-journal`) > 0) return;
  // Closing a connection that writes would copy the log into the damaged file.
  const db = new DatabaseSync(file, { readOnly: true, timeout: busyMs });
  try {
    const row = db.prepare('pragma quick_check(1)').get() as { quick_check: string };
    if (row.quick_check !== 'ok') throw new DatabaseError(`${file} is damaged (${row.quick_check.replaceAll('\n', ' ')}). It was left as it is; restore a backup.`);
  } finally {
    db.close();
  }
}

const sizeOf = (file: string): number => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;

class SqliteDatabase implements Database {
  readonly #lock: DatabaseSync;
  readonly #file: DatabaseSync;
  readonly #writer: Query;
  readonly #readFile: DatabaseSync;
  readonly #reader: Query;
  readonly #queue: Job[] = [];
  #running: Promise<void> | undefined;
  #broken: CommitUnknown | undefined;
  #closed = false;

  constructor(lock: DatabaseSync, file: DatabaseSync, writer: Query, readFile: DatabaseSync, reader: Query) {
    this.#lock = lock;
    this.#file = file;
    this.#writer = writer;
    this.#readFile = readFile;
    this.#reader = reader;
  }

  read<T>(work: (q: Query) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the database is closed'));
    return this.#reader.connection().execute(async (q) => {
      this.#readFile.exec('begin');
      try {
        return await work(q);
      } finally {
        this.#readFile.exec('rollback');
      }
    });
  }

  write<T>(_keys: readonly string[], work: (q: Query) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the database is closed'));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#queue.push({ work, resolve, reject });
    this.#running ??= this.#run();
    return promise as Promise<T>;
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) await this.#writer.connection().execute((q) => this.#batch(q));
    // In the same step as the last look at the queue: a write that comes after it starts a new run.
    this.#running = undefined;
  }

  async #batch(q: Query): Promise<void> {
    const settle: (() => void)[] = [];
    const taken: Job[] = [];
    try {
      if (this.#broken) throw this.#broken;
      this.#file.exec('begin immediate');
      const closeAt = performance.now() + batchMs;
      do {
        const job = this.#queue.shift()!;
        taken.push(job);
        this.#file.exec('savepoint job');
        try {
          const value = await job.work(q);
          settle.push(() => job.resolve(value));
        } catch (error) {
          // After a full disk or an I/O error SQLite may have ended the whole transaction by itself.
          if (errcode(error) === SQLITE_FULL || !this.#file.isTransaction) throw error;
          this.#file.exec('rollback to job');
          settle.push(() => job.reject(error));
        }
        this.#file.exec('release job');
      } while (this.#queue.length > 0 && taken.length < batchSize && performance.now() < closeAt);
    } catch (error) {
      this.#rollback();
      if (taken.length === 0) taken.push(...this.#queue.splice(0));
      for (const job of taken) job.reject(refusal(error));
      return;
    }
    try {
      this.#file.exec('commit');
    } catch (error) {
      if (errcode(error) === SQLITE_FULL && this.#rollback()) {
        for (const job of taken) job.reject(refusal(error));
        return;
      }
      // After a failed fsync the kernel may have dropped the pages: asking again would prove nothing.
      this.#broken = new CommitUnknown(error, true);
      for (const job of taken) job.reject(this.#broken);
      return;
    }
    // In the order taken, so that replies and pushes keep the order of the commits.
    for (const done of settle) done();
  }

  #rollback(): boolean {
    try {
      if (this.#file.isTransaction) this.#file.exec('rollback');
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    // Whoever reads has asked before, and goes first.
    await this.#reader.connection().execute(() => Promise.resolve());
    await this.#reader.destroy();
    await this.#writer.destroy();
    this.#lock.close();
  }
}

const errcode = (error: unknown): number | undefined => {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
};

function refusal(error: unknown): unknown {
  const code = errcode(error);
  if (code === SQLITE_FULL) return new RequestError('storage_full');
  if (code === SQLITE_BUSY) return new RequestError('busy', { retryAfterMs: 1_000 });
  return error;
}

/** Kysely on node:sqlite, which has the shape of better-sqlite3 but for two details, with the prepared statements kept. */
function kyselyOn(db: DatabaseSync): Query {
  const prepared = new Map<string, ReturnType<typeof adapt>>();
  return new Kysely<Schema>({
    dialect: new SqliteDialect({
      database: {
        close: () => db.close(),
        prepare(sql: string) {
          let statement = prepared.get(sql);
          if (statement) prepared.delete(sql);
          else statement = adapt(db.prepare(sql));
          prepared.set(sql, statement);
          if (prepared.size > preparedStatements) prepared.delete(prepared.keys().next().value!);
          return statement;
        },
      },
    }),
  });
}

function adapt(statement: StatementSync) {
  return {
    reader: statement.columns().length > 0,
    all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLInputValue[])),
    run: (parameters: readonly unknown[]) => statement.run(...(parameters as SQLInputValue[])),
    iterate: (parameters: readonly unknown[]) => statement.iterate(...(parameters as SQLInputValue[])) as IterableIterator<unknown>,
  };
}
