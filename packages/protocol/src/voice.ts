import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

/** Which voice messages of a conversation a person has heard, in their own stream. Their own, and what was there before they came, count as heard. */
export const heard = z.object({
  kind: z.literal('heard'),
  conversationId: f.id,
  version: f.version,
  /** All up to this seq count as heard. */
  upTo: f.seq,
  /** Those above it that were heard, ascending. */
  seqs: z.array(f.seq),
});

export const voiceMethods = {
  'voice.heard': method('Takes the unheard mark off a voice message, on all your devices.', z.strictObject({ messageId: f.id }), z.object({ heard }), { durable: true }),
};
