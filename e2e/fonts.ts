import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import decompress from 'woff2-encoder/decompress';
import { makeAtOnce } from './unpack.ts';

const modules = path.resolve(import.meta.dirname, '../node_modules');

/** Chinese, Japanese and Latin letters in all weights, and emoji in colour. Together 5 MB. */
const packages = ['@fontsource-variable/noto-sans-sc', 'twemoji-colr-font'];

/**
 * Makes the fonts of our development dependencies known to a browser on Linux; machines that build and test mostly have
 * none for Chinese or emoji, and pictures would show boxes. They come as web fonts (woff2), which Chromium takes from a
 * page but not from the system, so they are unpacked to plain ones once (0.3 s, 9 MB).
 *
 * @returns a configuration for `FONTCONFIG_FILE`
 */
export async function prepareFonts(): Promise<string> {
  const versions = packages.map((name) => (JSON.parse(fs.readFileSync(path.join(modules, name, 'package.json'), 'utf8')) as { version: string }).version);
  const folder = path.join(modules, '.cache', `fonts-${versions.join('-')}`);
  const configuration = path.join(folder, 'fonts.conf');
  if (fs.existsSync(folder)) return configuration;
  await makeAtOnce(folder, async (unfinished) => {
    for (const file of packages.flatMap(webFontsOf)) {
      fs.writeFileSync(path.join(unfinished, `${path.basename(file, '.woff2')}.ttf`), await decompress(fs.readFileSync(file)));
    }
    fs.writeFileSync(path.join(unfinished, 'fonts.conf'), configurationOf(folder));
  });
  return configuration;
}

function webFontsOf(name: string): string[] {
  const home = path.join(modules, name);
  const files = fs.readdirSync(home, { recursive: true, encoding: 'utf8' });
  return files.filter((file) => file.endsWith('.woff2')).map((file) => path.join(home, file));
}

/** Ours are asked first; for what they lack, and for monospace, those of the machine. */
function configurationOf(folder: string): string {
  // "Thin" is what the variable font calls itself; the weight follows from the style sheet.
  const prefer = (generic: string) => `<alias><family>${generic}</family><prefer><family>Noto Sans SC Thin</family><family>Twemoji Mozilla</family></prefer></alias>`;
  return [
    '<?xml version="1.0"?>',
    '<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">',
    '<fontconfig>',
    `<dir>${folder}</dir>`,
    '<dir>/usr/share/fonts</dir>',
    `<cachedir>${path.join(os.tmpdir(), 'kith-fontconfig')}</cachedir>`,
    ...['sans-serif', 'serif', 'system-ui', 'ui-sans-serif'].map(prefer),
    '<alias><family>emoji</family><prefer><family>Twemoji Mozilla</family></prefer></alias>',
    '<alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family><family>Noto Sans SC Thin</family></prefer></alias>',
    '<match><edit name="family" mode="append_last"><string>Noto Sans SC Thin</string></edit></match>',
    '</fontconfig>',
    '',
  ].join('\n');
}
