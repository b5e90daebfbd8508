import { crc32 } from 'node:zlib';
import type { Cut } from './pictures.ts';

/**
 * What to take out of a picture so that it tells nothing but how it looks: where, when and with what it was taken (EXIF,
 * XMP, IPTC), comments, smaller or other pictures hidden in it, and whatever stands behind its end. Nothing is decoded and
 * encoded again, so it looks exactly as before. What stays is what a decoder needs: the colour profile, and how to turn it.
 *
 * @param orientation  By EXIF, 1 to 8.
 * @throws RangeError, or Malformed, where the structure of the file is broken
 */
export function metadataIn(bytes: Buffer, type: string, orientation: number): Cut[] {
  switch (type) {
    case 'image/jpeg':
      return inJpeg(bytes, orientation);
    case 'image/png':
      return inPng(bytes, orientation);
    case 'image/webp':
      return inWebp(bytes, orientation);
    case 'image/gif':
      return inGif(bytes);
    case 'image/avif':
      return inAvif(bytes);
    default:
      throw new Malformed(type);
  }
}

export class Malformed extends Error {}

/** The parts of a JPEG before and between its scans, and where it ends. */
function inJpeg(bytes: Buffer, orientation: number): Cut[] {
  const cuts: Cut[] = [];
  let turned = orientation > 1;
  for (let at = 2; ;) {
    if (bytes[at] !== 0xff) throw new Malformed('no marker');
    while (bytes[at + 1] === 0xff) at += 1;
    const marker = bytes.readUInt8(at + 1);
    if (marker === 0xd9) return cutBehind(cuts, at + 2, bytes.length);
    // Markers that stand alone.
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;
      continue;
    }
    const end = at + 2 + bytes.readUInt16BE(at + 2);
    if (marker === 0xda) {
      at = endOfScan(bytes, end);
      continue;
    }
    if (isTelling(marker, bytes.subarray(at + 4, Math.min(end, at + 18)).toString('latin1'))) {
      const exif = turned && marker === 0xe1;
      if (exif) turned = false;
      cuts.push({ at, end, ...(exif && { put: jpegSegment(Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), onlyOrientation(orientation)])) }) });
    }
    at = end;
  }
}

/** Application data and comments, but for what decoders read: density, colour profile, colour transform. */
function isTelling(marker: number, start: string): boolean {
  if (marker === 0xfe) return true;
  if (marker < 0xe0 || marker > 0xef) return false;
  return !((marker === 0xe0 && start.startsWith('JFIF\0')) || (marker === 0xe2 && start.startsWith('ICC_PROFILE\0')) || (marker === 0xee && start.startsWith('Adobe')));
}

