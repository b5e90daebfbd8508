import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { type FileRef, limits } from '@kith/protocol';
import sharp from 'sharp';
import { describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../manual-clock.ts';
import { type Format, moving, photo, png, pngChunk, telling, typeOf } from '../pictures.ts';
import { type Place, type Someone, clientId, engines, password, usePlace } from './place.ts';

const etagOf = (bytes: Uint8Array): string => `"${createHash('sha256').update(bytes).digest('base64url')}"`;

const send = async (person: Someone, conversationId: string, file: FileRef, type: 'image' | 'file' = 'image') =>
  (await person.call('message.send', { conversationId, clientId: clientId(), type, text: '', fileId: file.id })).message;
const get = ({ server }: Place, who: { token: string }, file: FileRef, size?: string) => server.download(who, file.id, {}, 'GET', size === undefined ? '' : `?size=${size}`);
const avatar = ({ server }: Place, { token }: { token: string }, { id }: FileRef, side: number | string = 64, headers: Record<string, string> = {}) =>
  server.http('GET', `/avatars/${id}/${side}`, { headers: { authorization: `Bearer ${token}`, ...headers } });
const usageOf = async (place: Place, ownerId: string): Promise<number> =>
  Number((await place.rows.run<{ bytes: number }>('select bytes from file_usage where owner_id = ?', ownerId))[0]?.bytes);

describe.each(engines)('pictures on %s', (engine) => {
  const place = usePlace({ engine });

  test.each<Format>(['jpeg', 'png', 'webp', 'avif'])('[PI1] a %s is measured as it is shown, upright, and has a tiny picture that stands for it', async (format) => {
    const anna = await place.person();
    const file = await place.server.upload(anna, format === 'avif' ? await photo(600, 900).avif().toBuffer() : await telling(format as 'jpeg', { orientation: 6 }), { name: 'a' });
    expect(file).toMatchObject({ type: typeOf(format), width: 600, height: 900 });
    expect(file).not.toHaveProperty('animated');
    expect(file.preview!.length).toBeLessThanOrEqual(limits.preview);
    const { format: made, width, height } = await sharp(Buffer.from(file.preview!, 'base64')).metadata();
    expect({ made, width, height }).toEqual({ made: 'webp', width: 21, height: 32 });
  });

  test.each(['gif', 'webp'] as const)('[PI1] a %s that moves says so, and what is made of it stands still', async (format) => {
    const anna = await place.person();
    const bytes = await moving(format, 3, 1_000, 500);
    const file = await place.server.upload(anna, bytes);
    expect(file).toMatchObject({ type: typeOf(format), width: 1_000, height: 500, animated: true });
    expect((await sharp((await get(place, anna, file)).bytes).metadata()).pages).toBe(3);
    const small = await sharp((await get(place, anna, file, 'small')).bytes).metadata();
    expect([small.format, small.width, small.pages ?? 1]).toEqual(['webp', 720, 1]);
  });

  test('[PI2] a picture comes small and large, to whom the picture comes, and as itself where that is less', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const olga = await place.person('olga');
    const bytes = await telling('jpeg', { width: 3_000, height: 2_000, orientation: 6 });
    const file = await place.server.upload(anna, bytes, { name: 'Strand.jpeg' });
    await send(anna, conversationId, file);
    for (const [size, side] of [
      ['small', 720],
      ['large', 1_920],
    ] as const) {
      const { headers, bytes: got, status } = await get(place, bert, file, size);
      expect([status, headers]).toMatchObject([
        200,
        {
          'content-type': 'image/webp',
          'content-disposition': expect.stringMatching(/^inline; filename="Strand.webp"/),
          'content-security-policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
          'cache-control': 'private, no-cache',
          etag: etagOf(got),
        },
      ]);
      const { width, height } = await sharp(got).metadata();
      expect([width, height]).toEqual([Math.round((side * 2) / 3), side]);
      expect(got.length).toBeLessThan(bytes.length);
      expect((await place.server.download(bert, file.id, { 'if-none-match': headers.etag! }, 'GET', `?size=${size}`)).status).toBe(304);
      expect((await place.server.download(bert, file.id, { range: 'bytes=0-9' }, 'GET', `?size=${size}`)).headers['content-range']).toBe(`bytes 0-9/${got.length}`);
      expect((await get(place, olga, file, size)).status).toBe(404);
    }
    expect((await get(place, bert, file, 'huge')).status).toBe(400);
    // So small that nothing smaller can be made of it.
    const dot = await place.server.upload(anna, png(1, 1));
    for (const size of ['small', 'large'])
      expect((await get(place, anna, dot, size)).headers).toMatchObject({ 'content-type': 'image/png', etag: (await get(place, anna, dot)).headers.etag });
    // Of what is no picture there is none, though it has bytes.
    const text = await place.server.upload(anna, Buffer.from('text'));
    for (const size of ['small', 'large']) expect((await get(place, anna, text, size)).status).toBe(404);
  });

  test.each(['jpeg', 'png', 'webp'] as const)('[PI3] what a %s tells about place and device is out of it before anybody gets it, and it looks the same', async (format) => {
    const anna = await place.person();
    const bytes = await telling(format, { orientation: 6 });
    expect(bytes.includes('KITHCAM')).toBe(true);
    const file = await place.server.upload(anna, bytes);
    const got = await get(place, anna, file);
    expect(got.bytes.includes('KITHCAM')).toBe(false);
    const found = await sharp(got.bytes).metadata();
    expect([found.xmp, found.orientation, found.exif?.length]).toEqual([undefined, 6, expect.toSatisfy((length: number) => length < 40)]);
    const pixels = (of: Buffer) => sharp(of).autoOrient().raw().toBuffer();
    expect((await pixels(got.bytes)).equals(await pixels(bytes))).toBe(true);
    // It is a file of its own: of this size and this hash.
    expect([file.size, got.headers['content-length'], got.headers.etag]).toEqual([got.bytes.length, String(got.bytes.length), etagOf(got.bytes)]);
    for (const size of ['small', 'large']) expect((await get(place, anna, file, size)).bytes.includes('KITHCAM')).toBe(false);
    // The same, on the wish of its sender.
    const kept = await place.server.upload(anna, bytes, { original: true });
    expect((await get(place, anna, kept)).bytes.equals(bytes)).toBe(true);
    expect(kept).toMatchObject({ size: bytes.length, width: 600, height: 900 });
    expect((await get(place, anna, kept)).headers.etag).toBe(etagOf(bytes));
  });

  test('[PI4] what cannot be shown as a picture is a file like any other, and type image says why', async () => {
    const { anna, conversationId } = await place.direct();
    const cut = (await photo().jpeg().toBuffer()).subarray(0, 3_000);
    const heic = Buffer.concat([Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'latin1'), Buffer.alloc(200)]);
    for (const [bytes, words] of [
      [cut, 'damaged'],
      [heic, 'HEIC'],
      [png(limits.pictureSide + 1, 1), '16384 pixels a side'],
      [Buffer.from('GIF89a and nothing else'), 'damaged'],
    ] as const) {
      const file = await place.server.upload(anna, bytes, { name: 'a.jpeg', type: 'image/jpeg' });
      expect(file).toEqual({ id: file.id, name: 'a.jpeg', size: bytes.length, type: 'application/octet-stream' });
      await expect(send(anna, conversationId, file)).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining(words) });
      const { message } = { message: await send(anna, conversationId, file, 'file') };
      expect(message.file).toEqual(file);
      const got = await get(place, anna, file);
      expect([got.headers['content-type'], got.headers['content-disposition'], got.bytes.equals(bytes)]).toEqual([
        'application/octet-stream',
        expect.stringMatching(/^attachment/),
        true,
      ]);
      for (const size of ['small', 'large']) expect((await get(place, anna, file, size)).status).toBe(404);
    }
  });

  test('[PI4] [3.3] bombs, pages and files of two kinds never come as pictures, or come as pictures alone', { timeout: 60_000 }, async () => {
    const { server } = place;
    const anna = await place.person();
    const zip = Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(300, 1)]);
    const never: [name: string, bytes: Buffer][] = [
      ['16,000² pixels in 31 KB', png(16_000, 16_000, { colour: 0 })],
      ['30,000² pixels', png(30_000, 30_000, { rows: Buffer.alloc(0) })],
      ['more pixels than there are numbers', png(2 ** 31 - 1, 2 ** 31 - 1, { rows: Buffer.alloc(0) })],
      ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>')],
      ['SVG, compressed', gzipSync('<svg xmlns="http://www.w3.org/2000/svg"/>')],
      ['XML', Buffer.from('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>')],
      ['XHTML', Buffer.from('<html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>')],
      ['PDF and HTML', Buffer.from('%PDF-1.7 <html><script>alert(1)</script>')],
      ['half a picture', (await photo().png().toBuffer()).subarray(0, -100)],
      ['the beginning of one', Buffer.from('\xff\xd8\xff', 'latin1')],
      ['a GIF that is a script', Buffer.from('GIF89a/*\0\0\0\0*/=1;alert(1);')],
    ];
    for (const [name, bytes] of never) {
      const file = await server.upload(anna, bytes, { name: 'a.png', type: 'image/png' });
      const { headers, bytes: got } = await get(place, anna, file);
      expect([name, file.type, file.width, headers['content-type'], headers['content-disposition'], got.equals(bytes)]).toEqual([
        name,
        'application/octet-stream',
        undefined,
        'application/octet-stream',
        expect.stringMatching(/^attachment/),
        true,
      ]);
      expect([name, (await get(place, anna, file, 'small')).status]).toEqual([name, 404]);
    }
    // Pictures that are something else behind their end, or in parts that no decoder looks at.
    const both: [name: string, bytes: Buffer][] = [
      ['PNG and ZIP', Buffer.concat([png(16, 16), zip])],
      ['PNG with a ZIP in a chunk', png(16, 16, { more: [pngChunk('ziPz', zip)] })],
      ['JPEG and ZIP', Buffer.concat([await photo(64, 64).jpeg().toBuffer(), zip])],
      ['GIF and ZIP', Buffer.concat([await moving('gif'), zip])],
      ['WebP and ZIP', Buffer.concat([await photo(64, 64).webp().toBuffer(), zip])],
    ];
    for (const [name, bytes] of both) {
      const file = await server.upload(anna, bytes, { name: 'a.png', type: 'application/zip' });
      const got = await get(place, anna, file);
      expect([name, got.headers['content-type']?.startsWith('image/'), got.bytes.includes('PK\x03\x04'), got.bytes.length]).toEqual([name, true, false, file.size]);
    }
  });

  test('[PI9] while pictures are looked at, everything else is answered', { timeout: 60_000 }, async () => {
    const { anna, bert, conversationId } = await place.direct();
    const bytes = await photo(5_000, 4_000).png().toBuffer();
    let looked = 0;
    const uploads = Array.from({ length: 6 }, async () => {
      await place.server.upload(anna, bytes);
      looked += 1;
    });
    const first = await Promise.race(uploads.map(() => anna.say(conversationId)));
    for (let n = 0; n < 20; n += 1) await anna.say(conversationId);
    expect((await bert.call('message.history', { conversationId })).messages.length).toBeGreaterThan(20);
    expect(first.seq).toBeGreaterThan(0);
    // Twenty messages, each on disk and answered, before six large pictures are done.
    expect(looked).toBeLessThan(uploads.length);
    await Promise.all(uploads);
  });

  test('[PI5] a picture of one’s own is shown for a video, goes with it, and is nothing else any more', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const mp4 = Buffer.concat([Buffer.from('\0\0\0\x18ftypisom\0\0\0\0isommp42', 'latin1'), Buffer.alloc(9_976, 7)]);
    const poster = await place.server.upload(anna, await photo(1_280, 720).jpeg().toBuffer());
    await expect(place.server.upload(bert, mp4, { posterId: poster.id })).rejects.toMatchObject({ code: 'not_found' });
    await expect(place.server.upload(anna, Buffer.from('text'), { posterId: poster.id })).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining('params.posterId'),
    });
    const video = await place.server.upload(anna, mp4, { posterId: poster.id, name: 'a.mp4' });
    expect(video).toMatchObject({ type: 'video/mp4', preview: poster.preview });
    await expect(send(anna, conversationId, poster)).rejects.toMatchObject({ code: 'not_found' });
    expect((await get(place, anna, poster)).status).toBe(404);
    const message = await send(anna, conversationId, video, 'file');
    const small = await get(place, bert, video, 'small');
    expect([small.headers['content-type'], (await sharp(small.bytes).metadata()).width]).toEqual(['image/webp', 720]);
    // The video itself streams by ranges.
    const part = await place.server.download(bert, video.id, { range: 'bytes=5000-' });
    expect([part.status, part.headers['content-type'], part.headers['content-range'], part.bytes.equals(mp4.subarray(5_000))]).toEqual([
      206,
      'video/mp4',
      'bytes 5000-9999/10000',
      true,
    ]);
    await anna.call('message.delete', { messageId: message.id });
    expect((await get(place, bert, video, 'small')).status).toBe(404);
    const { core } = place.server.running;
    for (let round = 0; round < 2; round += 1) await core.forgetFiles(await core.unusedFiles());
    expect(await place.rows.run('select id from files where id in (?, ?)', video.id, poster.id)).toEqual([]);
    expect(await usageOf(place, anna.id)).toBe('text'.length);
  });

  test('[PI7] a person and a group get a picture of their own, square, in three sizes, and the one before goes', { timeout: 60_000 }, async () => {
    const { server } = place;
    const { anna, bert, conversationId } = await place.group();
    const bytes = await telling('jpeg', { width: 900, height: 600, orientation: 6 });
    const upload = () => server.upload(anna, bytes, { avatar: true });
    const [first, second, groups] = [await upload(), await upload(), await upload()];
    const { user } = await anna.call('user.update', { avatar: `file:${first.id}` });
    expect(user.avatar).toBe(`file:${first.id}`);
    expect((await bert.call('user.get', { userId: anna.id })).user.avatar).toBe(`file:${first.id}`);
    for (const side of [64, 192, 512]) {
      const got = await avatar(place, bert, first, side);
      expect([got.status, got.headers]).toMatchObject([
        200,
        {
          'content-type': 'image/webp',
          'cache-control': 'private, max-age=3600, immutable',
          'x-content-type-options': 'nosniff',
          etag: etagOf(got.bytes),
          'content-length': String(got.bytes.length),
        },
      ]);
      const { width, height, exif, xmp } = await sharp(got.bytes).metadata();
      expect({ width, height, exif, xmp }).toEqual({ width: side, height: side, exif: undefined, xmp: undefined });
    }
    for (const side of ['65', 'x', 'clean', 'small', '__proto__']) expect((await avatar(place, bert, first, side)).status).toBe(404);
    // It is a picture of somebody, and no file to be had or sent.
    expect((await get(place, anna, first)).status).toBe(404);
    await expect(send(anna, conversationId, first)).rejects.toMatchObject({ code: 'not_found' });
    // The same again changes nothing; another one takes its place.
    await anna.call('user.update', { avatar: `file:${first.id}` });
    expect((await avatar(place, bert, first)).status).toBe(200);
    await anna.call('user.update', { avatar: `file:${second.id}` });
    expect([(await avatar(place, bert, first)).status, (await avatar(place, bert, second)).status]).toEqual([404, 200]);
    await anna.call('conversation.update', { conversationId, avatar: `file:${groups.id}` });
    expect((await avatar(place, bert, groups)).status).toBe(200);
    await anna.call('user.update', { avatar: 'salt-3' });
    await anna.call('conversation.dissolve', { conversationId });
    expect([(await avatar(place, bert, second)).status, (await avatar(place, bert, groups)).status]).toEqual([404, 404]);
    const { core } = server.running;
    await core.forgetFiles(await core.unusedFiles());
    expect(await place.rows.run('select id from files where owner_id = ?', anna.id)).toEqual([]);
    expect(await usageOf(place, anna.id)).toBe(0);
  });

  test('[PI7] a picture of one’s own, made for it, that is nobody’s yet, and no other', async () => {
    const { server } = place;
    const { anna, bert, conversationId } = await place.group();
    const bytes = await photo().jpeg().toBuffer();
    const [own, plain, theirs] = [await server.upload(anna, bytes, { avatar: true }), await server.upload(anna, bytes), await server.upload(bert, bytes, { avatar: true })];
    for (const id of [plain.id, theirs.id, 'nobody', '']) await expect(anna.call('user.update', { avatar: `file:${id}` })).rejects.toMatchObject({ code: 'not_found' });
    await anna.call('user.update', { avatar: `file:${own.id}` });
    await expect(anna.call('conversation.update', { conversationId, avatar: `file:${own.id}` })).rejects.toMatchObject({ code: 'not_found' });
    expect((await anna.call('user.get', { userId: anna.id })).user.avatar).toBe(`file:${own.id}`);
    // With a group or a room from the beginning.
    const operator = await place.operator();
    const [groups, rooms] = [await server.upload(operator, bytes, { avatar: true }), await server.upload(operator, bytes, { avatar: true })];
    expect((await operator.call('conversation.create', { title: 'Choir', memberIds: [], avatar: `file:${groups.id}` })).conversation.avatar).toBe(`file:${groups.id}`);
    expect((await operator.call('room.create', { title: 'Platz', avatar: `file:${rooms.id}` })).conversation.avatar).toBe(`file:${rooms.id}`);
    for (const method of ['auth.guest', 'auth.register'] as const) {
      const answer = await server.post(method, { name: 'Neu', avatar: `file:${own.id}`, ...(method === 'auth.register' && { handle: 'neu', password: 'correct horse battery' }) });
      expect([answer.status, answer.error]).toEqual([400, 'bad_request']);
    }
    await expect(server.upload(anna, Buffer.from('no picture'), { avatar: true })).rejects.toMatchObject({ code: 'unsupported' });
    await expect(server.upload(anna, png(16_000, 16_000, { colour: 0 }), { avatar: true })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('40 megapixels'),
    });
  });

  test('[PI8] the picture of a person comes to everybody signed in but those with a block between, that of a group to its members, that of a room to all', async () => {
    const { server } = place;
    const { anna, bert, conversationId } = await place.group();
    const olga = await place.person('olga');
    const bytes = await photo().jpeg().toBuffer();
    const upload = () => server.upload(anna, bytes, { avatar: true });
    const [hers, groups, unused] = [await upload(), await upload(), await upload()];
    await anna.call('user.update', { avatar: `file:${hers.id}` });
    await anna.call('conversation.update', { conversationId, avatar: `file:${groups.id}` });
    const operator = await place.operator();
    const rooms = await server.upload(operator, bytes, { avatar: true });
    await operator.call('room.create', { title: 'Platz', avatar: `file:${rooms.id}` });
    const statuses = (file: FileRef) => Promise.all([anna, bert, olga, { token: 'kith_nobody' }].map(async (who) => (await avatar(place, who, file)).status));
    expect(await statuses(hers)).toEqual([200, 200, 200, 401]);
    expect(await statuses(groups)).toEqual([200, 200, 404, 401]);
    expect(await statuses(rooms)).toEqual([200, 200, 200, 401]);
    expect(await statuses(unused)).toEqual([200, 404, 404, 401]);
    expect((await server.http('GET', `/avatars/${hers.id}/64`)).status).toBe(401);
    await anna.call('block.add', { userId: bert.id });
    await anna.call('member.remove', { conversationId, userId: bert.id });
    const { etag } = (await avatar(place, anna, hers)).headers;
    expect([
      (await avatar(place, bert, hers)).status,
      (await avatar(place, bert, hers, 64, { 'if-none-match': etag! })).status,
      (await avatar(place, bert, groups)).status,
    ]).toEqual([404, 404, 404]);
    expect((await avatar(place, anna, hers, 64, { 'if-none-match': etag! })).status).toBe(304);
    for (const dest of ['script', 'serviceworker', 'style']) expect((await avatar(place, anna, hers, 64, { 'sec-fetch-dest': dest })).status).toBe(404);
    await server.call('user.delete', { password }, anna.token);
    expect((await avatar(place, olga, hers)).status).toBe(404);
  });

  test('[PI6] what is made of a picture counts as room of its sender, and goes with it', async () => {
    const anna = await place.person();
    const bytes = await telling('jpeg', { width: 2_000, height: 1_500 });
    const file = await place.server.upload(anna, bytes);
    const sizes = await Promise.all([get(place, anna, file), get(place, anna, file, 'small'), get(place, anna, file, 'large')]);
    expect(await usageOf(place, anna.id)).toBe(sizes.reduce((sum, answer) => sum + answer.bytes.length, 0));
    await place.rows.run('update files set expires_at = 1 where id = ?', file.id);
    const { core } = place.server.running;
    await core.forgetFiles(await core.unusedFiles());
    expect(await usageOf(place, anna.id)).toBe(0);
  });
});

