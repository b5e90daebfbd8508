import { type Bound, RequestError, limits } from '@kith/protocol';
import type { Context } from './context.ts';
import type { Query } from '../db/db.ts';
import { count, keyOf } from './tries.ts';

const minuteMs = 60_000;
const hourMs = 3_600_000;
const dayMs = 86_400_000;

/** What one person may do so and so often, counted from the first of them on: milliseconds, and how the answer says it. */
const quotas = {
  groupsPerHour: { windowMs: hourMs, says: 'groups an hour' },
  groupsPerDay: { windowMs: dayMs, says: 'groups a day' },
  addedPerHour: { windowMs: hourMs, says: 'people an hour are put into groups' },
  strangersPerHour: { windowMs: hourMs, says: 'strangers an hour are written to or asked, while the account is new' },
  uploadsPerHour: { windowMs: hourMs, says: 'files an hour' },
  uploadKibPerDay: { windowMs: dayMs, says: 'KiB of files a day' },
  renamesPerMinute: { windowMs: minuteMs, says: 'changes of a name or a picture a minute' },
  comingsPerMinute: { windowMs: minuteMs, says: 'times a minute a room or a group is entered or left' },
} satisfies Partial<Record<Bound, { windowMs: number; says: string }>>;

export type Quota = keyof typeof quotas;

/**
 * Counts what this person does in the transaction that does it: on every node the same, over a restart too, and what is refused or
 * was done before costs nothing. Where limits are off nothing is counted.
 *
 * @throws rate_limited
 */
export async function requireQuota(context: Context, q: Query, quota: Quota, points = 1): Promise<void> {
  if (!context.config.rateLimits || points === 0) return;
  const now = context.now();
  const { windowMs, says } = quotas[quota];
  const done = await count(q, keyOf(quota, context.userId), windowMs, now, points);
  if (done.points > limits[quota])
    throw new RequestError('rate_limited', { limit: quota, retryAfterMs: Math.max(1_000, done.expires_at - now), message: `At most ${limits[quota]} ${says}.` });
}

/** Whoever has just come writes to few whom they do not know; later they are somebody here. @throws rate_limited */
export async function requireFewStrangers(context: Context, q: Query): Promise<void> {
  if (!context.config.rateLimits) return;
  const { created_at: since } = await q.selectFrom('users').select('created_at').where('id', '=', context.userId).executeTakeFirstOrThrow();
  if (context.now() - since < limits.newAccountMs) await requireQuota(context, q, 'strangersPerHour');
}
