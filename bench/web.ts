import type { BrowserContext, CDPSession, Page } from 'playwright-core';
import { launchWithProfile } from '../e2e/chromium.ts';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { type Program, startKith } from './lib/programs.ts';
import { type Person, Seed } from './lib/seed.ts';
import { quantile } from './lib/stats.ts';

export const scenario: Scenario = {
  says: 'The web client: a start from what the device keeps, with 200 conversations; a conversation of 100,000 messages; typing.',
  run: (bench) => web(bench, bench.small ? { conversations: 20, messages: 1_000, wheels: 20, keys: 20 } : { conversations: 200, messages: 100_000, wheels: 300, keys: 200 }),
};

export interface Size {
  conversations: number;
  /** In the long one. */
  messages: number;
  /** Turns of the mouse wheel while scrolling. */
  wheels: number;
  /** Letters typed. */
  keys: number;
}

/** Frames that take longer than this (milliseconds) are seen as a jerk. */
const jerkMs = 32;
const short = 30;

/** What the pages are asked to note. Runs before any script of theirs. */
function watchStart(): void {
  const all = globalThis as unknown as { painted?: number };
  // After the frame in which the list has rows: what is measured is what a person sees.
  const frame = new MessageChannel();
  frame.port1.onmessage = () => (all.painted = performance.now());
  const look = (): void => {
    if (document.querySelector('nav .row')) frame.port2.postMessage('');
    else requestAnimationFrame(look);
  };
  look();
}

export async function web(bench: Bench, size: Size): Promise<Outcome> {
  const data = bench.folder('web');
  const { me, long } = await seed(data, size);
  const server = await startKith(bench, data);
  const profile = bench.folder('profile');
  const start: number[] = [];
  const startCpu: number[] = [];
  const opening: number[] = [];
  const again: number[] = [];
  const jerks: number[] = [];
  const frameCpu: number[] = [];
  const longest: number[] = [];
  const heap: number[] = [];
  const heapBefore: number[] = [];
  const typing: number[] = [];
  const typingMost: number[] = [];
  let rows = 0;
  let scrolled = 0;

  await fill(profile, server, me, size);
  for (let run = 0; run < bench.runs; run++) {
    const context = await open(profile, server, me);
    // Takes the connection and never says a word: what is on the screen comes from the device.
    await context.routeWebSocket(/./, () => {});
    const page = await context.newPage();
    const session = await watchCpu(page);
    await page.addInitScript(watchStart);
    await page.goto('/');
    await page.waitForFunction(() => 'painted' in globalThis);
    startCpu.push(await cpuOf(session));
    start.push(await page.evaluate(() => (globalThis as unknown as { painted: number }).painted));
    if ((await page.locator('nav .row').count()) < size.conversations) throw new Error('Not all conversations were kept on the device.');
    await context.close();
    bench.say(`  start ${Math.round(start.at(-1)!)} ms`);
  }

  for (let run = 0; run < bench.runs; run++) {
    const context = await open(profile, server, me);
    const page = await context.newPage();
    const session = await watchCpu(page);
    await page.goto('/');
    await page.locator(`nav a[href="/c/${long}"]`).waitFor();
    await isQuiet(page);
    heapBefore.push(await heapOf(session));
    opening.push(await openLong(page, long));
    const before = await cpuOf(session);
    const scroll = await scrollUp(page, size.wheels);
    frameCpu.push(((await cpuOf(session)) - before) / scroll.frames);
    jerks.push((scroll.jerks / scroll.frames) * 100);
    longest.push(scroll.longest);
    scrolled = scroll.met;
    heap.push(await heapOf(session));
    rows = await page.locator('nav .row, [role=log] .msg').count();
    const keys = await typeWords(page, size.keys);
    typing.push(quantile(keys, 0.95));
    typingMost.push(Math.max(...keys));
    await page.locator('.jump').click();
    await page.getByRole('link', { name: 'Contacts' }).click();
    await page.getByRole('link', { name: /Chats/ }).click();
    again.push(await openLong(page, long));
    await context.close();
    bench.say(`  opened in ${Math.round(opening.at(-1)!)} ms, ${scroll.frames} frames of which ${scroll.jerks} long, typing ${Math.round(typing.at(-1)!)} ms`);
  }
  await server.stop();
  return {
    figures: [
      { name: `start to content, ${size.conversations} conversations, no network`, unit: 'ms', values: start, of: 'kith' },
      { name: 'processor time of the page for that', unit: 'ms', values: startCpu, of: 'kith' },
      { name: `first opening of ${size.messages} messages`, unit: 'ms', values: opening, of: 'kith' },
      { name: 'opening it again', unit: 'ms', values: again, of: 'kith' },
      { name: `frames over ${jerkMs} ms while scrolling through it`, unit: '%', values: jerks, of: 'kith' },
      { name: 'the longest of them', unit: 'ms', values: longest, of: 'kith' },
      { name: 'processor time of the page for a frame', unit: 'ms', values: frameCpu, of: 'kith' },
      { name: 'heap before opening it', unit: 'MB', values: heapBefore, of: 'kith' },
      { name: 'heap after scrolling through it', unit: 'MB', values: heap, of: 'kith' },
      { name: 'key to painted letter, 95 % of all', unit: 'ms', values: typing, of: 'kith' },
      { name: 'key to painted letter, the slowest', unit: 'ms', values: typingMost, of: 'kith' },
    ],
    notes: [
      'Headless Chromium that draws without a graphics card, 1280 by 800, started anew for each run; what the device keeps is on its disk.',
      `${size.wheels} turns of the wheel of 600 px, one each 50 ms, met ${scrolled} messages; ${rows} rows of list and conversation were on the page while typing.`,
    ],
  };
}

