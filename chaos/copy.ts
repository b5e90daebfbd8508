import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export const repository = path.resolve(import.meta.dirname, '..');

/**
 * The repository without what it has installed or built, which is linked: for servers that are not quite ours.
 *
 * @param below  Where a folder is made for it. Default: the folder for temporary files.
 */
export function copyRepository(below = os.tmpdir()): { folder: string; remove: () => void } {
  const folder = fs.mkdtempSync(path.join(below, 'kith-mutation-'));
  const installed = (source: string): boolean => !['node_modules', 'dist'].includes(path.basename(source));
  for (const part of ['packages/protocol', 'packages/server', 'chaos', 'scripts', 'package.json', 'tsconfig.json', 'vitest.config.ts']) {
    fs.cpSync(path.join(repository, part), path.join(folder, part), { recursive: true, filter: installed });
  }
  fs.symlinkSync(path.join(repository, 'node_modules'), path.join(folder, 'node_modules'), 'junction');
  return { folder, remove: () => fs.rmSync(folder, { recursive: true, force: true }) };
}
