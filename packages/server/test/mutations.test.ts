import { describe, expect, onTestFinished, test } from 'vitest';
import { copyRepository, plant, run } from './mutations.ts';
import { planted } from './planted.ts';

// The load ends with a signal that Windows does not have.
describe.skipIf(process.platform === 'win32')('planted mistakes', () => {
  test.each(planted)('[R10] the checks notice $mistake', { timeout: 120_000 }, async ({ changes, check, says }) => {
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
});
