import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { RequestError } from '@kith/protocol';
import { Checkpoints } from './checkpoints.ts';
import { type Look, lookAtAll, noteCleanStop, takeCleanStop } from './clean-stop.ts';
import { type Append, CommitUnknown, DataMoved, type Database, DatabaseError, type Place, type Query, type Room, busy } from './db.ts';
import { LogSync } from './log-sync.ts';
import { migrate } from './migrate.ts';
import { type Direct, runDirectly } from './prepare.ts';
import { Appends, tablesOfRights } from './sqlite-append.ts';
import { Writes, directly, kyselyOn } from './sqlite-statements.ts';
import { settleUnsynced } from './unsynced.ts';

/** Writes that share one fsync, at most; and the milliseconds after which a batch is closed. */
const batchSize = 2_048;
const batchMs = 5;
const longestBatchMs = 40;
/** Writes that wait, above which more of them are not of use. */
const crowd = 1_024;
/** Reads that share one view, and the milliseconds after which the others of this thread have their turn. */
const readsAtOnce = 64;
const turnMs = 5;
/** Bytes of the log that are kept for what comes: twice what there is between two copies. */
const longestLog = 64 * 1_048_576;
/** Milliseconds to wait for another process (a backup) that holds the file. This thread stands still meanwhile. */
const busyMs = 250;

/** Bytes from which on a file that was left at a clean stop is looked at while it serves; smaller ones take no time. */
const looksLaterFrom = 64 * 1_048_576;

const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;

interface Job {
  work: (q: Query) => Promise<unknown>;
  /** The same in values. */
  append: Append<unknown> | undefined;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
  outcome: Outcome | undefined;
}

/** What came of it, and is said once what it was made of is durable. */
type Outcome = { value: unknown } | { error: unknown } | { place: Place };

/**
 * SQLite in WAL mode. The log is synced by us, as soon as nothing else is: what is acknowledged or read by anybody survives a power cut.
 * While one batch of writes is on its way to the disk the next one is being written, and is committed when the disk has the first.
 *
 * Two connections: one writes, one reads only what is committed. Writes that are waiting share one transaction (group commit): one
 * fsync for all, and a failed one takes nobody with it, for each is in a savepoint of its own, but for messages that cannot fail.
 *
 * @param dir  Data directory; made if missing. One process at a time.
 * @param copyAt  Pages of the log after which it is copied into the file.
 * @param room  What reads and writes wait for before the next batch of them, if anything.
 * @param from  Bytes of a file that is looked at only after it is opened, if it is as a clean stop left it.
 * @throws DatabaseError when the directory is in use or cannot be written to, or the file is damaged or newer than this program
 */
export async function openSqlite(dir: string, { from = looksLaterFrom, copyAt, room = () => undefined }: { from?: number; copyAt?: number; room?: Room } = {}): Promise<Database> {
  const file = path.join(dir, 'kith.db');
  makeWritable(dir, file);
  const lock = lockDirectory(dir);
  let writer: DatabaseSync | undefined;
  let log: LogSync | undefined;
  try {
    const later = takeCleanStop(file) && sizeOf(file) >= from;
    check(file, later);
    settleUnsynced(file);
    writer = openFile(file);
    const writes = new Writes(tablesOfRights);
    const write = kyselyOn(writer, writes);
    // Here a migration is not a transaction by itself, and one that was killed half-way could never be run again.
    writer.exec('begin immediate');
    log = new LogSync(file);
    // Nobody else may write meanwhile.
    log.rewrite();
    await migrate(write);
    writer.exec('commit');
    writer.exec('pragma synchronous = normal');
    const reader = openFile(file);
    reader.exec('pragma query_only = on');
    const noteClosed = (lookedAt: boolean): Promise<void> => (lookedAt && sizeOf(file) >= from ? noteCleanStop(file) : Promise.resolve());
    const around = {
      noteClosed,
      writes,
      log,
      checkpoints: new Checkpoints(file, writer, copyAt),
      look: later ? lookAtAll(file) : undefined,
      room,
    };
    return new SqliteDatabase(file, lock, await hold(writer, write, 'begin immediate', writes), await hold(reader, kyselyOn(reader), 'begin'), around);
  } catch (error) {
    await log?.close();
    writer?.close();
    lock.close();
    if (error instanceof DatabaseError) throw error;
    if (errcode(error) === SQLITE_BUSY) throw new DatabaseError(`${file} is held by another program, a backup perhaps. Start again when that is done.`, { cause: error });
    throw new DatabaseError(`${file} cannot be opened: ${error instanceof Error ? error.message : String(error)}. It was left as it is.`, { cause: error });
  }
}

