import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

export const siteMethods = {
  'site.rename': method('Gives this server its name, where its configuration gives it none.', z.strictObject({ name: f.title }), z.object({ name: z.string() }), {
    access: 'operator',
  }),
  'site.database': method(
    'Whether what is acknowledged would be there after the database server was lost, and what was lost when one was, in the last thirty days.',
    z.strictObject({}),
    z.object({
      /** Of PostgreSQL. alone: it has no standby; asynchronous: a standby that is not waited for; missing: one that is waited for and is not there. */
      standing: z.optional(z.enum(['alone', 'asynchronous', 'synchronous', 'missing'])),
      lost: z.optional(z.object({ at: f.time, streams: z.int(), commits: z.int(), messages: z.int() })),
    }),
    { access: 'operator' },
  ),
};
