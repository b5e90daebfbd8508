import { expect, test } from 'vitest';
import { loopTurn } from '../../test/manual-clock.ts';
import { Slices } from './slices.ts';

/** Work that takes a millisecond. */
function work(): void {
  const began = performance.now();
  while (performance.now() - began < 1);
}

test('what comes at once is done a few milliseconds in each turn of the loop, in the order in which it came', async () => {
  const slices = new Slices();
  const done: number[] = [];
  for (let n = 0; n < 60; n++) slices.do(() => (work(), void done.push(n)));
  expect(done.length).toBeLessThanOrEqual(5);
  let turns = 0;
  for (; slices.size > 0; turns++) {
    const before = done.length;
    await loopTurn();
    expect(done.length - before).toBeLessThanOrEqual(10);
  }
  expect(turns).toBeGreaterThan(5);
  expect(done).toEqual(Array.from({ length: 60 }, (_, n) => n));
});

test('of what brings more with it, less is done in each turn', async () => {
  const slices = new Slices(1);
  let done = 0;
  for (let n = 0; n < 20; n++) slices.do(() => (work(), void done++));
  for (; slices.size > 0;) {
    const before = done;
    await loopTurn();
    expect(done - before).toBeLessThanOrEqual(2);
  }
  expect(done).toBe(20);
});

test('with little to do nothing waits', async () => {
  const slices = new Slices();
  for (let n = 0; n < 10; n++) {
    let done = false;
    slices.do(() => void (done = true));
    expect(done).toBe(true);
    await loopTurn();
  }
});
