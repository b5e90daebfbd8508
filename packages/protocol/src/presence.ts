import * as z from 'zod/mini';
import { entriesUpTo } from './length.ts';
import * as f from './method.ts';
import { method } from './method.ts';

const presence = z.object({ userId: f.id, online: z.boolean(), /** null: never, or not for you. */ lastSeenAt: z.nullable(f.time) });
const people = z.strictObject({ userIds: z.array(f.id).check(entriesUpTo('presenceWatched')) });

export const presenceMethods = {
  'presence.watch': method(
    'Who of these is online, and signals from now on. Only friends and people you share a conversation with are answered.',
    people,
    z.object({ presence: z.array(presence) }),
    { rate: 'fleeting' },
  ),
  'presence.unwatch': method('No more signals about these.', people, f.nothing, { rate: 'fleeting' }),
};

export const presenceSignals = {
  /** Somebody you watch came online or went offline (10 s after their last connection, to swallow reconnects). */
  presence,
};
