import { createHash, randomBytes } from 'node:crypto';
import type { AuditEntry, AuditEvent } from '@kith/protocol';
import type { Database, Query } from '../db/db.ts';
import type { AuditHeadTable, AuditTable } from '../db/schema.ts';

// The audit log: rows that are added and never changed, each sealed with the hash of the one before, so that changing,
// adding or taking out one breaks the chain from there on. Written in the transaction of what it tells of. The head says
// where the chain ends, or whoever takes the last rows away would leave a shorter one that is whole.
//
// Two things go by age, and neither breaks the chain. Addresses, after 30 days: what is sealed is not the address but its
// hash with a salt of its own, and the salt goes with it, or all four thousand million addresses could be tried. Rows, after
// 365 days, from the beginning: the head keeps the hash of the last that went, and a row of the chain itself says so, too.

const dayMs = 86_400_000;
const addressDays = 30;
const rowDays = 365;
/** Rows taken up at once. */
const chunk = 1_000;

/** What happened. Ids, names of settings and counts: no text that people wrote, nothing that signs anybody in. */
export interface Note {
  event: AuditEvent;
  /** Who did it: absent where nobody is signed in, and where the server did. */
  actor?: string | undefined;
  /** To whom. */
  subject?: string | undefined;
  ip?: string | undefined;
  detail?: AuditEntry['detail'];
}

/**
 * Adds rows in this transaction: last of all in it, because until its end nobody else can add one.
 *
 * @param at  Milliseconds since 1970.
 */
export async function record(q: Query, at: number, ...notes: Note[]): Promise<void> {
  for (const note of notes) await add(q, at, note);
}

async function add(q: Query, at: number, { event, actor, subject, ip, detail = {} }: Note): Promise<void> {
  const { seq, hash: prev } = await q
    .updateTable('audit_head')
    .set((eb) => ({ seq: eb('seq', '+', 1) }))
    .where('id', '=', 1)
    .returning(['seq', 'hash'])
    .executeTakeFirstOrThrow();
  const salt = ip === undefined ? null : randomBytes(16).toString('base64url');
  const row = { seq, at, event, actor: actor ?? null, subject: subject ?? null, detail: JSON.stringify(detail), ip: ip ?? null, salt, ip_seal: sealOf(ip ?? null, salt), prev };
  const hash = hashOf(row);
  await q
    .insertInto('audit')
    .values({ ...row, hash })
    .execute();
  await q.updateTable('audit_head').set({ hash }).where('id', '=', 1).execute();
}

/**
 * The server has started: says so, and which settings are others than at the last start.
 *
 * @param settings  By name, as the operator may see them.
 */
