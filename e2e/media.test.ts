import sharp from 'sharp';
import type { BrowserContextOptions, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { FileRef } from '@kith/protocol';
import type { Person, TestServer } from '../packages/server/test/harness.ts';
import { Site, type Someone, log, password, patient, until, untilHidden } from './people.ts';

let site: Site;
let server: TestServer;
let ada: Person;
let noor: Person;

beforeAll(async () => {
  site = await Site.open({ engine: 'sqlite-direct' });
  server = site.server;
  [ada, noor] = await Promise.all([server.register('ada', { name: 'Ada', password }), server.register('noor', { name: 'Noor', password })]);
  await server.befriend(ada, noor);
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

let count = 0;
const clientId = (): string => `media-client-id-${++count}`;

/** A picture of one colour. */
const picture = (width: number, height: number, hue = 150): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: `hsl(${hue}, 40%, 60%)` } })
    .png()
    .toBuffer();

async function send(who: Person, conversationId: string, file: FileRef, { type = 'image', text = '' }: { type?: 'image' | 'file'; text?: string } = {}) {
  return (await server.call('message.send', { conversationId, clientId: clientId(), type, text, fileId: file.id }, who.token)).message;
}
const say = async (who: Person, conversationId: string, text: string) =>
  (await server.call('message.send', { conversationId, clientId: clientId(), type: 'text', text }, who.token)).message;
/** A new group of the two. */
const group = async (title = `Group ${++count}`): Promise<string> => (await server.call('conversation.create', { title, memberIds: [noor.id] }, ada.token)).conversation.id;

/** Somebody with a conversation open. */
async function open(who: Person, conversationId: string, options?: BrowserContextOptions, path = ''): Promise<Someone> {
  const one = await site.enter(who, { path: `/c/${conversationId}${path}`, ...options });
  await log(one).waitFor({ state: 'attached' });
  return one;
}
const lightbox = (page: Page) => page.locator('dialog.lightbox');
/** How far it is drawn close, once it is said to have moved. */
const scaleOf = (page: Page): Promise<number> =>
  lightbox(page)
    .locator('.frame')
    .evaluate((frame) => new DOMMatrix(getComputedStyle(frame).transform).a);
const focused = (page: Page): Promise<string | null> => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement!.tagName);
/** The address names the message, and it is on the screen. */
async function isInView(one: Someone, message: Locator): Promise<void> {
  await expect.poll(() => new URL(one.page.url()).search, patient).toMatch(/^\?m=\d+$/);
  await expect
    .poll(async () => {
      const [box, view] = [await message.boundingBox(), await log(one).boundingBox()];
      return box !== null && box.y >= view!.y && box.y < view!.y + view!.height;
    }, patient)
    .toBe(true);
}
const filesAsked = (page: Page): string[] => {
  const asked: string[] = [];
  page.on('request', (request) => request.url().includes('/files/') && asked.push(new URL(request.url()).pathname + new URL(request.url()).search));
  return asked;
};

