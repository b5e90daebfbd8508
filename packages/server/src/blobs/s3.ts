import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { ReadableStream } from 'node:stream/web';
import { RequestError } from '@kith/protocol';
import { S3ServiceError, S3mini } from 's3mini';
import { ConfigError } from '../config.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type Blobs, type Finished, headBytes } from './blobs.ts';

/** Bytes of all unfinished parts together that wait in memory to be written. */
const waitingBytes = 134_217_728;
/** What a part has at least before it is written, and below which it grows with the next bytes. */
const partLeast = 262_144;
/** Files that are put together at once: each holds one part in memory. */
const finishingMost = 4;
/** Parts that are deleted at once. */
const deletingMost = 8;

export interface S3Options {
  /** Without the bucket. */
  endpoint: string;
  bucket: string;
  region: string;
  accessKey: string;
  secretKey: string;
}

interface Parts {
  log: Log;
  metrics: Pick<Metrics, 'storeRequests'>;
  /** Milliseconds for the beginning of an answer, and between two pieces of one that we wait for. */
  answerMs?: number;
  /** Milliseconds before the first repetition; then twice as long. */
  retryMs?: number;
  /** Bytes of one part, as far as memory allows. Many stores take none below 5 MiB, except the last. Default: 8 MiB. */
  partBytes?: number;
}

/** Part of an unfinished upload: an object of its own. */
interface Part {
  key: string;
  start: number;
  end: number;
}

type Operation = 'head' | 'list' | 'get' | 'put' | 'copy' | 'delete';

/**
 * Objects in a bucket: what is finished in `<id>`, what is still coming in `incoming.<id>.<start>.<end>`, and nothing on
 * this machine. So an upload goes on at whichever node its next request comes to.
 *
 * A part is never written over. Where two nodes wrote at the same place, because one did not know yet that its client had
 * gone to the other, the parts overlap, and the longer one counts.
 */
