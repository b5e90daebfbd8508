import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import type { MethodName, Params, Result } from '../packages/protocol/src/index.ts';
import type { Person } from '../packages/server/test/harness.ts';
import { PushService } from '../packages/server/test/push-service.ts';
import { Site, password, patient, seriousProblems, until, untilHidden } from './people.ts';
import { PushBrowser, lookAway, lookBack, sounds } from './push-browser.ts';

/** How long the server waits with pushes for a person whose page is open. Milliseconds. */
const pushDelayMs = 500;
/** More than a burst lasts. Milliseconds. */
const pauseMs = 4_000;

let site: Site;
let service: PushService;

beforeAll(async () => {
  service = await new PushService().open();
  site = await Site.open({ workerAtOnce: true, config: { pushHosts: service.url, pushIntervalMs: 1, pushDelayMs, offlineGraceMs: 0, registration: 'open' } });
});
afterAll(async () => {
  await site?.close();
  await service?.close();
});
afterEach(() => site.closePages());

const call = <M extends MethodName>(person: { token: string }, method: M, params: Params<M>): Promise<Result<M>> => site.server.call(method, params, person.token);

let handles = 0;
const person = (name: string): Promise<Person> => site.server.register(`${name.toLowerCase()}.no${++handles}`, { password, name });

let sent = 0;
async function write(from: Person, conversationId: string, text: string): Promise<number> {
  return (await call(from, 'message.send', { conversationId, clientId: `no-message-${++sent}`.padEnd(22, '0'), type: 'text', text })).message.seq;
}

/** Ada, who has a browser that can be notified, and Noor, who writes to her. */
async function adaAndNoor(options?: Parameters<typeof PushBrowser.signIn>[3]) {
  const [ada, noor] = [await person('Ada'), await person('Noor')];
  await site.server.befriend(ada, noor);
  const { conversation } = await call(noor, 'conversation.direct', { userId: ada.id });
  const { one, browser } = await PushBrowser.signIn(site, service, ada, options);
  return { ada, noor, page: one.page, one, browser, direct: conversation.id };
}

/** A group of Ada, Noor and whoever else is named. */
async function group(owner: Person, title: string, ...others: Person[]): Promise<string> {
  const { conversation } = await call(owner, 'conversation.create', { title, memberIds: others.map(({ id }) => id) });
  for (const other of others) await call(other, 'conversation.accept', { conversationId: conversation.id });
  for (const one of [owner, ...others]) await call(one, 'read.mark', { conversationId: conversation.id, seq: 1 });
  return conversation.id;
}

const row = (page: Page, title: string) =>
  page
    .getByRole('navigation', { name: 'Chats' })
    .getByRole('link')
    .filter({ has: page.locator('.name').getByText(title, { exact: true }) });
const turnOn = async (page: Page): Promise<void> => {
  await page.getByRole('button', { name: 'Turn on notifications' }).click();
  await untilHidden(page.getByRole('button', { name: 'Turn on notifications' }));
};
const openSettings = async (page: Page): Promise<void> => {
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('navigation', { name: 'Settings' }).getByRole('link', { name: 'Notifications' }).click();
  await page.getByRole('heading', { name: 'Notifications' }).waitFor();
};
const heard = (page: Page) => () => sounds(page);
const shown = (browser: PushBrowser) => () => browser.standing();
/** What the server knows of the device that this browser is. */
const known = (browser: PushBrowser) => () => browser.ask('push.check');

