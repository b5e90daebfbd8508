import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { Config } from '../config.ts';
import { type Database, DatabaseError, type Query } from '../db/db.ts';
import { besideServer } from '../db/open.ts';
import { type VapidKeys, areVapidKeys, makeVapidKeys } from './web-push.ts';

// The keys of this server. They are made at its first start and never given: what is the same everywhere is no secret. With SQLite
// they are in a file beside the database, so that a backup of the data has none of them; with PostgreSQL in a table of it, because nodes
// have nothing else in common.
//
// A new key is read by everybody before anybody uses it, and the one of before is good for a while after that: so rotating them ends
// nothing that people are in the middle of, and needs no restart.

/** Milliseconds until a new key is used. Every node has read it by then: they look at each heartbeat, and those are two minutes apart at most. */
export const usedAfterMs = 300_000;
/** Milliseconds for which what the key of before has sealed is good: longer than any ticket lives. */
const ticketsKeptMs = 3_600_000;
/** Milliseconds in which every device that is still used has subscribed anew, and how many pairs are kept for them at most. */
const pushesKeptMs = 60 * 86_400_000;
const pairsMost = 5;

/** Since when a key is used, milliseconds since 1970: until the next one is. */
interface Dated {
  from: number;
}

/** As they are kept. */
export interface Kept {
  /** What seals tickets: 256 bits in base64url. */
  tickets: (Dated & { key: string })[];
  /** What signs pushes. A subscription belongs to the pair that it was made with. */
  vapid: (Dated & VapidKeys)[];
  /** By which it is drawn which names that nobody has are answered as if somebody had. Another one would tell them apart from those of people, so it stays. */
  names: string;
}

/** Until there was a file each had a row of its own. */
const earlierNames = ['vapid', 'tickets'];

type Where = Pick<Config, 'data' | 'database'>;

/** The keys in use, as they are at this moment. */
export class Secrets {
  readonly #read: () => Promise<Kept | undefined>;
  readonly #now: () => number;
  #kept: Kept;

  constructor(kept: Kept, { read, now }: { read: () => Promise<Kept | undefined>; now: () => number }) {
    this.#kept = kept;
    this.#read = read;
    this.#now = now;
  }

