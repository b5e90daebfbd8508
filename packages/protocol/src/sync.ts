import * as z from 'zod/mini';
import * as f from './method.ts';
import { atMost, entriesUpTo, units } from './length.ts';
import { method } from './method.ts';
import { entity } from './entities.ts';
import { user } from './users.ts';

const heads = z.record(z.string(), f.version);

export const syncMethods = {
  hello: method(
    'The first frame of every connection. The token may be left out where the handshake carried a cookie or a Bearer header.',
    z.strictObject({
      token: z.optional(z.string().check(units(0, 'token'))),
      device: z.optional(f.device),
      /** Protocol version; this page is 1. */
      protocol: z.optional(z.int()),
    }),
    z.object({ user, session: f.id, era: f.id, heads, heartbeatMs: z.int(), time: f.time }),
    { access: 'public' },
  ),
  'stream.heads': method(
    'The newest version of streams you may read.',
    z.strictObject({ streams: z.array(f.streamId).check(entriesUpTo('headsPerCall')) }),
    z.object({ era: f.id, heads }),
    {
      rate: 'sync',
    },
  ),
  'stream.changes': method(
    'What changed in a stream after a version, as the entities are now. `tooOld`: take a snapshot. `era`: in which that version was the newest, where it is another now.',
    z.strictObject({ stream: f.streamId, since: f.version, era: z.optional(f.id), limit: z.optional(z.int().check(z.minimum(1), atMost('resumeEntities'))) }),
    z.union([z.object({ entities: z.array(entity), version: f.version, more: z.boolean() }), z.object({ tooOld: z.literal(true) })]),
    { rate: 'sync' },
  ),
  'stream.snapshot': method(
    'A stream as it is now. A conversation’s carries its latest messages; older ones come by message.history.',
    z.strictObject({ stream: f.streamId }),
    z.object({ entities: z.array(entity), version: f.version }),
    { rate: 'sync' },
  ),
};
