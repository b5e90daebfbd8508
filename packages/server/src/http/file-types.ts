/**
 * What is shown in place in the browser, told by the first bytes. A table of our own: the question is not "which of the
 * hundreds of formats is this" but "is it one of these eleven", and what a library would tell beyond that is download
 * only anyway, while its parsers would read what strangers send.
 *
 * SVG, HTML, XML and PDF can hold scripts and are not here, on purpose.
 *
 * @param head  The first bytes; 64 are enough where there are so many.
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
  if (text.slice(4, 8) === 'ftyp') return brands.find(([brand]) => brand.test(text.slice(8, 12)))?.[1];
  // Matroska says in its header which document it is; only the WebM of it plays in browsers.
  if (text.startsWith('\x1a\x45\xdf\xa3') && text.slice(0, 64).includes('\x42\x82\x84webm')) return 'video/webm';
  if (text.startsWith('OggS\0')) return 'audio/ogg';
  if (text.startsWith('ID3') || isMp3Frame(bytes)) return 'audio/mpeg';
  return undefined;
}

/** May a browser show it in place? Of types as `shownType` names them. */
export const isShown = (type: string): boolean => shown.has(type);

const shown = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'audio/wav', 'audio/mp4', 'audio/ogg', 'audio/mpeg', 'video/mp4', 'video/webm']);

/** Of ISO base media files, by what they say they are first. HEIC and QuickTime are not shown by every browser. */
const brands: [RegExp, string][] = [
  [/^avi[fs]$/, 'image/avif'],
  [/^M4[AB] $/, 'audio/mp4'],
  [/^(?:isom|iso[2-9]|mp4[12]|avc1|dash|M4V |MSNV|mmp4)$/, 'video/mp4'],
];

/** MPEG audio, layer III, with a bit rate and a sampling rate that exist. Anything less would take text for music. */
const isMp3Frame = (bytes: Buffer): boolean =>
  bytes.length >= 4 && bytes[0] === 0xff && (bytes[1]! & 0xe6) === 0xe2 && (bytes[1]! & 0x18) !== 0x08 && ![0x00, 0xf0].includes(bytes[2]! & 0xf0) && (bytes[2]! & 0x0c) !== 0x0c;
