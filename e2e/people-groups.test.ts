import { limits } from '@kith/protocol';
import { encode } from 'uqr';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Person, TestServer } from '../packages/server/test/harness.ts';
import { Site, type Someone, bubble, field, log, password, patient, say, seriousProblems, until, untilHidden } from './people.ts';

let site: Site;
let server: TestServer;
let names = 0;

beforeAll(async () => {
  site = await Site.open({ config: { offlineGraceMs: 0 } });
  server = site.server;
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

/** Somebody who has an account and no browser yet. */
const account = (name: string): Promise<Person> => server.register(`pg${++names}`, { password, name });
const open = async (person: Person, options?: Parameters<Site['enter']>[1]): Promise<Someone> => site.enter(await server.login(person), options);
const group = async (owner: Person, title: string, members: Person[]): Promise<string> =>
  (await server.call('conversation.create', { title, memberIds: members.map(({ id }) => id) }, owner.token)).conversation.id;
const direct = async (one: Person, other: Person): Promise<string> => (await server.call('conversation.direct', { userId: other.id }, one.token)).conversation.id;
const send = (by: Person, conversationId: string, text: string) =>
  server.call('message.send', { conversationId, clientId: `people-groups-${++names}`, type: 'text', text }, by.token);

const card = ({ page }: Someone, name: string) => page.getByRole('dialog', { name });
const details = ({ page }: Someone) => page.getByRole('complementary', { name: 'Details' });
const confirm = ({ page }: Someone, words: string) => page.getByRole('dialog').getByRole('button', { name: words, exact: true }).click();
const toast = ({ page }: Someone, words: string) => page.getByRole('status').getByText(words, { exact: true });

describe('people', () => {
  test('[PG1] a request shows its note, is accepted, refused or taken back', async () => {
    const [ada, noor, tomas, mei] = await Promise.all(['Ada', 'Noor', 'Tomas', 'Mei'].map(account));
    await server.call('friend.request', { userId: ada!.id, note: 'We met at the lake.' }, noor!.token);
    await server.call('friend.request', { userId: ada!.id, note: 'Hi' }, tomas!.token);
    await server.call('friend.request', { userId: mei!.id }, ada!.token);
    const one = await open(ada!, { path: '/contacts' });
    const row = (name: string) => one.page.getByRole('listitem').filter({ hasText: name });
    await row('Noor').getByText('We met at the lake.').waitFor();
    await row('Noor').getByRole('button', { name: 'Accept' }).click();
    await one.page.getByRole('link', { name: 'Noor' }).waitFor();
    await row('Tomas').getByRole('button', { name: 'Decline' }).click();
    await untilHidden(row('Tomas'));
    await row('Mei').getByRole('button', { name: 'Take back' }).click();
    await untilHidden(row('Mei'));
    const friends = async (person: Person) => (await server.call('user.search', { query: ada!.handle! }, person.token)).users.length;
    expect(await friends(noor!)).toBe(1);
    await expect(server.call('friend.accept', { userId: ada!.id }, mei!.token)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[PG2] a remark stands in place of the name everywhere, and the card keeps the name they chose', async () => {
    const [ada, noor] = [await account('Ada'), await account('Noor')];
    await server.befriend(ada, noor);
    const id = await group(ada, 'Choir', [noor]);
    await send(noor, id, 'Tenors at seven.');
    const one = await open(ada, { path: `/c/${id}` });
    await log(one).getByRole('button', { name: 'Noor', exact: true }).first().click();
    await card(one, 'Noor').getByRole('button', { name: 'Give a name only you see' }).click();
    await card(one, 'Noor').getByLabel('Remark').fill('Upstairs');
    await card(one, 'Noor').getByLabel('Remark').press('Enter');
    await card(one, 'Upstairs').getByText('Noor', { exact: true }).waitFor();
    await one.page.keyboard.press('Escape');
    await log(one).getByRole('button', { name: 'Upstairs', exact: true }).first().waitFor();
    await one.page.getByRole('navigation', { name: 'Chats' }).getByText('Upstairs: Tenors at seven.').waitFor();
    await one.page.getByRole('button', { name: 'Details' }).click();
    await details(one)
      .getByRole('button', { name: /^Upstairs/ })
      .waitFor();
    await one.page.goto('/contacts');
    await one.page.getByRole('link', { name: 'Upstairs' }).waitFor();
    // Whoever has it in mind by the other name finds them too.
    await one.page.getByRole('searchbox', { name: 'Search contacts' }).fill('noor');
    await one.page.getByRole('link', { name: 'Upstairs' }).waitFor();
    expect(await one.page.getByRole('link', { name: 'Noor' }).count()).toBe(0);
  });

  test('[PG3] a face or a name opens a card beside it; from there one asks, with a note, and writes', async () => {
    const [ada, noor, yuki] = await Promise.all(['Ada', 'Noor', 'Yuki'].map(account));
    await server.befriend(ada!, noor!);
    await server.befriend(noor!, yuki!);
    const id = await group(noor!, 'Choir', [ada!, yuki!]);
    await send(yuki!, id, 'Hello from the basses.');
    const one = await open(ada!, { path: `/c/${id}` });
    const face = log(one).getByRole('button', { name: 'Yuki', exact: true }).first();
    await face.click();
    const yukis = card(one, 'Yuki');
    await yukis.getByText('Choir').waitFor();
    const [beside, of] = [(await yukis.boundingBox())!, (await face.boundingBox())!];
    expect(beside.x).toBeGreaterThanOrEqual(of.x + of.width);
    expect(beside.y + beside.height).toBeLessThanOrEqual(800);
    await yukis.getByRole('button', { name: 'Ask to be friends' }).click();
    await yukis.getByLabel('A word about who you are').fill('Second alto');
    await yukis.getByRole('button', { name: 'Send' }).click();
    await yukis.getByRole('button', { name: 'Take back' }).waitFor();
    await server.call('friend.accept', { userId: ada!.id }, yuki!.token);
    await yukis.getByRole('button', { name: 'Message' }).click();
    await one.page.getByRole('heading', { name: 'Yuki', level: 1 }).waitFor();
    await untilHidden(yukis);
  });

  test('[PG4] on a narrow screen the card is a sheet at the bottom', async () => {
    const [ada, noor] = [await account('Ada'), await account('Noor')];
    const id = await group(noor, 'Choir', [ada]);
    await send(noor, id, 'Hello');
    const one = await open(ada, { path: `/c/${id}`, viewport: { width: 390, height: 844 } });
    await log(one).getByRole('button', { name: 'Noor', exact: true }).first().click();
    await expect
      .poll(async () => {
        const box = (await card(one, 'Noor').boundingBox())!;
        return [box.x, box.width, Math.round(box.y + box.height)];
      }, patient)
      .toEqual([0, 390, 844]);
    await one.page.touchscreen.tap(200, 20).catch(() => one.page.mouse.click(200, 20));
    await untilHidden(card(one, 'Noor'));
  });

  test('[PG5] who is blocked is listed among the privacy settings, until they are no longer', async () => {
    const [ada, noor] = [await account('Ada'), await account('Noor')];
    await server.befriend(ada, noor);
    const chat = await direct(noor, ada);
    const one = await open(ada, { path: `/contacts/${noor.id}` });
    await one.page.getByRole('main').getByRole('button', { name: 'Block' }).click();
    await one.page.getByRole('dialog', { name: 'Block Noor?' }).getByRole('button', { name: 'Block' }).click();
    await one.page.getByText('You blocked this person.').waitFor();
    await expect(send(noor, chat, 'Are you there?')).rejects.toMatchObject({ code: 'not_found' });
    await one.page.goto('/settings/privacy');
    await one.page.getByRole('listitem').filter({ hasText: 'Noor' }).getByRole('button', { name: 'Unblock' }).click();
    await one.page.getByText('You have blocked nobody.').waitFor();
    await send(noor, chat, 'Are you there now?');
    await one.page.getByRole('link', { name: /Chats/ }).click();
    await one.page.getByRole('link', { name: 'Noor' }).getByText('Are you there now?').waitFor();
  });

  test('[PG6] the privacy switches do what they say, and are the same on every device', async () => {
    const [ada, noor] = [await account('Ada'), await account('Noor')];
    await server.befriend(ada, noor);
    const chat = await direct(ada, noor);
    await send(noor, chat, 'Look up.');
    const [one, other] = await Promise.all([open(ada), open(noor)]);
    await other.page.goto('/contacts');
    await other.page.getByRole('link', { name: 'Ada' }).getByText('online').waitFor();
    await one.page.goto('/settings/privacy');
    await one.page.getByRole('group', { name: 'Who sees when you are online' }).getByRole('button', { name: 'Nobody' }).click();
    await one.page.getByText('You do not see it of others either.').waitFor();
    await untilHidden(other.page.getByRole('link', { name: 'Ada' }).getByText('online', { exact: true }));
    await one.page.getByRole('switch', { name: 'Read receipts' }).click();
    await one.page.getByRole('switch', { name: 'Typing' }).click();
    await one.page.getByRole('group', { name: 'Who may write to you' }).getByRole('button', { name: 'Anyone here' }).click();
    await one.page.getByRole('group', { name: 'Who may put you into groups' }).getByRole('button', { name: 'Friends' }).click();
    await one.page.getByRole('switch', { name: 'Found by user name' }).click();
    await one.page.goto(`/c/${chat}`);
    await bubble(one, 'Look up.').waitFor();
    // Read, and the mark on its way before the answer is.
    await until(one.page, () => document.title === 'Kith');
    await field(one).pressSequentially('Hm');
    await field(one).fill('Seen.');
    await field(one).press('Enter');
    await other.page.goto(`/c/${chat}`);
    await bubble(other, 'Seen.').waitFor();
    expect(await bubble(other, 'Look up.').getByRole('img', { name: 'read', exact: true }).count()).toBe(0);
    const second = await open(ada, { path: '/settings/privacy' });
    const pressed = (label: string, choice: string) => second.page.getByRole('group', { name: label }).getByRole('button', { name: choice, pressed: true });
    await pressed('Who sees when you are online', 'Nobody').waitFor();
    await pressed('Who may write to you', 'Anyone here').waitFor();
    await pressed('Who may put you into groups', 'Friends').waitFor();
    for (const name of ['Read receipts', 'Typing', 'Found by user name']) await second.page.getByRole('switch', { name, checked: false }).waitFor();
  });

  test('[PG7] a friend who comes online or goes is told where one asked for it, and nowhere else', async () => {
    const [ada, noor, tomas] = await Promise.all(['Ada', 'Noor', 'Tomas'].map(account));
    await server.befriend(ada!, noor!, tomas!);
    const one = await open(ada!, { path: `/contacts/${noor!.id}` });
    const tell = one.page.getByRole('switch', { name: 'Tell me when they come and go' });
    await tell.click();
    await one.page
      .getByRole('main')
      .getByText(/offline/)
      .waitFor();
    // Not asked for: whatever is told of him comes before what is told of her.
    const his = await open(tomas!);
    await one.page.goto('/contacts');
    await one.page.getByRole('link', { name: 'Tomas' }).getByText('online').waitFor();
    expect(await toast(one, 'Tomas is online').count()).toBe(0);
    const hers = await open(noor!);
    await toast(one, 'Noor is online').waitFor();
    await hers.page.context().close();
    await toast(one, 'Noor is offline').waitFor();
    await his.page.context().close();
    await one.page
      .getByRole('link', { name: 'Tomas' })
      .getByText(/last seen/)
      .waitFor();
    expect(await toast(one, 'Tomas is offline').count()).toBe(0);
    await one.page.goto(`/contacts/${noor!.id}`);
    expect(await tell.getAttribute('aria-checked')).toBe('true');
  });
});

describe('groups', () => {
  test('[PG10] friends are found by their initials when a group is made', async () => {
    const ada = await account('Ada');
    for (const name of ['周航', '陈思远', 'Tomás Rivera', 'Noor', 'Mei', 'Lin', 'Leo', 'Hana', 'Yuki']) await server.befriend(ada, await account(name));
    const one = await open(ada, { path: '/new' });
    const search = one.page.getByRole('searchbox', { name: 'Search contacts' });
    for (const [typed, name] of [
      ['zh', '周航'],
      ['csy', '陈思远'],
      ['tr', 'Tomás Rivera'],
    ] as const) {
      await search.fill(typed);
      const found = one.page.getByRole('checkbox');
      await expect.poll(() => found.count(), patient).toBe(1);
      await one.page.getByRole('checkbox', { name }).click();
    }
    await one.page.getByRole('button', { name: 'Make a group of 4' }).click();
    await one.page.getByRole('heading', { level: 1 }).getByText('周航').waitFor();
  });

  test('[PG11] the members of a large group are all there, and found by name', async () => {
    const ada = await account('Ada');
    const id = await group(ada, 'Town', [ada]);
    await crowd(ada, id, 1_150, 'Zoë Last');
    const one = await open(ada, { path: `/c/${id}/details` });
    await details(one).getByText('1151 members').waitFor();
    await details(one).getByRole('searchbox', { name: 'Search members' }).fill('zl');
    await details(one).getByRole('button', { name: 'Zoë Last' }).waitFor();
    await details(one).getByRole('searchbox', { name: 'Search members' }).fill('nobody of this name');
    await details(one).getByText('Nobody here has this name.').waitFor();
    await details(one).getByRole('searchbox', { name: 'Search members' }).fill('');
    const rows = details(one).getByRole('button', { name: /^Somebody|^Guest/ });
    const first = await rows.count();
    expect(first).toBeLessThan(110);
    await rows.last().scrollIntoViewIfNeeded();
    await expect.poll(() => rows.count(), patient).toBeGreaterThan(first);
  });

  test('[PG12] the owner hands the group over after a word of what that means', async () => {
    const { one, other } = await ownedGroup();
    await details(one).getByRole('button', { name: /^Noor/ }).click();
    await one.page.getByRole('menuitem', { name: 'Hand the group over' }).click();
    await one.page.getByRole('dialog', { name: 'Hand the group over to Noor?' }).getByText('Only they can hand it back.').waitFor();
    await confirm(one, 'Hand the group over');
    await details(one)
      .getByRole('button', { name: /Noor.*Owner/ })
      .waitFor();
    await log(other).getByText('Ada handed the group over to you').waitFor();
    expect(await details(one).getByRole('button', { name: 'Dissolve group' }).count()).toBe(0);
  });

  test('[PG13] who leaves as the owner is told who follows', async () => {
    const { one, other } = await ownedGroup();
    await details(one).getByRole('button', { name: 'Leave group' }).click();
    await one.page
      .getByRole('dialog')
      .getByText(/^Noor becomes the owner\./)
      .waitFor();
    await confirm(one, 'Leave');
    await untilHidden(one.page.getByRole('link', { name: /Choir/ }));
    await other.page.getByRole('button', { name: 'Details' }).click();
    await details(other).getByText('Owner').waitFor();
    expect(await details(other).getByRole('button', { name: /^Ada/ }).count()).toBe(0);
    // The last one ends it.
    await details(other)
      .getByRole('button', { name: /^Tomas/ })
      .click();
    await other.page.getByRole('menuitem', { name: 'Remove from group' }).click();
    await confirm(other, 'Remove from group');
    await details(other).getByText('1 member').waitFor();
    await details(other).getByRole('button', { name: 'Leave group' }).click();
    await other.page.getByRole('dialog').getByText('You are the only member.').waitFor();
  });

  test('[PG14] the owner dissolves a group for everyone, and the question says for whom', async () => {
    const { one, other } = await ownedGroup();
    await details(one).getByRole('button', { name: 'Dissolve group' }).click();
    await one.page.getByRole('dialog', { name: 'Dissolve Choir for everyone?' }).getByText('All 3 members lose it').waitFor();
    await confirm(one, 'Dissolve for everyone');
    await other.page.getByText('This conversation is not here').waitFor();
    await untilHidden(one.page.getByRole('link', { name: /Choir/ }));
    expect(await other.page.getByRole('link', { name: /Choir/ }).count()).toBe(0);
  });

  test('[PG15] a group and a person take a picture from those that are there, and others see it', async () => {
    const { one, other } = await ownedGroup();
    await details(one).getByRole('button', { name: 'Change picture' }).click();
    await one.page.getByRole('dialog').getByRole('button', { name: 'Picture 🎵' }).click();
    await one.page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await other.page.getByRole('navigation', { name: 'Chats' }).getByRole('link', { name: /Choir/ }).locator('.av').getByText('🎵').waitFor();
    await one.page.goto('/settings/profile');
    await one.page.getByRole('button', { name: 'Picture 🦊' }).click();
    await one.page.getByRole('button', { name: 'Save' }).click();
    await other.page.getByRole('button', { name: 'Details' }).click();
    await details(other).getByRole('button', { name: /^Ada/ }).locator('.av').getByText('🦊').waitFor();
    // Hers is the picture of the group, not of a person.
    expect(await details(other).locator('.av.square').getByText('🎵').count()).toBe(1);
  });

  test('[PG16] a group of a stranger asks to be accepted or left, and names who it was', async () => {
    const [ada, noor, yuki] = await Promise.all(['Ada', 'Noor', 'Yuki'].map(account));
    await server.befriend(noor!, yuki!);
    const id = await group(noor!, 'Strangers', [yuki!]);
    // Not who made it: who put one into it.
    await server.call('member.add', { conversationId: id, userIds: [ada!.id] }, yuki!.token);
    const one = await open(ada!, { path: `/c/${id}` });
    await one.page.getByText('Yuki is not among your friends and put you into this group.').waitFor();
    await one.page.getByRole('button', { name: 'Block Yuki' }).click();
    await one.page.getByRole('dialog', { name: 'Block Yuki?' }).getByRole('button', { name: 'Cancel' }).click();
    await one.page.getByRole('button', { name: 'Accept' }).click();
    await untilHidden(one.page.getByText('put you into this group'));
    await say(one, 'All right then.');
    await bubble(one, 'All right then.').waitFor();
    expect(await one.page.getByRole('navigation', { name: 'Chats' }).getByText('[Request]').count()).toBe(0);
  });

  test('[PG18] from the list a conversation is read, pinned and muted by mouse, keys and finger', async () => {
    const [ada, noor] = [await account('Ada'), await account('Noor')];
    await server.befriend(ada, noor);
    const [choir, lunch] = [await group(noor, 'Choir', [ada]), await group(noor, 'Lunch', [ada])];
    await send(noor, choir, 'Tenors at seven.');
    await send(noor, lunch, 'Soup today.');
    const [desk, phone] = await Promise.all([open(ada), open(ada, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })]);
    const row = ({ page }: Someone, title: string) => page.getByRole('navigation', { name: 'Chats' }).getByRole('link').filter({ hasText: title });
    const menu = ({ page }: Someone, title: string) => page.getByRole('menu', { name: `What can be done with ${title}` });
    await row(desk, 'Choir').getByText('1 unread message').waitFor();
    await row(desk, 'Choir').click({ button: 'right' });
    await menu(desk, 'Choir').getByRole('menuitem', { name: 'Mark as read' }).click();
    for (const one of [desk, phone]) await untilHidden(row(one, 'Choir').getByText('1 unread message'));
    await row(desk, 'Choir').focus();
    await desk.page.keyboard.press('Shift+F10');
    await menu(desk, 'Choir').getByRole('menuitem', { name: 'Pin to top' }).press('Enter');
    for (const one of [desk, phone]) await row(one, 'Choir').getByRole('img', { name: 'Pinned' }).waitFor();
    await expect.poll(() => row(desk, 'Choir').evaluate((element) => element === document.activeElement), patient).toBe(true);
    // The finger that is lifted from the menu it opened goes nowhere.
    // Its row glides to its place below the pinned one.
    await row(phone, 'Lunch').tap({ trial: true });
    const box = (await row(phone, 'Lunch').boundingBox())!;
    const cdp = await phone.page.context().newCDPSession(phone.page);
    await cdp.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: box.x + 100, y: box.y + 20 }] });
    await menu(phone, 'Lunch').waitFor();
    await cdp.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
    await menu(phone, 'Lunch').getByRole('menuitem', { name: 'Mute for 8 hours' }).tap();
    for (const one of [desk, phone]) await row(one, 'Lunch').getByRole('img', { name: 'Muted' }).waitFor();
    expect(new URL(phone.page.url()).pathname).toBe('/');
    expect(new URL(desk.page.url()).pathname).toBe('/');
  });

  test('[PG17] who comes into a room or goes is told where one asked for it', async () => {
    const [ada, noor, mei] = await Promise.all(['Ada', 'Noor', 'Mei'].map(account));
    const { rooms } = await server.call('room.list', {}, ada!.token);
    const lobby = rooms[0]!.conversation.id;
    for (const { token } of [ada!, noor!, mei!]) await server.call('room.join', { conversationId: lobby }, token);
    const [one, silent] = await Promise.all([open(ada!), open(mei!)]);
    await Promise.all([one, silent].map(({ page }) => page.goto(`/c/${lobby}/details`)));
    for (const each of [one, silent]) await details(each).getByText('Here now').locator('..').getByText('2', { exact: true }).waitFor();
    await details(one).getByRole('switch', { name: 'Tell me who comes and goes' }).click();
    const hers = await open(noor!);
    await one.page.getByText('Noor came in').waitFor();
    await details(silent).getByText('Noor').waitFor();
    expect(await silent.page.getByText('Noor came in').count()).toBe(0);
    await hers.page.context().close();
    await one.page.getByText('Noor left').waitFor();
    await untilHidden(details(one).getByText('Noor'));
  });

  async function ownedGroup(): Promise<{ one: Someone; other: Someone; id: string }> {
    const [ada, noor, tomas] = await Promise.all(['Ada', 'Noor', 'Tomas'].map(account));
    await server.befriend(ada!, noor!, tomas!);
    const id = await group(ada!, 'Choir', [tomas!, noor!]);
    await server.call('member.role', { conversationId: id, userId: noor!.id, role: 'admin' }, ada!.token);
    const [one, other] = await Promise.all([open(ada!), open(noor!)]);
    await Promise.all([one.page.goto(`/c/${id}/details`), other.page.goto(`/c/${id}`)]);
    await details(one)
      .getByRole('button', { name: /Noor.*Admin/ })
      .waitFor();
    await field(other).waitFor();
    return { one, other, id };
  }

  /** So many guests, and at the end one by name, all of them members. */
  async function crowd(owner: Person, conversationId: string, count: number, last: string): Promise<void> {
    const people: Person[] = [];
    while (people.length < count - 1) people.push(...(await Promise.all(Array.from({ length: Math.min(50, count - 1 - people.length) }, () => server.guest()))));
    people.push(await server.guest(last));
    for (let at = 0; at < count; at += 200) await server.call('member.add', { conversationId, userIds: people.slice(at, at + 200).map(({ id }) => id) }, owner.token);
  }
});

