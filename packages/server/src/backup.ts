import fs from 'node:fs';
import path from 'node:path';
import { sql } from 'kysely';
import { copyFiles, listFiles } from './blobs/disk-copy.ts';
import type { Config } from './config.ts';
import { record } from './core/audit.ts';
import { beginEra } from './core/eras.ts';
import { DatabaseError, type Query } from './db/db.ts';
import { besideServer } from './db/open.ts';
import { type Inventory, copyDatabase, takeInventory } from './db/sqlite-copy.ts';

// `kith backup` and `kith restore`: a data directory as it is at one moment, and back. A backup is a data directory
// itself, without what only a running server needs.

export interface Backup extends Omit<Inventory, 'files'> {
  files: number;
  bytes: number;
  /** Files of which nothing is there. */
  missing: string[];
  /** Why the audit log does not know of it. */
  untold?: string;
}

type Where = Pick<Config, 'data' | 'database'>;

/**
 * Copies everything while the server goes on. What was acknowledged before it began is in it. Into a folder of an earlier
 * backup only new files are copied; its database is replaced once the new one is whole.
 *
 * @throws DatabaseError, in words for the operator
 */
export async function backUp(config: Where, to: string): Promise<Backup> {
  requireSqlite(config, 'pg_dump');
  const target = path.resolve(to);
  if (target === config.data || target.startsWith(config.data + path.sep))
    throw new DatabaseError(`A backup inside of the data directory (${target}) would be lost with it. Name another folder.`);
  fs.mkdirSync(target, { recursive: true, mode: 0o700 });
  const [from, files] = [path.join(config.data, 'files'), path.join(target, 'files')];
  // Files before and after the database: before, so that what is recalled meanwhile is there; after, so that what is sent
  // meanwhile is.
  await copyFiles(from, files);
  const part = path.join(target, 'kith.db.part');
  fs.rmSync(part, { force: true });
  copyDatabase(path.join(config.data, 'kith.db'), part);
  await copyFiles(from, files);
  const found = await examine(part, files);
  fs.renameSync(part, path.join(target, 'kith.db'));
  return { ...found, ...(await note(config, 'backup.made', found)) };
}

/**
 * Makes a data directory out of a backup, and looks at all of it first.
 *
 * @throws DatabaseError, in words for the operator; the backup is never changed
 */
export async function restore(config: Where, from: string): Promise<Backup> {
  requireSqlite(config, 'pg_restore');
  const source = path.resolve(from);
  const database = path.join(config.data, 'kith.db');
  if (fs.existsSync(database))
    throw new DatabaseError(`There is a database in ${config.data} already. Move it away first, or name another folder with --data; nothing was changed.`);
  await examine(path.join(source, 'kith.db'), path.join(source, 'files'));
  fs.mkdirSync(config.data, { recursive: true, mode: 0o700 });
  await copyFiles(path.join(source, 'files'), path.join(config.data, 'files'));
  const part = `${database}.part`;
  fs.rmSync(part, { force: true });
  copyDatabase(path.join(source, 'kith.db'), part);
  const found = await examine(part, path.join(config.data, 'files'));
  const restored = { ...config, file: path.basename(part) };
  // One of a version that knew of no eras gets its first with the migration, which is another one than anybody holds.
  await besideServer(restored, 'write', async (q) => ((await hasEras(q)) ? beginEra(q, Date.now()) : undefined));
  const told = await note(restored, 'backup.restored', found);
  // Last of all: killed before, there is no server to be started on half of it.
  fs.renameSync(part, database);
  return { ...found, ...told };
}

/** Reads the database whole and compares what it speaks of with the files. @throws DatabaseError when it is damaged */
export async function examine(database: string, folder: string): Promise<Backup> {
  const { files, ...counts } = takeInventory(database);
  const there = await listFiles(folder);
  const missing = files.filter(({ id }) => !there.has(id) && !there.has(`${id}-clean`)).map(({ id }) => id);
  return { ...counts, files: there.size, bytes: [...there.values()].reduce((sum, size) => sum + size, 0), missing };
}

/** The copy is whole, whether this works or not. */
async function note(where: Where & { file?: string }, event: 'backup.made' | 'backup.restored', { users, messages, files }: Backup): Promise<Pick<Backup, 'untold'>> {
  try {
    await besideServer(where, 'write', (q) => record(q, Date.now(), { event, detail: { users, messages, files } }));
    return {};
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    return { untold: error.message };
  }
}

const hasEras = async (q: Query): Promise<boolean> => (await sql`select 1 from sqlite_master where name = 'eras'`.execute(q)).rows.length > 0;

function requireSqlite({ database }: Where, tool: string): void {
  if (database !== 'sqlite') throw new DatabaseError(`With PostgreSQL, ${tool} does this, and files are copied by any tool: docs/operations.md says in which order.`);
}
