import type { CDPSession, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fromBase32, totp } from '../packages/server/src/core/totp.ts';
import { type Rows, openRows } from '../packages/server/test/rules/rows.ts';
import { Site, type Someone, password, patient, until, untilHidden, wcagProblems } from './people.ts';

/** Passkeys are for names, so this site is called by one. */
let site: Site;
let rows: Rows;
beforeAll(async () => {
  site = await Site.open();
  Object.defineProperty(site.server, 'url', { get: () => `http://localhost:${site.server.port}` });
  rows = await openRows(site.server.config);
}, 60_000);
afterAll(async () => {
  await rows.close();
  await site.close();
});
afterEach(() => site.closePages());

/** The same server by an address that is not this machine's, without TLS: see `chromium.ts`. */
const elsewhere = () => `http://192.0.2.7:${site.server.port}`;
const toast = ({ page }: Someone, text: string) => page.getByRole('status').filter({ hasText: text });
const stepNow = (): number => Math.floor(Date.now() / 30_000);

/** A device with a finger that is always there. */
async function withAuthenticator(page: Page): Promise<{ cdp: CDPSession; authenticatorId: string }> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return { cdp, authenticatorId };
}

async function signOut({ page }: Someone): Promise<void> {
  await page.goto('/settings');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('User name').waitFor();
}

async function fillIn(page: Page, { handle }: Someone): Promise<void> {
  await page.getByRole('button', { name: 'Sign in' }).first().click();
  await page.getByLabel('User name').fill(handle);
  await page.getByLabel('Password').fill(password);
  await page.locator('form').getByRole('button', { name: 'Sign in', exact: true }).click();
}

const isIn = (page: Page): Promise<void> => page.getByRole('navigation', { name: 'Main' }).waitFor();

/** What axe finds where nothing moves any more: a dialog that is still coming has paler colours. */
async function problems(page: Page): Promise<string[]> {
  await until(page, () => document.getAnimations().every((animation) => animation.playState !== 'running' || animation.effect?.getComputedTiming().iterations === Infinity));
  return wcagProblems(page);
}

/** As if the last sign-in was long ago. */
const longAgo = () => rows.run('update sessions set confirmed_at = 0');

/** Sets up an app by hand, on the page of settings. @returns its secret, and the recovery codes that were shown */
async function setUpApp({ page }: Someone): Promise<{ secret: Buffer; codes: string[] }> {
  await page.goto('/settings/security');
  await page.getByRole('button', { name: 'Set up a code app' }).click();
  const dialog = page.getByRole('dialog', { name: 'Set up a code app' });
  await dialog.getByRole('img', { name: 'The key of the app, for cameras' }).waitFor();
  const secret = fromBase32((await dialog.locator('code').textContent())!.replaceAll(' ', ''));
  await dialog.getByLabel('Code from the app').fill('000000');
  await dialog.getByRole('button', { name: 'Turn on' }).click();
  await dialog.getByRole('alert').getByText('That is not the code of now.').waitFor();
  await dialog.getByLabel('Code from the app').fill(totp(secret, stepNow()));
  await dialog.getByRole('button', { name: 'Turn on' }).click();
  const shown = page.getByRole('dialog', { name: 'Recovery codes' });
  await shown.locator('code').nth(9).waitFor();
  const codes = await shown.locator('code').allTextContents();
  await shown.getByRole('button', { name: 'Copy' }).click();
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText()), patient).toBe(codes.join('\n'));
  await shown.getByRole('button', { name: 'I have kept them' }).click();
  await page.getByText('10 codes left').waitFor();
  return { secret, codes };
}

