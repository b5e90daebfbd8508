import { createHash, randomBytes } from 'node:crypto';
import { limits } from '@kith/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import sharp from 'sharp';
import { Site, type Someone, bubble, field, log, patient, say, seriousProblems, texts, until, untilHidden } from './people.ts';

/** Files as people send them: dropped, pasted and picked, seen at once, and there whatever the network does. */
let site: Site;

beforeAll(async () => {
  site = await Site.open({ config: { fileSize: 4, offlineGraceMs: 0 } });
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

interface Given {
  name: string;
  type: string;
  bytes: Buffer;
}

const noise = (name: string, size: number): Given => ({ name, type: 'application/octet-stream', bytes: randomBytes(size) });
const picture = async (name: string, width: number, height: number, background = '#8fb8a6'): Promise<Given> => ({
  name,
  type: 'image/png',
  bytes: await sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer(),
});

/** Hands files to a page as the system does: dragged over it and dropped, or pasted into the field. */
async function give({ page }: Someone, how: 'drag' | 'drop' | 'leave' | 'paste', files: Given[], text?: string): Promise<void> {
  const data = await page.evaluateHandle(
    ([given, words]) => {
      const transfer = new DataTransfer();
      if (words !== undefined) transfer.setData('text/plain', words);
      for (const { name, type, bytes } of given) transfer.items.add(new File([Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0))], name, { type }));
      return transfer;
    },
    [files.map(({ bytes, ...file }) => ({ ...file, bytes: bytes.toString('base64') })), text] as const,
  );
  await page.evaluate(
    ([way, transfer]) => {
      const box = document.querySelector('.composer textarea') as HTMLTextAreaElement;
      if (way === 'paste') {
        box.focus();
        const pasted = transfer.getData('text/plain');
        const event = new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true });
        // What a browser does by itself is not done for an event of a script.
        if (box.dispatchEvent(event) && pasted !== '') document.execCommand('insertText', false, pasted);
        return;
      }
      const over = document.querySelector('[role=log]')!;
      for (const type of way === 'drop' ? ['dragover', 'drop'] : way === 'leave' ? ['dragleave'] : ['dragenter', 'dragover'])
        over.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    },
    [how, data] as const,
  );
}

const tray = ({ page }: Someone) => page.getByRole('region', { name: /files? to send/ });
const inTray = async (one: Someone) =>
  (
    await tray(one)
      .getByRole('listitem')
      .getByRole('button', { name: /\d of \d/ })
      .evaluateAll((all) => all.map((it) => it.getAttribute('aria-label')!))
  ).map((label) => label.split(',')[0]);
const arrived = (one: Someone) => log(one).locator('.msg:not(:has([role=progressbar]))');
const uploading = (one: Someone, name: string) => log(one).getByRole('progressbar', { name: `Uploading ${name}` });
const percent = async (one: Someone, name: string) => Number(await uploading(one, name).getAttribute('aria-valuenow'));

/** The files of the open conversation as the other person can have them: name and hash, in order. */
async function filesOf({ page }: Someone): Promise<string[]> {
  return page.evaluate(async () => {
    const links = [...document.querySelectorAll<HTMLAnchorElement>('[role=log] .msg a[href^="/files/"]')];
    const found: string[] = [];
    for (const { href, download } of links) {
      const bytes = await (await fetch(href)).arrayBuffer();
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
      found.push(`${download} ${[...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`);
    }
    return found;
  });
}
const told = ({ name, bytes }: Given): string => `${name} ${createHash('sha256').update(bytes).digest('hex')}`;

/** Bytes of uploads stop at the server's door once so many have passed, until it is opened. */
async function holdAfter(page: Page, bytes: number): Promise<{ open(): Promise<void> }> {
  let passed = 0;
  await page.context().route('**/files/*', async (route) => {
    const request = route.request();
    if (request.method() !== 'PATCH') return route.continue();
    if (passed >= bytes) return route.abort('connectionfailed');
    passed += Number(request.headers()['content-length'] ?? request.postDataBuffer()?.length ?? 0);
    return route.continue();
  });
  return { open: () => page.context().unroute('**/files/*') };
}

