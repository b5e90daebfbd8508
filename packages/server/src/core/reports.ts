import type { Report } from '@kith/protocol';
import type { Query } from '../db/db.ts';

/** A person is gone for good: so are the reports of them and about them, and what they said and were called in those of others. */
export async function forgetReports(q: Query, userId: string): Promise<void> {
  await q
    .deleteFrom('reports')
    .where((eb) => eb.or([eb('from_id', '=', userId), eb('about_id', '=', userId)]))
    .execute();
  await q.updateTable('reports').set({ settled_by: null }).where('settled_by', '=', userId).execute();
  // An id holds nothing that would have to be escaped. Reports are few: what is settled goes, and what is open is bounded.
  for (const { id, messages, names } of await q.selectFrom('reports').select(['id', 'messages', 'names']).where('names', 'like', `%"${userId}"%`).execute()) {
    const left = (JSON.parse(messages) as Report['messages']).filter(({ senderId }) => senderId !== userId);
    const { [userId]: _, ...others } = JSON.parse(names) as Report['names'];
    await q
      .updateTable('reports')
      .set({ messages: JSON.stringify(left), names: JSON.stringify(others) })
      .where('id', '=', id)
      .execute();
  }
}
