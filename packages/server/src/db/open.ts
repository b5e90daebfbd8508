import type { Config } from '../config.ts';
import path from 'node:path';
import type { Database, Query } from './db.ts';

/** The engine that the configuration names. Only the one in use is loaded. @throws DatabaseError */
export async function openDatabase(config: Pick<Config, 'database' | 'data'>): Promise<Database> {
  if (config.database === 'sqlite') return (await import('./sqlite.ts')).openSqlite(config.data);
  return (await import('./postgres.ts')).openPostgres(config.database);
}

/**
 * Works on a database beside the server that has it, in one transaction: for commands of the operator.
 *
 * @param file  Of SQLite, in the data directory.
 * @throws DatabaseError
 */
export async function besideServer<T>(
  { database, data, file = 'kith.db' }: Pick<Config, 'database' | 'data'> & { file?: string },
  mode: 'read' | 'write',
  work: (q: Query) => Promise<T>,
): Promise<T> {
  if (database === 'sqlite') return (await import('./sqlite.ts')).besideSqlite(path.join(data, file), mode, work);
  const db = await (await import('./postgres.ts')).openPostgres(database);
  try {
    return await (mode === 'read' ? db.read(work) : db.write([], work));
  } finally {
    await db.close();
  }
}
