import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

export const typingMethods = {
  'typing.set': method('Tells the others that you are typing; say it again every 3 s while it lasts.', z.strictObject({ conversationId: f.id }), f.nothing, { rate: 'fleeting' }),
};

export const typingSignals = {
  /** Somebody types; shown for 6 s. */
  typing: z.object({ conversationId: f.id, userId: f.id }),
};
