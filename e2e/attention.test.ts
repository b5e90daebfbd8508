import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Person } from '../packages/server/test/harness.ts';
import { Site, type Someone, bubble, field, log, password, patient, say, seriousProblems, untilHidden } from './people.ts';

let site: Site;
let noor: Person;
let count = 0;

beforeAll(async () => {
  site = await Site.open({ config: { offlineGraceMs: 0 } });
  noor = await site.server.register('noor', { name: 'Noor', password });
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

/** A friend of Noor's, and the group of the two, in which Noor has said so many things. */
async function groupWith(name: string, said: number): Promise<{ person: Person; id: string }> {
  const person = await site.server.register(undefined, { name, password });
  await site.server.befriend(person, noor);
  const { conversation } = await site.server.call('conversation.create', { title: `Noor and ${name}`, memberIds: [noor.id] }, person.token);
  await write(conversation.id, 1, said);
  return { person, id: conversation.id };
}
async function write(conversationId: string, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n++) await site.server.call('message.send', { conversationId, clientId: `attention-${++count}`, type: 'text', text: `line ${n}` }, noor.token);
}
const chats = ({ page }: Someone) => page.getByRole('navigation', { name: 'Chats' });
const row = (one: Someone, id: string) => chats(one).locator(`[data-conversation="${id}"]`);
const choose = ({ page }: Someone, item: string) => page.getByRole('menu').getByRole('menuitem', { name: item, exact: true }).click();
const inbox = async ({ id: userId, token }: Person, conversationId: string) =>
  (await site.server.call('stream.snapshot', { stream: `user:${userId}` }, token)).entities.find((it) => it.kind === 'inbox' && it.conversationId === conversationId);

test('[NB1] a conversation is marked as unread from its menu, by a long press and by a key; all devices show it, and opening it takes that back', async () => {
  const { person, id } = await groupWith('Ada', 3);
  const [ada, phone] = [await site.enter(person, { path: `/c/${id}` }), await site.enter(person, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })];
  await bubble(ada, 'line 3').waitFor();
  await expect.poll(() => inbox(person, id), patient).toMatchObject({ readSeq: 4 });
  for (const one of [ada, phone]) await expect.poll(() => one.page.title(), patient).toBe('Kith');

  // Whoever puts aside what is open does not look at it any more.
  await row(ada, id).click({ button: 'right' });
  await choose(ada, 'Mark as unread');
  for (const one of [ada, phone]) await row(one, id).getByText('Marked as unread').waitFor();
  await expect.poll(() => new URL(ada.page.url()).pathname, patient).toBe('/');
  await expect.poll(() => ada.page.title(), patient).toContain('(1)');

  await row(phone, id).tap();
  await bubble(phone, 'line 3').waitFor();
  await untilHidden(row(ada, id).getByText('Marked as unread'));
  await expect.poll(() => inbox(person, id), patient).toMatchObject({ markedUnread: false, readSeq: 4 });

  // With the keys, on the row that has the focus; a letter in a field stays one.
  await row(ada, id).focus();
  await ada.page.keyboard.press('Shift+U');
  await row(ada, id).getByText('Marked as unread').waitFor();
  await ada.page.keyboard.press('Shift+U');
  await untilHidden(row(ada, id).getByText('Marked as unread'));
  await row(ada, id).press('Enter');
  await field(ada).pressSequentially('U');
  expect(await field(ada).inputValue()).toBe('U');
  await expect.poll(() => inbox(person, id), patient).toMatchObject({ markedUnread: false });

  await phone.page.goBack();
  const box = (await row(phone, id).boundingBox())!;
  const cdp = await phone.page.context().newCDPSession(phone.page);
  await cdp.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: box.x + 80, y: box.y + 20 }] });
  await phone.page.getByRole('menuitem', { name: 'Mark as unread' }).waitFor();
  await cdp.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  await choose(phone, 'Mark as unread');
  await row(ada, id).getByText('Marked as unread').waitFor();
});

