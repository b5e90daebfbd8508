import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContext, type BrowserContextOptions, type LaunchOptions, chromium } from 'playwright-core';
import { prepareFonts } from './fonts.ts';
import { makeAtOnce } from './unpack.ts';

const args = [
  // The pages are our own, and in containers there is no other way.
  '--no-sandbox',
  '--disable-setuid-sandbox',
  // An address of another machine, for pages that come without TLS from elsewhere (192.0.2.0/24 is nobody's).
  '--host-resolver-rules=MAP 192.0.2.7 127.0.0.1',
  // Containers often have a tiny /dev/shm.
  '--disable-dev-shm-usage',
  // Draw without a graphics card, and without the emulation of one: that takes twice as long.
  '--disable-gpu',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
];

/**
 * Starts a Chromium without asking for root, a package manager or a download: the one that `CHROMIUM_PATH` names, one
 * on PATH, the one that comes from npm (Linux on x64), or an installed Chrome or Edge. On Linux it draws Chinese and
 * emoji with fonts from npm, so that pictures look the same on every machine.
 *
 * @throws when there is none
 */
export function launch(): Promise<Browser> {
  return withChromium((options) => chromium.launch(options));
}

/** The same with what it keeps in a folder, where the next one finds it again. @throws when there is none */
export function launchWithProfile(folder: string, context: BrowserContextOptions): Promise<BrowserContext> {
  return withChromium((options) => chromium.launchPersistentContext(folder, { ...options, ...context }));
}

async function withChromium<T>(start: (options: LaunchOptions) => Promise<T>): Promise<T> {
  const linux = process.platform === 'linux';
  const env = { ...process.env, ...(linux ? { FONTCONFIG_FILE: await prepareFonts() } : {}) } as Record<string, string>;
  const installed = process.env['CHROMIUM_PATH'] ?? findOnPath();
  if (installed) return start({ executablePath: installed, args, env });
  if (linux && process.arch === 'x64') {
    const folder = await unpackOnce();
    return start({ executablePath: path.join(folder, 'chromium'), args, env: { ...env, LD_LIBRARY_PATH: path.join(folder, 'al2023/lib') } });
  }
  for (const channel of ['chrome', 'msedge']) {
    try {
      return await start({ channel, args, env });
    } catch {
      // Not installed. The next one may be.
    }
  }
  throw new Error('No Chromium was found. Install Chrome, or set CHROMIUM_PATH to the program.');
}

function findOnPath(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
  return names.flatMap((name) => folders.map((folder) => path.join(folder, name))).find((file) => fs.existsSync(file));
}

let unpacked: Promise<string> | undefined;

/** @returns the folder with `chromium` and the libraries it needs (`al2023/lib`) */
function unpackOnce(): Promise<string> {
  return (unpacked ??= unpack());
}

async function unpack(): Promise<string> {
  const home = path.dirname(path.dirname(fileURLToPath(import.meta.resolve('@sparticuz/chromium'))));
  const { version } = JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8')) as { version: string };
  const folder = path.resolve(import.meta.dirname, `../node_modules/.cache/chromium-${version}`);
  if (fs.existsSync(folder)) return folder;
  const { default: packed, inflate } = await import('@sparticuz/chromium');
  await makeAtOnce(folder, async (unfinished) => {
    // The package unpacks into the system's temporary folder, and takes whatever an older version left there for its own.
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = unfinished;
    try {
      if (os.tmpdir() !== unfinished) throw new Error('The temporary folder could not be set.');
      await packed.executablePath();
      await inflate(path.join(home, 'bin/al2023.tar.br'));
    } finally {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    }
  });
  return folder;
}
