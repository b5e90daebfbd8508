import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { limits } from '@kith/protocol';
import { pino } from 'pino';
import sharp from 'sharp';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { randomFrom } from '../../test/crash-child.ts';
import { type Format, moving, noise, photo, png, pngChunk, telling, told, typeOf } from '../../test/pictures.ts';
import { type Cut, type Look, type Picture, type Pictures, type Wish, withCuts } from './pictures.ts';
import { environment, openPictures, rights } from './pool.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env.KITH_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
const log = pino({ level: 'silent' });
const pictures = openPictures({ log, processes: 1 });
afterAll(() => pictures.close());

/** As the store gives it: some at a time. */
async function* inPieces(bytes: Buffer, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const look = (bytes: Buffer, wish: Partial<Wish> = {}, by: Pictures = pictures): Promise<Look> =>
  by.look(() => inPieces(bytes), { size: bytes.length, type: 'image/png', avatar: false, original: false, ...wish });

/** Looked at, and with what it told taken out. */
async function cleaned(bytes: Buffer, type: string): Promise<Picture & { bytes: Buffer }> {
  const found = await look(bytes, { type });
  if ('refused' in found) throw new Error(`refused: ${found.refused}`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of withCuts(inPieces(bytes, 1_000), found.cuts)) chunks.push(chunk);
  return { ...found, bytes: Buffer.concat(chunks) };
}

const pixels = async (bytes: Buffer): Promise<Buffer> => sharp(bytes, { pages: -1 }).raw().toBuffer();
const usable = async (): Promise<void> => expect(await look(noise())).toMatchObject({ width: 16, height: 16 });

describe('what a picture tells', () => {
  test.each<Exclude<Format, 'gif'>>(['jpeg', 'png', 'webp', 'avif'])('[PI20] is taken out of a %s, and every pixel stays', async (format) => {
    const bytes = await telling(format);
    expect(bytes.includes('KITHCAM')).toBe(true);
    const clean = await cleaned(bytes, typeOf(format));
    expect(clean.bytes.includes('KITHCAM')).toBe(false);
    expect(clean.bytes.includes('GPSLatitude')).toBe(false);
    expect((await pixels(clean.bytes)).equals(await pixels(bytes))).toBe(true);
    // Once more, there is nothing left to take.
    expect((await cleaned(clean.bytes, typeOf(format))).cuts).toEqual([]);
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('[PI20] is taken out, and how to turn it stays: orientation %i', async (orientation) => {
    for (const format of ['jpeg', 'png', 'webp'] as const) {
      const bytes = await telling(format, { orientation, width: 90, height: 60 });
      const clean = await cleaned(bytes, typeOf(format));
      expect([format, clean.width, clean.height]).toEqual([format, ...(orientation < 5 ? [90, 60] : [60, 90])]);
      expect([format, (await sharp(clean.bytes).metadata()).orientation ?? 1]).toEqual([format, orientation]);
      expect(clean.bytes.includes('KITHCAM')).toBe(false);
    }
  });

  test('[PI20] stays out of a picture that comes in several scans, and its colours are kept', async () => {
    const bytes = await photo().jpeg({ progressive: true }).withIccProfile('p3').withExif(told.exif).toBuffer();
    const clean = await cleaned(bytes, 'image/jpeg');
    const { icc, exif, isProgressive } = await sharp(clean.bytes).metadata();
    expect([icc?.length ?? 0, exif, isProgressive]).toEqual([(await sharp(bytes).metadata()).icc!.length, undefined, true]);
    expect((await pixels(clean.bytes)).equals(await pixels(bytes))).toBe(true);
  });

  test.each(['gif', 'webp'] as const)('[PI20] is taken out of a %s that moves, and it moves on', async (format) => {
    const plain = await moving(format);
    const bytes = format === 'gif' ? withComment(plain, 'KITHCAM') : await sharp(plain, { animated: true }).withXmp(told.xmp).webp().toBuffer();
    expect(bytes.includes('KITHCAM')).toBe(true);
    const clean = await cleaned(bytes, typeOf(format));
    expect(clean.bytes.includes('KITHCAM')).toBe(false);
    const { pages, loop } = await sharp(clean.bytes).metadata();
    expect([pages, loop, clean.animated]).toEqual([3, 0, true]);
    expect((await pixels(clean.bytes)).equals(await pixels(bytes))).toBe(true);
  });

  test('[PI20] stands also behind its end, and in parts that decoders pass over', async () => {
    const zip = Buffer.concat([Buffer.from('PK\x03\x04'), randomBytes(500)]);
    const script = '/*alert';
    const files: [type: string, plain: Buffer, more: Buffer][] = [
      ['image/png', noise(), Buffer.concat([noise(), zip])],
      ['image/png', png(4, 4), png(4, 4, { more: [pngChunk('tEXt', Buffer.from('Comment\0PK\x03\x04')), pngChunk('zzZz', zip)] })],
      ['image/jpeg', await photo().jpeg().toBuffer(), Buffer.concat([await photo().jpeg().toBuffer(), zip])],
      ['image/gif', await moving('gif'), withComment(Buffer.concat([await moving('gif'), Buffer.from(`*/=1;alert(1) PK\x03\x04`)]), script)],
      ['image/webp', await photo().webp().toBuffer(), Buffer.concat([await photo().webp().toBuffer(), zip])],
    ];
    for (const [type, plain, more] of files) {
      expect([type, (await cleaned(plain, type)).cuts]).toEqual([type, []]);
      const clean = await cleaned(more, type);
      expect([type, clean.bytes.includes('PK\x03\x04'), clean.bytes.includes(script)]).toEqual([type, false, false]);
      expect((await sharp(clean.bytes).metadata()).width).toBeGreaterThan(0);
    }
  });

  test(`[PI20] is cut out at the right places, whatever the pieces are that it comes in, seed ${seed}`, async () => {
    const random = randomFrom(seed);
    for (let round = 0; round < 300; round += 1) {
      const bytes = randomBytes(Math.floor(random() * 200));
      const cuts: Cut[] = [];
      for (let at = 0; at <= bytes.length && random() < 0.9;) {
        const from = Math.min(bytes.length, at + Math.floor(random() * 30));
        const end = Math.min(bytes.length, from + Math.floor(random() * 30));
        cuts.push({ at: from, end, ...(random() < 0.5 && { put: randomBytes(1 + Math.floor(random() * 5)) }) });
        at = end + 1;
      }
      const expected = cuts.toReversed().reduce((rest, { at, end, put = Buffer.alloc(0) }) => Buffer.concat([rest.subarray(0, at), put, rest.subarray(end)]), bytes);
      const chunks: Uint8Array[] = [];
      for await (const chunk of withCuts(inPieces(bytes, 1 + Math.floor(random() * 40)), cuts)) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(expected)).toBe(true);
    }
  });
});

describe('what is looked at', () => {
  test('[PI21] no other formats, whatever they are called', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>');
    for (const bytes of [svg, Buffer.from('%PDF-1.7'), await photo().tiff().toBuffer(), Buffer.from('II*\0'), Buffer.from('<!doctype html>'), Buffer.from('P5 9 9 255 ')])
      for (const type of ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/svg+xml', ''])
        expect(await look(bytes, { type })).toEqual({ refused: 'unreadable' });
    // A real picture of another format than its beginning said.
    expect(await look(await photo().jpeg().toBuffer(), { type: 'image/gif' })).toEqual({ refused: 'unreadable' });
  });

  test('[PI21] [3.3] bombs of pixels and frames are refused by what their header says', { timeout: 60_000 }, async () => {
    const bomb = png(16_000, 16_000, { colour: 0 });
    expect(bomb.length).toBeLessThan(40_000);
    expect(await look(bomb)).toEqual({ refused: 'too_large' });
    expect(await look(png(30_000, 30_000, { rows: Buffer.alloc(0) }))).toEqual({ refused: 'too_large' });
    expect(await look(png(2 ** 31 - 1, 2 ** 31 - 1, { rows: Buffer.alloc(0) }))).toMatchObject({ refused: expect.any(String) });
    expect(await look(png(8_001, limits.picturePixels / 8_000, { colour: 0 }))).toEqual({ refused: 'too_large' });
    expect(await look(png(limits.pictureSide + 1, 1))).toEqual({ refused: 'too_large' });
    expect(await look(gif(limits.pictureFrames + 1), { type: 'image/gif' })).toEqual({ refused: 'too_large' });
    expect(await pictures.look(() => inPieces(Buffer.alloc(0)), { size: limits.pictureBytes + 1, type: 'image/png', avatar: false, original: false })).toEqual({
      refused: 'too_large',
    });
    // And up to there, not.
    expect(await look(png(8_000, limits.picturePixels / 8_000, { colour: 0 }))).toMatchObject({ width: 8_000 });
    expect(await look(png(limits.pictureSide, 1))).toMatchObject({ width: limits.pictureSide });
    expect(await look(gif(limits.pictureFrames), { type: 'image/gif' })).toMatchObject({ animated: true });
    expect(await look(Buffer.alloc(limits.pictureBytes))).toEqual({ refused: 'unreadable' });
  });

  test('[PI22] a picture that takes too much time or memory ends its process and nothing else', { timeout: 60_000 }, async () => {
    const large = await photo(7_000, 5_000).png().toBuffer();
    for (const most of [
      { ms: 60, memoryMib: limits.pictureMemoryMib },
      { ms: limits.pictureMs, memoryMib: 60 },
    ]) {
      const strict = openPictures({ log, processes: 1, most });
      onTestFinished(() => strict.close());
      expect(await look(large, {}, strict)).toEqual({ refused: 'too_costly' });
      expect(await look(large, {}, strict)).toEqual({ refused: 'too_costly' });
    }
    expect(await look(large)).toMatchObject({ width: 7_000, height: 5_000 });
  });

  test(`[PI22] pictures damaged at random end nothing and are answered each, seed ${seed}`, { timeout: 120_000 }, async () => {
    const random = randomFrom(seed);
    const originals: [string, Buffer][] = [
      ...(await Promise.all(
        (['jpeg', 'png', 'webp', 'avif'] as const).map(async (format) => [typeOf(format), await telling(format, { width: 90, height: 60 })] as [string, Buffer]),
      )),
      ['image/gif', withComment(await moving('gif', 3, 60, 40), 'a comment')],
    ];
    for (const [type, original] of originals) {
      for (let round = 0; round < 100; round += 1) {
        const found = await look(damaged(original, random), { type });
        expect('refused' in found ? ['unreadable', 'too_large', 'too_costly', 'unsupported'].includes(found.refused) : found.width > 0).toBe(true);
      }
    }
    await usable();
  });

  test('[PI22] bytes that break off are thrown on, and the next picture is looked at', { timeout: 60_000 }, async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield noise().subarray(0, 50);
      throw new Error('the disk is gone');
    }
    const wish = { size: 500, type: 'image/png', avatar: false, original: false };
    await expect(pictures.look(broken, wish)).rejects.toThrow('the disk is gone');
    await expect(pictures.look(() => inPieces(Buffer.alloc(10)), wish)).rejects.toThrow('500 bytes has 10');
    await usable();
  });

  test('[PI22] as many as come at once are looked at in turn, and a stop ends them all', { timeout: 60_000 }, async () => {
    const several = openPictures({ log });
    const found = await Promise.all(Array.from({ length: 12 }, (_, at) => look(png(at + 1, 1), {}, several)));
    expect(found.map((one) => 'width' in one && one.width)).toEqual(Array.from({ length: 12 }, (_, at) => at + 1));
    const large = await photo(5_000, 5_000).png().toBuffer();
    const running = Array.from({ length: 5 }, () => look(large, {}, several).catch((error: { code: string }) => error.code));
    await several.close();
    expect(new Set(await Promise.all(running))).toEqual(new Set(['busy']));
    await expect(look(large, {}, several)).rejects.toMatchObject({ code: 'busy' });
  });

  test('[PI22] with no more pictures there is no process, and with the next there is one again', async () => {
    const processes = () => process.getActiveResourcesInfo().filter((name) => name === 'ProcessWrap').length;
    // Those of the tests before may end meanwhile.
    const others = processes();
    const brief = openPictures({ log, idleMs: 0 });
    onTestFinished(() => brief.close());
    for (let round = 0; round < 2; round += 1) {
      expect(await look(noise(), {}, brief)).toMatchObject({ width: 16 });
      await vi.waitUntil(() => processes() <= others, { timeout: 20_000 });
    }
  });

  test.skipIf(process.platform !== 'linux')('[PI22] a process that is killed, while it waits or while it gets a picture, takes nothing with it', { timeout: 120_000 }, async () => {
    const several = openPictures({ log, processes: 1 });
    onTestFinished(() => several.close());
    /** The processes of this test: those of others were there before. */
    const children = (): number[] =>
      fs.readdirSync('/proc').flatMap((pid) => {
        try {
          const [status, command] = ['status', 'cmdline'].map((name) => fs.readFileSync(`/proc/${pid}/${name}`, 'utf8'));
          return status!.includes(`PPid:\t${process.pid}\n`) && command!.includes('child.ts') ? [Number(pid)] : [];
        } catch {
          return [];
        }
      });
    const others = children();
    const kill = (): void => {
      for (const pid of children().filter((one) => !others.includes(one))) process.kill(pid, 'SIGKILL');
    };
    expect(await look(noise(), {}, several)).toMatchObject({ width: 16 });
    // Whether it is known already that this one is gone, when the next picture comes, or not.
    for (let round = 0; round < 2; round += 1) {
      kill();
      expect(await look(noise(), {}, several)).toMatchObject({ width: 16 });
    }
    const size = 20_000_000;
    async function* killing(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < size; at += 100_000) {
        if (at === 5_000_000) kill();
        yield Buffer.alloc(100_000);
      }
    }
    expect(await several.look(killing, { size, type: 'image/png', avatar: false, original: false })).toEqual({ refused: 'too_costly' });
    expect(await look(noise(), {}, several)).toMatchObject({ width: 16 });
  });

  test('[PI23] what looks at pictures has no environment, and may read nothing but its program', async () => {
    expect(Object.keys(environment()).filter((name) => !['MALLOC_ARENA_MAX', 'SystemRoot'].includes(name))).toEqual([]);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-pictures-'));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    fs.writeFileSync(`${folder}/secret`, 'secret');
    const tries = `
      const fs = require('node:fs');
      for (const [name, work] of Object.entries({
        read: () => fs.readFileSync(${JSON.stringify(`${folder}/secret`)}),
        list: () => fs.readdirSync('/'),
        write: () => fs.writeFileSync(${JSON.stringify(`${folder}/new`)}, ''),
        run: () => require('node:child_process').execFileSync(process.execPath, ['--version']),
        thread: () => new (require('node:worker_threads').Worker)('', { eval: true }),
      })) try { work(); console.log(name); } catch (error) { if (error.code !== 'ERR_ACCESS_DENIED') console.log(name, error); }
      console.log('done');`;
    const { stdout, stderr } = spawnSync(process.execPath, [...rights(), '--eval', tries], { env: environment(), encoding: 'utf8' });
    expect([stdout.trim(), stderr]).toEqual(['done', '']);
  });
});

