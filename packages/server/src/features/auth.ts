import { RequestError, type Result, isNameText, limits, normalizeName, userStream } from '@kith/protocol';
import { createPublicKey } from 'node:crypto';
import { type JWTPayload, errors, jwtVerify } from 'jose';
import { type Context, type Handlers, newCode, newId, newToken, sha256 } from '../core/context.ts';
import type { Identity, Topic } from '../core/core.ts';
import { requireOpenToInvited } from '../core/access.ts';
import { requireDrawn } from '../core/avatars.ts';
import { bringBack, findDeletion } from '../core/deletion.ts';
import { readUser, toSession } from '../core/entities.ts';
import { hasFactor, securityChanged, useCode } from '../core/factors.ts';
import { readJoined } from '../core/membership.ts';
import { passkeyUsed, requirePasskey } from '../core/passkeys.ts';
import { requireGoodPassword } from '../core/passwords.ts';
import { confirm } from '../core/proof.ts';
import { announcementsId, enterAnnouncements } from '../core/places.ts';
import { isOperator, isOver } from '../core/session-ages.ts';
import { findByOtherToken, renewToken } from '../core/session-tokens.ts';
import { endSessions, isSessionOpen, touchSession } from '../core/sessions.ts';
import { showChanged, streamsThatShow } from '../core/shown.ts';
import { isTaken, requireOwnName } from '../core/own-name.ts';
import { readSiteName } from '../core/site-name.ts';
import type { Commit, Log } from '../core/streams.ts';
import { resetOf } from '../core/tickets.ts';
import type { Config } from '../config.ts';
import type { Database, Query } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { UsersTable } from '../db/schema.ts';

const hourMs = 3_600_000;
/** One of so many names that nobody has is answered as if there were somebody with a second factor. */
const pretenders = 8;
/** Names that would pass for the server's own voice. */
const reservedHandles = new Set(['admin', 'administrator', 'system', 'everyone', 'all', 'here', 'support', 'kith', 'announcements', 'lobby', 'root', 'operator']);

export const auth: Handlers<
  | 'auth.register'
  | 'auth.login'
  | 'auth.factor'
  | 'passkey.login'
  | 'auth.guest'
  | 'auth.exchange'
  | 'auth.reset'
  | 'auth.restore'
  | 'auth.claim'
  | 'auth.confirm'
  | 'auth.logout'
  | 'session.list'
  | 'session.renew'
  | 'session.revoke'
