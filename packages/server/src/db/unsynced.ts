import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { DatabaseError } from './db.ts';
import { rewriteLog } from './log-sync.ts';

// After a sync of the file that failed; see sqlite-errors.ts.

/** Milliseconds that others get to let go of the file. */
const patientMs = 2_000;

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
  const alone = new DatabaseSync(file, { timeout: patientMs });
  try {
    alone.exec('pragma locking_mode = exclusive; pragma synchronous = full; begin immediate; commit');
    // The sync may have been that of the log, before anything of it was copied.
    rewriteLog(file);
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
