import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

export const siteMethods = {
  'site.rename': method('Gives this server its name, where its configuration gives it none.', z.strictObject({ name: f.title }), z.object({ name: z.string() }), {
    access: 'operator',
  }),
};
