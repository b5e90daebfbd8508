import { conversationStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import type { MessagesTable } from '../db/schema.ts';
import { changedAt } from './append.ts';
import { toMessage } from './entities.ts';
import { letGo } from './files.ts';
import { type Log, commit } from './streams.ts';

/** Messages emptied in one commit: so much as a push can carry, and as others can wait for. */
export const emptiedAtOnce = 100;

/**
 * Empties messages of one conversation for everybody, as if they were recalled, and forgets by what their sender knew them.
 * The rows stay, in their places. At most `emptiedAtOnce`.
 *
 * @param find  Asked under the lock of the conversation. System lines stay.
 * @param by    Who does it; undefined: time.
 * @returns how many
 */
export async function emptyMessages(log: Log, conversationId: string, find: (q: Query) => Promise<MessagesTable[]>, by?: string): Promise<number> {
  const stream = conversationStream(conversationId);
  return commit(log, [stream], async (c) => {
    const rows = await find(c.q);
    if (rows.length === 0) throw c.unchanged(0);
    for (const row of rows) await letGo(c, row);
    const emptied = await c.q
      .updateTable('messages')
      .set((eb) => ({
        text: '',
        file: null,
        shared: null,
        link_url: null,
        link: null,
        // By it somebody who guesses the text could tell that it was this one.
        sent_hash: null,
        deleted_at: eb.fn.coalesce('deleted_at', eb.val(c.now)),
        ...(by !== undefined && { client_id: null, deleted_by: eb.fn.coalesce('deleted_by', eb.val(by)) }),
        ...changedAt(c, stream)(eb),
      }))
      .where(
        'id',
        'in',
        rows.map(({ id }) => id),
      )
      .returningAll()
      .execute();
    c.put(stream, ...emptied.map(toMessage));
    return emptied.length;
  });
}
