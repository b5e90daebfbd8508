import type { Config } from './config.ts';
import { record, verify } from './core/audit.ts';
import { besideServer } from './db/open.ts';

// `kith audit`: the audit log read from outside of the server, which may be running.

type Where = Pick<Config, 'data' | 'database'>;

/** @throws AuditBroken, DatabaseError: in words for the operator */
export async function verifyAudit(config: Where, now = Date.now()): Promise<string> {
  const { rows, first, seq, hash } = await besideServer(config, 'read', (q) => verify(q, now));
  return `  Whole: ${rows} entries, ${first} to ${seq}.\n  It ends with ${hash}; kept elsewhere, that shows later whether it was written anew.\n`;
}

/**
 * Everything, a line of JSON for each entry, as far as it is whole. That somebody took it is in it from then on.
 *
 * @throws AuditBroken, DatabaseError: in words for the operator
 */
export async function exportAudit(config: Where, print: (text: string) => void, now = Date.now()): Promise<void> {
  const { seq } = await besideServer(config, 'read', (q) => verify(q, now, (entry) => print(`${JSON.stringify(entry)}\n`)));
  await besideServer(config, 'write', (q) => record(q, now, { event: 'audit.exported', detail: { through: seq } }));
}
