import { RequestError, limits } from '@kith/protocol';
import type { Context } from './context.ts';

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

/** The person signed in has just shown who they are. @returns until when that counts, milliseconds since 1970 */
export async function confirm(context: Context): Promise<number> {
  const { sessionId } = context.identity;
  const now = context.now();
  await context.services.db.write([], (q) => q.updateTable('sessions').set({ confirmed_at: now }).where('id', '=', sessionId).execute());
  return now + limits.confirmedMs;
}

/** The password of the person signed in. Guessing it is limited as at sign-in. @throws wrong_credentials, rate_limited */
export async function requirePassword(context: Context, password: string): Promise<void> {
  const { signInLimits, passwords, blocks, db } = context.services;
  const row = await context.read((q) => q.selectFrom('users').select(['handle', 'password']).where('id', '=', context.userId).executeTakeFirstOrThrow());
  const account = row.handle ?? context.userId;
  await blocks.watch('sign-in', context.caller, () => signInLimits.requireMayTry(account, context.caller.ip));
  if (!(await passwords.verify(password, row.password))) {
    await db.write([], (q) => context.audit({ q, now: context.now() }, 'signin.failed', { subject: context.userId, detail: { by: 'password' } }));
    throw new RequestError('wrong_credentials');
  }
  await signInLimits.succeeded(account, context.caller.ip);
}