/** Where compressed data stops: at the next marker that is no restart and no stuffed byte. */
function endOfScan(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    if (next === undefined) break;
    if (next !== 0x00 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  throw new Malformed('no end');
}

const jpegSegment = (data: Buffer): Buffer => {
  const head = Buffer.from([0xff, 0xe1, 0, 0]);
  head.writeUInt16BE(data.length + 2, 2);
  return Buffer.concat([head, data]);
};

/** A TIFF header with one entry: how to turn the picture. */
function onlyOrientation(orientation: number): Buffer {
  const tiff = Buffer.alloc(26);
  tiff.write('MM\0*', 'latin1');
  tiff.writeUInt32BE(8, 4);
  tiff.writeUInt16BE(1, 8);
  tiff.writeUInt16BE(0x0112, 10);
  tiff.writeUInt16BE(3, 12);
  tiff.writeUInt32BE(1, 14);
  tiff.writeUInt16BE(orientation, 18);
  return tiff;
}

/** Chunks of a PNG that say how it looks and moves. */
const pngLooks = new Set(['IHDR', 'PLTE', 'IDAT', 'IEND', 'tRNS', 'gAMA', 'cHRM', 'sRGB', 'iCCP', 'sBIT', 'bKGD', 'pHYs', 'cICP', 'mDCV', 'cLLI', 'acTL', 'fcTL', 'fdAT']);

function inPng(bytes: Buffer, orientation: number): Cut[] {
  const cuts: Cut[] = [];
  for (let at = 8; ;) {
    const end = at + 12 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new Malformed('a chunk that is cut off');
    const name = bytes.toString('latin1', at + 4, at + 8);
    if (!pngLooks.has(name)) cuts.push({ at, end, ...(name === 'eXIf' && orientation > 1 && { put: pngChunk('eXIf', onlyOrientation(orientation)) }) });
    if (name === 'IEND') return cutBehind(cuts, end, bytes.length);
    at = end;
  }
}

function pngChunk(name: string, data: Buffer): Buffer {
  const chunk = Buffer.alloc(12 + data.length);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(name, 4, 'latin1');
  data.copy(chunk, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length);
  return chunk;
}

const webpLooks = new Set(['VP8 ', 'VP8L', 'VP8X', 'ALPH', 'ANIM', 'ANMF', 'ICCP']);
/** Bits of the flags in a WebP's `VP8X`. */
const [hasExif, hasXmp] = [0x08, 0x04];

function inWebp(bytes: Buffer, orientation: number): Cut[] {
  const riffEnd = 8 + bytes.readUInt32LE(4);
  if (riffEnd > bytes.length) throw new Malformed('a picture that is cut off');
  const cuts: Cut[] = [];
  let flagsAt: number | undefined;
  let turned = false;
  let end = 12;
  for (let at = 12; at + 8 <= riffEnd; at = end) {
    const size = bytes.readUInt32LE(at + 4);
    // Padded to even, which some writers forget at the very end.
    end = Math.min(at + 8 + size + (size % 2), riffEnd);
    if (at + 8 + size > riffEnd) throw new Malformed('a chunk that is cut off');
    const name = bytes.toString('latin1', at, at + 4);
    if (name === 'VP8X') flagsAt = at + 8;
    if (webpLooks.has(name)) continue;
    const put = name === 'EXIF' && orientation > 1 && !turned;
    if (put) turned = true;
    cuts.push({ at, end, ...(put && { put: webpChunk('EXIF', onlyOrientation(orientation)) }) });
  }
  cutBehind(cuts, end, bytes.length);
  if (cuts.length === 0) return cuts;
  const gone = cuts.reduce((sum, cut) => sum + cut.end - cut.at - (cut.put?.length ?? 0), 0);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bytes.length - gone - 8);
  const before: Cut[] = [{ at: 4, end: 8, put: size }];
  if (flagsAt !== undefined) before.push({ at: flagsAt, end: flagsAt + 1, put: Buffer.from([(bytes[flagsAt]! & ~(hasExif | hasXmp)) | (turned ? hasExif : 0)]) });
  return [...before, ...cuts].sort((a, b) => a.at - b.at);
}

function webpChunk(name: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(name, 'latin1');
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data]);
}

/** Extensions of a GIF that say how it moves, and its colour profile. */
const gifLooks = new Set(['NETSCAPE2.0', 'ANIMEXTS1.0', 'ICCRGBG1012']);

function inGif(bytes: Buffer): Cut[] {
  const cuts: Cut[] = [];
  const table = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  for (let at = 13 + table(bytes.readUInt8(10)); ;) {
    const kind = bytes.readUInt8(at);
    if (kind === 0x3b) return cutBehind(cuts, at + 1, bytes.length);
    if (kind === 0x2c) at = endOfBlocks(bytes, at + 10 + table(bytes.readUInt8(at + 9)) + 1);
    else if (kind === 0x21) {
      const label = bytes.readUInt8(at + 1);
      const end = endOfBlocks(bytes, at + 2);
      const kept = label === 0xf9 || (label === 0xff && gifLooks.has(bytes.toString('latin1', at + 3, at + 14)));
      if (!kept) cuts.push({ at, end });
      at = end;
    } else throw new Malformed('no block');
  }
}

function endOfBlocks(bytes: Buffer, from: number): number {
  for (let at = from; ;) {
    const size = bytes.readUInt8(at);
    at += size + 1;
    if (size === 0) return at;
  }
}

interface Box {
  name: string;
  at: number;
  /** Where what is in it begins. */
  inside: number;
  end: number;
}

/**
 * In an AVIF everything is found by its place in the file, so nothing may move: what tells is overwritten with zeros.
 * How to turn the picture does not stand in its EXIF.
 */
