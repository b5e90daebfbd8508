import { type Profile, RequestError, limits, userStream } from '@kith/protocol';
import { requireMember, visiblePeople } from '../core/access.ts';
import { changeAvatar } from '../core/avatars.ts';
import type { Handlers } from '../core/context.ts';
import { keepAside } from '../core/deletion.ts';
import { profileColumns, readUser, toProfile } from '../core/entities.ts';
import { securityChanged } from '../core/factors.ts';
import { leave, passOnOwnership } from '../core/membership.ts';
import { requireGoodPassword } from '../core/passwords.ts';
import { readSettings } from '../core/privacy.ts';
import { requirePassword } from '../core/proof.ts';
import { endSessions } from '../core/sessions.ts';
import { showChanged, streamsThatShow } from '../core/shown.ts';
import { readSiteName } from '../core/site-name.ts';
import type { Commit } from '../core/streams.ts';
import type { Query } from '../db/db.ts';
import { requireOwnName } from '../core/own-name.ts';
import { requireQuota } from '../core/quotas.ts';

export const users: Handlers<'user.get' | 'user.search' | 'user.update' | 'user.changePassword' | 'user.delete'> = {
  async 'user.get'(context, { userId }) {
    return context.read(async (q) => {
      if (!(await visiblePeople(q, context.userId, [userId], { requests: true })).has(userId)) throw new RequestError('not_found');
      const profile = toProfile(await q.selectFrom('users').select(profileColumns).where('id', '=', userId).executeTakeFirstOrThrow());
      return { user: (await outlinesOnly(q, context.userId, [profile]))[0]! };
    });
  },

  async 'user.search'(context, { query }) {
    const wanted = query.trim().toLowerCase().replace(/^@/, '');
    // Nobody has such a handle, and some of it (U+0000) PostgreSQL would not even look for.
    if (!/^[a-z0-9_.-]+$/.test(wanted)) return { users: [] };
    return context.read(async (q) => {
      const found = await q
        .selectFrom('users')
        .select(profileColumns)
        .where('deleted_at', 'is', null)
        .where('disabled_at', 'is', null)
        .$if(context.config.directory === 'exact', (search) => search.where('handle', '=', wanted))
        // A range instead of LIKE: the same on both engines, by the index, and nothing to escape.
        .$if(context.config.directory === 'prefix', (search) => search.where('handle', '>=', wanted).where('handle', '<', `${wanted}\u{10ffff}`).orderBy('handle'))
        .limit(limits.searchResults)
        .execute();
      const blockers = await q
        .selectFrom('friends')
        .select('user_id')
        .where('friend_id', '=', context.userId)
        .where('blocked', '=', 1)
        .where('user_id', 'in', ['', ...found.map((user) => user.id)])
        .execute();
      const hidden = new Set(blockers.map((row) => row.user_id));
      const settings = await readSettings(
        q,
        found.map((user) => user.id),
      );
      const friends = await friendsAmong(
        q,
        context.userId,
        found.map((user) => user.id),
      );
      const shown = found.filter(({ id }) => !hidden.has(id) && (settings.get(id)!.findable === 1 || friends.has(id) || id === context.userId));
      return { users: await outlinesOnly(q, context.userId, shown.map(toProfile)) };
    });
  },

  async 'user.update'(context, { name, avatar, bio, accepts }) {
    const { userId } = context;
    const own = userStream(userId);
    // What others see stands in their streams, so they change with it.
    const seen = name !== undefined || avatar !== undefined;
    return context.commit(seen ? (q) => streamsThatShow(q, userId) : [own], async (c) => {
      const before = await readUser(c.q, userId);
      const after = { name: name ?? before.name, avatar: avatar ?? before.avatar, bio: bio ?? before.bio, accepts: accepts ?? before.accepts };
      if (Object.entries(after).every(([field, value]) => before[field as keyof typeof after] === value)) throw c.unchanged({ user: before });
      if (after.name !== before.name) await requireOwnName(c.q, after.name, userId);
      if (after.name !== before.name || after.avatar !== before.avatar) await requireQuota(context, c.q, 'renamesPerMinute');
      await changeAvatar(c, userId, own, before.avatar, after.avatar);
      await c.q
        .updateTable('users')
        .set({ ...after, version: c.version(own) })
        .where('id', '=', userId)
        .execute();
      if (seen) await showChanged(c, userId);
      const user = await readUser(c.q, userId);
      c.put(own, user);
      return { user };
    });
  },

  async 'user.changePassword'(context, { password, newPassword }) {
    const { userId, sessionId } = context.identity;
    const { handle, name } = await context.read((q) => readUser(q, userId));
    if (handle !== null) requireGoodPassword(newPassword, [handle, name, await context.read((q) => readSiteName(q, context.config))], 'newPassword');
    await requirePassword(context, password);
    const hash = await context.services.passwords.hash(newPassword);
    return context.commit([userStream(userId)], async (c) => {
      const own = userStream(userId);
      await c.q
        .updateTable('users')
        .set({ password: hash, version: c.version(own) })
        .where('id', '=', userId)
        .execute();
      await securityChanged(c, userId, 'password', sessionId);
      const user = await readUser(c.q, userId);
      c.put(own, user);
      await context.audit(c, 'password.changed');
      await endSessions(c, userId, 'password', { except: sessionId }, { actor: userId, ip: context.caller.ip });
      return { user };
    });
  },

  async 'user.delete'(context, { password, messages = 'keep' }) {
    const { userId } = context;
    const own = userStream(userId);
    const { handle } = await context.read((q) => readUser(q, userId));
    if (handle !== null) await requirePassword(context, password ?? '');
    const until = await context.commit(
      (q) => streamsThatShow(q, userId),
      async (c) => {
        // Of two that come at once the second finds nobody any more, although both were let in.
        const there = await c.q.selectFrom('users').select('id').where('id', '=', userId).where('deleted_at', 'is', null).executeTakeFirst();
        if (!there) throw new RequestError('unauthenticated');
        const kept = await keepAside(c, userId, messages === 'erase');
        const joined = await c.q
          .selectFrom('inbox')
          .innerJoin('conversations', 'conversations.id', 'inbox.conversation_id')
          .select(['conversations.id', 'conversations.type'])
          .where('inbox.user_id', '=', userId)
          .where('joined', '=', 1)
          .execute();
        await changeAvatar(c, userId, own, (await readUser(c.q, userId)).avatar, '');
        await c.q
          .updateTable('users')
          .set({ handle: null, name: '', avatar: '', bio: '', password: null, external_id: null, operator: 0, deleted_at: c.now, version: c.version(own) })
          .where('id', '=', userId)
          .execute();
        for (const { id, type } of joined) {
          if (type === 'announcements' || type === 'direct') continue;
          const { role } = await requireMember(c.q, id, userId);
          await leave(c, id, userId);
          if (role === 'owner') await passOnOwnership(c, id);
        }
        await endFriendships(c, userId);
        await showChanged(c, userId);
        c.put(own, await readUser(c.q, userId));
        await context.audit(c, 'account.deleted', { detail: { messages } });
        await endSessions(c, userId, 'deleted', {}, { actor: userId, ip: context.caller.ip });
        return kept;
      },
    );
    context.effects.push({ do: 'signed-out' });
    return until === undefined ? {} : { until };
  },
};

