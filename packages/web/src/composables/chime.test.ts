import { expect, test } from 'vitest';
import { chime } from './chime.ts';

test('[NO1] the sound is short and soft, and begins and ends in silence', () => {
  const samples = chime(48_000);
  expect(samples.length / 48_000).toBeCloseTo(0.55);
  const peak = samples.reduce((max, sample) => Math.max(max, Math.abs(sample)), 0);
  expect(peak).toBeGreaterThan(0.1);
  expect(peak).toBeLessThan(0.4);
  expect(samples[0]).toBe(0);
  expect(Math.abs(samples.at(-1)!)).toBeLessThan(0.001);
  const steps = samples.map((sample, index) => Math.abs(sample - (samples[index - 1] ?? 0)));
  expect(steps.reduce((max, step) => Math.max(max, step), 0)).toBeLessThan(0.06);
});
