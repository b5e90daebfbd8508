import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { canMount, mountSmall } from '../../test/small-disk.ts';
import { blobsContract, newId, pieces, readAll, sha256 } from './blobs.contract.ts';
import { openDisk } from './disk.ts';

const folderOfTest = (): string => fs.mkdtempSync(path.join(os.tmpdir(), 'kith-blobs-'));

blobsContract('on disk', async () => {
  const folder = folderOfTest();
  return {
    blobs: openDisk(folder, { reserveBytes: 0 }),
    another: () => openDisk(folder, { reserveBytes: 0 }),
    age(trace, ms) {
      const then = new Date(Date.now() - ms);
      fs.utimesSync(path.join(folder, trace), then, then);
    },
    traces: async () => fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }),
    close: async () => fs.rmSync(folder, { recursive: true }),
  };
});

test('[FI25] only this user may read what is stored, and no id leads out of the folder', async () => {
  const folder = folderOfTest();
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  const blobs = openDisk(path.join(folder, 'files'), { reserveBytes: 0 });
  const id = newId();
  await blobs.append(id, 0, pieces(Buffer.from('secret')));
  await blobs.finish(id);
  const modes = fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => [entry.isFile(), fs.statSync(path.join(entry.parentPath, entry.name)).mode & 0o077]);
  expect(modes.filter(([isFile]) => isFile)).toHaveLength(1);
  expect(modes.filter(([, others]) => others !== 0)).toEqual([]);
  for (const bad of ['../../etc/passwd', '..', '/etc/passwd', 'a/b', '', 'x'.repeat(65)]) {
    await expect(blobs.offset(bad)).rejects.toThrow('no id');
    await expect(blobs.read(bad)).rejects.toThrow('no id');
    await expect(blobs.remove(bad)).rejects.toThrow('no id');
  }
});

test('[FI26] an upload leaves free on the disk what is kept for everything else', async () => {
  const folder = folderOfTest();
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  const blobs = openDisk(folder, { reserveBytes: Number.MAX_SAFE_INTEGER });
  const id = newId();
  await expect(blobs.append(id, 0, pieces(randomBytes(10)))).rejects.toMatchObject({ code: 'storage_full' });
  expect(await blobs.offset(id)).toBe(0);
});

describe.skipIf(!canMount())('on a disk of 2 MiB', () => {
  test('[FI26] a full disk keeps what fitted, harms no other file, and lets the upload go on once there is room', async () => {
    const folder = folderOfTest();
    const disk = mountSmall(folder, '2m');
    onTestFinished(() => {
      disk.unmount();
      fs.rmSync(folder, { recursive: true });
    });
    const blobs = openDisk(folder, { reserveBytes: 0 });
    const [before, bytes] = [randomBytes(500_000), randomBytes(3_000_000)];
    const [first, second] = [newId(), newId()];
    await blobs.append(first, 0, pieces(before));
    await blobs.finish(first);
    await expect(blobs.append(second, 0, pieces(bytes))).rejects.toMatchObject({ code: 'storage_full' });
    const at = await blobs.offset(second);
    expect(at).toBeGreaterThan(500_000);
    expect(await readAll(blobs, first)).toEqual(before);
    disk.resize('8m');
    await blobs.append(second, at, pieces(bytes.subarray(at)));
    expect((await blobs.finish(second)).sha256).toBe(sha256(bytes));
  });
});
