import fs from 'node:fs';
import { Helper, NoThread } from './helper.ts';

const rewriteBytes = 1_048_576;

/**
 * Puts the write-ahead log on the disk, all that is written to it until then. What is behind something on the disk is read after a power cut only if that
 * is: SQLite ends at the first part of the log that is not whole. So a commit without a sync is a commit that may be lost, and nothing else; and
 * it is durable once this is done.
 *
 * A thread that only waits for the disk is lost for all else it could do, so where there is more to do another one waits.
 */
export class LogSync {
  /** Of the log, which no lock is on: to close it lets go of nothing. */
  readonly #log: number;
  readonly #helper = new Helper<{ sync: number }, string | undefined>(new URL('./sync-worker.ts', import.meta.url), { name: 'kith-sync' });

  /** @param file  The database, open, in WAL mode. */
  constructor(file: string) {
    // Some systems sync only what may be written to.
    this.#log = fs.openSync(`${file}-wal`, 'r+');
  }

  /** Once more what is there, while nobody else can write. @throws when that cannot be done */
  rewrite(): void {
    rewrite(this.#log);
  }

  /** In this thread. @throws when nobody knows what is on the disk */
  now(): void {
    fs.fdatasyncSync(this.#log);
  }

  /** In another thread, one at a time. @throws when nobody knows what is on the disk */
  async beside(): Promise<void> {
    let failed: string | undefined;
    try {
      failed = await this.#helper.ask({ sync: this.#log });
    } catch (error) {
      // What a thread did that had begun, nobody knows: the system tells of what it could not write once.
      if (!(error instanceof NoThread)) throw error;
      return this.now();
    }
    if (failed !== undefined) throw new Error(failed);
  }

  /** Once nothing is under way. */
  async close(): Promise<void> {
    await this.#helper.close();
    fs.closeSync(this.#log);
  }
}

/** The log of a database that nobody else has open. */
export function rewriteLog(file: string): void {
  const log = fs.openSync(`${file}-wal`, 'r+');
  try {
    rewrite(log);
  } finally {
    fs.closeSync(log);
  }
}

/**
 * Where a sync has failed, a process before this one was told, and only it: the system shows all of the log, the disk may not have it, and what is written behind what is missing is lost
 * with it at a power cut, however well it was synced itself.
 */
function rewrite(log: number): void {
  const chunk = Buffer.alloc(rewriteBytes);
  try {
    for (let at = 0; ;) {
      const bytes = fs.readSync(log, chunk, 0, chunk.length, at);
      if (bytes === 0) break;
      for (let from = 0; from < bytes;) from += fs.writeSync(log, chunk, from, bytes - from, at + from);
      at += bytes;
    }
  } catch (error) {
    // A disk that copies what is written anew has no room for it: there it stays what it was, and nobody is kept from reading.
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  fs.fdatasyncSync(log);
}
