import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { storageContract } from '../packages/client/src/storage.contract.ts';
import type { Batch, Storage, Written } from '../packages/client/src/storage.ts';
import { webFolder } from '../packages/server/src/http/static.ts';
import { Site, type Someone, bubble, field, log, password, patient, say, texts, until, untilHidden } from './people.ts';

let site: Site;
let folder: string;

beforeAll(async () => {
  // A build of its own, so that a new version can be put in its place.
  folder = await mkdtemp(path.join(tmpdir(), 'kith-web-'));
  await cp(webFolder, folder, { recursive: true });
  site = await Site.open({ workerAtOnce: true, webFolder: folder, config: { offlineGraceMs: 0, siteName: 'Lindenhof' } });
});
afterAll(async () => {
  await site?.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => site.closePages());

/** Runs in the page: does the service worker have the page? */
const workerHasPage = (): boolean => navigator.serviceWorker.controller !== null;

/** Runs in the page: the versions of the program that are kept. */
const shells = async (): Promise<string[]> => (await caches.keys()).filter((name) => name.startsWith('kith-shell-'));

/** While the server is down. */
async function withoutServer(work: () => Promise<void>): Promise<void> {
  await site.server.running.close();
  try {
    await work();
  } finally {
    await site.restart();
  }
}

/** Another page of the same browser, at the same place. */
async function reopened(one: Someone): Promise<Someone> {
  const address = one.page.url();
  const context = one.page.context();
  await one.page.close();
  const page = await context.newPage();
  await page.goto(address);
  return { ...one, page };
}

const stored = (one: Someone, text: string) => bubble(one, text).getByRole('img', { name: /sent|delivered|read/ });
const waiting = (one: Someone, text: string) => bubble(one, text).getByRole('img', { name: 'waiting to send' });

describe('without the server', () => {
  test('[OF1] once opened, the program opens without the server, at any of its addresses', async () => {
    const [ada, noor] = await site.friends();
    await say(ada, 'kept on this device');
    await stored(ada, 'kept on this device').waitFor();
    await until(ada.page, workerHasPage);
    const address = ada.page.url();
    await withoutServer(async () => {
      await ada.page.goto(address);
      await bubble(ada, 'kept on this device').waitFor();
      expect(await texts(ada, 1)).toEqual(['kept on this device']);
      await ada.page.goto('/contacts');
      await ada.page.getByRole('link', { name: noor.name }).waitFor();
      await ada.page.goto('/settings/profile');
      await ada.page.getByRole('heading', { name: 'Profile' }).first().waitFor();
    });
  });

  test('[OF2] a start shows list, conversation, people and drafts before a slow server has said a word', async () => {
    const [ada, noor] = await site.friends();
    await say(noor, 'long ago');
    await stored(ada, 'long ago').or(bubble(ada, 'long ago')).first().waitFor();
    await field(ada).fill('half a thought');
    await until(ada.page, workerHasPage);
    await ada.page.getByRole('link', { name: /Chats/ }).click();
    await ada.page.getByRole('navigation', { name: 'Chats' }).getByText('[Draft]').waitFor();
    // Takes the connection and never says anything.
    await ada.page.context().routeWebSocket(/./, () => {});
    const again = await reopened(ada);
    const row = again.page.getByRole('navigation', { name: 'Chats' }).getByRole('link', { name: noor.name });
    await row.getByText('[Draft]').waitFor();
    await row.click();
    await bubble(again, 'long ago').waitFor();
    expect(await field(again).isEditable()).toBe(true);
    await expect.poll(() => field(again).inputValue(), patient).toBe('half a thought');
    await again.page.getByRole('link', { name: /Contacts/ }).click();
    await again.page.getByRole('link', { name: noor.name }).waitFor();
  });

  test('[OF3] what is written without a connection is there after a reload and after closing the tab, and goes out once and in order', async () => {
    const [ada, noor] = await site.friends();
    await until(ada.page, workerHasPage);
    let again = ada;
    await withoutServer(async () => {
      await say(ada, 'one');
      await waiting(ada, 'one').waitFor();
      await ada.page.reload();
      await waiting(ada, 'one').waitFor();
      await say(ada, 'two', 'three');
      await waiting(ada, 'three').waitFor();
      again = await reopened(ada);
      await waiting(again, 'three').waitFor();
      expect(await texts(again, 3)).toEqual(['one', 'two', 'three']);
    });
    await bubble(noor, 'three').waitFor({ timeout: 60_000 });
    expect(await texts(noor, 3)).toEqual(['one', 'two', 'three']);
    await stored(again, 'three').waitFor();
    expect(await texts(again, 3)).toEqual(['one', 'two', 'three']);
  });

  test('[OF4] what was written over an hour ago asks before it goes out, and keeps its order', async () => {
    const [ada, noor] = await site.friends();
    await until(ada.page, workerHasPage);
    let again = ada;
    await withoutServer(async () => {
      await say(ada, 'I am at the station', 'platform two', 'never mind');
      await waiting(ada, 'never mind').waitFor();
      await ada.page.context().clock.install({ time: Date.now() + 3 * 3_600_000 });
      again = await reopened(ada);
      await bubble(again, 'never mind').waitFor();
    });
    const bar = again.page.getByText(/^3 messages, the first written (?:3 hours ago|yesterday), were not sent\./);
    await bar.waitFor();
    await log(again)
      .getByText(/^Written (?:3 hours ago|yesterday), not sent/)
      .first()
      .waitFor();
    await say(again, 'hello from home');
    await bubble(noor, 'hello from home').waitFor({ timeout: 60_000 });
    expect(await texts(noor, 1)).toEqual(['hello from home']);
    // One is given up, and can be gone on with.
    const lastOne = again.page.locator('.msg').filter({ hasText: 'never mind' });
    await lastOne.getByRole('button', { name: 'Discard' }).click();
    await untilHidden(lastOne);
    expect(await field(again).inputValue()).toBe('never mind');
    await again.page.getByText(/^2 messages, the first written (?:3 hours ago|yesterday)/).waitFor();
    await again.page.getByRole('status').getByRole('button', { name: 'Send now' }).click();
    await bubble(noor, 'platform two').waitFor();
    expect(await texts(noor, 3)).toEqual(['hello from home', 'I am at the station', 'platform two']);
    await untilHidden(again.page.getByText(/^2 messages, the first written (?:3 hours ago|yesterday)/));
  });

  test('[OF5] what the server refused stays, with its text, over a reload, and can be sent again or deleted', async () => {
    const [ada, noor] = await site.friends();
    await until(ada.page, workerHasPage);
    const { server } = site;
    const [a, n] = await Promise.all([server.call('auth.login', { handle: ada.handle, password }), server.call('auth.login', { handle: noor.handle, password })]);
    await withoutServer(async () => {
      await say(ada, 'to a friend', 'to nobody');
      await waiting(ada, 'to nobody').waitFor();
      await site.restart();
      await server.call('friend.remove', { userId: a.user.id }, n.token);
      await ada.page.getByRole('button', { name: 'Retry' }).nth(1).waitFor({ timeout: 60_000 });
      await ada.page.reload();
      await ada.page.getByRole('button', { name: 'Retry' }).nth(1).waitFor();
      await server.call('friend.request', { userId: n.user.id }, a.token);
      await server.call('friend.accept', { userId: a.user.id }, n.token);
      await server.running.close();
    });
    await bubble(ada, 'to nobody').getByRole('button', { name: 'Delete' }).click();
    await untilHidden(bubble(ada, 'to nobody'));
    await bubble(ada, 'to a friend').getByRole('button', { name: 'Retry' }).click();
    await bubble(noor, 'to a friend').waitFor({ timeout: 60_000 });
    expect(await texts(noor, 1)).toEqual(['to a friend']);
  });
});

describe('the installed program', () => {
  test('[OF6] it can be installed, under the name of the site', async () => {
    const page = await site.openBrowser();
    await page.goto('/signin');
    const manifest = (await (await page.request.get((await page.locator('link[rel="manifest"]').getAttribute('href'))!)).json()) as {
      name: string;
      icons: { src: string; sizes: string }[];
    };
    expect(manifest).toMatchObject({ name: 'Lindenhof', short_name: 'Lindenhof', start_url: '/', display: 'standalone' });
    const pictures = [...manifest.icons, { src: (await page.locator('link[rel="apple-touch-icon"]').getAttribute('href'))!, sizes: '180x180' }];
    for (const { src, sizes } of pictures.filter((picture) => picture.sizes !== 'any')) {
      const size = await page.evaluate(async (url) => {
        const image = new Image();
        image.src = url;
        await image.decode();
        return `${image.naturalWidth}x${image.naturalHeight}`;
      }, src);
      expect(size).toBe(sizes);
    }
    await until(page, workerHasPage);
    const session = await page.context().newCDPSession(page);
    const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
    // Tests have a profile that forgets everything; that is no fault of the page.
    expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito')).toEqual([]);
  });

  test('[OF7] a new version waits while somebody is writing, is taken when the page is hidden, and the old one is removed', async () => {
    const ada = await site.register('Ada');
    await ada.page
      .getByRole('link', { name: 'Notes to self' })
      .or(ada.page.getByRole('link', { name: /Announcements/ }))
      .first()
      .waitFor();
    await until(ada.page, workerHasPage);
    const [before] = await ada.page.evaluate(shells);
    await ada.page.getByRole('link', { name: /Contacts/ }).click();
    await ada.page.getByRole('button', { name: 'Add a friend' }).first().click();
    await ada.page.getByLabel('User name').fill('somebo');
    await ada.page.evaluate(() => Object.assign(globalThis, { sameDocument: true }));
    await publishNewVersion();
    await ada.page.evaluate(async () => (await navigator.serviceWorker.ready).update());
    await ada.page.getByText('A newer version of Kith is here.').waitFor();
    await hide(ada.page);
    expect(await ada.page.evaluate(() => 'sameDocument' in globalThis)).toBe(true);
    expect(await ada.page.evaluate(async () => (await navigator.serviceWorker.ready).waiting !== null)).toBe(true);
    await ada.page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
    await ada.page.getByLabel('User name').waitFor({ state: 'detached' });
    await hide(ada.page);
    await until(ada.page, () => !('sameDocument' in globalThis));
    await until(ada.page, workerHasPage);
    await expect.poll(() => ada.page.evaluate(shells), patient).toEqual([`${before}new`]);
  });
});

/** The same build under another hash. */
async function publishNewVersion(): Promise<void> {
  const script = path.join(folder, 'sw.js');
  const [, version] = /version:[`"]([0-9a-f]+)[`"]/.exec(await readFile(script, 'utf8'))!;
  await writeFile(script, (await readFile(script, 'utf8')).replace(version!, `${version}new`));
  for (const name of await readdir(folder)) if (/^sw\.js\.(br|gz)$/.test(name)) await rm(path.join(folder, name));
}

/** Lets a page believe that another tab is in front of it. */
const hide = (page: Page): Promise<void> =>
  page.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
    document.dispatchEvent(new Event('visibilitychange'));
  });