describe('in a conversation', () => {
  test('[MD4] nothing moves while pictures come, on the way up and down', async () => {
    const id = await group();
    const files = await Promise.all(
      [
        [900, 600],
        [500, 900],
        [2_000, 300],
        [60, 60],
      ].map(async ([width, height], n) => server.upload(n % 2 ? ada : noor, await picture(width!, height!, n * 60), { name: `${n}.png` })),
    );
    for (let n = 0; n < 90; n++) await (n % 3 === 2 ? say(ada, id, `line ${n}`) : send(n % 2 ? ada : noor, id, files[n % 4]!, { text: n % 5 === 0 ? 'with words' : '' }));
    await server.call('read.mark', { conversationId: id, seq: 1_000 }, ada.token);
    const one = await site.enter(ada);
    const { page } = one;
    // No picture comes until it is let go.
    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.route('**/files/**', async (route) => {
      await released;
      await route.continue();
    });
    await page.goto(`/c/${id}`);
    await log(one).locator('.picture.coming').last().waitFor();
    const places = () =>
      log(one).evaluate((box) => ({
        scroll: box.scrollHeight,
        tops: [...box.querySelectorAll<HTMLElement>('.msg')].map((row) => [row.dataset['key'], Math.round(row.getBoundingClientRect().top)]),
      }));
    // All pages, so that nothing but pictures is on its way.
    await expect.poll(() => log(one).evaluate((box) => ((box.scrollTop = 0), box.querySelectorAll('.msg').length)), patient).toBe(90);
    await log(one)
      .getByText('line 47', { exact: true })
      .evaluate((row) => row.scrollIntoView({ block: 'center' }));
    await expect.poll(async () => JSON.stringify(await places()) === JSON.stringify(await places()), patient).toBe(true);
    const before = await places();
    expect(before.tops.length).toBe(90);
    release();
    const walk = async (to: number) => {
      await log(one).evaluate(async (box, end) => {
        for (let step = 0; step < 12; step++) {
          box.scrollTop = end === 0 ? box.scrollTop * 0.75 : box.scrollTop + (end - box.scrollTop) * 0.25;
          await new Promise(requestAnimationFrame);
        }
        box.scrollTop = end;
      }, to);
    };
    await walk(0);
    await walk(1e9);
    await until(page, () => document.querySelectorAll('[role=log] .picture.there').length > 30);
    await log(one)
      .getByText('line 47', { exact: true })
      .evaluate((row) => row.scrollIntoView({ block: 'center' }));
    await until(page, () => {
      const box = document.querySelector('[role=log]')!.getBoundingClientRect();
      return [...document.querySelectorAll('[role=log] .picture.coming')].every(
        (coming) => coming.getBoundingClientRect().bottom < box.top || coming.getBoundingClientRect().top > box.bottom,
      );
    });
    expect(await places()).toEqual(before);
  });

  test('[MD5] a picture is a few pixels first and a small one then, never all of it; the list tells of it in a word', async () => {
    const id = await group();
    const file = await server.upload(noor, await picture(2_400, 1_600), { name: 'hills.png' });
    expect(file).toMatchObject({ width: 2_400, height: 1_600, preview: expect.any(String) });
    await send(noor, id, file);
    const one = await site.enter(ada);
    const { page } = one;
    const asked = filesAsked(page);
    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.route('**/files/**', (route) => released.then(() => route.continue()));
    await page.goto(`/c/${id}`);
    await log(one).locator('.picture.coming .preview').waitFor();
    release();
    await log(one).locator('.picture.there').waitFor();
    expect(asked).toEqual([`/files/${file.id}/hills.png?size=small`]);
    const shown = log(one).locator('.picture img.whole');
    expect(await shown.evaluate((img: HTMLImageElement) => [img.naturalWidth, img.naturalHeight])).toEqual([720, 480]);
    const box = (await log(one).locator('.picture').boundingBox())!;
    expect([box.width, Math.round(box.height)]).toEqual([340, 227]);
    expect(await page.getByRole('navigation', { name: 'Chats' }).locator(`a[href="/c/${id}"] .prev`).textContent()).toBe('Noor: Photo');
  });

  test('[MD6] a picture that does not come says so and is asked for again; one that is gone says that', async () => {
    const id = await group();
    const [late, gone] = [await server.upload(ada, await picture(300, 200), { name: 'late.png' }), await server.upload(ada, await picture(300, 200), { name: 'gone.png' })];
    await send(ada, id, late);
    const { id: messageId } = await send(ada, id, gone);
    const one = await site.enter(ada);
    const { page } = one;
    let fails = true;
    await page.route('**/late.png*', (route) => (fails ? route.abort() : route.continue()));
    await page.route('**/gone.png*', (route) => route.fulfill({ status: 404 }));
    await page.goto(`/c/${id}`);
    await log(one).getByText('The picture could not be loaded.').waitFor();
    await log(one).getByText('It is no longer there, or no longer for you.').waitFor();
    fails = false;
    await log(one).getByRole('button', { name: 'Retry' }).click();
    await log(one).locator('.picture.there').waitFor();
    await server.call('message.delete', { messageId }, ada.token);
    await log(one).getByText('You recalled a message').waitFor();
    await untilHidden(log(one).getByText('It is no longer there'));
    expect(await log(one).locator('.picture').count()).toBe(1);
  });

  test('[MD7] of strangers nothing is loaded and no link leads anywhere until they are accepted', async () => {
    const eve = await server.register(undefined, { name: 'Eve', password });
    const { conversation } = await server.call('conversation.create', { title: 'Free money', memberIds: [ada.id] }, eve.token);
    await send(eve, conversation.id, await server.upload(eve, await picture(300, 200), { name: 'eve.png' }));
    await send(eve, conversation.id, await server.upload(eve, Buffer.from('x'), { name: 'eve.pdf' }), { type: 'file' });
    await say(eve, conversation.id, 'at https://eve.example/');
    const one = await site.enter(ada);
    const { page } = one;
    const asked = filesAsked(page);
    await page.goto(`/c/${conversation.id}`);
    await log(one).getByText('Hidden until you accept').nth(1).waitFor();
    expect(await log(one).locator('img, a[href]').count()).toBe(0);
    expect(await log(one).getByText('https://eve.example/').count()).toBe(1);
    await page.goto(`/c/${conversation.id}/shared`);
    await page.locator('aside .grid button[disabled]').waitFor();
    expect(asked).toEqual([]);
    await page.goto(`/c/${conversation.id}`);
    await page.getByRole('button', { name: 'Accept' }).click();
    await log(one).locator('.picture.there').waitFor();
    await log(one).getByRole('link', { name: 'https://eve.example/' }).waitFor();
    await log(one).locator('a.file').waitFor();
  });

  test('[MD8] what moves moves while it is looked at, and not at all where people want none of it', async () => {
    const id = await group();
    const frames = await Promise.all([0, 120, 240].map((hue) => picture(200, 160, hue)));
    const gif = await sharp(frames, { join: { animated: true } })
      .gif({ delay: [80, 80, 80] })
      .toBuffer();
    const file = await server.upload(ada, gif, { name: 'moves.gif' });
    expect(file.animated).toBe(true);
    await send(ada, id, file);
    for (let n = 0; n < 30; n++) await say(ada, id, `line ${n}`);
    await server.call('read.mark', { conversationId: id, seq: 1_000 }, ada.token);
    const one = await open(ada, id);
    const shown = log(one).locator('.picture img.whole');
    const source = () => shown.getAttribute('src');
    await log(one).evaluate((box) => (box.scrollTop = 0));
    await expect.poll(source, patient).toBe(`/files/${file.id}/moves.gif`);
    await log(one).evaluate((box) => (box.scrollTop = box.scrollHeight));
    await expect.poll(source, patient).toBe(`/files/${file.id}/moves.gif?size=small`);
    const still = await open(ada, id, { reducedMotion: 'reduce' });
    await log(still).evaluate((box) => (box.scrollTop = 0));
    await log(still).locator('.picture.there').waitFor();
    await log(still).getByText('GIF', { exact: true }).waitFor();
    expect(await log(still).locator('.picture img.whole').getAttribute('src')).toBe(`/files/${file.id}/moves.gif?size=small`);
  });

  test('[MD9] a video takes no bytes until it is played, and then those that are played; what cannot be played is told', async () => {
    const id = await group();
    const broken = await server.upload(ada, Buffer.concat([Buffer.from('\0\0\0\x18ftypisom\0\0\x02\0isomiso2', 'latin1'), Buffer.alloc(500)]), { name: 'broken.mp4' });
    await send(ada, id, broken, { type: 'file' });
    const one = await site.enter(ada);
    const { page } = one;
    const ranges: (string | undefined)[] = [];
    page.on('request', (request) => request.url().includes('/files/') && ranges.push(request.headers()['range']));
    await page.goto(`/c/${id}`);
    const film = await record(page);
    expect(film.length).toBeGreaterThan(500);
    const file = await server.upload(ada, film, { name: 'film.webm' });
    expect(file.type).toBe('video/webm');
    await send(ada, id, file, { type: 'file' });
    await log(one).getByRole('button', { name: 'Play film.webm' }).waitFor();
    expect(ranges).toEqual([]);
    await log(one).getByRole('button', { name: 'Play film.webm' }).click();
    await expect
      .poll(
        () =>
          log(one)
            .locator('video')
            .evaluate((video: HTMLVideoElement) => video.currentTime),
        patient,
      )
      .toBeGreaterThan(0);
    expect(ranges[0]).toBe('bytes=0-');
    await log(one).getByRole('button', { name: 'Play broken.mp4' }).click();
    await log(one).getByText('This video cannot be played here.').waitFor();
  });

  test('[MD20] a removed member’s saved address of a file answers 404, and their page holds nothing of it', async () => {
    const id = await group();
    const file = await server.upload(ada, await picture(300, 200), { name: 'secret.png' });
    await send(ada, id, file);
    const one = await open(noor, id);
    const { page } = one;
    await log(one).locator('.picture.there').waitFor();
    const url = `${server.url}/files/${file.id}/secret.png`;
    const status = (size = '') => page.evaluate((at) => fetch(at).then((answer) => answer.status), url + size);
    expect([await status(), await status('?size=small')]).toEqual([200, 200]);
    await server.call('member.remove', { conversationId: id, userId: noor.id }, ada.token);
    await page.getByText('This conversation is not here, or you are not in it.').waitFor();
    expect([await status(), await status('?size=small'), await status('?size=large')]).toEqual([404, 404, 404]);
    expect((await page.goto(url))?.status()).toBe(404);
  });
});

