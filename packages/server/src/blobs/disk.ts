import { createHash } from 'node:crypto';
import { type Stats, constants } from 'node:fs';
import fs, { type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { RequestError } from '@kith/protocol';
import { type Blobs, type Finished, headBytes } from './blobs.ts';

/** Read at once to be hashed: small enough that hashing it holds up nobody. */
const chunkBytes = 262_144;
/** Bytes that may have come and not be written yet, of one upload. */
const waitingMost = 524_288;
/** How many bytes are written between two looks at what is free. */
const lookEvery = 8_388_608;

/**
 * Files in a folder: what is still coming in `incoming/<id>`, what is finished in `<last two characters of the id>/<id>`,
 * because the first ones tell the time and are all the same.
 *
 * @param reserveBytes  What an upload leaves free on the disk for everything else. 0: nothing.
 */
export function openDisk(folder: string, { reserveBytes }: { reserveBytes: number }): Blobs {
  const incoming = (id: string): string => path.join(folder, 'incoming', checked(id));
  const finished = (id: string): string => path.join(folder, checked(id).slice(-2), id);

  const requireRoom = async (bytes: number): Promise<void> => {
    if (reserveBytes === 0) return;
    const { bavail, bsize } = await fs.statfs(folder);
    if (bavail * bsize - bytes < reserveBytes) throw new RequestError('storage_full');
  };

  return {
    async offset(id) {
      return (await sizeOf(finished(id))) ?? (await sizeOf(incoming(id))) ?? 0;
    },

    async append(id, at, source) {
      const handle = await opened(incoming(id));
      try {
        if ((await handle.stat()).size !== at) throw new RequestError('incomplete');
        let looked = -Infinity;
        return await writeBehind(source, at, async (chunks, place) => {
          if (place - looked >= lookEvery) {
            await requireRoom(chunks.reduce((sum, { length }) => sum + length, 0));
            looked = place;
          }
          return writeAll(handle, chunks, place);
        });
      } catch (error) {
        throw full.has((error as NodeJS.ErrnoException).code ?? '') ? new RequestError('storage_full') : error;
      } finally {
        await handle.close();
      }
    },

    async cut(id, at) {
      await fs.truncate(incoming(id), at);
    },

    async finish(id) {
      const [from, to] = [incoming(id), finished(id)];
      const shelf = path.dirname(to);
      if ((await sizeOf(to)) !== undefined) {
        // Killed after the rename and before it was durable, or simply asked again.
        await syncFolder(shelf);
        return withFile(to, describe);
      }
      const found = await withFile(await made(from), async (handle) => {
        await handle.sync();
        return describe(handle);
      });
      await makeFolder(shelf);
      await fs.rename(from, to);
      await syncFolder(shelf);
      return found;
    },

    async read(id, range) {
      let handle: FileHandle;
      try {
        handle = await fs.open(finished(id));
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
      return handle.createReadStream({ ...range, highWaterMark: chunkBytes });
    },

    async remove(id) {
      await fs.rm(incoming(id), { force: true });
      const file = finished(id);
      if ((await sizeOf(file)) === undefined) return;
      await fs.rm(file, { force: true });
      // Who forgets the row after this must not find the bytes back after a power cut.
      await syncFolder(path.dirname(file));
    },

    async sweep(before) {
      const arriving = path.join(folder, 'incoming');
      for (const name of await namesIn(arriving)) {
        const file = path.join(arriving, name);
        const { mtimeMs = Infinity } = (await statOf(file)) ?? {};
        if (mtimeMs < before) await fs.rm(file, { force: true });
      }
    },
  };
}

const full = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Ids come from our own database; what could climb out of the folder is a mistake of ours, and ends here. */
function checked(id: string): string {
  if (!/^[A-Za-z0-9-]{2,64}$/.test(id)) throw new Error('this is no id of a file');
  return id;
}

async function statOf(file: string): Promise<Stats | undefined> {
  try {
    return await fs.stat(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

const sizeOf = async (file: string): Promise<number | undefined> => (await statOf(file))?.size;

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await fs.readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

const opened = async (file: string): Promise<FileHandle> => {
  await makeFolder(path.dirname(file));
  return fs.open(file, constants.O_RDWR | constants.O_CREAT, 0o600);
};

/** An upload of no bytes at all has no file yet. */
async function made(file: string): Promise<string> {
  await (await opened(file)).close();
  return file;
}

async function withFile<T>(file: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await fs.open(file, 'r+');
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

/**
 * Writes while more comes in: what came during one write goes with the next. What had come when the source broke is
 * written before that is said.
 *
 * @param write  Writes all of these there. @returns where they end
 * @returns where the last one ends
 */
async function writeBehind(source: AsyncIterable<Uint8Array>, at: number, write: (chunks: Uint8Array[], at: number) => Promise<number>): Promise<number> {
  let waiting: Uint8Array[] = [];
  let [end, written] = [at, at];
  let writing: Promise<void> | undefined;
  let failure: { error: unknown } | undefined;
  const writeWaiting = async (): Promise<void> => {
    try {
      while (waiting.length > 0) {
        const chunks = waiting;
        waiting = [];
        written = await write(chunks, written);
      }
    } catch (error) {
      failure = { error };
    } finally {
      writing = undefined;
    }
  };
  try {
    for await (const chunk of source) {
      if (failure) break;
      waiting.push(chunk);
      end += chunk.length;
      writing ??= writeWaiting();
      if (end - written > waitingMost) await writing;
    }
  } finally {
    await writing;
  }
  if (failure) throw failure.error;
  return end;
}

async function writeAll(handle: FileHandle, chunks: Uint8Array[], at: number): Promise<number> {
  let end = at;
  for (let left = chunks; left.length > 0;) {
    let { bytesWritten } = await handle.writev(left, end);
    end += bytesWritten;
    while (left[0] && left[0].length <= bytesWritten) {
      bytesWritten -= left[0].length;
      left = left.slice(1);
    }
    if (left[0]) left = [left[0].subarray(bytesWritten), ...left.slice(1)];
  }
  return end;
}

async function describe(handle: FileHandle): Promise<Finished> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(chunkBytes);
  let head = Buffer.alloc(0);
  let size = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, chunkBytes, size);
    if (bytesRead === 0) return { size, sha256: hash.digest('hex'), head };
    if (size === 0) head = Buffer.from(buffer.subarray(0, Math.min(headBytes, bytesRead)));
    hash.update(buffer.subarray(0, bytesRead));
    size += bytesRead;
  }
}

/** Makes a folder that a power cut does not take away again: a new name is durable when the folder it stands in is. */
async function makeFolder(folder: string): Promise<void> {
  const first = await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let one = folder; ; one = path.dirname(one)) {
    await syncFolder(path.dirname(one));
    if (one === first) return;
  }
}

async function syncFolder(folder: string): Promise<void> {
  // Windows has no such thing, and keeps names in order by itself.
  if (process.platform === 'win32') return;
  const handle = await fs.open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