> = {
  async 'auth.register'(context, { handle, password, name, avatar, device, invite }) {
    requireGoodPassword(password, [handle, name, await context.read((q) => readSiteName(q, context.config))]);
    const invited = await requireMayRegister(context, invite);
    if (reservedHandles.has(handle) && !invited?.operator) throw new RequestError('handle_taken');
    const hash = await context.services.passwords.hash(password);
    return createUser(context, { handle, password: hash, name, avatar, device, invite: invited });
  },

  async 'auth.guest'(context, { name, avatar, device, invite }) {
    const invited = await requireMayRegister(context, invite);
    return createUser(context, { guest: 1, name, avatar, device, invite: invited });
  },

  async 'auth.login'(context, { handle, password, device }) {
    const { signInLimits, passwords, tickets, blocks } = context.services;
    await blocks.watch('sign-in', context.caller, () => signInLimits.requireMayTry(handle, context.caller.ip));
    const user = await findByHandle(context, handle);
    const deleted = user ? undefined : await context.read((q) => findDeletion(q, handle, context.now()));
    const right = (await passwords.verify(password, user?.password ?? deleted?.password ?? null)) && (user ?? deleted) !== undefined;
    // Asked for a second factor is who has one, whether the password was right or not; and, where anybody has one, some of
    // the names that nobody has, always the same: so that from this answer nobody learns who is there.
    if (user ? user.factor : !deleted && tickets.isOneOf(pretenders, handle) && (await context.read((q) => hasFactor(q)))) {
      // A line either way: what takes longer would tell.
      await context.services.db.write([], (q) => context.audit({ q, now: context.now() }, 'signin.factor', { subject: user?.id, detail: { password: right } }));
      throw new RequestError('factor_required', { ticket: tickets.seal(right ? firstStep(user!) : newToken(), limits.ticketMs) });
    }
    if (!right) {
      await signInFailed(context, user?.id, 'password');
      throw new RequestError('wrong_credentials');
    }
    await signInLimits.succeeded(handle, context.caller.ip);
    // Only to who knows the password: to others there is no such account.
    if (!user) throw new RequestError('account_deleted');
    // Hashed as cheaply as when it was set, until now.
    const hash = passwords.isOutdated(user.password!) ? await passwords.hash(password) : undefined;
    return signIn(context, user.id, 'password', device, async (c) => {
      if (hash !== undefined) await c.q.updateTable('users').set({ password: hash }).where('id', '=', user.id).where('password', '=', user.password).execute();
    });
  },

  async 'auth.factor'(context, { handle, ticket, code, passkey, device }) {
    const { signInLimits, tickets, blocks } = context.services;
    await blocks.watch('sign-in', context.caller, () => signInLimits.requireMayTry(handle, context.caller.ip));
    const user = await findByHandle(context, handle);
    const shown = passkey && (await requirePasskey(context, passkey));
    if (!user || (shown ? shown.userId !== user.id : code === undefined)) throw new RequestError('wrong_credentials');
    const signedIn = await signIn(context, user.id, shown ? 'passkey' : 'code', device, async (c, sessionId) => {
      if (shown) await passkeyUsed(c, shown, sessionId);
      else if (!(await useCode(c, user.id, code!, sessionId))) throw new RequestError('wrong_credentials');
      // Last, and only used up where all is right: who mistypes a code need not type the password again.
      if (!(await tickets.use(ticket, firstStep(user), c.q))) throw new RequestError('wrong_credentials');
    }).catch(async (error: unknown) => {
      await signInFailed(context, user.id, shown ? 'passkey' : 'code');
      throw error;
    });
    // Each of the two steps was counted.
    for (const _ of [1, 2]) await signInLimits.succeeded(handle, context.caller.ip);
    return signedIn;
  },

  async 'passkey.login'(context, { passkey, device }) {
    const { signInLimits, blocks } = context.services;
    const tried = `passkey ${passkey.id}`;
    await blocks.watch('sign-in', context.caller, () => signInLimits.requireMayTry(tried, context.caller.ip));
    const shown = await requirePasskey(context, passkey).catch(async (error: unknown) => {
      await signInFailed(context, undefined, 'passkey');
      throw error;
    });
    const signedIn = await signIn(context, shown.userId, 'passkey', device, (c, sessionId) => passkeyUsed(c, shown, sessionId));
    await signInLimits.succeeded(tried, context.caller.ip);
    return signedIn;
  },

  async 'auth.restore'(context, { handle, password }) {
    const { signInLimits, passwords, blocks } = context.services;
    await blocks.watch('sign-in', context.caller, () => signInLimits.requireMayTry(handle, context.caller.ip));
    const deleted = await context.read((q) => findDeletion(q, handle, context.now()));
    if (!(await passwords.verify(password, deleted?.password ?? null)) || !deleted) {
      await signInFailed(context, deleted?.user_id, 'password');
      throw new RequestError('wrong_credentials');
    }
    await signInLimits.succeeded(handle, context.caller.ip);
    const { user_id: userId } = deleted;
    await context.commit(
      (q) => streamsThatShow(q, userId),
      async (c) => {
        await bringBack(c, userId);
        await context.audit(c, 'account.restored', { subject: userId });
      },
    );
    return {};
  },

  async 'auth.reset'(context, { handle, ticket, password }) {
    const { signInLimits, passwords, tickets, blocks } = context.services;
    await blocks.watch('sign-in', context.caller, () => signInLimits.requireMayTry(handle, context.caller.ip));
    const user = await findByHandle(context, handle);
    if (!user || !tickets.isGood(ticket, resetOf(user))) {
      await signInFailed(context, user?.id, 'reset');
      throw new RequestError('wrong_credentials');
    }
    const { name } = await context.read((q) => readUser(q, user.id));
    requireGoodPassword(password, [handle, name, await context.read((q) => readSiteName(q, context.config))]);
    const hash = await passwords.hash(password);
    await context.commit([userStream(user.id)], async (c) => {
      // The ticket is for the password of before, so it is good once.
      const changed = await c.q.updateTable('users').set({ password: hash }).where('id', '=', user.id).where('password', '=', user.password).returning('id').executeTakeFirst();
      if (!changed) throw new RequestError('wrong_credentials');
      await securityChanged(c, user.id, 'password', '');
      await context.audit(c, 'password.reset', { subject: user.id });
      await endSessions(c, user.id, 'password', {}, { ip: context.caller.ip });
    });
    await signInLimits.succeeded(handle, context.caller.ip);
    return {};
  },

  async 'auth.exchange'(context, { jwt, device }) {
    const claims = await verifyJwt(context.config, jwt, context.now());
    const externalId = `${claims.iss ?? ''}|${claims.sub!}`;
    if (!(await context.services.tickets.spend(jwt, claims.exp! * 1_000))) throw new RequestError('unauthenticated', { message: 'This JWT was used already.' });
    const find = () => context.read((q) => q.selectFrom('users').select('id').where('external_id', '=', externalId).where('deleted_at', 'is', null).executeTakeFirst());
    const known = await find();
    if (known) return signIn(context, known.id, 'jwt', device);
    try {
      const name = nameOf(claims);
      return await createUser(context, { externalId, name: (await context.read((q) => isTaken(q, name))) ? 'Guest' : name, device });
    } catch (error) {
      // The same person came twice at the same moment, for the first time.
      const other = await find();
      if (other) return signIn(context, other.id, 'jwt', device);
      throw error;
    }
  },

  async 'auth.claim'(context, { handle, password }) {
    const { userId } = context;
    const { name } = await context.read((q) => readUser(q, userId));
    requireGoodPassword(password, [handle, name, await context.read((q) => readSiteName(q, context.config))]);
    if (reservedHandles.has(handle)) throw new RequestError('handle_taken');
    const hash = await context.services.passwords.hash(password);
    return context.commit(
      (q) => streamsThatShow(q, userId),
      async (c) => {
        const own = userStream(userId);
        if (await handleExists(c.q, handle)) throw new RequestError('handle_taken');
        const claimed = await c.q
          .updateTable('users')
          .set({ handle, password: hash, guest: 0, version: c.version(own) })
          .where('id', '=', userId)
          .where('guest', '=', 1)
          .returning('id')
          .executeTakeFirst();
        if (!claimed) throw new RequestError('forbidden', { message: 'Only a guest can be claimed.' });
        await showChanged(c, userId);
        const user = await readUser(c.q, userId);
        c.put(own, user);
        await context.audit(c, 'account.claimed');
        return { user };
      },
    );
  },

  async 'auth.confirm'(context, proof) {
    return { until: await confirm(context, proof) };
  },

  async 'auth.logout'(context) {
    const { userId, sessionId } = context.identity;
    await context.commit([userStream(userId)], async (c) => {
      if ((await endSessions(c, userId, 'signed-out', { only: sessionId }, by(context))) === 0) throw c.unchanged(undefined);
    });
    context.effects.push({ do: 'signed-out' });
    return {};
  },

  async 'session.list'(context) {
    const { userId, sessionId } = context.identity;
    const rows = await context.read((q) =>
      q.selectFrom('sessions').selectAll().where('user_id', '=', userId).where('ended_at', 'is', null).orderBy('used_at', 'desc').limit(limits.sessionsPerUser).execute(),
    );
    return { sessions: rows.map(toSession), current: sessionId };
  },

  async 'session.renew'(context) {
    const { identity, caller } = context;
    const token = caller.overHttp ? await context.services.db.write([identity.sessionId], (q) => renewToken(q, identity, context.now())) : undefined;
    if (token === undefined) return { renewed: false };
    context.effects.push({ do: 'renewed', token });
    return { renewed: true, token };
  },

  async 'session.revoke'(context, { sessionId }) {
    const { userId } = context;
    await context.commit([userStream(userId)], async (c) => {
      if ((await endSessions(c, userId, 'revoked', { only: sessionId }, by(context))) > 0) return;
      const own = await c.q.selectFrom('sessions').select('id').where('id', '=', sessionId).where('user_id', '=', userId).executeTakeFirst();
      if (!own) throw new RequestError('not_found');
      throw c.unchanged(undefined);
    });
    return {};
  },
};