describe('the sound', () => {
  test('[NO2] a burst of messages is one sound; one’s own, muted ones and those in view are none', async () => {
    const { ada, noor, page, direct } = await adaAndNoor();
    const club = await group(noor, 'Club', ada);
    await row(page, 'Club').waitFor();
    await page.clock.install();
    await call(ada, 'conversation.mute', { conversationId: club, until: Number.MAX_SAFE_INTEGER });
    await row(page, 'Club').getByRole('img', { name: 'Muted' }).waitFor();
    for (const text of ['one', 'two', 'three']) await write(noor, direct, text);
    await row(page, 'Noor').getByText('three').waitFor();
    await expect.poll(heard(page), patient).toBe(1);
    // Each of these comes after a pause, and would be heard by itself.
    await page.clock.fastForward(pauseMs);
    await write(noor, club, 'to nobody');
    await row(page, 'Club').getByText('to nobody').waitFor();
    await page.clock.fastForward(pauseMs);
    await write(ada, direct, 'from another device of mine');
    await row(page, 'Noor').getByText('from another device of mine').waitFor();
    await row(page, 'Noor').click();
    await page.getByRole('log').getByText('three').waitFor();
    await page.clock.fastForward(pauseMs);
    await write(noor, direct, 'in view');
    await page.getByRole('log').getByText('in view').waitFor();
    await page.clock.fastForward(pauseMs);
    await lookAway(page);
    await write(noor, direct, 'out of view');
    await page.getByRole('log').getByText('out of view').waitFor();
    await expect.poll(heard(page), patient).toBe(2);
    expect(await sounds(page)).toBe(2);
  });

  test('[NO3] a page that nobody has touched yet stays silent, without a complaint', async () => {
    const { noor, page, direct } = await adaAndNoor();
    await page.clock.install();
    await page.reload();
    await write(noor, direct, 'before a touch');
    await row(page, 'Noor').getByText('before a touch').waitFor();
    await row(page, 'Noor').click();
    await page.getByRole('link', { name: 'Contacts' }).click();
    await page.getByRole('link', { name: 'Chats' }).click();
    await row(page, 'Noor').waitFor();
    expect(await sounds(page)).toBe(0);
    await page.clock.fastForward(pauseMs);
    await write(noor, direct, 'after a touch');
    await expect.poll(heard(page), patient).toBe(1);
  });
});

describe('two tabs', () => {
  test('[NO4] one of them sounds and notifies, and knows what the other has in view', async () => {
    const { ada, noor, page, browser, direct } = await adaAndNoor();
    const club = await group(noor, 'Club', ada);
    await turnOn(page);
    const other = await browser.openTab('/contacts');
    // Touched, so that it could.
    await other.getByRole('link', { name: 'Noor' }).click();
    await Promise.all([lookAway(page), lookAway(other)]);
    await write(noor, direct, 'once');
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: direct, body: 'New message' }]);
    await expect.poll(async () => (await sounds(page)) + (await sounds(other)), patient).toBe(1);
    // What is in view in one of them is told by neither.
    await other.goto(`/c/${direct}`);
    await expect.poll(shown(browser), patient).toEqual([]);
    await write(noor, direct, 'seen there');
    await other.getByRole('log').getByText('seen there').waitFor();
    await until(other, () => document.title === 'Kith');
    await lookAway(other);
    await write(noor, club, 'seen nowhere');
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: club }]);
    expect([await browser.times(direct), await browser.times(club)]).toEqual([1, 1]);
  });

  test('[NO5] title, icon and badge say the same in both, and of muted conversations nothing', async () => {
    const { ada, noor, page, browser, direct } = await adaAndNoor();
    const club = await group(noor, 'Club', ada);
    await call(ada, 'conversation.mute', { conversationId: club, until: Number.MAX_SAFE_INTEGER });
    const other = await browser.openTab('/contacts');
    await write(noor, club, 'muted');
    await write(noor, direct, 'one');
    await write(noor, direct, 'two');
    const marks = (tab: Page) =>
      tab.evaluate(() => [document.title, new URL(document.querySelector<HTMLLinkElement>('link[rel="icon"]')!.href).pathname, (globalThis as unknown as { badge: number }).badge]);
    for (const tab of [page, other]) await expect.poll(() => marks(tab), patient).toEqual(['(2) Kith', '/icon-unread.svg', 2]);
    const { status, headers } = await site.server.http('GET', '/icon-unread.svg');
    expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type: 'image/svg+xml' });
    await row(page, 'Noor').click();
    for (const tab of [page, other]) await expect.poll(() => marks(tab), patient).toEqual(['Kith', '/icon.svg', 0]);
  });
});

