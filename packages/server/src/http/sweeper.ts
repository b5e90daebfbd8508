import type { Core } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import type { Log } from '../log.ts';
import type { Blobs } from '../blobs/blobs.ts';
import { Outage } from './outage.ts';
import { removeFile } from './renditions.ts';

/** How often. So long the bytes of a file may outlive its last message; nobody can read them meanwhile. */
const everyMs = 60_000;
/** How often what is left of uploads is looked for, and how old it is then: an upload has a day. */
const leftoversEveryMs = 3_600_000;
const leftoversMs = 172_800_000;

/**
 * Deletes the bytes of files that no message has any more, of uploads that nobody sent within their time, and of originals
 * that were cleaned. First the bytes, then the row: killed in between, the row is found again and there is nothing left to
 * delete. What an upload that was just running writes behind that, when the process is killed before it takes it back, is too
 * old after two days.
 *
 * @returns what stops it and waits for the round that runs
 */
export function openSweeper({ core, blobs, clock, log, now = Date.now }: { core: Core; blobs: Blobs; clock: Clock; log: Log; now?: () => number }): { close(): Promise<void> } {
  let running: Promise<void> | undefined;
  let sweeping: Promise<void> | undefined;
  let closed = false;
  const tidying = new Outage(log, 'what is too old');
  const files = new Outage(log, 'files that nobody needs');
  const leftOver = new Outage(log, 'what is left of uploads');

  const round = async (): Promise<void> => {
    const ids = await core.unusedFiles();
    for (const id of ids) await removeFile(blobs, id);
    if (ids.length > 0) await core.forgetFiles(ids);
    const left = await core.originals();
    for (const id of left) await blobs.remove(id);
    if (left.length > 0) await core.forgetOriginals(left);
    if (ids.length + left.length > 0 && !closed) await round();
  };

  const tidyUp = async (): Promise<void> => {
    if ((await core.tidy()) && !closed) await tidyUp();
  };

  const timer = clock.every(everyMs, () => {
    // The next minute tries again, from where this one came to.
    running ??= tidying
      .during(tidyUp())
      .then(() => files.during(round()))
      .finally(() => (running = undefined));
  });

  const leftovers = clock.every(leftoversEveryMs, () => {
    sweeping ??= leftOver.during(blobs.sweep(now() - leftoversMs)).finally(() => (sweeping = undefined));
  });

  return {
    async close() {
      closed = true;
      timer.stop();
      leftovers.stop();
      await running;
      await sweeping;
    },
  };
}
