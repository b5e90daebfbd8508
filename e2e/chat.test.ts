import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type TestServer, startTestServer } from '../packages/server/test/harness.ts';
import { Site, type Someone, befriend, bubble, field, log, openDirect, password, patient, say, seriousProblems, texts, until, untilHidden } from './people.ts';

let site: Site;
let server: TestServer;

beforeAll(async () => {
  site = await Site.open({ config: { offlineGraceMs: 0 } });
  server = site.server;
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

/** Runs in the page: is a draft on disk? */
async function hasStoredDraft(): Promise<boolean> {
  for (const { name } of await indexedDB.databases()) {
    const db = await new Promise<IDBDatabase>((resolve) => {
      const open = indexedDB.open(name!);
      open.onsuccess = () => resolve(open.result);
    });
    const keys = db.transaction('kept').objectStore('kept').getAllKeys();
    await new Promise((resolve) => (keys.onsuccess = resolve));
    db.close();
    if (keys.result.some((key) => String(key).startsWith('draft/'))) return true;
  }
  return false;
}

describe('two people', () => {
  test('[WB1] two people register, become friends and chat both ways', async () => {
    const [ada, noor] = await Promise.all([site.signUp('Ada'), site.signUp('Noor')]);
    await befriend(ada, noor);
    await Promise.all([openDirect(ada, noor), openDirect(noor, ada)]);
    await say(ada, 'Are you home?');
    await bubble(noor, 'Are you home?').waitFor();
    await say(noor, '刚到，一切顺利。');
    await bubble(ada, '刚到，一切顺利。').waitFor();
    expect(await texts(ada, 2)).toEqual(['Are you home?', '刚到，一切顺利。']);
    await bubble(ada, 'Are you home?').getByRole('img', { name: 'read', exact: true }).waitFor();
  });

  test('[WB2] who was offline finds everything once and in order, and what they wrote meanwhile goes out', async () => {
    const [ada, noor] = await site.friends();
    await say(ada, 'one');
    await bubble(noor, 'one').waitFor();
    await noor.page.context().setOffline(true);
    await say(ada, 'two', 'three');
    await say(noor, 'from the train', 'in a tunnel');
    await bubble(noor, 'in a tunnel').getByRole('img', { name: 'waiting to send' }).waitFor();
    await noor.page.getByText('No connection. Messages will be sent later.').waitFor();
    expect(await bubble(noor, 'two').count()).toBe(0);
    await noor.page.context().setOffline(false);
    await bubble(ada, 'in a tunnel').waitFor();
    await untilHidden(noor.page.getByText('No connection.'));
    const all = ['one', 'two', 'three', 'from the train', 'in a tunnel'];
    await bubble(noor, 'in a tunnel')
      .getByRole('img', { name: /sent|delivered|read/ })
      .waitFor();
    expect(await texts(noor, 5)).toEqual(all);
    expect(await texts(ada, 5)).toEqual(all);
  });

  test('[WB3] a second device of the same person shows what the first one sends and reads', async () => {
    const [ada, noor] = await site.friends();
    const second = await site.signIn(ada);
    await say(noor, 'for both your devices');
    const row = second.page.getByRole('navigation', { name: 'Chats' }).getByRole('link', { name: noor.name });
    await row.getByText('for both your devices').waitFor();
    // Read on the first device, so the second has nothing left to count.
    await untilHidden(row.getByText('1 unread message'));
    await say(ada, 'from the first');
    await row.click();
    await bubble(second, 'from the first').waitFor();
    await say(second, 'from the second');
    await bubble(ada, 'from the second').waitFor();
    await bubble(noor, 'from the second').waitFor();
    expect(await texts(second, 3)).toEqual(await texts(ada, 3));
  });

  test('[WB4] an open page goes on after the server was restarted, without a reload', async () => {
    const [ada, noor] = await site.friends();
    await say(ada, 'before');
    await bubble(noor, 'before').waitFor();
    await ada.page.evaluate(() => Object.assign(globalThis, { sameDocument: true }));
    await server.running.close();
    await say(ada, 'while it is down');
    await bubble(ada, 'while it is down').getByRole('img', { name: 'waiting to send' }).waitFor();
    await server.restart();
    await bubble(noor, 'while it is down').waitFor({ timeout: 60_000 });
    await say(noor, 'after');
    await bubble(ada, 'after').waitFor();
    expect(await texts(ada, 3)).toEqual(['before', 'while it is down', 'after']);
    expect(await ada.page.evaluate(() => 'sameDocument' in globalThis)).toBe(true);
  });

  test('[WB5] a change and a recall reach the other side; one’s own recalled words can be taken up again', async () => {
    const [ada, noor] = await site.friends();
    await say(ada, 'at nien', 'not for you');
    await bubble(noor, 'not for you').waitFor();
    await bubble(ada, 'at nien').click({ button: 'right' });
    await ada.page.getByRole('menuitem', { name: 'Edit' }).click();
    await field(ada).fill('at nine');
    await field(ada).press('Enter');
    await bubble(noor, 'at nine').getByText('edited').waitFor({ state: 'attached' });
    // The arrow takes up the last one; Escape lets it go.
    await field(ada).press('ArrowUp');
    await expect.poll(() => field(ada).inputValue(), patient).toBe('not for you');
    await field(ada).press('Escape');
    await expect.poll(() => field(ada).inputValue(), patient).toBe('');
    await bubble(ada, 'not for you').click({ button: 'right' });
    await ada.page.getByRole('menuitem', { name: 'Recall for everyone' }).click();
    await log(noor).getByText('Ada recalled a message').waitFor();
    await log(ada).getByRole('button', { name: 'Re-edit' }).click();
    await expect.poll(() => field(ada).inputValue(), patient).toBe('not for you');
  });

  test('[WB6] a draft stays with its conversation, over leaving and reloading', async () => {
    const [ada, noor] = await site.friends();
    await field(ada).fill('half a thought');
    await ada.page.getByRole('link', { name: /Chats/ }).click();
    await ada.page.getByRole('link', { name: noor.name }).getByText('[Draft]').waitFor();
    await until(ada.page, hasStoredDraft);
    await ada.page.reload();
    await ada.page.getByRole('link', { name: noor.name }).click();
    await expect.poll(() => field(ada).inputValue(), patient).toBe('half a thought');
  });

  test('[WB7] Enter that ends the composition of Chinese does not send', async () => {
    const [ada] = await site.friends();
    await field(ada).fill('你好');
    await field(ada).evaluate((box) => {
      box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }));
      box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true }));
    });
    await field(ada).press('Shift+Enter');
    expect(await field(ada).inputValue()).toBe('你好\n');
    await field(ada).press('Enter');
    await bubble(ada, '你好').waitFor();
    expect(await log(ada).locator('.msg').count()).toBe(1);
    expect(await field(ada).evaluate((box) => box === document.activeElement)).toBe(true);
  });

  test('[WB8] one sees that the other types, and the count of unread in the title', async () => {
    const [ada, noor] = await site.friends();
    await field(noor).pressSequentially('hm');
    await ada.page.getByRole('banner').or(ada.page.locator('header')).getByText('typing…').first().waitFor();
    await ada.page.getByRole('link', { name: 'Settings' }).click();
    await say(noor, 'look here');
    await until(ada.page, () => document.title === '(1) Kith');
    await ada.page.getByRole('link', { name: /Chats/ }).click();
    await ada.page.getByRole('link', { name: noor.name }).click();
    await until(ada.page, () => document.title === 'Kith');
    expect(await texts(ada, 1)).toEqual(['look here']);
  });

  test('[WB9] older messages come as one scrolls up, and what is being read stays where it is', async () => {
    const [ada, noor] = await site.friends();
    const { id: userId, token } = await server.login({ handle: noor.handle, password } as Parameters<TestServer['login']>[0]);
    const people = await server.call('user.search', { query: ada.handle }, token);
    const { conversation } = await server.call('conversation.direct', { userId: people.users[0]!.id }, token);
    for (let n = 1; n <= 180; n++)
      await server.call('message.send', { conversationId: conversation.id, clientId: `history-${userId.slice(0, 8)}-${n}`, type: 'text', text: `line ${n}` }, token);
    await bubble(ada, 'line 180').waitFor();
    // Else the page would open at the first unread one.
    await until(ada.page, () => document.title === 'Kith');
    await ada.page.reload();
    // What was read a moment ago may not be on disk: then it opens at the first unread one.
    await log(ada).locator('.msg').first().waitFor();
    await log(ada).press('End');
    await bubble(ada, 'line 180').waitFor();
    const scroller = log(ada);
    for (let done = false; !done;) {
      const { shift, first } = await scroller.evaluate(async (box) => {
        const frame = () => new Promise(requestAnimationFrame);
        const oldest = () => box.querySelector<HTMLElement>('.msg')!;
        const key = oldest().dataset['key']!;
        const top = () => box.querySelector(`[data-key="${key}"]`)!.getBoundingClientRect().top;
        const text = () => oldest().querySelector('.text')!.textContent;
        // Just short of the top, so that the next page comes while this row is in view.
        box.scrollTop = 40;
        const before = top();
        while (oldest().dataset['key'] === key && text() !== 'line 1') await frame();
        await frame();
        return { shift: top() - before, first: text() };
      });
      expect(Math.abs(shift)).toBeLessThanOrEqual(1);
      done = first === 'line 1';
    }
    expect((await texts(ada, 180)).slice(0, 180)).toEqual(Array.from({ length: 180 }, (_, n) => `line ${n + 1}`));
    await ada.page.getByRole('button', { name: 'Jump to latest' }).click();
    await expect.poll(() => scroller.evaluate((box) => Math.round(box.scrollHeight - box.clientHeight - box.scrollTop)), patient).toBeLessThanOrEqual(1);
  });
});