describe('oneself', () => {
  test('[PG23] what the server refuses is told in words, in the language of the person', async () => {
    const { handle } = await account('Ada');
    for (const [locale, signIn, problem] of [
      ['en-GB', 'Sign in', 'The user name or the password is wrong.'],
      ['zh-CN', '登录', '用户名或密码不正确。'],
    ] as const) {
      const page = await site.openBrowser({ locale });
      await page.goto('/signin');
      await page.getByRole('button', { name: signIn }).first().click();
      await page.locator('input[name=username]').fill(handle!);
      await page.locator('input[name=password]').fill('not my password');
      await page.locator('form').getByRole('button', { name: signIn }).click();
      await page.getByRole('alert').waitFor();
      expect(await page.getByRole('alert').textContent()).toBe(problem);
    }
  });

  test('[PG20] the list of devices is what it is now: one is ended, or all others at once', async () => {
    const ada = await account('Ada');
    const one = await open(ada, { path: '/settings/devices' });
    const devices = one.page.getByRole('main').getByRole('listitem');
    await devices.filter({ hasText: 'This device' }).waitFor();
    const before = await devices.count();
    const [second, third] = [await open(ada), await open(ada)];
    await expect.poll(() => devices.count(), patient).toBe(before + 2);
    await devices.getByRole('button', { name: 'Sign out' }).first().click();
    await confirm(one, 'Sign out');
    await expect.poll(() => devices.count(), patient).toBe(before + 1);
    await one.page.getByRole('button', { name: /^Sign out \d other/ }).click();
    await confirm(one, 'Sign out');
    await expect.poll(() => devices.count(), patient).toBe(1);
    for (const { page } of [second, third]) await page.getByText('You were signed out on this device.').waitFor();
  });

  test('[PG21] a new password signs out the other devices; a guest becomes an account and keeps what they had', async () => {
    const ada = await account('Ada');
    const [one, second] = [await open(ada), await open(ada)];
    await one.page.goto('/settings/account');
    await one.page.getByLabel('Password now').fill(password);
    await one.page.getByLabel('New password').fill('another horse battery');
    await one.page.getByRole('button', { name: 'Change password' }).click();
    await toast(one, 'The password is changed.').waitFor();
    await second.page.getByText('You were signed out on this device.').waitFor();

    const guest = await site.openBrowser();
    await guest.goto('/signin');
    await guest.getByRole('button', { name: 'Guest' }).click();
    await guest.getByLabel('Your name').fill('Yuki');
    await guest.getByRole('button', { name: 'Join' }).click();
    await guest.getByRole('navigation', { name: 'Main' }).waitFor();
    await guest.goto('/settings/profile');
    await guest.getByRole('link', { name: 'Make the account' }).click();
    await guest.getByLabel('User name').fill('yuki-claims');
    await guest.getByLabel('Password').fill(password);
    await guest.getByRole('button', { name: 'Make the account' }).click();
    await guest.getByText('The account is yours.').waitFor();
    await guest.goto('/settings/profile');
    await guest.getByRole('main').getByText('@yuki-claims').waitFor();
    const again = await server.call('auth.login', { handle: 'yuki-claims', password });
    expect(again.user.name).toBe('Yuki');
  });

  test('[PG22] an account is deleted with its password, nothing of it stays in the browser, and who signs in again can bring it back', async () => {
    const [ada, noor] = [await account('Ada'), await account('Noor')];
    await server.befriend(ada, noor);
    const one = await open(ada, { path: '/settings/account' });
    await one.page.getByRole('button', { name: 'Delete account' }).click();
    const dialog = one.page.getByRole('dialog', { name: 'Delete your account?' });
    await dialog.getByLabel('Password now').fill('not my password');
    await dialog.getByRole('button', { name: 'Delete account' }).click();
    await dialog.getByRole('alert').getByText('The user name or the password is wrong.').waitFor();
    await dialog.getByLabel('Password now').fill(password);
    await dialog.getByRole('button', { name: 'Delete account' }).click();
    await one.page.getByLabel('User name').waitFor();
    expect(await one.page.getByText('You were signed out on this device.').count()).toBe(0);
    expect(await one.page.evaluate(() => Object.keys(localStorage).filter((key) => !/theme|language/.test(key)))).toEqual([]);
    // All that may stay is a word for other tabs: there was something, and it was erased.
    const left = await one.page.evaluate(async () => {
      const kept: string[] = [];
      for (const { name } of await indexedDB.databases()) {
        const db = await new Promise<IDBDatabase>((resolve) => {
          const opening = indexedDB.open(name!);
          opening.onsuccess = () => resolve(opening.result);
        });
        const keys = db.transaction('kept').objectStore('kept').getAllKeys();
        await new Promise((resolve) => (keys.onsuccess = resolve));
        kept.push(...keys.result.map(String));
        db.close();
      }
      return kept.filter((key) => key !== 'idb/erased');
    });
    expect(left).toEqual([]);
    await expect(server.call('auth.login', { handle: ada.handle!, password })).rejects.toMatchObject({ code: 'account_deleted' });
    const { users } = await server.call('user.search', { query: ada.handle! }, noor.token);
    expect(users).toEqual([]);
    await one.page.getByLabel('User name').fill(ada.handle!);
    await one.page.getByLabel('Password', { exact: true }).fill(password);
    await one.page.getByRole('button', { name: 'Sign in' }).last().click();
    await one.page.getByRole('dialog', { name: 'This account is deleted' }).getByRole('button', { name: 'Bring it back' }).click();
    await one.page.getByRole('navigation', { name: 'Chats' }).waitFor();
    expect((await server.call('auth.login', { handle: ada.handle!, password })).user).toMatchObject({ id: ada.id, name: 'Ada' });
  });

  test('[PG26] a copy of one’s account is made and downloaded from the settings', async () => {
    const ada = await account('Ada');
    const one = await open(ada, { path: '/settings/account' });
    await one.page.getByRole('button', { name: 'Make a copy' }).click();
    const link = one.page.getByRole('link', { name: /^Download the copy/ });
    await link.waitFor({ timeout: 60_000 });
    const download = one.page.waitForEvent('download');
    await link.click();
    expect((await download).suggestedFilename()).toMatch(/^kith-.*\.tar$/);
    expect(await seriousProblems(one.page)).toEqual([]);
  });

  test('[LG9] the operator finds the audit log among the settings, and nobody else does', async () => {
    const ada = await account('Ada');
    const one = await open(ada, { path: '/settings' });
    await one.page.getByRole('link', { name: 'Devices' }).waitFor();
    expect(await one.page.getByRole('link', { name: 'Audit log' }).count()).toBe(0);
    const boss = await server.operator();
    // More than a page of it.
    await Promise.all(Array.from({ length: limits.historyPage }, () => server.guest()));
    const two = await open(boss, { path: '/settings' });
    await two.page.getByRole('link', { name: 'Audit log' }).click();
    await two.page.getByText('Account made').first().waitFor();
    const entries = two.page.getByRole('list', { name: 'Audit log' }).getByRole('listitem');
    const first = await entries.count();
    expect(first).toBeLessThan(limits.historyPage);
    await two.page.getByRole('button', { name: 'Earlier ones' }).click();
    await expect.poll(() => entries.count(), patient).toBeGreaterThan(first);
    expect(await seriousProblems(two.page)).toEqual([]);
  });
});

