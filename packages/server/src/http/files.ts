import type { IncomingHttpHeaders } from 'node:http';
import { RequestError } from '@kith/protocol';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Blobs } from '../blobs/blobs.ts';
import type { Config } from '../config.ts';
import type { Core } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import type { Log } from '../log.ts';
import { CallerRates } from './caller-rates.ts';
import { disposition } from './disposition.ts';
import { isShown } from './file-types.ts';
import { identifyReader } from './identify.ts';
import type { Doorkeeper } from './origin.ts';

/** What serving files of any kind needs. */
export interface Serving {
  core: Core;
  blobs: Blobs;
  config: Config;
  doorkeeper: Doorkeeper;
  clock: Clock;
  log: Log;
}

/** Milliseconds that somebody who downloads may take nothing. */
const stalledMs = 60_000;

/** As what a browser must never take a file: to run it, or to style a page with it. */
const never: ReadonlySet<unknown> = new Set(['script', 'style', 'worker', 'sharedworker', 'serviceworker', 'audioworklet', 'paintworklet', 'manifest', 'xslt', 'embed', 'object']);

/** A file has nothing to run, to load or to ask for, and no page to be in. */
export const filePolicy = "sandbox; default-src 'none'; frame-ancestors 'none'";

/**
 * `GET /files/<id>/<name>`: the bytes, to who may read them at this moment. The name in the URL is for people; the one in
 * the header is ours.
 */
export function addFiles(app: FastifyInstance, { core, blobs, config, doorkeeper, clock, log }: Serving): void {
  const rates = config.rateLimits ? new CallerRates(clock) : undefined;

  app.route<{ Params: { id: string }; Querystring: { size?: unknown } }>({
    method: ['GET', 'HEAD'],
    url: '/files/:id/*',
    async handler(request, reply) {
      const id = requireFileId(request.params.id);
      const identity = await identifyReader(core, doorkeeper, request.raw);
      // As often as pages of history: a conversation is full of pictures.
      const wait = rates?.take('message.history', identity, doorkeeper.addressOf(request.raw)) ?? 0;
      if (wait > 0) throw new RequestError('rate_limited', { retryAfterMs: wait });
      const { size } = request.query;
      if (size !== undefined && size !== 'small' && size !== 'large') throw new RequestError('bad_request', { message: 'size is small or large.' });
      // Before any look at what the browser may have kept: an answer "not modified" is an answer too.
      const file = neverAs(request.headers) ? undefined : await core.findFile(identity, id, size);
      if (!file) throw new RequestError('not_found');
      const inline = isShown(file.type);
      const etag = etagOf(file);
      void reply.headers({
        etag,
        'accept-ranges': 'bytes',
        // Kept, and asked for every time: whoever was removed sees it no more, and everybody else gets a 304.
        'cache-control': 'private, no-cache',
        'content-security-policy': filePolicy,
        'content-type': inline ? file.type : 'application/octet-stream',
        'content-disposition': disposition(inline ? 'inline' : 'attachment', file.name),
      });
      const { range, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers;
      if (ifNoneMatch !== undefined && matches(ifNoneMatch, etag)) return reply.code(304).send();
      const part = ifRange === undefined || ifRange === etag ? parseRange(range, file.size) : undefined;
      if (part === 'unsatisfiable') return reply.code(416).header('content-range', `bytes */${file.size}`).removeHeader('content-disposition').removeHeader('content-type').send();
      const { start, end } = part ?? { start: 0, end: file.size - 1 };
      if (part) void reply.code(206).header('content-range', `bytes ${start}-${end}/${file.size}`);
      void reply.header('content-length', end - start + 1);
      if (request.method === 'HEAD') return reply.send();
      const bytes = await blobs.read(file.blob, file.size === 0 ? undefined : { start, end });
      if (!bytes) {
        log.error({ file: file.blob }, 'the bytes of a file are missing');
        return missing(reply);
      }
      reply.raw.setTimeout(stalledMs, () => reply.raw.destroy());
      return reply.send(bytes);
    },
  });
}

export const neverAs = (headers: IncomingHttpHeaders): boolean => never.has(headers['sec-fetch-dest']) || headers['service-worker'] !== undefined;

export const etagOf = ({ sha256 }: { sha256: string }): string => `"${Buffer.from(sha256, 'hex').toString('base64url')}"`;

/** Not every text is something to ask a database for. @throws not_found */
export function requireFileId(given: string): string {
  if (!/^[A-Za-z0-9-]{1,64}$/.test(given)) throw new RequestError('not_found');
  return given;
}

/** In a database, and not in the store: one of the two is an older backup. */
function missing(reply: FastifyReply): never {
  for (const name of ['etag', 'accept-ranges', 'content-length', 'content-range', 'content-disposition']) void reply.removeHeader(name);
  throw new RequestError('not_found');
}

export const matches = (header: string, etag: string): boolean => header.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag);

/** One range. Several are answered with the whole, as RFC 9110 allows: nobody needs them, and a thousand cost much. */
function parseRange(header: string | undefined, size: number): { start: number; end: number } | 'unsatisfiable' | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}
