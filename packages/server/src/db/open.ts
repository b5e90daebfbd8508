import type { Config } from '../config.ts';
import path from 'node:path';
import { sql } from 'kysely';
import type { Source, Target } from './copy.ts';
import { type Database, DatabaseError, type Query, type Room, movedWords } from './db.ts';

type Where = Pick<Config, 'database' | 'data'>;

/**
 * The engine that the configuration names. Only the one in use is loaded.
 *
 * @param room  Before each batch: what it waits for, if anything. Only on SQLite.
 * @throws DatabaseError, also when it is an unfinished copy, or everything was moved away from it
 */
export async function openDatabase(config: Where, room?: Room): Promise<Database> {
  const db = await openEngine(config, room);
  try {
    const words = await db.read((q) => whyNot(q, config));
    if (words !== undefined) throw new DatabaseError(words);
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}

async function openEngine(config: Where, room?: Room): Promise<Database> {
  if (config.database === 'sqlite') return (await import('./sqlite.ts')).openSqlite(config.data, { ...(room && { room }) });
  return (await import('./postgres.ts')).openPostgres(config.database);
}

/** Two servers that both take what people write, each of them without the other's, could never be put together again. */
async function whyNot(q: Query, { database, data }: Where): Promise<string | undefined> {
  const tables =
    database === 'sqlite'
      ? sql<{ name: string }>`select name from sqlite_master where name in ('kith_copy', 'kith_moved')`
      : sql<{ name: string }>`select tablename as name from pg_tables where schemaname = current_schema() and tablename in ('kith_copy', 'kith_moved')`;
  const where = database === 'sqlite' ? data : 'This database';
  for (const { name } of (await tables.execute(q)).rows) {
    if (name === 'kith_copy') return `${where} is an unfinished copy. Run the same kith migrate again: it goes on where it was.`;
    const { rows } = await sql<{ to: string }>`select "to" from kith_moved`.execute(q);
    return movedWords(rows[0]?.to ?? 'another place');
  }
  return undefined;
}

/** What everything is copied from. @throws DatabaseError */
export async function openSource({ database, data }: Where): Promise<Source> {
  if (database === 'sqlite') return (await import('./copy-sqlite.ts')).openSqliteSource(data);
  return (await import('./copy-postgres.ts')).openPostgresSource(database);
}

/** What everything is copied to, with the tables of this version. @param from  Name of the source. @throws DatabaseError */
export async function openTarget(config: Where, from: string): Promise<Target> {
  const migrate = async (): Promise<void> => (await openEngine(config)).close();
  if (config.database === 'sqlite') return (await import('./copy-sqlite.ts')).openSqliteTarget(config.data, from, migrate);
  return (await import('./copy-postgres.ts')).openPostgresTarget(config.database, from, migrate);
}

/**
 * Works on a database beside the server that has it, in one transaction: for commands of the operator.
 *
 * @param file  Of SQLite, in the data directory.
 * @throws DatabaseError
 */
export async function besideServer<T>({ database, data, file = 'kith.db' }: Where & { file?: string }, mode: 'read' | 'write', work: (q: Query) => Promise<T>): Promise<T> {
  if (database === 'sqlite') return (await import('./sqlite.ts')).besideSqlite(path.join(data, file), mode, work);
  const db = await (await import('./postgres.ts')).openPostgres(database);
  try {
    return await (mode === 'read' ? db.read(work) : db.write([], work));
  } finally {
    await db.close();
  }
}
