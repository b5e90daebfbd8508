import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Page, Response } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { webFolder } from '../packages/server/src/http/static.ts';
import { Site, field } from './people.ts';

/** Script and style that stand between opening the page and using it, compressed. Bytes. */
const firstLoadBytes = 150 * 1024;
/** All requests until then: the page, its scripts and styles, texts, icons, what the server says of itself. */
const firstLoadRequests = 12;

const source = path.resolve(import.meta.dirname, '../packages/web/src');

let site: Site;
beforeAll(async () => {
  site = await Site.open();
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

interface Load {
  /** Script and style as they came over the line. */
  bytes: number;
  requests: string[];
}

/** Opens a page in a browser that has nothing cached, up to where it is of use. */
async function load(page: Page, url: string, ready: (page: Page) => Promise<unknown>): Promise<Load> {
  const responses: Response[] = [];
  page.on('response', (response) => responses.push(response));
  await page.goto(url);
  await ready(page);
  await page.waitForLoadState('networkidle');
  const code = responses.filter((response) => ['script', 'stylesheet'].includes(response.request().resourceType()));
  const sizes = await Promise.all(code.map(async (response) => (await response.request().sizes()).responseBodySize));
  return { bytes: sizes.reduce((sum, size) => sum + size, 0), requests: responses.map((response) => new URL(response.url()).pathname) };
}

/** A worker loads the later screens behind the first one's back; what is measured here is what people wait for. */
const fresh = { serviceWorkers: 'block' } as const;

async function firstLoads(): Promise<{ gate: Load; chat: Load }> {
  const gate = await load(await site.openBrowser(fresh), '/signin', (page) => page.locator('form').waitFor());
  const [ada] = await site.friends();
  const storageState = await ada.page.context().storageState({ indexedDB: true });
  const opened = { ...ada, page: await site.openBrowser({ ...fresh, storageState }) };
  const chat = await load(opened.page, new URL(ada.page.url()).pathname, () => field(opened).waitFor());
  return { gate, chat };
}

test('[RE1] the first load is at most 150 KB of script and style, compressed, in at most 12 requests', async () => {
  const loads = await firstLoads();
  for (const [name, { bytes, requests }] of Object.entries(loads)) {
    expect.soft(bytes, `${name}: ${requests.join(' ')}`).toBeGreaterThan(50 * 1024);
    expect.soft(bytes, `${name}: ${requests.join(' ')}`).toBeLessThanOrEqual(firstLoadBytes);
    expect.soft(requests.length, `${name}: ${requests.join(' ')}`).toBeLessThanOrEqual(firstLoadRequests);
  }
});

test('[RE2] what is loaded on demand has a file of its own, and is not in the first load', async () => {
  const wanted = globSync('**/*.{vue,ts}', { cwd: source }).flatMap((file) =>
    [...readFileSync(path.join(source, file), 'utf8').matchAll(/\bimport\('(\.[^']+\.vue)'\)/g)].map((match) => path.basename(match[1]!, '.vue')),
  );
  expect(wanted).toContain('GateView');
  expect(wanted.length).toBeGreaterThan(10);
  const built = globSync('assets/*.js', { cwd: webFolder }).map((file) => path.basename(file));
  const { chat } = await firstLoads();
  for (const name of new Set(wanted)) {
    expect.soft(built.filter((file) => file.startsWith(`${name}-`)).length, name).toBe(1);
    expect.soft(chat.requests.filter((file) => file.startsWith(`/assets/${name}-`))).toEqual([]);
  }
});

test('[RE3] scripts and styles are sent compressed, and kept for ever', async () => {
  const files = globSync('assets/*.{js,css}', { cwd: webFolder });
  const large = files.filter((file) => readFileSync(path.join(webFolder, file)).length > 1_024);
  expect(large.length).toBeGreaterThan(5);
  for (const file of large) {
    for (const encoding of ['br', 'gzip']) {
      const { status, headers } = await site.server.http('GET', `/${file}`, { headers: { 'accept-encoding': encoding } });
      expect(status).toBe(200);
      expect(headers).toMatchObject({ 'content-encoding': encoding, 'cache-control': 'public, max-age=31536000, immutable', vary: expect.stringMatching(/accept-encoding/i) });
      expect(headers['content-type']).toMatch(file.endsWith('.css') ? /^text\/css/ : /^(text|application)\/javascript/);
    }
  }
  const plain = await site.server.http('GET', `/${large[0]!}`, { headers: { 'accept-encoding': 'identity' } });
  expect(plain.headers).not.toHaveProperty('content-encoding');
  expect(plain.headers['vary']).toMatch(/accept-encoding/i);
  const page = await site.server.http('GET', '/', { headers: { 'accept-encoding': 'br' } });
  expect(page.headers).toMatchObject({ 'content-encoding': 'br', 'cache-control': 'no-cache', 'content-type': 'text/html; charset=utf-8' });
});

test('[CS5] a page that breaks its policy is reported by the browser, and fails these tests', async () => {
  const page = await site.openBrowser(fresh);
  await page.goto('/signin');
  await page.locator('form').waitFor();
  const reported = async (directive: string): Promise<number> => {
    const { values } = await site.server.running.metrics.registry.getSingleMetric('kith_policy_reports_total')!.get();
    return values.find(({ labels }) => labels['directive'] === directive)?.value ?? 0;
  };
  const broken: [directive: string, breakIt: () => void][] = [
    ['img-src', () => document.body.append(Object.assign(new Image(), { src: 'https://elsewhere.example/picture.png' }))],
    // What people write never becomes markup: a string put in as such throws.
    ['require-trusted-types-for', () => Object.assign(document.createElement('p'), { innerHTML: '<b>bold</b>' })],
  ];
  for (const [directive, breakIt] of broken) {
    expect(await reported(directive)).toBe(0);
    await page.evaluate(breakIt).catch(() => {});
    await expect.poll(() => reported(directive), { timeout: 20_000 }).toBe(1);
  }
  expect(site.complaints.splice(0).join('\n')).toContain('Content Security Policy');
});

test('[RE4] no page asked another origin for anything, broke the policy or threw', () => {
  expect(site.complaints).toEqual([]);
});
