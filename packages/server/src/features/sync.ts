import { RequestError, type StreamId, limits, parseStream } from '@kith/protocol';
import { requireMember } from '../core/access.ts';
import type { Handlers } from '../core/context.ts';
import { readConversationSnapshot, readConversationStream, readUser, readUserSnapshot, readUserStream } from '../core/entities.ts';
import { isStillSo, readEra } from '../core/eras.ts';
import { readJoined } from '../core/membership.ts';
import { isSessionOpen } from '../core/sessions.ts';
import { readHeads } from '../core/streams.ts';
import type { Query } from '../db/db.ts';

export const sync: Handlers<'hello' | 'stream.heads' | 'stream.changes' | 'stream.snapshot'> = {
  async hello(context) {
    const { userId, sessionId } = context.identity;
    return context.read(async (q) => {
      if (!(await isSessionOpen(q, sessionId))) throw new RequestError('unauthenticated');
      const heads = await readHeads(q, [`user:${userId}`, ...(await readJoined(q, userId)).map((id) => `conversation:${id}`)]);
      const { id: era } = await readEra(q);
      return { user: await readUser(q, userId), session: sessionId, era, heads, heartbeatMs: context.config.heartbeatMs, time: context.now() };
    });
  },

  async 'stream.heads'(context, { streams }) {
    return context.read(async (q) => {
      for (const stream of streams) await requireReadable(q, stream, context.userId);
      return { era: (await readEra(q)).id, heads: await readHeads(q, streams) };
    });
  },

  async 'stream.changes'(context, { stream, since, era, limit = limits.resumeEntities }) {
    return context.read(async (q) => {
      const { kind, id } = await requireReadable(q, stream, context.userId);
      // The version is read before the rows. Read after, a change committed in between would be skipped for good.
      const head = (await readHeads(q, [stream]))[stream] ?? 0;
      // A client ahead of us: this database is older than what it has seen, a restored backup.
      if (since > head || since === 0) return { tooOld: true as const };
      // The same after others were committed in the place of what it lost.
      if (era !== undefined && !(await isStillSo(q, { stream, version: since, era }))) return { tooOld: true as const };
      const read = kind === 'user' ? readUserStream : readConversationStream;
      const entities = since === head ? [] : await read(q, id, since, limits.resumeEntities + 1);
      if (entities.length > limits.resumeEntities) return { tooOld: true as const };
      return page(entities, head, limit);
    });
  },

  async 'stream.snapshot'(context, { stream }) {
    return context.read(async (q) => {
      const { kind, id } = await requireReadable(q, stream, context.userId);
      const version = (await readHeads(q, [stream]))[stream] ?? 0;
      const entities = kind === 'user' ? await readUserSnapshot(q, id) : await readConversationSnapshot(q, id);
      return { entities, version };
    });
  },
};

/** Cuts between versions: a commit's entities arrive together or not at all. */
function page<E extends { version: number }>(entities: E[], head: number, limit: number): { entities: E[]; version: number; more: boolean } {
  if (entities.length <= limit) return { entities, version: head, more: false };
  const last = entities[limit - 1]!.version;
  const end = entities.findIndex((entity) => entity.version > last);
  return end === -1 ? { entities, version: head, more: false } : { entities: entities.slice(0, end), version: last, more: true };
}

/** @throws not_a_member, not_found */
async function requireReadable(q: Query, stream: string, userId: string): Promise<{ kind: 'user' | 'conversation'; id: string; stream: StreamId }> {
  const parsed = parseStream(stream);
  if (!parsed || (parsed.kind === 'user' && parsed.id !== userId)) throw new RequestError('not_found');
  if (parsed.kind === 'conversation') await requireMember(q, parsed.id, userId);
  return { ...parsed, stream: stream as StreamId };
}
