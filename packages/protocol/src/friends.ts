import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

/** Another person as they stand to you, in your own stream. Each side has its own. */
export const friend = z.object({
  kind: z.literal('friend'),
  /** The other person. */
  userId: f.id,
  version: f.version,
  /** incoming: they asked you. outgoing: you asked them. none: nothing, or no longer. */
  state: z.enum(['none', 'incoming', 'outgoing', 'friends']),
  /** What the one who asked wrote. */
  note: z.string(),
  /** The name you gave them; only you see it. */
  remark: z.string(),
  /** You blocked them. They are not told. */
  blocked: z.boolean(),
  /** Of the present state. */
  since: f.time,
  name: z.string(),
  avatar: z.string(),
  handle: z.nullable(z.string()),
});

const who = z.strictObject({ userId: f.id });
const result = z.object({ friend });
const durable = { durable: true };

export const friendMethods = {
  'friend.request': method(
    'Asks somebody to be friends. If they have asked you, you are friends at once.',
    z.strictObject({ userId: f.id, note: z.optional(f.note) }),
    result,
    durable,
  ),
  'friend.accept': method('Accepts a request.', who, result, durable),
  'friend.refuse': method('Refuses a request, or takes your own back. The other side is not told of a refusal.', who, result, durable),
  'friend.remove': method('Ends a friendship on both sides. Messages stay.', who, result, durable),
  'friend.remark': method('Gives somebody a name that only you see; empty takes it away.', z.strictObject({ userId: f.id, remark: f.remark }), result, durable),
  'block.add': method('Blocks somebody: no messages, requests or presence in either direction. They are not told.', who, result, durable),
  'block.remove': method('Unblocks somebody.', who, result, durable),
};
