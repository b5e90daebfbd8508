import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';
import { message } from './messages.ts';

export const announcementMethods = {
  'announcement.send': method('A message to everybody on the server.', z.strictObject({ text: f.messageText, clientId: z.optional(f.clientId) }), z.object({ message }), {
    access: 'operator',
    durable: true,
    rate: 'send',
  }),
};
