import { randomBytes } from 'node:crypto';
import { type Security, limits, userStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import type { SecurityTable } from '../db/schema.ts';
import { sha256 } from './context.ts';
import { readSecurity } from './entities.ts';
import { exchangeSoon } from './session-tokens.ts';
import type { Commit } from './streams.ts';
import { fromBase32, stepOf, toBase32 } from './totp.ts';

/** Does the password of this person need something beside it: is there an app, or a passkey? @param userId  Default: anybody's. */
export async function hasFactor(q: Query, userId?: string): Promise<boolean> {
  const [how, whose] = userId === undefined ? (['>', ''] as const) : (['=', userId] as const);
  const app = await q.selectFrom('security').select('user_id').where('app_secret', 'is not', null).where('user_id', how, whose).limit(1).executeTakeFirst();
  if (app) return true;
  return (await q.selectFrom('passkeys').select('user_id').where('user_id', how, whose).limit(1).executeTakeFirst()) !== undefined;
}

/**
 * Uses up a code, of the app or for recovery, of a person whose stream this commit has locked.
 *
 * @returns false: it is none, or was used before
 */
export async function useCode(c: Commit, userId: string, code: string, sessionId: string): Promise<boolean> {
  const row = await c.q.selectFrom('security').selectAll().where('user_id', '=', userId).executeTakeFirst();
  if (!row) return false;
  const step = row.app_secret === null ? undefined : stepOf(fromBase32(row.app_secret), code, c.now, row.app_step);
  if (step !== undefined) {
    await c.q.updateTable('security').set({ app_step: step }).where('user_id', '=', userId).execute();
    return true;
  }
  const used = await c.q.deleteFrom('recovery_codes').where('user_id', '=', userId).where('hash', '=', hashOf(code)).returning('hash').executeTakeFirst();
  if (!used) return false;
  await securityChanged(c, userId, 'recovery-used', sessionId);
  return true;
}

/** Codes for the day on which app and passkeys are lost; those of before end. They are in the answer, and nowhere else. */
export async function makeRecoveryCodes(c: Commit, userId: string): Promise<string[]> {
  await c.q.deleteFrom('recovery_codes').where('user_id', '=', userId).execute();
  // 80 bits each: nobody can try them all, so a plain hash keeps them.
  const codes = Array.from({ length: limits.recoveryCodes }, () => toBase32(randomBytes(10)).toLowerCase().match(/.{4}/g)!.join('-'));
  await c.q
    .insertInto('recovery_codes')
    .values(codes.map((code) => ({ user_id: userId, hash: hashOf(code) })))
    .execute();
  return codes;
}

/** With the first factor there are codes for the day on which it is lost. */
export async function firstRecoveryCodes(c: Commit, userId: string): Promise<string[] | undefined> {
  const some = await c.q.selectFrom('recovery_codes').select('hash').where('user_id', '=', userId).limit(1).executeTakeFirst();
  return some ? undefined : makeRecoveryCodes(c, userId);
}

/** Without any factor there is nothing that a code could stand for. */
export async function dropRecoveryCodesUnlessNeeded(c: Commit, userId: string): Promise<void> {
  if (!(await hasFactor(c.q, userId))) await c.q.deleteFrom('recovery_codes').where('user_id', '=', userId).execute();
}

/** Tells a person's devices how they sign in now, and what changed. */
export async function securityChanged(
  c: Commit,
  userId: string,
  what: Security['last']['what'] | undefined,
  sessionId: string,
  set: Partial<Pick<SecurityTable, 'app_secret' | 'app_since' | 'app_step'>> = {},
): Promise<Security> {
  const own = userStream(userId);
  const version = c.version(own);
  const last = what === undefined ? {} : { last_what: what, last_at: c.now, last_session_id: sessionId };
  const row = { user_id: userId, version, app_secret: null, app_since: null, app_step: 0, last_what: what ?? 'password', last_at: c.now, last_session_id: sessionId, ...set };
  await c.q
    .insertInto('security')
    .values(row)
    .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ version, ...last, ...set }))
    .execute();
  if (what !== undefined) await exchangeSoon(c.q, sessionId);
  const security = (await readSecurity(c.q, userId))!;
  c.put(own, security);
  return security;
}

/** However it was typed: with or without lines and spaces, in any case. */
const hashOf = (code: string): string => sha256(code.toLowerCase().replace(/[^a-z2-7]/g, ''));
