import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type Server, createServer } from 'node:http';
import { fastifyCookie } from '@fastify/cookie';
import { RequestError, isMethod, limits } from '@kith/protocol';
import Fastify, { type FastifyError } from 'fastify';
import { type Config, mib, relyingParty } from '../config.ts';
import type { Core } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Blobs } from '../blobs/blobs.ts';
import type { Pictures } from '../pictures/pictures.ts';
import { addApi, refuseWith } from './api.ts';
import { addAvatars } from './avatars.ts';
import { addFiles } from './files.ts';
import { apiPolicy, commonHeaders } from './headers.ts';
import type { Doorkeeper } from './origin.ts';
import { addPolicyReports } from './policy-reports.ts';
import { openReadiness } from './readiness.ts';
import { addStatic } from './static.ts';
import { addUploads } from './uploads.ts';

interface Parts {
  core: Core;
  blobs: Blobs;
  pictures: Pictures;
  config: Config;
  doorkeeper: Doorkeeper;
  clock: Clock;
  metrics: Metrics;
  log: Log;
  version: string;
  /** Is the server stopping? Then nothing new is taken up. */
  stopping(): boolean;
  /** Where the web build lies. Default: packages/web/dist. */
  webFolder?: string;
}

/** Milliseconds that a body may take, and an upload, which must be fast enough as well. */
const bodyMs = 30_000;
const uploadMs = 1_800_000;

/** Languages that the web client speaks. */
const languages = ['en', 'zh-CN'];

export interface Router {
  server: Server;
  /** `GET /files/:id/*`: every one there is. For the table of who may do what. */
  routes: readonly string[];
  listen(at: { port: number; host: string }): Promise<unknown>;
  /** Lets requests that are being answered end, for so long; then closes every connection. Browsers keep some open for nothing. */
  close(withinMs: number): Promise<void>;
}

