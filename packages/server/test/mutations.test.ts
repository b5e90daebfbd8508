import { describe, expect, test } from 'vitest';
import { tryMistake } from './mutations.ts';
import { planted } from './planted.ts';

// The load ends with a signal that Windows does not have.
describe.skipIf(process.platform === 'win32')('planted mistakes', () => {
  test.each(planted)('[R10] the checks notice $mistake', { timeout: 120_000 }, async (mistake) => {
    const { exit, said } = await tryMistake(mistake);
    expect(said).toMatch(mistake.says);
    expect(exit).toBe(1);
  });
});
