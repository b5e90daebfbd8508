import { Worker } from 'node:worker_threads';

/** No thread is to be had: what was asked was not begun. */
export class NoThread extends Error {}

/** The first that the entry of such a thread says: before, it has done nothing. */
export const began = { began: true };

/**
 * A thread beside the one that writes, for what takes long: asked one thing at a time. Most servers never need it, so it is there from the first question on;
 * after one that has failed comes another. It keeps the process alive only while it is asked something.
 */
export class Helper<Question, Answer> {
  readonly #entry: URL;
  readonly #options: { name: string; workerData?: unknown };
  #thread: Worker | undefined;
  #waiting: PromiseWithResolvers<Answer> | undefined;

  /** @param entry  Of the thread: it says `began`, answers each message with one, and ends at the message `close`. */
  constructor(entry: URL, options: { name: string; workerData?: unknown }) {
    this.#entry = entry;
    this.#options = options;
  }

  /** @throws NoThread; or with what the thread ended, and then nobody knows how far it was */
  async ask(question: Question): Promise<Answer> {
    const waiting = (this.#waiting = Promise.withResolvers<Answer>());
    try {
      this.#thread ??= this.#start();
    } catch (error) {
      throw new NoThread('the system gives no thread', { cause: error });
    }
    this.#thread.ref();
    this.#thread.postMessage(question);
    return waiting.promise;
  }

  #start(): Worker {
    const thread = new Worker(this.#entry, this.#options);
    let hasBegun = false;
    thread.once('message', () => {
      hasBegun = true;
      thread.on('message', settle);
    });
    const settle = (answer: Answer): void => {
      // Unless it is being closed, for which somebody waits.
      if (this.#thread === thread) thread.unref();
      this.#waiting?.resolve(answer);
    };
    thread.on('error', (error: Error) => {
      this.#thread = undefined;
      this.#waiting?.reject(hasBegun ? error : new NoThread(error.message, { cause: error }));
    });
    return thread;
  }

  /** After what it was asked. */
  async close(): Promise<void> {
    const thread = this.#thread;
    if (!thread) return;
    this.#thread = undefined;
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    thread.ref();
    thread.postMessage('close');
    await ended;
  }
}
