import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Browser, Page } from 'playwright-core';
import { launch } from '../e2e/chromium.ts';
import { configWith } from '../packages/server/src/config.ts';
import { demoPassword, seedDemo } from '../packages/server/src/demo.ts';
import { startServer } from '../packages/server/src/server.ts';

/**
 * Pictures of every screen with the people of the demo, into ./screenshots: wide and narrow, light and dark, both
 * languages.
 *
 *   npm run screenshots                    all of them
 *   npm run screenshots -- --only chat     those whose name has "chat" in it
 *   npm run screenshots -- --all           every combination of size, theme and language, not one of each
 */
const { values: flags } = parseArgs({ options: { only: { type: 'string', default: '' }, all: { type: 'boolean', default: false } } });
const folder = path.resolve(import.meta.dirname, '../screenshots');

const sizes = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };
type Size = keyof typeof sizes;
type Theme = 'light' | 'dark';
type Locale = 'en-GB' | 'zh-CN';
interface Look {
  size: Size;
  theme: Theme;
  locale: Locale;
}

const each: Look[] = [
  { size: 'wide', theme: 'light', locale: 'en-GB' },
  { size: 'wide', theme: 'dark', locale: 'zh-CN' },
  { size: 'narrow', theme: 'light', locale: 'zh-CN' },
  { size: 'narrow', theme: 'dark', locale: 'en-GB' },
];
const every: Look[] = (['wide', 'narrow'] as const).flatMap((size) =>
  (['light', 'dark'] as const).flatMap((theme) => (['en-GB', 'zh-CN'] as const).map((locale) => ({ size, theme, locale }))),
);

/** Texts that scripts press on, in both languages. */
const words = {
  'en-GB': {
    signIn: 'Sign in',
    guest: 'Guest',
    register: 'New account',
    edit: 'Edit',
    details: 'Details',
    emoji: 'Emoji',
    message: 'Message',
    more: 'More',
    off: 'No connection',
    keep: 'Keep messages',
  },
  'zh-CN': { signIn: '登录', guest: '访客', register: '注册', edit: '编辑', details: '详情', emoji: '表情', message: '输入消息', more: '更多', off: '没有网络', keep: '消息保留' },
};

interface Stage {
  page: Page;
  look: Look;
  say: (typeof words)['en-GB'];
  /** Opens the conversation whose row has this in it. */
  chat(title: string): Promise<void>;
}