describe('notifications', () => {
  test('[NO6] the browser is asked when somebody says yes to a quiet line, and never before', async () => {
    const { page } = await adaAndNoor();
    const asked = () => page.evaluate(() => (globalThis as unknown as { asked?: boolean }).asked === true);
    await page.getByRole('button', { name: 'Turn on notifications' }).waitFor();
    expect(await asked()).toBe(false);
    await page.getByRole('button', { name: 'Not now' }).click();
    await page.reload();
    await row(page, 'Noor').waitFor();
    await openSettings(page);
    expect(await asked()).toBe(false);
    await page.getByRole('switch', { name: 'Notifications' }).click();
    await page.getByRole('switch', { name: 'Notifications', checked: true }).waitFor();
    expect(await asked()).toBe(true);
    await page.getByRole('link', { name: 'Chats' }).click();
    await row(page, 'Noor').waitFor();
    expect(await page.getByRole('button', { name: 'Turn on notifications' }).count()).toBe(0);
  });

  test('[NO7] there is one for each conversation, with the name one has given the sender; it says what was said only where that is wanted', async () => {
    const { ada, noor, page, browser, direct } = await adaAndNoor();
    await call(ada, 'friend.remark', { userId: noor.id, remark: 'Nunu' });
    const club = await group(noor, 'Club', ada);
    await row(page, 'Nunu').waitFor();
    await row(page, 'Club').waitFor();
    await turnOn(page);
    await lookAway(page);
    await write(noor, direct, 'first');
    await expect.poll(shown(browser), patient).toEqual([{ title: 'Nunu', body: 'New message', tag: direct, silent: true }]);
    await call(ada, 'settings.update', { pushContent: true });
    await write(noor, direct, 'second, **aloud**');
    await expect.poll(shown(browser), patient).toEqual([{ title: 'Nunu (2)', body: 'second, aloud', tag: direct, silent: true }]);
    await write(noor, club, 'third');
    await expect.poll(shown(browser), patient).toEqual([expect.objectContaining({ tag: direct }), { title: 'Club', body: 'Nunu: third', tag: club, silent: true }]);
  });

  test('[NO8] it goes when the conversation is read, here or on another device, and when the message is recalled', async () => {
    const { ada, noor, page, browser, direct } = await adaAndNoor();
    const [club, den] = [await group(noor, 'Club', ada), await group(noor, 'Den', ada)];
    await row(page, 'Den').waitFor();
    await turnOn(page);
    await lookAway(page);
    await write(noor, direct, 'read here');
    const seq = await write(noor, club, 'read elsewhere');
    const { message } = await call(noor, 'message.send', { conversationId: den, clientId: 'no-recalled-message-00', type: 'text', text: 'recalled' });
    await expect.poll(async () => (await browser.standing()).map(({ tag }) => tag).sort(), patient).toEqual([direct, club, den].sort());
    await call(ada, 'read.mark', { conversationId: club, seq });
    await expect.poll(async () => (await browser.standing()).map(({ tag }) => tag).sort(), patient).toEqual([direct, den].sort());
    await call(noor, 'message.delete', { messageId: message.id });
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: direct }]);
    await lookBack(page);
    await row(page, 'Noor').click();
    await expect.poll(shown(browser), patient).toEqual([]);
  });

  test('[NO9] a click opens the conversation at the message in the tab that is there', async () => {
    const { noor, page, browser, direct } = await adaAndNoor();
    await turnOn(page);
    await lookAway(page);
    const seq = await write(noor, direct, 'come and see');
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: direct }]);
    expect(await browser.click(direct)).toBe(undefined);
    await page.waitForURL((url) => url.pathname === `/c/${direct}`);
    await page.getByRole('log').getByText('come and see').waitFor();
    expect(seq).toBe(1);
    await expect.poll(shown(browser), patient).toEqual([]);
  });

  test('[NO10] in the quiet hours there is neither sound nor notification, and the server knows of them, by the clock of the person', async () => {
    const { noor, page, browser, direct } = await adaAndNoor({ timezoneId: 'Asia/Shanghai' });
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await openSettings(page);
    await page.getByRole('switch', { name: 'Quiet hours' }).click();
    await page.getByText('By the clock of Asia/Shanghai').waitFor();
    const clock = (at: number) => new Intl.DateTimeFormat('en', { timeZone: 'Asia/Shanghai', hourCycle: 'h23', hour: '2-digit', minute: '2-digit' }).format(at);
    const hour = 3_600_000;
    await page.getByLabel('From').fill(clock(Date.now() - 6 * hour));
    await page.getByLabel('From').blur();
    await page.getByLabel('Until').fill(clock(Date.now() + 6 * hour));
    await page.getByLabel('Until').blur();
    await expect.poll(known(browser), patient).toMatchObject({ quietNow: true });
    await lookAway(page);
    await write(noor, direct, 'at night');
    await until(page, () => document.title === '(1) Kith');
    expect(await sounds(page)).toBe(0);
    // The day begins: the next message has the count of both, and is the first that is told of.
    await page.getByRole('switch', { name: 'Quiet hours' }).click();
    await untilHidden(page.getByLabel('From'));
    await write(noor, direct, 'by day');
    await expect.poll(shown(browser), patient).toMatchObject([{ title: 'Noor (2)' }]);
    expect(await sounds(page)).toBe(1);
    expect(await browser.times(direct)).toBe(1);
  });
});

