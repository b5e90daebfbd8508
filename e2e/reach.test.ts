import type { CDPSession, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { shortcuts } from '../packages/web/src/composables/shortcuts.ts';
import { Site, type Someone, field, log, patient, untilHidden, wcagProblems } from './people.ts';
import { type World, makeWorld } from './reach-world.ts';

let site: Site;
let world: World;

beforeAll(async () => {
  site = await Site.open();
  world = await makeWorld(site);
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

const pathOf = (page: Page): string => new URL(page.url()).pathname;
const isAt = async (page: Page, path: string): Promise<void> => {
  await expect.poll(() => pathOf(page), patient).toBe(path);
};
const title = (page: Page): Promise<string | null> => page.locator('.conv h1').textContent();
const switcher = (page: Page) => page.getByRole('dialog', { name: 'Go to' });
const options = (page: Page) => switcher(page).getByRole('option');

/** Ada with the conversation with Noor open, writing. */
async function writing(): Promise<Someone> {
  const ada = await site.enter(world.ada);
  await ada.page.goto(world.paths.noor);
  await expect.poll(() => isFocused(field(ada)), patient).toBe(true);
  return ada;
}

const isFocused = (locator: ReturnType<Page['locator']>): Promise<boolean> => locator.evaluate((element) => element === document.activeElement);

describe('the switcher', () => {
  test('[RE11] Ctrl+K goes to people, groups, rooms and settings by remark, name, handle or initials', async () => {
    const { page } = await writing();
    for (const [words, first, path] of [
      ['cousin', 'Cousin N', world.paths.noor],
      ['noor', 'Cousin N', world.paths.noor],
      ['wxm', '王小明', world.paths.ming],
      ['@ming', '王小明', world.paths.ming],
      ['ww', 'Weekend walk', world.paths.group],
      ['lob', 'Lobby', world.paths.lobby],
      ['appear', 'Appearance', '/settings/appearance'],
    ] as const) {
      await page.keyboard.press('Control+k');
      await switcher(page).getByRole('combobox').fill(words);
      await options(page).first().getByText(first, { exact: true }).waitFor();
      await page.keyboard.press('Enter');
      await untilHidden(switcher(page));
      await expect.poll(() => pathOf(page), patient).toBe(path);
    }
  });

  test('[RE12] without words it lists what was used last; arrows choose, Escape leaves everything as it was', async () => {
    const ada = await writing();
    const { page } = ada;
    await page.keyboard.press('Control+k');
    await options(page).nth(3).waitFor();
    const active = (): Promise<string | null> => page.getByRole('option', { selected: true }).locator('bdi').textContent();
    expect(await active()).toBe('Lobby');
    expect(await options(page).nth(1).locator('bdi').textContent()).toBe('Weekend walk');
    await page.keyboard.press('ArrowDown');
    expect(await active()).toBe('Weekend walk');
    const input = switcher(page).getByRole('combobox');
    expect(await input.getAttribute('aria-activedescendant')).toBe(await page.getByRole('option', { selected: true }).getAttribute('id'));
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowUp');
    expect(await options(page).last().getAttribute('aria-selected')).toBe('true');
    await page.keyboard.press('Escape');
    await untilHidden(switcher(page));
    await isAt(page, world.paths.noor);
    await expect.poll(() => isFocused(field(ada)), patient).toBe(true);
  });

  test('[RE13] keys with which Chinese is composed neither choose nor go nor close', async () => {
    const { page } = await writing();
    const cdp = await page.context().newCDPSession(page);
    await page.keyboard.press('Control+k');
    const input = switcher(page).getByRole('combobox');
    await options(page).first().waitFor();
    for (const text of ['w', 'wang']) await cdp.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length });
    for (const key of ['ArrowDown', 'Enter', 'Escape', 'k']) await imeKey(cdp, key);
    expect(await options(page).first().getAttribute('aria-selected')).toBe('true');
    expect(pathOf(page)).toBe(world.paths.noor);
    await cdp.send('Input.insertText', { text: '王' });
    await expect.poll(() => input.inputValue()).toBe('王');
    await expect.poll(() => options(page).count()).toBe(1);
    expect(await options(page).locator('bdi').textContent()).toBe('王小明');
  });
});

describe('shortcuts', () => {
  test('[RE14] the sheet lists every shortcut of the table; Ctrl+/ opens it everywhere, a question mark outside of fields', async () => {
    const ada = await writing();
    const { page } = ada;
    const sheet = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
    await page.keyboard.type('?');
    expect(await field(ada).inputValue()).toBe('?');
    expect(await sheet.count()).toBe(0);
    await field(ada).fill('');
    await page.keyboard.press('Control+/');
    await sheet.waitFor();
    expect(await sheet.locator('dt').count()).toBe(shortcuts.length);
    expect((await sheet.locator('dt').allTextContents()).filter((text) => text.trim() === '' || text.includes('shortcuts.'))).toEqual([]);
    await page.keyboard.press('Escape');
    await untilHidden(sheet);
    await expect.poll(() => isFocused(field(ada)), patient).toBe(true);
    await log(ada).focus();
    await page.keyboard.press('?');
    await sheet.waitFor();
  });

  test('[RE15] Alt with arrows goes through the chats, with Shift through the unread ones', async () => {
    const ada = await writing();
    const { page } = ada;
    const titles = await page.getByRole('navigation', { name: 'Chats' }).locator('.name > .ell').allTextContents();
    const here = titles.indexOf('Cousin N');
    await page.keyboard.press('Alt+ArrowUp');
    await expect.poll(() => title(page), patient).toBe(titles[here - 1]);
    await page.keyboard.press('Alt+ArrowDown');
    await expect.poll(() => title(page), patient).toBe('Cousin N');
    // What is unread comes to the top; between here and there are chats that have been read.
    await site.server.call('message.send', { conversationId: world.paths.ming.slice(3), clientId: 'an-unread-message', type: 'text', text: '出发了吗？' }, world.ming.token);
    await page.getByRole('navigation', { name: 'Chats' }).getByRole('listitem').first().getByText('出发了吗？').waitFor();
    await page.keyboard.press('Alt+Shift+ArrowUp');
    await expect.poll(() => title(page), patient).toBe('王小明');
    await expect.poll(() => isFocused(field(ada)), patient).toBe(true);
  });

  test('[RE16] no shortcut fires while an input method composes', async () => {
    const ada = await writing();
    const { page } = ada;
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Input.imeSetComposition', { text: 'ni', selectionStart: 2, selectionEnd: 2 });
    for (const key of ['F6', '?']) await imeKey(cdp, key);
    await imeKey(cdp, 'ArrowUp', 1);
    await imeKey(cdp, 'k', 2);
    await cdp.send('Input.insertText', { text: '你' });
    await expect.poll(() => field(ada).inputValue()).toBe('你');
    expect(await page.getByRole('dialog').count()).toBe(0);
    expect(pathOf(page)).toBe(world.paths.noor);
    expect(await isFocused(field(ada))).toBe(true);
    await field(ada).fill('');
  });

  test('[RE17] F6 goes through the parts of the screen, and comes back to where one was in each', async () => {
    const ada = await writing();
    const { page } = ada;
    await page.getByRole('button', { name: 'Details' }).click();
    await page.getByRole('complementary').waitFor();
    await field(ada).focus();
    const part = (): Promise<string> => page.evaluate(() => document.activeElement!.closest('aside, main, section.list, nav.rail')!.tagName.toLowerCase());
    const round: string[] = [];
    for (let press = 0; press < 4; press++) {
      await page.keyboard.press('F6');
      round.push(await part());
    }
    expect(round).toEqual(['aside', 'nav', 'section', 'main']);
    expect(await isFocused(field(ada))).toBe(true);
    await page.keyboard.press('Shift+F6');
    expect(await part()).toBe('section');
  });
});

/** Every screen: a path of the world, what shows that it is there, and what to open on it. A new screen is a row. */
const screens: { name: string; path: () => string; ready: string; open?: (page: Page) => Promise<unknown> }[] = [
  { name: 'list', path: () => '/', ready: '.row' },
  { name: 'new conversation', path: () => '/new', ready: 'button[role=checkbox]' },
  { name: 'direct', path: () => world.paths.noor, ready: '.msg' },
  { name: 'group', path: () => world.paths.group, ready: '.msg' },
  { name: 'room', path: () => world.paths.lobby, ready: '.msg' },
  { name: 'details', path: () => `${world.paths.group}/details`, ready: 'aside' },
  { name: 'shared: media', path: () => `${world.paths.group}/shared`, ready: 'aside .grid button' },
  { name: 'shared: files', path: () => `${world.paths.group}/shared?of=files`, ready: 'aside a.file' },
  { name: 'shared: voice', path: () => `${world.paths.group}/shared?of=voice`, ready: 'aside :is(.one, .none)' },
  { name: 'shared: links', path: () => `${world.paths.group}/shared?of=links`, ready: 'aside a.link-line' },
  { name: 'lightbox', path: () => `${world.paths.group}/shared`, ready: 'aside .grid button', open: openPicture },
  {
    name: 'forward',
    path: () => `${world.paths.group}/shared`,
    ready: 'aside .grid button',
    open: async (page) => {
      await openPicture(page);
      await page.locator('dialog.lightbox header button').nth(-2).click();
      await page.getByRole('dialog').getByRole('checkbox').first().waitFor();
    },
  },
  { name: 'contacts', path: () => '/contacts', ready: 'a.line' },
  { name: 'person', path: () => `/contacts/${world.noor.id}`, ready: 'main h1' },
  { name: 'rooms', path: () => '/rooms', ready: '.rows li' },
  { name: 'settings', path: () => '/settings', ready: '.rows li' },
  ...['profile', 'account', 'privacy', 'notifications', 'appearance', 'devices', 'site'].map((page) => ({
    name: `settings: ${page}`,
    path: () => `/settings/${page}`,
    ready: 'main h1',
  })),
  { name: 'adding a friend', path: () => '/contacts?add', ready: 'dialog[open]' },
  {
    name: 'switcher',
    path: () => world.paths.noor,
    ready: '.msg',
    open: (page) => page.keyboard.press('Control+k').then(() => page.getByRole('dialog').getByRole('option').first().waitFor()),
  },
  {
    name: 'shortcuts',
    path: () => world.paths.noor,
    ready: '.msg',
    open: (page) => page.keyboard.press('Control+/').then(() => page.getByRole('dialog').locator('dt').first().waitFor()),
  },
];

async function openPicture(page: Page): Promise<void> {
  await page.locator('aside .grid button').first().click();
  await page.locator('dialog.lightbox .frame img.there').first().waitFor();
}

async function visit(page: Page, screen: (typeof screens)[number]): Promise<void> {
  await page.goto(screen.path());
  await page.locator(screen.ready).first().waitFor();
  await screen.open?.(page);
  // What fades in is looked at when it stands.
  await page.waitForFunction(() =>
    document.getAnimations().every((animation) => animation.playState !== 'running' || animation.effect?.getComputedTiming().iterations === Infinity),
  );
}

/** What is wider than the screen, or stands out of it, and is not cut or scrolled by something around it on purpose. */
const overflowing = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const root = document.documentElement;
    const found = root.scrollWidth > root.clientWidth ? [`the page is ${root.scrollWidth} of ${root.clientWidth} px`] : [];
    for (const box of document.querySelectorAll<HTMLElement>('.app *, dialog[open] *')) {
      const { overflowX } = getComputedStyle(box);
      if ((overflowX === 'auto' || overflowX === 'scroll') && box.scrollWidth > box.clientWidth + 1 && box.tagName !== 'PRE') found.push(`${box.className} scrolls sideways`);
      if (!box.matches('button, a[href], input, textarea, h1, h2, p') || box.closest('.unseen, .float-date') || box.getClientRects().length === 0) continue;
      const { left, right, width } = box.getBoundingClientRect();
      if (width > 1 && (left < -1 || right > innerWidth + 1)) found.push(`${box.tagName} ${box.className} ${box.textContent.slice(0, 20)} is at ${left}–${right}`);
    }
    return found;
  });