/** Every picture: what leads to it. Signed in as lin, unless the name begins with gate. */
const scenes: Record<string, (stage: Stage) => Promise<unknown>> = {
  'gate-guest': async ({ page, say }) => {
    await page.goto('/signin');
    await page.getByRole('button', { name: say.guest }).click();
    await page.locator('input[name=name]').fill('Yuki');
  },
  'gate-signin': ({ page }) => page.goto('/signin'),
  'gate-register': async ({ page, say }) => {
    await page.goto('/signin');
    await page.getByRole('button', { name: say.register }).first().click();
  },
  'gate-setup': ({ page }) => page.goto('/setup#picture'),
  list: async ({ page }) => {
    await page.goto('/');
    await page.locator('nav .row').first().waitFor();
  },
  'chat-group': ({ chat }) => chat('秋游'),
  'chat-direct': ({ chat }) => chat('Noor'),
  'chat-room': ({ chat }) => chat('Lobby'),
  'chat-announcements': ({ chat }) => chat('3 点备份'),
  'chat-request': ({ chat }) => chat('Trail half'),
  report: async ({ page, chat }) => {
    await chat('Trail half');
    await page.locator('.stranger button').last().click();
    await page.getByRole('dialog').waitFor();
  },
  'chat-menu': async ({ page, chat }) => {
    await chat('Noor');
    await page.locator('.msg.own .bub').last().click({ button: 'right' });
    await page.getByRole('menu').waitFor();
  },
  'chat-editing': async ({ page, chat }) => {
    await chat('Noor');
    await page.locator('textarea').press('ArrowUp');
  },
  'chat-emoji': async ({ page, chat, say }) => {
    await chat('Noor');
    await page.getByRole('button', { name: say.emoji }).click();
    await page.getByRole('dialog').waitFor();
  },
  'chat-offline': async ({ page, chat, say }) => {
    await chat('Noor');
    await page.context().setOffline(true);
    await page.locator('textarea').fill('Tracking number to follow');
    await page.locator('textarea').press('Enter');
    await page.getByText(say.off).first().waitFor();
  },
  'details-group': async ({ page, chat, say }) => {
    await chat('秋游');
    await page.getByRole('button', { name: say.details }).click();
    await page.getByRole('complementary').waitFor();
  },
  'details-room': async ({ page, chat, say }) => {
    await chat('Lobby');
    await page.getByRole('button', { name: say.details }).click();
    await page.getByRole('complementary').waitFor();
  },
  'details-retention': async ({ page, chat, say }) => {
    await chat('秋游');
    await page.getByRole('button', { name: say.details }).click();
    await page.getByRole('complementary').getByRole('button', { name: say.keep }).click();
    await page.getByRole('menu').waitFor();
  },
  'list-menu': async ({ page }) => {
    await page.goto('/');
    await page.locator('nav .row').nth(4).click({ button: 'right' });
    await page.getByRole('menu').waitFor();
  },
  'chat-info': async ({ page, chat }) => {
    await chat('秋游');
    await page.locator('.msg.own .bub').last().click({ button: 'right' });
    await page
      .getByRole('menuitem')
      .filter({ hasText: /Message info|消息详情/ })
      .click();
    await page.getByRole('dialog').waitFor();
  },
  'person-card': async ({ page, chat }) => {
    await chat('秋游');
    await page.getByRole('log').locator('button').filter({ hasText: 'Tomás' }).first().click();
    await page.getByRole('dialog').waitFor();
  },
  'jump-date': async ({ page, chat }) => {
    await chat('Noor');
    await page.getByRole('log').getByRole('heading').last().getByRole('button').click();
    await page.getByRole('dialog').waitFor();
  },
  switcher: async ({ page }) => {
    await page.goto('/');
    await page.locator('nav .row').first().waitFor();
    await page.keyboard.press('Control+k');
    await page.getByRole('dialog').getByRole('option').first().waitFor();
  },
  shortcuts: async ({ page }) => {
    await page.goto('/');
    await page.locator('nav .row').first().waitFor();
    await page.keyboard.press('Control+/');
    await page.getByRole('dialog').locator('dt').first().waitFor();
  },
  'details-shared': async ({ page, chat, say }) => {
    await chat('秋游');
    await page.getByRole('button', { name: say.details }).click();
    await page.locator('aside a[href$="/shared"]').click();
    await page.locator('aside .grid img').first().waitFor();
  },
  'details-files': async ({ page, chat }) => {
    await chat('Noor');
    await page.goto(`${new URL(page.url()).pathname}/shared?of=files`);
    await page.locator('aside .file').first().waitFor();
  },
  lightbox: async ({ page, chat }) => {
    await chat('秋游');
    await page.locator('.msg button.open').last().click();
    await page.locator('dialog.lightbox .frame img.there').first().waitFor();
  },
  forward: async ({ page, chat }) => {
    await chat('秋游');
    await page.locator('.msg button.open').last().click();
    await page.locator('dialog.lightbox header button').nth(-2).click();
    await page.locator('dialog.lightbox ~ dialog [role=checkbox]').first().click();
  },
  'new-conversation': async ({ page }) => {
    await page.goto('/new');
    await page.getByRole('checkbox').first().click();
    await page.getByRole('checkbox').nth(1).click();
  },
  contacts: async ({ page }) => {
    await page.goto('/contacts');
    await page.locator('.rows a.row').first().waitFor();
  },
  person: async ({ page }) => {
    await page.goto('/contacts');
    await page.locator('.rows a.row').first().click();
    await page.locator('.profile').waitFor();
  },
  'add-friend': ({ page }) => page.goto('/contacts?add'),
  rooms: async ({ page }) => {
    await page.goto('/rooms');
    await page.locator('.rows li').first().waitFor();
  },
  settings: ({ page }) => page.goto('/settings'),
  'settings-profile': ({ page }) => page.goto('/settings/profile'),
  'settings-account': ({ page }) => page.goto('/settings/account'),
  'settings-privacy': ({ page }) => page.goto('/settings/privacy'),
  'settings-notifications': ({ page }) => page.goto('/settings/notifications'),
  'settings-devices': ({ page }) => page.goto('/settings/devices'),
  'settings-appearance': ({ page }) => page.goto('/settings/appearance'),
  'settings-site': ({ page }) => page.goto('/settings/site'),
  'settings-reports': ({ page }) => page.goto('/settings/reports'),
};

