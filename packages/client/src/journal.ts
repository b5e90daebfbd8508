import type { Clock } from './clock.ts';
import { type Storage, isReplicaKey } from './storage.ts';

/**
 * Writes behind: changes collect and go to storage as one batch. What changes in one turn is in one batch, so an entity
 * and the head that vouches for it are on disk together.
 */
export class Journal {
  readonly #storage: Storage;
  readonly #clock: Clock;
  /** The whole replica, for when this device has to write it anew. */
  readonly #checkpoint: () => Iterable<[string, unknown]>;
  #dirty = new Map<string, unknown>();
  #timer: unknown;
  #tail: Promise<void> = Promise.resolve();
  #torn = false;
  /** Questions to the storage that are older than anybody waits. */
  #unanswered = 0;
  #closed = false;

  constructor(storage: Storage, clock: Clock, checkpoint: () => Iterable<[string, unknown]>) {
    this.#storage = storage;
    this.#clock = clock;
    this.#checkpoint = checkpoint;
  }

  /** Everything that is kept. A storage that cannot be read, or does not answer, counts as empty: the server has it all. */
  load(): Promise<Map<string, unknown>> {
    return this.#inTime(() => this.#storage.load()).catch((error: unknown) => {
      console.warn('kith: cannot read the stored replica', error);
      this.#torn = true;
      return new Map<string, unknown>();
    });
  }

  /** `undefined` deletes. The value must not be changed afterwards. */
  put(key: string, value: unknown): void {
    if (this.#closed) return;
    this.#dirty.set(key, value);
    if (!isReplicaKey(key)) this.#storage.note?.([key, value]);
    this.#timer ??= this.#clock.setTimeout(() => void this.flush(), flushMs);
  }

  /** Resolves when they are on disk, or cannot be: they then go with the page. `undefined` deletes. */
  async putBytes(key: string, bytes: Blob | undefined): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#inTime(() => this.#storage.writeBytes(key, bytes), bytesMs);
    } catch (error) {
      console.warn('kith: cannot keep the bytes of a file', error);
    }
  }

  loadBytes(): Promise<Map<string, Blob>> {
    return this.#inTime(() => this.#storage.loadBytes()).catch((error: unknown) => {
      console.warn('kith: cannot read the bytes of unsent files', error);
      return new Map<string, Blob>();
    });
  }

  /** Resolves when all that was put before is on disk, or cannot be: a full disk stops nobody from chatting. */
  flush(): Promise<void> {
    this.#cancel();
    this.#tail = this.#tail.then(() => this.#write());
    return this.#tail;
  }

  close(): Promise<void> {
    this.#closed = true;
    void this.flush();
    return this.#closeStorage();
  }

  /** Deletes all that is kept, and keeps nothing more. */
  wipe(): Promise<void> {
    this.#closed = true;
    void this.erase();
    return this.#closeStorage();
  }

  /** Deletes all that is kept. */
  erase(): Promise<void> {
    this.#cancel();
    this.#dirty.clear();
    this.#tail = this.#tail.then(() => this.#storage.erase()).catch(() => {});
    return this.#tail;
  }

  /** In its turn: what was to be written or erased before is done with the storage still open. */
  #closeStorage(): Promise<void> {
    this.#tail = this.#tail.then(() => this.#storage.close()).catch(() => {});
    return this.#tail;
  }

  #cancel(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #write(): Promise<void> {
    if (this.#dirty.size === 0) return;
    const all = [...this.#dirty];
    this.#dirty = new Map();
    const changes = all.filter(([key]) => !isReplicaKey(key));
    const replica = all.filter(([key]) => isReplicaKey(key));
    try {
      // After a failed write the head on disk may be all that a later batch would bring: write everything again.
      if (this.#torn && replica.length > 0) await this.#inTime(() => this.#storage.write({ changes, replica: [...this.#checkpoint()], whole: true }));
      else if ((await this.#inTime(() => this.#storage.write({ changes, replica }))) === 'lapsed')
        await this.#inTime(() => this.#storage.write({ changes: [], replica: [...this.#checkpoint()], whole: true }));
      this.#torn = false;
    } catch (error) {
      console.warn('kith: cannot write to storage', error);
      this.#torn = true;
      for (const [key, value] of changes) if (!this.#dirty.has(key)) this.#dirty.set(key, value);
    }
  }

  /**
   * What a browser began it may never end: another tab that stands still in the middle of a transaction holds up all of
   * them. Until an answer comes, nothing more is asked.
   */
  #inTime<T>(work: () => Promise<T>, ms = answerMs): Promise<T> {
    if (this.#unanswered > 0) return Promise.reject(new Error('The storage does not answer.'));
    return new Promise((resolve, reject) => {
      let late = false;
      const timer = this.#clock.setTimeout(() => {
        late = true;
        this.#unanswered += 1;
        reject(new Error(`The storage did not answer within ${ms / 1000} s.`));
      }, ms);
      const onAnswer = (): void => {
        this.#clock.clearTimeout(timer);
        if (late) this.#unanswered -= 1;
      };
      work().then(resolve, reject).finally(onAnswer);
    });
  }
}

/** Milliseconds that changes may collect before they are written. */
const flushMs = 50;
/** Milliseconds after which nobody waits for the storage any longer. What was given to it may still be written later. */
const answerMs = 10_000;
/** The same for the bytes of a file, of up to some hundreds of megabytes. */
const bytesMs = 120_000;
