import fs from 'node:fs';
import path from 'node:path';
import type { TestError } from 'vitest';
import type { Reporter, TestModule } from 'vitest/node';

/** What a run leaves to the one that runs the rest; see all-tests.ts. */
export interface CutOff {
  /** Test files whose process ended in their midst. */
  files: string[];
  /** Without those files. */
  passed: number;
  failed: number;
  /** Tests and files that needed a second try, each with what became of the first one. */
  secondTries: string[];
}

/**
 * Ends the output of a test run with one plain line, `12 passed, 0 failed`, for whoever reads it by program. A file
 * that could not be loaded and an error outside any test count as failed too, and so does each check that failed before:
 * their names, separated by commas, stand in `FAILED_CHECKS`. A test that needed a second try is named, with what
 * became of the first one, so that nobody takes it for sound.
 *
 * Where `CUT_OFF_TO` names a file and the process of a test file has ended in its midst, nothing is said here: all is
 * written to that file, and the run that is told of it by `CUT_OFF_FROM` says it.
 */
export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const { CUT_OFF_TO: to, CUT_OFF_FROM: from, FAILED_CHECKS: checks = '' } = process.env;
    const failedChecks = checks.split(',').filter(Boolean);
    const cutOff = to === undefined ? [] : errors.flatMap((error) => cutOffIn(error) ?? []);
    const files = new Set(cutOff.flatMap((one) => one.files));
    const earlier: CutOff = from === undefined ? { files: [], passed: 0, failed: failedChecks.length, secondTries: [] } : (JSON.parse(fs.readFileSync(from, 'utf8')) as CutOff);
    let { passed, failed } = earlier;
    const secondTries = [...earlier.secondTries];
    failed += errors.length - cutOff.length;
    for (const module of modules) {
      if (files.has(module.moduleId)) continue;
      if (module.errors().length > 0) failed++;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) failed++;
      for (const test of module.children.allTests()) {
        const result = test.result();
        const { state } = result;
        if (state === 'passed') passed++;
        if (state === 'failed') failed++;
        if (test.diagnostic()?.flaky) secondTries.push(`${module.relativeModuleId}: ${test.fullName}`, ...(result.errors ?? []).map((error) => `    ${firstTry(error)}`));
      }
    }
    if (files.size > 0) {
      secondTries.push(...cutOff.flatMap((one) => [...one.files.map((file) => path.relative(process.cwd(), file)), `    ${one.why}`]));
      fs.writeFileSync(to!, JSON.stringify({ files: [...files], passed, failed, secondTries } satisfies CutOff));
      return;
    }
    // The other reporter is still writing about what failed.
    process.once('exit', () => {
      if (secondTries.length > 0) process.stdout.write(`\nNeeded a second try, and so not sound:\n${secondTries.map((name) => `  ${name}\n`).join('')}`);
      if (failedChecks.length > 0) process.stdout.write(`\nNot a test, but failed: ${failedChecks.join(', ')}. See above.\n`);
      process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
    });
  }
}

/** Of an error that vitest's pool reports: which files a process was at when it ended. */
function cutOffIn(error: unknown): { files: string[]; why: string } | undefined {
  const { message } = ((error as { cause?: unknown } | undefined)?.cause ?? error) as { message?: string };
  const [, why, files] = /^Worker (exited unexpectedly .*?) during \w+ state while running test files? (.+)$/.exec(message ?? '') ?? [];
  return files === undefined ? undefined : { files: files.split(', '), why: `its process ${why!}` };
}

/** What was wrong, in a line, and where. */
function firstTry({ message, stacks }: TestError): string {
  const [at] = stacks ?? [];
  return `${message.split('\n')[0]}${at ? ` (${path.relative(process.cwd(), at.file)}:${at.line})` : ''}`;
}
