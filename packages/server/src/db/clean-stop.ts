import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';

// Looking at every page of a database takes a second for every gigabyte or so, and with ten million messages nobody gets in meanwhile. After
// a clean stop it is known how the file was left, all of it looked at before: if it still is exactly that file, by number, length and
// both of its times, then nobody has written to it since, and it is looked at while it serves. Whatever else happened (a crash, a restored
// backup, a copy, another program) it is looked at before. What could have changed a file without its times is the disk that forgets.

/** Milliseconds in which two writes may get the same time from the system. */
const tickMs = 20;

const noteOf = (file: string): string => `${file}-clean`;

/** How a file is at this moment; undefined where there is none, or its log is there as well. */
function stateOf(file: string): string | undefined {
  const stat = fs.statSync(file, { bigint: true, throwIfNoEntry: false });
  if (!stat || fs.existsSync(`${file}-wal`) || fs.existsSync(`${file}-journal`)) return undefined;
  return [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(' ');
}

function syncFolder(file: string): void {
  // Windows has no such thing.
  if (process.platform === 'win32') return;
  const folder = fs.openSync(path.dirname(file), 'r');
  fs.fsyncSync(folder);
  fs.closeSync(folder);
}

/** Notes how a file is left that was looked at and is closed now. */
export async function noteCleanStop(file: string): Promise<void> {
  // Who writes to it from now on does so at another time than we did.
  await new Promise((resolve) => setTimeout(resolve, tickMs));
  const state = stateOf(file);
  if (state === undefined) return;
  const note = fs.openSync(`${noteOf(file)}-new`, 'w', 0o600);
  fs.writeFileSync(note, state);
  fs.fsyncSync(note);
  fs.closeSync(note);
  fs.renameSync(`${noteOf(file)}-new`, noteOf(file));
  syncFolder(file);
}

/** Is this the file that was left at a clean stop? It is asked once: from now on the file is in use, and only another clean stop is one. */
export function takeCleanStop(file: string): boolean {
  let noted: string;
  try {
    noted = fs.readFileSync(noteOf(file), 'utf8');
  } catch {
    return false;
  }
  const is = noted === stateOf(file);
  fs.rmSync(noteOf(file));
  // Durable before the first change: after a power cut a note that came back could meet a file whose times did not.
  syncFolder(file);
  return is;
}

/** A look at every page beside a server that has the file open. */
export interface Look {
  /** What is wrong; undefined: nothing; false: it was not finished. */
  found: Promise<string | undefined | false>;
  /** Gives it up. */
  stop(): Promise<void>;
}

/** In a process of its own, behind all others: it can be ended at any moment, which a thread inside SQLite cannot. */
export function lookAtAll(file: string): Look {
  const child: ChildProcess = spawn(process.execPath, [path.join(import.meta.dirname, 'check-child.ts'), file], { stdio: ['ignore', 'pipe', 'ignore'], env: {} });
  let says = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (says += text));
  const ended = once(child, 'close').then(
    ([code]) => (code === 0 ? undefined : code === 1 ? says.trim() : false),
    () => false as const,
  );
  child.unref();
  return {
    found: ended,
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