  /** What tickets are sealed with. */
  get ticketKey(): Buffer {
    return bytesOf(current(this.#kept.tickets, this.#now()).key);
  }

  /** All that tickets may be sealed with: by this node or another one, a while ago or since just now. */
  get ticketKeys(): Buffer[] {
    return withoutOld(this.#kept.tickets, ticketsKeptMs, this.#now()).map(({ key }) => bytesOf(key));
  }

  get names(): Buffer {
    return bytesOf(this.#kept.names);
  }

  /** What devices are to subscribe with. */
  get vapid(): VapidKeys {
    return current(this.#kept.vapid, this.#now());
  }

  /** All pairs that devices may have subscribed with. */
  get pairs(): VapidKeys[] {
    return withoutOld(this.#kept.vapid, pushesKeptMs, this.#now());
  }

  /** Reads them again: somebody may have rotated them. What cannot be read leaves them as they are. @throws DatabaseError */
  async refresh(): Promise<void> {
    this.#kept = (await this.#read()) ?? this.#kept;
  }
}

/**
 * The keys of this server, made at its first start; of two nodes that start at once both have the same.
 *
 * @throws DatabaseError when there are some that may not be used
 */
export async function openSecrets(where: Where, { db, now }: { db: Database; now: () => number }): Promise<Secrets> {
  const read = where.database === 'sqlite' ? async () => readFile(where.data) : () => db.read(readTable);
  const kept = (await read()) ?? (await db.write([], (q) => takeOver(q, where, now())));
  if (where.database === 'sqlite') await emptyTable(db);
  return new Secrets(kept, { read, now });
}

/** New ones, or what was in the table of an earlier version. */
async function takeOver(q: Query, { database, data }: Where, now: number): Promise<Kept> {
  const earlier = await readEarlier(q);
  const made = earlier ?? make(now);
  if (database === 'sqlite') writeFile(data, made);
  else {
    await q
      .insertInto('secrets')
      .values({ name: 'kept', value: JSON.stringify(made) })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .execute();
    await q.deleteFrom('secrets').where('name', 'in', earlierNames).execute();
  }
  // Devices of then subscribed with the one pair there was.
  if (earlier) await q.updateTable('push_subscriptions').set({ vapid: earlier.vapid[0]!.publicKey }).where('vapid', 'is', null).execute();
  return database === 'sqlite' ? made : (await readTable(q))!;
}

/** From here on they are in the file alone: what is in the database is in every copy of it. */
async function emptyTable(db: Database): Promise<void> {
  const names = ['kept', ...earlierNames];
  const left = await db.read((q) => q.selectFrom('secrets').select('name').where('name', 'in', names).executeTakeFirst());
  if (left) await db.write([], (q) => q.deleteFrom('secrets').where('name', 'in', names).execute());
}

/** Those of a server that may be running, or not. @throws DatabaseError */
export async function readSecrets(where: Where): Promise<Kept | undefined> {
  const file = where.database === 'sqlite' ? readFile(where.data) : undefined;
  return file ?? besideServer(where, 'read', async (q) => (where.database === 'sqlite' ? undefined : await readTable(q)) ?? (await readEarlier(q)));
}

/** @throws DatabaseError */
export async function writeSecrets(where: Where, kept: Kept): Promise<void> {
  if (where.database === 'sqlite') return writeFile(where.data, kept);
  await besideServer(where, 'write', (q) =>
    q
      .insertInto('secrets')
      .values({ name: 'kept', value: JSON.stringify(kept) })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: JSON.stringify(kept) }))
      .execute(),
  );
}

/** The same with a new key of each kind behind them. @param atOnce  Those of before are good for nothing from now on: somebody else has them. */
export function rotated(kept: Kept, now: number, { atOnce = false }: { atOnce?: boolean } = {}): Kept {
  const next = make(atOnce ? now : now + usedAfterMs);
  if (atOnce) return { ...next, names: kept.names };
  return {
    tickets: [...withoutOld(kept.tickets, ticketsKeptMs, now), ...next.tickets],
    vapid: [...withoutOld(kept.vapid, pushesKeptMs, now), ...next.vapid].slice(-pairsMost),
    names: kept.names,
  };
}

/** Since when the oldest of those in use is used. */
export const ageOf = ({ tickets, vapid }: Kept, now: number): number => now - Math.min(current(tickets, now).from, current(vapid, now).from);

const newKey = (): string => randomBytes(32).toString('base64url');
const bytesOf = (key: string): Buffer => Buffer.from(key, 'base64url');

const make = (from: number): Kept => ({ tickets: [{ from, key: newKey() }], vapid: [{ from, ...makeVapidKeys() }], names: newKey() });

const current = <T extends Dated>(keys: T[], now: number): T => keys.findLast(({ from }) => from <= now) ?? keys[0]!;

/** Without those whose successor has been used for so long. */
const withoutOld = <T extends Dated>(keys: T[], keptMs: number, now: number): T[] =>
  keys.filter((_, index) => keys[index + 1] === undefined || keys[index + 1]!.from + keptMs > now);

// ── Where they are ──────────────────────────────────────────────────────────────────────────────────────────────────

export const secretsFile = (data: string): string => path.join(data, 'secrets.json');

/** @throws DatabaseError when others could have read or written them, or they are damaged: nothing is put in their place */
function readFile(data: string): Kept | undefined {
  const file = secretsFile(data);
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (process.platform !== 'win32' && (stat.mode & 0o077) !== 0)
    throw new DatabaseError(`${file} can be read by other users of this machine: chmod 600, and if somebody may have done so, kith rotate-secrets now.`);
  // Who runs a command as root looks at what belongs to the user of the server.
  const owners = [process.getuid?.(), ...(process.getuid?.() === 0 ? [fs.statSync(data).uid] : [])];
  if (process.getuid && !owners.includes(stat.uid)) throw new DatabaseError(`${file} belongs to another user (${stat.uid}): chown it to the one that runs Kith.`);
  return parse(fs.readFileSync(file, 'utf8'), file);
}

/** Whole or not at all, also in a power cut. */
function writeFile(data: string, kept: Kept): void {
  const file = secretsFile(data);
  const part = `${file}.part`;
  fs.rmSync(part, { force: true });
  const before = fs.statSync(file, { throwIfNoEntry: false }) ?? fs.statSync(data);
  const handle = fs.openSync(part, 'wx', 0o600);
  try {
    fs.writeSync(handle, `${JSON.stringify(kept, undefined, 2)}\n`);
    // As root beside a server of another user: it has to be able to read them.
    if (process.getuid?.() === 0 && before.uid !== 0) fs.fchownSync(handle, before.uid, before.gid);
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
  fs.renameSync(part, file);
  if (process.platform === 'win32') return;
  const folder = fs.openSync(data, 'r');
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}

async function readTable(q: Query): Promise<Kept | undefined> {
  const row = await q.selectFrom('secrets').select('value').where('name', '=', 'kept').executeTakeFirst();
  return row && parse(row.value, 'The table secrets');
}

async function readEarlier(q: Query): Promise<Kept | undefined> {
  const rows = new Map((await q.selectFrom('secrets').select(['name', 'value']).where('name', 'in', earlierNames).execute()).map(({ name, value }) => [name, value]));
  const [vapid, tickets] = [rows.get('vapid'), rows.get('tickets')];
  if (vapid === undefined || tickets === undefined) return undefined;
  return { tickets: [{ from: 0, key: tickets }], vapid: [{ from: 0, ...(JSON.parse(vapid) as VapidKeys) }], names: tickets };
}

/** @throws DatabaseError */
function parse(text: string, where: string): Kept {
  try {
    const { tickets, vapid, names } = JSON.parse(text) as Kept;
    const long = (key: string): boolean => bytesOf(key).length >= 32 && new Set(bytesOf(key)).size > 8;
    const dated = (keys: Dated[]): boolean => keys.length > 0 && keys.every(({ from }) => Number.isSafeInteger(from));
    if (dated(tickets) && dated(vapid) && tickets.every(({ key }) => long(key)) && long(names) && vapid.every(areVapidKeys)) return { tickets, vapid, names };
  } catch {
    // Said below.
  }
  throw new DatabaseError(
    `${where} is not as Kith writes it: a key is missing or too short, or two do not belong together. Bring it back from where you keep it; or move it away, and the next start makes new ones.`,
  );
}
