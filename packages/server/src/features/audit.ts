import { limits } from '@kith/protocol';
import { readPage, toEntry } from '../core/audit.ts';
import type { Handlers } from '../core/context.ts';

export const audit: Handlers<'admin.audit'> = {
  async 'admin.audit'(context, { before, limit = limits.historyPage }) {
    return context.read(async (q) => {
      const rows = await readPage(q, { before, limit: limit + 1 });
      const entries = rows.slice(0, limit).map(toEntry);
      const ids = entries.flatMap(({ actorId, subjectId }) => [actorId, subjectId]).filter((id) => id !== null);
      const people = await q
        .selectFrom('users')
        .select(['id', 'name'])
        .where('id', 'in', ['', ...new Set(ids)])
        .where('deleted_at', 'is', null)
        .execute();
      return { entries, names: Object.fromEntries(people.map(({ id, name }) => [id, name])), more: rows.length > limit };
    });
  },
};
