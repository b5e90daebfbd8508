import { gzipSync } from 'node:zlib';
import { isEmojiText } from '@kith/protocol';
import { expect, test } from 'vitest';
import packed from './emoji-list.json' with { type: 'json' };
import { popularEmoji, searchEmoji, unpackEmoji, withGender, withTone } from './emoji-list.ts';

const all = unpackEmoji(packed);
const found = (query: string, limit = 8) => searchEmoji(all, query, limit).map(({ char }) => char);

test('[CP2] the list has every emoji once, with a name in English and in Chinese, in at most 40 kB', () => {
  expect(all.length).toBeGreaterThan(1_800);
  expect(new Set(all.map(({ char }) => char)).size).toBe(all.length);
  expect(all.filter(({ char, en, zh }) => !isEmojiText(char) || !en || !zh).map(({ char, en, zh }) => `${char} ${en} ${zh}`)).toEqual([]);
  expect(popularEmoji.filter((char) => !all.some((emoji) => emoji.char === char))).toEqual([]);
  expect(gzipSync(JSON.stringify(packed)).length).toBeLessThanOrEqual(40_000);
});

test('[CP3] emoji are found by words of either language, and what people send most comes first', () => {
  for (const [query, char] of [
    ['joy', '😂'],
    ['heart', '❤️'],
    ['thumbs up', '👍'],
    ['thumbsup', '👍'],
    ['+1', '👍'],
    ['FIRE', '🔥'],
    ['tada', '🎉'],
    ['饺子', '🥟'],
    ['笑哭', '😂'],
    ['赞', '👍'],
    ['中国', '🇨🇳'],
    ['woman astronaut', '👩‍🚀'],
    ['👍', '👍'],
  ] as const)
    expect([query, found(query)[0]]).toEqual([query, char]);
  expect(found('smi')).toContain('🙂');
  expect(found('生日')).toContain('🎂');
  expect(found('dog')).toContain('🐶');
  expect(found('xyzzy')).toEqual([]);
  expect(found('  ')).toEqual([]);
});

test('[CP4] tones of skin and genders are put into the emoji where they belong', () => {
  expect(withTone('👍', 4)).toBe('👍🏾');
  expect(withTone('✌️', 1)).toBe('✌🏻');
  expect(withTone('🤷‍♀️', 5)).toBe('🤷🏿‍♀️');
  expect(withTone('👩‍🚀', 3)).toBe('👩🏽‍🚀');
  expect(withTone('👍', 0)).toBe('👍');
  expect(withGender('🧑‍🚀', 'f')).toBe('👩‍🚀');
  expect(withGender('🤷', 'm')).toBe('🤷‍♂️');
  expect(all.filter(({ toned }) => toned).length).toBeGreaterThan(250);
  expect(all.filter(({ char, toned }) => toned && withTone(char, 3) === char)).toEqual([]);
});
