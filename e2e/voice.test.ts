import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clientId } from '../packages/server/test/rules/place.ts';
import { Site, type Someone, log, openDirect, password, patient, seriousProblems, until, untilHidden } from './people.ts';

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
    await bar.getByRole('button', { name: 'Play' }).click();
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

test('[VO29] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