/** What people say about themselves is for those who know them, and for whom they ask to be their friend. */
async function outlinesOnly(q: Query, userId: string, profiles: Profile[]): Promise<Profile[]> {
  const ids = profiles.map(({ id }) => id);
  const known = await visiblePeople(q, userId, ids);
  const asking = await q
    .selectFrom('friends')
    .select('friend_id')
    .where('user_id', '=', userId)
    .where('state', '=', 'incoming')
    .where('friend_id', 'in', ['', ...ids])
    .execute();
  for (const row of asking) known.add(row.friend_id);
  return profiles.map((profile) => (known.has(profile.id) ? profile : { ...profile, bio: '' }));
}

async function friendsAmong(q: Query, userId: string, ids: string[]): Promise<Set<string>> {
  const rows = await q
    .selectFrom('friends')
    .select('friend_id')
    .where('user_id', '=', userId)
    .where('state', '=', 'friends')
    .where('friend_id', 'in', ['', ...ids])
    .execute();
  return new Set(rows.map((row) => row.friend_id));
}

async function endFriendships(c: Commit, userId: string): Promise<void> {
  await c.q.updateTable('friends').set({ state: 'none', note: '', since: c.now }).where('friend_id', '=', userId).where('state', '!=', 'none').execute();
  const own = userStream(userId);
  await c.q
    .updateTable('friends')
    .set({ state: 'none', note: '', since: c.now, version: c.version(own) })
    .where('user_id', '=', userId)
    .where('state', '!=', 'none')
    .execute();
}
