import { globSync, readFileSync } from 'node:fs';
import { closeCodes, entities, errorCodes, methods, signals } from '@kith/protocol';
import { expect, test } from 'vitest';

const read = (file: string): string => readFileSync(file, 'utf8');
const protocol = read('docs/protocol.md');
const reference = read('docs/reference/methods.md');

/** Rules are stated as `- **MS1** …` on pages of docs/ and proven by tests named `[MS1] …`. */
const stated = new Map(globSync('docs/*.md').flatMap((file) => [...read(file).matchAll(/^- \*\*([A-Z]{2,3}\d+)\*\* /gm)].map((match) => [match[1]!, file] as const)));
const suites = globSync('{packages,scripts,examples,e2e,chaos,bench}/**/*.{test,contract}.ts', { exclude: (name) => /node_modules|dist/.test(name) });
const proven = new Map(suites.flatMap((file) => [...read(file).matchAll(/[`'"(]\[([A-Z]{2,3}\d+)\] /g)].map((match) => [match[1]!, file] as const)));

test('[DO1] every rule has a test that is named by it', () => {
  expect([...stated.keys()].filter((id) => !proven.has(id))).toEqual([]);
});

test('[DO2] every test is named by a rule that is written down', () => {
  expect([...proven].filter(([id]) => !stated.has(id))).toEqual([]);
});

test('[DO20] every rule that the catalogue of attacks names has a test, and every row names one', () => {
  const rows = [...read('docs/attacks.md').matchAll(/^\|(?! what | -)(.+)\|$/gm)].map(([, row]) => row!.split('|').at(-1)!.trim());
  expect(rows.length).toBeGreaterThan(50);
  expect(rows.flatMap((named) => named.split(', ')).filter((id) => !proven.has(id))).toEqual([]);
});

test('[DO3] every code stands in the protocol with its meaning, and no other does', () => {
  const rows = new Map(
    [...protocol.matchAll(/^\| `([a-z_]+)` +\| (\d{3}) +\| (yes|no) +\|/gm)].map((match) => [match[1]!, { status: Number(match[2]), retryable: match[3] === 'yes' }]),
  );
  const expected = new Map(Object.entries(errorCodes).map(([code, { status, retryable }]) => [code, { status, retryable }]));
  expect(rows).toEqual(expected);
  const closes = new Map(
    [...protocol.matchAll(/^\| ((?:\d{4}(?:, )?)+) *\| (yes|no) +\|/gm)].flatMap((match) => match[1]!.split(', ').map((code) => [Number(code), match[2] === 'yes'])),
  );
  const known = Object.values(closeCodes).filter(({ code }) => code !== closeCodes.normal.code);
  expect(closes).toEqual(new Map(known.map(({ code, reconnect }) => [code, reconnect])));
});

test('[DO4] every method, entity and signal stands in the reference', () => {
  const missing = [...Object.keys(methods), ...Object.keys(entities), ...Object.keys(signals)].filter(
    (name) => !reference.includes(`\`${name}\``) && !reference.includes(`# ${name}`),
  );
  expect(missing).toEqual([]);
});
