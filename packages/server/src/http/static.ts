import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fastifyStatic } from '@fastify/static';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { commonHeaders, pagePolicy, reportingEndpoints } from './headers.ts';
import type { Doorkeeper } from './origin.ts';

/** Where the build of the web client lies. */
export const webFolder = join(import.meta.dirname, '../../../web/dist');

/**
 * The web client: files of the build by their names, and for every other path that looks like a page the one page there
 * is. The client's router knows the rest.
 */
export async function addStatic(
  app: FastifyInstance,
  { doorkeeper, siteName, folder = webFolder }: { doorkeeper: Doorkeeper; siteName: () => Promise<string>; folder?: string },
): Promise<void> {
  // What the build lays beside a file, `.br` and `.gz`, is sent in its place to who can read it.
  await app.register(fastifyStatic, { root: folder, serve: false, suppressWarning: true, cacheControl: false, preCompressed: true, dotfiles: 'deny', index: false });

  app.get('/*', async (request, reply) => {
    const path = pathOf(request);
    if (path === undefined) return reply.callNotFound();
    if (!existsSync(join(folder, 'index.html'))) return notBuilt(reply);
    if (path === 'manifest.webmanifest') return manifest(reply);
    // Names under assets/ hold the hash of what is inside: what is at such a name never changes.
    const forEver = path.startsWith('assets/');
    if (!forEver && !path.includes('.')) return page(request, reply);
    return reply.header('cache-control', forEver ? 'public, max-age=31536000, immutable' : 'no-cache').sendFile(path);
  });

  const page = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    reply
      .header('content-security-policy', pagePolicy(doorkeeper.originOf(request.raw) ?? "'self'"))
      .headers(doorkeeper.secure ? { 'reporting-endpoints': reportingEndpoints } : {})
      .header('cache-control', 'no-cache')
      .sendFile('index.html');

  /** Who installs the client finds it under the name of this site. */
  const manifest = async (reply: FastifyReply): Promise<FastifyReply> => {
    const file = await readFile(join(folder, 'manifest.webmanifest'), 'utf8').catch(() => undefined);
    if (file === undefined) {
      reply.callNotFound();
      return reply;
    }
    const name = await siteName();
    const text = JSON.stringify({ ...(JSON.parse(file) as object), name, short_name: name });
    return reply.header('cache-control', 'no-cache').type('application/manifest+json').send(text);
  };

  const notBuilt = (reply: FastifyReply): FastifyReply =>
    reply
      .code(503)
      .headers({ ...commonHeaders(doorkeeper), 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store', 'content-security-policy': "default-src 'none'" })
      .send('<!doctype html><title>Kith</title><h1>The web client is not built</h1><p>Run <code>npm run build</code> and reload. Programs can connect already.</p>\n');
}

/** The path below the root; undefined for what is never served: dotfiles, source maps, and names that try to climb. */
function pathOf(request: FastifyRequest): string | undefined {
  const path = (request.params as { '*': string })['*'];
  if (/^\/|(^|\/)\.|\\|\0|\/\/|%/.test(path) || path.endsWith('.map')) return undefined;
  if (/^assets\/(.*\/)?$/.test(path)) return undefined;
  if (/^(api|ws|files|metrics|healthz|readyz)(\/|$)/.test(path)) return undefined;
  return path;
}
