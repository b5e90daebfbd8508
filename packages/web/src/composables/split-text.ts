/** Where a text is best cut, best first: between paragraphs, lines, sentences, words. */
const seams = [/\n{2,}/g, /\n/g, /[.!?…]\s+|[。！？；]/g, /\s+/g];

/**
 * A long text in parts, in order. Nothing but space at the seams is lost, and no character is cut in two.
 *
 * @param limit  UTF-16 units of one part at most.
 */
export function splitText(text: string, limit: number): string[] {
  const parts: string[] = [];
  let rest = text.trim();
  while (rest.length > limit) {
    const end = seamIn(rest, limit);
    parts.push(rest.slice(0, end).trimEnd());
    rest = rest.slice(end).trimStart();
  }
  return rest ? [...parts, rest] : parts;
}

/** A seam in the second half of what fits: a part of one line would be worse than a cut within a paragraph. */
function seamIn(text: string, limit: number): number {
  const fits = text.slice(0, limit + 1);
  for (const seam of seams) {
    const last = [...fits.matchAll(seam)].findLast((found) => found.index > limit / 2 && endOf(found) <= limit);
    if (last) return endOf(last);
  }
  return wholeCharacters(text, limit);
}

/** Behind the punctuation, before the space. */
const endOf = (found: RegExpExecArray): number => found.index + found[0].trimEnd().length;

function wholeCharacters(text: string, limit: number): number {
  // One character is never longer than this window; the whole text would take its time.
  const from = Math.max(0, limit - 200);
  let end = from;
  for (const { index, segment } of new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text.slice(from, limit + 200))) {
    if (from + index + segment.length > limit) break;
    end = from + index + segment.length;
  }
  return end > from ? end : limit;
}
