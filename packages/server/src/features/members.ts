import { RequestError, conversationStream, limits, userStream } from '@kith/protocol';
import { readRank, requireGroupAdmin, requireMember } from '../core/access.ts';
import { appendLine } from '../core/append.ts';
import type { Handlers } from '../core/context.ts';
import { memberRows, readMember, toMember } from '../core/entities.ts';
import { findNewcomers, join, joinedAmong, leave, streamsOf } from '../core/membership.ts';
import { requireTellApart } from '../core/own-name.ts';
import { requireQuota } from '../core/quotas.ts';
import type { Commit } from '../core/streams.ts';
import type { MembersTable } from '../db/schema.ts';

export const members: Handlers<'member.list' | 'member.add' | 'member.remove' | 'member.role'> = {
  async 'member.list'(context, { conversationId, after = '', userIds, limit = limits.historyPage }) {
    return context.read(async (q) => {
      const { type } = await requireMember(q, conversationId, context.userId);
      if (type === 'announcements') return { members: [], more: false };
      const rows = await memberRows(q)
        .where('conversation_id', '=', conversationId)
        .$if(userIds !== undefined, (query) => query.where('members.user_id', 'in', ['', ...userIds!]))
        .$if(userIds === undefined, (query) => query.where('state', '=', 'joined'))
        .where('members.user_id', '>', after)
        .orderBy('members.user_id')
        .limit(limit + 1)
        .execute();
      return { members: rows.slice(0, limit).map(toMember), more: rows.length > limit };
    });
  },

  async 'member.add'(context, { conversationId, userIds }) {
    const { userId } = context;
    const stream = conversationStream(conversationId);
    const wanted = [...new Set(userIds)];
    await context.read((q) => requireMember(q, conversationId, userId));
    return context.commit(
      async (q) => [stream, ...(await streamsOf(q, wanted))],
      async (c) => {
        const { type, role } = await requireMember(c.q, conversationId, userId);
        if (type !== 'group') throw new RequestError('forbidden');
        const present = await joinedAmong(c, conversationId, wanted);
        const newcomers = await findNewcomers(
          c,
          userId,
          wanted.filter((id) => !present.has(id)),
        );
        if (newcomers.length > 0) {
          await requireQuota(context, c.q, 'addedPerHour', newcomers.length);
          await requireTellApart(
            c.q,
            conversationId,
            newcomers.map((newcomer) => newcomer.userId),
          );
          await join(c, { id: conversationId, type }, newcomers);
          await appendLine(c, conversationId, userId, { type: 'added', userIds: newcomers.map((newcomer) => newcomer.userId) });
        }
        const result = { members: await Promise.all([...present, ...newcomers.map((newcomer) => newcomer.userId)].map((id) => readMember(c.q, conversationId, id))) };
        if (newcomers.length === 0) throw c.unchanged(result);
        if (role !== 'member') await context.audit(c, 'member.added', { detail: { conversationId, userIds: newcomers.map((newcomer) => newcomer.userId).join(' ') } });
        return result;
      },
      { append: stream },
    );
  },

  async 'member.remove'(context, { conversationId, userId: memberId }) {
    const { userId } = context;
    if (memberId === userId) throw new RequestError('bad_request', { path: 'params.userId', message: 'params.userId: to leave yourself, call conversation.leave' });
    const stream = conversationStream(conversationId);
    const { type } = await context.read((q) => requireMember(q, conversationId, userId));
    const result = await context.commit(
      [stream, userStream(memberId)],
      async (c) => {
        const { role } = await requireGroupAdmin(c.q, conversationId, userId);
        const target = await requireTarget(c, conversationId, memberId);
        if (rank[await readRank(c.q, { type, role: target.role }, memberId)] >= rank[role]) throw new RequestError('forbidden');
        await leave(c, conversationId, memberId);
        // In rooms there is no line about who goes, and whoever may enter by themselves would be back at once.
        if (type === 'room') await bar(c, conversationId, memberId);
        else await appendLine(c, conversationId, userId, { type: 'removed', userIds: [memberId] });
        await context.audit(c, 'member.removed', { subject: memberId, detail: { conversationId } });
        return { member: await readMember(c.q, conversationId, memberId) };
      },
      type === 'room' ? {} : { append: stream },
    );
    context.services.roomsOnline.exit(conversationId, memberId);
    return result;
  },

  async 'member.role'(context, { conversationId, userId: memberId, role }) {
    const { userId } = context;
    const stream = conversationStream(conversationId);
    return context.commit(
      [stream],
      async (c) => {
        const mine = await requireGroupAdmin(c.q, conversationId, userId);
        const target = await requireTarget(c, conversationId, memberId);
        if (target.role === role) throw c.unchanged({ member: await readMember(c.q, conversationId, memberId) });
        // Only the owner makes and unmakes admins, and gives the group away; nobody changes their own role.
        if (mine.role !== 'owner' || memberId === userId) throw new RequestError('forbidden');
        await setRole(c, conversationId, memberId, role);
        if (role === 'owner') await setRole(c, conversationId, userId, 'admin');
        await appendLine(c, conversationId, userId, { type: 'role', userIds: [memberId], role });
        await context.audit(c, 'member.role', { subject: memberId, detail: { conversationId, old: target.role, new: role } });
        return { member: await readMember(c.q, conversationId, memberId) };
      },
      { append: stream },
    );
  },
};

const rank: Record<MembersTable['role'], number> = { member: 0, admin: 1, owner: 2 };

/** @throws not_found */
async function requireTarget(c: Commit, conversationId: string, memberId: string): Promise<Pick<MembersTable, 'role'>> {
  const row = await c.q
    .selectFrom('members')
    .select('role')
    .where('conversation_id', '=', conversationId)
    .where('user_id', '=', memberId)
    .where('state', '=', 'joined')
    .executeTakeFirst();
  if (!row) throw new RequestError('not_found');
  return row;
}

async function bar(c: Commit, roomId: string, userId: string): Promise<void> {
  await c.q
    .updateTable('members')
    .set({ barred_until: c.now + limits.roomBarMs })
    .where('conversation_id', '=', roomId)
    .where('user_id', '=', userId)
    .execute();
}

async function setRole(c: Commit, conversationId: string, userId: string, role: MembersTable['role']): Promise<void> {
  const stream = conversationStream(conversationId);
  await c.q
    .updateTable('members')
    .set({ role, version: c.version(stream) })
    .where('conversation_id', '=', conversationId)
    .where('user_id', '=', userId)
    .execute();
  c.put(stream, await readMember(c.q, conversationId, userId));
}
