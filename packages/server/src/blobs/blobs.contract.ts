import { createHash, randomBytes } from 'node:crypto';
import { setImmediate as loopTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomFrom } from '../../test/crash-child.ts';
import { type Blobs, headBytes } from './blobs.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env.KITH_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

export interface BlobStage {
  blobs: Blobs;
  /** Another process on the same store: after a restart, or another node. */
  another(): Blobs;
  /** Names under which something is kept, in whatever form: to see that nothing is. */
  traces(): Promise<string[]>;
  /** Makes what is kept under this name look older. */
  age(trace: string, ms: number): void;
  close(): Promise<void>;
}

/**
 * What every store of bytes promises.
 *
 * @param breaks  How often an upload breaks: fewer where each costs many requests.
 */
export function blobsContract(name: string, open: () => Promise<BlobStage>, { breaks = 200 } = {}): void {
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

    test('[FI22] an upload whose source breaks at random bytes, again and again, ends as what was sent', async () => {
      const random = randomFrom(seed);
      const [id, bytes] = [newId(), randomBytes(1_000_003)];
      const cuts = Array.from({ length: breaks }, () => Math.floor(random() * bytes.length)).sort((a, b) => a - b);
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

    test('[FI22] what is taken off goes to the byte, wherever the pieces ended, and the upload goes on from there', async () => {
      const random = randomFrom(seed);
      const [id, bytes] = [newId(), randomBytes(900_000)];
      let at = 0;
      for (let round = 0; round < 12; round += 1) {
        const end = Math.min(bytes.length, at + Math.floor(random() * 200_000));
        expect(await blobs.append(id, at, pieces(bytes.subarray(at, end)))).toBe(end);
        at = Math.floor(end * random());
        await blobs.cut(id, at);
        expect(await blobs.offset(id)).toBe(at);
      }
      await blobs.append(id, at, pieces(bytes.subarray(at)));
      expect(await blobs.finish(id)).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
    });

    test('[FI22] a file of one byte more than a round number of pieces, and one that came byte by byte, are what they were', async () => {
      const large = randomBytes(2 * 8_388_608 + 1);
      const [first, second] = [newId(), newId()];
      expect(await blobs.append(first, 0, pieces(large))).toBe(large.length);
      expect(await blobs.finish(first)).toMatchObject({ size: large.length, sha256: sha256(large) });
      expect(await readAll(blobs, first, { start: 8_388_607, end: 8_388_608 })).toEqual(large.subarray(8_388_607, 8_388_609));
      const small = randomBytes(30);
      for (let at = 0; at < small.length; at += 1) await blobs.append(second, at, pieces(small.subarray(at, at + 1)));
      expect(await blobs.finish(second)).toMatchObject({ size: small.length, sha256: sha256(small) });
    });

    test('[FI27] what one process began, another goes on with, finishes, reads and removes', async () => {
      const [id, bytes] = [newId(), randomBytes(500_000)];
      await expect(blobs.append(id, 0, broken(bytes.subarray(0, 123_456)))).rejects.toThrow('cut');
      const second = stage.another();
      expect(await second.offset(id)).toBe(123_456);
      await second.append(id, 123_456, pieces(bytes.subarray(123_456, 400_000)));
      await blobs.append(id, 400_000, pieces(bytes.subarray(400_000)));
      expect(await second.finish(id)).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
      expect(await blobs.finish(id)).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
      expect(await readAll(blobs, id)).toEqual(bytes);
      await second.remove(id);
      expect(await blobs.read(id)).toBeUndefined();
    });

    test('[FI28] what is left of an upload goes when it is old, and nothing else does', async () => {
      const [left, young, finished] = [newId(), newId(), newId()];
      for (const id of [left, young, finished]) await blobs.append(id, 0, pieces(randomBytes(1_000)));
      await blobs.finish(finished);
      for (const trace of await stage.traces()) if (trace.includes(left) || trace.includes(finished)) stage.age(trace, 3 * 86_400_000);
      await blobs.sweep(Date.now() - 2 * 86_400_000);
      expect(await Promise.all([left, young, finished].map((id) => blobs.offset(id)))).toEqual([0, 1_000, 1_000]);
      expect((await stage.traces()).filter((trace) => trace.includes(left))).toEqual([]);
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
