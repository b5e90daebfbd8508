import { type Conversation, type Inbox, RequestError, type StreamId, conversationStream, limits, parseStream, userStream } from '@kith/protocol';
import { readPair, requireGroupAdmin, requireMayWrite, requireMember, requirePerson } from '../core/access.ts';
import { appendLine } from '../core/append.ts';
import { changeAvatar } from '../core/avatars.ts';
import { type Context, type Handlers, newId } from '../core/context.ts';
import { readConversation, readInbox } from '../core/entities.ts';
import { type Newcomer, findNewcomers, join, leave, passOnOwnership, streamsOf } from '../core/membership.ts';
import { requireFewStrangers, requireQuota } from '../core/quotas.ts';
import type { Commit } from '../core/streams.ts';
import type { Query } from '../db/db.ts';
import type { InboxTable } from '../db/schema.ts';

export const conversations: Handlers<
  | 'conversation.direct'
  | 'conversation.create'
  | 'conversation.update'
  | 'conversation.leave'
  | 'conversation.dissolve'
  | 'conversation.retention'
  | 'conversation.accept'
  | 'conversation.mute'
  | 'conversation.pin'
> = {
  async 'conversation.direct'(context, { userId: peerId }) {
    const { userId } = context;
    const key = [userId, peerId].sort().join(' ');
    const find = () => context.read((q) => q.selectFrom('conversations').select('id').where('direct_key', '=', key).executeTakeFirst());
    const existing = await find();
    if (existing) return { conversation: await context.read((q) => readConversation(q, existing.id)) };
    const id = newId();
    const people = [...new Set([userId, peerId])];
    const made = await context.commit(people.map(userStream), async (c) => {
      await requirePerson(c.q, peerId);
      await requireMayWrite(c.q, { type: 'direct', directKey: key, createdBy: userId, memberCount: 2, role: 'member' }, userId);
      const { friends } = await readPair(c.q, userId, peerId);
      if (!friends && peerId !== userId) await requireFewStrangers(context, c.q);
      const conversation = await begin(c, { id, type: 'direct', title: null, avatar: '', createdBy: userId, directKey: key, clientId: null });
      // The other one of the pair made it at the same moment; the version is taken first, so this rolls back whole.
      if (!conversation) throw c.unchanged(undefined);
      await join(
        c,
        { id, type: 'direct' },
        people.map((memberId) => ({ userId: memberId, request: memberId !== userId && !friends })),
      );
      return readConversation(c.q, id);
    });
    if (made) return { conversation: made };
    // One read after the other: a read inside a read would wait for itself.
    const theirs = (await find())!;
    return { conversation: await context.read((q) => readConversation(q, theirs.id)) };
  },

  async 'conversation.create'(context, { title, memberIds, avatar = '', clientId }) {
    const { userId } = context;
    const others = [...new Set(memberIds)].filter((id) => id !== userId);
    const id = newId();
    const everybody = async (q: Query): Promise<StreamId[]> => [userStream(userId), ...(await streamsOf(q, others))];
    const conversation = await context.commit(everybody, async (c) => {
      const begun = await begin(c, { id, type: 'group', title, avatar, createdBy: userId, directKey: null, clientId: clientId ?? null });
      if (!begun) throw c.unchanged(undefined);
      await changeAvatar(c, userId, conversationStream(id), '', avatar);
      const newcomers = await findNewcomers(c, userId, others);
      for (const quota of ['groupsPerHour', 'groupsPerDay'] as const) await requireQuota(context, c.q, quota);
      await requireQuota(context, c.q, 'addedPerHour', newcomers.length);
      await join(c, { id, type: 'group' }, [{ userId, role: 'owner' } satisfies Newcomer, ...newcomers]);
      await appendLine(c, id, userId, { type: 'created', title, userIds: newcomers.map((newcomer) => newcomer.userId) });
      return readConversation(c.q, id);
    });
    if (conversation) return { conversation };
    // The same client id again: the group it made the first time.
    return context.read(async (q) => {
      const first = await q.selectFrom('conversations').select('id').where('created_by', '=', userId).where('client_id', '=', clientId!).executeTakeFirstOrThrow();
      return { conversation: await readConversation(q, first.id) };
    });
  },

  async 'conversation.update'(context, { conversationId, title, avatar }) {
    const stream = conversationStream(conversationId);
    return context.commit(
      [stream],
      async (c) => {
        await requireGroupAdmin(c.q, conversationId, context.userId);
        const before = await readConversation(c.q, conversationId);
        const after = { title: title ?? before.title, avatar: avatar ?? before.avatar };
        if (after.title === before.title && after.avatar === before.avatar) throw c.unchanged({ conversation: before });
        await requireQuota(context, c.q, 'renamesPerMinute');
        await changeAvatar(c, context.userId, stream, before.avatar, after.avatar);
        await c.q
          .updateTable('conversations')
          .set({ ...after, version: c.version(stream) })
          .where('id', '=', conversationId)
          .execute();
        const conversation = await readConversation(c.q, conversationId);
        c.put(stream, conversation);
        await appendLine(c, conversationId, context.userId, after.title === before.title ? { type: 'picture' } : { type: 'renamed', title: after.title ?? '' });
        return { conversation };
      },
      { append: stream },
    );
  },

  async 'conversation.leave'(context, { conversationId }) {
    const { userId } = context;
    const { type } = await context.read((q) => requireMember(q, conversationId, userId));
    if (type === 'direct' || type === 'announcements') throw new RequestError('forbidden', { message: 'This conversation cannot be left; it can be muted.' });
    const stream = conversationStream(conversationId);
    const work = async (c: Commit): Promise<void> => {
      const { role } = await requireMember(c.q, conversationId, userId);
      await requireQuota(context, c.q, 'comingsPerMinute');
      await leave(c, conversationId, userId);
      if (role === 'owner') await passOnOwnership(c, conversationId);
      // Rooms are entered and left all the time: a line for each would drown what is said.
      if (type === 'group') await appendLine(c, conversationId, userId, { type: 'left' });
    };
    await context.commit([stream, userStream(userId)], work, type === 'group' ? { append: stream } : {});
    if (type === 'room') context.services.roomsOnline.exit(conversationId, userId);
    return {};
  },

  async 'conversation.retention'(context, { conversationId, days }) {
    const { userId } = context;
    const stream = conversationStream(conversationId);
    return context.commit(
      [stream],
      async (c) => {
        await requireGroupAdmin(c.q, conversationId, userId);
        const before = await readConversation(c.q, conversationId);
        if ((before.retentionDays ?? 0) === days) throw c.unchanged({ conversation: before });
        await c.q
          .updateTable('conversations')
          .set({ retention_days: days, version: c.version(stream) })
          .where('id', '=', conversationId)
          .execute();
        const conversation = await readConversation(c.q, conversationId);
        c.put(stream, conversation);
        await appendLine(c, conversationId, userId, { type: 'retention', days });
        await context.audit(c, 'retention.changed', { detail: { conversationId, old: before.retentionDays ?? 0, new: days } });
        return { conversation };
      },
      { append: stream },
    );
  },

  async 'conversation.dissolve'(context, { conversationId }) {
    const { userId } = context;
    const stream = conversationStream(conversationId);
    const everybody = async (q: Query): Promise<StreamId[]> => {
      const { type, role } = await requireMember(q, conversationId, userId);
      if (type !== 'group' || role !== 'owner') throw new RequestError('forbidden');
      const rows = await q.selectFrom('members').select('user_id').where('conversation_id', '=', conversationId).where('state', '=', 'joined').execute();
      return [stream, ...rows.map((row) => userStream(row.user_id))];
    };
    await context.commit(everybody, async (c) => {
      for (const memberId of (await everybody(c.q)).filter((id) => id !== stream).map((id) => parseStream(id)!.id)) await leave(c, conversationId, memberId);
      await context.audit(c, 'group.dissolved', { detail: { conversationId } });
    });
    return {};
  },

  'conversation.accept': (context, { conversationId }) => changeInbox(context, conversationId, () => ({ request: 0 })),
  'conversation.mute': (context, { conversationId, until }) => changeInbox(context, conversationId, () => ({ muted_until: until })),
  'conversation.pin': (context, { conversationId, on }) =>
    changeInbox(context, conversationId, async (c, before) => {
      if (on && before.pinnedAt === 0) await requireFewPins(c, context.userId);
      return { pinned_at: on ? before.pinnedAt || c.now : 0 };
    }),
};

