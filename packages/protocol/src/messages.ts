import * as z from 'zod/mini';
import { file } from './files.ts';
import { link } from './links.ts';
import * as f from './method.ts';
import { method } from './method.ts';

/** What a line of the system says happened. `senderId` did it. */
export const event = z.object({
  type: z.enum(['created', 'renamed', 'picture', 'added', 'removed', 'left', 'role', 'retention']),
  userIds: z.optional(z.array(f.id)),
  title: z.optional(z.string()),
  role: z.optional(z.string()),
  /** 0: for ever. */
  days: z.optional(z.int()),
});

export const message = z.object({
  kind: z.literal('message'),
  id: f.id,
  conversationId: f.id,
  /** Place in the conversation: 1, 2, 3 … without holes, never changed. */
  seq: f.seq,
  version: f.version,
  senderId: f.id,
  /** The sender's own key of this message; null on system lines. */
  clientId: z.nullable(z.string()),
  type: z.enum(['text', 'emoji', 'image', 'file', 'voice', 'system']),
  /** Empty once recalled. */
  text: z.string(),
  /** Never before the message ahead of it, whatever the clock did. */
  at: f.time,
  editedAt: z.optional(f.time),
  /** Recalled: the row stays, empty. */
  deletedAt: z.optional(f.time),
  /** Who recalled it. */
  deletedBy: z.optional(f.id),
  event: z.optional(event),
  /** Of types image, file and voice, unless recalled. */
  file: z.optional(file),
  /** What is shown of the first link of the text, once somebody has looked. */
  link: z.optional(link),
});

const result = z.object({ message });
const conversationId = f.id;

export const messageMethods = {
  'message.send': method(
    'Sends a message. The reply comes after it is on disk. The same clientId again returns the original, for ever.',
    z.strictObject({
      conversationId,
      clientId: f.clientId,
      type: z.enum(['text', 'emoji', 'image', 'file', 'voice']),
      /** With a file its caption, which may be empty. */
      text: f.messageText,
      /** Of types image, file and voice: what was committed, or a file that you may read. Type voice takes a sound with `durationMs` and `waveform`. */
      fileId: z.optional(f.id),
    }),
    result,
    { durable: true, rate: 'send' },
  ),
  'message.withdraw': method(
    'Takes back a send whose answer did not come: answers the message if it is stored; else from now on this clientId is refused, `too_late`.',
    z.strictObject({ conversationId, clientId: f.clientId }),
    z.object({ message: z.optional(message) }),
    { rate: 'send' },
  ),
  'message.edit': method('Changes the text of your own message.', z.strictObject({ messageId: f.id, text: f.messageText }), result, { durable: true }),
  'message.delete': method(
    'Recalls a message for everybody: your own within the time the server allows, anyone’s as an admin, in rooms also as an operator.',
    z.strictObject({ messageId: f.id }),
    result,
    {
      durable: true,
    },
  ),
  'message.unlink': method('Takes the preview of its link off your own message, or keeps it from coming.', z.strictObject({ messageId: f.id }), result, { durable: true }),
  'message.history': method(
    'A page of a conversation: before, after or around a seq, or around the first message at or after a time; without any, the newest.',
    z.strictObject({ conversationId, before: z.optional(f.seq), after: z.optional(f.seq), around: z.optional(f.seq), at: z.optional(f.time), limit: f.pageLimit }),
    /** Ascending by seq. `before`/`after`: whether there is more in that direction. */
    z.object({ messages: z.array(message), before: z.boolean(), after: z.boolean() }),
    { rate: 'sync' },
  ),
  'message.media': method(
    'What was shared in a conversation: pictures and videos, other files, spoken messages, or links. The newest, or those before or after a seq.',
    z.strictObject({ conversationId, kind: z.enum(['media', 'files', 'voice', 'links']), before: z.optional(f.seq), after: z.optional(f.seq), limit: f.pageLimit }),
    /** Descending by seq. `more`: whether there are others in the direction that was asked for. */
    z.object({ messages: z.array(message), more: z.boolean() }),
    { rate: 'sync' },
  ),
};
