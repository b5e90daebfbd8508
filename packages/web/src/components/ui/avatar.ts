/** The look of a generated picture: everything follows from the seed alone, so that it is the same on every device. */
export interface AvatarLook {
  /** 0 to 9: which of the ten hues, `--av-N-…`. */
  hue: number;
  /** 0 to 7: which cut-out. */
  cut: number;
  /** Degrees, in steps of 45. */
  turn: number;
}

/** 32-bit FNV-1a over the UTF-8 bytes, then mixed, since the low bits of FNV alone are not even enough. */
function hash(seed: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(seed)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d) >>> 0;
  h ^= h >>> 12;
  return h >>> 0;
}

export function avatarLook(seed: string): AvatarLook {
  const h = hash(seed);
  return { hue: h % 10, cut: (h >>> 8) % cutouts.length, turn: ((h >>> 16) % 8) * 45 };
}

/** On 48 × 48: small sun, half, diagonal, quarter, rising disc, wave, band, half disc. Circles are written as paths. */
export const cutouts = [
  'M19 12a15 15 0 1 0 30 0 15 15 0 1 0-30 0z',
  'M0 24h48v24H0z',
  'M0 48 48 0v48z',
  'M0 0h48a48 48 0 0 1-48 48z',
  'M3 46a21 21 0 1 0 42 0 21 21 0 1 0-42 0z',
  'M0 30c10-9 18-9 26-2s14 6 22-1v21H0z',
  'M17 0h15v48H17z',
  'M24 0a24 24 0 0 1 0 48z',
] as const;

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** The first grapheme of the name, upper-cased; emoji and punctuation are skipped. Empty when there is none. */
export function initialOf(name: string): string {
  for (const { segment } of graphemes.segment(name.trim())) if (/^[\p{L}\p{N}]/u.test(segment)) return segment.toLocaleUpperCase();
  return '';
}

/** Six seeds to choose from. */
export function randomSeeds(count = 6): string[] {
  return Array.from({ length: count }, () => Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(36).padStart(2, '0')).join(''));
}

/** The id of an uploaded picture; undefined for what is drawn. */
export const uploadedIn = (seed: string): string | undefined => /^file:([A-Za-z0-9-]+)$/.exec(seed)?.[1];

/** Sides of an uploaded picture, in pixels: the server has it in these. */
const sides = [64, 192, 512];

/** Where an uploaded picture is, in the size for so many pixels of the screen. */
export const pictureUrl = (id: string, pixels: number): string => `/avatars/${id}/${sides.find((side) => side >= pixels) ?? sides.at(-1)}`;

/** What `pictureSeed` makes, and nothing that is no emoji. */
const pictured = /^emoji:([0-9a-f]{4,5})$/;

/** The seed of a picture with an emoji in place of the initial. The colours follow from it as from any seed. */
export const pictureSeed = (emoji: string): string => `emoji:${emoji.codePointAt(0)!.toString(16)}`;

/** The emoji of such a seed; undefined for all others. */
export function pictureOf(seed: string): string | undefined {
  const code = pictured.exec(seed)?.[1];
  const emoji = code === undefined ? '' : String.fromCodePoint(Number.parseInt(code, 16));
  return /^\p{Emoji_Presentation}$/u.test(emoji) ? emoji : undefined;
}
