import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

export const adminMethods = {
  'admin.invite': method(
    'Makes a code with which people may register.',
    z.strictObject({ uses: z.optional(z.int().check(z.minimum(1), z.maximum(1_000))), hours: z.optional(z.int().check(z.minimum(1), z.maximum(8_760))) }),
    z.object({ code: z.string(), expiresAt: f.time }),
    { access: 'operator', sensitive: true },
  ),
  'admin.reset': method(
    'What a link needs with which this person chooses a new password, once, within half an hour: `/reset#<handle>:<ticket>`.',
    z.strictObject({ userId: f.id }),
    z.object({ handle: f.handle, ticket: z.string(), expiresAt: f.time }),
    { access: 'operator', sensitive: true },
  ),
  'admin.disable': method('Disables an account, or enables it again. Its connections close at once.', z.strictObject({ userId: f.id, disabled: z.boolean() }), f.nothing, {
    access: 'operator',
    durable: true,
    sensitive: true,
  }),
};
