import { execSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

// For the test of what the process that looks at links may do: it tries.

const attempt = (what: () => unknown): string => {
  try {
    what();
    return 'ok';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};
const here = import.meta.dirname;

process.send!({
  passwd: attempt(() => readFileSync('/etc/passwd')),
  repository: attempt(() => readFileSync(join(here, '../config.ts'))),
  write: attempt(() => writeFileSync(join(here, 'written'), '')),
  process: attempt(() => execSync('id')),
  thread: attempt(() => new Worker('', { eval: true })),
  addon: attempt(() => process.dlopen({ exports: {} }, join(here, 'nothing.node'))),
  program: attempt(() => readFileSync(join(here, 'fetch.ts'))),
  secrets: Object.keys(process.env).filter((name) => !/^(?:SystemRoot|NODE_EXTRA_CA_CERTS)$/.test(name)),
});
