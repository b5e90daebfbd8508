import * as z from 'zod/mini';
import { entriesUpTo } from './length.ts';
import * as f from './method.ts';
import { method } from './method.ts';

/** A person in a conversation. Who has left stays, so that what they wrote keeps a name. */
export const member = z.object({
  kind: z.literal('member'),
  conversationId: f.id,
  userId: f.id,
  version: f.version,
  role: z.enum(['owner', 'admin', 'member']),
  state: z.enum(['joined', 'left']),
  joinedAt: f.time,
  name: z.string(),
  avatar: z.string(),
  handle: z.nullable(z.string()),
});

const conversationId = f.id;
const durable = { durable: true };

export const memberMethods = {
  'member.list': method(
    'Members of a conversation by user id, for those that its snapshot does not carry.',
    z.strictObject({ conversationId, after: z.optional(f.id), userIds: z.optional(z.array(f.id).check(entriesUpTo('membersPerCall'))), limit: f.pageLimit }),
    z.object({ members: z.array(member), more: z.boolean() }),
    { rate: 'sync' },
  ),
  'member.add': method(
    'Adds people to a group. Those who are in it already are passed over.',
    z.strictObject({ conversationId, userIds: z.array(f.id).check(z.minLength(1), entriesUpTo('membersPerCall')) }),
    z.object({ members: z.array(member) }),
    durable,
  ),
  'member.remove': method(
    'Removes somebody from a group, or for a day from a room. From then on they get nothing of it.',
    z.strictObject({ conversationId, userId: f.id }),
    z.object({ member }),
    durable,
  ),
  'member.role': method(
    'Makes somebody an admin or a member again; owner hands the group over.',
    z.strictObject({ conversationId, userId: f.id, role: z.enum(['owner', 'admin', 'member']) }),
    z.object({ member }),
    durable,
  ),
};
