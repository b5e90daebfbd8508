import type { Database, Query } from '../db/db.ts';
import { record } from './audit.ts';
import type { Era, Loss, Seen } from './core.ts';
import { readEra } from './eras.ts';

/** Streams asked about at once. */
const chunk = 500;

/**
 * Compares what a node had seen committed with what was there when an era began. Several nodes have seen the same; what one has written down
 * already, another adds nothing to, so that the sum of what they report is what was lost.
 *
 * @returns what is new
 */
export async function writeLoss({ db, now }: { db: Database; now: () => number }, era: Era, seen: Seen[]): Promise<Loss> {
  const loss: Loss = { streams: 0, commits: 0, messages: 0 };
  for (let from = 0; from < seen.length; from += chunk) {
    const part = await db.write([], (q) => writePart(q, { era, seen: seen.slice(from, from + chunk), at: now() }));
    for (const key of ['streams', 'commits', 'messages'] as const) loss[key] += part[key];
  }
  return loss;
}

/** Of the newest era, if it began after that. */
export async function readLoss(q: Query, after: number): Promise<(Loss & { at: number }) | undefined> {
  const { number } = await readEra(q);
  const era = await q.selectFrom('eras').select('at').where('number', '=', number).where('at', '>', after).executeTakeFirst();
  const rows = await q.selectFrom('losses').select(['commits', 'messages']).where('era', '=', number).execute();
  if (!era || rows.length === 0) return undefined;
  const sum = (of: 'commits' | 'messages'): number => rows.reduce((all, row) => all + row[of], 0);
  return { at: era.at, streams: rows.length, commits: sum('commits'), messages: sum('messages') };
}

async function writePart(q: Query, { era, seen, at }: { era: Era; seen: Seen[]; at: number }): Promise<Loss> {
  const loss: Loss = { streams: 0, commits: 0, messages: 0 };
  const streams = seen.map(({ stream }) => stream);
  // Nodes one after the other: what the one before has written is read. And if it is another era again, there is nothing to compare with.
  await q.updateTable('eras').where('number', '=', era.number).set({ number: era.number }).execute();
  if ((await readEra(q)).id !== era.id) return loss;
  const heads = new Map((await q.selectFrom('era_heads').selectAll().where('stream', 'in', streams).execute()).map((row) => [row.stream, row]));
  const known = new Map((await q.selectFrom('losses').selectAll().where('era', '=', era.number).where('stream', 'in', streams).execute()).map((row) => [row.stream, row]));
  for (const { stream, version, seq } of seen) {
    const head = heads.get(stream);
    const lost = { commits: version - (head?.version ?? 0), messages: Math.max(0, seq - (head?.seq ?? 0)) };
    const before = known.get(stream);
    if (lost.commits <= (before?.commits ?? 0)) continue;
    loss.streams += before ? 0 : 1;
    loss.commits += lost.commits - (before?.commits ?? 0);
    loss.messages += Math.max(0, lost.messages - (before?.messages ?? 0));
    await q
      .insertInto('losses')
      .values({ era: era.number, stream, ...lost })
      .onConflict((conflict) => conflict.columns(['era', 'stream']).doUpdateSet(lost))
      .execute();
  }
  if (loss.commits > 0) await record(q, at, { event: 'database.lost', detail: { era: era.number, ...loss } });
  return loss;
}
