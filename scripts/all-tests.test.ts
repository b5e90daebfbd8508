import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';

const goingDown = (when: string): string => `
  import fs from 'node:fs';
  import { expect, test } from 'vitest';
  test('one before', () => expect(1).toBe(1));
  test('one that takes its process down', () => {
    if (${when}) process.kill(process.pid, 'SIGSEGV');
    expect(1).toBe(1);
  });`;
const once = `!fs.existsSync('was-here') && (fs.writeFileSync('was-here', ''), true)`;
const sound = `
  import { expect, test } from 'vitest';
  test('a sound one', () => expect(1).toBe(1));`;
const failing = `
  import { expect, test } from 'vitest';
  test('a failing one', () => expect(1).toBe(2));`;

/** Runs test files in a folder of their own, as CI does or as whoever works on one. */
function runTests(files: Record<string, string>, { ci, checks = '' }: { ci: boolean; checks?: string }): { exit: number | null; said: string; lastLine: string } {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'kith-all-tests-')));
  onTestFinished(() => fs.rmSync(folder, { recursive: true, force: true }));
  fs.symlinkSync(path.resolve(import.meta.dirname, '../node_modules'), path.join(folder, 'node_modules'), 'junction');
  const reporter = JSON.stringify(path.join(import.meta.dirname, 'count-reporter.ts'));
  const config = `import { CountReporter } from ${reporter};\nexport default { test: { pool: 'forks', maxWorkers: 1, reporters: ['default', new CountReporter()] } };`;
  for (const [name, text] of Object.entries({ ...files, 'package.json': '{"type":"module"}', 'vitest.config.ts': config })) fs.writeFileSync(path.join(folder, name), text);
  // What this test run told its own workers is not for another run.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:VITEST|TEST$|NODE_ENV$|CI$|CUT_OFF_)/.test(name)));
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(import.meta.dirname, 'all-tests.ts')], {
    cwd: folder,
    env: { ...env, NO_COLOR: '1', FAILED_CHECKS: checks, ...(ci && { CI: 'true' }) },
    encoding: 'utf8',
  });
  return { exit: status, said: stdout + stderr, lastLine: stdout.trimEnd().split('\n').at(-1)! };
}

test('[TR1] in CI a test file whose process ended in its midst is run again, and the end of the output says so', () => {
  const { exit, said, lastLine } = runTests({ 'down.test.js': goingDown(once), 'sound.test.js': sound }, { ci: true });
  expect(said).toContain('not sound:\n  down.test.js\n      its process exited unexpectedly with signal SIGSEGV\n');
  expect({ exit, lastLine }).toEqual({ exit: 0, lastLine: '3 passed, 0 failed' });
});

test('[TR1] one that takes its process down again has failed', () => {
  const { exit, lastLine } = runTests({ 'down.test.js': goingDown('true'), 'sound.test.js': sound }, { ci: true });
  expect(exit).toBe(1);
  expect(lastLine).toMatch(/^\d passed, [1-9] failed$/);
});

test('[TR1] what failed in the first run stays failed, tests and checks', () => {
  const files = { 'down.test.js': goingDown(once), 'failing.test.js': failing };
  expect(runTests(files, { ci: true })).toMatchObject({ exit: 1, lastLine: '2 passed, 1 failed' });
  expect(runTests({ 'down.test.js': goingDown(once) }, { ci: true, checks: 'oxlint' })).toMatchObject({ exit: 1, lastLine: '2 passed, 1 failed' });
});

test('[TR2] whoever works on a test sees its process end at once', () => {
  const { exit, said, lastLine } = runTests({ 'down.test.js': goingDown(once) }, { ci: false });
  expect(said).toContain('signal SIGSEGV');
  expect(exit).toBe(1);
  expect(lastLine).toMatch(/^\d passed, [1-9] failed$/);
});
