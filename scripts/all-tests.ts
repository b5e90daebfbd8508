import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { CutOff } from './count-reporter.ts';

// All tests of the folder in which this is started. Where a test has a second try, in CI, so has a file whose process
// ended in its midst, by a signal perhaps: vitest counts that as an error and leaves the rest of the file out. The end
// of the output names it, and with what its process ended.

const vitest = path.resolve(import.meta.dirname, '../node_modules/vitest/vitest.mjs');

let isOver = false;

async function run(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(process.execPath, [vitest, 'run', ...args], { stdio: 'inherit', env: { ...process.env, ...env } });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // Ctrl+C in a terminal reaches all its processes.
    process.on(signal, () => {
      isOver = true;
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-tests-'));
process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
const cutOff = path.join(folder, 'cut-off.json');
let code = await run([], process.env['CI'] ? { CUT_OFF_TO: cutOff } : {});
if (fs.existsSync(cutOff) && !isOver) {
  const { files, failed } = JSON.parse(fs.readFileSync(cutOff, 'utf8')) as CutOff;
  code = (await run(files, { CUT_OFF_FROM: cutOff })) || Math.min(failed, 1);
}
process.exitCode = code;