/** Milliseconds that a command waits for the server, or a backup, to let go of the file. */
const patientMs = 10_000;

/**
 * One transaction on a file that a server may have open.
 *
 * @param file  Of a migrated database.
 * @throws DatabaseError
 */
export async function besideSqlite<T>(file: string, mode: 'read' | 'write', work: (q: Query) => Promise<T>): Promise<T> {
  if (!fs.existsSync(file)) throw new DatabaseError(`There is no database at ${file}.`);
  const db = new DatabaseSync(file, { readOnly: mode === 'read', timeout: patientMs });
  try {
    if (mode === 'write') db.exec('pragma synchronous = full; pragma wal_autocheckpoint = 0');
    db.exec(mode === 'read' ? 'begin' : 'begin immediate');
    const result = await work(kyselyOn(db));
    db.exec('commit');
    return result;
  } catch (error) {
    if (errcode(error) === undefined) throw error;
    throw new DatabaseError(`${file} could not be used: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  } finally {
    db.close();
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
  // What is deleted is overwritten with zeros, not only forgotten.
  db.exec('pragma secure_delete = on');
  // Not at a commit: nobody is told of a sync that fails then.
  db.exec('pragma wal_autocheckpoint = 0');
  // Where somebody read for long it has grown: when it begins anew it is cut off.
  db.exec(`pragma journal_size_limit = ${longestLog}`);
  return db;
}

/** @param later  All of it is looked at after it is opened. */
function check(file: string, later: boolean): void {
  const size = sizeOf(file);
  // SQLite would throw the log away.
  if (size === 0 && sizeOf(`${file}-wal`) > 0) {
    throw new DatabaseError(`${file} is missing or empty although its write-ahead log is there. Restore it; Kith makes no new one beside the old log.`);
  }
  // What the very first start was doing when it was killed: only a connection that writes can undo it.
  if (size === 0 || later || sizeOf(`${file}-journal`) > 0) return;
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

/** A connection of its own for all its life, so that no query waits for one or is wrapped anew. */
interface Held {
  file: DatabaseSync;
  q: Query;
  direct: Direct;
  begin: StatementSync;
  rollback: StatementSync;
  close: () => Promise<void>;
}

async function hold(file: DatabaseSync, query: Query, begin: string, writes?: Writes): Promise<Held> {
  const held = Promise.withResolvers<Query>();
  const over = Promise.withResolvers<void>();
  const released = query.connection().execute((q) => {
    held.resolve(q);
    return over.promise;
  });
  const q = await held.promise;
  const direct = directly(file, writes);
  runDirectly(q, direct);
  return {
    file,
    q,
    direct,
    begin: file.prepare(begin),
    rollback: file.prepare('rollback'),
    async close() {
      over.resolve();
      await released;
      await query.destroy();
    },
  };
}

interface Around {
  noteClosed: (lookedAt: boolean) => Promise<void>;
  writes: Writes;
  log: LogSync;
  checkpoints: Checkpoints;
  /** At a file that was opened unseen. */
  look: Look | undefined;
  room: Room;
}

class SqliteDatabase implements Database {
  readonly #lock: DatabaseSync;
  readonly #writer: Held;
  readonly #reader: Held;
  readonly #savepoint: StatementSync;
  readonly #release: StatementSync;
  readonly #commit: StatementSync;
  readonly #written: Writes;
  /** Of what is written, so much was synced, or is on its way there. */
  #synced = -1;
  readonly #foreign: Foreign;
  readonly #names: Names;
  readonly #room: Room;
  readonly #checkpoints: Checkpoints;
  readonly #log: LogSync;
  readonly #appends: Appends;
  readonly #writes: Job[] = [];
  /** Of those that wait to write, so many at the front are done in the batch that is under way. */
  #taken = 0;
  #writing: Promise<void> | undefined;
  /** Who waits for the log to be emptied. */
  #scrubs: PromiseWithResolvers<boolean>[] = [];
  readonly #reads: Job[] = [];
  #reading: Promise<void> | undefined;
  readonly #spell = new Spell();
  /** What is committed is on its way to the disk. Comes to pass when it is there, or nobody knows. */
  #syncing: Promise<void> | undefined;
  #uncrowded: PromiseWithResolvers<void> | undefined;
  /** Told when something is asked to be written. */
  #onWrite: (() => void) | undefined;
  /** Milliseconds that the last sync took. */
  #syncMs = 0;
  readonly #noteClosed: (lookedAt: boolean) => Promise<void>;
  /** Under way, or given up. */
  #look: Look | undefined;
  #broken: CommitUnknown | undefined;
  /** Nobody knows whether the disk has what is committed, or the file: nothing that could have seen it is told, and nothing more is copied into the file while it is open. */
  #doubted: CommitUnknown | undefined;
  #closed = false;

  constructor(file: string, lock: DatabaseSync, writer: Held, reader: Held, { noteClosed, writes, log, checkpoints, look, room }: Around) {
    this.#lock = lock;
    this.#room = room;
    this.#checkpoints = checkpoints;
    this.#log = log;
    this.#writer = writer;
    this.#reader = reader;
    this.#savepoint = writer.file.prepare('savepoint job');
    this.#release = writer.file.prepare('release job');
    this.#commit = writer.file.prepare('commit');
    this.#written = writes;
    this.#foreign = new Foreign(writer.file);
    this.#names = new Names(file);
    this.#appends = new Appends(writer.file, writer.q, writer.direct, writes);
    this.#noteClosed = noteClosed;
    this.#look = look;
    void look?.found.then((found) => {
      if (found === undefined) this.#look = undefined;
      // Nothing is written any more, and the next start looks before it opens: there is no note of a clean stop.
      else if (found !== false) this.#broken = new CommitUnknown(new DatabaseError(`the database file is damaged (${found}); restore a backup`), true);
    });
  }

  read<T>(work: (q: Query) => Promise<T>): Promise<T> {
    return this.#enqueue(work, undefined, this.#reads, () => (this.#reading ??= this.#runReads()));
  }

  write<T>(_keys: readonly string[], work: (q: Query) => Promise<T>, append?: Append<T>): Promise<T> {
    const written = this.#enqueue(work, append, this.#writes, () => (this.#writing ??= this.#runWrites()));
    this.#onWrite?.();
    return written;
  }

  scrub(): Promise<boolean> {
    if (this.#closed) return Promise.reject(new Error('the database is closed'));
    const waiting = Promise.withResolvers<boolean>();
    this.#scrubs.push(waiting);
    this.#writing ??= this.#runWrites();
    return waiting.promise;
  }

  get crowded(): Promise<void> | undefined {
    if (this.#writes.length < crowd) return undefined;
    return (this.#uncrowded ??= Promise.withResolvers()).promise;
  }

  refuseWaiting(): void {
    for (const { reject } of [...this.#writes.splice(this.#taken), ...this.#reads.splice(0)]) reject(busy());
  }

  /** No view of ours is open between batches. */
  #emptyLog(): void {
    const waiting = this.#scrubs;
    this.#scrubs = [];
    try {
      const emptied = this.#checkpoints.empty();
      for (const { resolve } of waiting) resolve(emptied);
    } catch (error) {
      this.#heedFile();
      for (const { reject } of waiting) reject(this.#doubted ?? refusal(error));
    }
  }

  #heedFile(): void {
    const { unsynced } = this.#checkpoints;
    if (unsynced !== undefined) this.#doubted ??= this.#broken ??= new CommitUnknown(new Error(unsynced), true);
  }

  #enqueue<T>(work: (q: Query) => Promise<T>, append: Append<T> | undefined, queue: Job[], run: () => Promise<void>): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the database is closed'));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    queue.push({ work, append, resolve, reject, outcome: undefined });
    void run();
    return promise as Promise<T>;
  }

  /** Reads that wait together share one view: it is of a moment after each of them was asked for. */
  async #runReads(): Promise<void> {
    const { file, q, begin, rollback } = this.#reader;
    while (this.#reads.length > 0) {
      const room = this.#room();
      if (room) await room;
      const jobs = this.#reads.splice(0, readsAtOnce);
      try {
        begin.run();
        for (const job of jobs) job.outcome = await outcomeOf(job.work(q));
      } catch (error) {
        for (const job of jobs) job.outcome ??= { error };
      }
      try {
        if (file.isTransaction) rollback.run();
      } catch (error) {
        for (const job of jobs) job.outcome = { error };
      }
      // What is not on the disk yet may have been seen, and nobody may hear of what can still be lost.
      if (this.#syncing) void this.#syncing.then(() => this.#settle(jobs, this.#doubted));
      else this.#settle(jobs, this.#doubted);
      // So far nothing but promises ran: what others ask of this thread must not wait until nobody reads any more.
      if (this.#spell.ms() > turnMs) await nextTurn();
    }
    this.#reading = undefined;
  }

  async #runWrites(): Promise<void> {
    do {
      // What this turn of the loop still brings shares the sync, and what the last batch has to say is sent before the next.
      await nextTurn();
      const room = this.#room();
      if (room) await room;
      this.#heedFile();
      if (this.#doubted) for (const { reject } of this.#scrubs.splice(0)) reject(this.#doubted);
      if (this.#scrubs.length > 0) this.#emptyLog();
      if (!this.#doubted) this.#checkpoints.look();
      this.#heedFile();
      if (this.#writes.length > 0) await this.#batch(this.#writer);
      this.#taken = 0;
      if (this.#writes.length < crowd) {
        this.#uncrowded?.resolve();
        this.#uncrowded = undefined;
      }
    } while (this.#writes.length + this.#scrubs.length > 0);
    // In the same step as the last look at the queue: a write that comes after it starts a new run.
    this.#writing = undefined;
  }

  async #batch({ file, q, begin }: Held): Promise<void> {
    const taken: Job[] = [];
    try {
      this.#requireWhole();
      if (this.#foreign.begin(begin)) this.#appends.forget();
      for (;;) {
        // Where the disk takes its time, more share it: the work of a batch lasts about as long as its sync.
        const closeAt = performance.now() + Math.min(longestBatchMs, Math.max(batchMs, this.#syncMs));
        do {
          const job = this.#writes[taken.length];
          if (!job || taken.length === batchSize) break;
          this.#taken = taken.push(job);
          const place = job.append && this.#appends.run(job.append);
          job.outcome = place ? { place } : await this.#run(job, file, q);
        } while (performance.now() < closeAt);
        if (!this.#syncing) break;
        // Nothing of this can be acknowledged before the disk has what was committed before: what comes meanwhile is committed with it.
        await (taken.length === batchSize ? this.#syncing : this.#next(this.#syncing, taken.length));
      }
      this.#requireWhole();
    } catch (error) {
      this.#rollback();
      // A message failed although nothing spoke against it: all once more as works, of which only that one fails then.
      if (!this.#broken && taken.at(-1)?.append && errcode(error) !== SQLITE_FULL) {
        for (const job of taken) job.append = undefined;
        return;
      }
      if (error instanceof DataMoved) this.#broken = error;
      // None taken: it is the file that fails, and would for each of them.
      const failed = this.#writes.splice(0, taken.length === 0 ? Infinity : taken.length);
      for (const job of failed) job.reject(refusal(error));
      return;
    }
    this.#writes.splice(0, taken.length);
    try {
      this.#commit.run();
    } catch (error) {
      if (errcode(error) === SQLITE_FULL && this.#rollback()) for (const job of taken) job.reject(refusal(error));
      else this.#doubt(error, taken);
      return;
    }
    // Where nothing was written there is nothing to sync: an idle server leaves the disk alone.
    if (this.#written.all === this.#synced) return this.#settle(taken);
    this.#synced = this.#written.all;
    this.#sync(taken);
  }

  #requireWhole(): void {
    if (this.#broken) throw this.#broken;
  }

  /** In a savepoint of its own. @throws what ended the whole transaction */
  async #run({ work }: Job, file: DatabaseSync, q: Query): Promise<Outcome> {
    this.#savepoint.run();
    const outcome = await outcomeOf(work(q));
    if ('error' in outcome) {
      // After a full disk or an I/O error SQLite may have ended the whole transaction by itself.
      if (errcode(outcome.error) === SQLITE_FULL || !file.isTransaction) throw outcome.error;
      file.exec('rollback to job');
    }
    this.#release.run();
    return outcome;
  }

  /** Comes to pass when the disk has what is on its way there, or there is more to write than was taken. */
  #next(syncing: Promise<void>, taken: number): Promise<void> {
    // This thread has others to hear, too, and the disk among them.
    if (this.#writes.length > taken) return nextTurn();
    const came = Promise.withResolvers<void>();
    this.#onWrite = came.resolve;
    void syncing.then(came.resolve);
    return came.promise.then(() => (this.#onWrite = undefined));
  }

  /** One that is alone is on the disk sooner if nobody else has to be told first. */
  #sync(taken: Job[]): void {
    const began = performance.now();
    const synced = (): void => {
      this.#syncMs = performance.now() - began;
      this.#names.requireSame();
      this.#settle(taken);
    };
    if (taken.length > 1 || this.#writes.length > 0) {
      this.#syncing = Promise.try(() => this.#log.beside())
        .then(synced)
        .catch((error: unknown) => this.#notSynced(error, taken))
        .then(() => (this.#syncing = undefined));
      return;
    }
    try {
      this.#log.now();
      synced();
    } catch (error) {
      this.#notSynced(error, taken);
    }
  }

  #doubt(error: unknown, taken: Job[]): void {
    this.#broken = new CommitUnknown(error, true);
    for (const job of taken) job.reject(this.#broken);
  }

  /** The kernel may have dropped the pages: asking again would prove nothing. */
  #notSynced(error: unknown, taken: Job[]): void {
    this.#doubt(error, taken);
    this.#doubted = this.#broken;
  }

  /** In the order taken, so that replies and pushes keep the order of the commits. */
  #settle(jobs: Job[], failed?: CommitUnknown): void {
    for (const { outcome, append, resolve, reject } of jobs) {
      if (failed || !outcome) reject(failed);
      else if ('place' in outcome) resolve(append!.done(outcome.place));
      else if ('value' in outcome) resolve(outcome.value);
      else reject(outcome.error);
    }
  }

  #rollback(): boolean {
    this.#appends.forget();
    try {
      if (this.#writer.file.isTransaction) this.#writer.file.exec('rollback');
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
    await this.#syncing;
    // Whoever reads has asked before, and goes first.
    await this.#reading;
    await this.#look?.stop();
    await this.#checkpoints.stop();
    this.#heedFile();
    if (this.#checkpoints.unsynced !== undefined) this.#requireWhole();
    await this.#log.close();
    await this.#reader.close();
    await this.#writer.close();
    this.#checkpoints.close();
    // Without the note all of it is looked at before the next start, and that is all.
    await this.#noteClosed(!this.#look && !this.#broken).catch(() => {});
    this.#lock.close();
  }
}

/** What other processes do to the file that we write to: commands of the operator, and once for all, whoever moves it away. */
class Foreign {
  readonly #file: DatabaseSync;
  readonly #version: StatementSync;
  #seen: unknown;
  #patient = true;

  constructor(file: DatabaseSync) {
    this.#file = file;
    this.#version = file.prepare('pragma data_version');
    this.#seen = this.#ask();
  }

  /**
   * Begins to write. Who holds the file once holds it for long: reads must not wait for our patience each time.
   *
   * @returns whether another process has written
   * @throws DataMoved
   */
  begin(begin: StatementSync): boolean {
    try {
      begin.run();
    } catch (error) {
      if (errcode(error) === SQLITE_BUSY) this.#wait(false);
      throw error;
    }
    this.#wait(true);
    const seen = this.#ask();
    if (seen === this.#seen) return false;
    if (this.#file.prepare(`select 1 from sqlite_master where name = 'kith_moved'`).get()) {
      throw new DataMoved((this.#file.prepare('select "to" from kith_moved').get() as { to: string }).to);
    }
    this.#seen = seen;
    return true;
  }

  #wait(patient: boolean): void {
    if (patient === this.#patient) return;
    this.#patient = patient;
    this.#file.exec(`pragma busy_timeout = ${patient ? busyMs : 0}`);
  }

  #ask(): unknown {
    return (this.#version.get() as { data_version: number }).data_version;
  }
}

/**
 * The file and its log, by name. Whoever deletes one of them or puts another there takes nothing from a process that has them open: it would go on
 * writing to what nobody will ever find again.
 */
class Names {
  readonly #known: [name: string, id: string | undefined][];

  constructor(file: string) {
    this.#known = [file, `${file}-wal`].map((name) => [name, idOf(name)]);
  }

  /** @throws when what is there now is not what was there at the start */
  requireSame(): void {
    for (const [name, id] of this.#known) {
      if (id !== undefined && idOf(name) !== id) throw new Error(`${name} was deleted or replaced while Kith had it open. Restore a backup`);
    }
  }
}

function idOf(name: string): string | undefined {
  const stat = fs.statSync(name, { throwIfNoEntry: false });
  return stat && `${stat.dev} ${stat.ino}`;
}

/** How long this thread has been at it since its loop last went round. */
class Spell {
  #since: number | undefined;

  /** Milliseconds since it was first asked in this turn of the loop. */
  ms(): number {
    const now = performance.now();
    if (this.#since === undefined) {
      this.#since = now;
      setImmediate(() => (this.#since = undefined));
    }
    return now - this.#since;
  }
}

const outcomeOf = (work: Promise<unknown>): Promise<Outcome> =>
  work.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const errcode = (error: unknown): number | undefined => {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
};

function refusal(error: unknown): unknown {
  const code = errcode(error);
  if (code === SQLITE_FULL) return new RequestError('storage_full');
  if (code === SQLITE_BUSY) return busy();
  return error;
}
