import fs from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Helper, NoThread } from './helper.ts';
import { isUnsynced } from './sqlite-errors.ts';
import { noteUnsynced } from './unsynced.ts';

/**
 * Pages of the log after which it is copied into the file: 32 MiB. A message changes four pages of an index here and there, and the
 * same ones soon again; copied after every 4 MiB, as it is by default, most would be copied only to be changed once more, with two syncs each time.
 */
const pagesToCopy = 8_000;
/** Pages after which the thread that writes copies, when nobody else has until then. */
const pagesToStop = 32_000;

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
  /**
   * Why nobody knows what the disk has of the file, once that is so. The log has it, and is not begun anew: nothing more is copied, and the process has to end
   * without closing the file, because the last connection to be closed would copy the rest and take the log away. The next start copies all of it again.
   */
  get unsynced(): string | undefined {
    return this.#unsynced;
  }

  readonly #path: string;
  #unsynced: string | undefined;
  /** The file once more, for syncs. To close any descriptor of a file lets go of all locks that the process has on it, so this one is the last to be closed. */
  readonly #onDisk: number;
  readonly #pages: number;
  readonly #measure: StatementSync;
  readonly #copyRest: StatementSync;
  readonly #empty: StatementSync;
  readonly #helper: Helper<'copy', string | undefined>;
  #state: 'waiting' | 'copying' | 'copied' = 'waiting';

  /** @param pages  After which to copy. */
  constructor(path: string, file: DatabaseSync, pages = pagesToCopy) {
    this.#path = path;
    // Some systems sync only what may be written to.
    this.#onDisk = fs.openSync(path, 'r+');
    this.#helper = new Helper(new URL('./checkpoint-worker.ts', import.meta.url), { workerData: { path, onDisk: this.#onDisk }, name: 'kith-checkpoint' });
    this.#pages = pages;
    this.#measure = file.prepare('pragma wal_checkpoint(noop)');
    this.#copyRest = file.prepare('pragma wal_checkpoint(passive)');
    this.#empty = file.prepare('pragma wal_checkpoint(truncate)');
  }

  /** Between two batches, while nobody looks at anything. */
  look(): void {
    try {
      if (this.#unsynced === undefined) this.#goOn();
    } catch (error) {
      // A full disk, perhaps. Until then everything is in the log.
      this.#heed(error);
    }
  }

  /**
   * Copies the log into the file and cuts it off: until then it has the pages as they were. Between two batches.
   *
   * @returns whether nobody was in the way
   */
  empty(): boolean {
    try {
      const { busy } = this.#empty.get() as { busy: number };
      return busy === 0;
    } catch (error) {
      this.#heed(error);
      throw error;
    }
  }

  #heed(error: unknown): void {
    if (isUnsynced(error)) this.#lose(error.message);
  }

  #lose(why: string): void {
    this.#unsynced = why;
    noteUnsynced(this.#path);
  }

  #goOn(): void {
    if (this.#state === 'copied') {
      this.#state = 'waiting';
      this.#copyRest.get();
      return;
    }
    const { log, checkpointed } = this.#measure.get() as unknown as Log;
    const left = log - checkpointed;
    if (left >= pagesToStop) this.#copyRest.get();
    if (left < this.#pages || this.#state === 'copying') return;
    this.#state = 'copying';
    this.#helper.ask('copy').then(
      (unsynced) => {
        this.#state = 'copied';
        if (unsynced !== undefined) this.#lose(unsynced);
      },
      (error: unknown) => {
        this.#state = 'waiting';
        // How far it was, and what it was told, nobody knows.
        if (!(error instanceof NoThread)) this.#lose(String(error));
      },
    );
  }

  /** Before the file is closed: its last connection puts all of the log into it, and takes it away. */
  stop(): Promise<void> {
    return this.#helper.close();
  }

  /** After the file is closed. */
  close(): void {
    fs.closeSync(this.#onDisk);
  }
}
