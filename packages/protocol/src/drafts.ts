import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

/** What somebody has begun to write in a conversation, on all their devices. */
export const draft = z.object({
  kind: z.literal('draft'),
  conversationId: f.id,
  version: f.version,
  /** Empty: there is none. */
  text: z.string(),
  /** What another device had written at the same time; kept until a draft is set that knows of it. */
  other: z.nullable(z.string()),
  at: f.time,
});

export const draftMethods = {
  'draft.set': method(
    'Keeps a draft. If another device changed it since `base`, both texts are kept.',
    z.strictObject({
      conversationId: f.id,
      text: f.draftText,
      /** Version of the draft this one was written over; 0 for none. */
      base: f.version,
    }),
    z.object({ draft }),
    { durable: true, rate: 'fleeting' },
  ),
};
