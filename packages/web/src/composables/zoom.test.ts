import { expect, test } from 'vitest';
import { fit, fitted, mostScale, panned, zoomed } from './zoom.ts';

const stage = { width: 1_000, height: 600 };

test('[MD10] a picture fits its stage and is not blown up; what one zooms at stays where it is; no edge is drawn into the stage', () => {
  expect(fit({ width: 4_000, height: 3_000 }, stage)).toEqual({ width: 800, height: 600 });
  expect(fit({ width: 200, height: 100 }, stage)).toEqual({ width: 200, height: 100 });
  const size = { width: 800, height: 600 };
  const at = { x: 100, y: -50 };
  const twice = zoomed(fitted, 2, at, size, stage);
  expect(twice).toEqual({ scale: 2, x: -100, y: 50 });
  // The point of the picture that was there is there still.
  expect([(at.x - twice.x) / twice.scale, (at.y - twice.y) / twice.scale]).toEqual([at.x, at.y]);
  expect(panned(twice, 5_000, -5_000, size, stage)).toEqual({ scale: 2, x: 300, y: -300 });
  expect(zoomed(twice, 0.1, at, size, stage)).toMatchObject({ scale: 1 });
  expect(Math.abs(zoomed(twice, 1, at, size, stage).x) + Math.abs(zoomed(twice, 1, at, size, stage).y)).toBe(0);
  expect(zoomed(fitted, 100, at, size, stage).scale).toBe(mostScale);
  // Narrower than the stage, it stays in the middle.
  expect(zoomed(fitted, 2, at, { width: 300, height: 600 }, stage).x + 0).toBe(0);
});