export function openS3({ endpoint, bucket, region, accessKey, secretKey }: S3Options, parts: Parts): Blobs & { check(): Promise<void> } {
  const { log, metrics, answerMs = 30_000, retryMs = 200, partBytes = 8_388_608 } = parts;
  const s3 = new S3mini({ endpoint: `${endpoint}/${bucket}`, region, accessKeyId: accessKey, secretAccessKey: secretKey, fetch: (url, init) => answeredIn(answerMs, url, init) });
  const finishing = gate(finishingMost);
  let running = 0;
  let failing = false;

  /**
   * One request, again if it may work then: all of ours may be repeated.
   *
   * @throws S3ServiceError 404, where something is not there; busy and storage_full
   */
  const ask = async <T>(operation: Operation, work: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const result = await work();
        metrics.storeRequests.inc({ operation, outcome: 'ok' });
        if (failing) log.info('the store of files answers again');
        failing = false;
        return result;
      } catch (error) {
        const { status, serviceCode = '' } = serviceError(error) ?? { status: undefined };
        if (status === 404 && serviceCode !== 'NoSuchBucket') {
          metrics.storeRequests.inc({ operation, outcome: 'missing' });
          throw error;
        }
        metrics.storeRequests.inc({ operation, outcome: 'failed' });
        if (status === 507 || /quota|storagefull/i.test(serviceCode)) throw new RequestError('storage_full');
        const mayWork = status === undefined || status === 429 || status >= 500;
        if (mayWork && attempt < 3) {
          await pause(retryMs * attempt * (0.5 + Math.random()));
          continue;
        }
        // Said once, and not with the answer's body: it quotes the request, with what it was signed.
        if (!failing) log.error({ operation, status, code: serviceCode || (error as Error).message }, 'the store of files does not do what it should');
        failing = true;
        throw new RequestError('busy', { message: 'The store of files does not answer.', retryAfterMs: 5_000 });
      }
    }
  };

  const sizeOf = async (key: string): Promise<number | undefined> => orMissing(ask('head', () => s3.getContentLength(key)));

  const list = async (prefix: string): Promise<{ Key: string; LastModified: Date }[]> => {
    const found = await ask('list', () => s3.listObjects('/', prefix));
    if (found === null) throw new RequestError('busy', { message: 'The store of files is not there.', retryAfterMs: 5_000 });
    return found;
  };

  const partsOf = async (id: string): Promise<Part[]> =>
    (await list(`incoming.${id}.`)).flatMap(({ Key: key }) => {
      const [, start, end] = /\.(\d+)\.(\d+)$/.exec(key) ?? [];
      return start === undefined ? [] : { key, start: Number(start), end: Number(end) };
    });

  const put = async (key: string, bytes: Uint8Array): Promise<void> => {
    await ask('put', () => s3.putObject(key, bytes));
  };

  const get = async (key: string, from: number, to: number | undefined): Promise<ReadableStream<Uint8Array> | undefined> => {
    const whole = from === 0 && to === undefined;
    const answer = await orMissing(ask('get', () => s3.getObjectRaw(key, whole, from, to)));
    if (!answer) return undefined;
    // One that knows no ranges sends something else than what was asked for, and says so.
    if (!whole && !answer.headers.get('content-range')?.startsWith(`bytes ${from}-${to === undefined ? '' : `${to - 1}/`}`)) {
      await answer.body?.cancel();
      throw new Error('the store of files sent other bytes than those it was asked for');
    }
    return (answer.body ?? new Blob([]).stream()) as ReadableStream<Uint8Array>;
  };

  /** Bytes that we read ourselves. @throws busy when they stop coming */
  async function* bytesOf(key: string, from = 0, to?: number): AsyncGenerator<Uint8Array> {
    const body = await get(key, from, to);
    if (!body) throw new RequestError('incomplete');
    const reader = body.getReader();
    try {
      for (;;) {
        const next = await within(answerMs, reader.read());
        if (next.done) return;
        yield next.value;
      }
    } catch {
      metrics.storeRequests.inc({ operation: 'get', outcome: 'failed' });
      throw new RequestError('busy', { message: 'The store of files does not answer.', retryAfterMs: 5_000 });
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  const removeAll = async (keys: string[]): Promise<void> => {
    for (let at = 0; at < keys.length; at += deletingMost) await Promise.all(keys.slice(at, at + deletingMost).map((key) => ask('delete', () => s3.deleteObject(key))));
  };

  const describe = async (key: string): Promise<Finished> => {
    const hash = createHash('sha256');
    let [head, size] = [Buffer.alloc(0), 0];
    for await (const chunk of bytesOf(key)) {
      if (head.length < headBytes) head = Buffer.concat([head, chunk.subarray(0, headBytes - head.length)]);
      hash.update(chunk);
      size += chunk.length;
    }
    return { size, sha256: hash.digest('hex'), head };
  };

  /** Makes one object of the parts: it is there as a whole or not at all. */
  const assemble = async (id: string, chain: Link[]): Promise<void> => {
    const [first] = chain;
    if (!first) return put(id, new Uint8Array());
    if (chain.length === 1) return void (await ask('copy', () => s3.copyObject(first.key, id)));
    const blocks = inBlocks(partBytes, chain, ({ key, from, end, start }) => bytesOf(key, from, end - start));
    if (endOf(chain) <= partBytes) return put(id, Buffer.concat(await collected(blocks)));
    const uploadId = await ask('put', () => s3.getMultipartUploadId(id));
    try {
      const sent: { partNumber: number; etag: string }[] = [];
      for await (const block of blocks) sent.push(await ask('put', () => s3.uploadPart(id, uploadId, block, sent.length + 1)));
      await ask('put', () => s3.completeMultipartUpload(id, uploadId, sent));
    } catch (error) {
      // What cannot be ended here is ended by the rule of the bucket.
      await s3.abortMultipartUpload(id, uploadId).catch(() => {});
      throw error;
    }
  };

  return {
    async offset(id) {
      return (await sizeOf(checked(id))) ?? endOf(chainOf(await partsOf(id)));
    },

    async append(id, at, source) {
      const chain = chainOf(await partsOf(checked(id)));
      if (endOf(chain) !== at) throw new RequestError('incomplete');
      // Small parts grow together, so that an upload of a few bytes at a time is no thousand objects.
      const last = chain.at(-1);
      const grown = last && last.end - last.start < partLeast ? last : undefined;
      let start = grown ? grown.start : at;
      let waiting = grown ? await collected(bytesOf(grown.key)) : [];
      let end = at;
      let writing: Promise<void> = Promise.resolve();
      const write = async (): Promise<void> => {
        await writing;
        if (end === start || end === at) return;
        const [key, bytes] = [`incoming.${id}.${start}.${end}`, Buffer.concat(waiting)];
        [start, waiting] = [end, []];
        writing = put(key, bytes);
        // Waited for by whoever comes next; said to nobody in between.
        writing.catch(() => {});
      };
      running += 1;
      try {
        for await (const chunk of source) {
          waiting.push(chunk);
          end += chunk.length;
          // One part on its way out while the next comes in.
          if (end - start >= Math.min(partBytes, Math.max(partLeast, waitingBytes / running / 2))) await write();
        }
      } finally {
        running -= 1;
        await write();
        await writing;
      }
      if (grown && end > at) await removeAll([grown.key]);
      return end;
    },

    async cut(id, at) {
      const all = await partsOf(checked(id));
      const across = chainOf(all).find(({ start, end }) => start < at && end > at);
      if (across) await put(`incoming.${id}.${across.start}.${at}`, Buffer.concat(await collected(bytesOf(across.key, 0, at - across.start))));
      await removeAll(all.filter(({ end }) => end > at).map(({ key }) => key));
    },

    async finish(id) {
      const all = await partsOf(checked(id));
      if ((await sizeOf(id)) === undefined) {
        const chain = chainOf(all);
        await finishing(() => assemble(id, chain));
        const found = await describe(id);
        if (found.size !== endOf(chain)) throw new Error('the store of files keeps other bytes than it was given');
        await removeAll(all.map(({ key }) => key));
        return found;
      }
      // Killed before the parts were gone, or simply asked again.
      await removeAll(all.map(({ key }) => key));
      return describe(id);
    },

    async read(id, range) {
      const body = await get(checked(id), range?.start ?? 0, range && range.end + 1);
      return body && Readable.fromWeb(body);
    },

    async remove(id) {
      // The file first: from then on nobody begins to read it.
      await removeAll([checked(id), ...(await partsOf(id)).map(({ key }) => key)]);
    },

    async sweep(before) {
      await removeAll((await list('incoming.')).filter(({ LastModified }) => LastModified.getTime() < before).map(({ Key }) => Key));
    },

    /**
     * Writes and deletes something, to know at the start what would only be noticed at the first file.
     *
     * @throws ConfigError when it is refused. A store that does not answer may do so later, and is waited for.
     */
    async check() {
      const key = 'incoming.check';
      try {
        await s3.putObject(key, 'check');
        if ((await s3.listObjects('/', key)) === null) throw new Error('listing answered nothing');
        await s3.deleteObject(key);
      } catch (error) {
        const { status, serviceCode } = serviceError(error) ?? {};
        if (status !== undefined && status < 500 && status !== 429) {
          throw new ConfigError([
            `The store of files at KITH_S3_ENDPOINT refused a test with ${status} ${serviceCode ?? ''}: see that the bucket ${bucket} exists, and that these keys may read, list, write and delete in it.`,
          ]);
        }
        failing = true;
        log.warn({ status, code: serviceCode ?? (error as Error).message }, 'the store of files does not answer yet');
      }
    },
  };
}

/** A part, and from where in it on the upload goes on. */
interface Link extends Part {
  from: number;
}

/** The parts that make the upload as far as it has come, from its beginning and without a gap. */
function chainOf(parts: Part[]): Link[] {
  const sorted = parts.toSorted((a, b) => a.start - b.start);
  const chain: Link[] = [];
  for (let at = 0; ;) {
    const end = endOf(chain);
    let best: Part | undefined;
    for (; sorted[at] && sorted[at]!.start <= end; at += 1) if (sorted[at]!.end > (best?.end ?? end)) best = sorted[at]!;
    if (!best) return chain;
    chain.push({ ...best, from: end - best.start });
  }
}

const endOf = (chain: Part[]): number => chain.at(-1)?.end ?? 0;

/** The bytes of all of these, in blocks of one size and a rest. */
async function* inBlocks<T>(size: number, sources: T[], bytesOf: (source: T) => AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let [waiting, length]: [Uint8Array[], number] = [[], 0];
  for (const source of sources) {
    for await (let chunk of bytesOf(source)) {
      for (; length + chunk.length >= size; [waiting, length] = [[], 0]) {
        yield Buffer.concat([...waiting, chunk.subarray(0, size - length)]);
        chunk = chunk.subarray(size - length);
      }
      waiting.push(chunk);
      length += chunk.length;
    }
  }
  if (length > 0) yield Buffer.concat(waiting);
}

async function collected(source: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const chunks = [];
  for await (const chunk of source) chunks.push(chunk);
  return chunks;
}

/** Ids come from our own database; what could be the key of something else is a mistake of ours, and ends here. */
function checked(id: string): string {
  if (!/^[A-Za-z0-9-]{2,64}$/.test(id)) throw new Error('this is no id of a file');
  return id;
}

/** An answer in the words of S3, also where the library has wrapped it. */
function serviceError(error: unknown): S3ServiceError | undefined {
  if (error instanceof S3ServiceError) return error;
  return error instanceof Error && error.cause instanceof S3ServiceError ? error.cause : undefined;
}

async function orMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (serviceError(error)?.status === 404) return undefined;
    throw error;
  }
}

/** The time is for the answer to begin; how long its body takes is for whoever reads it. */
async function answeredIn(ms: number, url: RequestInfo | URL, init: RequestInit | undefined): Promise<Response> {
  const given = new AbortController();
  const timer = setTimeout(() => given.abort(new Error('no answer in time')), ms);
  try {
    return await fetch(url, { ...init, redirect: 'error', signal: given.signal });
  } finally {
    clearTimeout(timer);
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Error('no answer in time')), ms)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets so many run at once; the others wait for their turn. */
function gate(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running === most) await new Promise<void>((resolve) => void waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
