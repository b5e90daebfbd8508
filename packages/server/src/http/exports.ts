import type { Blobs } from '../blobs/blobs.ts';
import type { Core, ExportJob, FileToServe } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import type { Log } from '../log.ts';
import { Outage } from './outage.ts';
import { tarEnd, tarHeader, tarPadding } from './tar.ts';

/** How often it is looked for one that somebody waits for. */
const everyMs = 2_000;

/**
 * Makes the copies that people ask for, one at a time: parts go from the core into the blob store as they come, so that
 * none of it is in memory but the part at hand. Killed in the middle, it is begun anew.
 *
 * @returns what stops it, and the one that is being made
 */
export function openExports({ core, blobs, clock, log, now = Date.now }: { core: Core; blobs: Blobs; clock: Clock; log: Log; now?: () => number }): { close(): Promise<void> } {
  let running: Promise<void> | undefined;
  let closed = false;
  const outage = new Outage(log, 'copies of accounts');

  const next = async (): Promise<void> => {
    const job = await core.nextExport();
    if (!job) return;
    try {
      // What one that was killed has written.
      await blobs.remove(job.fileId);
      await blobs.append(job.fileId, 0, copyOf(job));
      const { size, sha256 } = await blobs.finish(job.fileId);
      await core.exportDone(job, { size, sha256 });
    } catch (error) {
      if (closed) return;
      // Who deleted their account while it was made has done nothing that an operator must look at.
      if (!(error instanceof NobodysExport)) log.error({ err: error, file: job.fileId }, 'a copy of an account could not be made');
      await core.exportDone(job, undefined);
    }
    if (!closed) await next();
  };

  async function* copyOf(job: ExportJob): AsyncGenerator<Uint8Array> {
    const at = now();
    const taken = new Set<string>();
    for (let place: string | undefined = ''; place !== undefined;) {
      if (closed) throw new Error('the server stops');
      const part = await core.exportPart(job, place);
      if (!part) throw new NobodysExport();
      for (const { name, text } of part.texts) {
        const bytes = Buffer.from(text);
        yield tarHeader(name, bytes.length, at);
        yield bytes;
        yield tarPadding(bytes.length);
      }
      const who = { userId: job.userId, sessionId: '' };
      if (part.avatar !== undefined) yield* fileOf(await core.findAvatar(who, part.avatar, '512'), 'avatar.webp', at);
      for (const id of part.files) {
        if (taken.has(id)) continue;
        taken.add(id);
        const file = await core.findFile(who, id);
        if (file) yield* fileOf(file, `files/${id}/${file.name}`, at);
      }
      place = part.next;
    }
    yield tarEnd();
  }

  async function* fileOf(file: FileToServe | undefined, name: string, at: number): AsyncGenerator<Uint8Array> {
    // Recalled this moment, or missing, which the download of it says, too.
    const bytes = file && (await blobs.read(file.blob));
    if (!bytes) return;
    yield tarHeader(name, file.size, at);
    for await (const chunk of bytes) {
      if (closed) throw new Error('the server stops');
      yield chunk as Uint8Array;
    }
    yield tarPadding(file.size);
  }

  const timer = clock.every(everyMs, () => {
    running ??= outage.during(next()).finally(() => (running = undefined));
  });

  return {
    async close() {
      closed = true;
      timer.stop();
      await running;
    },
  };
}

/** There is nobody any more whose it could be. */
class NobodysExport extends Error {}
