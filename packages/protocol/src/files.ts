import * as z from 'zod/mini';
import { atMost, entriesUpTo, units } from './length.ts';
import * as f from './method.ts';
import { method } from './method.ts';

/** A file as it stands in messages. Its bytes are at `/files/<id>/<name>`, for those who may read them. */
export const file = z.object({
  id: f.id,
  /** Cleaned of folders, controls and what hides or turns text; never empty. */
  name: z.string(),
  /** Bytes. */
  size: z.int(),
  /**
   * By the bytes themselves where they are a picture, sound or video that is shown in place; else what the sender called
   * it, or `application/octet-stream`. A label: nothing is ever served under a type that only somebody said.
   */
  type: z.string(),
  /** Pixels, of pictures as they are shown (turned upright), and of videos as their sender measured them. */
  width: z.optional(z.int()),
  height: z.optional(z.int()),
  /** A picture that moves. Its smaller ones do not; who plays it takes the file itself. */
  animated: z.optional(z.boolean()),
  /** A WebP of a few pixels, base64: what is shown until the picture is there. */
  preview: z.optional(z.string()),
  /** Milliseconds that a sound or a video plays, as its sender measured them. */
  durationMs: z.optional(z.int()),
  /** Of type voice: how loud it is from beginning to end, up to 64 bars of 0 to 31. */
  waveform: z.optional(z.array(z.int())),
});

/** Bytes: how many are taken, reserved ones included, and how many there are in all. */
const room = z.object({ bytes: z.int(), limit: z.int() });

/** Hex, small letters. */
const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/));
/** Type and subtype, without parameters. */
const mediaType = z.string().check(z.regex(/^[A-Za-z0-9!#$&^_.+-]{1,63}\/[A-Za-z0-9!#$&^_.+-]{1,63}$/));

export const fileMethods = {
  'file.reserve': method(
    'Makes a place for a file. Its bytes then go to `url` by the tus protocol. The same clientId again answers the same place, as long as it is kept.',
    z.strictObject({
      /** Where it will be sent, if that is known: who may not write there is refused before any byte travels. */
      conversationId: z.optional(f.id),
      clientId: z.optional(f.clientId),
      name: z.string().check(units(1, 'fileName')),
      /** Bytes. */
      size: z.int().check(z.minimum(0)),
      type: z.optional(mediaType),
      /** If it is given, other bytes are refused as soon as the last has come. */
      sha256: z.optional(sha256),
      /** A picture keeps all that it tells, like where it was taken. Else that is taken out before anybody gets it. */
      original: z.optional(z.boolean()),
      /** It becomes the picture of a person or a group, and can be nothing else. */
      avatar: z.optional(z.boolean()),
    }),
    z.object({
      fileId: f.id,
      /** Below the server's address. */
      url: z.string(),
      /** What is not sent in a message by then is deleted. */
      expiresAt: f.time,
    }),
    { rate: 'send' },
  ),
  'file.commit': method(
    'Says that all bytes have come, and which they were. The reply comes after they are on disk; from then on the file can be sent with `message.send`.',
    z.strictObject({
      fileId: f.id,
      sha256,
      /** Pixels of a video, as its sender measured them. Pictures are measured by the server, and this is passed over. */
      width: z.optional(z.int().check(z.minimum(1), atMost('pictureSide'))),
      height: z.optional(z.int().check(z.minimum(1), atMost('pictureSide'))),
      /** Milliseconds that a sound or a video plays. */
      durationMs: z.optional(z.int().check(z.minimum(0), atMost('durationMs'))),
      /** Of a video: a picture of one's own, not sent yet, that is shown for it. It goes with the video. */
      posterId: z.optional(f.id),
      /** How loud it is from beginning to end, 0 to 31 each. */
      waveform: z.optional(z.array(z.int().check(z.minimum(0), z.maximum(31))).check(entriesUpTo('waveformBars'))),
    }),
    z.object({ file }),
    { rate: 'send' },
  ),
  'file.usage': method(
    'How much room your files take, how much you have, and how large one may be. An operator learns the same of the whole server.',
    z.strictObject({}),
    z.object({
      own: room,
      /** Bytes of one file, at most. */
      fileLimit: z.int(),
      server: z.optional(room),
    }),
  ),
};
