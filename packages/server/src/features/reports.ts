import { type Report, RequestError, limits } from '@kith/protocol';
import { requireMember } from '../core/access.ts';
import { type Handlers, newId } from '../core/context.ts';
import { readProfiles } from '../core/entities.ts';
import { openReports, tellOperators } from '../core/report-news.ts';
import type { Query } from '../db/db.ts';
import type { ReportsTable } from '../db/schema.ts';

/** Milliseconds that a report is kept after it was settled. */
const keptMs = 90 * 86_400_000;

export const reports: Handlers<'report.send' | 'report.waiting' | 'admin.reports' | 'admin.settle'> = {
  async 'report.send'(context, { conversationId, userId, reason, note = '' }) {
    const { userId: from } = context;
    if (userId === from) throw new RequestError('bad_request', { path: 'params.userId', message: 'params.userId: this is you' });
    // One at a time for each person, or two at once would pass the limit together.
    const isNew = await context.services.db.write([`reports ${from}`], async (q) => {
      await requireMember(q, conversationId, from);
      // Also one who has left: what they said is still there.
      const member = await q.selectFrom('members').select('user_id').where('conversation_id', '=', conversationId).where('user_id', '=', userId).executeTakeFirst();
      if (!member) throw new RequestError('not_found');
      const open = await q.selectFrom('reports').select(['about_id', 'conversation_id']).where('from_id', '=', from).where('settled', '=', 0).execute();
      if (open.some((one) => one.about_id === userId && one.conversation_id === conversationId)) return false;
      if (open.length >= limits.openReports) throw new RequestError('too_many', { message: `At most ${limits.openReports} reports of one person are open.`, limit: 'openReports' });
      const said = await readSaid(q, conversationId);
      const row = { id: newId(), from_id: from, about_id: userId, conversation_id: conversationId, reason, note, created_at: context.now() };
      await q
        .insertInto('reports')
        .values({ ...row, ...said, settled: 0, settled_at: null, settled_by: null })
        .execute();
      return true;
    });
    if (isNew) await tellOperators(context.services, { isNew });
    return {};
  },

  'report.waiting': (context) => context.read(async (q) => ({ open: await openReports(q) })),

  async 'admin.reports'(context, { settled = false, before, limit = limits.reportsPage }) {
    const answer = await context.read(async (q) => {
      const rows = await q
        .selectFrom('reports')
        .selectAll()
        .where('settled', '=', settled ? 1 : 0)
        .$if(before !== undefined, (query) => query.where('id', '<', before!))
        .orderBy('id', 'desc')
        .limit(limit + 1)
        .execute();
      return { reports: await toReports(q, rows.slice(0, limit)), more: rows.length > limit, open: await openReports(q) };
    });
    // What people said among themselves: whoever reads it leaves a trace.
    const read = answer.reports.map(({ id }) => id).join(' ');
    const now = context.now();
    if (read !== '') await context.services.db.write([], (q) => context.audit({ q, now }, 'report.read', { detail: { reports: read } }));
    return answer;
  },

  async 'admin.settle'(context, { reportId }) {
    const settled = await context.services.db.write([], async (q) => {
      const row = await q.selectFrom('reports').select(['about_id', 'settled']).where('id', '=', reportId).executeTakeFirst();
      if (!row) throw new RequestError('not_found');
      if (row.settled === 1) return false;
      const now = context.now();
      await q.updateTable('reports').set({ settled: 1, settled_at: now, settled_by: context.userId }).where('id', '=', reportId).execute();
      await q
        .deleteFrom('reports')
        .where('settled', '=', 1)
        .where('settled_at', '<', now - keptMs)
        .execute();
      await context.audit({ q, now }, 'report.settled', { subject: row.about_id, detail: { report: reportId } });
      return true;
    });
    if (settled) await tellOperators(context.services, { isNew: false });
    return {};
  },
};

/** What the operators get to see is a copy: what is recalled or edited after it was reported is still what was reported. */
async function readSaid(q: Query, conversationId: string): Promise<Pick<ReportsTable, 'messages' | 'names'>> {
  const rows = await q
    .selectFrom('messages')
    .innerJoin('users', 'users.id', 'messages.sender_id')
    .select(['messages.seq', 'messages.sender_id', 'messages.type', 'messages.text', 'messages.at', 'messages.file', 'users.name'])
    .where('messages.conversation_id', '=', conversationId)
    .where('messages.type', '!=', 'system')
    .where('messages.deleted_at', 'is', null)
    .orderBy('messages.seq', 'desc')
    .limit(limits.reportedMessages)
    .execute();
  const messages = rows.toReversed().map(({ seq, sender_id: senderId, type, text, at, file }): Report['messages'][number] => ({
    seq,
    senderId,
    type,
    text: text.length > limits.reportedText ? `${text.slice(0, limits.reportedText).replace(/[\uD800-\uDBFF]$/, '')}…` : text,
    at,
    ...(file !== null && { file: (JSON.parse(file) as { name: string }).name }),
  }));
  return { messages: JSON.stringify(messages), names: JSON.stringify(Object.fromEntries(rows.map((row) => [row.sender_id, row.name]))) };
}

async function toReports(q: Query, rows: ReportsTable[]): Promise<Report[]> {
  if (rows.length === 0) return [];
  const profiles = new Map((await readProfiles(q, [...new Set(rows.flatMap((row) => [row.from_id, row.about_id]))])).map((profile) => [profile.id, profile]));
  const ids = [...new Set(rows.map((row) => row.conversation_id))];
  const places = new Map((await q.selectFrom('conversations').select(['id', 'type', 'title']).where('id', 'in', ids).execute()).map((place) => [place.id, place]));
  const person = (id: string) => profiles.get(id) ?? { id, handle: null, name: '', avatar: '', bio: '', guest: false, deleted: true };
  return rows.map((row) => ({
    id: row.id,
    from: person(row.from_id),
    about: person(row.about_id),
    conversation: places.get(row.conversation_id) ?? { id: row.conversation_id, type: 'direct', title: null },
    reason: row.reason,
    note: row.note,
    messages: JSON.parse(row.messages) as Report['messages'],
    names: JSON.parse(row.names) as Report['names'],
    createdAt: row.created_at,
    settledAt: row.settled_at,
    settledBy: row.settled_by,
  }));
}