/** As somebody has it who has been here for years. */
async function seed(data: string, size: Size): Promise<{ me: Person; long: string }> {
  const made = await Seed.open(data);
  const [me, ...others] = made.people(20) as [Person, ...Person[]];
  for (let at = 1; at < size.conversations; at++) {
    const conversation = made.conversation([me, ...others], { seq: short });
    made.messages(conversation, others[at % others.length]!, 1, short, 'A line such as people write to each other, some shorter, some longer.');
  }
  const long = made.conversation([me, ...others], { seq: size.messages });
  for (let from = 1; from <= size.messages; from += 10_000) {
    made.messages(long, others[0]!, from, Math.min(from + 9_999, size.messages), 'One of very many lines. 周六早上八点，南门见。 Some of them are long enough to be broken.');
    made.flush();
  }
  made.close();
  return { me, long };
}

async function open(profile: string, server: Program, { id, token }: Person): Promise<BrowserContext> {
  const url = `http://127.0.0.1:${server.port}`;
  const context = await launchWithProfile(profile, { baseURL: url, viewport: { width: 1280, height: 800 }, locale: 'en-GB', serviceWorkers: 'allow' });
  await context.addCookies([{ name: 'kith', value: token, url, httpOnly: true }]);
  await context.addInitScript((user) => localStorage.setItem('kith.user', user), id);
  return context;
}

/** The first visit: everything comes over the network, and is put on the disk. */
async function fill(profile: string, server: Program, me: Person, { conversations }: Size): Promise<void> {
  const context = await open(profile, server, me);
  const page = await context.newPage();
  await page.goto('/');
  await page.waitForFunction((count) => document.querySelectorAll('nav .row').length >= count, conversations);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await page.waitForFunction(async (count) => {
    let kept = 0;
    for (const { name } of await indexedDB.databases()) {
      const db = await new Promise<IDBDatabase>((resolve) => {
        const opening = indexedDB.open(name!);
        opening.onsuccess = () => resolve(opening.result);
      });
      for (const store of db.objectStoreNames) {
        const keys = db.transaction(store).objectStore(store).count();
        await new Promise((resolve) => (keys.onsuccess = resolve));
        kept += keys.result;
      }
      db.close();
    }
    return kept > count * 2;
  }, conversations);
  await isQuiet(page);
  await context.close();
}

