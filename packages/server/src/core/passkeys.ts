import { type Assertion, RequestError, limits } from '@kith/protocol';
import { type RelyingParty, relyingParty } from '../config.ts';
import type { PasskeysTable } from '../db/schema.ts';
import type { Context } from './context.ts';
import { securityChanged } from './factors.ts';
import type { Commit } from './streams.ts';
import { readSiteName } from './site-name.ts';

/** EdDSA, ES256 and RS256: what authenticators have. */
const algorithms = [-8, -7, -257];

/** @throws forbidden: there are no passkeys here */
function requireRelyingParty({ config, caller }: Pick<Context, 'config' | 'caller'>): RelyingParty {
  const party = relyingParty(config, caller.origin);
  if (!party) throw new RequestError('forbidden', { message: 'Passkeys need the name of this server and HTTPS: KITH_PUBLIC_URL. Without, they work at http://localhost alone.' });
  return party;
}

/** A few milliseconds to load, which servers without passkeys never pay. */
const library = () => import('@simplewebauthn/server');

/** What a challenge is good for: this session, or somebody not signed in; for showing a passkey or for a new one. */
const purposeOf = ({ caller }: Pick<Context, 'caller'>, what: 'show' | 'make'): string => `passkey ${what} ${caller.identity?.sessionId ?? ''}`;

const challenge = (context: Context, what: 'show' | 'make') => new Uint8Array(Buffer.from(context.services.tickets.seal(purposeOf(context, what), limits.ticketMs), 'base64url'));

/** What a browser needs to make one. @throws forbidden, too_many */
export async function beginPasskey(context: Context): Promise<{ challenge: string }> {
  const { userId } = context;
  const { id: rpID } = requireRelyingParty(context);
  const [rpName, user, known] = await context.read(async (q) => [
    await readSiteName(q, context.config),
    await q.selectFrom('users').select(['handle', 'name']).where('id', '=', userId).executeTakeFirstOrThrow(),
    await q.selectFrom('passkeys').select('credential_id').where('user_id', '=', userId).execute(),
  ]);
  if (known.length >= limits.passkeysPerUser) throw new RequestError('too_many', { limit: 'passkeysPerUser' });
  return (await library()).generateRegistrationOptions({
    rpName,
    rpID,
    userName: user.handle ?? user.name,
    userDisplayName: user.name,
    userID: new Uint8Array(Buffer.from(userId)),
    challenge: challenge(context, 'make'),
    attestationType: 'none',
    excludeCredentials: known.map((row) => ({ id: row.credential_id })),
    // It stands for password and code together: it names its person, and asks for a finger, a face or a PIN.
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    supportedAlgorithmIDs: algorithms,
    timeout: limits.ticketMs,
  });
}

/** What the browser has made. @throws bad_request, forbidden */
export async function madePasskey(
  context: Context,
  given: { id: string; clientDataJSON: string; attestationObject: string },
): Promise<Pick<PasskeysTable, 'credential_id' | 'public_key' | 'counter'>> {
  const party = requireRelyingParty(context);
  const { id, clientDataJSON, attestationObject } = given;
  const { verifyRegistrationResponse } = await library();
  const { registrationInfo } = await verifyRegistrationResponse({
    response: { id, rawId: id, type: 'public-key', response: { clientDataJSON, attestationObject }, clientExtensionResults: {} },
    expectedChallenge: (ticket) => context.services.tickets.use(ticket, purposeOf(context, 'make')),
    expectedOrigin: party.origin,
    expectedRPID: party.id,
    requireUserVerification: true,
    supportedAlgorithmIDs: algorithms,
  }).catch(() => ({ registrationInfo: undefined }));
  if (!registrationInfo)
    throw new RequestError('bad_request', { path: 'params.attestationObject', message: 'params.attestationObject: no new passkey for this server, made just now' });
  const { credential } = registrationInfo;
  return { credential_id: credential.id, public_key: Buffer.from(credential.publicKey).toString('base64url'), counter: credential.counter };
}

/** What a browser needs to show one. Which people have any is told to nobody, so none are named. @throws forbidden */
export async function askForPasskey(context: Context): Promise<{ challenge: string }> {
  const { id: rpID } = requireRelyingParty(context);
  return (await library()).generateAuthenticationOptions({ rpID, challenge: challenge(context, 'show'), userVerification: 'required', timeout: limits.ticketMs });
}

/** A passkey that was shown just now; `passkeyUsed` has to follow, in the commit that acts on it. */
export interface ShownPasskey {
  id: string;
  userId: string;
  counter: number;
}

/**
 * Looks at what the browser shows: signed by a passkey that we know, for this server, in answer to a challenge of ours
 * that nobody has answered yet.
 *
 * @throws wrong_credentials, forbidden
 */
export async function requirePasskey(context: Context, given: Assertion): Promise<ShownPasskey> {
  const party = requireRelyingParty(context);
  const { id, clientDataJSON, authenticatorData, signature, userHandle } = given;
  const row = await context.read((q) => q.selectFrom('passkeys').selectAll().where('credential_id', '=', id).executeTakeFirst());
  if (!row || (userHandle !== undefined && Buffer.from(userHandle, 'base64url').toString() !== row.user_id)) throw new RequestError('wrong_credentials');
  const { verifyAuthenticationResponse } = await library();
  const shown = await verifyAuthenticationResponse({
    response: { id, rawId: id, type: 'public-key', response: { clientDataJSON, authenticatorData, signature }, clientExtensionResults: {} },
    expectedChallenge: (ticket) => context.services.tickets.use(ticket, purposeOf(context, 'show')),
    expectedOrigin: party.origin,
    expectedRPID: party.id,
    requireUserVerification: true,
    credential: { id, publicKey: new Uint8Array(Buffer.from(row.public_key, 'base64url')), counter: row.counter },
  }).catch(() => undefined);
  if (!shown?.verified) throw new RequestError('wrong_credentials');
  return { id: row.id, userId: row.user_id, counter: shown.authenticationInfo.newCounter };
}

/** @throws wrong_credentials: it was removed meanwhile, or a copy of it was used at the same moment */
export async function passkeyUsed(c: Commit, { id, userId, counter }: ShownPasskey, sessionId: string): Promise<void> {
  const used = await c.q
    .updateTable('passkeys')
    .set({ counter, used_at: c.now })
    .where('id', '=', id)
    .$if(counter > 0, (query) => query.where('counter', '<', counter))
    .returning('id')
    .executeTakeFirst();
  if (!used) throw new RequestError('wrong_credentials');
  await securityChanged(c, userId, undefined, sessionId);
}
