import { limits } from './limits.ts';

// Controls other than tab and newline: nobody types them, terminals and PostgreSQL choke on them.
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;
// Direction overrides, zero-width and tag characters: invisible, and used to make one name look like another.
const invisible = /[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\u{e0000}-\u{e007f}]/u;
const piledMarks = new RegExp(`\\p{M}{${limits.combiningMarks + 1}}`, 'u');

/** Does a character carry more marks than any script needs? */
export const pilesMarks = (text: string): boolean => piledMarks.test(text);

/** May this be the body of a message or a note? */
export const isBodyText = (text: string): boolean => text.isWellFormed() && !controls.test(text) && !pilesMarks(text);

// What comes along when words are copied from elsewhere, and nobody sees. Joiners and marks of direction stay: scripts and emoji need them.
const stowaways = /[\u200b\u2060-\u2064\ufeff]/g;
const allControls = new RegExp(controls, 'g');
const allPiledMarks = new RegExp(`(\\p{M}{${limits.combiningMarks}})\\p{M}+`, 'gu');

/** Makes of any text one that may be the body of a message: without controls and what has no width, line ends as `\n`. */
export const cleanBodyText = (text: string): string => text.replace(/\r\n?/g, '\n').toWellFormed().replace(allControls, '').replace(stowaways, '').replace(allPiledMarks, '$1');

/** May this be shown as a name or a title, alone on a line? Zero-width joiners inside emoji are allowed. */
export function isNameText(text: string): boolean {
  const withoutJoiners = text.replace(/(?<=\p{Extended_Pictographic}\ufe0f?|[\u{1f3fb}-\u{1f3ff}])\u200d(?=\p{Extended_Pictographic})/gu, '');
  return isBodyText(text) && !/[\t\n]/.test(text) && !invisible.test(withoutJoiners) && text.trim() !== '';
}

// The same as `invisible`, but for the joiners inside of emoji.
const allInvisible =
  /(?<!\p{Extended_Pictographic}|\ufe0f|\p{Emoji_Modifier})\u200d|\u200d(?!\p{Extended_Pictographic})|[\u061c\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\u{e0000}-\u{e007f}]/gu;

/**
 * Makes of what a page says one line that can be shown beside what people say: without controls, what is not seen and what
 * turns the direction.
 *
 * @param most  UTF-16 units; what is longer is cut between characters.
 */
export function linkText(text: string, most: number): string {
  const line = normalizeName(cleanBodyText(text).replace(allInvisible, ''));
  if (!isNameText(line)) return '';
  if (line.length <= most) return line;
  let end = 0;
  for (const { index, segment } of new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(line)) {
    if (index + segment.length > most - 1) break;
    end = index + segment.length;
  }
  return `${line.slice(0, end).trimEnd()}…`;
}

/** A name as it is stored: Unicode NFC, no space at the ends, single spaces inside. */
export const normalizeName = (text: string): string => text.normalize('NFC').trim().replace(/\s+/g, ' ');

/** One to three emoji and nothing else: shown large. */
export function isEmojiText(text: string): boolean {
  const graphemes = [...new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(text.trim())];
  return graphemes.length >= 1 && graphemes.length <= 3 && graphemes.every((g) => /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|[0-9#*]\ufe0f?\u20e3)/u.test(g.segment));
}