describe('what is chosen', () => {
  test('[SF1] a pasted picture waits above the field, what was written stays, and it arrives with it as a caption', async () => {
    const [ada, noor] = await site.friends();
    await field(ada).fill('from the balcony');
    await give(ada, 'paste', [await picture('balcony.png', 640, 360)]);
    await expect.poll(() => inTray(ada)).toEqual(['balcony.png']);
    expect(await field(ada).inputValue()).toBe('from the balcony');
    expect(await seriousProblems(ada.page)).toEqual([]);
    await field(ada).press('Enter');
    await untilHidden(tray(ada));
    expect(await field(ada).inputValue()).toBe('');
    // From the bytes on this device, in the room that it will take.
    const own = bubble(ada, 'from the balcony');
    const box = await own.locator('.picture').boundingBox();
    expect(box!.width / box!.height).toBeCloseTo(640 / 360, 1);
    await bubble(noor, 'from the balcony').locator('.picture.there').waitFor();
    await own.getByRole('img', { name: /sent|delivered|read/ }).waitFor();
    const stored = await own.locator('.picture').boundingBox();
    expect([stored!.width, Math.round(stored!.height)]).toEqual([box!.width, Math.round(box!.height)]);
    // Words that come with a picture of themselves, as from a table, are words.
    await give(ada, 'paste', [await picture('table.png', 10, 10)], 'and words');
    await expect.poll(() => field(ada).inputValue()).toBe('and words');
    expect(await tray(ada).count()).toBe(0);
  });

  test('[SF2] files that are dragged anywhere over the page go to the conversation that it names', async () => {
    const [ada, noor] = await site.friends();
    await give(ada, 'drag', [noise('a.bin', 10)]);
    const zone = ada.page.getByText(`Drop to send to ${noor.name}`);
    await zone.waitFor();
    await give(ada, 'leave', [noise('a.bin', 10)]);
    await untilHidden(zone);
    await give(ada, 'drag', [noise('a.bin', 10)]);
    await give(ada, 'drop', [noise('a.bin', 10)]);
    await untilHidden(zone);
    await expect.poll(() => inTray(ada)).toEqual(['a.bin']);
    // Ten at once, and each no larger than the server takes.
    await give(ada, 'drop', [noise('huge.bin', 4 * 1_048_576 + 1)]);
    await ada.page.getByRole('alert').getByText('huge.bin has 4.2 MB; this server takes 4.2 MB.').waitFor();
    await give(
      ada,
      'drop',
      Array.from({ length: limits.attachments + 2 }, (_, n) => noise(`${n}.bin`, 10)),
    );
    await ada.page.getByRole('alert').getByText('10 files at once, no more.').waitFor();
    expect(await inTray(ada)).toHaveLength(limits.attachments);
  });

  test('[SF3] the tray is put in order with pointer and keys, each file can be taken out, and it waits while one looks elsewhere', async () => {
    const [ada, noor] = await site.friends();
    await give(ada, 'drop', [noise('1.bin', 10), noise('2.bin', 10), await picture('3.png', 30, 30)]);
    await expect.poll(() => inTray(ada)).toEqual(['1.bin', '2.bin', '3.png']);
    const thumb = (name: string) => tray(ada).getByRole('button', { name: new RegExp(`^${name}, `) });
    await thumb('1.bin').focus();
    await ada.page.keyboard.press('ArrowRight');
    await expect.poll(() => inTray(ada)).toEqual(['2.bin', '1.bin', '3.png']);
    await tray(ada).getByText('1.bin is now 2 of 3').waitFor({ state: 'attached' });
    await ada.page.keyboard.press('End');
    await expect.poll(() => inTray(ada)).toEqual(['2.bin', '3.png', '1.bin']);
    await thumb('3.png').hover();
    await ada.page.mouse.down();
    const first = await thumb('2.bin').boundingBox();
    await ada.page.mouse.move(first!.x + 20, first!.y + 20, { steps: 4 });
    await ada.page.mouse.up();
    await expect.poll(() => inTray(ada)).toEqual(['3.png', '2.bin', '1.bin']);
    await thumb('2.bin').focus();
    await ada.page.keyboard.press('Delete');
    await expect.poll(() => inTray(ada)).toEqual(['3.png', '1.bin']);
    await ada.page.getByRole('link', { name: /Contacts/ }).click();
    await untilHidden(tray(ada));
    await ada.page.getByRole('link', { name: noor.name }).click();
    await ada.page.locator('.profile').getByRole('button', { name: 'Message' }).click();
    await expect.poll(() => inTray(ada)).toEqual(['3.png', '1.bin']);
    await tray(ada).getByRole('button', { name: 'Take out 3.png' }).click();
    await tray(ada).getByRole('button', { name: 'Take out 1.bin' }).click();
    await untilHidden(tray(ada));
    await until(ada.page, () => document.activeElement === document.querySelector('.composer textarea'));
  });

  test('[SF4] files that were picked go out in their order, the caption on the first, and the other gets each once', async () => {
    const [ada, noor] = await site.friends();
    const files = [noise('one.bin', 300_000), noise('two.bin', 10), noise('three.bin', 120_000)];
    const chooser = ada.page.waitForEvent('filechooser');
    await ada.page.getByRole('button', { name: 'Add files' }).click();
    await (await chooser).setFiles(files.map(({ name, type, bytes }) => ({ name, mimeType: type, buffer: bytes })));
    await expect.poll(() => inTray(ada)).toEqual(['one.bin', 'two.bin', 'three.bin']);
    await field(ada).fill('all three');
    await ada.page.getByRole('button', { name: 'Send', exact: true }).click();
    await expect.poll(() => arrived(noor).count(), patient).toBe(3);
    await expect.poll(() => filesOf(noor), patient).toEqual(files.map(told));
    expect(await bubble(noor, 'all three').getByText('one.bin').count()).toBe(1);
  });

  test('[SF11] a video shows a picture of itself as soon as it is chosen, and the other sees it and can play it', async () => {
    const [ada, noor] = await site.friends();
    const recorded = await ada.page.evaluate(async () => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [320, 180];
      const pen = canvas.getContext('2d')!;
      const recorder = new MediaRecorder(canvas.captureStream(20), { mimeType: 'video/webm' });
      const parts: Blob[] = [];
      recorder.ondataavailable = ({ data }) => parts.push(data);
      const over = new Promise((resolve) => (recorder.onstop = resolve));
      recorder.start();
      for (let frame = 0; frame < 20; frame++) {
        pen.fillStyle = frame % 2 ? '#1d7053' : '#8fb8a6';
        pen.fillRect(0, 0, 320, 180);
        await new Promise((resolve) => requestAnimationFrame(resolve));
      }
      recorder.stop();
      await over;
      const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
    });
    await give(ada, 'drop', [{ name: 'clip.webm', type: 'video/webm', bytes: Buffer.from(recorded, 'base64') }]);
    await tray(ada).getByRole('button', { name: 'clip.webm, 1 of 1' }).locator('img').waitFor();
    await field(ada).fill('watch');
    await field(ada).press('Enter');
    await bubble(noor, 'watch').locator('.video img').first().waitFor();
    const box = await bubble(noor, 'watch').locator('.video').boundingBox();
    expect(box!.width / box!.height).toBeCloseTo(320 / 180, 1);
    await bubble(noor, 'watch').getByRole('button', { name: 'Play clip.webm' }).click();
    await expect
      .poll(
        () =>
          bubble(noor, 'watch')
            .locator('video')
            .evaluate((video: HTMLVideoElement) => video.readyState),
        patient,
      )
      .toBeGreaterThan(1);
  });

  test('[SF9] a long text that is pasted is offered as a file', async () => {
    const [ada, noor] = await site.friends();
    const long = Array.from({ length: 300 }, (_, n) => `line ${n} of a log`).join('\n');
    await field(ada).fill('see ');
    await give(ada, 'paste', [], long);
    await ada.page.getByText('That is a long text.').waitFor();
    await ada.page.getByRole('button', { name: 'Send as a file' }).click();
    await expect.poll(() => inTray(ada)).toEqual(['text.txt']);
    expect(await field(ada).inputValue()).toBe('see ');
    await field(ada).press('Enter');
    await bubble(noor, 'see').getByText('text.txt').waitFor();
    await expect.poll(() => filesOf(noor)).toEqual([told({ name: 'text.txt', type: 'text/plain', bytes: Buffer.from(long) })]);
  });
});