describe('groups and rooms', () => {
  test('[WB10] a group is made of chosen friends; all of them read it, and who is removed no longer has it', async () => {
    const people = await Promise.all(['Mei', 'Lin', 'Tomas'].map((name) => server.register(undefined, { password, name })));
    await server.befriend(...people);
    const [mei, lin, tomas] = (await Promise.all(people.map((person, at) => site.enter(person, { path: at === 0 ? '/new' : '/' })))) as [Someone, Someone, Someone];
    await mei.page.getByLabel('Name of the group').fill('秋游 Autumn trip');
    await mei.page.getByRole('checkbox', { name: /^Lin/ }).click();
    await mei.page.getByRole('checkbox', { name: /^Tomas/ }).click();
    await mei.page.getByRole('button', { name: 'Make a group of 3' }).click();
    await say(mei, '周六早上八点出发？');
    for (const one of [lin, tomas]) {
      await one.page.getByRole('link', { name: /Chats/ }).click();
      await one.page.getByRole('link', { name: /Autumn trip/ }).click();
      await bubble(one, '周六早上八点出发？').waitFor();
    }
    await say(lin, 'Eight works.');
    await bubble(tomas, 'Eight works.').waitFor();

    await mei.page.getByRole('button', { name: 'Details' }).click();
    const details = mei.page.getByRole('complementary', { name: 'Details' });
    await details.getByRole('button', { name: /^Lin/ }).click();
    await mei.page.getByRole('menuitem', { name: 'Make admin' }).click();
    await details.getByRole('button', { name: /Lin.*Admin/ }).waitFor();
    await log(lin).getByText('Mei made you an admin').waitFor();
    await details.getByRole('button', { name: 'Rename' }).click();
    await details.getByLabel('Name of the group').fill('湖边 Lakeside');
    await details.getByRole('button', { name: 'Save' }).click();
    await tomas.page.getByRole('heading', { name: '湖边 Lakeside', level: 1 }).waitFor();
    await details.getByRole('button', { name: /^Tomas/ }).click();
    await mei.page.getByRole('menuitem', { name: 'Remove from group' }).click();
    await mei.page.getByRole('dialog').getByRole('button', { name: 'Remove from group' }).click();
    await tomas.page.getByText('This conversation is not here').waitFor();
    expect(await bubble(tomas, 'Eight works.').count()).toBe(0);
  });

  test('[WB11] a guest joins without a password, meets the others in the Lobby, and both see who is there', async () => {
    const ada = await site.register('Ada');
    await ada.page.getByRole('link', { name: 'Rooms' }).click();
    await enterLobby(ada);
    const guest = await site.openBrowser();
    await guest.goto('/signin');
    await guest.getByRole('button', { name: 'Guest' }).click();
    await guest.getByLabel('Your name').fill('Yuki');
    expect(await guest.getByRole('group', { name: 'Pick a face' }).getByRole('button').count()).toBe(6);
    await guest.getByRole('button', { name: 'Face 3' }).click();
    await guest.getByRole('button', { name: 'Join' }).click();
    const yuki = { page: guest, name: 'Yuki', handle: '' };
    await guest.getByRole('link', { name: 'Rooms' }).click();
    await enterLobby(yuki);
    await say(yuki, 'Is there a house rule?');
    await bubble(ada, 'Is there a house rule?').waitFor();
    await ada.page
      .getByText(/· 2 online/)
      .first()
      .waitFor();
    await ada.page.getByRole('button', { name: 'Details' }).click();
    await ada.page.getByRole('complementary').getByText('Yuki').waitFor();
    await guest.context().close();
    await ada.page
      .getByText(/· 1 online/)
      .first()
      .waitFor();
  });

  async function enterLobby(one: Someone): Promise<void> {
    const row = one.page.getByRole('listitem').filter({ hasText: 'Lobby' });
    await row.waitFor();
    const join = row.getByRole('button', { name: 'Join' });
    await ((await join.count()) ? join : row.getByRole('link')).click();
    await field(one).waitFor();
  }
});

