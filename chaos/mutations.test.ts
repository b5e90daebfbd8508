import { describe, expect, onTestFinished, test } from 'vitest';
import { copyRepository, plant, run } from '../packages/server/test/mutations.ts';
import { planted } from './planted.ts';

// Servers with a mistake in them, which what everybody saw has to give away.

describe.skipIf(process.platform === 'win32')('planted mistakes', () => {
  for (const { mistake, changes, check, says } of planted) {
    const missing = 'nemesis' in check ? check.missing?.() : undefined;
    if (missing !== undefined) console.warn(`NOT RUN: ${mistake} needs ${missing}`);
    test.skipIf(missing !== undefined)(`[R10] what everybody saw gives away ${mistake}`, async () => {
      const { folder, remove } = copyRepository();
      onTestFinished(remove);
      plant(folder, { changes });
      const child = run(folder, check);
      onTestFinished(() => child.kill());
      const exit = await child.ended;
      const { out, err } = child.output();
      expect(`${out.join('\n')}\n${err}`).toMatch(says);
      expect(exit).toBe(1);
    });
  }
});
