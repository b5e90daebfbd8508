import type { Config } from './config.ts';
import { record } from './core/audit.ts';
import { readSecrets, rotated, usedAfterMs, writeSecrets } from './core/secrets.ts';
import { DatabaseError } from './db/db.ts';
import { besideServer } from './db/open.ts';

// `kith rotate-secrets`: new keys beside the running server, which finds them at its next heartbeat.

type Where = Pick<Config, 'data' | 'database'>;

/**
 * @param atOnce  Somebody else has the old ones: they are good for nothing from now on.
 * @throws DatabaseError, in words for the operator
 */
export async function rotateSecrets(config: Where, { atOnce = false }: { atOnce?: boolean } = {}, now = Date.now()): Promise<string> {
  const kept = await readSecrets(config);
  if (!kept) throw new DatabaseError('There are no keys yet: the first start makes them.');
  const next = rotated(kept, now, { atOnce });
  await writeSecrets(config, next);
  await besideServer(config, 'write', (q) => record(q, now, { event: 'secrets.rotated', detail: { atOnce, tickets: next.tickets.length, pushes: next.vapid.length } }));
  if (atOnce)
    return '  New keys. A running server takes them up at its next heartbeat, without a restart. Links for a new password that were not used are good for\n  nothing any more, and devices get no pushes until they have opened Kith once.\n';
  const minutes = usedAfterMs / 60_000;
  return `  New keys, in use in ${minutes} minutes, when every node knows them; no restart is needed. What the old ones have sealed is good for as long as it\n  would have been. Devices subscribe anew by themselves when they open Kith, and get pushes by the old key for 60 days until then.\n`;
}
