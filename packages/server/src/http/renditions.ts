import type { Blobs } from '../blobs/blobs.ts';
import type { MadeBytes, StoredPicture, Upload } from '../core/core.ts';
import { type Cut, type Pictures, boxes, sides, withCuts } from '../pictures/pictures.ts';

interface Parts {
  blobs: Blobs;
  pictures: Pictures;
}

/** What may stand beside a file in the blob store: the original without what it told, and smaller ones. */
const names = ['clean', ...Object.keys(boxes), ...Object.keys(sides)];

/**
 * Has a picture looked at, and keeps what was made of it beside it. Whatever of it was there from a try before is done
 * again: nothing here is seen until the core is told.
 *
 * @throws storage_full; busy when the server stops
 */
export async function keepPicture({ blobs, pictures }: Parts, fileId: string, { size, original, avatar }: Upload, type: string): Promise<StoredPicture> {
  if (type === 'image/heic') return { refused: 'unsupported' };
  const look = await pictures.look(() => reading(blobs, fileId), { size, type, avatar, original });
  if ('refused' in look) return look;
  const { width, height, animated, preview, cuts, renditions } = look;
  const made: Record<string, MadeBytes> = {};
  for (const { name, bytes } of renditions) made[name] = await kept(blobs, `${fileId}-${name}`, [bytes]);
  if (cuts.length > 0) made.clean = await kept(blobs, `${fileId}-clean`, cleaned(blobs, fileId, cuts));
  return { width, height, animated, preview, made, originalGoes: avatar || cuts.length > 0 };
}

/** A file goes, and all that was made of it. */
export async function removeFile(blobs: Blobs, fileId: string): Promise<void> {
  for (const id of [fileId, ...names.map((name) => `${fileId}-${name}`)]) await blobs.remove(id);
}

async function kept(blobs: Blobs, id: string, bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<MadeBytes> {
  await blobs.remove(id);
  await blobs.append(id, 0, flowing(bytes));
  const { size, sha256 } = await blobs.finish(id);
  return { size, sha256 };
}

async function* flowing(bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* bytes;
}

async function* reading(blobs: Blobs, id: string): AsyncGenerator<Uint8Array> {
  const bytes = await blobs.read(id);
  if (!bytes) throw new Error('a file is gone while it is looked at');
  yield* bytes as AsyncIterable<Uint8Array>;
}

const cleaned = (blobs: Blobs, id: string, cuts: Cut[]): AsyncIterable<Uint8Array> => withCuts(reading(blobs, id), cuts);
