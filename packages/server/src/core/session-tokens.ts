import { limits } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { SessionsTable } from '../db/schema.ts';
import { newToken, sha256 } from './context.ts';
import type { Identity } from './core.ts';
import type { Log } from './streams.ts';

// The tokens of a session: one that is in use, and for a short time those before and after it.
//
// A token that was stolen from a browser is worth nothing a day later, because by then the browser has another one. That other one
// may never arrive, or arrive and not be on the disk yet when the machine stops. So handing one out ends nothing: the one in use
// stays so until the new one comes back, and not in its first minute either; from then on it has one more minute, for what is on its way.

/** New tokens of one session that have not come back yet. */
const waitingMost = 5;

const findHeld = prepare((q, { hash, now }: { hash: string; now: number }) =>
  q
    .selectFrom('session_tokens')
    .innerJoin('sessions', 'sessions.id', 'session_tokens.session_id')
    .selectAll('sessions')
    .select(['session_tokens.state as state', 'session_tokens.made_at as made_at'])
    .where('session_tokens.hash', '=', hash)
    .where('session_tokens.until', '>', now)
    .where('sessions.ended_at', 'is', null),
);

/** The session of a token that is not the one in use: the next one, which then comes into use, or the one before. */
export async function findByOtherToken(log: Log, hash: string): Promise<SessionsTable | undefined> {
  const now = log.now();
  const held = await log.db.read((q) => findHeld.first(q, { hash, now }));
  if (held?.state === 'next' && now - held.made_at >= limits.tokenOverlapMs) await log.db.write([held.id], (q) => takeIntoUse(q, held.id, hash, now));
  return held;
}

/** Of two requests that bring it at once, one does this. */
async function takeIntoUse(q: Query, sessionId: string, hash: string, now: number): Promise<void> {
  const next = await q.deleteFrom('session_tokens').where('hash', '=', hash).where('state', '=', 'next').returning('hash').executeTakeFirst();
  if (!next) return;
  const { token_hash: before } = await q.selectFrom('sessions').select('token_hash').where('id', '=', sessionId).executeTakeFirstOrThrow();
  await q.updateTable('sessions').set({ token_hash: hash, token_at: now }).where('id', '=', sessionId).execute();
  await q
    .insertInto('session_tokens')
    .values({ hash: before, session_id: sessionId, state: 'before', made_at: now, until: now + limits.tokenOverlapMs })
    .execute();
}

/**
 * A new token for this session, once a day and after a change in how its person signs in.
 *
 * @returns undefined: it is not time for that, or one is on its way
 */
export async function renewToken(q: Query, { sessionId }: Identity, now: number): Promise<string | undefined> {
  const session = await q.selectFrom('sessions').select('token_at').where('id', '=', sessionId).where('ended_at', 'is', null).executeTakeFirst();
  if (!session || now - session.token_at < limits.tokenMs) return undefined;
  const waiting = await q
    .selectFrom('session_tokens')
    .select(['hash', 'made_at'])
    .where('session_id', '=', sessionId)
    .where('state', '=', 'next')
    .orderBy('made_at', 'desc')
    .execute();
  if (waiting.some(({ made_at }) => now - made_at < limits.tokenOverlapMs)) return undefined;
  const old = waiting.slice(waitingMost - 1).map(({ hash }) => hash);
  if (old.length > 0) await q.deleteFrom('session_tokens').where('hash', 'in', old).execute();
  const token = newToken();
  await q
    .insertInto('session_tokens')
    .values({ hash: sha256(token), session_id: sessionId, state: 'next', made_at: now, until: now + limits.tokenMs })
    .execute();
  return token;
}

/** How this person signs in has changed: the token of this session, which somebody may have had before, is to be exchanged at once. */
export async function exchangeSoon(q: Query, sessionId: string): Promise<void> {
  await q.updateTable('sessions').set({ token_at: 0 }).where('id', '=', sessionId).execute();
}

/** Forgets those that are good for nothing any more. */
export async function sweepTokens({ db, now }: Log): Promise<void> {
  const at = now();
  const over = await db.read((q) => q.selectFrom('session_tokens').select('hash').where('until', '<=', at).limit(1).executeTakeFirst());
  if (over) await db.write([], (q) => q.deleteFrom('session_tokens').where('until', '<=', at).execute());
}