describe('every screen', () => {
  for (const [width, height, locale, colorScheme] of [
    [1280, 800, 'en-GB', 'dark'],
    [390, 844, 'en-GB', 'light'],
    [1280, 800, 'zh-CN', 'light'],
    [390, 844, 'zh-CN', 'dark'],
  ] as const) {
    test(`[RE21] ${width} px, ${locale}, ${colorScheme}: it is in that language and theme, and axe finds nothing at all, also in dialogs`, { timeout: 300_000 }, async () => {
      const { page } = await site.enter(world.ada, { viewport: { width, height }, locale, colorScheme });
      const problems: string[] = [];
      for (const screen of screens) {
        await visit(page, screen);
        const found = await page.evaluate(() => [document.documentElement.lang, document.documentElement.dataset['theme'], document.body.innerText] as const);
        if (found[0] !== (locale === 'zh-CN' ? 'zh-CN' : 'en') || found[1] !== colorScheme) problems.push(`${screen.name}: it is ${found[0]}, ${found[1]}`);
        // A key in place of its text: the text is missing.
        const keys = found[2].match(/\b[a-z]+\.[a-z]+[A-Z]?[a-z]*\b(?!\.)/g) ?? [];
        problems.push(...keys.filter((word) => !/^(?:kith|example)\./.test(word)).map((word) => `${screen.name}: ${word}`));
        problems.push(...(await wcagProblems(page)).map((problem) => `${screen.name}: ${problem}`));
      }
      expect(problems).toEqual([]);
    });
  }

  test('[RE22] at 320 px, and at 200 % of 640 by 400, nothing is cut off and nothing scrolls sideways', { timeout: 300_000 }, async () => {
    const problems: string[] = [];
    const sizes = [
      { width: 320, height: 640 },
      { width: 640, height: 400 },
    ];
    const { page } = await site.enter(world.ada, { viewport: sizes[0]!, deviceScaleFactor: 2 });
    for (const screen of screens) {
      await visit(page, screen);
      for (const size of sizes) {
        await page.setViewportSize(size);
        problems.push(...(await overflowing(page)).map((problem) => `${size.width}, ${screen.name}: ${problem}`));
      }
      await page.setViewportSize(sizes[0]!);
    }
    expect(problems).toEqual([]);
  });

  test('[RE23] from right to left the screens are mirrored, and nothing stands out of them', { timeout: 300_000 }, async () => {
    const { page } = await site.enter(world.ada);
    await page.addInitScript(() => addEventListener('DOMContentLoaded', () => (document.documentElement.dir = 'rtl')));
    const problems: string[] = [];
    for (const screen of screens) {
      await visit(page, screen);
      problems.push(...(await overflowing(page)).map((problem) => `${screen.name}: ${problem}`));
    }
    expect(problems).toEqual([]);
    const [rail, list, main] = await Promise.all(['.rail', 'section.list', 'main'].map((part) => page.locator(part).boundingBox()));
    expect(rail!.x).toBeGreaterThan(list!.x);
    expect(list!.x).toBeGreaterThan(main!.x);
    await visit(
      page,
      screens.find(({ name }) => name === 'direct')!,
    );
    const [own, other] = await Promise.all([page.locator('.msg.own .bub').first().boundingBox(), page.locator('.msg:not(.own) .bub').first().boundingBox()]);
    expect(own!.x).toBeLessThan(other!.x);
  });
});

/** A key that the input method takes: the browser reports it as 229. @param modifiers  1 Alt, 2 Ctrl */
async function imeKey(cdp: CDPSession, key: string, modifiers = 0): Promise<void> {
  await cdp.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', key, code: key, windowsVirtualKeyCode: 229, modifiers });
  await cdp.send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: key, windowsVirtualKeyCode: 229, modifiers });
}

test('[RE4] no page asked another origin for anything, broke the policy or threw', () => {
  expect(site.complaints).toEqual([]);
});
