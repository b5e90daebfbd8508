import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Site, type Someone, bubble, field, log, password, patient, say, seriousProblems, texts, untilHidden } from './people.ts';

let site: Site;

beforeAll(async () => {
  site = await Site.open({ config: { offlineGraceMs: 0 } });
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

const menu = ({ page }: Someone) => page.getByRole('menu', { name: 'Message' });
const offered = async (one: Someone): Promise<string[]> => {
  await menu(one).waitFor();
  return menu(one).getByRole('menuitem').locator('.ell').allTextContents();
};
async function openMenu(one: Someone, text: string): Promise<string[]> {
  await bubble(one, text).click({ button: 'right' });
  return offered(one);
}
async function choose(one: Someone, text: string, item: string): Promise<void> {
  await openMenu(one, text);
  await menu(one).getByRole('menuitem', { name: item }).click();
}
async function closeMenu(one: Someone): Promise<void> {
  await one.page.keyboard.press('Escape');
  await untilHidden(menu(one));
}
const stored = (one: Someone, text: string): Promise<void> =>
  bubble(one, text)
    .getByRole('img', { name: /^(?:sent|delivered|read)$/ })
    .waitFor({ state: 'attached' });

/** A group of three that they all have open; the first owns it. */
async function group(): Promise<[Someone, Someone, Someone]> {
  const [mei, lin, tomas] = await Promise.all(['Mei', 'Lin', 'Tomas'].map((name) => site.server.register(undefined, { password, name })));
  const { conversation } = await site.server.call('conversation.create', { title: 'Trip', memberIds: [lin!.id, tomas!.id] }, mei!.token);
  for (const one of [lin!, tomas!]) await site.server.call('conversation.accept', { conversationId: conversation.id }, one.token);
  const all = await Promise.all([mei!, lin!, tomas!].map((one) => site.enter(one, { path: `/c/${conversation.id}` })));
  await Promise.all(all.map((one) => field(one).waitFor()));
  return all as [Someone, Someone, Someone];
}

test('[MA1] the menu of a message opens by mouse, button and every menu key, is walked through with arrows, and gives the focus back', async () => {
  const [ada] = await site.friends();
  await say(ada, 'first', 'second');
  await stored(ada, 'second');
  const row = bubble(ada, 'second');
  const focused = () => row.evaluate((element) => element === document.activeElement);
  await row.click({ button: 'right' });
  expect((await offered(ada)).at(-1)).toBe('Recall for everyone');
  await closeMenu(ada);
  await row.hover();
  await row.getByRole('button', { name: 'Message', exact: true }).click();
  await menu(ada).waitFor();
  await closeMenu(ada);

  await log(ada).focus();
  await ada.page.keyboard.press('ArrowUp');
  await expect.poll(focused, patient).toBe(true);
  for (const key of ['Enter', 'ContextMenu', 'Shift+F10']) {
    await ada.page.keyboard.press(key);
    const items = await offered(ada);
    const at = () => menu(ada).evaluate((panel) => [...panel.querySelectorAll('[role=menuitem]')].indexOf(document.activeElement!));
    await expect.poll(at, patient).toBe(0);
    await ada.page.keyboard.press('ArrowUp');
    expect(await at()).toBe(items.length - 1);
    await ada.page.keyboard.press('ArrowDown');
    await ada.page.keyboard.press('ArrowDown');
    expect(await at()).toBe(1);
    await closeMenu(ada);
    expect(await focused()).toBe(true);
  }
  // A dialog gives it back too.
  await ada.page.keyboard.press('Enter');
  await menu(ada).getByRole('menuitem', { name: 'Message info' }).press('Enter');
  await ada.page.getByRole('dialog', { name: 'Message info' }).waitFor();
  await ada.page.keyboard.press('Escape');
  await expect.poll(focused, patient).toBe(true);
});

test('[MA2] a finger that rests on a message opens its menu, and can select its words', async () => {
  const narrow = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const [ada, noor] = await site.friends();
  await say(noor, 'words to take along');
  await bubble(ada, 'words to take along').waitFor();
  const state = await ada.page.context().storageState({ indexedDB: true });
  const phone = { ...ada, page: await site.openBrowser({ ...narrow, storageState: state }) };
  await phone.page.goto(new URL(ada.page.url()).pathname);
  const words = bubble(phone, 'words to take along');
  await words.waitFor();
  const box = (await words.locator('.bub').boundingBox())!;
  const cdp = await phone.page.context().newCDPSession(phone.page);
  const rest = () => cdp.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: box.x + 20, y: box.y + 15 }] });
  const lift = () => cdp.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  await rest();
  const items = await offered(phone);
  await lift();
  expect(items).toEqual(['Copy', 'Forward', 'Select text', 'Message info', 'Delete for me']);
  await menu(phone).getByRole('menuitem', { name: 'Select text' }).tap();
  await untilHidden(menu(phone));
  expect(await phone.page.evaluate(() => getSelection()!.toString())).toBe('words to take along');
});

