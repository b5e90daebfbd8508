import { describe, expect, test } from 'vitest';
import { tryMistake } from '../packages/server/test/mutations.ts';
import { planted } from './planted.ts';

// Servers with a mistake in them, which what everybody saw has to give away.

describe.skipIf(process.platform === 'win32')('planted mistakes', () => {
  for (const { mistake, changes, check, says } of planted) {
    const missing = 'nemesis' in check ? check.missing?.() : undefined;
    if (missing !== undefined) console.warn(`NOT RUN: ${mistake} needs ${missing}`);
    test.skipIf(missing !== undefined)(`[R10] what everybody saw gives away ${mistake}`, async () => {
      const { exit, said } = await tryMistake({ changes, check });
      expect(said).toMatch(says);
      expect(exit).toBe(1);
    });
  }
});