describe.each(engines)('pictures and time on %s', (engine) => {
  const clock = new ManualClock();
  const place = usePlace({ engine, clock });
  /** What of a file is in the folder of files. */
  const stored = ({ id }: FileRef): string[] => {
    const folder = path.join(place.server.config.data, 'files');
    return fs
      .readdirSync(folder, { recursive: true, withFileTypes: true })
      .flatMap((entry) => (entry.isFile() && entry.name.startsWith(id) ? [entry.name.slice(id.length)] : []))
      .toSorted();
  };

  test('[PI6] all that was made of a picture goes with it', { timeout: 60_000 }, async () => {
    const { anna, conversationId } = await place.direct();
    const file = await place.server.upload(anna, await telling('jpeg', { width: 2_000, height: 1_500 }));
    const message = await send(anna, conversationId, file);
    expect(stored(file)).toEqual(['-clean', '-large', '-small']);
    await anna.call('message.delete', { messageId: message.id });
    await clock.pass(60_000);
    await vi.waitUntil(() => stored(file).length === 0, { timeout: 20_000 });
  });

  test('[PI3] an original that a crash left behind its cleaning goes with the next sweep', { timeout: 60_000 }, async () => {
    const anna = await place.person();
    const bytes = await telling('jpeg');
    const file = await place.server.upload(anna, bytes);
    expect(stored(file)).not.toContain('');
    // As if the process had ended right after the commit.
    const shelf = path.join(place.server.config.data, 'files', file.id.slice(-2));
    fs.mkdirSync(shelf, { recursive: true });
    fs.writeFileSync(path.join(shelf, file.id), bytes);
    await place.rows.run('insert into originals (id) values (?)', file.id);
    expect((await get(place, anna, file)).bytes.includes('KITHCAM')).toBe(false);
    await clock.pass(60_000);
    await vi.waitUntil(async () => (await place.rows.run('select id from originals')).length === 0, { timeout: 20_000 });
    expect(stored(file)).not.toContain('');
    expect((await get(place, anna, file)).status).toBe(200);
  });
});
