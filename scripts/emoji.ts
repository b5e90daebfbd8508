/**
 * Cuts the list of emoji of the web client from emojibase-data (MIT), which at 49 MB is no dependency of ours:
 *
 *     npm install --prefix <somewhere else> emojibase-data@17.0.0
 *     node scripts/emoji.ts <somewhere else>/node_modules/emojibase-data
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isCountry, withGender, withTone } from '../packages/web/src/composables/emoji-list.ts';

interface Emoji {
  emoji: string;
  label: string;
  tags?: string[];
  group?: number;
  order?: number;
  hexcode: string;
  version: number;
  skins?: { emoji: string; tone: number | number[]; version: number }[];
}

/** Newer ones are boxes on phones that are still in use. */
const newest = 15;
/** emojibase's numbers of groups; 2 is what others are made of. */
const groups = { faces: 0, people: 1, nature: 3, food: 4, places: 5, activities: 6, objects: 7, symbols: 8, flags: 9 };

const folder = process.argv[2];
if (!folder) throw new Error('Say where emojibase-data is.');
const read = (language: string) => JSON.parse(readFileSync(path.join(folder, language, 'data.json'), 'utf8')) as Emoji[];
const chinese = new Map(read('zh').map((one) => [one.hexcode, one]));

/** Words beside the name, in each language: many where names are long and feelings are looked for. The list has to stay small. */
const mostWords: Record<number, number> = { 0: 6, 1: 3, 3: 1, 4: 2, 5: 1, 6: 2, 7: 2, 8: 1, 9: 1 };

/** What one looks for, each word once: what the name says need not be said again. */
function words({ label, tags = [], group }: Emoji): string {
  const said = new Set(label.toLowerCase().split(/[^\p{L}\p{N}+]+/u));
  const adds = (tag: string) => !label.includes(tag) && !tag.includes(label) && !tag.split(' ').every((word) => said.has(word.toLowerCase()));
  return [label.replace(/^旗: ?/, ''), ...shortest(tags.filter(adds)).slice(0, mostWords[group!])].join(';');
}

const shortest = (tags: string[]): string[] => tags.toSorted((a, b) => a.length - b.length);

// The sign that asks for colour is left out where colour is what comes anyway, as keyboards do.
const plain = (char: string): string => char.replace(/(\p{Emoji_Presentation})\ufe0f/gu, '$1');

const all = read('en')
  .filter((one) => one.group !== undefined && one.version <= newest)
  .sort((a, b) => a.order! - b.order!);
const known = new Set(all.map((one) => plain(one.emoji)));
const derived = new Set<string>();

/** The marks of a line: `+` comes in tones, `m` and `f` as man and woman. */
function marksOf(one: Emoji): string {
  const tones = one.skins?.filter((skin) => typeof skin.tone === 'number' && skin.version <= newest) ?? [];
  // Only those whose tones can be made from the emoji itself, one tone for everybody in it.
  const toned = tones.length === 5 && tones.every((skin) => withTone(one.emoji, skin.tone as number) === skin.emoji);
  const genders = (['m', 'f'] as const).filter((gender) => {
    const char = withGender(plain(one.emoji), gender);
    if (char === undefined || !known.has(char)) return false;
    derived.add(char);
    return true;
  });
  return (toned ? '+' : '') + genders.join('');
}

const lines = (group: number): string[] =>
  all
    .filter((one) => one.group === group)
    .map((one) => ({ one, char: plain(one.emoji), marks: marksOf(one) }))
    .filter(({ char }) => !derived.has(char))
    // Browsers know the names of countries.
    .map(({ one, char, marks }) => `${char}${marks}${isCountry(char) ? '' : `|${words(one)}|${words(chinese.get(one.hexcode)!)}`}`);

const list = Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, lines(group)]));
const file = path.join(import.meta.dirname, '../packages/web/src/composables/emoji-list.json');
writeFileSync(file, `${JSON.stringify(list, null, 2)}\n`);