/** A GIF with a comment before its first frame. */
function withComment(bytes: Buffer, text: string): Buffer {
  const at = 13 + (bytes[10]! & 0x80 ? 3 << ((bytes[10]! & 7) + 1) : 0);
  return Buffer.concat([bytes.subarray(0, at), Buffer.from([0x21, 0xfe, text.length]), Buffer.from(text), Buffer.from([0]), bytes.subarray(at)]);
}

/** A GIF of so many frames of one pixel. */
function gif(frames: number): Buffer {
  const head = Buffer.from([...Buffer.from('GIF89a'), 1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
  const frame = Buffer.from([0x21, 0xf9, 4, 0, 5, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0]);
  return Buffer.concat([head, ...Array.from({ length: frames }, () => frame), Buffer.from([0x3b])]);
}

/** With some bytes changed, cut out, or repeated. */
function damaged(original: Buffer, random: () => number): Buffer {
  let bytes = Buffer.from(original);
  const place = (): number => Math.floor(random() ** 2 * bytes.length);
  for (let change = 0; change < 10; change += 1) {
    const at = place();
    const kind = random();
    if (kind < 0.8) bytes[at] = Math.floor(random() * 256);
    else if (kind < 0.9) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 20))]);
    else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 20))]);
    if (bytes.length < 20) return bytes;
  }
  return random() < 0.2 ? bytes.subarray(0, place()) : bytes;
}
