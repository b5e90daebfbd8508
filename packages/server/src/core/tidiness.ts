import { pruneAudit } from './audit.ts';
import { purgeDeleted } from './deletion.ts';
import type { Services } from './context.ts';
import { Retention } from './retention.ts';

/** Milliseconds after which what was deleted is gone from the disk, too. */
const scrubMs = 3_600_000;

/** What time takes away: each round a slice of it, so that nobody waits for it. */
export class Tidiness {
  readonly #log: Services;
  readonly #retention: Retention;
  #scrubbedAt: number | undefined;

  constructor(log: Services) {
    this.#log = log;
    this.#retention = new Retention(log);
  }

  /** @returns whether there may be more */
  async round(): Promise<boolean> {
    const { db, now } = this.#log;
    const purged = await purgeDeleted(this.#log);
    if (purged === 'gone') this.#scrubbedAt = undefined;
    const expired = await this.#retention.some();
    const more = (await pruneAudit(db, now())) || purged !== 'nothing' || expired;
    if (!more && (this.#scrubbedAt === undefined || Math.abs(now() - this.#scrubbedAt) >= scrubMs) && (await db.scrub())) this.#scrubbedAt = now();
    return more;
  }
}
