import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Fate, type TestS3, startBadWire, startS3 } from '../../test/s3.ts';
import { openLog } from '../log.ts';
import { openMetrics } from '../metrics.ts';
import type { Blobs } from './blobs.ts';
import { blobsContract, newId, pieces, readAll, sha256 } from './blobs.contract.ts';
import { openS3 } from './s3.ts';

const log = openLog({ logLevel: 'silent' });

blobsContract(
  'in S3',
  async () => {
    const s3 = await startS3();
    const another = (): Blobs => openS3(s3.options, { log, metrics: openMetrics() });
    return { blobs: another(), another, traces: async () => s3.keys(), age: s3.age, close: s3.close };
  },
  { breaks: 50 },
);

describe('a store in S3 that does not do what it should', () => {
  let s3: TestS3;
  let sound: Blobs;
  beforeAll(async () => {
    s3 = await startS3();
    sound = openS3(s3.options, { log, metrics: openMetrics() });
  });
  afterAll(() => s3.close());

  /** A store behind a wire that does this with its requests. */
  async function behind(decide: (request: { method?: string; url?: string }) => Fate, more: { answerMs?: number; partBytes?: number } = {}) {
    const wire = await startBadWire(s3);
    onTestFinished(() => wire.close());
    wire.decide = decide;
    const metrics = openMetrics();
    const failures = async () => (await metrics.storeRequests.get()).values.reduce((sum, { labels, value }) => sum + (labels.outcome === 'failed' ? value : 0), 0);
    return { blobs: openS3(wire.options, { log, metrics, retryMs: 1, ...more }), wire, failures };
  }

  test('[FI29] a request that fails once is made again, and nobody notices but the operator', async () => {
    const seen = new Map<string, number>();
    const fates: Fate[] = ['cut', { status: 503, code: 'SlowDown' }, 'cut the answer', { status: 500 }, { status: 429 }];
    // Each request fails at its first try, each in another way.
    const { blobs, failures } = await behind(({ method, url }) => {
      const tries = (seen.get(`${method} ${url}`) ?? 0) + 1;
      seen.set(`${method} ${url}`, tries % 2);
      return tries % 2 === 1 ? fates[seen.size % fates.length]! : 'pass';
    });
    const [id, bytes] = [newId(), randomBytes(9_000_000)];
    expect(await blobs.append(id, 0, pieces(bytes))).toBe(bytes.length);
    expect(await blobs.finish(id)).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
    expect(await readAll(blobs, id, { start: 8_999_990, end: 8_999_999 })).toEqual(bytes.subarray(-10));
    await blobs.remove(id);
    expect(s3.keys().filter((key) => key.includes(id))).toEqual([]);
    expect(await failures()).toBeGreaterThan(8);
  });

  test.each<[string, Fate]>([
    ['cuts every connection', 'cut'],
    ['is broken', { status: 500 }],
    ['refuses our keys', { status: 403, code: 'AccessDenied' }],
  ])('[FI29] a store that %s is busy, until it comes to itself', async (_, fate) => {
    const code = 'busy';
    const { blobs, wire, failures } = await behind(() => fate);
    const id = newId();
    await expect(blobs.offset(id)).rejects.toMatchObject({ code });
    await expect(blobs.read(id)).rejects.toMatchObject({ code });
    await expect(blobs.append(id, 0, pieces(randomBytes(10)))).rejects.toMatchObject({ code });
    expect(await failures()).toBeGreaterThanOrEqual(3);
    wire.decide = () => 'pass';
    expect(await blobs.append(id, 0, pieces(randomBytes(10)))).toBe(10);
  });

  test('[FI29] a store that never answers, or stops in the middle of what it says, is busy', async () => {
    const [id, bytes] = [newId(), randomBytes(300_000)];
    await sound.append(id, 0, pieces(bytes));
    const silent = await behind(() => 'hang', { answerMs: 50 });
    await expect(silent.blobs.offset(id)).rejects.toMatchObject({ code: 'busy' });
    await expect(silent.blobs.read(id)).rejects.toMatchObject({ code: 'busy' });
    expect(await silent.failures()).toBe(6);
    const tired = await behind(({ method, url }) => (method === 'GET' && !url!.includes('list-type') ? 'stop in the middle' : 'pass'), { answerMs: 1_000 });
    await expect(tired.blobs.finish(id)).rejects.toMatchObject({ code: 'busy' });
    expect(await sound.finish(id)).toMatchObject({ sha256: sha256(bytes) });
  });

  test('[FI29] a store that sends another part of a file than was asked for is not believed', async () => {
    const id = newId();
    await sound.append(id, 0, pieces(randomBytes(1_000)));
    await sound.finish(id);
    const { blobs } = await behind(() => 'forget the range');
    await expect(blobs.read(id, { start: 10, end: 20 })).rejects.toThrow('other bytes');
  });

  test.each([
    { status: 507, code: 'XMinioStorageFull' },
    { status: 403, code: 'QuotaExceeded' },
  ])('[FI29] what had come before the store was full ($code) stays, and the upload goes on when there is room', async (full) => {
    let room = 2;
    const { blobs, wire } = await behind(({ method }) => (method === 'PUT' && (room -= 1) < 0 ? full : 'pass'), { partBytes: 100_000 });
    const [id, bytes] = [newId(), randomBytes(500_000)];
    await expect(blobs.append(id, 0, pieces(bytes))).rejects.toMatchObject({ code: 'storage_full' });
    const at = await blobs.offset(id);
    expect(at).toBeGreaterThan(200_000);
    expect(at).toBeLessThan(bytes.length);
    wire.decide = () => 'pass';
    await blobs.append(id, at, pieces(bytes.subarray(at)));
    expect((await blobs.finish(id)).sha256).toBe(sha256(bytes));
  });

  test.each([
    ['a file of one part', 30_000],
    ['one of several', 100_000],
  ])('[FI21] cut off at any request of finishing %s, it is as before or whole; asked again, it is whole, and nothing else is left', async (_, size) => {
    const bytes = randomBytes(size);
    const small = openS3(s3.options, { log, metrics: openMetrics(), partBytes: 40_000 });
    let finished = false;
    for (let step = 1; !finished; step += 1) {
      for (const fate of ['cut', 'cut the answer'] as const) {
        const id = newId();
        await small.append(id, 0, pieces(bytes, 10_000));
        let requests = 0;
        // From there on nothing gets through any more: the process is gone.
        const { blobs } = await behind(() => ((requests += 1) < step ? 'pass' : fate === 'cut the answer' && requests === step ? fate : 'cut'), { partBytes: 40_000 });
        finished = await blobs.finish(id).then(
          () => true,
          () => false,
        );
        const seen = await readAll(sound, id);
        expect(seen === undefined || seen.equals(bytes)).toBe(true);
        expect(await sound.offset(id)).toBe(size);
        expect(await sound.finish(id)).toMatchObject({ size, sha256: sha256(bytes) });
        expect(s3.keys().filter((key) => key.includes(id))).toEqual([id]);
        await sound.remove(id);
      }
    }
  });

  test('[FI27] two nodes that write at the same place, because one did not know of the other, end with the right bytes', async () => {
    const [id, bytes] = [newId(), randomBytes(1_000_000)];
    const other = openS3(s3.options, { log, metrics: openMetrics() });
    let goOn = (): void => {};
    const held = new Promise<void>((resolve) => (goOn = resolve));
    async function* late(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 300_000);
      await held;
      throw new Error('the client has gone to the other node');
    }
    const first = sound.append(id, 0, late());
    first.catch(() => {});
    expect(await other.offset(id)).toBe(0);
    await other.append(id, 0, pieces(bytes.subarray(0, 500_000)));
    goOn();
    await expect(first).rejects.toThrow('other node');
    expect(await other.offset(id)).toBe(500_000);
    await other.append(id, 500_000, pieces(bytes.subarray(500_000)));
    expect(await sound.finish(id)).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
  });
});
