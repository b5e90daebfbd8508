import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Person, type TestServer } from '../packages/server/test/harness.ts';
import { Site, type Someone, bubble, field, log, password, patient, say, until, untilHidden } from './people.ts';

let site: Site;
let server: TestServer;
let ada: Someone;
let adaHerself: Person;
let noor: Person;
/** Milliseconds by which the server's clock is behind; for writing on other days. */
let behind = 0;
const dayMs = 86_400_000;

beforeAll(async () => {
  site = await Site.open({ engine: 'sqlite-direct', now: () => Date.now() - behind, config: { offlineGraceMs: 0 } });
  server = site.server;
  ada = await site.register('Ada');
  adaHerself = await server.login({ handle: ada.handle, password } as Person);
  noor = await server.register('noor', { name: 'Noor' });
  await server.befriend(adaHerself, noor);
});
afterAll(() => site?.close());

let count = 0;
/** A group of the two, in which Noor wrote so many lines. */
async function group(lines: number): Promise<string> {
  const { conversation } = await server.call('conversation.create', { title: `Group ${++count}`, memberIds: [adaHerself.id] }, noor.token);
  await write(conversation.id, 1, lines);
  await chatRow(conversation.id).getByText(`line ${lines}`).waitFor();
  return conversation.id;
}
async function write(conversationId: string, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n++)
    await server.call('message.send', { conversationId, clientId: `${conversationId.slice(-20)}-${n}`, type: 'text', text: `line ${n}` }, noor.token);
}
/** All of it is read, on this page too; else it would open at the first unread one. */
async function read(conversationId: string): Promise<void> {
  await server.call('read.mark', { conversationId, seq: 1_000_000 }, adaHerself.token);
  await untilHidden(chatRow(conversationId).getByText(/unread/));
}
const chatRow = (conversationId: string) => ada.page.getByRole('navigation', { name: 'Chats' }).locator(`a[href="/c/${conversationId}"]`);
/** From the list, as people do: the page stays the same. */
async function open(conversationId: string): Promise<void> {
  await chatRow(conversationId).click();
  await log(ada).locator('.msg').first().waitFor();
}
/** Puts a line at the upper edge of the view, as somebody who reads there. */
async function readAt(text: string): Promise<void> {
  await bubble(ada, text).evaluate((row) => {
    const box = row.closest('[role="log"]')!;
    box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - 8;
  });
  await until(ada.page, () => document.querySelector('.jump') !== null);
}
/** Watches where a line is on the screen, on every frame from now on. @returns Ends it: the furthest it was from its place, in pixels. */
async function watchLine(text: string): Promise<() => Promise<number>> {
  const watched = await bubble(ada, text).evaluateHandle((row) => {
    const { key } = (row as HTMLElement).dataset;
    const top = () => document.querySelector(`[data-key="${key}"]`)?.getBoundingClientRect().top ?? Infinity;
    const place = top();
    const state = { furthest: 0, frames: 0, ended: false };
    // What is painted: seen once everybody who was told of new sizes has had a turn, and again after the frame. Only what both
    // saw was on the screen: the first may be put right within the frame, the second may be the work of what ran in between.
    const frame = new MessageChannel();
    let before = 0;
    const sizes = new ResizeObserver(() => {
      before = Math.abs(top() - place);
      sizes.disconnect();
      frame.port2.postMessage('');
    });
    frame.port1.onmessage = () => {
      state.furthest = Math.max(state.furthest, Math.min(before, Math.abs(top() - place)));
      state.frames += 1;
      if (!state.ended) next();
    };
    const next = () => requestAnimationFrame(() => sizes.observe(document.documentElement));
    next();
    return state;
  });
  return async () => {
    // What was done last has been painted.
    const { furthest, frames } = await watched.evaluate(async (state) => {
      for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame);
      state.ended = true;
      return state;
    });
    expect(frames).toBeGreaterThan(0);
    return furthest;
  };
}
const isAtEnd = async (): Promise<void> => {
  await expect.poll(() => log(ada).evaluate((box) => Math.round(box.scrollHeight - box.clientHeight - box.scrollTop)), patient).toBeLessThanOrEqual(1);
};
/** The browser's own smooth scrolling has come to rest. */
const isStill = (): Promise<boolean> =>
  log(ada).evaluate(async (box) => {
    for (let [still, top] = [0, box.scrollTop]; still < 5; top = box.scrollTop) {
      await new Promise(requestAnimationFrame);
      still = box.scrollTop === top ? still + 1 : 0;
    }
    return true;
  });
const inView = async (text: string): Promise<void> => {
  await expect
    .poll(async () => {
      const [row, view] = [await bubble(ada, text).boundingBox(), await log(ada).boundingBox()];
      return row !== null && view !== null && row.y >= view.y - 1 && row.y + row.height <= view.y + view.height + 1;
    }, patient)
    .toBe(true);
};