const findSession = prepare((q, { hash }: { hash: string }) => q.selectFrom('sessions').selectAll().where('token_hash', '=', hash).where('ended_at', 'is', null));

/** Whose token is this? Also keeps the time of its last use, at most once an hour. */
export async function authenticate(log: Log, config: Config, token: string): Promise<Identity | undefined> {
  if (token.length > limits.token) return undefined;
  const hash = sha256(token);
  const row = (await log.db.read((q) => findSession.first(q, { hash }))) ?? (await findByOtherToken(log, hash));
  if (!row) return undefined;
  const now = log.now();
  if (isOver(row, config, now)) return undefined;
  // Where it may be over sooner: most sessions are used by the hour.
  if (now - row.used_at > config.operatorIdleHours * hourMs && (await log.db.read((q) => isOperator(q, row.user_id)))) return undefined;
  if (now - row.used_at > hourMs) await touchSession(log, row.id, row.user_id, now);
  return { userId: row.user_id, sessionId: row.id };
}

/** What a connection of this person follows besides their own stream. */
export async function topics(db: Database, { userId, sessionId }: Identity): Promise<Topic[] | undefined> {
  return db.read(async (q) => {
    if (!(await isSessionOpen(q, sessionId))) return undefined;
    return (await readJoined(q, userId)).map((id): Topic => `conversation:${id}`);
  });
}