describe('on its way', () => {
  test('[SF5] with the network lost at half and the page loaded anew it goes on where it was, and text passes it', async () => {
    const [ada, noor] = await site.friends();
    const file = noise('film.bin', 3_000_000);
    const door = await holdAfter(ada.page, 1_200_000);
    await give(ada, 'drop', [file]);
    await tray(ada).waitFor();
    await field(ada).press('Enter');
    await expect.poll(() => percent(ada, 'film.bin'), patient).toBeGreaterThan(40);
    await say(ada, 'it takes a while');
    await bubble(noor, 'it takes a while').waitFor();
    const half = await percent(ada, 'film.bin');
    expect(half).toBeLessThan(100);
    await ada.page.context().setOffline(true);
    await ada.page.context().setOffline(false);
    await ada.page.reload();
    await uploading(ada, 'film.bin').waitFor();
    expect(await percent(ada, 'film.bin')).toBeGreaterThanOrEqual(half);
    await door.open();
    await expect.poll(() => filesOf(noor), { timeout: 60_000 }).toEqual([told(file)]);
    await untilHidden(uploading(ada, 'film.bin'));
    await expect.poll(() => log(ada).locator('.msg').count()).toBe(2);
    expect(await filesOf(ada)).toEqual([told(file)]);
  });

  test('[SF6] in its bubble it is paused, goes on, and is taken back, and the caption is in the field again', async () => {
    const [ada, noor] = await site.friends();
    const door = await holdAfter(ada.page, 500_000);
    await give(ada, 'drop', [noise('kept.bin', 2_000_000)]);
    await tray(ada).waitFor();
    await field(ada).press('Enter');
    await expect.poll(() => percent(ada, 'kept.bin'), patient).toBeGreaterThan(10);
    await log(ada).getByRole('button', { name: 'Pause kept.bin' }).click();
    await log(ada).getByRole('button', { name: 'Go on with kept.bin' }).waitFor();
    expect(await uploading(ada, 'kept.bin').getAttribute('aria-valuetext')).toMatch(/^Paused at \d+ %$/);
    await door.open();
    await say(ada, 'later');
    await bubble(noor, 'later').waitFor();
    expect(await seriousProblems(ada.page)).toEqual([]);
    await log(ada).getByRole('button', { name: 'Go on with kept.bin' }).click();
    await log(noor).getByText('kept.bin').waitFor();

    const again = await holdAfter(ada.page, 500_000);
    await give(ada, 'drop', [noise('mistake.bin', 2_000_000)]);
    await tray(ada).waitFor();
    await field(ada).fill('not this one');
    await field(ada).press('Enter');
    await uploading(ada, 'mistake.bin').waitFor();
    await log(ada).getByRole('button', { name: 'Do not send mistake.bin' }).click();
    await untilHidden(uploading(ada, 'mistake.bin'));
    await expect.poll(() => field(ada).inputValue()).toBe('not this one');
    await again.open();
    await say(ada, 'sorry');
    await bubble(noor, 'sorry').waitFor();
    expect(await texts(noor, 2)).toEqual(['later', 'sorry']);
    expect(await log(noor).getByText('mistake.bin').count()).toBe(0);
  });

  test('[SF7] the other tab shows how far it is, pauses it, and finishes it when the first is closed', async () => {
    const [ada, noor] = await site.friends();
    const page = await ada.page.context().newPage();
    await page.goto(ada.page.url());
    const second: Someone = { ...ada, page };
    await field(second).waitFor();
    const door = await holdAfter(ada.page, 500_000);
    const file = noise('shared.bin', 2_000_000);
    await give(ada, 'drop', [file]);
    await tray(ada).waitFor();
    await field(ada).press('Enter');
    await expect.poll(() => percent(second, 'shared.bin'), patient).toBeGreaterThan(10);
    await log(second).getByRole('button', { name: 'Pause shared.bin' }).click();
    await log(ada).getByRole('button', { name: 'Go on with shared.bin' }).waitFor();
    await log(second).getByRole('button', { name: 'Go on with shared.bin' }).click();
    await log(ada).getByRole('button', { name: 'Pause shared.bin' }).waitFor();
    await ada.page.close();
    await door.open();
    await expect.poll(() => filesOf(noor), { timeout: 60_000 }).toEqual([told(file)]);
    await untilHidden(uploading(second, 'shared.bin'));
  });

  test('[SF8] one that the server refuses says why and stays, and goes out when it is tried again', async () => {
    const [ada, noor] = await site.friends();
    const full = JSON.stringify({ error: { code: 'storage_full', message: 'Full.', retryable: true } });
    await ada.page
      .context()
      .route('**/files/*', (route) => (route.request().method() === 'PATCH' ? route.fulfill({ status: 507, contentType: 'application/json', body: full }) : route.continue()));
    const file = noise('much.bin', 1_000);
    await give(ada, 'drop', [file]);
    await tray(ada).waitFor();
    await field(ada).press('Enter');
    await log(ada).getByText('Not sent: the server has no room left.').waitFor();
    await ada.page.context().unroute('**/files/*');
    await log(ada).getByRole('button', { name: 'Retry' }).click();
    await expect.poll(() => filesOf(noor), patient).toEqual([told(file)]);
    await untilHidden(log(ada).getByText('Not sent: the server has no room left.'));
  });
});

test('[SF10] no page that sent files threw, broke the policy or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
