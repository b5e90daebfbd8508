import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';
import { conversation } from './conversations.ts';
import { profile } from './users.ts';

const conversationId = f.id;

export const roomMethods = {
  'room.list': method('The open rooms of this server, the Lobby first.', f.nothing, z.object({ rooms: z.array(z.object({ conversation, joined: z.boolean(), online: z.int() })) })),
  'room.create': method('Opens a room that anyone on the server may join.', z.strictObject({ title: f.title, avatar: z.optional(f.avatar) }), z.object({ conversation }), {
    access: 'operator',
    durable: true,
  }),
  'room.join': method('Joins an open room.', z.strictObject({ conversationId }), z.object({ conversation }), { durable: true }),
  'room.online': method(
    'Who of the room is online now: exact count, and up to 200 people. Follows changes as signals until the connection ends.',
    z.strictObject({ conversationId }),
    z.object({ count: z.int(), users: z.array(profile) }),
  ),
};

export const roomSignals = {
  /** The room's online list changed; at most one a second. */
  'room.online': z.object({ conversationId, count: z.int(), joined: z.array(profile), left: z.array(f.id) }),
};
