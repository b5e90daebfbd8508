import { RequestError } from '@kith/protocol';
import type { FastifyInstance } from 'fastify';
import { CallerRates } from './caller-rates.ts';
import { type Serving, etagOf, filePolicy, matches, neverAs, requireFileId } from './files.ts';
import { identifyReader } from './identify.ts';

/** `GET /avatars/<id>/<64|192|512>`: uploaded pictures of people and groups, always as we made them. */
export function addAvatars(app: FastifyInstance, { core, blobs, config, doorkeeper, clock, log }: Serving): void {
  const rates = config.rateLimits ? new CallerRates(clock) : undefined;

  app.get<{ Params: { id: string; side: string } }>('/avatars/:id/:side', async (request, reply) => {
    const id = requireFileId(request.params.id);
    const identity = await identifyReader(core, doorkeeper, request.raw);
    // As often as streams are caught up with: a list of people is full of them.
    const wait = rates?.take('stream.changes', identity, doorkeeper.addressOf(request.raw)) ?? 0;
    if (wait > 0) throw new RequestError('rate_limited', { retryAfterMs: wait });
    const file = neverAs(request.headers) ? undefined : await core.findAvatar(identity, id, request.params.side);
    if (!file) throw new RequestError('not_found');
    const etag = etagOf(file);
    void reply.headers({
      etag,
      // Another picture has another id. Who may not see this one any more, by a block or a removal, has seen it already.
      'cache-control': 'private, max-age=3600, immutable',
      vary: 'cookie, authorization',
      'content-security-policy': filePolicy,
      'content-type': file.type,
      'content-disposition': 'inline',
    });
    const { 'if-none-match': ifNoneMatch } = request.headers;
    if (ifNoneMatch !== undefined && matches(ifNoneMatch, etag)) return reply.code(304).send();
    const bytes = await blobs.read(file.blob);
    if (!bytes) {
      log.error({ file: file.blob }, 'the bytes of a file are missing');
      for (const name of ['etag', 'cache-control', 'content-disposition']) void reply.removeHeader(name);
      throw new RequestError('not_found');
    }
    return reply.header('content-length', file.size).send(bytes);
  });
}
