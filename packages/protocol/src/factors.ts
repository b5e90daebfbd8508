import * as z from 'zod/mini';
import * as f from './method.ts';
import { units } from './length.ts';
import { method } from './method.ts';
import { signedIn } from './signed-in.ts';

const code = z.string().check(units(0, 'factorCode'));
const part = z.string().check(units(1, 'passkeyPart'), z.regex(/^[A-Za-z0-9_-]+$/));

/** What a browser answers to a challenge with a passkey that there is: of its `PublicKeyCredential`, in base64url. */
export const assertion = z.strictObject({
  id: part,
  clientDataJSON: part,
  authenticatorData: part,
  signature: part,
  userHandle: z.optional(part),
});

/** Beside the password, or in its place: a code of the app, a recovery code, or a passkey. */
export const factor = { code: z.optional(code), passkey: z.optional(assertion) };

/** How a person shows who they are, in their own stream; absent until there is more than a password. */
export const security = z.object({
  kind: z.literal('security'),
  version: f.version,
  /** Since when an app makes codes; null: none does. */
  appSince: z.nullable(f.time),
  passkeys: z.array(z.object({ id: f.id, name: z.string(), createdAt: f.time, usedAt: z.nullable(f.time) })),
  /** Recovery codes that are left. */
  recoveryCodes: z.int(),
  /** What changed last, and by which session; so that a person's other devices can tell. */
  last: z.object({
    what: z.enum(['password', 'app-added', 'app-removed', 'passkey-added', 'passkey-removed', 'recovery-renewed', 'recovery-used']),
    at: f.time,
    sessionId: f.id,
  }),
});

/** Shown once, and kept by nobody but the person. Left out where there are some already. */
const recoveryCodes = z.optional(z.array(z.string()));
/** As browsers take it: `PublicKeyCredentialCreationOptionsJSON`, `PublicKeyCredentialRequestOptionsJSON`. */
const options = z.looseObject({ challenge: z.string() });

export const factorMethods = {
  'app.begin': method(
    'A secret for an app that makes codes (TOTP, RFC 6238); it counts once a code of it was shown to app.add.',
    f.nothing,
    z.object({
      /** Base32. */
      secret: z.string(),
      /** What a camera reads. */
      uri: z.string(),
      ticket: z.string(),
    }),
    { sensitive: true },
  ),
  'app.add': method(
    'From now on signing in takes a code of this app, or one of the others.',
    z.strictObject({ secret: z.string().check(units(1, 'token')), ticket: z.string().check(units(1, 'token')), code }),
    z.object({ security, recoveryCodes }),
    { durable: true, sensitive: true },
  ),
  'app.remove': method('Codes of the app are not taken any more.', f.nothing, z.object({ security }), { durable: true, sensitive: true }),
  'recovery.renew': method('New recovery codes; those of before end.', f.nothing, z.object({ security, recoveryCodes: z.array(z.string()) }), { durable: true, sensitive: true }),
  'passkey.begin': method('What a browser needs to make a passkey for you.', f.nothing, z.object({ options }), { sensitive: true }),
  'passkey.add': method(
    'Adds a passkey that the browser has made.',
    z.strictObject({ name: f.device, id: part, clientDataJSON: part, attestationObject: part }),
    z.object({ security, recoveryCodes }),
    { durable: true, sensitive: true },
  ),
  'passkey.rename': method('Calls one of your passkeys something else.', z.strictObject({ passkeyId: f.id, name: f.device }), z.object({ security }), { durable: true }),
  'passkey.remove': method('This passkey opens nothing any more.', z.strictObject({ passkeyId: f.id }), z.object({ security }), { durable: true, sensitive: true }),
  'passkey.challenge': method(
    'What a browser needs to show a passkey: for passkey.login, auth.factor or auth.confirm, once, within five minutes.',
    f.nothing,
    z.object({ options }),
    {
      access: 'public',
    },
  ),
  'passkey.login': method('Signs in with a passkey alone.', z.strictObject({ passkey: assertion, device: z.optional(f.device) }), signedIn, { access: 'public', durable: true }),
  'auth.factor': method(
    'Signs in, second step: where auth.login answered `factor_required`, with the ticket of that answer.',
    z.strictObject({ handle: f.handle, ticket: z.string().check(units(1, 'token')), ...factor, device: z.optional(f.device) }),
    signedIn,
    { access: 'public', durable: true },
  ),
};