describe('sessions', () => {
  test('[WB12] a session that is ended on another device leads to the sign-in page, with a word of why', async () => {
    const ada = await site.register('Ada');
    const second = await site.signIn(ada);
    await second.page.goto('/settings/devices');
    await second.page.getByRole('main').getByRole('button', { name: 'Sign out', exact: true }).click();
    await second.page.getByRole('dialog').getByRole('button', { name: 'Sign out', exact: true }).click();
    await ada.page.getByText('You were signed out on this device.').waitFor();
    expect(new URL(ada.page.url()).pathname).toBe('/signin');
  });

  test('[WB13] signing out leaves nothing of the person in the browser', async () => {
    const [ada] = await site.friends();
    await say(ada, 'a secret');
    await ada.page.getByRole('link', { name: 'Settings' }).click();
    await ada.page.getByRole('button', { name: 'Sign out' }).click();
    await ada.page.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
    await ada.page.getByLabel('Password').waitFor();
    const left = await ada.page.evaluate(async () => {
      const kept: unknown[] = [...Object.keys(localStorage).filter((key) => key === 'kith.user')];
      for (const { name: database } of await indexedDB.databases()) {
        const db = await new Promise<IDBDatabase>((resolve, reject) => {
          const open = indexedDB.open(database!);
          open.onsuccess = () => resolve(open.result);
          open.onerror = () => reject(open.error!);
        });
        for (const store of db.objectStoreNames) {
          const keys = db.transaction(store).objectStore(store).getAllKeys();
          await new Promise((resolve) => (keys.onsuccess = resolve));
          // All that may stay is a word for other tabs: there was something, and it was erased.
          kept.push(...keys.result.filter((name) => name !== 'idb/erased'));
        }
        db.close();
      }
      return kept;
    });
    expect(left).toEqual([]);
    expect((await ada.page.context().cookies()).filter((cookie) => cookie.httpOnly && cookie.value !== '')).toEqual([]);
  });

  test('[WB14] on a narrow screen the list and the conversation are two screens, and back is back', async () => {
    const [ada, noor] = await site.friends();
    await ada.page.setViewportSize({ width: 390, height: 844 });
    await ada.page.goto('/');
    await ada.page.getByRole('link', { name: noor.name }).click();
    await field(ada).waitFor();
    expect(await ada.page.getByRole('navigation', { name: 'Main' }).count()).toBe(0);
    await ada.page.getByRole('button', { name: 'Details' }).click();
    await ada.page.getByRole('complementary').waitFor();
    await untilHidden(field(ada));
    await ada.page.goBack();
    await field(ada).waitFor();
    await ada.page.getByRole('complementary').waitFor({ state: 'detached' });
    await ada.page.getByRole('button', { name: 'Back' }).click();
    await ada.page.getByRole('navigation', { name: 'Main' }).waitFor();
    expect(new URL(ada.page.url()).pathname).toBe('/');
  });
});

