import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Person } from '../packages/server/test/harness.ts';
import { type Web, openWeb } from '../packages/server/test/web.ts';
import { Site, type Someone, bubble, field, log, password, patient, say, seriousProblems, until, untilHidden } from './people.ts';

// Links in the web client: two friends, and a piece of the web that this server may look at.

let web: Web;
let site: Site;
let ada: Someone;
let noor: Someone;
beforeAll(async () => {
  web = await openWeb();
  const photo = await sharp({ create: { width: 320, height: 240, channels: 3, background: '#c63' } })
    .png()
    .toBuffer();
  web.pages['site.test/photo.png'] = (_request, response) => void response.writeHead(200, { 'content-type': 'image/png' }).end(photo);
  web.pages['site.test/maples'] = page('On maples', '<meta name="description" content="Why they turn red."><meta property="og:image" content="/photo.png">');
  web.pages['site.test/plain'] = page('A plain page');
  site = await Site.open({ network: web.network });
  [ada, noor] = await site.friends();
});
afterAll(async () => {
  await site.close();
  await web.close();
});

const page = (title: string, more = ''): string => `<!doctype html><html><head><title>${title}</title>${more}</head><body></body></html>`;
const card = (one: Someone, host: string) => log(one).getByRole('link').filter({ hasText: host });
const previews = (one: Someone, name: string) => one.page.getByRole('switch', { name });

test('[LP20] the link of a message gets its card on both sides, with the host first, and asks nobody but this server', async () => {
  await say(ada, 'look: http://site.test/maples');
  for (const one of [ada, noor]) {
    const shown = card(one, 'On maples');
    await shown.waitFor();
    expect(await shown.innerText()).toMatch(/^site\.test\s+On maples\s+Why they turn red\.$/);
    expect(await shown.evaluate((link: HTMLAnchorElement) => [link.href, link.target, link.rel])).toEqual(['http://site.test/maples', '_blank', 'noopener noreferrer']);
    const picture = shown.locator('img');
    await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth), patient).toBe(192);
    expect(new URL(await picture.evaluate((image: HTMLImageElement) => image.src)).origin).toBe(site.server.url);
    // By key: it is met on the way through the page.
    await shown.focus();
    expect(await shown.evaluate((link) => link === document.activeElement)).toBe(true);
  }
  expect(web.asked.map(({ url }) => url)).toEqual(['http://site.test/maples', 'http://site.test/photo.png']);
});

test('[LP20] where a link leads elsewhere than it says, both hosts are named', async () => {
  web.pages['other.test/short'] = (_request, response) => void response.writeHead(302, { location: 'http://site.test/plain' }).end();
  await say(ada, 'http://other.test/short');
  await card(noor, 'A plain page').waitFor();
  expect(await card(noor, 'A plain page').innerText()).toMatch(/^other\.test → site\.test\s/);
});

test('[LP20] axe finds nothing serious on a card, in either theme', async () => {
  await card(noor, 'On maples').waitFor();
  for (const colorScheme of ['light', 'dark'] as const) {
    // At once: half-way from one theme to the other is neither.
    await noor.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    expect(await seriousProblems(noor.page)).toEqual([]);
  }
  await noor.page.emulateMedia({ colorScheme: null, reducedMotion: null });
});

test('[LP21] a card that comes above what is read does not move it', async () => {
  const { server } = site;
  const conversationId = ada.page.url().split('/c/')[1]!;
  const anna = await server.login({ handle: ada.handle, password } as Person);
  const send = (text: string, at: number) => server.call('message.send', { conversationId, clientId: `line-of-many-${at}`, type: 'text', text }, anna.token);
  const { message } = await send('http://site.test/nothing-yet', 0);
  for (let at = 1; at <= 40; at += 1) await send(`line ${at}`, at);
  await bubble(noor, 'line 40').waitFor();
  await bubble(noor, 'line 4').evaluate((row) => row.scrollIntoView());
  const placeOf = (text: string) => bubble(noor, text).evaluate((row) => row.getBoundingClientRect().top);
  await expect.poll(async () => Math.abs((await placeOf('line 4')) - (await placeOf('line 4')))).toBe(0);
  const before = await placeOf('line 6');
  const told = { messageId: message.id, conversationId, senderId: message.senderId, url: 'http://site.test/nothing-yet' };
  expect(await server.running.core.linkFound(told, { site: 'site.test', title: 'It came late' })).toBe(true);
  await card(noor, 'It came late').waitFor();
  expect(Math.abs((await placeOf('line 6')) - before)).toBeLessThanOrEqual(1);
});

test('[LP22] the sender takes a card away for both', async () => {
  await say(ada, 'http://site.test/plain and more');
  const mine = log(ada).locator('.msg').filter({ hasText: 'and more' });
  await mine.getByText('A plain page').waitFor();
  await mine.click({ button: 'right', position: { x: 10, y: 10 } });
  await ada.page.getByRole('menuitem', { name: 'Remove preview' }).click();
  for (const one of [ada, noor]) {
    const shown = log(one).locator('.msg').filter({ hasText: 'and more' });
    await untilHidden(shown.getByText('A plain page'));
    expect(await shown.innerText()).toContain('http://site.test/plain and more');
  }
});

test('[LP23] who does not want them sees none on this device, and what one sends without has none', async () => {
  await card(noor, 'On maples').waitFor({ state: 'attached' });
  await noor.page.goto('/settings/privacy');
  await previews(noor, 'Show previews of links').click();
  await noor.page.goBack();
  await field(noor).waitFor();
  await bubble(noor, 'line 40').waitFor();
  await log(noor).getByText('and more').waitFor();
  expect(await card(noor, 'It came late').or(card(noor, 'On maples')).count()).toBe(0);
  await noor.page.goto('/settings/privacy');
  await previews(noor, 'Show previews of links').click();
  await previews(noor, 'Previews of links I send').click();
  await expect.poll(() => previews(noor, 'Previews of links I send').getAttribute('aria-checked'), patient).toBe('false');
  await until(noor.page, () => document.querySelector('.toast') === null);
  await noor.page.goBack();
  await field(noor).waitFor();
  await say(noor, 'mine: http://site.test/plain');
  await say(ada, 'hers: http://site.test/plain');
  await log(noor).locator('.msg').filter({ hasText: 'hers:' }).getByText('A plain page').waitFor();
  expect(await log(noor).locator('.msg').filter({ hasText: 'mine:' }).getByText('A plain page').count()).toBe(0);
});

test('[LP24] of a stranger’s request nothing is shown until it is accepted', async () => {
  const { server } = site;
  const stranger = await server.register('stranger');
  const noorHere = await server.login({ handle: noor.handle, password } as Person);
  const { conversation } = await server.call('conversation.create', { title: 'Prizes', memberIds: [noorHere.id] }, stranger.token);
  await server.call('message.send', { conversationId: conversation.id, clientId: 'a-strangers-link', type: 'text', text: 'win: http://site.test/maples' }, stranger.token);
  await expect
    .poll(async () => (await server.call('message.history', { conversationId: conversation.id }, stranger.token)).messages.at(-1)!.link?.title, patient)
    .toBe('On maples');
  await noor.page.goto(`/c/${conversation.id}`);
  await log(noor).getByText('win:').waitFor();
  expect(await log(noor).getByText('On maples').count()).toBe(0);
  await noor.page.getByRole('button', { name: 'Accept' }).click();
  await card(noor, 'On maples').waitFor();
});

test('[LP25] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