test('[OF8] who is signed out while writing signs in again, and finds the draft and what waits', async () => {
  const [ada, noor] = await site.friends();
  const { token } = await site.server.call('auth.login', { handle: ada.handle, password });
  const { sessions, current } = await site.server.call('session.list', {}, token);
  await field(ada).fill('not finished');
  for (const { id } of sessions) if (id !== current) await site.server.call('session.revoke', { sessionId: id }, token);
  await ada.page.getByText('You were signed out on this device.').waitFor();
  await ada.page.getByRole('button', { name: 'Sign in' }).first().click();
  await ada.page.getByLabel('User name').fill(ada.handle);
  await ada.page.getByLabel('Password').fill(password);
  await ada.page.locator('form').getByRole('button', { name: 'Sign in' }).click();
  await expect.poll(() => field(ada).inputValue(), patient).toBe('not finished');
  await field(ada).press('Enter');
  await bubble(noor, 'not finished').waitFor();
});

// ── storage ───────────────────────────────────────────────────────────────────────────────────────────────────────────

interface InPage {
  idb: { idbStorage(name: string): Storage };
  open: Map<number, Storage>;
}

let storagePage: Promise<Page> | undefined;
let storages = 0;

/** A page with nothing on it but our IndexedDB storage. */
async function openStoragePage(): Promise<Page> {
  const entry = path.resolve(import.meta.dirname, '../packages/client/src/storage-idb.ts');
  const built = await build({ configFile: false, logLevel: 'silent', build: { write: false, minify: false, lib: { entry, formats: ['iife'], name: 'idb' } } });
  const code = (built as { output: { code: string }[] }[])[0]!.output[0]!.code;
  const page = await site.openBrowser();
  await page.addInitScript({ content: `${code}\nglobalThis.idb = idb; globalThis.open = new Map();` });
  await page.goto('/api/server');
  return page;
}

