import { constants } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';

/** What is still being uploaded; nobody speaks of it. */
const unfinished = 'incoming';

/**
 * Copies what is finished in one folder of files and not in the other yet. Bytes never change once they are there, so a
 * file that is there with its size is the same; one that is deleted meanwhile is passed over. Durable when it resolves.
 *
 * @returns how many were copied, and their bytes
 */
export async function copyFiles(from: string, to: string): Promise<{ files: number; bytes: number }> {
  const copied = { files: 0, bytes: 0 };
  await fs.mkdir(to, { recursive: true, mode: 0o700 });
  for (const shelf of await entries(from)) {
    if (shelf === unfinished) continue;
    let changed = false;
    for (const name of await entries(path.join(from, shelf))) {
      const [source, target] = [path.join(from, shelf, name), path.join(to, shelf, name)];
      const size = await sizeOf(source);
      if (size === undefined || (await sizeOf(target)) === size) continue;
      await fs.mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
      if (!(await copyFile(source, target))) continue;
      changed = true;
      copied.files += 1;
      copied.bytes += size;
    }
    if (changed) await sync(path.join(to, shelf));
  }
  await sync(to);
  return copied;
}

/** Ids of the finished files in a folder, and what each weighs. */
export async function listFiles(folder: string): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const shelf of await entries(folder)) {
    if (shelf === unfinished) continue;
    for (const name of await entries(path.join(folder, shelf))) found.set(name, (await sizeOf(path.join(folder, shelf, name))) ?? 0);
  }
  return found;
}

/** Under another name first: killed in the middle, there is no half of it under its own. @returns false: it is gone */
async function copyFile(source: string, target: string): Promise<boolean> {
  const part = `${target}.part`;
  try {
    await fs.copyFile(source, part, constants.COPYFILE_FICLONE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  await sync(part);
  await fs.rename(part, target);
  return true;
}

async function entries(folder: string): Promise<string[]> {
  try {
    return (await fs.readdir(folder)).filter((name) => !name.endsWith('.part')).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await fs.stat(file)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function sync(file: string): Promise<void> {
  const handle = await fs.open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
