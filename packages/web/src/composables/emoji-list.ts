/** Groups in the order in which they are shown. */
export const emojiGroups = ['faces', 'people', 'nature', 'food', 'places', 'activities', 'objects', 'symbols', 'flags'] as const;
export type EmojiGroup = (typeof emojiGroups)[number];

/** What people send most: shown before anything was used, and first among equals when one searches. */
export const popularEmoji = '😂 ❤️ 👍 😭 🙏 🥰 😊 🔥 😍 🎉 🤣 👏 😅 🤔 😘 💪 🙂 😉 👌 🌹 🥳 😎 😢 🤝 🐶 🐱 ☕ 🍻 🎂 💯 ✅ ✨'.split(' ');
const popularity = new Map(popularEmoji.map((char, at) => [char, at]));

/** 0 is none (yellow), 1 the lightest, 5 the darkest. */
export type Tone = 0 | 1 | 2 | 3 | 4 | 5;
export const tones: Tone[] = [0, 1, 2, 3, 4, 5];

export interface Emoji {
  /** Without a tone; what is inserted and what tells one from another. */
  char: string;
  group: EmojiGroup;
  /** Comes in the tones of skin. */
  toned: boolean;
  en: string;
  zh: string;
  /** Names and further words in both languages, small letters. */
  words: string[];
}

/**
 * The list as `scripts/emoji.ts` writes it, by group: `👋+|waving hand;bye;hello|挥手;再见`. Behind the emoji `+` says that
 * it comes in tones, `m` and `f` that it comes as a man and as a woman. Flags of countries have no words: the browser has.
 */
export type PackedEmoji = Record<EmojiGroup, string[]>;

export function unpackEmoji(packed: PackedEmoji): Emoji[] {
  return emojiGroups.flatMap((group) => packed[group].flatMap((line) => unpackLine(line, group)));
}

const genders = { m: { en: 'man', zh: '男' }, f: { en: 'woman', zh: '女' } } as const;

function unpackLine(line: string, group: EmojiGroup): Emoji[] {
  const [face, en, zh] = line.split('|') as [string, string?, string?];
  const [, char, tone, variants] = /^(.+?)(\+?)([mf]*)$/u.exec(face) as unknown as [string, string, string, string];
  if (en === undefined || zh === undefined) return [named(char, group, false, [countryName(char, 'en')], [countryName(char, 'zh-CN')])];
  const one = named(char, group, tone !== '', en.split(';'), zh.split(';'));
  const others = (variants.split('') as ('m' | 'f')[]).map((gender) => {
    const more = genders[gender];
    const english = /\bperson\b/.test(one.en) ? one.en.replace('person', more.en) : `${more.en} ${one.en}`;
    return named(withGender(char, gender)!, group, one.toned, [english, ...en.split(';').slice(1)], [`${one.zh}（${more.zh}）`, ...zh.split(';').slice(1)]);
  });
  return [one, ...others];
}

const named = (char: string, group: EmojiGroup, toned: boolean, en: string[], zh: string[]): Emoji => ({
  char,
  group,
  toned,
  en: en[0]!,
  zh: zh[0]!,
  words: [...en, ...zh].map((word) => word.toLowerCase()),
});

export const isCountry = (char: string): boolean => /^\p{Regional_Indicator}{2}$/u.test(char);

function countryName(char: string, language: string): string {
  const code = char.replace(/./gu, (letter) => String.fromCharCode(letter.codePointAt(0)! - 0x1f1e6 + 65));
  try {
    return new Intl.DisplayNames([language], { type: 'region' }).of(code) ?? code;
  } catch {
    return code;
  }
}

/** The man or the woman of an emoji that is neither, `undefined` where there is none to be made. */
export function withGender(char: string, gender: 'm' | 'f'): string | undefined {
  // 🧑‍🚀 → 👩‍🚀
  if (char.startsWith('🧑\u200d')) return `${gender === 'm' ? '👨' : '👩'}${char.slice(2)}`;
  // 🤷 → 🤷‍♀️
  return char.includes('\u200d')
    ? undefined
    : `${char.replace(/\ufe0f$/, '')}\ufe0f`.replace(/(\p{Emoji_Presentation})\ufe0f$/u, '$1') + `\u200d${gender === 'm' ? '♂' : '♀'}\ufe0f`;
}

/** The emoji in a tone: a modifier behind every hand and body in it, in place of the sign that asks for colour. */
export function withTone(char: string, tone: number): string {
  if (tone === 0) return char;
  return char.replace(/(\p{Emoji_Modifier_Base})\ufe0f?/gu, `$1${String.fromCodePoint(0x1f3fa + tone)}`);
}

/**
 * Those that fit all the given words, best first: by whole words of the name, then by other words, then by beginnings.
 * English and Chinese alike; the order of the list within one kind.
 */
export function searchEmoji(all: Emoji[], query: string, limit = Infinity): Emoji[] {
  const asked = query.trim().toLowerCase().replaceAll('_', ' ').split(/\s+/).filter(Boolean);
  if (asked.length === 0) return [];
  const whole = asked.join(' ');
  const ranked: Emoji[][] = Array.from({ length: 2 * notFound }, () => []);
  for (const emoji of all) {
    const exact = emoji.char === whole || emoji.en.toLowerCase() === whole || emoji.zh === whole;
    const rank = exact ? 0 : Math.max(...asked.map((word) => rankOf(emoji, word)));
    ranked[2 * rank + (popularity.has(emoji.char) ? 0 : 1)]?.push(emoji);
  }
  for (let rank = 0; rank < notFound; rank++) ranked[2 * rank]!.sort((a, b) => popularity.get(a.char)! - popularity.get(b.char)!);
  return ranked.flat().slice(0, limit);
}

const chineseWord = /\p{Script=Han}/u;

const notFound = 5;

/** 0 is best, `notFound` does not fit. Letters fit at the beginning of a word, Chinese anywhere. */
function rankOf({ en, zh, words }: Emoji, word: string): number {
  if (chineseWord.test(word)) {
    if (words.includes(word)) return 1;
    if (zh.includes(word)) return zh.startsWith(word) ? 2 : 3;
    return words.some((one) => one.includes(word)) ? 4 : notFound;
  }
  const name = en.toLowerCase();
  if (name.split(' ').includes(word) || words.includes(word)) return 1;
  if (begins(name, word) || name.replaceAll(' ', '').startsWith(word)) return 2;
  return words.some((one) => begins(one, word)) ? 4 : notFound;
}

const begins = (words: string, word: string): boolean => words.startsWith(word) || words.includes(` ${word}`) || words.includes(`-${word}`);
