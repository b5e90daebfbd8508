import { expect, test } from 'vitest';
import { barsOf, barsShown, resample, wavePath } from './wave-bars.ts';

test('[VO40] what was heard becomes bars in its order, the loudest the highest, and silence flat', () => {
  const rising = barsOf(
    Array.from({ length: 1_000 }, (_, n) => n / 5_000),
    64,
  );
  expect(rising).toHaveLength(64);
  expect([...rising].sort((a, b) => a - b)).toEqual(rising);
  expect(rising.at(-1)).toBe(31);
  // A moment that is loud among many that are not is seen.
  expect(Math.max(...barsOf([...Array.from({ length: 999 }, () => 0.01), 0.5], 64))).toBe(31);
  // However quiet the microphone, the form of what was said is there; noise below it is nothing.
  expect(barsOf([0.005, 0.02, 0.005], 64)).toEqual([16, 31, 16]);
  expect(barsOf([0, 0.001, 0], 64)).toEqual([0, 0, 0]);
  expect(barsOf([], 64)).toEqual([0]);
});

test('[VO40] bars are drawn as many as fit, and none is left out that stands out', () => {
  expect(resample([1, 2, 3, 4], 2)).toEqual([2, 4]);
  expect(resample([5], 3)).toEqual([5, 5, 5]);
  expect(resample([], 2)).toEqual([0, 0]);
  const drawn = wavePath(Array.from({ length: 64 }, (_, n) => (n === 41 ? 31 : 0)));
  const heights = [...drawn.matchAll(/v([\d.]+)/g)].map((match) => Number(match[1]));
  expect(heights).toHaveLength(barsShown);
  expect(heights.filter((height) => height > 2)).toEqual([17.5]);
  expect(heights.indexOf(17.5)).toBe(20);
});