test('[NB2] all is marked as read at once, by menu or key; who undoes it has every count again, and nobody was told', async () => {
  const { person, id } = await groupWith('Mei', 5);
  const second = (await site.server.call('conversation.create', { title: 'Aside', memberIds: [noor.id] }, person.token)).conversation.id;
  const { version } = (await inbox(person, second))!;
  await site.server.call('read.unread', { conversationId: second, on: true, base: version }, person.token);
  const mei = await site.enter(person);
  const status = mei.page.getByRole('status').filter({ hasText: 'marked as read' });
  const asBefore = async (): Promise<void> => {
    await row(mei, id).getByText('5 unread messages').waitFor();
    await row(mei, second).getByText('Marked as unread').waitFor();
  };
  await asBefore();
  await row(mei, id).click({ button: 'right' });
  await choose(mei, 'Mark all as read');
  await status.getByText('2 conversations marked as read.').waitFor();
  await untilHidden(
    chats(mei)
      .getByText(/unread/i)
      .first(),
  );
  expect(await inbox(person, id)).toMatchObject({ readSeq: 1 });
  await status.getByRole('button', { name: 'Undo' }).click();
  await asBefore();
  await expect.poll(() => mei.page.title(), patient).toContain('(6)');
  expect(await inbox(person, id)).toMatchObject({ readSeq: 1 });

  // With the keys; when the word is gone, it counts.
  await mei.page.clock.install();
  await mei.page.keyboard.press('Shift+Escape');
  await status.waitFor();
  await mei.page.clock.fastForward(11_000);
  await untilHidden(status);
  await expect.poll(() => inbox(person, id), patient).toMatchObject({ readSeq: 6 });
  await expect.poll(() => inbox(person, second), patient).toMatchObject({ markedUnread: false });
});

test('[NB3] what came while the device was off is unread where it starts: the line, the count and the place are of all of it', async () => {
  const { person, id } = await groupWith('Lin', 60);
  await site.server.call('read.mark', { conversationId: id, seq: 61 }, person.token);
  const lin = await site.enter(person, { path: `/c/${id}` });
  await bubble(lin, 'line 60').waitFor();
  await say(lin, 'good night');
  await expect.poll(() => inbox(person, id), patient).toMatchObject({ readSeq: 62 });
  const context = lin.page.context();
  await lin.page.goto('/settings/profile');
  await lin.page.close();
  await write(id, 61, 90);
  const page = await context.newPage();
  const again = { ...lin, page };
  // It shows what it kept before the server says a word.
  let answer = (): void => {};
  const asked = new Promise<void>((resolve) => (answer = resolve));
  await page.routeWebSocket('**/ws', async (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((frame) => void asked.then(() => server.send(frame)));
  });
  await page.goto(`/c/${id}`);
  await bubble(again, 'good night').waitFor();
  expect(
    await log(again)
      .getByText(/new message/)
      .count(),
  ).toBe(0);
  answer();
  await log(again).getByText('30 new messages').waitFor();
  const top = async (text: string): Promise<number> => (await bubble(again, text).boundingBox())?.y ?? -1;
  await expect.poll(async () => (await top('line 61')) > 0 && (await top('line 61')) < 800, patient).toBe(true);
  await row(again, id)
    .getByText(/unread message/)
    .waitFor();
});

test('[OF10] a text without an answer for 10 s can be tried at once, or taken back to the field; what still arrives then is not taken', async () => {
  const { person, id } = await groupWith('Wen', 1);
  const wen = await site.enter(person);
  const { page } = wen;
  /** What goes to the server is kept back while this is there. */
  let held: (() => void)[] | undefined;
  await page.context().routeWebSocket('**/ws', (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((frame) => (held && String(frame).includes('"message.send"') ? held.push(() => server.send(frame)) : server.send(frame)));
  });
  await page.goto(`/c/${id}`);
  await bubble(wen, 'line 1').waitFor();
  await page.clock.install();
  const slow = (text: string) => bubble(wen, text).getByText('Not sent yet');
  held = [];
  await say(wen, 'on my way');
  await bubble(wen, 'on my way').getByRole('img', { name: 'waiting to send' }).waitFor();
  await page.clock.fastForward(9_000);
  expect(await slow('on my way').count()).toBe(0);
  await page.clock.fastForward(2_000);
  await slow('on my way').waitFor();
  held = undefined;
  await bubble(wen, 'on my way').getByRole('button', { name: 'Try now' }).click();
  await bubble(wen, 'on my way')
    .getByRole('img', { name: /sent|delivered|read/ })
    .waitFor();

  const late = (held = []);
  await say(wen, 'no, wait');
  await field(wen).fill('and this');
  await page.clock.fastForward(11_000);
  await bubble(wen, 'no, wait').getByRole('button', { name: 'Cancel' }).click();
  await untilHidden(bubble(wen, 'no, wait'));
  await expect.poll(() => field(wen).inputValue(), patient).toBe('no, wait\nand this');
  held = undefined;
  expect(late).toHaveLength(1);
  for (const arrive of late as (() => void)[]) arrive();
  await field(wen).fill('the end');
  await field(wen).press('Enter');
  await bubble(wen, 'the end')
    .getByRole('img', { name: /sent|delivered|read/ })
    .waitFor();
  const { messages } = await site.server.call('message.history', { conversationId: id }, person.token);
  expect(messages.map(({ text }) => text)).toEqual(['', 'line 1', 'on my way', 'the end']);
});

