import { createHash } from 'node:crypto';
import path from 'node:path';
import type { Blobs } from './blobs/blobs.ts';
import { openBlobs } from './blobs/open.ts';
import { type CommandLine, type Config, ConfigError } from './config.ts';
import { madeOf } from './core/files.ts';
import { readSecrets, writeSecrets } from './core/secrets.ts';
import { type Row, type Side, type Source, Sum, type Table, type Target, keyOf, textOf } from './db/copy.ts';
import { DatabaseError, movedWords } from './db/db.ts';
import { openSource, openTarget } from './db/open.ts';
import { openLog } from './log.ts';
import { openMetrics } from './metrics.ts';

// `kith migrate`: everything from one database to the other, in three steps. A first round copies row by row while the server goes on, and
// remembers how far it has come; later rounds compare every row and bring over what is different; for the last one nobody may write. When it
// finds both sides equal, the source is closed for good, and only then may a server start on the target: never do two of them take what
// people write. Killed at any point, the same command goes on, and the source is as it was.

/** Rows taken up at once. */
const pageRows = 1_000;
/** Files copied at once. */
const filesAtOnce = 8;
/** Milliseconds of writing meanwhile that are worth another round before people have to wait for it. */
const roundMs = 10_000;
const roundsMost = 5;
/** Rounds for which nobody can write. Two do: a row that could not come in the first, because another one still had its unique name, comes in the second. */
const heldRoundsMost = 4;
/** Milliseconds between two lines about one table. */
const sayMs = 5_000;

type Say = (line: string) => void;
type Files = Pick<Config, 'data' | 'uploadReserve' | 's3Endpoint' | 's3Bucket' | 's3Region' | 's3AccessKey' | 's3SecretKey'>;

interface End {
  database: string;
  /** Of SQLite. */
  data: string;
  files: Files;
}

export interface Ends {
  from: End;
  to: End;
}

/**
 * What is meant by --from and --to. One that is not given is the PostgreSQL of the settings, because a URL on the command line shows its
 * password to everybody on the machine. PostgreSQL has its files where the settings say, SQLite in its own folder.
 *
 * @throws ConfigError
 */
export function endsOf({ from, to, config }: Pick<CommandLine, 'from' | 'to' | 'config'>): Ends {
  const { s3Endpoint: _endpoint, ...noS3 } = config;
  const end = (given: string | undefined): End | undefined => {
    const at = given ?? (config.database === 'sqlite' ? undefined : config.database);
    if (at === undefined) return undefined;
    if (/^postgres(ql)?:\/\//.test(at)) return { database: at, data: config.data, files: { ...config, uploadReserve: 0 } };
    const data = path.resolve(at);
    return { database: 'sqlite', data, files: { ...noS3, s3Endpoint: undefined, data, uploadReserve: 0 } };
  };
  const ends = { from: end(from), to: end(to) };
  if (!ends.from || !ends.to || (from === undefined && to === undefined))
    throw new ConfigError(['From where to where? kith migrate --from ./data --to postgres://…, or back. KITH_DATABASE can stand for the URL.']);
  if (ends.from.database === 'sqlite' ? ends.to.database === 'sqlite' : ends.to.database !== 'sqlite')
    throw new ConfigError(['One of --from and --to must be a data directory, and the other a postgres:// URL.']);
  return { from: ends.from, to: ends.to };
}

/** Copies while the server goes on, and leaves it at that. */
export async function prepareAll(ends: Ends, say: Say): Promise<boolean> {
  const copy = await openCopy(ends, say);
  try {
    await copy.live();
    say('Copied, as far as it was there. kith migrate does the rest.');
    return true;
  } finally {
    await copy.close();
  }
}

/** @returns false: bytes of files are missing */
export async function migrateAll(ends: Ends, say: Say): Promise<boolean> {
  const copy = await openCopy(ends, say);
  try {
    await copy.live();
    return await copy.finish();
  } finally {
    await copy.close();
  }
}

/** Compares all rows and all bytes of both, changing nothing. @returns whether they are equal */
export async function verifyAll(ends: Ends, say: Say): Promise<boolean> {
  const sides: Side[] = [];
  try {
    for (const end of [ends.from, ends.to]) sides.push(await openSource(end));
    const [from, to] = sides as [Side, Side];
    const tables = await tablesOf(from, to);
    let equal = true;
    for (const table of tables) {
      const [a, b] = await Promise.all([sumOf(from, table, say), sumOf(to, table, say)]);
      const same = a.rows === b.rows && a.hex === b.hex;
      say(`${same ? '✓' : '✗'} ${inWords(table, a)}${same ? '' : `, but ${b.rows.toLocaleString('en')} rows ${b.hex.slice(0, 16)} in ${to.name}`}`);
      equal &&= same;
    }
    const blobs = await blobsOf(ends);
    const bad: string[] = [];
    for await (const { id, sha256 } of filesOf(from, tables)) if ((await hashOf(blobs.to, id)) !== sha256) bad.push(id);
    if (bad.length > 0) say(`✗ the bytes of ${bad.length} files are missing or others: ${bad.slice(0, 5).join(', ')}`);
    equal &&= bad.length === 0;
    const [ours, theirs] = await Promise.all([readSecrets(ends.from), readSecrets(ends.to)]);
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) {
      say('✗ the keys of the server are others');
      equal = false;
    }
    say(equal ? 'Equal.' : 'Not equal.');
    return equal;
  } finally {
    for (const side of sides) await side.close();
  }
}

