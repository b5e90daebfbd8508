import * as z from 'zod/mini';
import * as f from './method.ts';
import { units } from './length.ts';
import { method } from './method.ts';

/** Minutes after midnight in the person's own time zone. */
const minute = z.int().check(z.minimum(0), z.maximum(1_439));

/** What a person has decided about what others learn of them and when they are disturbed, in their own stream. */
export const settings = z.object({
  kind: z.literal('settings'),
  version: f.version,
  /** Tell others how far you have received and read. Off: between you two nobody tells in a direct conversation. */
  readReceipts: z.boolean(),
  /** Tell others that you are typing. Off: you are not told either. */
  typing: z.boolean(),
  /** Who sees that you are online and when you last were. everyone: all you share a conversation with. */
  presence: z.enum(['everyone', 'friends', 'nobody']),
  /** Who may put you into a group. */
  groups: z.enum(['friends', 'anyone']),
  /** May people who are not your friends find you by your user name? */
  findable: z.boolean(),
  /** May a push to a device carry what was said? Off: only that there is something. */
  pushContent: z.boolean(),
  /** Does this server look at the links that you send, to show what is there? */
  linkPreviews: z.boolean(),
  /** No pushes from this minute of the day … null: never quiet. */
  quietFrom: z.nullable(minute),
  /** … until this one, the next day if it is earlier. */
  quietTo: z.nullable(minute),
  /** IANA name, for the quiet hours. */
  timeZone: z.string(),
});

const timeZone = z.string().check(units(1, 'timeZone'), z.regex(/^[A-Za-z0-9_+/-]+$/));

export const settingsMethods = {
  'settings.update': method(
    'Changes your settings; what is left out stays.',
    z.strictObject({
      readReceipts: z.optional(z.boolean()),
      typing: z.optional(z.boolean()),
      presence: z.optional(z.enum(['everyone', 'friends', 'nobody'])),
      groups: z.optional(z.enum(['friends', 'anyone'])),
      findable: z.optional(z.boolean()),
      pushContent: z.optional(z.boolean()),
      linkPreviews: z.optional(z.boolean()),
      quietFrom: z.optional(z.nullable(minute)),
      quietTo: z.optional(z.nullable(minute)),
      timeZone: z.optional(timeZone),
    }),
    z.object({ settings }),
    { durable: true },
  ),
};
