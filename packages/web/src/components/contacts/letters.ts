/** First characters of the pinyin letters in the order a Chinese collation gives, so that a name finds its letter without a table of readings. */
const bounds = '阿八嚓咑妸发旮哈丌咔垃呣拏喔妑七呥仨他屲夕丫帀';
const lettersOfBounds = 'ABCDEFGHJKLMNOPQRSTWXYZ';
const chinese = new Intl.Collator('zh-CN-u-co-pinyin');

/** The letter a name is listed under: A to Z, else #. */
export function letterOf(name: string): string {
  const first = Array.from(name.trim())[0] ?? '';
  if (/\p{Script=Han}/u.test(first)) {
    for (let i = bounds.length - 1; i >= 0; i--) if (chinese.compare(first, bounds[i]!) >= 0) return lettersOfBounds[i]!;
    return '#';
  }
  const plain = first.normalize('NFD')[0]?.toUpperCase() ?? '';
  return /[A-Z]/.test(plain) ? plain : '#';
}

/** Names under their letters, both in order; # last. */
export function byLetter<T>(all: readonly T[], name: (one: T) => string): { letter: string; all: T[] }[] {
  const groups = new Map<string, T[]>();
  for (const one of all.toSorted((a, b) => chinese.compare(name(a), name(b)))) {
    const letter = letterOf(name(one));
    groups.set(letter, [...(groups.get(letter) ?? []), one]);
  }
  return [...groups].map(([letter, of]) => ({ letter, all: of })).sort((a, b) => (a.letter === '#' ? 1 : b.letter === '#' ? -1 : a.letter.localeCompare(b.letter)));
}

const words = /\p{Script=Han}|[\p{L}\p{N}]+/gu;

/** The first letters of the words of a name, small; each Chinese character is a word: 周航 → zh, Ada Okafor → ao. */
export const initialsOf = (name: string): string =>
  Array.from(name.matchAll(words), ([word]) => letterOf(word).replace('#', word[0]!))
    .join('')
    .toLowerCase();

/** Is somebody with these names meant by what was typed? Any part of a name counts, and so do its first letters in a row. */
export function isMeant(typed: string, names: readonly (string | null | undefined)[]): boolean {
  const wanted = typed.trim().replace(/^@/, '').toLocaleLowerCase();
  return names.some((name) => name && (name.toLocaleLowerCase().includes(wanted) || initialsOf(name).includes(wanted)));
}