describe('a long conversation', () => {
  test('[TL20] at most 300 messages are in the page on the whole way up and down, and every one is met', async () => {
    const id = await group(700);
    await read(id);
    await open(id);
    await bubble(ada, 'line 700').waitFor();
    const met = await log(ada).evaluate(async (box) => {
      const seen = new Set<string>();
      let most = 0;
      const look = () => {
        const rows = [...box.querySelectorAll<HTMLElement>('.msg .text')];
        most = Math.max(most, rows.length);
        for (const row of rows) seen.add(row.textContent);
      };
      const go = async (by: number, last: string) => {
        while (!box.querySelector('.msg') || ![...box.querySelectorAll('.msg .text')].some((row) => row.textContent === last)) {
          box.scrollTop += by;
          await new Promise(requestAnimationFrame);
          look();
        }
      };
      await go(-900, 'line 1');
      await go(900, 'line 700');
      return { most, seen: seen.size };
    });
    expect(met.seen).toBe(700);
    expect(met.most).toBeLessThanOrEqual(300);
  });

  test('[TL21] Home leads to the first message, PageUp and PageDown by a screen, End and Escape to the newest', async () => {
    const id = await group(400);
    await read(id);
    await open(id);
    await inView('line 400');
    await log(ada).focus();
    await ada.page.keyboard.press('Home');
    await inView('line 1');
    await ada.page.keyboard.press('PageDown');
    await expect.poll(() => log(ada).evaluate((box) => box.scrollTop), patient).toBeGreaterThan(300);
    await ada.page.keyboard.press('End');
    await inView('line 400');
    await isAtEnd();
    await ada.page.keyboard.press('PageUp');
    await until(ada.page, () => document.querySelector('.jump') !== null);
    await isStill();
    await ada.page.keyboard.press('Escape');
    await isAtEnd();
  });
});

describe('what is being read does not move', () => {
  test('[TL22] while rows above grow, are edited or recalled, pages and messages come, or the composer grows', async () => {
    const id = await group(220);
    await read(id);
    await open(id);
    await bubble(ada, 'line 220').waitFor();
    await readAt('line 180');
    const moved = await watchLine('line 182');
    await log(ada).evaluate(async (box) => {
      // A picture that arrives late, in a row above what is read.
      const rows = [...box.querySelectorAll<HTMLElement>('.msg')];
      const above = rows[rows.findIndex((row) => row.textContent.includes('line 182')) - 5]!;
      const picture = document.createElement('img');
      above.append(picture);
      await new Promise<void>((resolve) => {
        requestAnimationFrame(() => {
          Object.assign(picture, { width: 200, height: 240 });
          resolve();
        });
      });
    });
    await write(id, 221, 230);
    const { messages } = await server.call('message.history', { conversationId: id, around: 170, limit: 20 }, noor.token);
    const ofLine = (n: number) => messages.find(({ text }) => text === `line ${n}`)!.id;
    await server.call('message.edit', { messageId: ofLine(175), text: 'a longer line\n'.repeat(6) }, noor.token);
    await server.call('message.delete', { messageId: ofLine(174) }, noor.token);
    await log(ada).getByText('Noor recalled a message').waitFor();
    await field(ada).fill('one\ntwo\nthree\nfour\nfive');
    await log(ada).getByText('a longer line').waitFor();
    await field(ada).fill('');
    await bubble(ada, 'line 230').waitFor();
    expect(await moved()).toBeLessThanOrEqual(1);
    // Scrolling up, the older pages come in above while this one is read.
    await bubble(ada, 'line 130').evaluate((row) => row.scrollIntoView());
    const movedByPages = await watchLine('line 132');
    await bubble(ada, 'line 75').waitFor({ state: 'attached' });
    expect(await movedByPages()).toBeLessThanOrEqual(1);
  });

  test('[TL23] while the window gets wider or narrower, higher or lower, and a keyboard comes up on a phone', async () => {
    const id = await group(80);
    await read(id);
    await open(id);
    await bubble(ada, 'line 80').waitFor();
    await readAt('line 40');
    const moved = await watchLine('line 40');
    for (const [width, height] of [
      [1280, 600],
      [1000, 600],
      [1440, 900],
      [1280, 800],
    ] as const)
      await ada.page.setViewportSize({ width, height });
    expect(await moved()).toBeLessThanOrEqual(1);
    await ada.page.setViewportSize({ width: 390, height: 844 });
    await readAt('line 50');
    const movedByKeyboard = await watchLine('line 50');
    await ada.page.setViewportSize({ width: 390, height: 500 });
    await ada.page.setViewportSize({ width: 390, height: 844 });
    expect(await movedByKeyboard()).toBeLessThanOrEqual(1);
    await ada.page.setViewportSize({ width: 1280, height: 800 });
  });
});