/** The code of the operator's one-time link; earlier ones end. `undefined`: there is an operator. */
export async function setupCode(log: Log): Promise<string | undefined> {
  return log.db.write([], async (q) => {
    const operator = await q.selectFrom('users').select('id').where('operator', '=', 1).limit(1).executeTakeFirst();
    if (operator) return undefined;
    const code = newCode();
    await q.deleteFrom('invites').where('operator', '=', 1).execute();
    await q
      .insertInto('invites')
      .values({ code_hash: sha256(code), operator: 1, uses_left: 1, expires_at: log.now() + hourMs, created_by: null })
      .execute();
    return code;
  });
}

interface Invited {
  hash: string;
  operator: boolean;
}

/** @throws invite_required, forbidden, rate_limited */
async function requireMayRegister(context: Context, code: string | undefined): Promise<Invited | undefined> {
  const { signInLimits, blocks } = context.services;
  await blocks.watch('registration', context.caller, () => signInLimits.requireMayRegister(context.caller.ip));
  if (code) {
    const hash = sha256(code);
    const invite = await context.read((q) =>
      q
        .selectFrom('invites')
        .leftJoin('users', 'users.id', 'invites.created_by')
        .select('invites.operator')
        .where('code_hash', '=', hash)
        .where('uses_left', '>', 0)
        .where('expires_at', '>', context.now())
        // Of somebody who is no operator any more it is worth nothing. The first one, and those of the command line, are nobody's.
        .where((eb) =>
          eb.or([eb('invites.created_by', 'is', null), eb.and([eb('users.operator', '=', 1), eb('users.disabled_at', 'is', null), eb('users.deleted_at', 'is', null)])]),
        )
        .executeTakeFirst(),
    );
    if (!invite) throw new RequestError('invite_required', { message: 'This invitation is used up or too old.' });
    if (invite.operator === 0) requireOpenToInvited(context);
    return { hash, operator: invite.operator === 1 };
  }
  requireOpenToInvited(context);
  if (context.config.registration !== 'open') throw new RequestError('invite_required');
  return undefined;
}

interface NewUser {
  name: string;
  avatar?: string | undefined;
  device?: string | undefined;
  handle?: string;
  password?: string;
  guest?: 1;
  externalId?: string;
  invite?: Invited | undefined;
}

