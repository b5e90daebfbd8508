import { expect, test } from 'vitest';
import { changed, sideOf, wholeOf, zoomMost } from './crop.ts';

const picture = { width: 400, height: 200 };

test('[AV1] a picture is cropped from its middle, as large as it goes', () => {
  expect(wholeOf(picture)).toEqual({ x: 200, y: 100, zoom: 1 });
  expect(sideOf(picture, wholeOf(picture))).toBe(200);
});

test('[AV1] it is moved and made larger up to its edges, and no further', () => {
  const whole = wholeOf(picture);
  expect(changed(picture, whole, { x: 50, y: 50 })).toEqual({ x: 250, y: 100, zoom: 1 });
  expect(changed(picture, whole, { x: -1_000 })).toEqual({ x: 100, y: 100, zoom: 1 });
  const near = changed(picture, whole, { times: 4 });
  expect([near, sideOf(picture, near)]).toEqual([{ x: 200, y: 100, zoom: 4 }, 50]);
  expect(changed(picture, near, { x: 1_000, y: -1_000 })).toEqual({ x: 375, y: 25, zoom: 4 });
  // Smaller again in a corner, it comes back inside.
  expect(changed(picture, { x: 375, y: 25, zoom: 4 }, { times: 0.001 })).toEqual({ x: 300, y: 100, zoom: 1 });
  expect(changed(picture, whole, { times: 1_000 }).zoom).toBe(zoomMost);
});