/** @returns undefined when the pair, or the creator's client id, has its conversation already */
async function begin(
  c: Commit,
  given: { id: string; type: Conversation['type']; title: string | null; avatar: string; createdBy: string; directKey: string | null; clientId: string | null },
): Promise<Conversation | undefined> {
  const stream = conversationStream(given.id);
  await c.begin(stream, { append: given.type === 'group' });
  const made = await c.q
    .insertInto('conversations')
    .values({
      id: given.id,
      version: c.version(stream),
      type: given.type,
      title: given.title,
      avatar: given.avatar,
      created_by: given.createdBy,
      created_at: c.now,
      member_count: 0,
      direct_key: given.directKey,
      client_id: given.clientId,
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .executeTakeFirst();
  return made && readConversation(c.q, given.id);
}

/** Changes one's own view of a conversation: only the person's own stream is touched. */
async function changeInbox(
  context: Context,
  conversationId: string,
  change: (c: Commit, before: Inbox) => Partial<InboxTable> | Promise<Partial<InboxTable>>,
): Promise<{ inbox: Inbox }> {
  const { userId } = context;
  const own = userStream(userId);
  return context.commit([own], async (c) => {
    await requireMember(c.q, conversationId, userId);
    const before = await readInbox(c.q, userId, conversationId);
    await c.q
      .updateTable('inbox')
      .set({ ...(await change(c, before)), version: c.version(own) })
      .where('user_id', '=', userId)
      .where('conversation_id', '=', conversationId)
      .execute();
    const inbox = await readInbox(c.q, userId, conversationId);
    if (JSON.stringify({ ...inbox, version: 0 }) === JSON.stringify({ ...before, version: 0 })) throw c.unchanged({ inbox: before });
    c.put(own, inbox);
    return { inbox };
  });
}

async function requireFewPins(c: Commit, userId: string): Promise<void> {
  const pinned = await c.q
    .selectFrom('inbox')
    .select('conversation_id')
    .where('user_id', '=', userId)
    .where('pinned_at', '>', 0)
    .where('joined', '=', 1)
    .limit(limits.pinnedConversations)
    .execute();
  if (pinned.length >= limits.pinnedConversations)
    throw new RequestError('too_many', { limit: 'pinnedConversations', message: `At most ${limits.pinnedConversations} conversations can be pinned.` });
}