describe('signing in with more than a password', () => {
  test('[SC1] an app is set up by its first code, recovery codes are shown once, and both sign in after the password', async () => {
    const ada = await site.register('Ada');
    const { secret, codes } = await setUpApp(ada);
    const page = await site.openBrowser();
    await page.goto('/signin');
    await fillIn(page, ada);
    await page.getByLabel('Code').fill('000000');
    await page.locator('form').getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('alert').getByText('That is not right').waitFor();
    await page.getByLabel('Code').fill(totp(secret, stepNow() + 1));
    await page.locator('form').getByRole('button', { name: 'Sign in', exact: true }).click();
    await isIn(page);

    const other = await site.openBrowser();
    await other.goto('/signin');
    await fillIn(other, ada);
    await other.getByLabel('Code').fill(codes[3]!.toUpperCase());
    await other.keyboard.press('Enter');
    await isIn(other);
    await ada.page.getByText('9 codes left').waitFor();

    await ada.page.getByRole('button', { name: 'New codes' }).click();
    await ada.page.getByRole('dialog').getByRole('button', { name: 'Make new codes' }).click();
    await ada.page.getByRole('dialog', { name: 'Recovery codes' }).getByRole('button', { name: 'I have kept them' }).click();
    await ada.page.getByText('10 codes left').waitFor();
    await ada.page.getByRole('button', { name: 'Remove' }).click();
    await ada.page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await ada.page.getByRole('button', { name: 'Set up a code app' }).waitFor();
    expect(await ada.page.getByText('Recovery codes').count()).toBe(0);
  });

  test('[SC2] a passkey is added, named, signs in alone and beside the password, and is removed', async () => {
    const ada = await site.register('Ada');
    const { page } = ada;
    const { cdp, authenticatorId } = await withAuthenticator(page);
    await page.goto('/settings/security');
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByRole('dialog', { name: 'Recovery codes' }).getByRole('button', { name: 'I have kept them' }).click();
    const passkeys = page.getByRole('list', { name: 'Passkeys' }).getByRole('listitem');
    await passkeys.getByRole('button', { name: /^Rename/ }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('The blue laptop');
    await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await passkeys.filter({ hasText: 'The blue laptop' }).waitFor();
    // The device has one already, and says so.
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await toast(ada, 'This device has a passkey for you already.').waitFor();
    expect((await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials).toHaveLength(1);

    await signOut(ada);
    await page.getByRole('button', { name: 'Sign in' }).first().click();
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await isIn(page);
    await signOut(ada);
    await fillIn(page, ada);
    await page.getByRole('button', { name: 'Use a passkey' }).click();
    await isIn(page);

    await longAgo();
    await page.goto('/settings/security');
    await page.getByRole('button', { name: 'Remove The blue laptop' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await page.getByRole('dialog', { name: 'Is it you?' }).getByRole('button', { name: 'Use a passkey' }).click();
    await expect.poll(() => passkeys.count(), patient).toBe(0);
    await signOut(ada);
    await page.getByRole('button', { name: 'Sign in' }).first().click();
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await page.getByRole('alert').waitFor();
    await fillIn(page, ada);
    await isIn(page);
  });

  test('[SC3] what is sensitive asks once who is there, and goes on; whoever does not say leaves it undone', async () => {
    const ada = await site.register('Ada');
    const { page } = ada;
    await page.goto('/settings/security');
    await longAgo();
    const dialog = page.getByRole('dialog', { name: 'Is it you?' });
    await page.getByRole('button', { name: 'Set up a code app' }).click();
    await dialog.getByLabel('Password').fill('not my password');
    await dialog.getByRole('button', { name: 'Go on' }).click();
    await dialog.getByRole('alert').getByText('That is not right.').waitFor();
    await page.keyboard.press('Escape');
    await untilHidden(dialog);
    await toast(ada, 'Show once more that it is you.').waitFor();
    expect(await page.getByRole('dialog').count()).toBe(0);

    await page.getByRole('button', { name: 'Set up a code app' }).click();
    await dialog.getByLabel('Password').fill(password);
    expect(await problems(page)).toEqual([]);
    await dialog.getByRole('button', { name: 'Go on' }).click();
    await page.getByRole('dialog', { name: 'Set up a code app' }).waitFor();
    expect(await problems(page)).toEqual([]);
    await page.keyboard.press('Escape');
    const { codes } = await setUpApp(ada);

    // With an app the password alone is not enough here either.
    await longAgo();
    await page.getByRole('button', { name: 'New codes' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Make new codes' }).click();
    await dialog.getByLabel('Password').fill(password);
    await dialog.getByLabel('Code').fill(codes[0]!);
    await dialog.getByRole('button', { name: 'Go on' }).click();
    await page.getByRole('dialog', { name: 'Recovery codes' }).waitFor();
  });

  test('[SC4] a device is told of another that signed in, and of what it changed, until somebody says who it was', async () => {
    const ada = await site.signUp('Ada');
    const other = await site.signIn(ada);
    const notice = ada.page.getByRole('status').filter({ hasText: 'New sign-in' });
    await notice.getByRole('button', { name: 'That was me' }).click();
    await untilHidden(notice);
    await setUpApp(other);
    await ada.page.getByText('A code app was set up').waitFor();
    expect(await problems(ada.page)).toEqual([]);
    await ada.page.reload();
    await ada.page.getByText('A code app was set up').waitFor();
    await ada.page.getByRole('link', { name: 'Look' }).click();
    await ada.page.getByRole('heading', { name: 'Security' }).waitFor();
    await ada.page.goto('/');
    await isIn(ada.page);
    expect(await ada.page.getByText('A code app was set up').count()).toBe(0);
  });

  test('[AU51] after a change in how one signs in the browser has another cookie, and nothing of it is seen', async () => {
    const ada = await site.register('Ada');
    const { page } = ada;
    const cookie = async () => (await page.context().cookies()).find(({ name }) => name === 'kith')!;
    const before = await cookie();
    await setUpApp(ada);
    let sockets = 0;
    page.on('websocket', () => (sockets += 1));
    await expect.poll(async () => (await cookie()).value, patient).not.toBe(before.value);
    expect(await cookie()).toMatchObject({ httpOnly: true, sameSite: 'Lax' });
    await page.getByText('10 codes left').waitFor();
    expect(sockets).toBe(0);
    // A minute later it comes back, and another minute after that the one before is good for nothing.
    await rows.run('update session_tokens set made_at = made_at - 60000');
    await page.reload();
    await isIn(page);
    // The page may be there before its coming back has been noted.
    await expect
      .poll(async () => {
        await rows.run(`update session_tokens set until = 0 where state = 'before'`);
        return (await site.server.post('session.list', {}, { token: before.value })).status;
      }, patient)
      .toBe(401);
    await page.reload();
    await isIn(page);
  });

  test('[SC5] where a browser has no passkeys the page says why, and nothing is serious there', async () => {
    const ada = await site.register('Ada');
    const other = await site.openBrowser({ baseURL: `http://127.0.0.1:${site.server.port}` });
    await other.goto('/signin');
    await fillIn(other, ada);
    await isIn(other);
    await other.goto('/settings/security');
    await other.getByText('Browsers have no passkeys for an address of numbers.').waitFor();
    expect(await other.getByRole('button', { name: 'Add a passkey' }).count()).toBe(0);
    await setUpApp(ada);
    for (const colorScheme of ['light', 'dark'] as const) {
      await ada.page.emulateMedia({ colorScheme });
      await ada.page.locator(`html[data-theme=${colorScheme}]`).waitFor();
      expect(await problems(ada.page)).toEqual([]);
    }
  });

  test('[SC7] a page that came without TLS from another machine says so, and what does not work there, and on this machine nothing', async () => {
    const ada = await site.server.register('ada-elsewhere', { password });
    const other = await site.openBrowser({ baseURL: elsewhere() });
    const banner = other.getByRole('complementary', { name: 'Not encrypted' });
    await other.goto('/signin');
    await banner.getByText('anybody on the way can read').waitFor();
    await site.signInAt(other, { handle: ada.handle!, name: 'Ada' });
    await banner.getByRole('button', { name: 'What does not work here' }).click();
    await banner.getByText('Passkeys').waitFor();
    for (const [width, colorScheme] of [
      [1440, 'light'],
      [390, 'dark'],
    ] as const) {
      await other.setViewportSize({ width, height: 800 });
      await other.emulateMedia({ colorScheme });
      await other.locator(`html[data-theme=${colorScheme}]`).waitFor();
      expect(await problems(other)).toEqual([]);
      // The page has the rest of the height, and not more.
      expect(await other.evaluate(() => document.documentElement.scrollHeight - innerHeight)).toBe(0);
      expect((await banner.boundingBox())!.height + (await other.locator('.app').boundingBox())!.height).toBeCloseTo(800, 0);
    }
    await banner.getByRole('button', { name: 'Hide' }).click();
    await untilHidden(banner.getByText('Passkeys'));
    // There is no clipboard as elsewhere, and copying works all the same.
    await other.getByRole('button', { name: 'Copy link' }).click();
    await other.getByRole('button', { name: 'Copied' }).waitFor();
    const here = await site.openBrowser();
    await here.goto('/signin');
    await here.getByLabel('User name').or(here.getByRole('heading')).first().waitFor();
    expect(await here.getByText('Not encrypted').count()).toBe(0);
  });

  test('[SC8] signing in leads to a page of ours, whatever the link says', async () => {
    const ada = await site.register('Ada');
    const { page } = ada;
    const arrived = (): string => page.url().replace(site.server.url, '');
    // Who is signed in is led on at once.
    for (const [next, at] of [
      ['//evil.test/', '/'],
      [String.raw`/\evil.test`, '/'],
      ['settings/devices', '/'],
      ['/settings/devices?a=b#c', '/settings/devices?a=b#c'],
    ] as const) {
      await page.goto(`/signin?next=${encodeURIComponent(next)}`);
      await isIn(page);
      expect([next, arrived()]).toEqual([next, at]);
    }
    await signOut(ada);
    await page.goto(`/signin?next=${encodeURIComponent('//evil.test/')}`);
    await fillIn(page, ada);
    await isIn(page);
    expect(arrived()).toBe('/');
  });

  test('[SC6] while all this was done no page threw, broke the policy or asked another origin', () => {
    const own = [`request: http://127.0.0.1:${site.server.port}/`, `request: ${elsewhere()}/`];
    expect(site.complaints.filter((line) => !own.some((start) => line.startsWith(start)))).toEqual([]);
  });
});
