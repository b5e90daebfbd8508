import fs from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { began } from './helper.ts';

// The thread that waits for the disk while another one goes on; see log-sync.ts.

const port = parentPort!;
port.postMessage(began);
port.on('message', (asked: { sync: number } | 'close') => {
  if (asked === 'close') return port.close();
  let failed: string | undefined;
  try {
    fs.fdatasyncSync(asked.sync);
  } catch (error) {
    failed = error instanceof Error ? error.message : String(error);
  }
  port.postMessage(failed);
});