describe('getting about', () => {
  test('[TL25] it opens at the first unread, and the button leads to what is new first and to the end then', async () => {
    const id = await group(40);
    await read(id);
    await write(id, 41, 160);
    await chatRow(id).getByText('line 160').waitFor();
    await open(id);
    await inView('line 41');
    await log(ada).getByText('120 new messages').waitFor();
    await ada.page.getByRole('button', { name: 'Jump to latest' }).or(ada.page.locator('.jump')).click();
    await inView('line 160');
    await untilHidden(chatRow(id).getByText(/unread/));
    await readAt('line 100');
    await write(id, 161, 190);
    await ada.page.getByRole('button', { name: /^30 new messages/ }).click();
    await inView('line 161');
    await ada.page.locator('.jump').click();
    await inView('line 190');
    await readAt('line 150');
    await say(ada, 'to the end');
    await inView('to the end');
    await isAtEnd();
    // The line stays until one leaves.
    await expect.poll(() => log(ada).getByText('120 new messages').count(), patient).toBe(1);
  });

  test('[TL26] the address of a message leads to it and points it out; back leads to where one was', async () => {
    const id = await group(400);
    await read(id);
    await open(id);
    await bubble(ada, 'line 400').waitFor();
    await readAt('line 370');
    const seq = (n: number) => n + 1;
    await ada.page.evaluate(
      (to) => {
        const link = Object.assign(document.createElement('a'), { href: to });
        history.pushState({ ...(history.state as object), position: (history.state as { position: number }).position + 1 }, '', link.href);
        dispatchEvent(new PopStateEvent('popstate', { state: history.state }));
      },
      `/c/${id}?m=${seq(50)}`,
    );
    await inView('line 50');
    await bubble(ada, 'line 50').locator('.flash').waitFor();
    await bubble(ada, 'line 50').locator('.flash').waitFor({ state: 'detached' });
    await ada.page.goBack();
    await inView('line 370');
    await ada.page.goto(`/c/${id}?m=${seq(20)}`);
    await inView('line 20');
    expect(new URL(ada.page.url()).search).toBe(`?m=${seq(20)}`);
    await bubble(ada, 'line 20').locator('.flash').waitFor();
  });

  test('[TL27] a day is chosen from the date line, and its first message is shown', async () => {
    behind = 20 * dayMs;
    const id = await group(150);
    behind = 10 * dayMs;
    await write(id, 151, 300);
    behind = 0;
    await write(id, 301, 450);
    await read(id);
    await open(id);
    await bubble(ada, 'line 450').waitFor();
    await readAt('line 400');
    await ada.page.locator('.float-date').getByRole('button').click();
    const dialog = ada.page.getByRole('dialog', { name: 'Jump to a date' });
    const day = new Date(Date.now() - 10 * dayMs);
    await dialog.getByLabel('Day').fill(`${day.getFullYear()}-${String(day.getMonth() + 1).padStart(2, '0')}-${String(day.getDate()).padStart(2, '0')}`);
    await dialog.getByRole('button', { name: 'Show' }).click();
    await inView('line 151');
    await log(ada).getByRole('heading').nth(1).getByRole('button').click();
    await dialog.getByRole('button', { name: 'The beginning' }).click();
    await inView('line 1');
    expect(await dialog.count()).toBe(0);
  });

  test('[TL28] a message is read after a second in view of somebody who looks, not before', async () => {
    const id = await group(3);
    await read(id);
    await open(id);
    await bubble(ada, 'line 3').waitFor();
    const readSeq = async () =>
      (await server.call('stream.snapshot', { stream: `user:${adaHerself.id}` }, adaHerself.token)).entities.flatMap((it) =>
        it.kind === 'inbox' && it.conversationId === id ? [it.readSeq] : [],
      )[0];
    const before = await readSeq();
    await ada.page.clock.install();
    await ada.page.evaluate(() => {
      document.hasFocus = () => false;
      dispatchEvent(new Event('blur'));
    });
    await write(id, 4, 4);
    await bubble(ada, 'line 4').waitFor();
    await ada.page.clock.fastForward(10_000);
    expect(await readSeq()).toBe(before);
    await chatRow(id).getByText('1 unread message').waitFor();
    await ada.page.evaluate(() => {
      document.hasFocus = () => true;
      dispatchEvent(new Event('focus'));
    });
    await ada.page.clock.fastForward(2_000);
    await expect.poll(readSeq, patient).toBe(before! + 1);
  });
});

test('[TL29] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
