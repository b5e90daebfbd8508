import { RequestError, conversationStream, limits, userStream } from '@kith/protocol';
import { readBlocks, requireMember, requireNotBarred } from '../core/access.ts';
import { changeAvatar } from '../core/avatars.ts';
import { type Handlers, newId } from '../core/context.ts';
import { readConversation, readProfiles, toConversation } from '../core/entities.ts';
import { join, joinedAmong } from '../core/membership.ts';
import { readSettings } from '../core/privacy.ts';
import { roomTopic } from '../core/rooms-online.ts';
import type { Query } from '../db/db.ts';
import { requireTellApart } from '../core/own-name.ts';
import { requireQuota } from '../core/quotas.ts';

const listedRooms = 200;

export const rooms: Handlers<'room.list' | 'room.create' | 'room.join' | 'room.online'> = {
  async 'room.list'(context) {
    const { roomsOnline, presence } = context.services;
    await presence.settled();
    return context.read(async (q) => {
      const rows = await q.selectFrom('conversations').selectAll().where('type', '=', 'room').orderBy('created_at').limit(listedRooms).execute();
      const mine = await q
        .selectFrom('members')
        .select('conversation_id')
        .where('user_id', '=', context.userId)
        .where('state', '=', 'joined')
        .where('conversation_id', 'in', ['', ...rows.map((row) => row.id)])
        .execute();
      const joined = new Set(mine.map((row) => row.conversation_id));
      const seen = (await seesOthers(q, context.userId)) ? rows.map((row) => row.id) : [];
      const online = await roomsOnline.counts(q, seen, await readBlocks(q, context.userId));
      return { rooms: rows.map((row) => ({ conversation: toConversation(row), joined: joined.has(row.id), online: online.get(row.id) ?? 0 })) };
    });
  },

  async 'room.create'(context, { title, avatar = '' }) {
    const { userId } = context;
    const id = newId();
    const stream = conversationStream(id);
    const conversation = await context.commit([userStream(userId)], async (c) => {
      await c.begin(stream);
      await changeAvatar(c, userId, stream, '', avatar);
      const values = { title, avatar, created_by: userId, created_at: c.now, member_count: 0, direct_key: null, client_id: null };
      await c.q
        .insertInto('conversations')
        .values({ id, version: c.version(stream), type: 'room', ...values })
        .execute();
      await join(c, { id, type: 'room' }, [{ userId, role: 'owner' }]);
      return readConversation(c.q, id);
    });
    context.services.roomsOnline.enter(id, userId);
    return { conversation };
  },

  async 'room.join'(context, { conversationId }) {
    const { userId } = context;
    const stream = conversationStream(conversationId);
    const result = await context.commit([stream, userStream(userId)], async (c) => {
      const room = await c.q.selectFrom('conversations').select('type').where('id', '=', conversationId).where('type', '=', 'room').executeTakeFirst();
      if (!room) throw new RequestError('not_a_member');
      if ((await joinedAmong(c, conversationId, [userId])).has(userId)) throw c.unchanged({ conversation: await readConversation(c.q, conversationId) });
      await requireQuota(context, c.q, 'comingsPerMinute');
      await requireTellApart(c.q, conversationId, [userId]);
      await requireNotBarred(c.q, conversationId, userId, c.now);
      await join(c, { id: conversationId, type: 'room' }, [{ userId }]);
      return { conversation: await readConversation(c.q, conversationId) };
    });
    context.services.roomsOnline.enter(conversationId, userId);
    return result;
  },

  async 'room.online'(context, { conversationId }) {
    const { roomsOnline, presence } = context.services;
    await presence.settled();
    const answer = await context.read(async (q) => {
      const { type } = await requireMember(q, conversationId, context.userId);
      if (type !== 'room') throw new RequestError('forbidden', { message: 'Only rooms have an online list.' });
      if (!(await seesOthers(q, context.userId))) return undefined;
      const hidden = await readBlocks(q, context.userId);
      const count = (await roomsOnline.counts(q, [conversationId], hidden)).get(conversationId) ?? 0;
      return { count, users: await readProfiles(q, await roomsOnline.among(q, conversationId, hidden, limits.roomOnlineUsers)) };
    });
    if (answer) context.effects.push({ do: 'follow', topics: [roomTopic(conversationId)] });
    return answer ?? { count: 0, users: [] };
  },
};

/** Who hides from everybody sees nobody. */
const seesOthers = async (q: Query, userId: string): Promise<boolean> => (await readSettings(q, [userId])).get(userId)!.presence !== 'nobody';
