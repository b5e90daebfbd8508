import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

/** A message that its reader has deleted for themselves, in their own stream. Others see it as before. */
export const hidden = z.object({
  kind: z.literal('hidden'),
  messageId: f.id,
  conversationId: f.id,
  version: f.version,
  seq: f.seq,
});

export const hiddenMethods = {
  'message.hide': method('Deletes a message for yourself, on all your devices.', z.strictObject({ messageId: f.id }), z.object({ hidden }), { durable: true }),
};