test('[MA3] only what is allowed is offered: by who wrote it, by role, and by the time that is left', async () => {
  const [mei, lin, tomas] = await group();
  await say(lin, 'from Lin');
  await say(mei, 'from Mei');
  await stored(lin, 'from Lin');
  await Promise.all([lin, mei, tomas].map((one) => bubble(one, 'from Lin').waitFor()));
  await bubble(lin, 'from Mei').waitFor();
  expect(await openMenu(lin, 'from Lin')).toEqual(['Copy', 'Forward', 'Edit', 'Message info', 'Delete for me', 'Recall for everyone']);
  await menu(lin).getByRole('menuitem', { name: 'Recall for everyone' }).getByText('48 hours left').waitFor();
  await closeMenu(lin);
  expect(await openMenu(lin, 'from Mei')).toEqual(['Copy', 'Forward', 'Message info', 'Delete for me']);
  await closeMenu(lin);
  expect(await openMenu(tomas, 'from Lin')).toEqual(['Copy', 'Forward', 'Message info', 'Delete for me']);
  await closeMenu(tomas);

  // Two days later. The owner may still recall, with a word of what that means.
  await lin.page.clock.setFixedTime(Date.now() + 49 * 3_600_000);
  await mei.page.clock.setFixedTime(Date.now() + 49 * 3_600_000);
  expect(await openMenu(lin, 'from Lin')).toEqual(['Copy', 'Forward', 'Message info', 'Delete for me']);
  await closeMenu(lin);
  expect(await openMenu(mei, 'from Lin')).toEqual(['Copy', 'Forward', 'Message info', 'Delete for me', 'Recall for everyone']);
  await menu(mei).getByRole('menuitem', { name: 'Recall for everyone' }).click();
  const dialog = mei.page.getByRole('dialog', { name: 'Recall the message of Lin for everyone?' });
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await bubble(mei, 'from Lin').waitFor();
  await choose(mei, 'from Lin', 'Recall for everyone');
  await dialog.getByRole('button', { name: 'Recall for everyone' }).click();
  await log(tomas).getByText('Mei recalled a message').waitFor();
  await untilHidden(bubble(tomas, 'from Lin'));
});

test('[MA4] a message is deleted for oneself on all one’s devices after the scope was named, and stays for everybody else', async () => {
  const [ada, noor] = await site.friends();
  await say(noor, 'stays', 'goes for Ada');
  await bubble(ada, 'goes for Ada').waitFor();
  const second = await site.signIn(ada);
  await second.page.getByRole('link', { name: noor.name }).click();
  await bubble(second, 'goes for Ada').waitFor();
  await choose(ada, 'goes for Ada', 'Delete for me');
  const dialog = ada.page.getByRole('dialog', { name: 'Delete this message for you?' });
  await dialog.getByText('It goes from all your devices for good. Everyone else still has it.').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await untilHidden(dialog);
  expect(await bubble(ada, 'goes for Ada').evaluate((row) => row === document.activeElement)).toBe(true);
  await choose(ada, 'goes for Ada', 'Delete for me');
  await dialog.getByRole('button', { name: 'Delete for me' }).click();
  await untilHidden(bubble(ada, 'goes for Ada'));
  await untilHidden(bubble(second, 'goes for Ada'));
  expect(await texts(ada, 1)).toEqual(['stays']);
  expect(await texts(noor, 2)).toEqual(['stays', 'goes for Ada']);
  await ada.page.reload();
  expect(await texts(ada, 1)).toEqual(['stays']);
});

test('[MA5] the details of a message tell when, and of one’s own whom it has reached, as it happens', async () => {
  const [mei, lin, tomas] = await group();
  await tomas.page.goto('/settings/profile');
  await say(mei, 'eight sharp');
  await bubble(lin, 'eight sharp').waitFor();
  await choose(mei, 'eight sharp', 'Message info');
  const dialog = mei.page.getByRole('dialog', { name: 'Message info' });
  const readers = dialog.getByRole('region', { name: 'Read by' }).getByRole('listitem');
  await expect.poll(() => readers.allInnerTexts(), patient).toEqual([expect.stringContaining('Lin')]);
  const delivered = dialog.getByRole('region', { name: 'Delivered to' }).getByRole('listitem');
  await expect.poll(() => delivered.allInnerTexts(), patient).toEqual([expect.stringContaining('Tomas')]);
  expect(await seriousProblems(mei.page)).toEqual([]);
  // Open, it goes on telling.
  await tomas.page.getByRole('link', { name: /Chats/ }).click();
  await tomas.page.getByRole('link', { name: /Trip/ }).click();
  await expect.poll(() => readers.count(), patient).toBe(2);
  await untilHidden(dialog.getByRole('region', { name: 'Delivered to' }));
  await dialog.getByText('read', { exact: true }).waitFor();
  await mei.page.keyboard.press('Escape');
  await untilHidden(dialog);

  await choose(mei, 'eight sharp', 'Edit');
  await field(mei).fill('nine sharp');
  await field(mei).press('Enter');
  await bubble(lin, 'nine sharp').waitFor();
  await choose(lin, 'nine sharp', 'Message info');
  const other = lin.page.getByRole('dialog', { name: 'Message info' });
  await other.getByText('Mei', { exact: true }).waitFor();
  await other.getByText('Edited').waitFor();
  expect(await other.locator('time').count()).toBe(2);
  expect(await other.getByRole('region').count()).toBe(0);
});