async function createUser(context: Context, given: NewUser): Promise<Result<'auth.register'>> {
  requireDrawn(given.avatar);
  const userId = newId();
  const own = userStream(userId);
  // Everybody's place for announcements is one of many; found before, so that only the new person's stream is locked.
  const announcements = await context.read(announcementsId);
  const opened = await context.commit([], async (c) => {
    if (given.handle !== undefined && (await handleExists(c.q, given.handle))) throw new RequestError('handle_taken');
    // Whom another site vouches for comes in, whatever it calls them: `nameOf` has seen to that.
    if (!given.invite?.operator && given.externalId === undefined) await requireOwnName(c.q, given.name);
    if (given.invite) await useInvite(c, given.invite);
    await c.begin(own);
    const row: UsersTable = {
      id: userId,
      version: c.version(own),
      handle: given.handle ?? null,
      name: given.name,
      avatar: given.avatar ?? '',
      bio: '',
      password: given.password ?? null,
      guest: given.guest ?? 0,
      operator: given.invite?.operator ? 1 : 0,
      accepts: 'friends',
      external_id: given.externalId ?? null,
      created_at: c.now,
      last_seen_at: null,
      disabled_at: null,
      deleted_at: null,
    };
    // A unique handle may be taken between the look and here, by somebody registering at the same moment.
    const written = await c.q
      .insertInto('users')
      .values(row)
      .onConflict((conflict) => conflict.doNothing())
      .returning('id')
      .executeTakeFirst();
    if (!written) throw new RequestError('handle_taken');
    await enterAnnouncements(c, announcements, userId);
    const first = await openSession(context, c, userId, 'registration', given.device);
    await context.audit(c, 'account.made', { actor: userId, detail: { guest: row.guest === 1, operator: row.operator === 1, invited: given.invite !== undefined } });
    return first;
  });
  return tellSignedIn(context, opened);
}

/** How somebody came to a session. */
type SignedInBy = 'registration' | 'password' | 'code' | 'passkey' | 'reset' | 'jwt';

const by = ({ caller }: Context) => ({ actor: caller.identity?.userId, ip: caller.ip });

/** Told in the audit log without the name that was tried: people type their password there. */
function signInFailed(context: Context, userId: string | undefined, how: SignedInBy): Promise<void> {
  return context.services.db.write([], (q) => context.audit({ q, now: context.now() }, 'signin.failed', { subject: userId, detail: { by: how } }));
}

interface Account {
  id: string;
  password: string | null;
  /** The password needs something beside it. */
  factor: boolean;
}

const findByHandle = (context: Context, handle: string): Promise<Account | undefined> =>
  context.read(async (q) => {
    const row = await q.selectFrom('users').select(['id', 'password']).where('handle', '=', handle).where('deleted_at', 'is', null).executeTakeFirst();
    return row && { ...row, factor: await hasFactor(q, row.id) };
  });

/** What the ticket of the first step is for; with another password it is not good any more. */
const firstStep = ({ id, password }: Account): string => `first step ${id} ${password ?? ''}`;

/** @param prove  In the same commit, with the id of the new session: what else has to be right. */
async function signIn(
  context: Context,
  userId: string,
  how: SignedInBy,
  device: string | undefined,
  prove?: (c: Commit, sessionId: string) => Promise<void>,
): Promise<Result<'auth.login'>> {
  const own = userStream(userId);
  const sessionId = newId();
  const opened = await context.commit([own], async (c) => {
    const user = await c.q.selectFrom('users').select(['disabled_at', 'deleted_at']).where('id', '=', userId).executeTakeFirstOrThrow();
    if (user.disabled_at !== null || user.deleted_at !== null) throw new RequestError('wrong_credentials');
    await prove?.(c, sessionId);
    return openSession(context, c, userId, how, device, sessionId);
  });
  return tellSignedIn(context, opened);
}

