import { visiblePeople } from '../core/access.ts';
import type { Handlers } from '../core/context.ts';
import type { Identity, Topic } from '../core/core.ts';
import { friendsTopic, sharedPerson, sharedTopic } from '../core/presence-topics.ts';
import { readSettings } from '../core/privacy.ts';
import type { Database, Query } from '../db/db.ts';

export const presence: Handlers<'presence.watch' | 'presence.unwatch'> = {
  async 'presence.watch'(context, { userIds }) {
    const { userId, services } = context;
    await services.presence.settled();
    const { people, friends, online } = await context.read(async (q) => {
      const candidates = [...(await visiblePeople(q, userId, [...new Set(userIds)], { accepted: true }))];
      const rows = await q
        .selectFrom('friends')
        .select('friend_id')
        .where('user_id', '=', userId)
        .where('state', '=', 'friends')
        .where('friend_id', 'in', ['', ...candidates])
        .execute();
      const known = new Set([userId, ...rows.map((row) => row.friend_id)]);
      const shown = await shownTo(q, userId, candidates, known);
      const seen = await q
        .selectFrom('users')
        .select(['id', 'last_seen_at'])
        .where('id', 'in', ['', ...shown])
        .where('deleted_at', 'is', null)
        .execute();
      return { people: seen, friends: known, online: await services.presence.among(q, shown) };
    });
    context.effects.push({ do: 'follow', topics: people.map(({ id }) => (friends.has(id) ? friendsTopic(id) : sharedTopic(id))) });
    return { presence: people.map(({ id, last_seen_at }) => ({ userId: id, online: online.has(id), lastSeenAt: last_seen_at })) };
  },

  async 'presence.unwatch'(context, { userIds }) {
    context.effects.push({ do: 'unfollow', topics: userIds.flatMap((id) => [friendsTopic(id), sharedTopic(id)]) });
    return {};
  },
};

/** Those whose settings, and one's own, let one see that they are there. */
async function shownTo(q: Query, userId: string, candidates: string[], friends: Set<string>): Promise<string[]> {
  const settings = await readSettings(q, [...candidates, userId]);
  // Who hides from everybody does not see others either.
  const mine = settings.get(userId)!.presence;
  return candidates.filter((id) => {
    const theirs = settings.get(id)!.presence;
    return id === userId || (mine !== 'nobody' && (theirs === 'everyone' || (theirs === 'friends' && friends.has(id))));
  });
}

/** Of topics about people with whom one shares a conversation, or did, those that one may still follow. */
export async function watchable(db: Database, { userId }: Identity, topics: Topic[]): Promise<Topic[]> {
  const ids = topics.flatMap((topic) => sharedPerson(topic) ?? []);
  return db.read(async (q) => {
    const visible = [...(await visiblePeople(q, userId, ids, { accepted: true }))];
    return (await shownTo(q, userId, visible, new Set())).map(sharedTopic);
  });
}
