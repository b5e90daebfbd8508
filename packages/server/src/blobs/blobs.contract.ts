import { createHash, randomBytes } from 'node:crypto';
import { setImmediate as loopTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomFrom } from '../../test/crash-child.ts';
import { type Blobs, headBytes } from './blobs.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env.KITH_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

export interface BlobStage {
  blobs: Blobs;
  /** What is kept of these ids, in whatever form: to see that nothing is. */
  traces(): Promise<string[]>;
  close(): Promise<void>;
}

/** What every store of bytes promises. */
export function blobsContract(name: string, open: () => Promise<BlobStage>): void {
  describe(`${name}, seed ${seed}`, () => {
    let stage: BlobStage;
    let blobs: Blobs;
    beforeAll(async () => {
      stage = await open();
      ({ blobs } = stage);
    });
    afterAll(() => stage.close());

    test('[FI20] bytes that were added in pieces are read back as they were, with their hash and their beginning', async () => {
      const [id, bytes] = [newId(), randomBytes(700_001)];
      expect(await blobs.offset(id)).toBe(0);
      expect(await blobs.append(id, 0, pieces(bytes.subarray(0, 300_000)))).toBe(300_000);
      expect(await blobs.offset(id)).toBe(300_000);
      expect(await blobs.append(id, 300_000, pieces(bytes.subarray(300_000)))).toBe(bytes.length);
      const finished = { size: bytes.length, sha256: sha256(bytes), head: expect.anything() };
      const { head } = await blobs.finish(id);
      expect(Buffer.from(head)).toEqual(bytes.subarray(0, headBytes));
      expect(await blobs.finish(id)).toEqual(finished);
      expect(await blobs.offset(id)).toBe(bytes.length);
      expect(await readAll(blobs, id)).toEqual(bytes);
    });

    test('[FI20] a file of no bytes is a file', async () => {
      const id = newId();
      expect(await blobs.finish(id)).toMatchObject({ size: 0, sha256: sha256(Buffer.alloc(0)) });
      expect(await readAll(blobs, id)).toEqual(Buffer.alloc(0));
    });

    test('[FI21] nothing of an upload can be read before it is finished', async () => {
      const id = newId();
      expect(await blobs.read(id)).toBeUndefined();
      await blobs.append(id, 0, pieces(randomBytes(1_000)));
      expect(await blobs.read(id)).toBeUndefined();
      await blobs.finish(id);
      expect(await readAll(blobs, id)).toHaveLength(1_000);
    });

    test('[FI22] an upload whose source breaks at random bytes, two hundred times, ends as what was sent', async () => {
      const random = randomFrom(seed);
      const [id, bytes] = [newId(), randomBytes(1_000_003)];
      const cuts = Array.from({ length: 200 }, () => Math.floor(random() * bytes.length)).sort((a, b) => a - b);
      let at = 0;
      for (const end of cuts) {
        await expect(blobs.append(id, at, broken(bytes.subarray(at, end)))).rejects.toThrow('cut');
        at = await blobs.offset(id);
        expect(at).toBe(end);
      }
      await blobs.append(id, at, pieces(bytes.subarray(at)));
      expect((await blobs.finish(id)).sha256).toBe(sha256(bytes));
    });

    test('[FI22] bytes go to the end and nowhere else, and can be taken off it again', async () => {
      const id = newId();
      await blobs.append(id, 0, pieces(Buffer.from('one two')));
      for (const at of [0, 6, 8]) await expect(blobs.append(id, at, pieces(Buffer.from('x')))).rejects.toMatchObject({ code: 'incomplete' });
      await blobs.cut(id, 3);
      expect(await blobs.append(id, 3, pieces(Buffer.from(' more')))).toBe(8);
      await blobs.finish(id);
      expect((await readAll(blobs, id))?.toString()).toBe('one more');
    });

    test('[FI23] any range of bytes can be read', async () => {
      const random = randomFrom(seed);
      const [id, bytes] = [newId(), randomBytes(600_000)];
      await blobs.append(id, 0, pieces(bytes));
      await blobs.finish(id);
      const ranges = Array.from({ length: 50 }, () => {
        const start = Math.floor(random() * bytes.length);
        return { start, end: start + Math.floor(random() * (bytes.length - start)) };
      });
      for (const range of [{ start: 0, end: 0 }, { start: bytes.length - 1, end: bytes.length - 1 }, ...ranges]) {
        const read = await readAll(blobs, id, range);
        expect({ range, same: read?.equals(bytes.subarray(range.start, range.end + 1)) }).toEqual({ range, same: true });
      }
    });

    test('[FI24] who reads while a file is removed reads it to the end; after that it is gone, and nothing of it is left', async () => {
      const [id, bytes] = [newId(), randomBytes(3_000_000)];
      await blobs.append(id, 0, pieces(bytes));
      await blobs.finish(id);
      const readers = await Promise.all(Array.from({ length: 8 }, () => blobs.read(id)));
      const started = readers.map(async (reader) => {
        const chunks: Buffer[] = [];
        for await (const chunk of reader!) {
          chunks.push(chunk as Buffer);
          await loopTurn();
        }
        return sha256(Buffer.concat(chunks));
      });
      await blobs.remove(id);
      expect(await blobs.read(id)).toBeUndefined();
      expect(new Set(await Promise.all(started))).toEqual(new Set([sha256(bytes)]));
      expect(await blobs.offset(id)).toBe(0);
      await blobs.remove(id);
      await blobs.remove(newId());
      expect((await stage.traces()).filter((trace) => trace.includes(id))).toEqual([]);
    });

    test('[FI24] an upload that is removed leaves nothing', async () => {
      const id = newId();
      await blobs.append(id, 0, pieces(randomBytes(1_000)));
      await blobs.remove(id);
      expect(await blobs.offset(id)).toBe(0);
      expect((await stage.traces()).filter((trace) => trace.includes(id))).toEqual([]);
    });
  });
}

let made = 0;
export const newId = (): string => `0198-file-${(made += 1)}-${randomBytes(4).toString('hex')}`;
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** As a socket gives them: some at a time. */
export async function* pieces(bytes: Buffer, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    await loopTurn();
    yield bytes.subarray(at, at + size);
  }
}

async function* broken(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield* pieces(bytes);
  throw new Error('cut');
}

export async function readAll(blobs: Blobs, id: string, range?: { start: number; end: number }): Promise<Buffer | undefined> {
  const reader = await blobs.read(id, range);
  return reader && Buffer.concat((await reader.toArray()) as Buffer[]);
}
