import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DatabaseError } from './db.ts';

/** Milliseconds that a copy waits for a lock that somebody holds on the file. */
const busyMs = 10_000;

/** What a database holds, counted: to be compared with what it held elsewhere. */
export interface Inventory {
  users: number;
  conversations: number;
  messages: number;
  /** Files whose bytes must be there, with what they weigh. */
  files: { id: string; size: number }[];
  /** The newest message. Milliseconds since 1970; 0: there is none. */
  newestAt: number;
}

/**
 * Copies a database as it is at one moment, while a server goes on writing to it: one transaction that reads, and a file
 * made anew, without the gaps of the old one, and without the keys of the server. Durable when it returns.
 *
 * @param to  Must not be there.
 * @throws DatabaseError
 */
export function copyDatabase(file: string, to: string): void {
  if (!fs.existsSync(file)) throw new DatabaseError(`There is no database at ${file}.`);
  const db = new DatabaseSync(file, { readOnly: true, timeout: busyMs });
  try {
    db.prepare('vacuum into ?').run(to);
  } catch (error) {
    throw new DatabaseError(`${file} could not be copied: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  } finally {
    db.close();
  }
  withoutKeys(to);
  sync(to);
  sync(path.dirname(to));
}

/** Of a version that still had its keys in the database. */
function withoutKeys(file: string): void {
  const db = new DatabaseSync(file, { timeout: busyMs });
  try {
    if (db.prepare(`select 1 from sqlite_master where name = 'secrets'`).get() && db.prepare('select 1 from secrets').get())
      db.exec('pragma journal_mode = delete; pragma secure_delete = on; delete from secrets');
  } catch (error) {
    throw new DatabaseError(`The keys of the server could not be taken out of ${file}: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  } finally {
    db.close();
  }
}

/**
 * Reads a database that nobody writes to, whole: every page, every index, every count.
 *
 * @throws DatabaseError when a page is damaged or a table is missing
 */
export function takeInventory(file: string): Inventory {
  if (!fs.existsSync(file)) throw new DatabaseError(`There is no database at ${file}.`);
  const db = new DatabaseSync(file, { readOnly: true, timeout: busyMs });
  try {
    const checked = db.prepare('pragma integrity_check(1)').get() as { integrity_check: string };
    if (checked.integrity_check !== 'ok') throw new DatabaseError(`${file} is damaged (${checked.integrity_check.replaceAll('\n', ' ')}).`);
    const count = (table: string): number => (db.prepare(`select count(*) as n from ${table}`).get() as { n: number }).n;
    return {
      users: count('users'),
      conversations: count('conversations'),
      messages: count('messages'),
      files: db.prepare(`select id, size from files where state in ('stored', 'committed') order by id`).all() as { id: string; size: number }[],
      newestAt: (db.prepare('select coalesce(max(at), 0) as at from messages').get() as { at: number }).at,
    };
  } catch (error) {
    if (error instanceof DatabaseError) throw error;
    throw new DatabaseError(`${file} is no database of Kith, or damaged: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  } finally {
    db.close();
  }
}

function sync(file: string): void {
  const handle = fs.openSync(file, 'r');
  try {
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}
