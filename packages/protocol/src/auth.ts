import * as z from 'zod/mini';
import * as f from './method.ts';
import { units } from './length.ts';
import { method } from './method.ts';
import { factor } from './factors.ts';
import { signedIn } from './signed-in.ts';
import { user } from './users.ts';

/** One login on one device. */
export const session = z.object({
  kind: z.literal('session'),
  id: f.id,
  version: f.version,
  device: z.string(),
  createdAt: f.time,
  /** Coarse: updated at most once an hour, and when a connection opens. */
  usedAt: f.time,
  endedAt: z.nullable(f.time),
});

const device = z.optional(f.device);

export const authMethods = {
  'auth.register': method(
    'Makes an account and signs in.',
    z.strictObject({
      handle: f.handle,
      password: f.password,
      name: f.name,
      avatar: z.optional(f.avatar),
      device,
      /** From an invite or set-up link; needed where registration is by invitation. */
      invite: z.optional(f.invite),
    }),
    signedIn,
    { access: 'public', durable: true },
  ),
  'auth.login': method('Signs in.', z.strictObject({ handle: f.handle, password: f.anyPassword, device }), signedIn, { access: 'public', durable: true }),
  'auth.guest': method(
    'A real user with a token and no password, to be claimed later.',
    z.strictObject({ name: f.name, avatar: z.optional(f.avatar), device, invite: z.optional(f.invite) }),
    signedIn,
    { access: 'public', durable: true },
  ),
  'auth.exchange': method('Trades a JWT signed by the operator’s own site for a session, once.', z.strictObject({ jwt: z.string().check(units(0, 'jwt')), device }), signedIn, {
    access: 'public',
    durable: true,
  }),
  'auth.restore': method(
    'Brings a deleted account back, as long as that is possible; sign in then. Groups that were left are left, and the picture is gone.',
    z.strictObject({ handle: f.handle, password: f.anyPassword }),
    f.nothing,
    { access: 'public', durable: true },
  ),
  'auth.reset': method(
    'A new password for who was given a link by an operator. All sessions end; a second factor is still needed to sign in.',
    z.strictObject({ handle: f.handle, ticket: z.string().check(units(1, 'token')), password: f.password }),
    f.nothing,
    { access: 'public', durable: true },
  ),
  'auth.claim': method('Gives a guest a handle and a password. Id, friends and messages stay.', z.strictObject({ handle: f.handle, password: f.password }), z.object({ user }), {
    durable: true,
  }),
  'auth.confirm': method(
    'Shows once more that it is you, by a passkey or the password; with it a code, if signing in takes one. For ten minutes this session may do what is sensitive.',
    z.strictObject({ password: z.optional(f.anyPassword), ...factor }),
    z.object({ until: f.time }),
  ),
  'auth.logout': method('Ends this session.', f.nothing, f.nothing, { durable: true }),
  'session.list': method('Your signed-in devices, the latest first.', f.nothing, z.object({ sessions: z.array(session), current: f.id })),
  'session.renew': method(
    'A new token for this session, over HTTP alone: once a day, and after a change in how you sign in. The one you have is good until the new one was used; programs need not do this.',
    f.nothing,
    z.object({
      /** false: it is not time for that, or this is a socket, on which no cookie can be set. */
      renewed: z.boolean(),
      /** Only to programs; a browser on the server’s own origin gets a cookie instead. */
      token: z.optional(z.string()),
    }),
  ),
  'session.revoke': method('Ends a session of yours; its connections close at once.', z.strictObject({ sessionId: f.id }), f.nothing, { durable: true }),
};
