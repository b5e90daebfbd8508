import fs from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';

/**
 * Pages of the log after which it is copied into the file: 32 MiB. A message changes four pages of an index here and there, and the
 * same ones soon again; copied after every 4 MiB, as it is by default, most would be copied only to be changed once more, with two syncs each time.
 */
const pagesToCopy = 8_000;
/** SQLite copies at a commit, in the thread that writes, when nobody else has until then. */
export const pagesAtCommit = 32_000;

interface Log {
  /** Pages in it, and those of them that are in the file. */
  log: number;
  checkpointed: number;
}

/**
 * Has the log copied into the file by another thread. In the one that writes it takes 50 to 150 ms each time, with two syncs, in which
 * nobody is acknowledged; and under load that is once a second. What is written meanwhile is copied here, between two batches: it is
 * little, and only a log of which nothing is left to copy is begun anew.
 */
export class Checkpoints {
  readonly #path: string;
  /** The file once more, for syncs. To close any descriptor of a file lets go of all locks that the process has on it, so this one is the last to be closed. */
  readonly #onDisk: number;
  readonly #pages: number;
  readonly #measure: StatementSync;
  readonly #copyRest: StatementSync;
  #helper: Worker | undefined;
  #state: 'waiting' | 'copying' | 'copied' = 'waiting';

  /** @param pages  After which to copy. */
  constructor(path: string, file: DatabaseSync, pages = pagesToCopy) {
    this.#path = path;
    // Some systems sync only what may be written to.
    this.#onDisk = fs.openSync(path, 'r+');
    this.#pages = pages;
    this.#measure = file.prepare('pragma wal_checkpoint(noop)');
    this.#copyRest = file.prepare('pragma wal_checkpoint(passive)');
  }

  /** Between two batches, while nobody looks at anything. */
  look(): void {
    try {
      this.#goOn();
    } catch {
      // A full disk, perhaps. Until then everything is in the log, as it is where SQLite copies at a commit and cannot.
    }
  }

  #goOn(): void {
    if (this.#state === 'copying') return;
    if (this.#state === 'copied') {
      this.#state = 'waiting';
      this.#copyRest.get();
      return;
    }
    const { log, checkpointed } = this.#measure.get() as unknown as Log;
    if (log - checkpointed < this.#pages) return;
    this.#state = 'copying';
    this.#helper ??= this.#start();
    this.#helper.postMessage('copy');
  }

  /** Most servers never need it: it is there from the first time on. */
  #start(): Worker {
    const helper = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), { workerData: { path: this.#path, onDisk: this.#onDisk }, name: 'kith-checkpoint' });
    helper.unref();
    helper.on('message', () => (this.#state = 'copied'));
    // The next one is another; until then SQLite helps itself.
    helper.on('error', () => {
      this.#helper = undefined;
      this.#state = 'waiting';
    });
    return helper;
  }

  /** Before the file is closed: its last connection puts all of the log into it, and takes it away. */
  async stop(): Promise<void> {
    const helper = this.#helper;
    if (!helper) return;
    this.#helper = undefined;
    const ended = new Promise((resolve) => helper.once('exit', resolve));
    helper.ref();
    helper.postMessage('close');
    await ended;
  }

  /** After the file is closed. */
  close(): void {
    fs.closeSync(this.#onDisk);
  }
}
