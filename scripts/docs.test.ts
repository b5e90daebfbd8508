import fs from 'node:fs';
import path from 'node:path';
import { methods, signals } from '@kith/protocol';
import { expect, test } from 'vitest';
import { referenceFolder, referencePages } from './docs.ts';

const pages = referencePages();
const openapi = JSON.parse(pages['openapi.json']!) as { paths: Record<string, unknown> };
const asyncapi = JSON.parse(pages['asyncapi.json']!) as { operations: Record<string, unknown> };

test.for(Object.keys(pages))('[RF1] docs/reference/%s is what `npm run docs` writes', (name) => {
  const written = fs.readFileSync(path.join(referenceFolder, name), 'utf8');
  // Compared as one value: the difference itself would be long, and the remedy is always the same.
  expect(written === pages[name], `docs/reference/${name} is stale: run \`npm run docs\` and commit what it writes`).toBe(true);
});

test('[RF2] every method but hello is on the page for HTTP, every method and signal on the one for the socket', () => {
  const names = Object.keys(methods);
  const overHttp = names.filter((name) => name !== 'hello').map((name) => `/api/${name}`);
  expect(Object.keys(openapi.paths).sort()).toEqual(overHttp.sort());
  const sent = ['push', 'heads', ...Object.keys(signals).map((name) => `signal.${name}`)];
  expect(Object.keys(asyncapi.operations).sort()).toEqual([...names, ...sent].sort());
});

test.for([
  ['openapi.json', openapi],
  ['asyncapi.json', asyncapi],
] as const)('[RF3] every reference in %s leads somewhere', ([, page]) => {
  const missing = references(page).filter((reference) => follow(page, reference) === undefined);
  expect(missing).toEqual([]);
});

test('[RF4] every link within methods.md leads to a heading or an anchor', () => {
  const text = pages['methods.md']!;
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!.toLowerCase().replaceAll('.', '').replaceAll(' ', '-'));
  const targets = new Set([...headings, ...[...text.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id!)]);
  const links = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, to]) => to!);
  expect(links.filter((to) => !targets.has(to))).toEqual([]);
});

function references(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const own = '$ref' in value && typeof value.$ref === 'string' ? [value.$ref] : [];
  return [...own, ...Object.values(value).flatMap(references)];
}

function follow(page: unknown, reference: string): unknown {
  let at = page;
  for (const step of reference.replace('#/', '').split('/')) at = (at as Record<string, unknown> | undefined)?.[step];
  return at;
}
