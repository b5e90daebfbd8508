import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { type Plugin, type ResolvedConfig, build } from 'vite';

/**
 * Builds `src/sw.ts` into `/sw.js`, once everything else is built: it has to know the name of every file, and a hash over
 * what is in them, so that another build is another worker.
 */
export function serviceWorker(): Plugin {
  let config: ResolvedConfig;
  return {
    name: 'kith-service-worker',
    apply: 'build',
    configResolved: (resolved) => void (config = resolved),
    generateBundle: {
      order: 'post',
      async handler(_, bundle) {
        const contents = new Map<string, string | Uint8Array>();
        for (const file of Object.values(bundle)) contents.set(file.fileName, file.type === 'chunk' ? file.code : file.source);
        for (const entry of readdirSync(config.publicDir, { withFileTypes: true, recursive: true })) {
          const file = path.join(entry.parentPath, entry.name);
          if (entry.isFile()) contents.set(path.relative(config.publicDir, file).replaceAll(path.sep, '/'), readFileSync(file));
        }
        const names = [...contents.keys()].filter((name) => !notKept.test(name)).sort();
        const hash = createHash('sha256');
        for (const name of names) hash.update(name).update('\0').update(contents.get(name)!);
        // The page is kept under the address that has its policy in the headers.
        const files = names.map((name) => (name === 'index.html' ? '/' : `/${name}`));
        const shell = { version: hash.digest('hex').slice(0, 16), files };
        this.emitFile({ type: 'asset', fileName: 'sw.js', source: await worker(config, shell) });
      },
    },
  };
}

/** What browsers and systems fetch by themselves, when the application is installed. */
const notKept = /\.map$|\.webmanifest$|^icons\//;

async function worker({ root, build: { target } }: ResolvedConfig, shell: object): Promise<string> {
  const built = await build({
    root,
    configFile: false,
    publicDir: false,
    logLevel: 'warn',
    define: { SHELL: JSON.stringify(shell) },
    build: { write: false, target, rolldownOptions: { input: path.join(root, 'src/sw.ts'), output: { format: 'iife', entryFileNames: 'sw.js' } } },
  });
  if (!('output' in built)) throw new Error('The service worker was not built as one file.');
  return built.output[0].code;
}
