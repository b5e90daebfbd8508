import { expect, test } from 'vitest';
import { boxOf, shownFile, shownLocal } from './shown-file.ts';

test('[MD1] the room of a picture keeps its ratio within 340 by 420 pixels, and is at least 120 each way', () => {
  const boxes = [
    [4000, 3000],
    [3000, 4000],
    [200, 200],
    [10_000, 500],
    [500, 10_000],
    [16, 16],
  ].map(([width, height]) => boxOf({ width, height }));
  expect(boxes).toEqual([
    { width: 340, height: 255 },
    { width: 315, height: 420 },
    { width: 200, height: 200 },
    { width: 340, height: 120 },
    { width: 120, height: 420 },
    { width: 120, height: 120 },
  ]);
  expect(boxOf({})).toEqual({ width: 340, height: 212.5 });
});

test('[MD2] what a bubble makes of a file follows from how it was sent and what it is', () => {
  const file = { id: 'a', name: 'tea & cake?.png', size: 3, type: 'image/png', preview: 'AAAA' };
  expect(shownFile('image', file)).toMatchObject({
    kind: 'picture',
    url: '/files/a/tea%20%26%20cake%3F.png',
    small: '/files/a/tea%20%26%20cake%3F.png?size=small',
    preview: 'data:image/webp;base64,AAAA',
  });
  const kinds = (['file', 'voice'] as const).map((as) => ['image/png', 'video/mp4', 'audio/mpeg', 'application/pdf'].map((type) => shownFile(as, { ...file, type }).kind));
  expect(kinds).toEqual([
    ['file', 'video', 'sound', 'file'],
    ['voice', 'voice', 'voice', 'voice'],
  ]);
  expect(shownFile('file', { ...file, type: 'video/mp4', preview: undefined })).not.toHaveProperty('small');
  expect(shownLocal('image', { ...file, url: 'blob:1' })).toMatchObject({ kind: 'picture', url: 'blob:1', small: 'blob:1', large: 'blob:1' });
  expect(shownLocal('file', { ...file, type: 'video/mp4', url: 'blob:1', poster: 'blob:2' })).toMatchObject({ kind: 'video', small: 'blob:2' });
});
