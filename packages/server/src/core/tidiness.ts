import { pruneAudit } from './audit.ts';
import { purgeDeleted } from './deletion.ts';
import type { Log } from './streams.ts';

/** Milliseconds after which what was deleted is gone from the disk, too. */
const scrubMs = 3_600_000;

/** What time takes away: each round a slice of it, so that nobody waits for it. */
export class Tidiness {
  readonly #log: Log;
  #scrubbedAt: number | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @returns whether there may be more */
  async round(): Promise<boolean> {
    const { db, now } = this.#log;
    const purged = await purgeDeleted(this.#log);
    if (purged === 'gone') this.#scrubbedAt = undefined;
    const more = (await pruneAudit(db, now())) || purged !== 'nothing';
    if (!more && (this.#scrubbedAt === undefined || Math.abs(now() - this.#scrubbedAt) >= scrubMs) && (await db.scrub())) this.#scrubbedAt = now();
    return more;
  }
}