/** All that is HTTP and no upgrade. */
export async function openRouter(parts: Parts): Promise<Router> {
  const { config, doorkeeper, log, stopping } = parts;
  const app = Fastify({
    serverFactory: (handler) => httpServer(handler),
    bodyLimit: limits.frameBytes,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 64, ignoreTrailingSlash: false },
    // Error pages of the framework itself, for URLs it cannot read.
    frameworkErrors: (_error, _request, reply) => void refuseWith(reply as never, 'bad_request', { message: 'This is no address of ours.' }),
  });
  const headers = commonHeaders(doorkeeper);
  const routes: string[] = [];
  app.addHook('onRoute', ({ method, url }) => void routes.push(...[method].flat().map((one) => `${one} ${url}`)));

  let inFlight = 0;
  let onIdle = (): void => {};
  app.addHook('onRequest', (request, reply, next) => {
    inFlight++;
    reply.raw.once('close', () => {
      if (--inFlight === 0) onIdle();
    });
    void reply.headers(headers);
    if (hasBody(request.raw) && !isUpload(request)) {
      const late = parts.clock.every(bodyMs, () => cutLate(request.raw));
      reply.raw.once('close', () => late.stop());
    }
    if (request.url === '/healthz' || request.url === '/readyz') return next();
    if (doorkeeper.originOf(request.raw) === undefined) {
      void reply.code(421).headers(plain).send('This server does not go by that name. Its operator can set KITH_PUBLIC_URL.\n');
    } else if (stopping()) {
      void reply.header('connection', 'close');
      refuseWith(reply, 'busy', { message: 'This server is stopping.', retryAfterMs: 1_000 });
    } else next();
  });

  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]!;
    const call = /^\/api\/([^/]+)$/.exec(path)?.[1];
    const allowed = call !== undefined && isMethod(call) ? 'POST' : 'GET, HEAD';
    if (path.startsWith('/api/') && call !== 'server' && allowed !== 'POST') return refuseWith(reply, 'not_found');
    if (!allowed.includes(request.method)) {
      return reply.code(405).header('allow', allowed).headers(plain).send('Not by this method.\n');
    }
    return reply.code(404).headers(plain).send('Not found.\n');
  });

  app.setErrorHandler((error: FastifyError | RequestError, request, reply) => {
    const known = error instanceof RequestError ? error : fromFramework(error);
    if (known) {
      parts.metrics.answered('http', known.code, known.limit);
      return refuseWith(reply, known.code, { message: known.message, ...known.extra });
    }
    const id = randomUUID();
    // The route, not the URL: what people put in URLs is theirs.
    log.error({ err: error, id, route: request.routeOptions.url }, 'a request failed');
    parts.metrics.answered('http', 'internal');
    return refuseWith(reply, 'internal', { id });
  });

  await app.register(fastifyCookie);
  addApi(app, parts);
  addFiles(app, parts);
  addAvatars(app, parts);
  await addPolicyReports(app, parts);
  const stopUploads = addUploads(app, parts);
  app.get('/api/server', async (request, reply) =>
    reply
      .header('cache-control', 'no-store')
      .header('content-security-policy', apiPolicy)
      .send({
        name: await parts.core.siteName(),
        nameFixed: config.siteName !== undefined,
        version: parts.version,
        registration: config.registration,
        guests: config.registration === 'open',
        recallHours: config.recallHours,
        retentionDays: config.retentionDays,
        linkPreviews: config.linkPreviews,
        passkeys: relyingParty(config, doorkeeper.originOf(request.raw))?.origin ?? null,
        fileBytes: config.fileSize * mib,
        languages,
      }),
  );
  // Does the process answer at all? Nothing else is asked: who restarts it for a slow database makes things worse.
  app.get('/healthz', async (_request, reply) => reply.headers(plain).send('ok\n'));
  const databaseAnswers = openReadiness(parts.core);
  app.get('/readyz', async (_request, reply) => {
    const problem = stopping() ? 'stopping' : (await databaseAnswers()) ? undefined : 'the database does not answer';
    return reply
      .code(problem === undefined ? 200 : 503)
      .headers(plain)
      .send(`${problem ?? 'ready'}\n`);
  });
  app.get('/ws', async (_request, reply) =>
    reply
      .code(426)
      .headers({ ...plain, upgrade: 'websocket', connection: 'Upgrade' })
      .send('Connect with a WebSocket.\n'),
  );
  await addStatic(app, { doorkeeper, siteName: () => parts.core.siteName(), ...(parts.webFolder !== undefined && { folder: parts.webFolder }) });

  const idle = (withinMs: number): Promise<void> =>
    new Promise((resolve) => {
      const deadline = setTimeout(resolve, withinMs);
      onIdle = () => {
        clearTimeout(deadline);
        resolve();
      };
      if (inFlight === 0) onIdle();
    });

  return {
    server: app.server,
    routes,
    listen: (at) => app.listen(at),
    async close(withinMs) {
      await idle(withinMs);
      stopUploads();
      await app.close();
    },
  };
}

const plain = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', 'content-security-policy': apiPolicy };

function fromFramework(error: FastifyError): RequestError | undefined {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new RequestError('too_large', { limit: 'frameBytes' });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new RequestError('unsupported', { message: 'Send application/json.' });
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new RequestError('bad_request', { message: 'The length of the body is not what was announced.' });
    default:
      return error.statusCode !== undefined && error.statusCode < 500 ? new RequestError('bad_request', { message: 'The request cannot be read.' }) : undefined;
  }
}

const isUpload = ({ method, url }: { method: string; url: string }): boolean => method === 'PATCH' && url.startsWith('/files/');

const hasBody = ({ headers }: IncomingMessage): boolean => headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** What is still not there after the time for it. As Node does it for headers. */
function cutLate({ complete, socket }: IncomingMessage): void {
  if (!complete && !socket.destroyed) socket.end('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n', () => socket.destroy());
}

/** Node waits 60 s for headers, 300 s for a body and looks every 30 s. A slow peer holds a socket; these hold it shorter. */
function httpServer(handler: Parameters<typeof createServer>[1] & object): Server {
  // Other upgrades (curl --http2 offers h2c with every request) are an offer that one may ignore, as RFC 9110 says.
  const shouldUpgradeCallback = (request: IncomingMessage): boolean => request.headers.upgrade?.toLowerCase() === 'websocket';
  return createServer(
    {
      shouldUpgradeCallback,
      maxHeaderSize: 16_384,
      headersTimeout: 10_000,
      requestTimeout: uploadMs,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
      insecureHTTPParser: false,
    },
    handler,
  );
}
