import { RequestError } from '@kith/protocol';
import type { Log } from '../log.ts';

/**
 * What is done again and again and cannot be just now, because the database is away or the disk is full: said once, as a
 * warning, and once when it goes on. Whatever else goes wrong is a bug, and said each time.
 */
export class Outage {
  readonly #log: Log;
  readonly #what: string;
  #lasts = false;

  /** @param what  Is done again and again: "copies of accounts". */
  constructor(log: Log, what: string) {
    this.#log = log;
    this.#what = what;
  }

  /** One round. It never rejects. */
  async during(round: Promise<void>): Promise<void> {
    try {
      await round;
      if (this.#lasts) this.#log.info(`${this.#what}: again`);
      this.#lasts = false;
    } catch (error) {
      if (!(error instanceof RequestError)) this.#log.error({ err: error }, `${this.#what}: failed`);
      else if (!this.#lasts) {
        this.#log.warn({ err: error }, `${this.#what}: not for now`);
        this.#lasts = true;
      }
    }
  }
}
