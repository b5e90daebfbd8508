import { isUtf8 } from 'node:buffer';
import { type ErrorBody, type ErrorCode, RequestError, errorCodes, isMethod, limits } from '@kith/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Config } from '../config.ts';
import type { Answer, Core } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import type { Metrics } from '../metrics.ts';
import { CallerRates } from './caller-rates.ts';
import { apiPolicy } from './headers.ts';
import { identifyActor } from './identify.ts';
import type { Doorkeeper } from './origin.ts';

interface Parts {
  core: Core;
  config: Config;
  doorkeeper: Doorkeeper;
  clock: Clock;
  metrics: Metrics;
}

/** The id of the frame that a call over HTTP becomes; nobody outside sees it. */
const id = 'http';

/** `POST /api/<method>`: the same methods as over the socket, handled by the same core. */
export function addApi(app: FastifyInstance, { core, config, doorkeeper, clock, metrics }: Parts): void {
  const rates = config.rateLimits ? new CallerRates(clock) : undefined;

  // The body stays text: the core parses it, once.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit: limits.frameBytes }, (_request, body: Buffer, done) => {
    if (isUtf8(body)) done(null, body.toString());
    else done(new RequestError('bad_json', { message: 'The body is not UTF-8.' }));
  });

  app.post<{ Params: { method: string }; Body: string | undefined }>('/api/:method', async (request, reply) => {
    const { method } = request.params;
    if (!isMethod(method)) throw new RequestError('unknown_method');
    // A form can post without asking first, but not this content type: one more wall against other sites.
    if (request.body === undefined) throw new RequestError('unsupported', { message: 'Send application/json.' });
    if (request.headers['content-encoding'] !== undefined) throw new RequestError('unsupported', { message: 'Send the body as it is, not compressed.' });
    if (method === 'hello') throw new RequestError('unsupported', { message: 'hello opens a connection at /ws.' });
    const identity = await identifyActor(core, doorkeeper, request.raw);
    const wait = rates?.take(method, identity, doorkeeper.addressOf(request.raw)) ?? 0;
    if (wait > 0) {
      metrics.limitHit('http-address');
      core.blocked('requests', doorkeeper.addressOf(request.raw)).catch(() => {});
      throw new RequestError('rate_limited', { retryAfterMs: wait });
    }
    const device = request.headers['user-agent']?.slice(0, limits.device);
    const origin = doorkeeper.originOf(request.raw);
    const caller = {
      overHttp: true as const,
      ip: doorkeeper.addressOf(request.raw),
      ...(origin !== undefined && { origin }),
      ...(identity && { identity }),
      ...(device !== undefined && { device }),
    };
    // Our keys come last, and in JSON the last of two wins: whatever a body holds, it cannot become another method.
    const frame = `{"params":${request.body.trim() === '' ? '{}' : request.body},"id":"${id}","method":"${method}"}`;
    return answer(request, reply, await core.handle(caller, frame));
  });

  const answer = (request: FastifyRequest, reply: FastifyReply, { text, error, limit, effects = [] }: Answer): FastifyReply => {
    metrics.answered('http', error ?? 'ok', limit);
    if (error) return refuse(reply, (JSON.parse(text) as { error: ErrorBody }).error);
    let body = text.startsWith(resultFollows) ? text.slice(resultFollows.length, -1) : JSON.stringify((JSON.parse(text) as { result: unknown }).result);
    for (const effect of effects) {
      const byCookie = doorkeeper.credentialOf(request.headers).by === 'cookie';
      if ((effect.do === 'signed-in' && doorkeeper.isOwnPage(request.raw)) || (effect.do === 'renewed' && byCookie)) {
        // A page of ours gets a cookie that no script can read, and so has nothing to steal.
        const { token: _, ...rest } = JSON.parse(body) as { token?: string };
        body = JSON.stringify(rest);
        void reply.setCookie(doorkeeper.cookieName, effect.token, { ...cookie, maxAge: config.sessionMaxDays * 86_400 });
      } else if (effect.do === 'signed-out' && byCookie) {
        void reply.clearCookie(doorkeeper.cookieName, cookie).header('clear-site-data', '"cache", "cookies", "storage"');
      }
    }
    return reply.headers(jsonHeaders).send(body);
  };

  const cookie = { path: '/', httpOnly: true, sameSite: 'lax', secure: doorkeeper.secure } as const;
}

const resultFollows = `{"id":"${id}","result":`;
const jsonHeaders = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', 'content-security-policy': apiPolicy };

export function refuse(reply: FastifyReply, error: ErrorBody): FastifyReply {
  if (error.retryAfterMs !== undefined) void reply.header('retry-after', Math.ceil(error.retryAfterMs / 1_000));
  return reply.code(errorCodes[error.code].status).headers(jsonHeaders).send(JSON.stringify({ error }));
}

export const refuseWith = (reply: FastifyReply, code: ErrorCode, extra?: ConstructorParameters<typeof RequestError>[1]): FastifyReply =>
  refuse(reply, new RequestError(code, extra).toBody());
