import { limits } from '@kith/protocol';
import sharp, { type Metadata, type Sharp } from 'sharp';
import { metadataIn } from './metadata.ts';
import { type Look, type Most, type Picture, type Refusal, type Wish, boxes, sides } from './pictures.ts';

// The entry of the process that decodes pictures. It reads its program and no other file, writes none, starts nothing and
// has no environment. What it is sent comes from strangers; whatever happens to it, the server starts another.

/** How often it looks at what a picture has taken, in milliseconds. The decoder runs in threads beside. */
const lookEveryMs = 50;

sharp.concurrency(1);
sharp.cache(false);
// The library can read SVG, PDF, TIFF and more; of all loaders these five are left, and only from memory.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer', 'VipsForeignLoadNsgifBuffer', 'VipsForeignLoadHeifBuffer'] });

const formats: Record<string, string> = { 'image/jpeg': 'jpeg', 'image/png': 'png', 'image/webp': 'webp', 'image/gif': 'gif', 'image/avif': 'heif' };
/** A smaller one is kept if it saves so much. */
const worthwhileBytes = 4_096;

/** Refused before anything is made of it, by what its header says. */
const input = { limitInputPixels: limits.picturePixels, failOn: 'error' } as const;

class Refused extends Error {
  readonly why: Refusal;
  constructor(why: Refusal) {
    super(why);
    this.why = why;
  }
}

async function look(bytes: Buffer, { type, avatar, original }: Wish): Promise<Picture> {
  const found = await sharp(bytes, { ...input, limitInputPixels: false }).metadata();
  requireLookable(found, type);
  const { width, height } = found.autoOrient;
  const animated = (found.pages ?? 1) > 1;
  const box = avatar ? sides['512'] : boxes.large;
  // Decoded once; everything else is made of this.
  const shown = sharp(bytes, input)
    .autoOrient()
    // White behind what one can see through: it stands in a circle on light and on dark.
    .flatten(avatar && { background: '#fff' })
    .resize({ width: box, height: box, fit: avatar ? 'cover' : 'inside', withoutEnlargement: !avatar });
  const { data, info } = await shown.raw().toBuffer({ resolveWithObject: true });
  const of = (side: number) =>
    sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } }).resize({ width: side, height: side, fit: 'inside', withoutEnlargement: true });
  const webp = (side: number) => of(side).webp({ quality: 80, effort: 2 }).toBuffer();

  const renditions: Picture['renditions'] = [];
  if (avatar) for (const [name, side] of Object.entries(sides)) renditions.push({ name: name as keyof typeof sides, bytes: await webp(side) });
  else
    for (const [name, side] of Object.entries(boxes)) {
      const made = name === 'small' || Math.max(info.width, info.height) > boxes.small ? await webp(side) : undefined;
      if (made && made.length + worthwhileBytes < bytes.length) renditions.push({ name: name as keyof typeof boxes, bytes: made });
    }
  return {
    width,
    height,
    animated,
    preview: await previewOf(of),
    // Of the picture of a person nothing is kept but what was made here.
    cuts: original || avatar ? [] : metadataIn(bytes, type, found.orientation ?? 1),
    renditions,
  };
}

/** @throws Refused */
function requireLookable({ format, compression, width, height, pages = 1 }: Metadata, type: string): void {
  if (format === 'heif' && compression !== 'av1') throw new Refused('unsupported');
  if (format !== formats[type]) throw new Refused('unreadable');
  if (width > limits.pictureSide || height > limits.pictureSide || width * height > limits.picturePixels || pages > limits.pictureFrames) throw new Refused('too_large');
}

/** As large as fits into what a message carries of it. */
async function previewOf(of: (side: number) => Sharp): Promise<string> {
  for (const side of [32, 24, 16, 8]) {
    const text = (await of(side).webp({ quality: 40, alphaQuality: 40, effort: 6 }).toBuffer()).toString('base64');
    if (text.length <= limits.preview) return text;
  }
  throw new Refused('unreadable');
}

async function answer(wish: Wish & Most): Promise<Look> {
  const bytes = await received(wish.size);
  const before = process.cpuUsage();
  // Memory of the decoder is in no limit of the language, and time of a busy machine is not the picture's.
  const watch = setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    if (process.memoryUsage.rss() > wish.memoryMib * 1_048_576 || user + system > wish.ms * 1_000) process.exit(1);
  }, lookEveryMs);
  try {
    return await look(bytes, wish);
  } catch (error) {
    // What else fails here is the decoder, or our reading of what it could decode: by the bytes.
    return { refused: error instanceof Refused ? error.why : 'unreadable' };
  } finally {
    clearInterval(watch);
  }
}

/** So many bytes, from the pipe. */
async function received(size: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size;) {
    const chunk = process.stdin.read() as Buffer | null;
    if (chunk === null) {
      await new Promise((resolve) => process.stdin.once('readable', resolve));
      continue;
    }
    at += chunk.copy(bytes, at);
  }
  return bytes;
}

process.on('message', (wish: Wish & Most) => {
  void answer(wish).then((said) => process.send!(said));
});
// The server is gone, however it went.
process.on('disconnect', () => process.exit(0));
process.send!('ready');