describe('first run', () => {
  test('[PG25] who is new finds their notes, and a link to invite with, as text and for cameras', async () => {
    const one = await site.signUp('Newcomer');
    await one.page
      .getByRole('navigation', { name: 'Chats' })
      .getByRole('link', { name: /^Notes to self/ })
      .waitFor();
    await one.page.getByRole('heading', { name: 'It is quiet here. Invite someone.' }).waitFor();
    const link = `${server.url}/join`;
    await one.page.getByText(link, { exact: true }).waitFor();
    expect(await readCode(one)).toEqual(encode(link, { ecc: 'M', border: 4 }).data);
    expect(await seriousProblems(one.page)).toEqual([]);
    await one.page.getByRole('button', { name: 'Copy link' }).click();
    await one.page.getByRole('button', { name: 'Copied' }).waitFor();
    expect(await one.page.evaluate(() => navigator.clipboard.readText())).toBe(link);
    await one.page.getByRole('link', { name: /^Notes to self/ }).click();
    await say(one, 'Milk, bread, lamp oil');
    await bubble(one, 'Milk, bread, lamp oil').waitFor();
  });

  test('[PG26] where people join by invitation an operator makes the link, and it lets somebody in', async () => {
    const closed = await Site.open({ config: { registration: 'invite' } });
    try {
      const lin = await closed.server.operator('lin');
      const { page } = await closed.enter(lin);
      await page.getByRole('button', { name: 'Make a link' }).click();
      const text = page.locator('.invite').getByText(/\/join#/);
      const link = (await text.textContent())!;
      expect(await readCode({ page, name: 'Lin', handle: 'lin' })).toEqual(encode(link, { ecc: 'M', border: 4 }).data);
      const guest = await closed.openBrowser();
      await guest.goto(link);
      await guest.getByLabel('Your name').fill('Yuki');
      await guest.getByLabel('User name').fill('yuki');
      await guest.getByLabel('Password').fill(password);
      await guest.getByRole('button', { name: 'Make the account' }).click();
      // Only operators invite here.
      await guest.getByRole('main').getByRole('link', { name: 'Add a friend' }).waitFor();
      expect(await guest.getByRole('img', { name: 'QR code of the link' }).count()).toBe(0);
      expect(closed.complaints).toEqual([]);
    } finally {
      await closed.close();
    }
  });

  /** What a camera sees of the code: is the middle of each of its squares dark? */
  async function readCode({ page }: Someone): Promise<boolean[][]> {
    const image = page.getByRole('img', { name: 'QR code of the link' });
    await image.waitFor();
    return image.evaluate((svg) => {
      const { width } = (svg as unknown as SVGSVGElement).viewBox.baseVal;
      const path = svg.querySelector('path')!;
      const at = Array.from({ length: width }, (_, n) => n + 0.5);
      return at.map((y) => at.map((x) => path.isPointInFill(new DOMPoint(x, y))));
    });
  }
});

test('[PG29] axe finds nothing serious on the card, the details and the privacy settings, and no page complained', async () => {
  const [ada, noor] = [await account('Ada'), await account('Noor')];
  await server.befriend(ada, noor);
  const id = await group(ada, 'Choir', [noor]);
  await send(noor, id, 'Hello');
  for (const colorScheme of ['light', 'dark'] as const) {
    const one = await open(ada, { path: `/c/${id}/details`, colorScheme });
    await details(one).getByRole('button', { name: /^Noor/ }).waitFor();
    await log(one).getByRole('button', { name: 'Noor', exact: true }).first().click();
    await card(one, 'Noor').getByText('Choir').waitFor();
    expect(await seriousProblems(one.page)).toEqual([]);
    await one.page.goto('/settings/privacy');
    await one.page.getByRole('switch', { name: 'Typing' }).waitFor();
    expect(await seriousProblems(one.page)).toEqual([]);
    await one.page.goto('/settings/profile');
    await one.page.getByRole('button', { name: 'Picture 🦊' }).waitFor();
    expect(await seriousProblems(one.page)).toEqual([]);
  }
  expect(site.complaints).toEqual([]);
});
