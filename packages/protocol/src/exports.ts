import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

/** A copy of what is one's own, on its way or there. */
const exported = z.object({
  state: z.enum(['making', 'ready']),
  /** When it was asked for. */
  at: f.time,
  /** Ready: a tar file, as any file of one's own at `/files/<id>/<name>`, until then. */
  file: z.optional(z.object({ id: f.id, name: z.string(), size: z.int() })),
  until: z.optional(f.time),
});

export const exportMethods = {
  'export.start': method(
    'Makes a copy of your account, of the conversations that you can read now, and of the files that you sent: JSON in a tar file. Once a day; again before that, it answers the last one.',
    f.nothing,
    z.object({ export: exported }),
    { sensitive: true },
  ),
  'export.get': method('How far it is; nothing, if there is none.', f.nothing, z.object({ export: z.optional(exported) })),
};
