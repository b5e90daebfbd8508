import { readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Plugin } from 'vite';

const brotli = promisify(brotliCompress);
const zip = promisify(gzip);
const text = /\.(?:js|css|html|svg|json|webmanifest)$/;
/** Below this a compressed file saves no packet. Bytes. */
const least = 512;

/** Puts `.br` and `.gz` beside every text of the build: the server sends those as they are and compresses nothing while it runs. */
export function compressed(): Plugin {
  let folder = '';
  return {
    name: 'kith-compressed',
    apply: 'build',
    configResolved(config) {
      folder = path.resolve(config.root, config.build.outDir);
    },
    closeBundle: {
      order: 'post',
      // Last of all: another plugin may still write a file.
      sequential: true,
      async handler() {
        const files = (await readdir(folder, { recursive: true })).filter((file) => text.test(file));
        await Promise.all(files.map((file) => compress(path.join(folder, file))));
      },
    },
  };
}

async function compress(file: string): Promise<void> {
  const plain = await readFile(file);
  if (plain.length < least) return;
  const [br, gz] = await Promise.all([brotli(plain, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: plain.length } }), zip(plain, { level: 9 })]);
  await Promise.all([writeFile(`${file}.br`, br), writeFile(`${file}.gz`, gz)]);
}
