import { userStream } from '@kith/protocol';
import { sql } from 'kysely';
import type { Query } from '../db/db.ts';
import type { Services } from './context.ts';
import { encodeSignal } from './core.ts';

/** How many reports nobody has settled. */
export async function openReports(q: Query): Promise<number> {
  const { open } = await q
    .selectFrom('reports')
    .select((eb) => eb.fn.countAll<number>().as('open'))
    .where('settled', '=', 0)
    .executeTakeFirstOrThrow();
  return Number(open);
}

/** Tells the operators who are there how many reports are open, and of a new one those who are not. */
export async function tellOperators(services: Services, { isNew }: { isNew: boolean }): Promise<void> {
  const { open, userIds } = await services.db.read(async (q) => {
    const rows = await q.selectFrom('users').select('id').where('operator', '=', sql.lit(1)).where('disabled_at', 'is', null).execute();
    return { open: await openReports(q), userIds: rows.map((row) => row.id) };
  });
  const frame = encodeSignal({ signal: 'reports', data: { open } });
  services.publish(userIds.map((userId) => ({ kind: 'signal', topic: userStream(userId), frame })));
  if (isNew) services.push.reported(userIds, open);
}
