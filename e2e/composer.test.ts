import type { BrowserContextOptions, CDPSession, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { limits } from '../packages/protocol/src/index.ts';
import type { TestServer } from '../packages/server/test/harness.ts';
import { Site, type Someone, bubble, field as fieldOf, password, patient, say, texts as textsOf, untilHidden } from './people.ts';

let site: Site;
let server: TestServer;
const complaints: string[] = [];
let names = 0;

beforeAll(async () => {
  site = await Site.open();
  server = site.server;
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

/** Somebody's notes to themselves, open in a browser of their own, with what already stands there. */
async function openNotes({ texts = [], ...options }: BrowserContextOptions & { texts?: string[] } = {}): Promise<Page> {
  const handle = `writer${++names}`;
  const writer = await server.register(handle, { password });
  const { id, token } = writer;
  const { conversation } = await server.call('conversation.direct', { userId: id }, token);
  for (const [at, text] of texts.entries()) await server.call('message.send', { conversationId: conversation.id, clientId: `before-${names}-${at}`, type: 'text', text }, token);
  const { page } = await site.enter(writer, { path: `/c/${conversation.id}`, ...options });
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await field(page).waitFor();
  return page;
}

const field = (page: Page) => page.locator('.composer textarea');
const written = (page: Page) => field(page).inputValue();
const bubbles = (page: Page) => page.getByRole('log').locator('.msg');
const picker = (page: Page) => page.getByRole('dialog', { name: /^(?:Emoji|表情)$/ });
const search = (page: Page) => picker(page).getByRole('combobox');
const completions = (page: Page) => page.locator('.completions');

describe('emoji', () => {
  test('[CP7] an emoji is found in English and in Chinese and put where the caret is; it is offered again afterwards', async () => {
    const page = await openNotes();
    await field(page).fill('good  morning');
    await field(page).evaluate((box: HTMLTextAreaElement) => box.setSelectionRange(5, 5));
    await page.getByRole('button', { name: 'Emoji' }).click();
    await search(page).fill('dumpl');
    await page.getByRole('gridcell', { name: 'dumpling' }).waitFor();
    await search(page).press('Enter');
    await picker(page).waitFor({ state: 'hidden' });
    await expect.poll(() => written(page)).toBe('good 🥟 morning');
    expect(await field(page).evaluate((box: HTMLTextAreaElement) => box === document.activeElement && box.selectionStart)).toBe(7);
    await page.getByRole('button', { name: 'Emoji' }).click();
    await search(page).fill('饺子');
    await page.getByRole('gridcell', { name: 'dumpling' }).click();
    await search(page).fill('fire');
    await page.getByRole('gridcell', { name: 'fire', exact: true }).click();
    await expect.poll(() => written(page)).toBe('good 🥟🥟🔥 morning');
    await search(page).press('Escape');
    await picker(page).waitFor({ state: 'hidden' });
    await page.reload();
    await page.getByRole('button', { name: 'Emoji' }).click();
    const recent = picker(page).getByRole('rowgroup', { name: 'Often used' }).getByRole('gridcell');
    await expect.poll(() => recent.allInnerTexts()).toEqual(['🔥', '🥟']);
  });

  test('[CP7] what is typed before the list of emoji is there chooses one as soon as it is', async () => {
    const page = await openNotes({ serviceWorkers: 'block' });
    const { promise: typed, resolve: come } = Promise.withResolvers<void>();
    await page.route(/emoji-list/, async (route) => {
      await typed;
      await route.continue();
    });
    await page.getByRole('button', { name: 'Emoji' }).click();
    await search(page).fill('dumpl');
    come();
    await page.getByRole('gridcell', { name: 'dumpling' }).waitFor();
    await search(page).press('Enter');
    await expect.poll(() => written(page)).toBe('🥟');
  });

  test('[CP8] the picker is used with the keyboard alone, and says which emoji is chosen', async () => {
    const page = await openNotes();
    await page.getByRole('button', { name: 'Emoji' }).press('Enter');
    await page.getByRole('gridcell', { name: 'grinning face', exact: true }).waitFor();
    const chosen = () => search(page).evaluate((box) => document.getElementById(box.getAttribute('aria-activedescendant') ?? '')?.getAttribute('aria-label'));
    expect(await search(page).evaluate((box) => box === document.activeElement)).toBe(true);
    expect(await chosen()).toBeUndefined();
    await search(page).pressSequentially('cat');
    await expect.poll(chosen).toBe('cat');
    // In the text the arrow moves the caret, in the grid the choice.
    await search(page).press('ArrowLeft');
    expect(await chosen()).toBe('cat');
    await search(page).press('ArrowDown');
    const second = await chosen();
    expect(second).not.toBe('cat');
    await search(page).press('ArrowLeft');
    await search(page).press('ArrowRight');
    expect(await chosen()).toBe(second);
    await search(page).press('Enter');
    await expect.poll(() => written(page)).not.toBe('');
    expect(await field(page).evaluate((box) => box === document.activeElement)).toBe(true);
    expect(await bubbles(page).count()).toBe(0);
  });

  test('[CP9] a tone of skin is chosen once for all, or for one by the menu or a long press', async () => {
    const page = await openNotes();
    await page.getByRole('button', { name: 'Emoji' }).click();
    await search(page).fill('thumbs');
    const thumb = page.getByRole('gridcell', { name: 'thumbs up' });
    await thumb.click({ button: 'right' });
    await page.getByRole('radio', { name: 'Dark skin tone', exact: true }).click();
    await expect.poll(() => written(page)).toBe('👍🏿');
    await picker(page).getByRole('button', { name: 'Skin tone' }).click();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await expect.poll(() => thumb.innerText()).toBe('👍🏻');
    await thumb.click();
    await expect.poll(() => written(page)).toBe('👍🏿👍🏻');
    await search(page).press('ArrowDown');
    await search(page).press('Shift+F10');
    await page.getByRole('radiogroup', { name: 'Skin tone' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('radiogroup', { name: 'Skin tone' }).waitFor({ state: 'hidden' });
    expect(await search(page).evaluate((box) => box === document.activeElement)).toBe(true);
    const box = (await thumb.boundingBox())!;
    const touch = { bubbles: true, pointerType: 'touch', clientX: box.x + 5, clientY: box.y + 5 };
    await thumb.dispatchEvent('pointerdown', touch);
    await page.getByRole('radiogroup', { name: 'Skin tone' }).waitFor();
    await thumb.dispatchEvent('pointerup', touch);
    await thumb.dispatchEvent('click', { bubbles: true });
    expect(await written(page)).toBe('👍🏿👍🏻');
  });

  test('[CP10] :smi becomes an emoji by arrows, Enter or Tab, and Escape leaves it as it is', async () => {
    const page = await openNotes();
    await field(page).pressSequentially('well :thumbs');
    await completions(page).getByRole('option', { name: 'thumbs up' }).waitFor();
    expect(await field(page).getAttribute('aria-activedescendant')).toBe('emoji-completions-0');
    await field(page).press('ArrowDown');
    await field(page).press('Enter');
    await expect.poll(() => written(page)).toBe('well 👎');
    await field(page).pressSequentially(' :笑哭');
    await completions(page).waitFor();
    await field(page).press('Tab');
    await expect.poll(() => written(page)).toBe('well 👎 😂');
    await field(page).pressSequentially(' :smi');
    await completions(page).waitFor();
    await field(page).press('Escape');
    await completions(page).waitFor({ state: 'hidden' });
    await field(page).pressSequentially('le');
    expect(await completions(page).count()).toBe(0);
    await field(page).press('Enter');
    await expect.poll(() => bubbles(page).count()).toBe(1);
    await expect.poll(() => bubbles(page).locator('.text').innerText()).toBe('well 👎 😂 :smile');
  });

  test('[CP11] on a phone the picker is a sheet under the field, in the language and theme of the person', async () => {
    const page = await openNotes({ locale: 'zh-CN', colorScheme: 'dark', viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    await page.getByRole('button', { name: '表情' }).tap();
    await search(page).fill('生日');
    await page.getByRole('gridcell', { name: '生日蛋糕' }).tap();
    await expect.poll(() => written(page)).toBe('🎂');
    const [sheet, box] = [(await picker(page).boundingBox())!, (await field(page).boundingBox())!];
    expect(sheet.y).toBeGreaterThan(box.y + box.height - 1);
    expect(sheet.y + sheet.height).toBeLessThanOrEqual(844);
    expect(sheet.width).toBeGreaterThan(360);
  });
});

describe('input methods', () => {
  for (const [language, steps, chosen] of [
    ['Chinese', ['n', 'ni', "ni'hao"], '你好'],
    ['Japanese', ['k', 'か', 'かな'], '仮名'],
    ['Korean', ['ㅎ', '하', '한'], '한'],
  ] as const) {
    test(`[CP12] keys with which ${language} is composed neither send nor pick`, async () => {
      const page = await openNotes();
      const cdp = await page.context().newCDPSession(page);
      await field(page).click();
      await compose(cdp, steps);
      await imeKey(cdp, 'Enter');
      await imeKey(cdp, 'ArrowUp');
      await imeKey(cdp, 'Escape');
      expect(await bubbles(page).count()).toBe(0);
      await cdp.send('Input.insertText', { text: chosen });
      await expect.poll(() => written(page)).toBe(chosen);
      expect(await bubbles(page).count()).toBe(0);
      await afterComposition(page);
      await field(page).press('Enter');
      await expect.poll(() => bubbles(page).locator('.text').allInnerTexts()).toEqual([chosen]);

      // With emoji on offer: what is composed behind the colon is no word yet, and its keys pick nothing.
      await field(page).pressSequentially(':smi');
      await completions(page).waitFor();
      await compose(cdp, steps);
      await completions(page).waitFor({ state: 'hidden' });
      await imeKey(cdp, 'Enter');
      await imeKey(cdp, 'Tab');
      await cdp.send('Input.insertText', { text: chosen });
      await expect.poll(() => written(page)).toBe(`:smi${chosen}`);
      expect(await bubbles(page).count()).toBe(1);

      // In the search of the picker.
      await page.getByRole('button', { name: 'Emoji' }).click();
      await search(page).click();
      await compose(cdp, steps);
      await imeKey(cdp, 'Enter');
      await imeKey(cdp, 'Escape');
      expect(await picker(page).isVisible()).toBe(true);
      await cdp.send('Input.insertText', { text: chosen });
      expect(await written(page)).toBe(`:smi${chosen}`);
      expect(await search(page).inputValue()).toBe(chosen);
    });
  }

  test('[CP13] a Chinese word that was composed is searched for when it stands', async () => {
    const page = await openNotes();
    const cdp = await page.context().newCDPSession(page);
    await page.getByRole('button', { name: 'Emoji' }).click();
    await search(page).click();
    await compose(cdp, ['j', 'jiao', "jiao'zi"]);
    await cdp.send('Input.insertText', { text: '饺子' });
    await page.getByRole('gridcell', { name: 'dumpling' }).waitFor();
    await afterComposition(page);
    await search(page).press('Enter');
    await expect.poll(() => written(page)).toBe('🥟');
    await field(page).pressSequentially(' :');
    await compose(cdp, ['x', 'xiao']);
    await cdp.send('Input.insertText', { text: '笑' });
    await completions(page).waitFor();
  });
});

describe('marks', () => {
  const texts = [
    '**bold** *slanted* ~~gone~~ `code` **加粗**。',
    '> quoted\n- one\n- two\n3. three',
    '```js\nconst a = "<b>";\n```',
    '[our plan](https://kith.example/plan) https://kith.example/x，mailto:ada@kith.example',
    '[https://bank.example](https://evil.example/login)',
    '<img src=x onerror=alert(1)><script>alert(2)</script> {{7*7}} [x](javascript:alert(3)) javascript:alert(4)',
  ];

  test('[CP14] marks become elements, links open elsewhere without a trace, code is copied as it is', async () => {
    const page = await openNotes({ texts });
    const text = (at: number) => bubbles(page).nth(at).locator('.text');
    await text(5).waitFor();
    expect(await text(0).innerText()).toBe('bold slanted gone code 加粗。');
    expect(await text(0).locator('strong').allInnerTexts()).toEqual(['bold', '加粗']);
    expect(await text(0).locator('em, s, code').allInnerTexts()).toEqual(['slanted', 'gone', 'code']);
    expect(await text(1).locator('blockquote').innerText()).toBe('quoted');
    expect(await text(1).locator('ul > li').allInnerTexts()).toEqual(['one', 'two']);
    expect(
      await text(1)
        .locator('ol > li')
        .evaluate((item: HTMLLIElement) => item.value),
    ).toBe(3);
    await text(2).getByRole('button', { name: 'Copy code' }).click();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('const a = "<b>";');
    const links = text(3).getByRole('link');
    expect(await links.evaluateAll((all: HTMLAnchorElement[]) => all.map((link) => [link.getAttribute('href'), link.rel, link.target]))).toEqual(
      ['https://kith.example/plan', 'https://kith.example/x', 'mailto:ada@kith.example'].map((href) => [href, 'noopener noreferrer', '_blank']),
    );
    expect(await links.first().getAttribute('title')).toBe('kith.example');
    expect(await text(4).innerText()).toBe('https://bank.example (evil.example)');
    expect(await text(4).getByRole('link').getAttribute('title')).toBe('evil.example');
    expect(await text(0).getAttribute('dir')).toBe('auto');
  });

  test('[CP15] scripts, pictures, templates and script addresses are text', async () => {
    const page = await openNotes({ texts });
    const last = bubbles(page).last().locator('.text');
    await last.waitFor();
    expect(await last.innerText()).toBe(texts.at(-1));
    expect(await last.locator('*').count()).toBe(0);
  });

  test('[CP16] the list of conversations shows the words without the marks', async () => {
    const page = await openNotes({ texts: ['> no\n**加粗** and [our plan](https://kith.example)'] });
    await expect.poll(() => page.getByRole('navigation', { name: 'Chats' }).innerText()).toContain('no 加粗 and our plan');
  });
});

describe('writing', () => {
  const lines = (n: number) => Array.from({ length: n }, (_, at) => `line ${at + 1}`).join('\n');
  const height = (page: Page) => field(page).evaluate((box) => box.getBoundingClientRect().height);

  test('[CP18] the field grows with what is written, up to two fifths of the height, and shrinks again', async () => {
    const page = await openNotes();
    const one = await height(page);
    await field(page).fill(lines(4));
    await expect.poll(() => height(page)).toBeGreaterThan(one * 2);
    await field(page).fill(lines(60));
    await expect.poll(() => height(page)).toBe(320);
    expect(await field(page).evaluate((box) => box.scrollHeight > box.clientHeight)).toBe(true);
    await page.setViewportSize({ width: 1280, height: 500 });
    await expect.poll(() => height(page)).toBe(200);
    await field(page).press('Enter');
    await expect.poll(() => height(page)).toBe(one);
  });

  test('[CP19] a device may send with Ctrl+Enter, and Enter is then a new line; on a touch keyboard it always is', async () => {
    const page = await openNotes();
    const chat = new URL(page.url()).pathname;
    await page.goto('/settings/appearance');
    await page.getByRole('switch', { name: 'Send with Ctrl + Enter' }).click();
    await page.goto(chat);
    await field(page).pressSequentially('one');
    await field(page).press('Enter');
    await field(page).pressSequentially('two');
    expect(await written(page)).toBe('one\ntwo');
    expect(await bubbles(page).count()).toBe(0);
    await field(page).press('ControlOrMeta+Enter');
    await expect.poll(() => bubbles(page).locator('.text').allInnerTexts()).toEqual(['one\ntwo']);
    await page.goto('/settings/appearance');
    await page.getByRole('switch', { name: 'Send with Ctrl + Enter' }).click();
    await page.goto(chat);
    await field(page).fill('three');
    await field(page).press('Enter');
    await expect.poll(() => bubbles(page).count()).toBe(2);

    const phone = await openNotes({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    expect(await field(phone).getAttribute('enterkeyhint')).toBe('enter');
    await field(phone).fill('a');
    await field(phone).press('Enter');
    expect(await written(phone)).toBe('a\n');
    await phone.getByRole('button', { name: 'Send' }).tap();
    await expect.poll(() => bubbles(phone).count()).toBe(1);
  });

  test('[CP20] a key or a button that bounces sends once', async () => {
    const page = await openNotes();
    await field(page).fill('once by key');
    await field(page).evaluate((box) => {
      for (const repeat of [false, false, true]) box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', repeat, bubbles: true, cancelable: true }));
    });
    await expect.poll(() => written(page)).toBe('');
    await field(page).fill('once by button');
    await page.getByRole('button', { name: 'Send' }).dblclick();
    await field(page).fill('and then');
    await field(page).press('Enter');
    await bubbles(page).nth(2).waitFor();
    expect(await bubbles(page).locator('.text').allInnerTexts()).toEqual(['once by key', 'once by button', 'and then']);
  });

  test('[CP21] in no field of the application does a key of an input method save, clear or close', async () => {
    const [ada] = await site.friends();
    const { page } = ada;
    const cdp = await page.context().newCDPSession(page);
    const compositions = [
      [['n', 'ni', "ni'hao"], '你好'],
      [['k', 'か', 'かな'], '仮名'],
      [['ㅎ', '하', '한'], '한'],
    ] as const;

    const conversations = page.getByRole('searchbox', { name: 'Search' }).first();
    for (const [steps, chosen] of compositions) {
      await conversations.click();
      await compose(cdp, steps);
      await imeKey(cdp, 'Escape');
      await imeKey(cdp, 'Enter');
      await cdp.send('Input.insertText', { text: chosen });
      expect(await conversations.inputValue()).toBe(chosen);
      await afterComposition(page);
      await conversations.press('Escape');
      await expect.poll(() => conversations.inputValue()).toBe('');
    }

    // While a message is changed.
    await say(ada, 'old');
    await bubble(ada, 'old')
      .getByRole('img', { name: /sent|delivered|read/ })
      .waitFor();
    await fieldOf(ada).press('ArrowUp');
    await expect.poll(() => fieldOf(ada).inputValue()).toBe('old');
    for (const [steps, chosen] of compositions) {
      await compose(cdp, steps);
      await imeKey(cdp, 'Enter');
      await imeKey(cdp, 'Escape');
      await imeKey(cdp, 'ArrowUp');
      expect(await page.locator('.strip').getByRole('button').isVisible()).toBe(true);
      await cdp.send('Input.insertText', { text: chosen });
    }
    await expect.poll(() => fieldOf(ada).inputValue()).toBe('old你好仮名한');
    await afterComposition(page);
    await fieldOf(ada).press('Enter');
    await bubble(ada, 'old你好仮名한').waitFor();

    // A name in a form, and one that Escape would give up.
    await page.goto('/contacts');
    await page.getByRole('link', { name: 'Noor' }).click();
    await page.locator('.profile dd button').first().click();
    const remark = page.locator('input[name=remark]');
    for (const [steps, chosen] of compositions) {
      await remark.fill('');
      await compose(cdp, steps);
      await imeKey(cdp, 'Enter');
      await imeKey(cdp, 'Escape');
      expect(await remark.isVisible()).toBe(true);
      await cdp.send('Input.insertText', { text: chosen });
      expect(await remark.inputValue()).toBe(chosen);
    }
    await afterComposition(page);
    await remark.press('Enter');
    await page.getByRole('heading', { name: '한', level: 1 }).waitFor();
  });

  test('[CP22] Escape closes what is nearest: the picker, then the change of a message, then it goes to the latest', async () => {
    const page = await openNotes({ texts: Array.from({ length: 60 }, (_, at) => `line ${at}`) });
    await bubbles(page).nth(30).waitFor();
    const bottom = () => page.getByRole('log').evaluate((box) => Math.round(box.scrollHeight - box.clientHeight - box.scrollTop));
    await expect.poll(bottom).toBeLessThanOrEqual(1);
    await field(page).press('ArrowUp');
    await expect.poll(() => written(page)).toBe('line 59');
    await page.getByRole('button', { name: 'Emoji' }).click();
    await picker(page).waitFor();
    await page.getByRole('log').evaluate((box) => (box.scrollTop -= 400));
    await page.getByRole('button', { name: 'Jump to latest' }).waitFor();
    await field(page).press('Escape');
    await picker(page).waitFor({ state: 'hidden' });
    expect(await written(page)).toBe('line 59');
    await field(page).press('Escape');
    await expect.poll(() => written(page)).toBe('');
    expect(await bottom()).toBeGreaterThan(300);
    await field(page).press('Escape');
    await expect.poll(bottom).toBeLessThanOrEqual(1);
  });
});

describe('drafts', () => {
  const row = (one: Someone, name: string) => one.page.getByRole('navigation', { name: 'Chats' }).getByRole('link', { name });
  const choice = (one: Someone) => one.page.getByRole('group', { name: 'Another device wrote' });
  const leave = (one: Someone) => fieldOf(one).blur();

  /** Two devices of one person, both in the same conversation, and the other person. */
  async function twoDevices() {
    const [ada, noor] = await site.friends();
    const phone = await site.signIn(ada);
    await phone.page.getByRole('link', { name: noor.name }).click();
    await fieldOf(phone).waitFor();
    return { desk: ada, phone, noor };
  }
  async function shows(one: Someone, text: string): Promise<void> {
    await expect.poll(() => fieldOf(one).inputValue(), patient).toBe(text);
  }
  /** Waits until the server has this as somebody's only draft. */
  async function isStored({ handle }: Someone, text: string): Promise<void> {
    const { id, token } = await server.login({ handle, password } as Parameters<TestServer['login']>[0]);
    await expect
      .poll(async () => {
        const { entities } = await server.call('stream.snapshot', { stream: `user:${id}` }, token);
        return entities.flatMap((entity) => (entity.kind === 'draft' ? [entity.text] : []));
      }, patient)
      .toEqual([text]);
  }

  test('[CP23] a draft appears on the other device while nobody writes there, in the list too, and sending clears it everywhere', async () => {
    const { desk, phone, noor } = await twoDevices();
    await fieldOf(desk).fill('see you at');
    await shows(phone, 'see you at');
    // Gone on with there, it comes back: nobody is at the first field.
    await leave(desk);
    await fieldOf(phone).fill('see you at nine');
    await shows(desk, 'see you at nine');
    await phone.page.getByRole('link', { name: /Chats/ }).click();
    await row(phone, noor.name).getByText('[Draft]').waitFor();
    await row(phone, noor.name).getByText('see you at nine').waitFor();
    await row(phone, noor.name).click();
    await shows(phone, 'see you at nine');
    await fieldOf(desk).press('Enter');
    await bubble(noor, 'see you at nine').waitFor();
    // Although the hands are at the field there.
    await fieldOf(phone).focus();
    await shows(phone, '');
    expect(await choice(phone).count()).toBe(0);
    await phone.page.getByRole('link', { name: /Chats/ }).click();
    await untilHidden(row(phone, noor.name).getByText('[Draft]'));
  });

  test('[CP24] what two devices wrote at the same time, one of them offline, is kept until the person has chosen, whatever is written on', async () => {
    const { desk, phone } = await twoDevices();
    await phone.page.context().setOffline(true);
    await phone.page.getByText('No connection.').waitFor();
    await fieldOf(desk).fill('from the desk');
    await fieldOf(phone).fill('from the train');
    await row(phone, 'Noor').waitFor();
    await isStored(desk, 'from the desk');
    await phone.page.context().setOffline(false);
    await choice(phone).getByText('from the desk').waitFor();
    expect(await fieldOf(phone).inputValue()).toBe('from the train');
    await choice(desk).getByText('from the train').waitFor();
    expect(await fieldOf(desk).inputValue()).toBe('from the desk');
    // Written on without a choice, and a reload: both are still there.
    await fieldOf(phone).fill('from the train, late');
    await leave(phone);
    await phone.page.reload();
    await shows(phone, 'from the train, late');
    await choice(phone).getByText('from the desk').waitFor();
    await choice(phone).getByRole('button', { name: 'Keep mine' }).click();
    await untilHidden(choice(phone));
    await choice(desk).getByText('from the train, late').waitFor();
    expect(await fieldOf(desk).inputValue()).toBe('from the desk');
    await choice(desk).getByRole('button', { name: 'Take it' }).click();
    await untilHidden(choice(desk));
    expect(await fieldOf(desk).inputValue()).toBe('from the train, late');
    await shows(phone, 'from the train, late');
    expect(await choice(phone).count()).toBe(0);
  });

  test('[CP25] what is sent while another text waits for a choice takes nothing of that along', async () => {
    const { desk, phone, noor } = await twoDevices();
    await phone.page.context().setOffline(true);
    await phone.page.getByText('No connection.').waitFor();
    await fieldOf(desk).fill('from the desk');
    await fieldOf(phone).fill('from the train');
    await isStored(desk, 'from the desk');
    await phone.page.context().setOffline(false);
    await choice(phone).getByText('from the desk').waitFor();
    await fieldOf(phone).press('Enter');
    await bubble(noor, 'from the train').waitFor();
    await shows(phone, 'from the desk');
    await shows(desk, 'from the desk');
    await untilHidden(choice(desk));
    expect(await textsOf(noor, 1)).toEqual(['from the train']);
    await choice(phone).waitFor({ state: 'hidden' });
  });

  test('[CP26] the change of a message leaves the draft as it was, on both devices', async () => {
    const { desk, phone, noor } = await twoDevices();
    await say(desk, 'at nien');
    await bubble(phone, 'at nien').waitFor();
    await fieldOf(desk).fill('half a thought');
    await shows(phone, 'half a thought');
    await bubble(desk, 'at nien').click({ button: 'right' });
    await desk.page.getByRole('menuitem', { name: 'Edit' }).click();
    await shows(desk, 'at nien');
    await fieldOf(desk).fill('at nine');
    // Meanwhile the draft goes on elsewhere.
    await fieldOf(phone).fill('half a thought, and the rest');
    await leave(phone);
    await isStored(desk, 'half a thought, and the rest');
    // What came after that has come by the same way.
    await say(noor, 'still there?');
    await bubble(desk, 'still there?').waitFor();
    expect(await fieldOf(desk).inputValue()).toBe('at nine');
    await fieldOf(desk).press('Enter');
    await bubble(phone, 'at nine').waitFor();
    await shows(desk, 'half a thought, and the rest');
    expect(await fieldOf(phone).inputValue()).toBe('half a thought, and the rest');
  });
});

describe('what is pasted', () => {
  const paste = (page: Page, what: { text?: string; html?: string; file?: boolean }) =>
    field(page).evaluate((box, { text, html, file }) => {
      const data = new DataTransfer();
      if (text !== undefined) data.setData('text/plain', text);
      if (html !== undefined) data.setData('text/html', html);
      if (file) data.items.add(new File(['x'], 'x.png', { type: 'image/png' }));
      (box as HTMLTextAreaElement).focus();
      const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
      // What a browser does by itself is not done for an event of a script.
      if (box.dispatchEvent(event) && text !== undefined) document.execCommand('insertText', false, text);
    }, what);

  test('[CP27] only words are pasted, without what nobody can see, and undone like what was typed', async () => {
    const page = await openNotes();
    await field(page).fill('so: ');
    await paste(page, { text: 'pass\u200bword\ufeff \u0007bell 👨‍👩‍👧 می‌خواهم', html: '<b>pass</b>' });
    await expect.poll(() => written(page)).toBe('so: password bell 👨‍👩‍👧 می‌خواهم');
    await field(page).press('ControlOrMeta+z');
    await expect.poll(() => written(page)).toBe('so: ');
  });

  test('[CP28] what is near the limit is counted, and what is beyond it goes out in several messages, in order, when the person says so', async () => {
    const page = await openNotes();
    await field(page).fill('x'.repeat(limits.messageText - 501));
    expect(await page.getByText(/characters? left/).count()).toBe(0);
    await field(page).press('End');
    await field(page).pressSequentially('yz');
    await page.getByText('499 characters left').waitFor();
    const paragraphs = Array.from({ length: 50 }, (_, at) => `Paragraph ${at}. ${'字'.repeat(390)}`);
    const long = paragraphs.join('\n\n');
    await field(page).fill(long);
    await page.getByText(`${long.length - limits.messageText} characters more than one message takes`).waitFor();
    await field(page).press('Enter');
    expect(await written(page)).toBe(long);
    await page.getByRole('button', { name: 'Send as 3 messages' }).click();
    await expect.poll(() => bubbles(page).count()).toBe(3);
    expect(await written(page)).toBe('');
    const sent = await bubbles(page).locator('.text').allTextContents();
    expect(sent.join('\n\n')).toBe(long);
    expect(sent.every((part) => part.length <= limits.messageText && part.startsWith('Paragraph'))).toBe(true);
  });

  test('[CP29] a file that is pasted waits above the field, and what was written stays; where none can be sent that is said in words', async () => {
    const page = await openNotes();
    await field(page).fill('look at this');
    await paste(page, { file: true });
    const tray = page.getByRole('region', { name: '1 file to send' });
    await tray.getByRole('button', { name: 'x.png, 1 of 1' }).waitFor();
    expect(await written(page)).toBe('look at this');
    await field(page).press('Enter');
    await bubbles(page).getByRole('img', { name: 'sent' }).waitFor();
    // A message that is changed takes none.
    await field(page).press('ArrowUp');
    await page.getByText('Editing').waitFor();
    await paste(page, { file: true });
    const line = page.getByText('Files cannot be added here.');
    await line.waitFor();
    await field(page).pressSequentially('!');
    await line.waitFor({ state: 'hidden' });
    expect(await tray.count()).toBe(0);
    // Words that come with a picture of themselves, as from a table, are words.
    await paste(page, { text: ' and that', file: true });
    await expect.poll(() => written(page)).toBe('look at this! and that');
  });
});

test('[CP17] no page threw, opened a dialog or broke the content security policy', () => {
  expect([...complaints, ...site.complaints]).toEqual([]);
});

/** What an input method does while somebody types: the text under way changes, and keys are its own. */
async function compose(cdp: CDPSession, steps: readonly string[]): Promise<void> {
  for (const text of steps) await cdp.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length });
}

/** A key that the input method takes: the browser reports it as 229. */
async function imeKey(cdp: CDPSession, key: string): Promise<void> {
  await cdp.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', key, code: key, windowsVirtualKeyCode: 229 });
  await cdp.send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: key, windowsVirtualKeyCode: 229 });
}

/** An Enter at once after the end of a composition still counts as part of it: Safari reports it so. */
async function afterComposition(page: Page): Promise<void> {
  const now = await page.evaluate(() => performance.now());
  await page.waitForFunction((from) => performance.now() - from > 30, now);
}
