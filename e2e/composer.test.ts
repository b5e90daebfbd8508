import type { Browser, BrowserContextOptions, CDPSession, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type TestServer, startTestServer } from '../packages/server/test/harness.ts';
import { launch } from './chromium.ts';

const password = 'correct horse battery';

let browser: Browser;
let server: TestServer;
const complaints: string[] = [];
let names = 0;

beforeAll(async () => {
  browser = await launch();
  server = await startTestServer();
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
});

/** Somebody's notes to themselves, open in a browser of their own, with what already stands there. */
async function openNotes({ texts = [], ...options }: BrowserContextOptions & { texts?: string[] } = {}): Promise<Page> {
  const handle = `writer${++names}`;
  const { id, token } = await server.register(handle, { password });
  const { conversation } = await server.call('conversation.direct', { userId: id }, token);
  for (const [at, text] of texts.entries()) await server.call('message.send', { conversationId: conversation.id, clientId: `before-${names}-${at}`, type: 'text', text }, token);
  const context = await browser.newContext({
    baseURL: server.url,
    locale: 'en-GB',
    viewport: { width: 1280, height: 800 },
    permissions: ['clipboard-read', 'clipboard-write'],
    ...options,
  });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (line) => {
    if (/Content Security Policy|TrustedHTML|TrustedScript|\[Vue|\[intlify\]/i.test(line.text())) complaints.push(line.text());
  });
  await page.goto('/signin');
  const chinese = options.locale === 'zh-CN';
  await page
    .getByRole('button', { name: chinese ? '登录' : 'Sign in' })
    .first()
    .click();
  await page.getByLabel(chinese ? '用户名' : 'User name').fill(handle);
  await page.getByLabel(chinese ? '密码' : 'Password').fill(password);
  await page
    .locator('form')
    .getByRole('button', { name: chinese ? '登录' : 'Sign in' })
    .click();
  await page
    .getByRole('navigation', { name: chinese ? '主导航' : 'Main' })
    .or(page.locator('nav').first())
    .first()
    .waitFor();
  await page.goto(`/c/${conversation.id}`);
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

test('[CP17] no page threw, opened a dialog or broke the content security policy', () => {
  expect(complaints).toEqual([]);
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
const afterComposition = (page: Page): Promise<void> => page.waitForTimeout(50);
