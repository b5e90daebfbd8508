import { userStream } from '@kith/protocol';
import { type Note, record } from './audit.ts';
import { readUser } from './entities.ts';
import { endSessions } from './sessions.ts';
import type { Commit } from './streams.ts';

/** Nobody signs in to a disabled account; the connections of its sessions are closed with the commit. */
export async function setDisabled(c: Commit, userId: string, disabled: boolean, by: Pick<Note, 'actor' | 'ip'> = {}): Promise<void> {
  const own = userStream(userId);
  const row = await c.q.selectFrom('users').select('disabled_at').where('id', '=', userId).executeTakeFirstOrThrow();
  if ((row.disabled_at !== null) === disabled) throw c.unchanged(undefined);
  await c.q
    .updateTable('users')
    .set({ disabled_at: disabled ? c.now : null, version: c.version(own) })
    .where('id', '=', userId)
    .execute();
  c.put(own, await readUser(c.q, userId));
  await record(c.q, c.now, { event: disabled ? 'account.disabled' : 'account.enabled', subject: userId, ...by });
  if (disabled) await endSessions(c, userId, 'disabled', {}, { as: 'accountDisabled', ...by });
}
