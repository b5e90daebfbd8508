import type { Reporter, TestModule } from 'vitest/node';

/**
 * Ends the output of a test run with one plain line, `12 passed, 0 failed`, for whoever reads it by program. A file
 * that could not be loaded and an error outside any test count as failed too, and so does each check that failed before:
 * their names, separated by commas, stand in `FAILED_CHECKS`.
 */
export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    let passed = 0;
    const checks = (process.env.FAILED_CHECKS ?? '').split(',').filter(Boolean);
    let failed = errors.length + checks.length;
    for (const module of modules) {
      if (module.errors().length > 0) failed++;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        if (state === 'failed') failed++;
      }
    }
    // The other reporter is still writing about what failed.
    process.once('exit', () => {
      if (checks.length > 0) process.stdout.write(`\nNot a test, but failed: ${checks.join(', ')}. See above.\n`);
      process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
    });
  }
}