test('[MA6] a change is shown at once and saved in the background; one that is refused stays in sight, to try again or to give up', async () => {
  const [ada, noor] = await site.friends();
  await say(ada, 'at nien');
  await bubble(noor, 'at nien').waitFor();
  const { token } = await site.server.login({ handle: noor.handle, password } as Parameters<typeof site.server.login>[0]);
  const { users } = await site.server.call('user.search', { query: ada.handle }, token);
  await site.server.call('block.add', { userId: users[0]!.id }, token);
  await field(ada).fill('half a thought');
  await choose(ada, 'at nien', 'Edit');
  await field(ada).fill('at nine');
  await field(ada).press('Enter');
  // The composer is free before any answer, with what was being written in it.
  await expect.poll(() => field(ada).inputValue(), patient).toBe('half a thought');
  const changed = bubble(ada, 'at nine');
  await changed.getByText('Change not saved. Not found.').waitFor();
  expect(await texts(noor, 1)).toEqual(['at nien']);
  await site.server.call('block.remove', { userId: users[0]!.id }, token);
  await changed.getByRole('button', { name: 'Retry' }).click();
  await bubble(noor, 'at nine').waitFor();
  await untilHidden(changed.getByText('Change not saved.'));

  await site.server.call('block.add', { userId: users[0]!.id }, token);
  await choose(ada, 'at nine', 'Edit');
  await field(ada).fill('at ten');
  await field(ada).press('Enter');
  await bubble(ada, 'at ten').getByRole('button', { name: 'Discard the change' }).click();
  await bubble(ada, 'at nine').waitFor();
  expect(await field(ada).inputValue()).toBe('half a thought');
});

test('[MA7] words are selected with the mouse and copied without what stands around them; several messages are copied as a transcript', async () => {
  const [ada, noor] = await site.friends();
  await say(ada, 'one **bold** word', 'two');
  await bubble(noor, 'two').waitFor();
  await say(noor, 'three', 'four');
  await bubble(ada, 'four').waitFor();
  const clipboard = () => ada.page.evaluate(() => navigator.clipboard.readText());
  const text = (at: number) => log(ada).locator('.msg .text').nth(at);

  await text(2).click({ clickCount: 3 });
  await ada.page.keyboard.press('ControlOrMeta+c');
  await expect.poll(clipboard, patient).toBe('three');

  // Dragged across half of a bubble: that half, from the menu as well.
  const box = (await text(3).boundingBox())!;
  await ada.page.mouse.move(box.x + 1, box.y + box.height / 2);
  await ada.page.mouse.down();
  await ada.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await ada.page.mouse.up();
  const half = await ada.page.evaluate(() => getSelection()!.toString());
  expect('four'.startsWith(half) && half.length > 0 && half.length < 4).toBe(true);

  await ada.page.evaluate(() => {
    const all = document.querySelectorAll('.msg .text');
    getSelection()!.setBaseAndExtent(all[0]!, 0, all[3]!, all[3]!.childNodes.length);
  });
  await ada.page.keyboard.press('ControlOrMeta+c');
  await expect.poll(async () => (await clipboard()).replace(/\d\d:\d\d/g, 'TIME'), patient).toBe('Ada, TIME\none **bold** word\ntwo\n\nNoor, TIME\nthree\nfour');

  // Of one person only there is nobody to name; what is cut through gives its part.
  await ada.page.evaluate(() => {
    const all = document.querySelectorAll('.msg .text');
    getSelection()!.setBaseAndExtent(all[2]!.firstChild!, 2, all[3]!.firstChild!, 2);
  });
  await ada.page.keyboard.press('ControlOrMeta+c');
  await expect.poll(clipboard, patient).toBe('ree\nfo');

  await ada.page.evaluate(() => {
    const all = document.querySelectorAll('.msg .text');
    getSelection()!.setBaseAndExtent(all[3]!.firstChild!, 1, all[3]!.firstChild!, 3);
  });
  await text(3).click({ button: 'right' });
  expect((await offered(ada)).slice(0, 2)).toEqual(['Copy what is selected', 'Copy']);
  await menu(ada).getByRole('menuitem', { name: 'Copy what is selected' }).click();
  await expect.poll(clipboard, patient).toBe('ou');
});

test('[MA8] no page threw, broke the policy or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