describe('pushes', () => {
  test('[NO11] with no page open a push is shown, and taken back when it is read elsewhere; a click opens a page at the message', async () => {
    const { ada, noor, page, browser, direct } = await adaAndNoor();
    await call(ada, 'settings.update', { pushContent: true });
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    const [device] = browser.devices;
    await page.goto('about:blank');
    await write(noor, direct, 'while you were away');
    const push = await device!.next();
    expect(push.payload).toMatchObject({ type: 'message', title: 'Noor', body: 'while you were away' });
    // What the service worker is woken with is what the server encrypted and the device decrypted.
    await browser.deliver(push.payload);
    await expect.poll(shown(browser), patient).toEqual([{ title: 'Noor', body: 'while you were away', tag: direct, silent: false }]);
    const seq = await write(noor, direct, 'and more');
    await browser.deliver((await device!.next()).payload);
    await expect.poll(shown(browser), patient).toEqual([{ title: 'Noor (2)', body: 'and more', tag: direct, silent: false }]);
    expect(await browser.click(direct)).toBe(`/c/${direct}?m=${seq}`);
    await expect.poll(shown(browser), patient).toEqual([]);
    await write(noor, direct, 'once more');
    await browser.deliver((await device!.next()).payload);
    await expect.poll(shown(browser), patient).toMatchObject([{ title: 'Noor (3)' }]);
    const phone = await site.server.login(ada);
    await call(phone, 'read.mark', { conversationId: direct, seq: 3 });
    const taken = await device!.next();
    expect(taken.payload).toMatchObject({ type: 'read', unread: 0 });
    expect(await browser.badge()).toBe(3);
    await browser.deliver(taken.payload);
    await expect.poll(shown(browser), patient).toEqual([]);
    expect(await browser.badge()).toBe(0);
  });

  test('[NO12] without content a push says that there is something, in the language of the person', async () => {
    const { noor, page, browser, direct } = await adaAndNoor();
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await page.goto('/settings/appearance');
    await page.getByRole('button', { name: '中文' }).click();
    await page.getByRole('heading', { name: '外观' }).waitFor();
    await expect.poll(() => page.evaluate(async () => (await caches.match('/language'))?.text()), patient).toBe('zh-CN');
    await page.goto('about:blank');
    await write(noor, direct, 'a secret');
    const { payload } = await browser.devices[0]!.next();
    expect(JSON.stringify(payload)).not.toContain('secret');
    await browser.deliver(payload);
    await expect.poll(shown(browser), patient).toEqual([{ title: 'Kith', body: '新消息', tag: direct, silent: false }]);
    // Who wants the content has the words for what has none from here.
    await browser.deliver({ ...payload, seq: 99, title: 'Noor', voiceMs: 42_000 });
    await expect.poll(shown(browser), patient).toMatchObject([{ body: '语音消息 0:42' }]);
    await browser.deliver({ ...payload, seq: 100, title: 'Noor', media: 'picture' });
    await expect.poll(shown(browser), patient).toMatchObject([{ body: '图片' }]);
    await browser.deliver({ type: 'report', open: 1 });
    await expect.poll(shown(browser), patient).toMatchObject([{ body: '图片' }, { title: '有新的举报', tag: 'reports' }]);
  });

  test('[NO13] a push about what a page has told of or shows makes nothing new', async () => {
    const { noor, page, browser, direct } = await adaAndNoor();
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await lookAway(page);
    await write(noor, direct, 'told by the page');
    const { payload } = await browser.devices[0]!.next();
    await expect.poll(shown(browser), patient).toEqual([{ title: 'Noor', body: 'New message', tag: direct, silent: true }]);
    await browser.deliver(payload);
    await browser.deliver({ type: 'test' });
    await expect.poll(shown(browser), patient).toEqual([{ title: 'Noor', body: 'New message', tag: direct, silent: true }, expect.objectContaining({ tag: 'test-push' })]);
    await lookBack(page);
    await row(page, 'Noor').click();
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: 'test-push' }]);
    // In sight, but not read yet: the page shows it, nothing else does.
    await page.getByRole('link', { name: 'Contacts' }).click();
    await write(noor, direct, 'shown by the page');
    await browser.deliver((await browser.devices[0]!.next()).payload);
    await browser.deliver({ type: 'later' });
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: 'test-push' }, { tag: 'unknown' }]);
  });

  test('[NO14] what a newer server sends is shown as something new', async () => {
    const { browser } = await adaAndNoor();
    await browser.deliver({ type: 'call', from: 'the future' });
    await expect.poll(shown(browser), patient).toMatchObject([{ title: 'Something new on Kith' }]);
  });

  test('[NO15] a subscription that the browser has changed is told to the server without a page', async () => {
    const { noor, page, browser, direct } = await adaAndNoor();
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await page.goto('about:blank');
    await browser.changeSubscription();
    await write(noor, direct, 'by the new way');
    expect((await browser.devices[1]!.next()).payload).toMatchObject({ type: 'message', seq: 1 });
    expect(browser.devices[0]!.pushes).toEqual([]);
  });

  test('[NO16] who turns it off, and who signs out, gets no more here, and nothing is left standing', async () => {
    const { ada, noor, page, browser, direct } = await adaAndNoor();
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await lookAway(page);
    await write(noor, direct, 'still here');
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: direct }]);
    await openSettings(page);
    await page.getByRole('switch', { name: 'Notifications' }).click();
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: false });
    await expect.poll(shown(browser), patient).toEqual([]);
    await page.getByRole('switch', { name: 'Notifications' }).click();
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL('**/signin');
    // A device that is still signed in is told; the one that is not, nothing more.
    const other = service.device();
    await call(await site.server.login(ada), 'push.subscribe', other.subscription);
    await write(noor, direct, 'to the other one');
    expect((await other.next()).payload).toMatchObject({ seq: 2 });
    expect(browser.devices.flatMap(({ payloads }) => payloads).filter((payload) => payload.type === 'message' && payload.seq > 1)).toEqual([]);
  });
});