export async function recordStart(q: Query, at: number, { version, settings }: { version: string; settings: Record<string, string> }): Promise<void> {
  const head = await q.selectFrom('audit_head').select('settings').where('id', '=', 1).executeTakeFirstOrThrow();
  const before = JSON.parse(head.settings) as Record<string, string>;
  const changed = [...new Set([...Object.keys(before), ...Object.keys(settings)])].sort().filter((name) => before[name] !== settings[name]);
  const told = Object.fromEntries(changed.map((name) => [name, `${before[name] ?? 'default'} → ${settings[name] ?? 'default'}`]));
  await record(q, at, { event: 'server.started', detail: { version, node: process.version } });
  if (changed.length === 0) return;
  await q
    .updateTable('audit_head')
    .set({ settings: JSON.stringify(settings) })
    .where('id', '=', 1)
    .execute();
  await record(q, at, { event: 'settings.changed', detail: told });
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const sealOf = (ip: string | null, salt: string | null): string => (ip === null ? '' : sha256(`${salt} ${ip}`));
const hashOf = ({ prev, seq, at, event, actor, subject, detail, ip_seal }: Omit<AuditTable, 'hash'>): string =>
  sha256(JSON.stringify([prev, seq, at, event, actor, subject, detail, ip_seal]));

export const toEntry = ({ seq, at, event, actor, subject, ip, detail, hash }: AuditTable): AuditEntry => ({
  seq,
  at,
  event: event as AuditEvent,
  actorId: actor,
  subjectId: subject,
  ip,
  detail: JSON.parse(detail) as AuditEntry['detail'],
  hash,
});

/** The chain is not as it was written. */
export class AuditBroken extends Error {
  override name = 'AuditBroken';
}

export interface Chain {
  rows: number;
  /** Seq of the first row that is there; 1 unless earlier ones went by age. */
  first: number;
  /** The last row. Kept elsewhere, these two show later whether the chain is still a continuation of this one. */
  seq: number;
  hash: string;
}

/**
 * Reads the whole chain, on one view of the database.
 *
 * @param each  Gets every row, in order, once it is known to be whole.
 * @throws AuditBroken at the first row that is not as it was written
 */
export async function verify(q: Query, now: number, each: (entry: AuditEntry) => void = () => {}): Promise<Chain> {
  const head = await q.selectFrom('audit_head').selectAll().where('id', '=', 1).executeTakeFirst();
  if (!head) throw new AuditBroken('There is no row that says where the log ends.');
  let { pruned_seq: seq, pruned_hash: hash } = head;
  let pruned: AuditEntry | undefined;
  for (let rows = await after(q, seq); rows.length > 0; rows = await after(q, seq)) {
    for (const row of rows) {
      requireWhole(row, { seq: seq + 1, prev: hash }, now);
      const entry = toEntry(row);
      if (entry.event === 'audit.pruned') pruned = entry;
      each(entry);
      ({ seq, hash } = row);
    }
  }
  requireEnds(head, { seq, hash }, pruned);
  // Below the beginning nothing may have been put in.
  const early = await q.selectFrom('audit').select('seq').where('seq', '<=', head.pruned_seq).limit(1).executeTakeFirst();
  if (early) throw new AuditBroken(`Row ${early.seq} should be gone by its age.`);
  return { rows: seq - head.pruned_seq, first: head.pruned_seq + 1, seq, hash };
}

const after = (q: Query, seq: number): Promise<AuditTable[]> => q.selectFrom('audit').selectAll().where('seq', '>', seq).orderBy('seq').limit(chunk).execute();

function requireWhole(row: AuditTable, { seq, prev }: { seq: number; prev: string }, now: number): void {
  if (row.seq !== seq) throw new AuditBroken(`Row ${seq} is missing.`);
  if (row.prev !== prev) throw new AuditBroken(`Row ${seq} does not follow the one before.`);
  if (row.hash !== hashOf(row)) throw new AuditBroken(`Row ${seq} was changed.`);
  // An address that is gone before its time was taken away; one that is there is the one that was sealed.
  const gone = row.ip === null && row.salt === null && (row.ip_seal === '' || row.at < now - addressDays * dayMs);
  if (!gone && (row.ip === null || row.salt === null || row.ip_seal !== sealOf(row.ip, row.salt))) throw new AuditBroken(`The address in row ${seq} was changed.`);
}

/** The two ends that the head names are those of the chain, and those that the chain names itself. */
function requireEnds(head: AuditHeadTable, { seq, hash }: { seq: number; hash: string }, pruned: AuditEntry | undefined): void {
  if (head.seq !== seq || head.hash !== hash) throw new AuditBroken(`The log should end with row ${head.seq}, and ends with row ${seq} or another of that number.`);
  const named = pruned?.detail ?? { through: 0, hash: '' };
  if (named['through'] !== head.pruned_seq || named['hash'] !== head.pruned_hash) throw new AuditBroken(`Rows up to ${head.pruned_seq} are gone, and not by their age.`);
}

/** A page of the log, the latest first. */
export async function readPage(q: Query, { before = Number.MAX_SAFE_INTEGER, limit }: { before?: number | undefined; limit: number }): Promise<AuditTable[]> {
  return q.selectFrom('audit').selectAll().where('seq', '<', before).orderBy('seq', 'desc').limit(limit).execute();
}

/** Takes away what is too old, some of it. @returns whether there may be more */
export async function pruneAudit(db: Database, now: number): Promise<boolean> {
  const withoutAddress = now - addressDays * dayMs;
  const bare = await db.read((q) => q.selectFrom('audit').select('seq').where('ip', 'is not', null).where('at', '<', withoutAddress).limit(chunk).execute());
  const seqs = bare.map(({ seq }) => seq);
  if (seqs.length > 0) await db.write([], (q) => q.updateTable('audit').set({ ip: null, salt: null }).where('seq', 'in', seqs).execute());
  const old = await db.read((q) => oldRows(q, now));
  if (old.length > 0) await db.write([], async (q) => prune(q, now, await oldRows(q, now)));
  return bare.length === chunk || old.length === chunk;
}

/** From the beginning on: whatever clocks did, what stays is one piece. */
async function oldRows(q: Query, now: number): Promise<Pick<AuditTable, 'seq' | 'hash'>[]> {
  const rows = await q.selectFrom('audit').select(['seq', 'at', 'hash']).orderBy('seq').limit(chunk).execute();
  const young = rows.findIndex(({ at }) => at >= now - rowDays * dayMs);
  return young === -1 ? rows : rows.slice(0, young);
}

async function prune(q: Query, now: number, old: Pick<AuditTable, 'seq' | 'hash'>[]): Promise<void> {
  const last = old.at(-1);
  if (!last) return;
  await q.updateTable('audit_head').set({ pruned_seq: last.seq, pruned_hash: last.hash }).where('id', '=', 1).execute();
  await q.deleteFrom('audit').where('seq', '<=', last.seq).execute();
  await record(q, now, { event: 'audit.pruned', detail: { through: last.seq, hash: last.hash } });
}
