import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { Query } from '../db/db.ts';
import { writeEraHeads } from '../db/schema.ts';
import type { Era } from './core.ts';

// An era is a time in which nothing that the database held was taken back. What a client or a node knows of an earlier one may never have
// been: a standby that took over may lack what was confirmed last, and a backup lacks what came after it. Versions alone do not tell, because
// the new history counts on from where the old one was cut off, and has others of the same number.

/** The newest. */
export async function readEra(q: Query): Promise<Era> {
  return q.selectFrom('eras').select(['number', 'id']).orderBy('number', 'desc').limit(1).executeTakeFirstOrThrow();
}

/** Begins another era, on the database as it is now: a copy of an earlier state, of which nobody can tell by looking at it. */
export async function beginEra(q: Query, at: number): Promise<void> {
  const { number } = await readEra(q);
  await q
    .insertInto('eras')
    .values({ number: number + 1, id: randomUUID(), at })
    .execute();
  for (const statement of writeEraHeads) await sql.raw(statement).execute(q);
}

/** Is what somebody knows of a stream up to this version, as of this era, still so? */
export async function isStillSo(q: Query, { stream, version, era }: { stream: string; version: number; era: string }): Promise<boolean> {
  const [now, before] = await q.selectFrom('eras').select('id').orderBy('number', 'desc').limit(2).execute();
  if (now?.id === era) return true;
  if (before?.id !== era) return false;
  const head = await q.selectFrom('era_heads').select('version').where('stream', '=', stream).executeTakeFirst();
  return version <= (head?.version ?? 0);
}