const data = path.join(await mkdtemp(path.join(tmpdir(), 'kith-pictures-')), 'demo');
await seedDemo(data);
const server = await startServer(configWith({ port: 0, data, database: 'sqlite', rateLimits: false, logLevel: 'silent' }));
const browser = await launch();
try {
  await mkdir(folder, { recursive: true });
  const chosen = Object.keys(scenes).filter((name) => name.includes(flags.only));
  if (chosen.length === 0) throw new Error(`No picture is called like "${flags.only}". There are: ${Object.keys(scenes).join(', ')}`);
  for (const look of flags.all ? every : each) await take(browser, look, chosen);
} finally {
  await browser.close();
  await server.close();
  await rm(path.dirname(data), { recursive: true, force: true });
}

async function take(from: Browser, look: Look, chosen: string[]): Promise<void> {
  const options = { baseURL: server.url, viewport: sizes[look.size], colorScheme: look.theme, locale: look.locale, deviceScaleFactor: 1 };
  const state = chosen.every((name) => name.startsWith('gate')) ? undefined : await signedIn(from, look);
  for (const name of chosen) {
    const context = await from.newContext({ ...options, ...(!name.startsWith('gate') && { storageState: state }) });
    context.setDefaultTimeout(15_000);
    const page = await context.newPage();
    const chat = async (title: string): Promise<void> => {
      await page.goto('/');
      await page.locator('nav .row').filter({ hasText: title }).first().click();
      await page.getByRole('log').locator('[data-key]').first().waitFor();
    };
    await scenes[name]!({ page, look, say: words[look.locale], chat });
    await settled(page);
    await page.screenshot({ path: path.join(folder, `${name}-${look.size}-${look.theme}-${look.locale.slice(0, 2)}.png`) });
    await context.close();
  }
}

/** The cookie and what the client remembers; the replica itself is fetched anew in each picture. */
async function signedIn(from: Browser, look: Look): Promise<Awaited<ReturnType<Awaited<ReturnType<Browser['newContext']>>['storageState']>>> {
  const context = await from.newContext({ baseURL: server.url, locale: look.locale });
  const page = await context.newPage();
  await page.goto('/signin');
  await page.getByRole('button', { name: words[look.locale].signIn }).first().click();
  await page.locator('input[name=username]').fill('lin');
  await page.locator('input[name=password]').fill(demoPassword);
  await page.locator('form button[type=submit]').click();
  await page.locator('nav .row').first().waitFor();
  const state = await context.storageState();
  await context.close();
  return state;
}

/** What is asked for has come, and what moves has arrived. */
async function settled(page: Page): Promise<void> {
  if (await page.evaluate(() => navigator.onLine)) await page.waitForLoadState('networkidle');
  await page.waitForFunction(() =>
    document.getAnimations().every((animation) => animation.playState !== 'running' || animation.effect?.getComputedTiming().iterations === Infinity),
  );
}