describe('the first screens', () => {
  test('[WB16] axe finds nothing serious on the sign-in page', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await site.openBrowser({ colorScheme });
      await page.goto('/signin');
      await page.getByRole('button', { name: 'Guest' }).click();
      expect(await seriousProblems(page)).toEqual([]);
    }
  });

  test('[WB17] an operator comes in by the set-up link, writes an announcement, and nobody else can', async () => {
    const code = await server.running.core.setupLink();
    // Another test may have taken the place; the link is for the first account of a fresh server.
    const fresh = code === undefined ? await startTestServer() : server;
    const link = code ?? (await fresh.running.core.setupLink());
    const page = await site.openBrowser({ baseURL: fresh.url });
    await page.goto(`/setup#${link}`);
    await page.getByLabel('Your name').fill('Lin');
    await page.getByLabel('User name').fill('operator');
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Make the account' }).click();
    const lin = { page, name: 'Lin', handle: 'operator' };
    await page.getByRole('link', { name: /Announcements/ }).click();
    await say(lin, 'Backups run on Sundays.');
    await bubble(lin, 'Backups run on Sundays.').waitFor();
    const reader = await fresh.register('reader', { password });
    const second = await site.openBrowser({ baseURL: fresh.url });
    await site.signInAt(second, { handle: reader.handle!, name: 'reader' });
    await second.getByRole('link', { name: /Announcements/ }).click();
    await second.getByText('Only operators write here.').waitFor();
    expect(await second.getByRole('textbox', { name: 'Message' }).count()).toBe(0);
    if (fresh !== server) await fresh.close();
  });

  test('[WB18] no page broke the content security policy, threw, or asked another origin for anything', () => {
    expect(site.complaints).toEqual([]);
  });
});
