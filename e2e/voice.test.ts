import { type Message, limits } from '@kith/protocol';
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clientId } from '../packages/server/test/rules/place.ts';
import { Site, type Someone, log, openDirect, password, seriousProblems, until, untilHidden } from './people.ts';

let site: Site;
beforeAll(async () => {
  site = await Site.open();
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

/** A tone of so many seconds, as a WAV of 8 kHz. */
function tone(seconds: number): Buffer {
  const samples = Math.round(seconds * 8_000);
  const bytes = Buffer.alloc(44 + samples * 2);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(36 + samples * 2, 4);
  bytes.write('WAVEfmt ', 8, 'latin1');
  for (const [at, value] of [
    [16, 16],
    [24, 8_000],
    [28, 16_000],
    [40, samples * 2],
  ] as const)
    bytes.writeUInt32LE(value, at);
  for (const [at, value] of [
    [20, 1],
    [22, 1],
    [32, 2],
    [34, 16],
  ] as const)
    bytes.writeUInt16LE(value, at);
  bytes.write('data', 36, 'latin1');
  for (let n = 0; n < samples; n += 1) bytes.writeInt16LE(Math.round(Math.sin(n / 4) * 8_000), 44 + n * 2);
  return bytes;
}

/** Somebody says something, by a program of theirs. @returns the ids of the messages */
async function speak({ handle }: Someone, page: Page, ...seconds: number[]): Promise<string[]> {
  const { server } = site;
  const { token } = await server.login({ handle, password } as never);
  const conversationId = new URL(page.url()).pathname.split('/').at(-1)!;
  const ids: string[] = [];
  for (const length of seconds) {
    const waveform = Array.from({ length: 64 }, (_, n) => Math.round(15 + 14 * Math.sin(n / 3)));
    const file = await server.upload({ token }, tone(length), { name: 'voice.wav', durationMs: length * 1_000, waveform });
    ids.push((await server.call('message.send', { conversationId, clientId: clientId(), type: 'voice', text: '', fileId: file.id }, token)).message.id);
  }
  return ids;
}

const spoken = (one: Someone): Locator => log(one).getByRole('group', { name: /^Voice message/ });
const unheard = (one: Someone): Locator => log(one).getByRole('group', { name: /not heard yet$/ });
const playing = (one: Someone): Locator => log(one).getByRole('button', { name: 'Pause' });
const slider = (one: Someone, at: number): Locator => spoken(one).nth(at).getByRole('slider', { name: 'Position' });

describe('voice messages that are played', () => {
  test('[VO20] one is played at a time, the next unheard after it by itself, and the marks go on all devices', async () => {
    const [ada, noor] = await site.friends();
    const phone = await site.signIn(noor, { viewport: { width: 390, height: 844 } });
    await openDirect(phone, ada);
    await speak(ada, ada.page, 1, 1.2, 0.8);
    for (const device of [noor, phone]) await unheard(device).nth(2).waitFor();
    // One's own has no mark.
    await spoken(ada).nth(2).waitFor();
    expect(await unheard(ada).count()).toBe(0);
    await spoken(noor).nth(0).getByRole('button', { name: 'Play' }).click();
    await spoken(noor).nth(1).getByRole('button', { name: 'Pause' }).waitFor();
    expect(await playing(noor).count()).toBe(1);
    await untilHidden(unheard(noor).first());
    await untilHidden(unheard(phone).first());
    await untilHidden(playing(noor));
    expect(await spoken(noor).count()).toBe(3);
    // What is heard is heard for ever, and what was heard is played alone.
    await noor.page.reload();
    await spoken(noor).nth(2).waitFor();
    expect(await unheard(noor).count()).toBe(0);
    await spoken(noor).nth(1).getByRole('button', { name: 'Play' }).click();
    await spoken(noor).nth(1).getByRole('button', { name: 'Pause' }).waitFor();
    await untilHidden(playing(noor));
    expect(await seriousProblems(noor.page)).toEqual([]);
  });

  test('[VO21] arrows and clicks go elsewhere in it, and the speed is remembered', async () => {
    const [ada, noor] = await site.friends();
    await speak(ada, ada.page, 20, 20);
    await slider(noor, 1).waitFor();
    expect(await slider(noor, 0).getAttribute('aria-valuetext')).toBe('0:00 of 0:20');
    await slider(noor, 0).focus();
    await noor.page.keyboard.press('End');
    await noor.page.keyboard.press('ArrowLeft');
    expect(await slider(noor, 0).getAttribute('aria-valuenow')).toBe('19');
    await noor.page.keyboard.press('Home');
    await slider(noor, 0).click({ position: { x: 71, y: 12 } });
    expect(await slider(noor, 0).getAttribute('aria-valuenow')).toBe('10');
    await spoken(noor).nth(0).getByRole('button', { name: 'Play' }).click();
    await playing(noor).waitFor();
    await until(noor.page, () => Number(document.querySelector('[role=slider]')!.getAttribute('aria-valuenow')) >= 11);
    const speed = (at: number) =>
      spoken(noor)
        .nth(at)
        .getByRole('button', { name: /^Speed/ });
    await speed(0).click();
    await speed(0).click();
    expect(await speed(0).getAttribute('aria-label')).toBe('Speed 2×');
    // Another takes over, at the same speed.
    await spoken(noor).nth(1).getByRole('button', { name: 'Play' }).click();
    await spoken(noor).nth(1).getByRole('button', { name: 'Pause' }).waitFor();
    expect(await playing(noor).count()).toBe(1);
    expect(await speed(1).getAttribute('aria-label')).toBe('Speed 2×');
    await spoken(noor).nth(1).getByRole('button', { name: 'Pause' }).click();
    await noor.page.reload();
    await slider(noor, 1).focus();
    await noor.page.keyboard.press('ArrowRight');
    expect(await speed(1).getAttribute('aria-label')).toBe('Speed 2×');
    expect(await slider(noor, 1).getAttribute('aria-valuenow')).toBe('1');
  });

  test('[VO22] it goes on while one is elsewhere, with a bar that leads back, and ends with its recall', async () => {
    const [ada, noor] = await site.friends();
    const [id] = await speak(ada, ada.page, 60);
    await spoken(noor).first().getByRole('button', { name: 'Play' }).click();
    await playing(noor).waitFor();
    const bar = noor.page.getByRole('region', { name: 'Voice message that is playing' });
    expect(await bar.count()).toBe(0);
    await noor.page.getByRole('link', { name: /Contacts/ }).click();
    await bar.getByRole('button', { name: 'Pause' }).click();
    await bar.getByRole('button', { name: 'Play', exact: true }).click();
    await bar.getByRole('button', { name: 'Pause' }).waitFor();
    expect(await seriousProblems(noor.page)).toEqual([]);
    await bar.getByRole('link', { name: ada.name }).click();
    await playing(noor).waitFor();
    await untilHidden(bar);
    await noor.page.getByRole('link', { name: /Contacts/ }).click();
    await bar.waitFor();
    const { token } = await site.server.login({ handle: ada.handle, password } as never);
    await site.server.call('message.delete', { messageId: id! }, token);
    await untilHidden(bar);
  });
});

/** The microphone of the composer, and what takes its place while it is in use. */
const mic = ({ page }: Someone): Locator => page.getByRole('button', { name: /^Record a voice message/ });
const recorder = ({ page }: Someone): Locator => page.getByRole('group', { name: 'Voice recording' });
const inRecorder = (one: Someone, name: string): Locator => recorder(one).getByRole('button', { name, exact: true });
/** So much is recorded. */
const recorded = (one: Someone, time: string): Promise<void> => recorder(one).getByText(time, { exact: true }).waitFor();

async function press(one: Someone): Promise<{ x: number; y: number }> {
  const { x, y, width, height } = (await mic(one).boundingBox())!;
  const middle = { x: x + width / 2, y: y + height / 2 };
  await one.page.mouse.move(middle.x, middle.y);
  await one.page.mouse.down();
  return middle;
}

/** The voice messages of the open conversation, as the server has them. */
async function sent({ handle, page }: Someone): Promise<Message[]> {
  const { token } = await site.server.login({ handle, password } as never);
  const conversationId = new URL(page.url()).pathname.split('/').at(-1)!;
  return (await site.server.call('message.history', { conversationId }, token)).messages.filter(({ type }) => type === 'voice');
}

describe('voice messages that are recorded', () => {
  test('[VO30] held, it records and is sent when it is let go; the other side hears it', async () => {
    const [ada, noor] = await site.friends();
    await press(ada);
    await recorded(ada, '0:01');
    await ada.page.mouse.up();
    await unheard(noor).waitFor();
    await untilHidden(inRecorder(ada, 'Send voice message'));
    const [message] = await sent(ada);
    expect(message!.file).toMatchObject({ type: 'audio/webm', name: 'voice.webm' });
    const { durationMs, waveform, size } = message!.file!;
    expect(durationMs).toBeGreaterThanOrEqual(500);
    expect(durationMs).toBeLessThan(60_000);
    // The fake microphone beeps: there is silence, and there is sound.
    expect(waveform!.length).toBeGreaterThan(4);
    expect(waveform!.length).toBeLessThanOrEqual(64);
    expect(Math.max(...waveform!)).toBe(31);
    expect(Math.min(...waveform!)).toBeLessThan(31);
    expect(size).toBeGreaterThan(500);
    await spoken(noor).getByRole('button', { name: 'Play' }).click();
    await playing(noor).waitFor();
    await untilHidden(unheard(noor));
    await untilHidden(playing(noor));
  });

  test('[VO31] tapped or begun with a key it goes on by itself, can be heard before it is sent, and goes on after that', async () => {
    const [ada, noor] = await site.friends();
    await mic(ada).focus();
    await ada.page.keyboard.press('Enter');
    await recorded(ada, '0:01');
    expect(await seriousProblems(ada.page)).toEqual([]);
    await inRecorder(ada, 'Pause and listen').click();
    await inRecorder(ada, 'Play').click();
    await inRecorder(ada, 'Pause').waitFor();
    await inRecorder(ada, 'Play').waitFor();
    expect(await seriousProblems(ada.page)).toEqual([]);
    await inRecorder(ada, 'Go on recording').click();
    await recorded(ada, '0:02');
    await inRecorder(ada, 'Send voice message').click();
    await unheard(noor).waitFor();
    await mic(ada).waitFor();
    await mic(ada).click();
    await recorded(ada, '0:01');
    await inRecorder(ada, 'Send voice message').click();
    await unheard(noor).nth(1).waitFor();
    expect((await sent(ada)).map(({ file }) => file!.durationMs! >= 500)).toEqual([true, true]);
  });

  test('[VO32] slid away or escaped from, it is forgotten; what is longer only after a question', async () => {
    const [ada] = await site.friends();
    const { x, y } = await press(ada);
    await recorded(ada, '0:01');
    await ada.page.mouse.move(x - 60, y, { steps: 3 });
    await ada.page.mouse.move(x - 120, y, { steps: 3 });
    await mic(ada).waitFor();
    await ada.page.mouse.up();
    await press(ada);
    await recorded(ada, '0:00');
    await ada.page.keyboard.press('Escape');
    await mic(ada).waitFor();
    await ada.page.mouse.up();
    await mic(ada).click();
    await recorded(ada, '0:00');
    await later(ada, 20_000);
    await recorded(ada, '0:20');
    await ada.page.keyboard.press('Escape');
    const dialog = ada.page.getByRole('dialog', { name: 'Delete this recording?' });
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await inRecorder(ada, 'Delete recording').click();
    await dialog.getByRole('button', { name: 'Delete recording' }).click();
    await mic(ada).waitFor();
    expect(await sent(ada)).toEqual([]);
    await ada.page.getByRole('textbox', { name: 'Message' }).fill('in words then');
    await untilHidden(mic(ada));
    await ada.page.getByRole('button', { name: 'Send', exact: true }).waitFor();
  });

  test('[VO33] why nothing can be recorded is said in words', async () => {
    const [ada] = await site.friends();
    const refuse = (name: string) =>
      ada.page.evaluate((errorName) => {
        Object.defineProperty(navigator.mediaDevices, 'getUserMedia', { configurable: true, value: () => Promise.reject(new DOMException('', errorName)) });
      }, name);
    for (const [name, words] of [
      ['NotAllowedError', /not allowed here/],
      ['NotFoundError', /No microphone/],
      ['NotReadableError', /another program/],
    ] as const) {
      await refuse(name);
      await mic(ada).click();
      await recorder(ada).getByRole('alert').waitFor();
      expect(await recorder(ada).getByRole('alert').textContent()).toMatch(words);
      await inRecorder(ada, 'Close').click();
    }
    await ada.page.evaluate(() => {
      Object.defineProperty(navigator, 'mediaDevices', { value: undefined });
      Object.defineProperty(globalThis, 'isSecureContext', { value: false });
    });
    await mic(ada).click();
    await recorder(ada).getByRole('alert').waitFor();
    expect(await recorder(ada).getByRole('alert').textContent()).toMatch(/HTTPS/);
  });

  test('[VO34] what is being recorded waits in its conversation when one goes to another, and stops at the limit', async () => {
    const [ada, noor] = await site.friends();
    const conversation = ada.page.url();
    await mic(ada).click();
    await recorded(ada, '0:01');
    await later(ada, limits.voiceMs - 20_000);
    await recorder(ada)
      .getByText(/ left$/)
      .waitFor();
    await ada.page.getByRole('link', { name: /Contacts/ }).click();
    await ada.page.getByText('The recording waits in its conversation.').waitFor();
    await ada.page.goBack();
    await inRecorder(ada, 'Send voice message').waitFor();
    expect(ada.page.url()).toBe(conversation);
    await inRecorder(ada, 'Play').waitFor();
    await inRecorder(ada, 'Send voice message').click();
    await unheard(noor).waitFor();
    await mic(ada).click();
    await recorded(ada, '0:00');
    await later(ada, limits.voiceMs);
    await inRecorder(ada, 'Play').waitFor();
    await recorded(ada, '15:00');
    expect(await inRecorder(ada, 'Go on recording').count()).toBe(0);
    await inRecorder(ada, 'Delete recording').click();
    await ada.page.getByRole('dialog').getByRole('button', { name: 'Delete recording' }).click();
    await mic(ada).waitFor();
  });

  test('[VO35] a browser that cannot record by itself sends a WAV', async () => {
    const [ada, noor] = await site.friends();
    await ada.page.evaluate(() => Object.defineProperty(globalThis, 'MediaRecorder', { value: undefined }));
    await mic(ada).click();
    await recorded(ada, '0:01');
    await inRecorder(ada, 'Send voice message').click();
    await unheard(noor).waitFor();
    const [message] = await sent(ada);
    expect(message!.file).toMatchObject({ type: 'audio/wav', name: 'voice.wav' });
    // 16,000 samples of two bytes a second.
    expect(message!.file!.size).toBeGreaterThan(16_000);
    await spoken(noor).getByRole('button', { name: 'Play' }).click();
    await playing(noor).waitFor();
    await untilHidden(unheard(noor));
  });

  test('[VO36] what was recorded arrives although the network goes and the page is loaded anew while it is on its way', async () => {
    const [ada, noor] = await site.friends();
    await ada.page.context().route('**/files/*', (route) => (route.request().method() === 'PATCH' ? route.abort() : route.continue()));
    await mic(ada).click();
    await recorded(ada, '0:01');
    await inRecorder(ada, 'Send voice message').click();
    await mic(ada).waitFor();
    await log(ada).locator('.msg').first().waitFor();
    await ada.page.reload();
    await log(ada).locator('.msg').first().waitFor();
    expect(await sent(ada)).toEqual([]);
    await ada.page.context().unroute('**/files/*');
    // The more tries have failed the later the next one comes, by up to a minute.
    await unheard(noor).waitFor({ timeout: 70_000 });
    expect(await sent(ada)).toHaveLength(1);
  });
});

/** For this page so much more time has gone by. Milliseconds. */
const later = ({ page }: Someone, ms: number): Promise<void> =>
  page.evaluate((more) => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + more;
  }, ms);

test('[VO29] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
