import { randomBytes } from 'node:crypto';
import { RequestError, type Security, limits, userStream } from '@kith/protocol';
import { type Context, type Handlers, newId } from '../core/context.ts';
import { dropRecoveryCodesUnlessNeeded, firstRecoveryCodes, hasFactor, makeRecoveryCodes, securityChanged } from '../core/factors.ts';
import { askForPasskey, beginPasskey, madePasskey } from '../core/passkeys.ts';
import type { Commit } from '../core/streams.ts';
import { fromBase32, stepOf, toBase32 } from '../core/totp.ts';
import { readSiteName } from '../core/site-name.ts';

/** Milliseconds between the secret of an app and its first code. */
const beginMs = 1_800_000;

export const factors: Handlers<
  'app.begin' | 'app.add' | 'app.remove' | 'recovery.renew' | 'passkey.begin' | 'passkey.add' | 'passkey.rename' | 'passkey.remove' | 'passkey.challenge'
> = {
  async 'app.begin'(context) {
    const handle = await requireAccount(context);
    const secret = toBase32(randomBytes(20));
    const site = encodeURIComponent(await context.read((q) => readSiteName(q, context.config)));
    const uri = `otpauth://totp/${site}:${encodeURIComponent(handle)}?secret=${secret}&issuer=${site}`;
    return { secret, uri, ticket: context.services.tickets.seal(appOf(context, secret), beginMs) };
  },

  async 'app.add'(context, { secret, ticket, code }) {
    const { userId } = context;
    await requireAccount(context);
    if (!context.services.tickets.isGood(ticket, appOf(context, secret))) throw new RequestError('too_late');
    const app_step = stepOf(fromBase32(secret), code, context.now(), 0);
    if (app_step === undefined) throw new RequestError('wrong_credentials');
    return context.commit([userStream(userId)], async (c) => {
      const codes = await firstRecoveryCodes(c, userId);
      const security = await changed(context, c, 'app-added', { app_secret: secret, app_since: c.now, app_step });
      return { security, recoveryCodes: codes };
    });
  },

  async 'app.remove'(context) {
    const { userId } = context;
    return context.commit([userStream(userId)], async (c) => {
      const there = await c.q
        .updateTable('security')
        .set({ app_secret: null })
        .where('user_id', '=', userId)
        .where('app_secret', 'is not', null)
        .returning('user_id')
        .executeTakeFirst();
      if (!there) throw new RequestError('not_found');
      await dropRecoveryCodesUnlessNeeded(c, userId);
      return { security: await changed(context, c, 'app-removed', { app_secret: null, app_since: null }) };
    });
  },

  async 'recovery.renew'(context) {
    const { userId } = context;
    return context.commit([userStream(userId)], async (c) => {
      if (!(await hasFactor(c.q, userId))) throw new RequestError('not_found');
      const recoveryCodes = await makeRecoveryCodes(c, userId);
      return { security: await changed(context, c, 'recovery-renewed'), recoveryCodes };
    });
  },

  async 'passkey.begin'(context) {
    await requireAccount(context);
    return { options: await beginPasskey(context) };
  },

  async 'passkey.add'(context, { name, ...given }) {
    const { userId } = context;
    await requireAccount(context);
    const made = await madePasskey(context, given);
    return context.commit([userStream(userId)], async (c) => {
      const others = await c.q.selectFrom('passkeys').select('id').where('user_id', '=', userId).execute();
      if (others.length >= limits.passkeysPerUser) throw new RequestError('too_many', { limit: 'passkeysPerUser' });
      const codes = await firstRecoveryCodes(c, userId);
      const added = await c.q
        .insertInto('passkeys')
        .values({ id: newId(), user_id: userId, name, created_at: c.now, used_at: null, ...made })
        .onConflict((conflict) => conflict.doNothing())
        .returning('id')
        .executeTakeFirst();
      // Another person's, on a server where nothing but chance or malice makes that.
      if (!added) throw new RequestError('bad_request', { path: 'params.id', message: 'params.id: this passkey is known' });
      return { security: await changed(context, c, 'passkey-added'), recoveryCodes: codes };
    });
  },

  async 'passkey.rename'(context, { passkeyId, name }) {
    const { userId, sessionId } = context.identity;
    return context.commit([userStream(userId)], async (c) => {
      const renamed = await c.q.updateTable('passkeys').set({ name }).where('id', '=', passkeyId).where('user_id', '=', userId).returning('id').executeTakeFirst();
      if (!renamed) throw new RequestError('not_found');
      return { security: await securityChanged(c, userId, undefined, sessionId) };
    });
  },

  async 'passkey.remove'(context, { passkeyId }) {
    const { userId } = context;
    return context.commit([userStream(userId)], async (c) => {
      const removed = await c.q.deleteFrom('passkeys').where('id', '=', passkeyId).where('user_id', '=', userId).returning('id').executeTakeFirst();
      if (!removed) throw new RequestError('not_found');
      await dropRecoveryCodesUnlessNeeded(c, userId);
      return { security: await changed(context, c, 'passkey-removed') };
    });
  },

  async 'passkey.challenge'(context) {
    return { options: await askForPasskey(context) };
  },
};

/** Told to the person's other devices, and in the audit log. */
async function changed(context: Context, c: Commit, what: Security['last']['what'], set?: Parameters<typeof securityChanged>[4]): Promise<Security> {
  const { userId, sessionId } = context.identity;
  const security = await securityChanged(c, userId, what, sessionId, set);
  await context.audit(c, 'factors.changed', { detail: { what } });
  return security;
}

const appOf = ({ userId }: Context, secret: string): string => `app ${userId} ${secret}`;

/** A factor stands beside a password. Guests have none, and people of another site have theirs there. @throws forbidden */
async function requireAccount(context: Context): Promise<string> {
  const row = await context.read((q) => q.selectFrom('users').select(['handle', 'password']).where('id', '=', context.userId).executeTakeFirstOrThrow());
  if (row.handle === null || row.password === null) throw new RequestError('forbidden', { message: 'Only an account with a password can have this.' });
  return row.handle;
}
