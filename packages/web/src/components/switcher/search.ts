import { initialsOf } from '../contacts/letters.ts';

const plain = (text: string): string => text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase().trim();

/**
 * How well something with these names is meant by these words: 0 not at all, 5 a name that begins with them, then a
 * word in one, its initials, and letters anywhere. The first name counts most.
 */
export function closeness(words: string, names: readonly string[]): number {
  const wanted = plain(words).replace(/^@/, '');
  const of = (name: string): number => {
    const text = plain(name);
    if (text.startsWith(wanted)) return 5;
    if (text.split(/[\s._-]+/).some((word) => word.startsWith(wanted))) return 4;
    if (initialsOf(name).startsWith(wanted)) return 3;
    return text.includes(wanted) || initialsOf(name).includes(wanted) ? 2 : 0;
  };
  return Math.max(0, ...names.filter(Boolean).map((name, index) => of(name) - (index === 0 ? 0 : 0.5)));
}

/** Those that are meant, the closest first; among equals the order stays. */
export function find<T>(words: string, all: readonly T[], names: (one: T) => readonly string[]): T[] {
  return all
    .map((one) => ({ one, close: closeness(words, names(one)) }))
    .filter(({ close }) => close > 0)
    .sort((a, b) => b.close - a.close)
    .map(({ one }) => one);
}
