/**
 * What is shown in place in the browser, told by the first bytes. A table of our own: the question is not "which of the
 * hundreds of formats is this" but "is it one of these twelve", and what a library would tell beyond that is download
 * only anyway, while its parsers would read what strangers send.
 *
 * SVG, HTML, XML and PDF can hold scripts and are not here, on purpose.
 *
 * @param head  The first bytes: 64 are enough for all but what is only sound in a container of films, for which its list of
 *   tracks must be there.
 * @returns undefined for everything else
 */
export function shownType(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  const text = bytes.toString('latin1');
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (/^GIF8[79]a/.test(text)) return 'image/gif';
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return 'image/webp';
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WAVE') return 'audio/wav';
  if (text.slice(4, 8) === 'ftyp') {
    const type = brands.find(([brand]) => brand.test(text.slice(8, 12)))?.[1];
    return type === 'video/mp4' && isOnlySound(mp4Tracks(bytes)) ? 'audio/mp4' : type;
  }
  // Matroska says in its header which document it is; only the WebM of it plays in browsers.
  if (text.startsWith('\x1a\x45\xdf\xa3') && text.slice(0, 64).includes('\x42\x82\x84webm')) return isOnlySound(webmTracks(bytes)) ? 'audio/webm' : 'video/webm';
  if (text.startsWith('OggS\0')) return 'audio/ogg';
  if (text.startsWith('ID3') || isMp3Frame(bytes)) return 'audio/mpeg';
  return undefined;
}

/** HEIC and its kin: pictures that no browser shows everywhere, and that are told so. */
export function pictureType(head: Uint8Array): string | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  return text.slice(4, 8) === 'ftyp' && /^(?:hei[cxms]|hev[cxms]|mif[12]|msf1)$/.test(text.slice(8, 12)) ? 'image/heic' : undefined;
}

/** May a browser show it in place? Of types as `shownType` names them. */
export const isShown = (type: string): boolean => shown.has(type);

const shown = new Set([
  'image/png',
  'image/jpeg',
  'image/gif',
  'image/webp',
  'image/avif',
  'audio/wav',
  'audio/mp4',
  'audio/ogg',
  'audio/mpeg',
  'audio/webm',
  'video/mp4',
  'video/webm',
]);

/** Of ISO base media files, by what they say they are first. HEIC and QuickTime are not shown by every browser. */
const brands: [RegExp, string][] = [
  [/^avi[fs]$/, 'image/avif'],
  [/^M4[AB] $/, 'audio/mp4'],
  [/^(?:isom|iso[2-9]|mp4[12]|avc1|dash|M4V |MSNV|mmp4)$/, 'video/mp4'],
];

/** MPEG audio, layer III, with a bit rate and a sampling rate that exist. Anything less would take text for music. */
const isMp3Frame = (bytes: Buffer): boolean =>
  bytes.length >= 4 && bytes[0] === 0xff && (bytes[1]! & 0xe6) === 0xe2 && (bytes[1]! & 0x18) !== 0x08 && ![0x00, 0xf0].includes(bytes[2]! & 0xf0) && (bytes[2]! & 0x0c) !== 0x0c;

// Browsers record speech in the containers of films. What has no picture is a sound, and a player for sounds is shown for it.

type Track = 'sound' | 'picture' | 'other';

/** @param tracks  undefined: they are not told at the beginning. */
const isOnlySound = (tracks: Track[] | undefined): boolean => tracks !== undefined && tracks.length > 0 && tracks.every((track) => track === 'sound');

/** Of an MP4 whose list of contents comes first, as recorders and servers write it: the handlers of its tracks. */
function mp4Tracks(bytes: Buffer): Track[] | undefined {
  const moov = boxes(bytes).find(({ type }) => type === 'moov');
  if (!moov?.content) return undefined;
  return boxes(moov.content)
    .filter(({ type }) => type === 'trak')
    .map(({ content }) => {
      const media = boxes(content ?? Buffer.alloc(0)).find(({ type }) => type === 'mdia')?.content;
      const handler = boxes(media ?? Buffer.alloc(0)).find(({ type }) => type === 'hdlr')?.content;
      const name = handler?.toString('latin1', 8, 12);
      return name === 'soun' ? 'sound' : name === 'vide' ? 'picture' : 'other';
    });
}

/** The boxes that begin in these bytes; without content where they do not end in them. */
function boxes(bytes: Buffer): { type: string; content: Buffer | undefined }[] {
  const found: { type: string; content: Buffer | undefined }[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const size = bytes.readUInt32BE(at);
    // Sizes of 0 and 1 are those of boxes too large to be what is looked for.
    if (size < 8) break;
    found.push({ type: bytes.toString('latin1', at + 4, at + 8), content: at + size <= bytes.length ? bytes.subarray(at + 8, at + size) : undefined });
    at += size;
  }
  return found;
}

const ebml = { segment: 0x18538067, tracks: 0x1654ae6b, track: 0xae, trackType: 0x83 };

/** Of a WebM: the types of its tracks. */
function webmTracks(bytes: Buffer): Track[] | undefined {
  const segment = elements(bytes).find(({ id }) => id === ebml.segment);
  // Recorders do not know how long it will be: it goes to the end.
  const tracks = segment && elements(segment.content).find(({ id }) => id === ebml.tracks);
  if (!tracks?.whole) return undefined;
  return elements(tracks.content)
    .filter(({ id }) => id === ebml.track)
    .map(({ content }) => {
      const type = elements(content).find(({ id }) => id === ebml.trackType)?.content[0];
      return type === 2 ? 'sound' : type === 1 ? 'picture' : 'other';
    });
}

/** The elements that begin in these bytes, with as much of their content as is there. */
function elements(bytes: Buffer): { id: number; content: Buffer; whole: boolean }[] {
  const found: { id: number; content: Buffer; whole: boolean }[] = [];
  for (let at = 0; at < bytes.length;) {
    const idLength = Math.clz32(bytes[at]!) - 23;
    const sizeLength = Math.clz32(bytes[at + idLength] ?? 0) - 23;
    const start = at + idLength + sizeLength;
    if (idLength > 4 || sizeLength > 8 || start > bytes.length) break;
    // A size whose bits are all 1 says that it is not known.
    const written = BigInt(`0x${bytes.toString('hex', at + idLength, start)}`) & ((1n << BigInt(7 * sizeLength)) - 1n);
    const unknown = written === (1n << BigInt(7 * sizeLength)) - 1n;
    const end = unknown || written > BigInt(bytes.length - start) ? bytes.length : start + Number(written);
    found.push({ id: bytes.readUIntBE(at, idLength), content: bytes.subarray(start, end), whole: !unknown && BigInt(end - start) === written });
    at = end;
  }
  return found;
}
