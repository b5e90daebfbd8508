import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launch } from './chromium.ts';

let browser: Browser;
beforeAll(async () => void (browser = await launch()));
afterAll(() => browser?.close());

test('[BR1] Chinese is drawn with its own letters, not with boxes', async () => {
  const [you, hello, missing, another] = await Promise.all(['你', '好', '\u{10FFFD}', '\u{10FFFE}'].map(picture));
  expect(missing).toEqual(another);
  expect(you).not.toEqual(missing);
  expect(you).not.toEqual(hello);
});

test('[BR2] emoji are drawn in colour', async () => {
  const pixels = await picture('😀');
  const coloured = pixels.filter((value, at) => at % 4 === 0 && Math.abs(value - (pixels[at + 2] ?? 0)) > 50);
  expect(coloured.length).toBeGreaterThan(100);
});

/** Red, green, blue and opacity of each point of one letter. */
async function picture(letter: string): Promise<number[]> {
  const page = await browser.newPage();
  const pixels = await page.evaluate((text) => {
    const context = document.createElement('canvas').getContext('2d')!;
    context.font = '40px sans-serif';
    context.fillText(text, 4, 44);
    return [...context.getImageData(0, 0, 56, 56).data];
  }, letter);
  await page.close();
  return pixels;
}
