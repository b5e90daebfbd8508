import os from 'node:os';
import { DatabaseSync } from 'node:sqlite';

// Looks at every page of a database file. Ends with 0: nothing is wrong; with 1: what it says is; anything else: it could not look.

/** What SQLite calls a file that is damaged, or none of its own. */
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

function look(file: string): string {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 10_000 });
  try {
    return (db.prepare('pragma quick_check(1)').get() as { quick_check: string }).quick_check;
  } catch (error) {
    const code = (error as { errcode?: number }).errcode ?? 0;
    if ([SQLITE_CORRUPT, SQLITE_NOTADB].includes(code & 0xff)) return (error as Error).message;
    throw error;
  } finally {
    db.close();
  }
}

os.setPriority(os.constants.priority.PRIORITY_LOW);
try {
  const found = look(process.argv[2]!);
  process.exitCode = found === 'ok' ? 0 : 1;
  if (found !== 'ok') process.stdout.write(found.replaceAll('\n', ' '));
} catch {
  process.exitCode = 2;
}
