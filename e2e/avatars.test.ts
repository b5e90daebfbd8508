import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Person } from '../packages/server/test/harness.ts';
import { photo, telling } from '../packages/server/test/pictures.ts';
import { Site, type Someone, password, patient, seriousProblems, untilHidden } from './people.ts';

let site: Site;
let names = 0;

beforeAll(async () => {
  site = await Site.open();
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

const account = (name: string): Promise<Person> => site.server.register(`av${++names}`, { password, name });
const open = async (person: Person, options?: Parameters<Site['enter']>[1]): Promise<Someone> => site.enter(await site.server.login(person), options);

/** Uploaded pictures that are really there to be seen. */
const shown = (page: Page, within = 'body') =>
  page.locator(within).evaluate((part) => [...part.querySelectorAll<HTMLImageElement>('img[src*="/avatars/"]')].filter((image) => image.complete && image.naturalWidth > 0).length);
async function untilShown(page: Page, within: string, count: number): Promise<void> {
  await expect.poll(() => shown(page, within), patient).toBe(count);
}
const crop = (page: Page, name = 'Move and zoom') => page.getByRole('dialog', { name });
/** What the middle of the crop shows: red, green, blue. */
const middle = (page: Page) => page.locator('dialog canvas').evaluate((canvas: HTMLCanvasElement) => [...canvas.getContext('2d')!.getImageData(256, 256, 1, 1).data].slice(0, 3));

test('[AV2] one chooses a picture, moves and zooms it by hand or by keys, and everybody sees it; taken away, the drawn one is back', async () => {
  const [ada, noor] = [await account('Ada'), await account('Noor')];
  await site.server.befriend(ada, noor);
  const [one, other] = [await open(ada, { path: '/settings/profile' }), await open(noor, { path: '/contacts' })];
  const bytes = await telling('jpeg', { width: 1_200, height: 800, orientation: 6 });
  await one.page.locator('input[type=file]').setInputFiles({ name: 'me.jpg', mimeType: 'image/jpeg', buffer: bytes });
  const canvas = crop(one.page).getByRole('img');
  await canvas.waitFor();
  expect(await seriousProblems(one.page)).toEqual([]);
  await expect.poll(() => middle(one.page), patient).not.toEqual([0, 0, 0]);
  const slider = crop(one.page).getByRole('slider', { name: 'Zoom' });
  expect(await slider.inputValue()).toBe('0');
  await canvas.focus();
  await one.page.keyboard.press('+');
  await expect.poll(async () => Number(await slider.inputValue()), patient).toBeGreaterThan(0);
  const snapshot = () => canvas.evaluate((paper: HTMLCanvasElement) => paper.toDataURL());
  const before = await snapshot();
  await one.page.keyboard.press('ArrowDown');
  await expect.poll(snapshot, patient).not.toBe(before);
  const moved = await snapshot();
  const box = (await canvas.boundingBox())!;
  await one.page.mouse.move(box.x + 100, box.y + 100);
  await one.page.mouse.down();
  await one.page.mouse.move(box.x + 100, box.y + 140);
  await one.page.mouse.up();
  await expect.poll(snapshot, patient).not.toBe(moved);
  await crop(one.page).getByRole('button', { name: 'Use this picture' }).click();
  await untilHidden(crop(one.page));
  // To oneself at once, to others once it is saved.
  await untilShown(one.page, '.face', 1);
  await one.page.getByRole('button', { name: 'Save', exact: true }).click();
  await one.page.getByRole('button', { name: 'Saved' }).waitFor();
  await untilShown(other.page, '.app', 1);
  const { user } = await site.server.call('user.get', { userId: ada.id }, noor.token);
  expect(user.avatar).toMatch(/^file:/);
  await one.page.getByRole('button', { name: 'Remove picture' }).click();
  await one.page.getByRole('button', { name: 'Save', exact: true }).click();
  await one.page.getByRole('button', { name: 'Saved' }).waitFor();
  await untilShown(other.page, '.app', 0);
  await other.page.getByRole('link', { name: 'Ada' }).locator('svg').first().waitFor();
});

test('[AV3] who governs a group drops a picture for it, and its members see it in every place', async () => {
  const [ada, noor] = [await account('Ada'), await account('Noor')];
  const { conversation } = await site.server.call('conversation.create', { title: 'Choir', memberIds: [noor.id] }, ada.token);
  const [one, other] = [await open(ada, { path: `/c/${conversation.id}` }), await open(noor, { path: `/c/${conversation.id}` })];
  await one.page.getByRole('button', { name: 'Details' }).click();
  await one.page.getByRole('button', { name: 'Change picture' }).click();
  const bytes = (await photo(800, 600).png().toBuffer()).toString('base64');
  const dropped = await one.page.evaluateHandle(async (base64) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], 'choir.png', { type: 'image/png' }));
    return data;
  }, bytes);
  await one.page.locator('dialog .upload').dispatchEvent('drop', { dataTransfer: dropped });
  await crop(one.page).getByRole('button', { name: 'Use this picture' }).click();
  await untilHidden(crop(one.page));
  await one.page.getByRole('dialog').getByRole('button', { name: 'Save', exact: true }).click();
  await untilHidden(one.page.getByRole('dialog'));
  // In the list and above the conversation.
  await untilShown(other.page, '.app', 2);
  // A member who governs nothing has no way to change it.
  await other.page.getByRole('button', { name: 'Details' }).click();
  await other.page.getByRole('complementary', { name: 'Details' }).getByRole('heading', { name: 'Choir' }).waitFor();
  expect(await other.page.getByRole('button', { name: 'Change picture' }).count()).toBe(0);
});

