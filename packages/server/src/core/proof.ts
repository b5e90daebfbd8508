import { type Params, RequestError, limits, userStream } from '@kith/protocol';
import type { Context } from './context.ts';
import { hasFactor, useCode } from './factors.ts';
import { passkeyUsed, requirePasskey } from './passkeys.ts';

/**
 * What is sensitive may be done only by who has just shown who they are, by signing in or by `auth.confirm`: a device left
 * unlocked, or a token that was stolen, is not enough. Guests, and people whom another site vouches for, have nothing to
 * show but the session itself.
 *
 * @throws confirm_required
 */
export async function requireConfirmed(context: Context): Promise<void> {
  const { sessionId } = context.identity;
  const row = await context.read((q) =>
    q.selectFrom('sessions').innerJoin('users', 'users.id', 'sessions.user_id').select(['confirmed_at', 'password']).where('sessions.id', '=', sessionId).executeTakeFirstOrThrow(),
  );
  if (row.password !== null && context.now() - row.confirmed_at > limits.confirmedMs) throw new RequestError('confirm_required');
}

/** Who looks after everybody is guarded by more than a password, where the operator of the machine wants that. @throws factor_missing */
export async function requireOperatorFactor(context: Context): Promise<void> {
  if (context.config.operatorFactor && !(await context.read((q) => hasFactor(q, context.userId)))) throw new RequestError('factor_missing');
}

/**
 * The person signed in shows who they are, as when signing in: by a passkey, or by the password, and a code beside it if
 * they have a factor.
 *
 * @returns until when that counts, milliseconds since 1970
 * @throws wrong_credentials, factor_required, rate_limited
 */
export async function confirm(context: Context, { password, code, passkey }: Params<'auth.confirm'>): Promise<number> {
  const { userId, sessionId } = context.identity;
  const shown = passkey && (await requirePasskey(context, passkey));
  if (shown && shown.userId !== userId) throw new RequestError('wrong_credentials');
  // Asked before the password is looked at: who holds the session alone does not learn whether it was right.
  const factor = !shown && (await context.read((q) => hasFactor(q, userId)));
  if (factor && code === undefined) throw new RequestError('factor_required');
  const confirmed = () =>
    context.commit([userStream(userId)], async (c) => {
      if (shown) await passkeyUsed(c, shown, sessionId);
      if (factor && !(await useCode(c, userId, code!, sessionId))) throw new RequestError('wrong_credentials');
      await c.q.updateTable('sessions').set({ confirmed_at: c.now }).where('id', '=', sessionId).execute();
      return c.now + limits.confirmedMs;
    });
  return shown ? confirmed() : withPassword(context, password ?? '', confirmed);
}

/** The password of the person signed in. @throws wrong_credentials, rate_limited */
export const requirePassword = (context: Context, password: string): Promise<void> => withPassword(context, password, async () => {});

/** Guessing is limited as at sign-in, that of what `also` looks at with it. */
async function withPassword<T>(context: Context, password: string, also: () => Promise<T>): Promise<T> {
  const { signInLimits, passwords, blocks, db } = context.services;
  const row = await context.read((q) => q.selectFrom('users').select(['handle', 'password']).where('id', '=', context.userId).executeTakeFirstOrThrow());
  const account = row.handle ?? context.userId;
  await blocks.watch('sign-in', context.caller, () => signInLimits.requireMayTry(account, context.caller.ip));
  if (!(await passwords.verify(password, row.password))) {
    await db.write([], (q) => context.audit({ q, now: context.now() }, 'signin.failed', { subject: context.userId, detail: { by: 'password' } }));
    throw new RequestError('wrong_credentials');
  }
  const result = await also();
  await signInLimits.succeeded(account, context.caller.ip);
  return result;
}