/** A storage of that page, from here. */
function storageInPage(place: string): Storage {
  const number = ++storages;
  const opened = (storagePage ??= openStoragePage()).then(async (page) => {
    await page.evaluate(
      ([id, name]) => {
        const { idb, open } = globalThis as unknown as InPage;
        open.set(id, idb.idbStorage(name));
      },
      [number, place] as const,
    );
    return page;
  });
  return {
    load: async () => new Map(await (await opened).evaluate(async (id) => [...(await (globalThis as unknown as InPage).open.get(id)!.load())], number)),
    write: async (given: Batch): Promise<Written> =>
      (await opened).evaluate(([id, batch]) => (globalThis as unknown as InPage).open.get(id)!.write(batch), [number, given] as const),
    // Blobs stay in the page that has them; what is in them passes.
    writeBytes: async (key, bytes) =>
      (await opened).evaluate(([id, k, text]) => (globalThis as unknown as InPage).open.get(id)!.writeBytes(k, text === undefined ? undefined : new Blob([text])), [
        number,
        key,
        await bytes?.text(),
      ] as const),
    loadBytes: async () => {
      const kept = await (
        await opened
      ).evaluate(
        async (id) => Promise.all([...(await (globalThis as unknown as InPage).open.get(id)!.loadBytes())].map(async ([key, bytes]) => [key, await bytes.text()] as const)),
        number,
      );
      return new Map(kept.map(([key, text]) => [key, new Blob([text])]));
    },
    erase: async () => (await opened).evaluate((id) => (globalThis as unknown as InPage).open.get(id)!.erase(), number),
    close: async () => (await opened).evaluate((id) => (globalThis as unknown as InPage).open.get(id)!.close(), number),
  };
}