/** Nothing has come over the network, and no task has run for long, for a while. */
async function isQuiet(page: Page): Promise<void> {
  await page.evaluate(
    () =>
      new Promise<void>((resolve) => {
        const idle = (left: number): void => void requestIdleCallback(() => (left === 0 ? resolve() : setTimeout(() => idle(left - 1), 50)));
        idle(20);
      }),
  );
}

/** What the main thread of a page has worked, which says more than the clock where others work, too. */
async function watchCpu(page: Page): Promise<CDPSession> {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  return session;
}

/** Milliseconds since it is watched. */
async function cpuOf(session: CDPSession): Promise<number> {
  const { metrics } = await session.send('Performance.getMetrics');
  return metrics.find(({ name }) => name === 'TaskDuration')!.value * 1_000;
}

async function heapOf(session: CDPSession): Promise<number> {
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  return usedSize / 2 ** 20;
}

/** From the click in the list to the frame that shows the messages. Milliseconds. */
function openLong(page: Page, long: string): Promise<number> {
  return page.evaluate(async (id) => {
    const began = performance.now();
    document.querySelector<HTMLElement>(`nav a[href="/c/${id}"]`)!.click();
    const frame = new MessageChannel();
    while (!document.querySelector('[role=log] .msg')) await new Promise(requestAnimationFrame);
    const painted = new Promise((resolve) => (frame.port1.onmessage = resolve));
    requestAnimationFrame(() => frame.port2.postMessage(''));
    await painted;
    return performance.now() - began;
  }, long);
}

/** Turns the wheel upwards over the messages, and measures each frame meanwhile. */
async function scrollUp(page: Page, wheels: number): Promise<{ frames: number; jerks: number; longest: number; met: number }> {
  const box = (await page.getByRole('log').boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const watching = await page.evaluateHandle((limit) => {
    const state = { frames: 0, jerks: 0, longest: 0, met: new Set<string>(), over: false };
    let last = performance.now();
    const next = (now: number): void => {
      const took = now - last;
      last = now;
      state.frames += 1;
      if (took > limit) state.jerks += 1;
      state.longest = Math.max(state.longest, took);
      for (const row of document.querySelectorAll<HTMLElement>('[role=log] .msg')) state.met.add(row.dataset['key']!);
      if (!state.over) requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
    return state;
  }, jerkMs);
  for (let turn = 0; turn < wheels; turn++) {
    await page.mouse.wheel(0, -600);
    await page.waitForTimeout(50);
  }
  return watching.evaluate((state) => {
    state.over = true;
    return { frames: state.frames, jerks: state.jerks, longest: state.longest, met: state.met.size };
  });
}

/** Types letters into the field, and measures from each key to the frame that shows it. Milliseconds. */
async function typeWords(page: Page, keys: number): Promise<number[]> {
  const field = page.getByRole('textbox', { name: 'Message' });
  await field.focus();
  const watching = await field.evaluateHandle((box) => {
    const took: number[] = [];
    box.addEventListener('keydown', (event) => {
      const began = event.timeStamp;
      const frame = new MessageChannel();
      frame.port1.onmessage = () => took.push(performance.now() - began);
      requestAnimationFrame(() => frame.port2.postMessage(''));
    });
    return took;
  });
  for (let at = 0; at < keys; at++) {
    await page.keyboard.press('abcdefghij'[at % 10]!);
    await page.waitForTimeout(30);
  }
  await page.waitForFunction(([took, count]) => took.length >= count, [watching, keys] as const);
  const took = await watching.jsonValue();
  await field.fill('');
  return took;
}
