import * as z from 'zod/mini';
import { atMost, entriesUpTo } from './length.ts';
import * as f from './method.ts';
import { method } from './method.ts';

export const conversation = z.object({
  kind: z.literal('conversation'),
  id: f.id,
  version: f.version,
  /** room: anyone on the server may join. announcements: everyone is in it, operators write. */
  type: z.enum(['direct', 'group', 'room', 'announcements']),
  /** null for direct conversations: each side sees the other's name. */
  title: z.nullable(z.string()),
  avatar: z.string(),
  createdBy: z.nullable(f.id),
  createdAt: f.time,
  memberCount: z.int(),
  /** Messages older than so many days are emptied for everybody. Absent: none are, unless the server says so. */
  retentionDays: z.optional(z.int()),
});

/** One conversation as it stands in one person's list, in their own stream. */
export const inbox = z.object({
  kind: z.literal('inbox'),
  conversationId: f.id,
  version: f.version,
  /** false: no longer a member; forget what is kept of it. */
  joined: z.boolean(),
  /** Read up to here. Only ever grows. Unread is the conversation's last seq minus this. */
  readSeq: f.seq,
  /** The person wants to come back to it: it counts as unread, and as one message where there is none. */
  markedUnread: z.boolean(),
  /** 0: not muted. `Number.MAX_SAFE_INTEGER`: for ever. */
  mutedUntil: f.time,
  /** 0: not pinned; else when, for the order. */
  pinnedAt: f.time,
  /** A stranger's conversation that waits to be accepted. */
  request: z.boolean(),
});

const result = z.object({ conversation });
const mine = z.object({ inbox });
const durable = { durable: true };
const conversationId = f.id;

export const conversationMethods = {
  'conversation.direct': method('The conversation of you two; one per pair, whoever asks first. With yourself: your notes.', z.strictObject({ userId: f.id }), result, durable),
  'conversation.create': method(
    'Makes a group of you and these people. The same clientId again returns the same group.',
    z.strictObject({ title: f.title, memberIds: z.array(f.id).check(entriesUpTo('membersPerCall')), avatar: z.optional(f.avatar), clientId: z.optional(f.clientId) }),
    result,
    durable,
  ),
  'conversation.update': method(
    'Renames a group or changes its picture.',
    z.strictObject({ conversationId, title: z.optional(f.title), avatar: z.optional(f.avatar) }),
    result,
    durable,
  ),
  'conversation.retention': method(
    'Lets messages of a group or a room go after so many days, files with them, or keeps them for ever (0). Its members are told.',
    z.strictObject({ conversationId, days: z.int().check(z.minimum(0), atMost('retentionDays')) }),
    result,
    durable,
  ),
  'conversation.leave': method(
    'Leaves a group or a room. A group’s last owner hands over to the longest-standing admin or member.',
    z.strictObject({ conversationId }),
    f.nothing,
    durable,
  ),
  'conversation.dissolve': method('Ends a group for everybody; only its owner may.', z.strictObject({ conversationId }), f.nothing, durable),
  'conversation.accept': method('Accepts a stranger’s conversation out of the requests.', z.strictObject({ conversationId }), mine, durable),
  'conversation.mute': method('No notifications until then; 0 ends it.', z.strictObject({ conversationId, until: f.time }), mine, durable),
  'conversation.pin': method('Keeps a conversation at the top of your list.', z.strictObject({ conversationId, on: z.boolean() }), mine, durable),
};
