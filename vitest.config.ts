import { availableParallelism } from 'node:os';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vitest/config';
import { CountReporter } from './scripts/count-reporter.ts';

export default defineConfig({
  test: {
    globalSetup: ['packages/server/test/global-setup.ts'],
    reporters: ['default', new CountReporter()],
    // Test files run in processes, not threads: servers under test start threads and children of their own.
    pool: 'forks',
    // Conditions are waited for, and machines differ: only what never comes is a failure.
    expect: { poll: { timeout: 15_000 } },
    // In CI a test has a second try, and the end of the output names those that needed it and why; whoever works on one sees
    // it fail at once.
    retry: process.env['CI'] ? 1 : 0,
    maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
    projects: [
      { extends: true, test: { name: 'unit', include: ['packages/{protocol,client,server}/**/*.test.ts', 'scripts/**/*.test.ts'], testTimeout: 20_000, hookTimeout: 60_000 } },
      { extends: true, plugins: [vue()], test: { name: 'web', include: ['packages/web/**/*.test.ts'], testTimeout: 20_000 } },
      { extends: true, test: { name: 'examples', include: ['examples/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000 } },
      // Servers that are broken on purpose mostly wait, and are no neighbours for a browser.
      { extends: true, test: { name: 'chaos', include: ['chaos/**/*.test.ts'], testTimeout: 180_000, hookTimeout: 60_000, sequence: { groupOrder: 2 } } },
      // A browser and its server keep one core busy, so two files at a time, and after the quick projects.
      { extends: true, test: { name: 'browser', include: ['e2e/**/*.test.ts'], testTimeout: 120_000, hookTimeout: 120_000, sequence: { groupOrder: 1 } } },
      // Two servers are compared in the same seconds, so nobody else may be at it: last, and alone.
      {
        extends: true,
        test: { name: 'bench', include: ['bench/**/*.test.ts'], testTimeout: 180_000, hookTimeout: 60_000, fileParallelism: false, sequence: { groupOrder: 3 } },
      },
    ],
  },
});
