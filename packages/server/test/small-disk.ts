import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** May we make a small disk? Only as root on Linux, and not in every container. */
export function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-mount-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]);
  if (status === 0) spawnSync('umount', [folder]);
  fs.rmSync(folder, { recursive: true });
  return status === 0;
}

/** A disk at this folder, of a size as `mount` takes it. */
export function mountSmall(folder: string, size: string): { resize(to: string): void; unmount(): void } {
  mount('-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder);
  return {
    resize: (to) => mount('-o', `remount,size=${to}`, folder),
    unmount: () => void spawnSync('umount', [folder]),
  };
}

function mount(...args: string[]): void {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}
