import { describe, expect, test } from 'vitest';
import { tryMistake } from './mutations.ts';
import { planted } from './planted.ts';

// Servers with a mistake in them, which a test of ours, or what everybody saw, has to give away. The load ends with a signal that
// Windows does not have.

describe.skipIf(process.platform === 'win32')('planted mistakes', () => {
  for (const { mistake, changes, check, says } of planted) {
    const missing = 'nemesis' in check ? check.missing?.() : undefined;
    if (missing !== undefined) console.warn(`NOT RUN: ${mistake} needs ${missing}`);
    const by = 'nemesis' in check ? 'what everybody saw gives away' : `[${check.name.split('.')[0]}] gives away`;
    test.skipIf(missing !== undefined)(`[R10] ${by} ${mistake}`, async () => {
      const { exit, said } = await tryMistake({ changes, check, says });
      expect(said).toMatch(says);
      expect(exit).toBe(1);
    });
  }
});
