import { type CloseName, userStream } from '@kith/protocol';
import { type Note, record } from './audit.ts';
import { toSession } from './entities.ts';
import type { Query } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import { dropDevices } from './push-devices.ts';
import { type Commit, type Log, commit } from './streams.ts';

const findOpen = prepare((q, { id }: { id: string }) => q.selectFrom('sessions').select('id').where('id', '=', id).where('ended_at', 'is', null));

/** Has nobody ended this session? */
export const isSessionOpen = async (q: Query, id: string): Promise<boolean> => (await findOpen.first(q, { id })) !== undefined;

/**
 * Ends sessions of a person, all or one or all but one; their connections are closed with the commit, and their devices get no pushes.
 *
 * @param why  For the audit log.
 */
export async function endSessions(
  c: Commit,
  userId: string,
  why: EndReason,
  which: { only?: string; except?: string } = {},
  { as = 'sessionEnded', ...by }: { as?: CloseName } & Pick<Note, 'actor' | 'ip'> = {},
): Promise<number> {
  const own = userStream(userId);
  const rows = await c.q
    .updateTable('sessions')
    .set({ ended_at: c.now, version: c.version(own) })
    .where('user_id', '=', userId)
    .where('ended_at', 'is', null)
    .$if(which.only !== undefined, (query) => query.where('id', '=', which.only!))
    .$if(which.except !== undefined, (query) => query.where('id', '!=', which.except!))
    .returningAll()
    .execute();
  c.put(own, ...rows.map(toSession));
  c.end(
    own,
    rows.map((row) => row.id),
    as,
  );
  await dropDevices(
    c.q,
    rows.map((row) => row.id),
  );
  await record(c.q, c.now, ...rows.map(({ id }): Note => ({ event: 'session.ended', subject: userId, ...by, detail: { sessionId: id, why } })));
  return rows.length;
}

/** signed-out and revoked: by the person. replaced: there were too many. */
type EndReason = 'signed-out' | 'revoked' | 'password' | 'disabled' | 'deleted' | 'age' | 'replaced';

/** Keeps the time of a session's last use. */
export async function touchSession(log: Log, sessionId: string, userId: string, now: number): Promise<void> {
  const own = userStream(userId);
  await commit(log, [own], async (c) => {
    const row = await c.q
      .updateTable('sessions')
      .set({ used_at: now, version: c.version(own) })
      .where('id', '=', sessionId)
      .where('ended_at', 'is', null)
      .returningAll()
      .executeTakeFirst();
    if (!row) throw c.unchanged(undefined);
    c.put(own, toSession(row));
  });
}
