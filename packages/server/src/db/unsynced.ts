import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { DatabaseError } from './db.ts';

// A sync that failed is told of once: the system takes what it could not write for written, and goes on showing it to whoever reads. So nobody knows
// what the disk has, and asking again would prove nothing.

/** Of an error of SQLite: it was a sync that failed. */
const SQLITE_IOERR_FSYNC = 1_034;

export const isUnsynced = (error: unknown): error is Error => error instanceof Error && (error as { errcode?: unknown }).errcode === SQLITE_IOERR_FSYNC;

const noteOf = (file: string): string => `${file}-unsynced`;

/** For the next start: the disk may not have what was copied into the file. Another program that has the file open keeps what SQLite remembers of that. */
export function noteUnsynced(file: string): void {
  try {
    fs.writeFileSync(noteOf(file), '', { mode: 0o600 });
  } catch {
    // Then all is well as long as nobody else has the file open.
  }
}

/**
 * Copies all of the log into a file that may not be on the disk. Alone: only who is finds out anew what is in the log, and forgets what was copied.
 *
 * @throws when that cannot be done
 */
export function settleUnsynced(file: string): void {
  if (!fs.existsSync(noteOf(file))) return;
  const alone = new DatabaseSync(file);
  try {
    alone.exec('pragma locking_mode = exclusive; pragma synchronous = full; begin immediate; commit');
    alone.prepare('pragma wal_checkpoint(truncate)').get();
  } catch (error) {
    throw new DatabaseError(
      `A sync of ${file} had failed, so all of its log is to be copied into it, and that cannot be done while another program has it open, or the disk is full: ${String(error)}. Start again when that is over.`,
      { cause: error },
    );
  } finally {
    alone.close();
  }
  fs.rmSync(noteOf(file));
}
