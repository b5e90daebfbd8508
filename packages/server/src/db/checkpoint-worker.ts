import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { began } from './helper.ts';
import { isUnsynced } from './sqlite-errors.ts';

// The thread that copies the log into the file while another one writes; see checkpoints.ts.

/** What is left is little enough for the thread that writes, or this one will not catch up. */
const littlePages = 400;
const rounds = 4;

const port = parentPort!;
const { path, onDisk } = workerData as { path: string; onDisk: number };
let file: DatabaseSync | undefined;

port.postMessage(began);
port.on('message', (asked: 'copy' | 'close') => {
  if (asked === 'copy') return port.postMessage(copyMost());
  file?.close();
  port.close();
});

/** @returns why nobody knows what the disk has of the file, if that is so */
function copyMost(): string | undefined {
  try {
    const copy = (file ??= open()).prepare('pragma wal_checkpoint(passive)');
    for (let round = 0, left = Infinity; round < rounds && left > littlePages; round++) {
      const { log, checkpointed } = copy.get() as { log: number; checkpointed: number };
      left = log - checkpointed;
    }
  } catch (error) {
    // A full disk, perhaps: the log has all of it, and it is tried again.
    return isUnsynced(error) ? error.message : undefined;
  }
  try {
    // SQLite syncs the file only with the last of the log, for which the thread that writes would have to wait.
    fs.fdatasyncSync(onDisk);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

function open(): DatabaseSync {
  const url = pathToFileURL(path);
  // Where there is none any more, none is made.
  url.search = 'mode=rw';
  const opened = new DatabaseSync(url);
  opened.exec('pragma synchronous = full');
  return opened;
}
