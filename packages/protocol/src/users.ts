import * as z from 'zod/mini';
import * as f from './method.ts';
import { units } from './length.ts';
import { method } from './method.ts';

/** The person signed in, in their own stream. */
export const user = z.object({
  kind: z.literal('user'),
  id: f.id,
  version: f.version,
  /** null: a guest, or an account that only an outside site vouches for. */
  handle: z.nullable(z.string()),
  name: z.string(),
  avatar: z.string(),
  bio: z.string(),
  guest: z.boolean(),
  operator: z.boolean(),
  /** Who may open a direct conversation with this person. */
  accepts: z.enum(['friends', 'anyone']),
  createdAt: f.time,
});

/** What others may see of a person. */
export const profile = z.object({
  id: f.id,
  handle: z.nullable(z.string()),
  name: z.string(),
  avatar: z.string(),
  bio: z.string(),
  guest: z.boolean(),
  /** The account was deleted; the name is empty. */
  deleted: z.optional(z.boolean()),
});

export const userMethods = {
  'user.get': method('A person that you share a conversation or a friendship with, or yourself.', z.strictObject({ userId: f.id }), z.object({ user: profile })),
  'user.search': method(
    'Finds people by exact handle; by the beginning of it where the operator allows that.',
    z.strictObject({ query: z.string().check(units(1, 'name')) }),
    z.object({ users: z.array(profile) }),
    { rate: 'search' },
  ),
  'user.update': method(
    'Changes your own profile. A rename reaches everyone who sees you.',
    z.strictObject({
      name: z.optional(f.name),
      avatar: z.optional(f.avatar),
      bio: z.optional(f.bio),
      accepts: z.optional(z.enum(['friends', 'anyone'])),
    }),
    z.object({ user }),
    { durable: true },
  ),
  'user.changePassword': method('Sets a new password and ends all your other sessions.', z.strictObject({ password: f.anyPassword, newPassword: f.password }), z.object({ user }), {
    durable: true,
    sensitive: true,
  }),
  'user.delete': method(
    'Deletes your account: sessions end, friendships and memberships go, the name disappears from what you wrote. With a password it can be brought back for 14 days; then all that is yours goes for good.',
    z.strictObject({
      password: z.optional(f.anyPassword),
      /** What becomes of what you wrote, and of files with it, when the time is over. Default: keep. */
      messages: z.optional(z.enum(['keep', 'erase'])),
    }),
    /** Until when it can be brought back; absent: not at all. */
    z.object({ until: z.optional(f.time) }),
    { durable: true, sensitive: true },
  ),
};
