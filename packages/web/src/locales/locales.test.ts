import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import en from './en.json' with { type: 'json' };
import laterEn from './later/en.json' with { type: 'json' };
import laterZh from './later/zh-CN.json' with { type: 'json' };
import zh from './zh-CN.json' with { type: 'json' };

const source = path.resolve(import.meta.dirname, '..');
const files = globSync('**/*.{vue,ts}', { cwd: source }).filter((file) => !file.endsWith('.test.ts'));
const read = (file: string): string => readFileSync(path.join(source, file), 'utf8');

function flat(texts: object, prefix = ''): [string, string][] {
  return Object.entries(texts).flatMap(([key, value]) => (typeof value === 'string' ? [[prefix + key, value] as [string, string]] : flat(value as object, `${prefix}${key}.`)));
}
const english = new Map([...flat(en), ...flat(laterEn)]);
const chinese = new Map([...flat(zh), ...flat(laterZh)]);
const holes = (text: string): string[] => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!))].sort();

test('[WB20] both languages have every text, with the same places to fill in', () => {
  expect([...chinese.keys()].sort()).toEqual([...english.keys()].sort());
  for (const [key, text] of english) expect([key, holes(chinese.get(key)!)]).toEqual([key, holes(text)]);
  expect([...english, ...chinese].filter(([, text]) => text.trim() === '')).toEqual([]);
});

test('[WB21] every text that the client asks for is there, and every text that is there is asked for', () => {
  const all = files.map(read).join('\n');
  const exact = new Set([...all.matchAll(/\bt\(\s*'([a-zA-Z.]+)'/g), ...all.matchAll(/'([a-z]+\.[a-zA-Z.]+)'/g)].map((match) => match[1]!));
  const missing = [...all.matchAll(/\$?\bt\(\s*'([a-z]+\.[a-zA-Z.]+)'/g)].map((match) => match[1]!).filter((key) => !english.has(key));
  expect(missing).toEqual([]);
  // `nav.${tab.name}` asks for all of nav.
  const beginnings = [...all.matchAll(/`([a-z]+(?:\.[a-z]+)*\.)\$\{/g)].map((match) => match[1]!);
  const unused = [...english.keys()].filter((key) => !exact.has(key) && !beginnings.some((beginning) => key.startsWith(beginning)));
  expect(unused).toEqual([]);
});

test('[WB22] no template has words of its own', () => {
  const found = files
    .filter((file) => file.endsWith('.vue'))
    .flatMap((file) => {
      const template = /<template>([\s\S]*)<\/template>/.exec(read(file))?.[1] ?? '';
      const bare = template.replace(/\{\{[\s\S]*?\}\}/g, '').replace(/<!--[\s\S]*?-->/g, '');
      const inside = [...bare.matchAll(/>([^<>]*[\p{L}][^<>]*)</gu)].map((match) => match[1]!.trim());
      const named = [...bare.matchAll(/\s(?:aria-label|title|placeholder|alt|label)="([^"]*\p{L}[^"]*)"/gu)].map((match) => match[1]!);
      return [...inside, ...named].filter((text) => !isCode(text)).map((text) => `${file}: ${text}`);
    });
  expect(found).toEqual([]);
});

/** The end of a start tag whose attribute holds a `>`: an arrow function or a comparison. */
const isCode = (text: string): boolean => /[=({"]/.test(text) && !/[.!?。]$/.test(text);

test('[WB21] what comes later is asked for only on screens that wait for it', () => {
  const screens = [...read('router.ts').matchAll(/withItsTexts\(\(\) => import\('\.\/(views\/\w+\.vue)'\)\)/g)].map((match) => match[1]!);
  expect(screens.length).toBeGreaterThan(0);
  const beginnings = Object.keys(laterEn);
  const asks = (file: string): boolean => beginnings.some((beginning) => new RegExp(`['\`]${beginning}\\.`).test(read(file)));
  const named = (file: string): string => path.basename(file);
  // A composable that asks is imported by these screens alone.
  for (const file of files.filter((one) => asks(one) && !screens.includes(one))) {
    const users = files.filter((other) => read(other).includes(`/${named(file)}'`));
    expect([file, users.filter((user) => !screens.includes(user))]).toEqual([file, []]);
  }
});