describe('the lightbox', () => {
  let views: string;
  const names = Array.from({ length: 8 }, (_, n) => `view ${n}.png`);
  beforeAll(async () => {
    views = await group('Views');
    for (const [n, name] of names.entries()) {
      await send(n % 2 ? ada : noor, views, await server.upload(n % 2 ? ada : noor, await picture(2_400 - n, 1_600, n * 40), { name }));
      // So many lines between that they are not in one page of the conversation.
      for (let line = 0; line < 12; line++) await say(noor, views, `line ${n}.${line}`);
    }
    for (const who of [ada, noor]) await server.call('read.mark', { conversationId: views, seq: 1_000 }, who.token);
  });
  const shown = (page: Page) => lightbox(page).locator('.frame img.there').first();
  const isShown = async (page: Page, n: number): Promise<void> => {
    await expect.poll(() => shown(page).getAttribute('alt'), patient).toBe(names[n]);
  };
  async function opened(options?: BrowserContextOptions): Promise<Someone> {
    const one = await open(ada, views, options);
    await log(one).getByRole('button', { name: 'Open view 7.png' }).click();
    await isShown(one.page, 7);
    return one;
  }

  test('[MD11] it keeps the focus and gives it back; arrows go across all pictures of the conversation', async () => {
    const { page } = await opened();
    await lightbox(page).getByText('8 / 8', { exact: true }).waitFor();
    for (let n = 6; n >= 0; n--) {
      await page.keyboard.press('ArrowLeft');
      await isShown(page, n);
    }
    expect(await lightbox(page).getByRole('button', { name: 'Previous' }).count()).toBe(0);
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowRight');
    await isShown(page, 1);
    for (let press = 0; press < 12; press++) {
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => document.activeElement === document.body || document.activeElement!.closest('dialog') !== null)).toBe(true);
    }
    await page.keyboard.press('Escape');
    await untilHidden(lightbox(page));
    await expect.poll(() => focused(page), patient).toBe('Open view 7.png');
  });

  test('[MD12] plus, minus, nought, wheel and double click draw it close and away; all its pixels come only then', async () => {
    const { page } = await opened();
    const asked = filesAsked(page);
    const { width } = (await lightbox(page).locator('.frame').boundingBox())!;
    expect(width).toBeLessThanOrEqual(1_280);
    expect(asked.filter((path) => !path.includes('size='))).toEqual([]);
    await page.keyboard.press('+');
    await expect.poll(() => scaleOf(page)).toBeCloseTo(1.5);
    await lightbox(page).locator('.frame img.there').nth(1).waitFor();
    expect(asked.filter((path) => !path.includes('size=')).map((path) => decodeURIComponent(path.split('/').at(-1)!))).toEqual(['view 7.png']);
    await page.keyboard.press('-');
    await expect.poll(() => scaleOf(page)).toBe(1);
    await lightbox(page).locator('.frame').dblclick();
    await expect.poll(() => scaleOf(page)).toBe(2.5);
    const place = () =>
      lightbox(page)
        .locator('.frame')
        .evaluate((frame) => Math.round(frame.getBoundingClientRect().left));
    const before = await place();
    await page.keyboard.press('ArrowRight');
    await expect.poll(place).toBe(before - 80);
    await isShown(page, 7);
    await page.keyboard.press('0');
    await expect.poll(() => scaleOf(page)).toBe(1);
    await page.mouse.move(640, 400);
    await page.mouse.wheel(0, -400);
    await expect.poll(() => scaleOf(page)).toBeGreaterThan(2);
    const at = await place();
    await page.mouse.down();
    await page.mouse.move(600, 400, { steps: 4 });
    await page.mouse.up();
    await expect.poll(place).toBe(at - 40);
    expect(await lightbox(page).count()).toBe(1);
  });

  test('[MD13] a finger turns over, puts away, and two draw close', async () => {
    const { page } = await opened({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    const cdp = await page.context().newCDPSession(page);
    const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', ...points: [number, number][]) =>
      cdp.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
    const swipe = async (from: [number, number], to: [number, number]): Promise<void> => {
      await touch('touchStart', from);
      for (let step = 1; step <= 4; step++) await touch('touchMove', [from[0] + ((to[0] - from[0]) * step) / 4, from[1] + ((to[1] - from[1]) * step) / 4]);
      await touch('touchEnd');
    };
    await swipe([120, 400], [300, 400]);
    await isShown(page, 6);
    await swipe([300, 400], [120, 400]);
    await isShown(page, 7);
    await touch('touchStart', [150, 400], [240, 400]);
    await touch('touchMove', [110, 400], [280, 400]);
    await touch('touchMove', [60, 400], [330, 400]);
    await touch('touchEnd');
    await expect.poll(() => scaleOf(page)).toBeGreaterThan(2);
    // Close, it is moved and not turned over.
    await swipe([300, 400], [120, 400]);
    await isShown(page, 7);
    await page.keyboard.press('0');
    await swipe([200, 300], [200, 500]);
    await untilHidden(lightbox(page));
  });

  test('[MD14] it leads to the message, saves the picture, says when it is recalled, and shows what is new', async () => {
    const one = await opened();
    const { page } = one;
    const [download] = await Promise.all([page.waitForEvent('download'), lightbox(page).getByRole('link', { name: 'Download' }).click()]);
    expect(download.suggestedFilename()).toBe('view 7.png');
    const name = `late ${clientId()}.png`;
    const late = await send(noor, views, await server.upload(noor, await picture(800, 600, 10), { name }));
    // The key leads on as soon as there is somewhere to go.
    const next = async () => (await page.keyboard.press('ArrowRight'), shown(page).getAttribute('alt'));
    await expect.poll(next, patient).toBe(name);
    await server.call('message.delete', { messageId: late.id }, noor.token);
    await lightbox(page).getByText('It is no longer there, or no longer for you.').waitFor();
    await page.keyboard.press('ArrowLeft');
    await isShown(page, 7);
    await page.keyboard.press('ArrowLeft');
    await isShown(page, 6);
    await lightbox(page).getByRole('button', { name: 'Go to the message' }).click();
    await untilHidden(lightbox(page));
    await isInView(one, log(one).getByRole('button', { name: 'Open view 6.png' }));
  });

  test('[MD15] what one sees is forwarded, from here and from the menu, without its bytes going up again', async () => {
    const other = await group('Elsewhere');
    const one = await opened();
    const { page } = one;
    const asked: string[] = [];
    page.on('request', (request) => request.method() !== 'GET' && asked.push(request.url()));
    const forward = page.getByRole('dialog', { name: 'Forward to' });
    const choose = async (): Promise<void> => {
      await forward.getByRole('searchbox').fill('elsew');
      await forward.getByRole('checkbox', { name: 'Elsewhere' }).click();
      await forward.getByRole('button', { name: 'Send' }).click();
      await untilHidden(forward);
    };
    await lightbox(page).getByRole('button', { name: 'Forward' }).click();
    await choose();
    // The picture is open as before.
    await isShown(page, 7);
    await page.keyboard.press('Escape');
    await log(one).getByText('line 7.11', { exact: true }).click({ button: 'right' });
    await page.getByRole('menuitem', { name: 'Forward' }).click();
    await choose();
    const sent = async () => (await server.call('message.history', { conversationId: other }, noor.token)).messages.filter(({ type }) => type !== 'system');
    await expect.poll(async () => (await sent()).length, patient).toBe(2);
    const [photo, words] = await sent();
    expect([photo!.senderId, photo!.type, photo!.file!.name, words!.text]).toEqual([ada.id, 'image', 'view 7.png', 'line 7.11']);
    expect(asked).toEqual([]);
    const noors = await open(noor, other);
    await log(noors).getByRole('button', { name: 'Open view 7.png' }).waitFor();
    await log(noors).locator('.picture.there').waitFor();
  });
});

