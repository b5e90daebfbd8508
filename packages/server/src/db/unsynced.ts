import fs from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { DatabaseError } from './db.ts';

// A sync that failed is told of once: the system takes what it could not write for written, and goes on showing it to whoever reads. So nobody knows
// what the disk has, and asking again would prove nothing.

/** Of an error of SQLite: it was a sync that failed. */
const SQLITE_IOERR_FSYNC = 1_034;

export const isUnsynced = (error: unknown): error is Error => error instanceof Error && (error as { errcode?: unknown }).errcode === SQLITE_IOERR_FSYNC;

const noteOf = (file: string): string => `${file}-unsynced`;

/** For the next start: the log may not be on the disk. */
export function noteUnsynced(file: string): void {
  try {
    fs.writeFileSync(noteOf(file), '', { mode: 0o600 });
  } catch {
    // On a disk that takes nothing any more there is no next start before what the system still shows is gone.
  }
}

/**
 * What was written behind a part of the log that is not on the disk would be lost with it at a power cut, however well it was synced itself. So all of the log is
 * written once more, into the file, and begun anew. Before anything else is written.
 *
 * @throws when that cannot be done
 */
export function settleUnsynced(file: string, writer: DatabaseSync): void {
  if (!fs.existsSync(noteOf(file))) return;
  const { busy } = writer.prepare('pragma wal_checkpoint(truncate)').get() as { busy: number };
  if (busy !== 0)
    throw new DatabaseError(`${file} is held by another program, a backup perhaps, and its log has to be copied into it after a sync that failed. Start again when that is done.`);
  fs.rmSync(noteOf(file));
}
