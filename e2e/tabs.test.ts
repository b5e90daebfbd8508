import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Site, type Someone, bubble, field, patient, say, texts, until, untilHidden } from './people.ts';

let site: Site;

beforeAll(async () => {
  site = await Site.open({ workerAtOnce: true, config: { offlineGraceMs: 0 } });
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

/** Sockets that were opened, and those that are open, of pages from now on. */
function countSockets(one: Someone): { opened: number; open: number } {
  const count = { opened: 0, open: 0 };
  one.page.context().on('page', (page) => listen(page));
  const listen = (page: Page): void =>
    void page.on('websocket', (socket) => {
      count.opened += 1;
      count.open += 1;
      socket.on('close', () => (count.open -= 1));
    });
  return count;
}

/** A second tab of the same browser, at the same place. */
async function secondTab(one: Someone): Promise<Someone> {
  const page = await one.page.context().newPage();
  await page.goto(one.page.url());
  const second = { ...one, page };
  await field(second).waitFor();
  return second;
}

const stored = (one: Someone, text: string) => bubble(one, text).getByRole('img', { name: /sent|delivered|read/ });
const waiting = (one: Someone, text: string) => bubble(one, text).getByRole('img', { name: 'waiting to send' });

describe('two tabs', () => {
  test('[OF10] all tabs use one socket, and each shows what the others do', async () => {
    const [ada, noor] = await site.friends();
    const sockets = countSockets(ada);
    const second = await secondTab(ada);
    await say(ada, 'from the first tab');
    await stored(second, 'from the first tab').waitFor();
    await say(second, 'from the second tab');
    await stored(ada, 'from the second tab').waitFor();
    await say(noor, 'to both');
    await bubble(ada, 'to both').waitFor();
    await bubble(second, 'to both').waitFor();
    expect(await texts(second, 3)).toEqual(await texts(ada, 3));
    expect(sockets.opened).toBe(0);
  });

  test('[OF11] when the tab with the socket is closed, another takes over, and nothing is lost or doubled', async () => {
    const [ada, noor] = await site.friends();
    const sockets = countSockets(ada);
    const second = await secondTab(ada);
    const third = await secondTab(ada);
    await say(noor, 'before');
    await bubble(third, 'before').waitFor();
    await say(second, 'one', 'two');
    await ada.page.close();
    await say(second, 'three');
    await say(noor, 'after');
    await bubble(second, 'after').waitFor();
    await bubble(third, 'after').waitFor();
    await stored(third, 'three').waitFor();
    await bubble(noor, 'three').waitFor();
    for (const one of [second, third, noor]) expect((await texts(one, 5)).sort()).toEqual(['after', 'before', 'one', 'three', 'two']);
    const own = (await texts(noor, 5)).filter((text) => /one|two|three/.test(text));
    expect(own).toEqual(['one', 'two', 'three']);
    expect(sockets.open).toBe(1);
  });

  test('[OF12] what is written in one tab waits in the other, too, and goes out once and in order, also when its tab is closed before', async () => {
    const [ada, noor] = await site.friends();
    const second = await secondTab(ada);
    await until(ada.page, () => navigator.serviceWorker.controller !== null);
    await say(second, 'connected');
    await stored(ada, 'connected').waitFor();
    await bubble(noor, 'connected').waitFor();
    await site.server.running.close();
    try {
      await say(ada, 'one');
      await waiting(second, 'one').waitFor();
      await say(second, 'two');
      await waiting(ada, 'two').waitFor();
      await say(ada, 'three');
      await waiting(second, 'three').waitFor();
      // The tab that had the socket, and had written the first and the last.
      await ada.page.close();
      // And one that opens now knows of all of it.
      const third = await secondTab(second);
      await waiting(third, 'three').waitFor();
      expect(await texts(third, 4)).toEqual(['connected', 'one', 'two', 'three']);
    } finally {
      await site.restart();
    }
    await stored(second, 'three').waitFor({ timeout: 60_000 });
    await bubble(noor, 'three').waitFor({ timeout: 60_000 });
    expect(await texts(noor, 4)).toEqual(['connected', 'one', 'two', 'three']);
    expect(await texts(second, 4)).toEqual(['connected', 'one', 'two', 'three']);
  });

  test('[OF13] a draft is in the list of the other tab at once, also without a connection, and goes when it is sent', async () => {
    const [ada, noor] = await site.friends();
    const second = await secondTab(ada);
    await second.page.getByRole('link', { name: /Chats/ }).click();
    const row = second.page.getByRole('navigation', { name: 'Chats' }).getByRole('link', { name: noor.name });
    await row.waitFor();
    await site.server.running.close();
    try {
      await field(ada).fill('half a thought');
      await row.getByText('[Draft]').waitFor();
      await row.click();
      await expect.poll(() => field(second).inputValue(), patient).toBe('half a thought');
      await second.page.getByRole('link', { name: /Chats/ }).click();
      await field(ada).press('Enter');
      await untilHidden(row.getByText('[Draft]'));
      await row.getByText('half a thought').waitFor();
    } finally {
      await site.restart();
    }
  });

  test('[OF14] a tab that the browser has frozen is relieved of the lead', async () => {
    const [ada, noor] = await site.friends();
    const second = await secondTab(ada);
    await say(noor, 'all is well');
    await bubble(second, 'all is well').waitFor();
    const session = await ada.page.context().newCDPSession(ada.page);
    await session.send('Debugger.enable');
    const paused = new Promise((resolve) => session.once('Debugger.paused', resolve));
    // Between two transactions: a browser freezes no page that holds up the storage of others.
    await ada.page.evaluate(async (name) => {
      const found = (await indexedDB.databases()).find((database) => database.name!.startsWith(name))!;
      const opening = indexedDB.open(found.name!);
      opening.onsuccess = () => {
        const db = opening.result;
        const transaction = db.transaction([...db.objectStoreNames], 'readwrite');
        transaction.oncomplete = () => {
          db.close();
          // oxlint-disable-next-line no-debugger -- there is no other way to stop a page at this very place
          debugger;
        };
        transaction.commit();
      };
    }, 'kith');
    await paused;
    // What the browser does on return to a tab: it is asked whether its connection lives.
    await second.page.reload();
    await field(second).waitFor();
    await say(second, 'without the first');
    await bubble(noor, 'without the first').waitFor();
    await session.send('Debugger.disable');
    await stored(ada, 'without the first').waitFor();
    await say(ada, 'back again');
    await bubble(noor, 'back again').waitFor();
    expect(await texts(noor, 3)).toEqual(['all is well', 'without the first', 'back again']);
  });

  test('[OF15] without locks each tab has a socket of its own', async () => {
    const [ada, noor] = await site.friends();
    await ada.page.context().addInitScript(() => Object.defineProperty(Navigator.prototype, 'locks', { value: undefined }));
    await ada.page.context().addInitScript(() => delete (Navigator.prototype as { locks?: unknown }).locks);
    const sockets = countSockets(ada);
    const second = await secondTab(ada);
    await say(noor, 'hello');
    await bubble(second, 'hello').waitFor();
    expect(sockets.opened).toBe(1);
  });

  test('[OF16] signing out in one tab leaves nothing on the device, and the other is signed out with it', async () => {
    const [ada] = await site.friends();
    const second = await secondTab(ada);
    await until(ada.page, () => navigator.serviceWorker.controller !== null);
    await say(second, 'a secret');
    await stored(ada, 'a secret').waitFor();
    await ada.page.evaluate(async () => {
      localStorage.setItem('kith.theme', 'dark');
      localStorage.setItem('kith.something', 'of the person');
      sessionStorage.setItem('kith.something', 'of the person');
      await (await caches.open('pictures')).put('/files/1', new Response('a picture'));
    });
    await ada.page.getByRole('link', { name: 'Settings' }).click();
    await ada.page.getByRole('button', { name: 'Sign out' }).click();
    await ada.page.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
    for (const { page } of [ada, second]) {
      await page.getByLabel('Password').waitFor();
      expect(new URL(page.url()).pathname).toBe('/signin');
      const left = await page.evaluate(async () => {
        const found: unknown[] = [...Object.keys(localStorage), ...Object.keys(sessionStorage)];
        for (const name of await caches.keys())
          found.push(...(await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname).filter((path) => path.startsWith('/files')));
        for (const { name } of await indexedDB.databases()) {
          const db = await new Promise<IDBDatabase>((resolve, reject) => {
            const open = indexedDB.open(name!);
            open.onsuccess = () => resolve(open.result);
            open.onerror = () => reject(open.error!);
          });
          for (const store of db.objectStoreNames) {
            const keys = db.transaction(store).objectStore(store).getAllKeys();
            await new Promise((resolve) => (keys.onsuccess = resolve));
            // A word for tabs that were open: there was something, and it was erased.
            found.push(...keys.result.filter((key) => key !== 'idb/erased'));
          }
          db.close();
        }
        return found;
      });
      expect(left).toEqual(['kith.theme']);
    }
  });
});

test('[OF41] no page with several tabs threw, broke the policy or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
