import { createHash } from 'node:crypto';
import type { Query } from '../db/db.ts';

export interface Tries {
  points: number;
  waits_until: number;
  expires_at: number;
}

/**
 * So many more, and the row is locked: whoever else counts here waits for the end of this transaction. Its undoing takes them back.
 *
 * @param windowMs  For how long after the first they count.
 */
export async function count(q: Query, key: string, windowMs: number, now: number, points = 1): Promise<Tries> {
  return q
    .insertInto('tries')
    .values({ key, points, waits_until: 0, expires_at: now + windowMs })
    .onConflict((conflict) =>
      conflict.column('key').doUpdateSet((eb) => ({
        points: eb
          .case()
          .when('tries.expires_at', '<=', now)
          .then(points)
          .else(eb('tries.points', '+', points))
          .end(),
        waits_until: eb.case().when('tries.expires_at', '<=', now).then(0).else(eb.ref('tries.waits_until')).end(),
        expires_at: eb
          .case()
          .when('tries.expires_at', '<=', now)
          .then(now + windowMs)
          .else(eb.ref('tries.expires_at'))
          .end(),
      })),
    )
    .returning(['points', 'waits_until', 'expires_at'])
    .executeTakeFirstOrThrow();
}

/** Whom or which address a row is about can be recomputed, but not read. */
export const keyOf = (kind: string, value: string): string => createHash('sha256').update(`${kind}\n${value}`).digest('base64url');
