import path from 'node:path';
import type { TestError } from 'vitest';
import type { Reporter, TestModule } from 'vitest/node';

/**
 * Ends the output of a test run with one plain line, `12 passed, 0 failed`, for whoever reads it by program. A file
 * that could not be loaded and an error outside any test count as failed too, and so does each check that failed before:
 * their names, separated by commas, stand in `FAILED_CHECKS`. A test that needed a second try is named, with what
 * became of the first one, so that nobody takes it for sound.
 */
export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    let passed = 0;
    const checks = (process.env.FAILED_CHECKS ?? '').split(',').filter(Boolean);
    let failed = errors.length + checks.length;
    const secondTries: string[] = [];
    for (const module of modules) {
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
    // The other reporter is still writing about what failed.
    process.once('exit', () => {
      if (secondTries.length > 0) process.stdout.write(`\nPassed at the second try only, and so not sound:\n${secondTries.map((name) => `  ${name}\n`).join('')}`);
      if (checks.length > 0) process.stdout.write(`\nNot a test, but failed: ${checks.join(', ')}. See above.\n`);
      process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
    });
  }
}

/** What was wrong, in a line, and where. */
function firstTry({ message, stacks }: TestError): string {
  const [at] = stacks ?? [];
  return `${message.split('\n')[0]}${at ? ` (${path.relative(process.cwd(), at.file)}:${at.line})` : ''}`;
}
