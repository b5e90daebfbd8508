import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const source = path.resolve(import.meta.dirname, '..');

/** What lies left or right whatever the language: written from right to left it would be on the wrong side. */
const physical =
  /(?:^|[\s;{])(?:(?:margin|padding|border|scroll-margin|scroll-padding)-(?:left|right)|left|right|float|clear|text-align|border-(?:top|bottom)-(?:left|right)-radius)\s*:\s*([^;]*)/g;
/** Of those that name both: sides in the value. */
const sided = /^(?:left|right)\b/;

/** What moves along the line must turn round with it: `--along` is 1 from left to right and -1 from right to left. Half of itself is the middle both ways. */
const moves = /translateX\((?!-50%\))(?![^;]*var\(--along\))[^;]*/g;

test('[RE20] styles know beginning and end, not left and right', () => {
  const found = globSync('**/*.{vue,css}', { cwd: source }).flatMap((file) => {
    const all = readFileSync(path.join(source, file), 'utf8');
    const styles = file.endsWith('.css') ? [all] : [...all.matchAll(/<style[^>]*>([\s\S]*?)<\/style>/g)].map((match) => match[1]!);
    const rules = styles.map((style) => style.replace(/\/\*[\s\S]*?\*\//g, ''));
    const sides = rules
      .flatMap((rule) => [...rule.matchAll(physical)])
      .filter(([rule, value]) => !/(?:float|clear|text-align)\s*:/.test(rule) || sided.test(value!.trim()))
      .map(([rule]) => rule);
    const turned = rules.flatMap((rule) => rule.match(moves) ?? []);
    return [...sides, ...turned].map((rule) => `${file}: ${rule.trim()}`);
  });
  expect(found).toEqual([]);
});
