import fs from 'node:fs';
import { Worker } from 'node:worker_threads';

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
  #helper: Worker | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;

  /** @param file  The database, open, in WAL mode. */
  constructor(file: string) {
    // Some systems sync only what may be written to.
    this.#log = fs.openSync(`${file}-wal`, 'r+');
  }

  /** In this thread. @throws when nobody knows what is on the disk */
  now(): void {
    fs.fdatasyncSync(this.#log);
  }

  /** In another thread, one at a time. @throws when nobody knows what is on the disk */
  beside(): Promise<void> {
    const waiting = (this.#waiting = Promise.withResolvers<void>());
    this.#helper ??= this.#start();
    this.#helper.ref();
    this.#helper.postMessage({ sync: this.#log });
    return waiting.promise;
  }

  /** Servers with little to do never need it. */
  #start(): Worker {
    const helper = new Worker(new URL('./sync-worker.ts', import.meta.url), { name: 'kith-sync' });
    helper.on('message', (failed: string | undefined) => {
      helper.unref();
      if (failed === undefined) this.#waiting?.resolve();
      else this.#waiting?.reject(new Error(failed));
    });
    let began = false;
    helper.once('online', () => (began = true));
    // The next one is another. What one did that had begun, nobody knows: the system tells of what it could not write once.
    helper.on('error', (error: Error) => {
      this.#helper = undefined;
      if (began) this.#waiting?.reject(error);
      else this.#instead();
    });
    return helper;
  }

  /** There is no other thread to be had. */
  #instead(): void {
    try {
      this.now();
      this.#waiting?.resolve();
    } catch (error) {
      this.#waiting?.reject(error);
    }
  }

  /** Once nothing is under way. */
  async close(): Promise<void> {
    const helper = this.#helper;
    if (helper) {
      const ended = new Promise((resolve) => helper.once('exit', resolve));
      helper.ref();
      helper.postMessage('close');
      await ended;
    }
    fs.closeSync(this.#log);
  }
}
