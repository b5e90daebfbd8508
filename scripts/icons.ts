import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { launch } from '../e2e/chromium.ts';

/**
 * The mark as pictures, for systems on which the web client is installed: into packages/web/public/icons. Run by hand
 * when the mark changes: `node scripts/icons.ts`.
 */
const folder = path.resolve(import.meta.dirname, '../packages/web/public/icons');
const paper = '#fcf9f5';
const jade = '#1d7053';

/** @param share  Of the edge that the mark takes: systems cut maskable icons down to a circle of 80 %. */
const icon = (size: number, { share, round }: { share: number; round: number }): string => {
  const scale = (size * share) / 30;
  const at = (size - 32 * scale) / 2;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}">
    <rect width="${size}" height="${size}" rx="${size * round}" fill="${paper}"/>
    <g transform="translate(${at} ${at}) scale(${scale})" fill="${jade}"><rect x="10" y="10" width="20" height="20" rx="6" opacity=".42"/><circle cx="12" cy="12" r="10"/></g>
  </svg>`;
};

const icons: Record<string, [size: number, look: { share: number; round: number }]> = {
  'icon-192.png': [192, { share: 0.66, round: 0.22 }],
  'icon-512.png': [512, { share: 0.66, round: 0.22 }],
  'maskable-512.png': [512, { share: 0.5, round: 0 }],
  'apple-touch-180.png': [180, { share: 0.6, round: 0 }],
};

await mkdir(folder, { recursive: true });
const browser = await launch();
const page = await browser.newPage();
for (const [name, [size, look]] of Object.entries(icons)) {
  await page.setViewportSize({ width: size, height: size });
  await page.setContent(`<style>body { margin: 0 }</style>${icon(size, look)}`);
  await writeFile(path.join(folder, name), await page.screenshot({ omitBackground: true }));
}
await browser.close();
