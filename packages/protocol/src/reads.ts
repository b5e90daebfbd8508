import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';
import { inbox } from './conversations.ts';

/** How far somebody has received and read, told to the other members of conversations up to 200. */
export const receipt = z.object({
  kind: z.literal('receipt'),
  conversationId: f.id,
  userId: f.id,
  version: f.version,
  deliveredSeq: f.seq,
  /** Never above deliveredSeq. */
  readSeq: f.seq,
});

const where = z.strictObject({ conversationId: f.id, seq: f.seq });

export const readMethods = {
  'read.mark': method('You have read up to here. Never goes back; beyond the end means the end.', where, z.object({ inbox }), { durable: true, rate: 'fleeting' }),
  'read.unread': method(
    'Marks a conversation as unread, or takes that back. Nothing happens if it was read further or marked anew after version `base` of your stream.',
    z.strictObject({ conversationId: f.id, on: z.boolean(), base: f.version }),
    z.object({ inbox }),
    { durable: true },
  ),
  'receipt.delivered': method('This device has received up to here.', where, f.nothing, { durable: true, rate: 'fleeting' }),
};