describe('what a conversation shares', () => {
  test('[MD16] it is a pane with a tab for each kind, by month, more of it as one scrolls; empty ones say so', async () => {
    const id = await group();
    const one = await open(ada, id, undefined, '/shared');
    const { page } = one;
    const pane = page.getByRole('complementary', { name: 'Photos, files and links' });
    await pane.getByText('No photos or videos here yet.').waitFor();
    await page.keyboard.press('Shift+Tab');
    await pane.getByRole('tab', { name: 'Media' }).focus();
    for (const [name, none] of [
      ['Files', 'No files here yet.'],
      ['Voice', 'No voice messages here yet.'],
      ['Links', 'No links here yet.'],
    ] as const) {
      await page.keyboard.press('ArrowRight');
      await pane.getByText(none).waitFor();
      expect(await pane.getByRole('tab', { selected: true }).textContent()).toContain(name);
      expect(await focused(page)).toBe('BUTTON');
    }
    // What comes is there at once.
    for (let n = 0; n < 130; n++) await say(noor, id, `see https://kith.example/${n}`);
    const links = pane.locator('a.link-line');
    await links.first().getByText('https://kith.example/129').waitFor();
    expect(await links.first().getAttribute('rel')).toBe('noopener noreferrer');
    await page.reload();
    await links.first().waitFor();
    expect(await links.count()).toBeLessThan(130);
    await expect
      .poll(async () => {
        await links.last().scrollIntoViewIfNeeded();
        return links.count();
      }, patient)
      .toBe(130);
    await send(ada, id, await server.upload(ada, Buffer.alloc(1_400_000), { name: 'plan.pdf' }), { type: 'file' });
    await pane.getByRole('tab', { name: 'Files' }).click();
    const [download] = await Promise.all([page.waitForEvent('download'), pane.getByRole('link', { name: 'plan.pdf 1.4 MB' }).click()]);
    expect(download.suggestedFilename()).toBe('plan.pdf');
    await pane.getByRole('link', { name: 'Go to the message' }).click();
    await isInView(one, log(one).getByText('plan.pdf', { exact: true }));
  });

  test('[MD17] pictures are a grid with one stop and arrows; each opens and gives the focus back; recalled, it goes', async () => {
    const id = await group();
    const sent = [];
    for (let n = 0; n < 7; n++) sent.push(await send(n % 2 ? ada : noor, id, await server.upload(n % 2 ? ada : noor, await picture(300, 200, n * 50), { name: `${n}.png` })));
    const one = await open(ada, id, undefined, '/details');
    const { page } = one;
    await page.getByRole('complementary').locator('.grid button').nth(5).waitFor();
    await page.getByRole('link', { name: 'See all' }).click();
    const grid = page.getByRole('complementary', { name: 'Photos, files and links' }).locator('.grid button');
    await grid.nth(6).waitFor();
    const month = new Intl.DateTimeFormat('en', { month: 'long', year: 'numeric' }).format(sent[0]!.at);
    expect(await page.getByRole('heading', { name: month }).count()).toBe(1);
    expect(await grid.evaluateAll((all) => all.filter((button) => (button as HTMLElement).tabIndex === 0).length)).toBe(1);
    await grid.first().focus();
    for (const key of ['ArrowRight', 'ArrowDown', 'ArrowDown', 'ArrowLeft']) await page.keyboard.press(key);
    expect(await focused(page)).toMatch(/^1\.png, You|^1\.png, Ada/);
    await page.keyboard.press('Enter');
    await lightbox(page).locator('.frame img.there').waitFor();
    await page.keyboard.press('Escape');
    await untilHidden(lightbox(page));
    await expect.poll(() => focused(page)).toMatch(/^1\.png/);
    await server.call('message.delete', { messageId: sent[6]!.id }, noor.token);
    await expect.poll(() => grid.count(), patient).toBe(6);
  });
});

/** A moment of film, made by the browser itself. */
async function record(page: Page): Promise<Buffer> {
  const bytes = await page.evaluate(async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
    const pen = canvas.getContext('2d')!;
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: 'video/webm;codecs=vp8' });
    const parts: Blob[] = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const ended = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start(50);
    for (let frame = 0; frame < 30 || parts.length < 3; frame++) {
      pen.fillStyle = `hsl(${frame * 12}, 60%, 50%)`;
      pen.fillRect(0, 0, 64, 48);
      await new Promise(requestAnimationFrame);
    }
    recorder.stop();
    await ended;
    return [...new Uint8Array(await new Blob(parts).arrayBuffer())];
  });
  return Buffer.from(bytes);
}

test('[MD19] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
