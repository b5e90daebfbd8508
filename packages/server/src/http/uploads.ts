import { type Hash, createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { RequestError, limits } from '@kith/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Blobs } from '../blobs/blobs.ts';
import { type Config, mib } from '../config.ts';
import type { Core, Identity, Upload } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import type { Metrics } from '../metrics.ts';
import type { Pictures } from '../pictures/pictures.ts';
import { CallerRates } from './caller-rates.ts';
import { pictureType, shownType } from './file-types.ts';
import { requireFileId } from './files.ts';
import { identifyActor, identifyReader } from './identify.ts';
import type { Doorkeeper } from './origin.ts';
import { keepPicture, removeFile } from './renditions.ts';

interface Parts {
  core: Core;
  blobs: Blobs;
  pictures: Pictures;
  metrics: Metrics;
  config: Config;
  doorkeeper: Doorkeeper;
  clock: Clock;
  stopping(): boolean;
}

/** How often slow uploads are looked for, and the milliseconds that each has before its speed counts. */
const lookEveryMs = 5_000;
const startMs = 10_000;

/** Bytes that all uploads together take up in one turn of the loop: fifty fast ones would hold it up for tens of milliseconds. */
const turnBytes = 1_048_576;

/** Bytes of a refused body that are read all the same. */
const forgottenBytes = 1_048_576;

const tus = { 'tus-resumable': '1.0.0' };
const algorithms = ['sha1', 'sha256'];

/** A request that sends, and what it has sent so far. */
interface Running {
  ownerId: string;
  since: number;
  bytes: number;
  cut(): void;
  over: Promise<void>;
}

/**
 * `/files/<id>` by the tus protocol, 1.0.0 (https://tus.io): the core, and its extensions checksum, expiration and
 * termination. Making a place is `file.reserve`. Where to go on is what the disk has, so that nothing is lost when the
 * process is.
 *
 * @returns stops looking for slow ones
 */
export function addUploads(app: FastifyInstance, { core, blobs, pictures, metrics, config, doorkeeper, clock, stopping }: Parts): () => void {
  const running = new Map<string, Running>();
  const rates = config.rateLimits ? new CallerRates(clock) : undefined;

  /**
   * One request at a time for each upload, and the newest wins: a client that comes back has given the one before up,
   * often long before we can know.
   */
  const alone = async <T>(fileId: string, ownerId: string, body: IncomingMessage | undefined, work: (own: Running) => Promise<T>): Promise<T> => {
    for (let before = running.get(fileId); before; before = running.get(fileId)) {
      before.cut();
      await before.over;
    }
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const own: Running = { ownerId, since: clock.now(), bytes: 0, cut: () => void (body?.complete === false && body.destroy()), over };
    running.set(fileId, own);
    try {
      return await work(own);
    } finally {
      running.delete(fileId);
      resolve();
    }
  };

  /** @throws unauthenticated, rate_limited */
  const paced = (request: FastifyRequest, who: Identity | undefined): Identity => {
    if (!who) throw new RequestError('unauthenticated');
    const wait = rates?.take('message.history', who, doorkeeper.addressOf(request.raw)) ?? 0;
    if (wait > 0) throw new RequestError('rate_limited', { retryAfterMs: wait });
    return who;
  };

  const looking = clock.every(lookEveryMs, () => {
    for (const { since, bytes, cut } of running.values()) {
      const ms = clock.now() - since - startMs;
      if (ms > 0 && bytes < (limits.uploadBytesPerSecond * ms) / 1_000) cut();
    }
  });

  /**
   * Everything is there: makes it durable, has pictures looked at, and tells the core. Killed before that, all of it is
   * done again.
   *
   * @throws checksum_mismatch, not_found
   */
  const finish = async (who: Identity, fileId: string, upload: Upload): Promise<void> => {
    const { sha256, head } = await blobs.finish(fileId);
    const type = pictureType(head) ?? shownType(head);
    const picture = type?.startsWith('image/') ? await keepPicture({ blobs, pictures }, fileId, upload, type) : undefined;
    if (picture && 'refused' in picture && (picture.refused === 'too_large' || picture.refused === 'too_costly')) metrics.limitHit('picture');
    if (await core.fileStored(fileId, { sha256, type, ...(picture && { picture }) })) {
      if (!picture || 'refused' in picture || !picture.originalGoes) return;
      await blobs.remove(fileId);
      return core.forgetOriginals([fileId]);
    }
    await removeFile(blobs, fileId);
    throw new RequestError((await core.findUpload(who, fileId)) ? 'checksum_mismatch' : 'not_found');
  };

  /** How far it is. An upload that was cut between its last byte and the answer is finished here. */
  const progress = async (who: Identity, fileId: string, upload: Upload): Promise<number> => {
    if (upload.stored) return upload.size;
    const offset = await blobs.offset(fileId);
    if (offset === upload.size) await finish(who, fileId, upload);
    return offset;
  };

  void app.register(async (scope) => {
    scope.addContentTypeParser('application/offset+octet-stream', (_request, _body, done) => done(null));

    scope.addHook('onRequest', (request, reply, next) => {
      void reply.headers(tus);
      if (request.method === 'OPTIONS' || request.headers['tus-resumable'] === tus['tus-resumable']) return next();
      closeIfMuch(request, reply);
      void reply.code(412).header('tus-version', '1.0.0').send();
    });

    scope.addHook('onError', async (request, reply) => closeIfMuch(request, reply));

    scope.options('/files/:id', async (_request, reply) =>
      reply
        .code(204)
        .headers({
          'tus-version': '1.0.0',
          'tus-max-size': config.fileSize * mib,
          'tus-extension': 'checksum,expiration,termination',
          'tus-checksum-algorithm': algorithms.join(),
        })
        .send(),
    );

    scope.head<Route>('/files/:id', async (request, reply) => {
      const who = paced(request, await identifyReader(core, doorkeeper, request.raw));
      const fileId = requireFileId(request.params.id);
      await requireUpload(core, who, fileId);
      return alone(fileId, who.userId, undefined, async () => {
        const upload = await requireUpload(core, who, fileId);
        const offset = await progress(who, fileId, upload);
        return reply
          .code(200)
          .headers({ 'upload-offset': offset, 'upload-length': upload.size, 'upload-expires': new Date(upload.expiresAt).toUTCString(), 'cache-control': 'no-store' })
          .send();
      });
    });

    scope.patch<Route>('/files/:id', async (request, reply) => {
      const who = paced(request, await identifyActor(core, doorkeeper, request.raw));
      const fileId = requireFileId(request.params.id);
      if (request.headers['content-encoding'] !== undefined) throw new RequestError('unsupported', { message: 'Send the bytes as they are, not compressed.' });
      const at = offsetOf(request);
      const checksum = checksumOf(request);
      await requireUpload(core, who, fileId);
      const others = [...running].filter(([id, one]) => one.ownerId === who.userId && id !== fileId);
      if (others.length >= limits.uploadsAtOnce) {
        throw new RequestError('rate_limited', { limit: 'uploadsAtOnce', message: `At most ${limits.uploadsAtOnce} uploads of one person run at once.`, retryAfterMs: 1_000 });
      }
      return alone(fileId, who.userId, request.raw, async (own) => {
        const upload = await requireUpload(core, who, fileId);
        const offset = await progress(who, fileId, upload);
        if (offset !== at) throw new RequestError('incomplete');
        const room = upload.size - offset;
        if (Number(request.headers['content-length'] ?? 0) > room) throw tooLong(upload);
        const end = await receive(own, request, upload, { at, room, checksum, fileId });
        // Dropped meanwhile, and perhaps swept: then what came is nobody's.
        if (!(await core.findUpload(who, fileId))) await blobs.remove(fileId);
        if (end === undefined) return reply.hijack();
        if (end === upload.size && !upload.stored && end > at) await finish(who, fileId, upload);
        return reply
          .code(204)
          .headers({ 'upload-offset': end, 'upload-expires': new Date(upload.expiresAt).toUTCString() })
          .send();
      });
    });

    scope.delete<Route>('/files/:id', async (request, reply) => {
      const who = paced(request, await identifyActor(core, doorkeeper, request.raw));
      const fileId = requireFileId(request.params.id);
      if (!(await core.dropUpload(who, fileId))) throw new RequestError('not_found');
      running.get(fileId)?.cut();
      return reply.code(204).send();
    });
  });

  const turn: { taken: number; over: Promise<void> | undefined } = { taken: 0, over: undefined };
  /** Waits for a turn of the loop in which there is room for more. */
  const inTurn = async (bytes: number): Promise<void> => {
    while (turn.taken >= turnBytes) await turn.over;
    turn.taken += bytes;
    turn.over ??= nextTurn().then(() => void Object.assign(turn, { taken: 0, over: undefined }));
  };

  /** @returns where the upload is then; undefined: the connection is gone, and nobody waits for an answer */
  const receive = async (
    own: Running,
    { raw }: FastifyRequest<Route>,
    upload: Upload,
    { at, room, checksum, fileId }: { at: number; room: number; checksum: Checksum | undefined; fileId: string },
  ): Promise<number | undefined> => {
    async function* bytes(): AsyncGenerator<Uint8Array> {
      for await (const chunk of raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        own.bytes += chunk.length;
        await inTurn(chunk.length);
        if (own.bytes > room) throw tooLong(upload);
        if (stopping()) throw new RequestError('busy', { message: 'This server is stopping.', retryAfterMs: 1_000 });
        checksum?.hash.update(chunk);
        yield chunk;
      }
    }
    let end: number;
    try {
      end = await blobs.append(fileId, at, bytes());
    } catch (error) {
      if (raw.destroyed && !raw.complete && !(error instanceof RequestError)) return undefined;
      throw error;
    }
    if (checksum && checksum.hash.digest('base64') !== checksum.expected) {
      await blobs.cut(fileId, at);
      throw new RequestError('checksum_mismatch', { message: 'These bytes were damaged on their way. Send them again.' });
    }
    return end;
  };

  return () => looking.stop();
}

/** The rest of a body that was refused: a little is read and forgotten, for the sake of the answer; much is not waited for. */
function closeIfMuch({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (!raw.complete && !(Number(raw.headers['content-length'] ?? Infinity) <= forgottenBytes)) void reply.header('connection', 'close');
}

interface Route {
  Params: { id: string };
}

interface Checksum {
  hash: Hash;
  /** base64 */
  expected: string;
}

/** @throws not_found, the same for uploads of others */
async function requireUpload(core: Core, who: Identity, fileId: string): Promise<Upload> {
  const upload = await core.findUpload(who, fileId);
  if (!upload) throw new RequestError('not_found');
  return upload;
}

function offsetOf(request: FastifyRequest): number {
  const given = request.headers['upload-offset'];
  if (typeof given !== 'string' || !/^\d{1,15}$/.test(given)) throw new RequestError('bad_request', { message: 'Upload-Offset must be a whole number.' });
  return Number(given);
}

function checksumOf(request: FastifyRequest): Checksum | undefined {
  const given = request.headers['upload-checksum'];
  if (given === undefined) return undefined;
  const [algorithm = '', expected = ''] = String(given).split(' ');
  if (!algorithms.includes(algorithm)) throw new RequestError('bad_request', { message: `Upload-Checksum takes ${algorithms.join(' and ')}.` });
  return { hash: createHash(algorithm), expected };
}

const tooLong = ({ size }: Upload): RequestError => new RequestError('too_large', { message: `More than the ${size} bytes that were announced.` });