function inAvif(bytes: Buffer): Cut[] {
  const top = boxesIn(bytes, 0, bytes.length);
  const meta = top.find(({ name }) => name === 'meta');
  const blanks = [...(meta ? tellingItems(bytes, boxesIn(bytes, meta.inside + 4, meta.end)) : [])];
  // Of a sequence of pictures: what a video may tell, and boxes that nobody knows.
  for (const box of [...top, ...top.filter(({ name }) => name === 'moov').flatMap((moov) => boxesIn(bytes, moov.inside, moov.end))])
    if (['uuid', 'udta', 'free', 'skip'].includes(box.name)) blanks.push({ at: box.inside, end: box.end });
  blanks.sort((a, b) => a.at - b.at);
  const cuts: Cut[] = [];
  for (const { at, end } of blanks) {
    const from = Math.max(at, cuts.at(-1)?.end ?? 0);
    if (end > from && !isBlank(bytes.subarray(from, end))) cuts.push({ at: from, end, put: Buffer.alloc(end - from) });
  }
  return cuts;
}

const isBlank = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

function boxesIn(bytes: Buffer, from: number, to: number): Box[] {
  const boxes: Box[] = [];
  for (let at = from; at + 8 <= to;) {
    const short = bytes.readUInt32BE(at);
    const size = short === 1 ? Number(bytes.readBigUInt64BE(at + 8)) : short === 0 ? to - at : short;
    const inside = at + (short === 1 ? 16 : 8);
    if (at + size < inside || at + size > to) throw new Malformed('a box that is cut off');
    boxes.push({ name: bytes.toString('latin1', at + 4, at + 8), at, inside, end: at + size });
    at += size;
  }
  return boxes;
}

/** Where the EXIF and XMP of a HEIF are: items by their types, and the places of those. */
function tellingItems(bytes: Buffer, meta: Box[]): { at: number; end: number }[] {
  const [infos, places, data] = ['iinf', 'iloc', 'idat'].map((wanted) => meta.find(({ name }) => name === wanted));
  if (!infos || !places) return [];
  const wide = bytes.readUInt8(infos.inside) !== 0;
  const telling = new Set(
    boxesIn(bytes, infos.inside + (wide ? 8 : 6), infos.end).flatMap(({ inside, name }) => {
      if (name !== 'infe') return [];
      const version = bytes.readUInt8(inside);
      const id = version === 3 ? bytes.readUInt32BE(inside + 4) : bytes.readUInt16BE(inside + 4);
      const type = bytes.toString('latin1', inside + (version === 3 ? 10 : 8)).slice(0, 4);
      return ['Exif', 'mime', 'uri '].includes(type) ? [id] : [];
    }),
  );
  let at = places.inside;
  /** A number of so many bytes. */
  const take = (size: number): number => {
    const value = size === 0 ? 0 : size === 8 ? Number(bytes.readBigUInt64BE(at)) : bytes.readUIntBE(at, size);
    at += size;
    return value;
  };
  const version = take(1);
  take(3);
  const [sizes, more] = [take(1), take(1)];
  const [offsetSize, lengthSize, baseSize, indexSize] = [sizes >> 4, sizes & 15, more >> 4, version > 0 ? more & 15 : 0];
  const found: { at: number; end: number }[] = [];
  for (let items = take(version < 2 ? 2 : 4); items > 0; items -= 1) {
    const id = take(version < 2 ? 2 : 4);
    const inIdat = version > 0 && (take(2) & 15) === 1;
    take(2);
    const base = take(baseSize) + (inIdat ? (data?.inside ?? 0) : 0);
    for (let extents = take(2); extents > 0; extents -= 1) {
      take(indexSize);
      const start = base + take(offsetSize);
      const length = take(lengthSize);
      if (!telling.has(id)) continue;
      if (start + length > bytes.length) throw new Malformed('an item that is cut off');
      found.push({ at: start, end: start + length });
    }
  }
  return found;
}

/** What stands behind the end: other pictures, the video of a moving photo, an archive, a script. */
function cutBehind(cuts: Cut[], end: number, length: number): Cut[] {
  if (end > length) throw new Malformed('cut off');
  if (end < length) cuts.push({ at: end, end: length });
  return cuts;
}