async function openCopy(ends: Ends, say: Say): Promise<Copy> {
  const from = await openSource(ends.from);
  try {
    const to = await openTarget(ends.to, from.name);
    try {
      const moved = await from.movedTo();
      if (moved !== undefined && moved !== to.name) throw new DatabaseError(movedWords(moved));
      return new Copy({ from, to, tables: await tablesOf(from, to), blobs: await blobsOf(ends), keys: () => carryKeys(ends), say });
    } catch (error) {
      await to.close();
      throw error;
    }
  } catch (error) {
    await from.close();
    throw error;
  }
}

interface Stores {
  from: Blobs;
  to: Blobs;
  /** The files stay where they are. */
  same: boolean;
}

class Copy {
  readonly #from: Source;
  readonly #to: Target;
  readonly #tables: Table[];
  readonly #blobs: Stores;
  readonly #keys: () => Promise<void>;
  readonly #say: Say;
  /** Files whose bytes are there, by what they were read back. */
  readonly #whole = new Set<string>();

  constructor({ from, to, tables, blobs, keys, say }: { from: Source; to: Target; tables: Table[]; blobs: Stores; keys: () => Promise<void>; say: Say }) {
    this.#from = from;
    this.#to = to;
    this.#tables = tables;
    this.#blobs = blobs;
    this.#keys = keys;
    this.#say = say;
  }

