import * as z from 'zod/mini';
import * as f from './method.ts';
import { units } from './length.ts';
import { method } from './method.ts';

/** As `PushSubscription.toJSON()` has them: base64url without padding, a point on P-256 and 16 random bytes. */
const p256dh = z.string().check(z.regex(/^[A-Za-z0-9_-]{87}$/));
const auth = z.string().check(z.regex(/^[A-Za-z0-9_-]{22}$/));
const endpoint = z.string().check(units(1, 'pushEndpoint'), z.regex(/^[\x21-\x7e]+$/));

/** What a push service answered: an HTTP status; null where it could not be reached or said nothing in time. */
const status = z.nullable(z.int());

/**
 * What a push carries, encrypted for the device: JSON of at most `limits.pushBytes` bytes. Ignore a `type` you do not know,
 * but show something: browsers want every push to be seen.
 *
 * One notification for each conversation, with `conversationId` as its `tag`: a later one takes the place of an earlier.
 */
export const pushPayload = z.discriminatedUnion('type', [
  /** There is something new. Where the app is open and in sight, it shows it by itself: show nothing. */
  z.object({
    type: z.literal('message'),
    conversationId: f.id,
    /** Of the newest message; what a click opens. */
    seq: f.seq,
    /** Unread messages in this conversation. */
    count: z.int(),
    /** Unread messages in all conversations that are not muted, for the badge of the app. */
    unread: z.int(),
    /** The sender, or the title of the conversation. Absent where the person keeps content off, and for requests of strangers. */
    title: z.optional(z.string()),
    /** The beginning of the text, behind the name of the sender where there are several. Absent as `title`. */
    body: z.optional(z.string()),
    /** Milliseconds of a voice message without words; say so in the person’s language, behind `body` where there is one. Absent as `title`. */
    voiceMs: z.optional(z.int()),
    /** A picture or a video without a caption; say so in the person’s language, as for `voiceMs`. Absent as `title`. */
    media: z.optional(z.enum(['picture', 'video'])),
  }),
  /** Read on another device: close the notification with this tag, and set the badge. */
  z.object({ type: z.literal('read'), conversationId: f.id, unread: z.int() }),
  /** To operators who are not connected: somebody reported somebody, and so many reports are open. Says no more. */
  z.object({ type: z.literal('report'), open: z.int() }),
  /** Asked for with `push.test`: show that it works. */
  z.object({ type: z.literal('test') }),
]);

export const pushMethods = {
  'push.key': method(
    'The server’s VAPID key, base64url: the `applicationServerKey` to subscribe with. Subscribe anew if yours was made with another.',
    f.nothing,
    z.object({ publicKey: z.string() }),
  ),
  'push.subscribe': method(
    'Sends pushes to this device from now on, until its session ends. Call it at every start: it replaces what this session had before, and the same again changes nothing.',
    z.strictObject({
      endpoint,
      p256dh,
      auth,
      /** The key of `push.key` that the subscription was made with. Default: the one of now. */
      publicKey: z.optional(p256dh),
    }),
    f.nothing,
  ),
  'push.unsubscribe': method('No more pushes to this endpoint of yours.', z.strictObject({ endpoint }), f.nothing),
  'push.test': method(
    'Sends a push of type `test` to this session’s device, whatever the hour, and waits for the answer of its push service.',
    f.nothing,
    z.object({
      /** 201 as a rule. 404 and 410: the browser gave the subscription up, and it is deleted; subscribe again. */
      status,
      /** The service took it. Whether the device shows it is up to the device. */
      ok: z.boolean(),
    }),
    { rate: 'send' },
  ),
  'push.check': method(
    'Why pushes do or do not come to this session’s device: each link of the chain that the server knows.',
    f.nothing,
    z.object({
      subscribed: z.boolean(),
      /** null: none since it was subscribed. */
      last: z.nullable(z.object({ at: f.time, status })),
      mutedConversations: z.int(),
      /** By the person’s quiet hours and time zone: nothing is sent now. */
      quietNow: z.boolean(),
      /** `settings.pushContent`: may a push carry what was said? */
      content: z.boolean(),
      /** Another device of the person is connected: pushes wait, and are not sent for what is read meanwhile. */
      otherDeviceActive: z.boolean(),
    }),
  ),
};