describe('IndexedDB', () => {
  // It goes with the others.
  afterEach(() => void (storagePage = undefined));

  storageContract('IndexedDB in a browser', storageInPage, true);

  test('[OF9] a batch that the browser aborts, as on a full disk, leaves nothing, and the next one is taken', async () => {
    const storage = storageInPage('full');
    await storage.load();
    await storage.write({ changes: [['draft/1', 'kept']], replica: [['entity/a', 1]] });
    await (
      await storagePage!
    ).evaluate(() => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (value, key) {
        const request = put.call(this, value, key);
        if (value === 'too large') queueMicrotask(() => this.transaction.abort());
        return request;
      };
    });
    const batch = (value: unknown): Batch => ({
      changes: [['draft/2', 'small']],
      replica: [
        ['entity/a', 2],
        ['entity/b', value],
      ],
    });
    await expect(storage.write(batch('too large'))).rejects.toThrow(/abort/i);
    const kept = [
      ['draft/1', 'kept'],
      ['entity/a', 1],
    ] as const;
    expect(await storageInPage('full').load()).toEqual(new Map<string, unknown>(kept));
    expect(await storage.write(batch('of use'))).toBe('written');
    expect(await storageInPage('full').load()).toEqual(new Map<string, unknown>([...kept, ['draft/2', 'small'], ['entity/a', 2], ['entity/b', 'of use']]));
  });
});

test('[OF40] no page without a network threw, broke the policy or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