/** A new session and its token. The oldest goes when there are too many. */
async function openSession(context: Context, c: Commit, userId: string, how: SignedInBy, device: string | undefined, sessionId = newId()): Promise<Result<'auth.login'>> {
  const own = userStream(userId);
  const open = await c.q.selectFrom('sessions').select('id').where('user_id', '=', userId).where('ended_at', 'is', null).orderBy('used_at').execute();
  for (const { id } of open.slice(0, Math.max(0, open.length - limits.sessionsPerUser + 1))) await endSessions(c, userId, 'replaced', { only: id });
  const token = newToken();
  const row = {
    id: sessionId,
    user_id: userId,
    version: c.version(own),
    token_hash: sha256(token),
    device: (device ?? context.caller.device ?? '').slice(0, limits.device),
    created_at: c.now,
    used_at: c.now,
    ended_at: null,
    confirmed_at: c.now,
    token_at: c.now,
  };
  await c.q.insertInto('sessions').values(row).execute();
  const user = await readUser(c.q, userId);
  c.put(own, toSession(row));
  if (user.version === row.version) c.put(own, user);
  await context.audit(c, 'session.made', { actor: userId, detail: { sessionId: row.id, by: how } });
  return { user, sessionId: row.id, token };
}

/** After the commit: in it, it could be of a session that was rolled back, because the work was run again. */
function tellSignedIn<T extends Result<'auth.login'>>(context: Context, opened: T): T {
  const { user, sessionId, token } = opened;
  context.effects.push({ do: 'signed-in', identity: { userId: user.id, sessionId }, token: token! });
  return opened;
}

async function useInvite(c: Commit, invite: Invited): Promise<void> {
  const used = await c.q
    .updateTable('invites')
    .set((eb) => ({ uses_left: eb('uses_left', '-', 1) }))
    .where('code_hash', '=', invite.hash)
    .where('uses_left', '>', 0)
    .where('expires_at', '>', c.now)
    .returning('code_hash')
    .executeTakeFirst();
  if (!used) throw new RequestError('invite_required', { message: 'This invitation is used up or too old.' });
}

/** Somebody has this user name, or can have it again: in this order, so that one that is just being given up is seen in one of the two. */
const handleExists = async (q: Query, handle: string): Promise<boolean> =>
  (await q.selectFrom('users').select('id').where('handle', '=', handle).executeTakeFirst()) !== undefined ||
  (await q.selectFrom('deletions').select('user_id').where('handle', '=', handle).executeTakeFirst()) !== undefined;

/** One algorithm, fixed by the operator; `exp` and `aud` required. @throws unauthenticated, forbidden */
async function verifyJwt(config: Config, jwt: string, now: number): Promise<JWTPayload> {
  const { jwtAlg, jwtKey, jwtKeyBefore, jwtAudience, jwtIssuer } = config;
  if (!jwtAlg || !jwtKey || !jwtAudience) throw new RequestError('forbidden', { message: 'This server takes no JWTs.' });
  const verify = async (key: string): Promise<JWTPayload> => {
    const { payload } = await jwtVerify(jwt, jwtAlg === 'HS256' ? Buffer.from(key) : createPublicKey(key), {
      algorithms: [jwtAlg],
      audience: jwtAudience,
      ...(jwtIssuer !== undefined && { issuer: jwtIssuer }),
      requiredClaims: ['exp', 'aud', 'sub'],
      currentDate: new Date(now),
    });
    return payload;
  };
  try {
    return await verify(jwtKey).catch((error: unknown) => {
      // While the other site changes its key, some of its nodes sign with the one of before.
      if (jwtKeyBefore !== undefined && error instanceof errors.JWSSignatureVerificationFailed) return verify(jwtKeyBefore);
      throw error;
    });
  } catch (error) {
    if (error instanceof errors.JOSEError) throw new RequestError('unauthenticated', { message: 'This JWT is not valid here.' });
    throw error;
  }
}

/** What another site calls somebody may be no name here; that keeps nobody out. */
function nameOf(claims: JWTPayload): string {
  const given = [claims['name'], claims.sub].filter((name) => typeof name === 'string');
  // Cut within the limit, but not through a surrogate pair.
  const names = given.map((name) =>
    normalizeName(
      normalizeName(name)
        .slice(0, limits.name)
        .replace(/[\ud800-\udbff]$/, ''),
    ),
  );
  return names.find(isNameText) ?? 'Guest';
}