test('[RP10] a stranger is reported from the bar over what they began; operators see wherever they are that something waits, find it, see what was said when they ask for it, and settle it', async () => {
  const { server } = site;
  const code = await server.running.core.setupLink();
  const page = await site.openBrowser();
  await page.goto(`/setup#${code}`);
  await page.getByLabel('Name of this site').fill('Lindenhof');
  await page.getByLabel('Your name').fill('Lin');
  await page.getByLabel('User name').fill('operator');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Make the account' }).click();
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
  await expect.poll(() => page.title(), patient).toContain('Lindenhof');

  const [mei, eve] = await Promise.all(['Mei', 'Eve'].map((name) => server.register(undefined, { name, password })));
  const { conversation } = await server.call('conversation.create', { title: 'Cheap watches', memberIds: [mei!.id] }, eve!.token);
  await server.call('message.send', { conversationId: conversation.id, clientId: 'cheap-watches', type: 'text', text: 'Buy <b>two</b>!' }, eve!.token);
  const one = await site.enter(mei!, { path: `/c/${conversation.id}` });
  await one.page.locator('.stranger').getByRole('button', { name: 'Report' }).click();
  const dialog = one.page.getByRole('dialog', { name: 'Report Eve' });
  await dialog.getByLabel('Unwanted advertising').check();
  await dialog.getByLabel('In your words, if you like').fill('Never seen her.');
  await dialog.getByRole('button', { name: 'Report' }).click();
  await untilHidden(dialog);
  await one.page.getByRole('status').getByText('Reported.').waitFor();

  // Wherever they are.
  const badge = page.getByRole('navigation', { name: 'Main' }).getByText('1 open report');
  await badge.waitFor({ state: 'attached' });
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('link', { name: /Reports/ }).click();
  const report = page.locator('.report').filter({ hasText: 'Never seen her.' });
  await report.getByText('Unwanted advertising').waitFor();
  expect(await report.getByText('Buy <b>two</b>!').isVisible()).toBe(false);
  await report.getByText('Show the last message').click();
  await report.getByText('Buy <b>two</b>!').waitFor();
  expect(await seriousProblems(page)).toEqual([]);
  await report.getByRole('button', { name: 'Settle' }).click();
  await untilHidden(report);
  await page.getByRole('button', { name: 'Settled' }).click();
  await report.waitFor();
  await badge.waitFor({ state: 'detached' });

  await page.getByRole('link', { name: 'About this site' }).click();
  await page.getByLabel('Name', { exact: true }).fill('Lindenhof 4');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect.poll(() => page.title(), patient).toContain('Lindenhof 4');
  const visitor = await site.openBrowser();
  await visitor.goto('/signin');
  await visitor.getByRole('heading', { name: 'Lindenhof 4' }).waitFor();
  expect(await visitor.title()).toBe('Lindenhof 4');
  expect(((await (await fetch(`${server.url}/manifest.webmanifest`)).json()) as { name: string }).name).toBe('Lindenhof 4');
});

test('[AU37] an operator makes a link for somebody who cannot sign in any more, who chooses a new password with it', async () => {
  const { server } = site;
  // Whoever was made one above, or, where this runs alone, is made one here.
  const code = await server.running.core.setupLink();
  const operator = code === undefined ? await server.login({ handle: 'operator', password } as Person) : await server.register('operator', { password, invite: code });
  const mei = await server.register(undefined, { name: 'Mei', password });
  const lobby = (await server.call('room.list', {}, mei.token)).rooms[0]!.conversation.id;
  for (const { token } of [operator, mei]) await server.call('room.join', { conversationId: lobby }, token);
  const { page } = await site.enter(operator, { path: `/contacts/${mei.id}` });
  await page.getByRole('button', { name: 'Reset sign-in' }).click();
  const dialog = page.getByRole('dialog', { name: 'Reset sign-in of Mei' });
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  const link = dialog.getByRole('textbox', { name: 'Link' });
  await dialog.getByText(/Good until/).waitFor();
  expect(await seriousProblems(page)).toEqual([]);
  const visitor = await site.openBrowser();
  await visitor.goto(await link.inputValue());
  await visitor.getByLabel('New password').fill('a brand new password');
  await visitor.getByRole('button', { name: 'Change password' }).click();
  await visitor.waitForURL('**/signin');
  expect((await server.login({ ...mei, password: 'a brand new password' })).id).toBe(mei.id);
});

test('[NB19] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
