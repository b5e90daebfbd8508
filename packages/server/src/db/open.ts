import type { Config } from '../config.ts';
import type { Database } from './db.ts';

/** The engine that the configuration names. Only the one in use is loaded. @throws DatabaseError */
export async function openDatabase(config: Pick<Config, 'database' | 'data'>): Promise<Database> {
  if (config.database === 'sqlite') return (await import('./sqlite.ts')).openSqlite(config.data);
  return (await import('./postgres.ts')).openPostgres(config.database);
}