test('[AV4] a picture that cannot be read or sent says so, in the language of the page', async () => {
  const ada = await account('Ada');
  const { page } = await open(ada, { path: '/settings/profile', locale: 'zh-CN' });
  const pick = (buffer: Buffer) => page.locator('input[type=file]').setInputFiles({ name: 'me.heic', mimeType: 'image/heic', buffer });
  await pick(Buffer.from('no picture at all'));
  await crop(page, '移动与缩放').getByRole('alert').getByText('无法读取这张图片').waitFor();
  await page.keyboard.press('Escape');
  await untilHidden(crop(page, '移动与缩放'));
  await page.route('**/files/**', (route) =>
    route.fulfill({ status: 507, contentType: 'application/json', body: JSON.stringify({ error: { code: 'storage_full', message: 'full', retryable: true } }) }),
  );
  await pick(await photo(300, 300).png().toBuffer());
  await crop(page, '移动与缩放').getByRole('button', { name: '使用这张图片' }).click();
  await crop(page, '移动与缩放').getByRole('alert').waitFor();
  // Nothing was taken; it can be tried again.
  expect(await crop(page, '移动与缩放').getByRole('button', { name: '使用这张图片' }).isEnabled()).toBe(true);
});

test('[AV5] where a picture does not come, the drawn one stands', async () => {
  const [ada, noor] = [await account('Ada'), await account('Noor')];
  await site.server.befriend(ada, noor);
  const file = await site.server.upload(ada, await photo(300, 300).png().toBuffer(), { avatar: true });
  await site.server.call('user.update', { avatar: `file:${file.id}` }, ada.token);
  const page = await site.openBrowser({ storageState: site.stateOf(await site.server.login(noor)) });
  let refused = 0;
  await page.route('**/avatars/**', (route) => {
    refused++;
    return route.abort();
  });
  await page.goto('/contacts');
  const row = page.getByRole('link', { name: 'Ada' });
  await expect.poll(() => refused, patient).toBeGreaterThan(0);
  await untilHidden(row.locator('img'));
  expect(await row.locator('svg').first().isVisible()).toBe(true);
});