describe('help', () => {
  const result = (page: Page, name: string) => page.getByRole('status', { name }).getByRole('listitem');

  test('[NO17] the test makes a sound, a notification and a push that goes all the way', async () => {
    const { page, browser } = await adaAndNoor();
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await openSettings(page);
    await page.getByRole('button', { name: 'Test this device' }).click();
    await result(page, 'Test this device').getByText('Push: accepted by the push service, on its way …').waitFor();
    await expect.poll(heard(page), patient).toBe(1);
    await expect.poll(shown(browser), patient).toMatchObject([{ title: 'This is a test', tag: 'test' }]);
    await browser.deliver((await browser.devices[0]!.next()).payload);
    await result(page, 'Test this device').getByText('Push: arrived').waitFor();
    expect(await result(page, 'Test this device').allTextContents()).toEqual(['Sound: played', 'Notification: shown', 'Push: arrived']);
    await expect.poll(shown(browser), patient).toMatchObject([{ tag: 'test' }, { tag: 'test-push' }]);
  });

  const broken = (page: Page) => page.locator('.broken').allInnerTexts();
  const check = async (page: Page): Promise<string[]> => {
    await page.getByRole('button', { name: 'Why did I not get one?' }).click();
    await page.locator('[aria-disabled="true"]').waitFor({ state: 'detached' });
    return (await result(page, 'Why did I not get one?').allInnerTexts()).map((line) => line.split('\n')[0]!);
  };

  test('[NO18] the check names the first link that is broken, and what to do', async () => {
    const { ada, page, browser } = await adaAndNoor();
    await openSettings(page);
    await check(page);
    expect(await broken(page)).toEqual(['The browser was never asked\nTurn notifications on above.']);
    await page.getByRole('switch', { name: 'Notifications' }).click();
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    expect(await check(page)).toEqual([
      'This browser can show notifications',
      'The browser allows them',
      'They are turned on for this device',
      'The background part of Kith is at work',
      'This browser has a subscription',
      'The server knows this device',
      'No push was sent to this device yet',
      'No quiet hours now',
      'No conversation is muted',
      'No other device of yours is open',
    ]);
    expect(await broken(page)).toEqual([]);

    // The push service has failed, then has forgotten the subscription.
    const [device] = browser.devices;
    device!.answers.push({ status: 500 });
    await browser.ask('push.test');
    await check(page);
    expect(await broken(page)).toEqual([expect.stringMatching(/^The last push failed .*: the push service answered 500\nRenew the subscription/)]);
    device!.answers.push({ status: 410 });
    await browser.ask('push.test');
    await check(page);
    expect(await broken(page)).toEqual([expect.stringContaining('The server does not know this device')]);
    await page.getByRole('button', { name: 'Renew the subscription' }).click();
    await untilHidden(page.locator('.broken'));
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true, last: null });

    await page.getByRole('switch', { name: 'Notifications' }).click();
    await page.getByRole('switch', { name: 'Notifications', checked: false }).waitFor();
    await check(page);
    expect(await broken(page)).toEqual([expect.stringContaining('They are turned off for this device')]);
    await call(ada, 'settings.update', {});
  });

  test('[NO18] it knows quiet hours, muted conversations and other devices as reasons', async () => {
    const { ada, page, browser, direct } = await adaAndNoor();
    await turnOn(page);
    await expect.poll(known(browser), patient).toMatchObject({ subscribed: true });
    await call(ada, 'conversation.mute', { conversationId: direct, until: Number.MAX_SAFE_INTEGER });
    const minute = new Date().getUTCHours() * 60 + new Date().getUTCMinutes();
    await call(ada, 'settings.update', { timeZone: 'UTC', quietFrom: (minute + 1_080) % 1_440, quietTo: (minute + 360) % 1_440 });
    const phone = await site.server.connect(await site.server.login(ada));
    await openSettings(page);
    await page.getByRole('button', { name: 'Unmute' }).waitFor();
    expect((await check(page)).slice(-3)).toEqual(['It is your quiet hours', '1 conversation is muted', 'Another device of yours is open']);
    expect(await broken(page)).toEqual([]);
    phone.terminate();
    await page.getByRole('button', { name: 'Unmute' }).click();
    await untilHidden(page.getByRole('button', { name: 'Unmute' }));
    await expect.poll(known(browser), patient).toMatchObject({ mutedConversations: 0 });
  });

  test('[NO18] it knows a browser that refuses, one without a push service, and a phone without the application', async () => {
    const refusing = await adaAndNoor({ answer: 'denied' });
    await openSettings(refusing.page);
    await refusing.page.getByRole('switch', { name: 'Notifications' }).click();
    await refusing.page.getByText('The browser does not allow it.').waitFor();
    await check(refusing.page);
    expect(await broken(refusing.page)).toEqual([expect.stringContaining('The browser does not allow notifications of this site')]);

    const without = await adaAndNoor({ subscriptions: 0 });
    await turnOn(without.page);
    await openSettings(without.page);
    await check(without.page);
    expect(await broken(without.page)).toEqual([expect.stringContaining('It said: Registration failed - push service error.')]);

    const phone = await adaAndNoor({
      userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
    });
    await openSettings(phone.page);
    await phone.page.getByText('Add to Home Screen').waitFor();
    await check(phone.page);
    expect(await broken(phone.page)).toEqual([expect.stringContaining('Kith is not on the home screen')]);
  });

  test('[NO19] the page of settings has nothing that axe finds serious, in both languages and themes', async () => {
    const { ada, page } = await adaAndNoor();
    await call(ada, 'settings.update', { quietFrom: 1_320, quietTo: 420, timeZone: 'Asia/Shanghai' });
    await turnOn(page);
    for (const [language, theme, button] of [
      ['en', 'light', 'Why did I not get one?'],
      ['zh-CN', 'dark', '为什么没有收到？'],
    ] as const) {
      await page.evaluate(
        ([one, other]) => {
          localStorage.setItem('kith.language', one);
          localStorage.setItem('kith.theme', other);
        },
        [language, theme] as const,
      );
      await page.goto('/settings/notifications');
      await page.getByRole('button', { name: button }).click();
      await page.locator('.found').waitFor();
      expect(await seriousProblems(page)).toEqual([]);
    }
  });
});

test('[NO20] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