  async live(): Promise<void> {
    this.#say(`From ${this.#from.name} to ${this.#to.name}. Everything goes on meanwhile.`);
    // What was copied the last time may be of last week.
    const resumed = (await this.#to.progress(this.#tables[0]!)) !== undefined;
    let began = resumed ? -Infinity : performance.now();
    for (const table of this.#tables) await this.#first(table);
    await this.#files();
    let before = Infinity;
    for (let round = 1; round <= roundsMost && performance.now() - began > roundMs; round += 1) {
      began = performance.now();
      let changed = 0;
      for (const table of this.#tables) changed += (await this.#compare(table)).changed;
      this.#say(`What changed meanwhile: ${changed.toLocaleString('en')} rows, ${await this.#files()} files.`);
      // Under a steady load as much changes in each round as in the last one: another would be for nothing.
      if (changed === 0 || changed > before / 2) return;
      before = changed;
    }
  }

  /** @returns false: bytes of files are missing */
  async finish(): Promise<boolean> {
    const held = await this.#from.hold();
    const began = performance.now();
    this.#say('Reading goes on; who writes is asked to wait.');
    const sums = new Map<Table, Sum>();
    try {
      let left = this.#tables;
      for (let round = 1; left.length > 0; round += 1) {
        if (round > heldRoundsMost) throw new DatabaseError(`${left.map(({ name }) => name).join(', ')} cannot be made equal. The source goes on as before.`);
        const unequal: Table[] = [];
        for (const table of left) {
          const { sum, unequal: rows } = await this.#compare(table);
          sums.set(table, sum);
          if (rows > 0) unequal.push(table);
        }
        left = unequal;
      }
      await this.#files();
      await this.#keys();
    } catch (error) {
      await held.release();
      throw error;
    }
    const missing = await this.#missing();
    await held.leave(this.#to.name);
    const seconds = ((performance.now() - began) / 1_000).toFixed(1);
    await this.#to.finish();
    for (const table of this.#tables) this.#say(`✓ ${inWords(table, sums.get(table)!)}`);
    if (missing.length > 0) this.#say(`✗ the bytes of ${missing.length} files were missing or damaged before: ${missing.slice(0, 5).join(', ')}`);
    this.#say(`Equal, row by row. Nobody could write for ${seconds} s.`);
    this.#say(`Everything is in ${this.#to.name}. ${this.#from.name} takes nothing new; start Kith on what it was moved to.`);
    return missing.length === 0;
  }

  async close(): Promise<void> {
    await this.#from.close();
    await this.#to.close();
  }

  /** What was never copied: without a look at the target, from where the last one was killed. */
  async #first(table: Table): Promise<void> {
    const progress = await this.#to.progress(table);
    if (progress === 'done') return;
    const all = await this.#from.count(table);
    const tell = teller(this.#say);
    let done = 0;
    for await (const rows of pagesOf(this.#from, table, progress)) {
      await this.#to.change(table, { rows, progress: keyOf(table, rows.at(-1)!) });
      done += rows.length;
      tell(() => `${table.name}: ${done.toLocaleString('en')} of ${all.toLocaleString('en')}${progress === undefined ? '' : ', from where it was ended'}`);
    }
    await this.#to.change(table, { progress: 'done' });
  }

  /** @returns unequal: rows that are not the same after all */
  async #compare(table: Table): Promise<{ sum: Sum; changed: number; unequal: number }> {
    const sum = new Sum();
    const tell = teller(this.#say);
    let [changed, unequal] = [0, 0];
    for await (const rows of pagesOf(this.#from, table)) {
      const wrong = await this.#different(table, rows);
      if (wrong.length > 0) {
        await this.#to.change(table, { gone: wrong.map((row) => keyOf(table, row)), rows: wrong });
        changed += wrong.length;
        unequal += (await this.#different(table, wrong)).length;
      }
      for (const row of rows) sum.add(textOf(row));
      tell(() => `${table.name}: ${sum.rows.toLocaleString('en')} compared, ${changed.toLocaleString('en')} brought over`);
    }
    if ((await this.#to.count(table)) > sum.rows) changed += await this.#takeAway(table);
    if ((await this.#to.count(table)) !== sum.rows) unequal += 1;
    return { sum, changed, unequal };
  }

  /** Those of the rows that the target has otherwise, or not at all. */
  async #different(table: Table, rows: Row[]): Promise<Row[]> {
    const found = await this.#to.find(
      table,
      rows.map((row) => keyOf(table, row)),
    );
    const there = new Set(found.map(textOf));
    return rows.filter((row) => !there.has(textOf(row)));
  }

  /** What the source has no longer. */
  async #takeAway(table: Table): Promise<number> {
    let gone = 0;
    for await (const rows of pagesOf(this.#to, table)) {
      const keys = rows.map((row) => keyOf(table, row));
      const there = new Set((await this.#from.find(table, keys)).map((row) => textOf(keyOf(table, row))));
      const extra = keys.filter((key) => !there.has(textOf(key)));
      if (extra.length > 0) await this.#to.change(table, { gone: extra });
      gone += extra.length;
    }
    return gone;
  }

  /** @returns how many files came */
  async #files(): Promise<number> {
    if (this.#blobs.same) return 0;
    const tell = teller(this.#say);
    let came = 0;
    const waiting = new Set<Promise<void>>();
    for await (const file of filesOf(this.#from, this.#tables)) {
      if (this.#whole.has(file.id)) continue;
      while (waiting.size >= filesAtOnce) await Promise.race(waiting);
      const one = copyFile(this.#blobs, file).then((whole) => {
        waiting.delete(one);
        if (!whole) return;
        this.#whole.add(file.id);
        came += 1;
        tell(() => `files: ${came.toLocaleString('en')}`);
      });
      waiting.add(one);
    }
    await Promise.all(waiting);
    return came;
  }

  async #missing(): Promise<string[]> {
    if (this.#blobs.same) return [];
    const ids: string[] = [];
    for await (const { id } of filesOf(this.#from, this.#tables)) if (!this.#whole.has(id)) ids.push(id);
    return ids;
  }
}

/** With SQLite they are in a file and with PostgreSQL in a table: what was sealed and subscribed goes on at the new place. */
async function carryKeys({ from, to }: Ends): Promise<void> {
  const kept = await readSecrets(from);
  if (kept) await writeSecrets(to, kept);
}

/** @returns whether all of it is there */
async function copyFile({ from, to }: Stores, { id, size, sha256 }: FileBytes): Promise<boolean> {
  const there = await to.offset(id);
  if (there === size && (await to.finish(id)).sha256 === sha256) return true;
  // Half of one that was being copied when we were killed.
  if (there > 0) await to.remove(id);
  const source = await from.read(id);
  if (!source) return false;
  await to.append(id, 0, source);
  if ((await to.finish(id)).sha256 === sha256) return true;
  await to.remove(id);
  return false;
}

interface FileBytes {
  id: string;
  size: number;
  sha256: string;
}

/** All bytes that must be there, as the rows of their files say. */
async function* filesOf(side: Side, tables: Table[]): AsyncGenerator<FileBytes> {
  const table = tables.find(({ name }) => name === 'files')!;
  for await (const rows of pagesOf(side, table)) {
    for (const row of rows) {
      const of = Object.fromEntries(table.columns.map((name, index) => [name, row[index]])) as {
        id: string;
        size: number;
        sha256: string | null;
        state: string;
        made: string | null;
      };
      if (of.sha256 === null || of.state === 'reserved' || of.state === 'dropped') continue;
      const made = madeOf(of);
      // What was cleaned stands for the original, which goes.
      if (!made.clean) yield { id: of.id, size: of.size, sha256: of.sha256 };
      for (const [name, bytes] of Object.entries(made)) if (bytes) yield { id: `${of.id}-${name}`, ...bytes };
    }
  }
}

async function* pagesOf(side: Side, table: Table, after?: Row): AsyncGenerator<Row[]> {
  for (let last = after; ;) {
    const rows = await side.page(table, last, pageRows);
    if (rows.length > 0) yield rows;
    if (rows.length < pageRows) return;
    last = keyOf(table, rows.at(-1)!);
  }
}

async function sumOf(side: Side, table: Table, say: Say): Promise<Sum> {
  const sum = new Sum();
  const tell = teller(say);
  for await (const rows of pagesOf(side, table)) {
    for (const row of rows) sum.add(textOf(row));
    tell(() => `${table.name} in ${side.name}: ${sum.rows.toLocaleString('en')} read`);
  }
  return sum;
}

async function hashOf(blobs: Blobs, id: string): Promise<string | undefined> {
  const source = await blobs.read(id);
  if (!source) return undefined;
  const sum = createHash('sha256');
  for await (const chunk of source) sum.update(chunk as Buffer);
  return sum.digest('hex');
}

/** @throws DatabaseError: they are of two versions of this program */
async function tablesOf(from: Side, to: Side): Promise<Table[]> {
  const [ours, theirs] = [await from.migrations(), await to.migrations()];
  if (ours.join() !== theirs.join())
    throw new DatabaseError(`${from.name} and ${to.name} are of two versions of Kith. Start this version on ${from.name} once, so that it is of this one; nothing was changed.`);
  const [tables, others] = [await from.tables(), await to.tables()];
  if (JSON.stringify(tables) !== JSON.stringify(others)) throw new DatabaseError(`${from.name} and ${to.name} have different tables; nothing was changed.`);
  const keyless = tables.find(({ key }) => key.length === 0);
  if (keyless) throw new DatabaseError(`The table ${keyless.name} has no key by which its rows could be told apart.`);
  return tables;
}

async function blobsOf({ from, to }: Ends): Promise<Stores> {
  const place = ({ files }: End): string => (files.s3Endpoint === undefined ? path.join(files.data, 'files') : `${files.s3Endpoint}/${files.s3Bucket ?? ''}`);
  const parts = { log: openLog({ logLevel: 'error' }), metrics: openMetrics({ process: false }) };
  return { from: await openBlobs(from.files, parts), to: await openBlobs(to.files, parts), same: place(from) === place(to) };
}

const inWords = ({ name }: Table, sum: Sum): string => `${name}: ${sum.rows.toLocaleString('en')} rows, ${sum.hex.slice(0, 16)}`;

/** Lines about something that takes its time: not more of them than somebody would read. */
function teller(say: Say): (line: () => string) => void {
  let last = performance.now();
  return (line) => {
    if (performance.now() - last < sayMs) return;
    last = performance.now();
    say(line());
  };
}
