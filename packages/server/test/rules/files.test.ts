import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type FileRef, limits } from '@kith/protocol';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { randomFrom } from '../crash-child.ts';
import { type HttpAnswer, coreWith, tus } from '../harness.ts';
import { ManualClock } from '../manual-clock.ts';
import { noise } from '../pictures.ts';
import { canMount, mountSmall } from '../small-disk.ts';
import { Place, type Someone, clientId, engines, usePlace } from './place.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env.KITH_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
/** Bytes of no kind. */
const some = (size = 2_000): Buffer => Buffer.concat([Buffer.from('some'), randomBytes(size - 4)]);
const hours = 3_600_000;

/** Sends a file to a conversation. */
async function send(person: Someone, conversationId: string, file: FileRef, { type = 'file', text = '' }: { type?: 'file' | 'image'; text?: string } = {}) {
  return (await person.call('message.send', { conversationId, clientId: clientId(), type, text, fileId: file.id })).message;
}

/** Reserves a place for these bytes. */
const reserve = ({ server }: Place, { token }: { token: string }, bytes: { length: number }, more: { name?: string; sha256?: string; clientId?: string } = {}) =>
  server.call('file.reserve', { name: 'notes.txt', size: bytes.length, ...more }, token);

/** Asks where an upload is. */
const head = ({ server }: Place, { token }: { token: string }, url: string): Promise<HttpAnswer> =>
  server.http('HEAD', url, { headers: { ...tus, authorization: `Bearer ${token}` } });

/**
 * Sends the beginning of a body and breaks the connection. Comes back when the server has it all; it cannot yet know
 * that nothing more will come.
 */
async function cutAfter(place: Place, { token }: { token: string }, url: string, offset: number, rest: Buffer, sent: number, kept: () => Promise<number>): Promise<net.Socket> {
  const socket = net.connect(place.server.port, '127.0.0.1');
  const headers = { ...tus, host: `127.0.0.1:${place.server.port}`, authorization: `Bearer ${token}`, 'upload-offset': offset, 'content-length': rest.length };
  socket.on('error', () => {});
  socket.write(
    `PATCH ${url} HTTP/1.1\r\n${Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n`,
  );
  socket.write(rest.subarray(0, sent));
  await vi.waitUntil(async () => (await kept()) >= offset + sent, { timeout: 20_000, interval: 2 });
  return socket;
}

/** Bytes of an upload that the disk of this server has. */
const onDisk = ({ server }: Place, fileId: string): number => fs.statSync(path.join(server.config.data, 'files', 'incoming', fileId), { throwIfNoEntry: false })?.size ?? 0;

/** Everything below the folder of files, without the folders. */
const stored = ({ server }: Place): string[] => {
  const folder = path.join(server.config.data, 'files');
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []));
};

describe.each(engines)('files on %s, seed ' + seed, (engine) => {
  const place = usePlace({ engine });

  test('[FI1] a place is made for so many bytes, and the same clientId answers the same place', async () => {
    const anna = await place.person();
    const id = clientId();
    const first = await reserve(place, anna, { length: 10 }, { clientId: id });
    expect(first).toEqual({ fileId: expect.any(String), url: `/files/${first.fileId}`, expiresAt: expect.any(Number) });
    expect(await reserve(place, anna, { length: 10 }, { clientId: id })).toEqual(first);
    expect((await reserve(place, await place.person(), { length: 10 }, { clientId: id })).fileId).not.toBe(first.fileId);
    await expect(reserve(place, anna, { length: 11 }, { clientId: id })).rejects.toMatchObject({ code: 'client_id_reused' });
    await expect(reserve(place, anna, { length: 10 }, { clientId: id, name: 'other.txt' })).rejects.toMatchObject({ code: 'client_id_reused' });
    // Given up, it is a place no more.
    await place.server.http('DELETE', first.url, { headers: { ...tus, authorization: `Bearer ${anna.token}` } });
    expect((await reserve(place, anna, { length: 10 }, { clientId: id })).fileId).not.toBe(first.fileId);
  });

  test('[FI1] a file has at most as many bytes as the server says, and a person as many open places', async () => {
    const anna = await place.person();
    await reserve(place, anna, { length: limits.fileBytes });
    await expect(reserve(place, anna, { length: limits.fileBytes + 1 })).rejects.toMatchObject({ code: 'too_large', message: expect.stringContaining('100 MiB') });
    for (let open = 1; open < limits.openUploads; open += 1) await reserve(place, anna, { length: 1 });
    await expect(reserve(place, anna, { length: 1 })).rejects.toMatchObject({ code: 'too_many', message: expect.stringContaining(String(limits.openUploads)) });
    await place.rows.run("update files set state = 'dropped' where owner_id = ?", anna.id);
    await reserve(place, anna, { length: 1 });
  });

  test('[FI2] HEAD says how far an upload is, PATCH goes on there and nowhere else, and takes no more than was announced', async () => {
    const { server } = place;
    const [anna, bert] = await place.people('anna', 'bert');
    const bytes = randomBytes(1_000);
    const { fileId, url } = await reserve(place, anna!, bytes);
    const at = await head(place, anna!, url);
    expect([at.status, at.headers]).toMatchObject([200, { 'upload-offset': '0', 'upload-length': '1000', 'tus-resumable': '1.0.0', 'cache-control': 'no-store' }]);
    expect(Date.parse(at.headers['upload-expires'] as string)).toBeGreaterThan(Date.now() + 23 * hours);
    const first = await server.patch(anna!, url, 0, bytes.subarray(0, 400));
    expect([first.status, first.headers['upload-offset']]).toEqual([204, '400']);
    for (const wrong of [0, 399, 401]) expect((await server.patch(anna!, url, wrong, bytes.subarray(400))).error).toBe('incomplete');
    const long = await server.patch(anna!, url, 400, Buffer.concat([bytes.subarray(400), Buffer.from('x')]));
    expect([long.status, long.error]).toEqual([413, 'too_large']);
    // A body that does not say how long it is.
    const chunked = await server.http('PATCH', url, {
      headers: { ...tus, authorization: `Bearer ${anna!.token}`, 'upload-offset': '400', 'transfer-encoding': 'chunked' },
      body: randomBytes(601),
    });
    expect([chunked.status, chunked.error]).toEqual([413, 'too_large']);
    for (const [who, expected] of [
      [bert!, 404],
      [{ token: 'kith_nobody' }, 401],
    ] as const) {
      expect((await head(place, who, url)).status).toBe(expected);
      expect((await server.patch(who, url, 400, bytes.subarray(400))).status).toBe(expected);
      expect((await server.http('DELETE', url, { headers: { ...tus, authorization: `Bearer ${who.token}` } })).status).toBe(expected);
    }
    expect((await head(place, anna!, url)).headers['upload-offset']).toBe('400');
    const last = await server.patch(anna!, url, 400, bytes.subarray(400));
    expect([last.status, last.headers['upload-offset']]).toEqual([204, '1000']);
    expect((await server.download(anna!, fileId)).bytes).toEqual(bytes);
  });

  test('[FI2] what is no request of this protocol is refused', async () => {
    const { server } = place;
    const anna = await place.person();
    const { url } = await reserve(place, anna, { length: 10 });
    const options = await server.http('OPTIONS', url);
    expect([options.status, options.headers]).toMatchObject([
      204,
      { 'tus-version': '1.0.0', 'tus-extension': 'checksum,expiration,termination', 'tus-max-size': String(limits.fileBytes), 'tus-checksum-algorithm': 'sha1,sha256' },
    ]);
    const patch = (headers: Record<string, string>) => server.patch(anna, url, 0, Buffer.from('0123456789'), headers);
    expect((await patch({ 'tus-resumable': '0.2.2' })).status).toBe(412);
    expect((await patch({ 'content-type': 'application/octet-stream' })).status).toBe(415);
    expect((await patch({ 'content-type': 'multipart/form-data; boundary=x' })).status).toBe(415);
    expect((await patch({ 'content-encoding': 'gzip' })).status).toBe(415);
    for (const offset of ['', '-1', '1e3', '0x0', '99999999999999999999']) expect((await patch({ 'upload-offset': offset })).status).toBe(400);
    for (const where of ['/files/../../etc/passwd', '/files/..%2f..%2fetc%2fpasswd', `/files/${'x'.repeat(65)}`, '/files/nobody', '/files/%00'])
      expect([where, (await head(place, anna, where)).status]).toEqual([where, expect.toSatisfy((status: number) => status === 400 || status === 404)]);
    expect((await head(place, anna, url)).headers['upload-offset']).toBe('0');
  });

  test('[FI3] an upload whose connection breaks at any byte, two hundred times, goes on where it was, and ends as what was sent', { timeout: 60_000 }, async () => {
    const random = randomFrom(seed);
    const anna = await place.person();
    const bytes = randomBytes(400_000);
    const { fileId, url } = await reserve(place, anna, bytes);
    let at = 0;
    for (let cut = 1; cut <= 200; cut += 1) {
      const sent = Math.floor(random() * Math.min(4_000, bytes.length - at));
      const socket = await cutAfter(place, anna, url, at, bytes.subarray(at), sent, async () => onDisk(place, fileId));
      // Half of them the server learns of, the others it has to find out.
      if (random() < 0.5) socket.destroy();
      const now = await head(place, anna, url);
      socket.destroy();
      expect([now.status, Number(now.headers['upload-offset'])]).toEqual([200, at + sent]);
      expect((await place.server.download(anna, fileId)).status).toBe(404);
      at += sent;
    }
    expect((await place.server.patch(anna, url, at, bytes.subarray(at))).status).toBe(204);
    const { file } = await place.server.call('file.commit', { fileId, sha256: sha256(bytes) }, anna.token);
    expect(file.size).toBe(bytes.length);
    expect(sha256((await place.server.download(anna, fileId)).bytes)).toBe(sha256(bytes));
  });

  test('[FI4] the newest request of an upload wins, and a person has six at once', async () => {
    const { server } = place;
    const anna = await place.person();
    const bytes = randomBytes(2_000);
    const open = async () => {
      const { fileId, url } = await reserve(place, anna, bytes);
      return { url, socket: await cutAfter(place, anna, url, 0, bytes, 500, async () => onDisk(place, fileId)) };
    };
    const first = await open();
    const over = new Promise((resolve) => first.socket.once('close', resolve));
    expect((await server.patch(anna, first.url, 500, bytes.subarray(500))).status).toBe(204);
    await over;
    const sockets = await Promise.all(Array.from({ length: limits.uploadsAtOnce }, open));
    const { url } = await reserve(place, anna, bytes);
    const refused = await server.patch(anna, url, 0, bytes);
    expect([refused.status, refused.error, refused.headers['retry-after']]).toEqual([429, 'rate_limited', '1']);
    expect((await server.patch(anna, sockets[0]!.url, 500, bytes.subarray(500))).status).toBe(204);
    expect((await server.patch(anna, url, 0, bytes)).status).toBe(204);
    for (const { socket } of sockets) socket.destroy();
  });

  test('[FI5] bytes that are not those of the checksum are forgotten', async () => {
    const { server } = place;
    const anna = await place.person();
    const bytes = randomBytes(1_000);
    const checksum = (algorithm: string, of: Buffer) => ({ 'upload-checksum': `${algorithm} ${createHash(algorithm).update(of).digest('base64')}` });
    const { url } = await reserve(place, anna, bytes);
    expect((await server.patch(anna, url, 0, bytes.subarray(0, 300), checksum('sha1', bytes.subarray(0, 300)))).status).toBe(204);
    const damaged = await server.patch(anna, url, 300, bytes.subarray(300), checksum('sha256', bytes));
    expect([damaged.status, damaged.error]).toEqual([460, 'checksum_mismatch']);
    expect((await head(place, anna, url)).headers['upload-offset']).toBe('300');
    expect((await server.patch(anna, url, 300, bytes.subarray(300), { 'upload-checksum': 'md5 x' })).status).toBe(400);
    expect((await server.patch(anna, url, 300, bytes.subarray(300), checksum('sha256', bytes.subarray(300)))).status).toBe(204);
    // Announced for the whole file.
    const whole = await reserve(place, anna, bytes, { sha256: sha256(bytes) });
    const other = await server.patch(anna, whole.url, 0, randomBytes(1_000));
    expect([other.status, other.error]).toEqual([460, 'checksum_mismatch']);
    expect((await head(place, anna, whole.url)).headers['upload-offset']).toBe('0');
    expect((await server.patch(anna, whole.url, 0, bytes)).status).toBe(204);
  });

  test('[FI6] a file is committed when all its bytes have come and are the ones that were meant, and once', async () => {
    const [anna, bert] = await place.people('anna', 'bert');
    const bytes = randomBytes(1_000);
    const { fileId, url } = await reserve(place, anna!, bytes, { name: 'a.pdf' });
    const commit = (hash: string, who: Someone | undefined = anna) => who!.call('file.commit', { fileId, sha256: hash });
    await expect(commit(sha256(bytes))).rejects.toMatchObject({ code: 'incomplete' });
    await place.server.patch(anna!, url, 0, bytes.subarray(0, 999));
    await expect(commit(sha256(bytes))).rejects.toMatchObject({ code: 'incomplete' });
    await place.server.patch(anna!, url, 999, bytes.subarray(999));
    await expect(commit(sha256(Buffer.from('other')))).rejects.toMatchObject({ code: 'checksum_mismatch' });
    await expect(commit(sha256(bytes), bert)).rejects.toMatchObject({ code: 'not_found' });
    const { conversation } = await anna!.call('conversation.direct', { userId: anna!.id });
    const early = { conversationId: conversation.id, clientId: clientId(), type: 'file', text: '', fileId } as const;
    await expect(anna!.call('message.send', early)).rejects.toMatchObject({ code: 'incomplete' });
    const answer = { file: { id: fileId, name: 'a.pdf', size: 1_000, type: 'application/octet-stream' } };
    expect(await commit(sha256(bytes))).toEqual(answer);
    expect(await commit(sha256(bytes))).toEqual(answer);
    await anna!.call('message.send', early);
    expect(await commit(sha256(bytes))).toEqual(answer);
  });

  test('[FI6] a file of no bytes is one as well', async () => {
    const anna = await place.person();
    const { fileId, url } = await reserve(place, anna, { length: 0 });
    expect((await head(place, anna, url)).headers['upload-offset']).toBe('0');
    await anna.call('file.commit', { fileId, sha256: sha256(Buffer.alloc(0)) });
    const got = await place.server.download(anna, fileId);
    expect([got.status, got.bytes.length]).toEqual([200, 0]);
  });

  test('[FI7] a message carries a file and a caption, arrives as any other, and is the same however often it is sent', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const bytes = noise();
    const file = await place.server.upload(anna, bytes, { name: '假期 🏝.png' });
    expect(file).toEqual({ id: file.id, name: '假期 🏝.png', size: bytes.length, type: 'image/png', width: 16, height: 16, preview: expect.any(String) });
    const params = { conversationId, clientId: clientId(), type: 'image', text: '', fileId: file.id } as const;
    const answers = await Promise.all([anna.call('message.send', params), anna.call('message.send', params), anna.call('message.send', params)]);
    expect(new Set(answers.map(({ message }) => message.id)).size).toBe(1);
    const { message } = answers[0];
    expect(message).toMatchObject({ type: 'image', text: '', file });
    await bert.settle();
    expect(bert.pushes(stream).flatMap(({ entities }) => entities.filter(({ kind }) => kind === 'message'))).toEqual([message]);
    expect((await bert.call('message.history', { conversationId })).messages).toEqual([message]);
    await expect(anna.call('message.send', { ...params, type: 'file' })).rejects.toMatchObject({ code: 'client_id_reused' });
    const second = await place.server.upload(anna, noise());
    await expect(anna.call('message.send', { ...params, fileId: second.id })).rejects.toMatchObject({ code: 'client_id_reused' });
    expect((await anna.call('message.edit', { messageId: message.id, text: 'the beach' })).message).toMatchObject({ text: 'the beach', file });
    expect((await anna.call('message.edit', { messageId: message.id, text: '' })).message).toMatchObject({ text: '', file });
    // As at the first time, also when it is gone.
    await anna.call('message.delete', { messageId: message.id });
    expect((await anna.call('message.send', params)).message).toMatchObject({ id: message.id, text: '', deletedAt: expect.any(Number) });
  });

  test('[FI7] types image and file take a file, image a picture, and no other type takes one', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const text = await place.server.upload(anna, Buffer.from('<svg onload="alert(1)"/>'), { name: 'a.svg', type: 'image/svg+xml' });
    const sending = (params: object) => anna.client.request('message.send', { conversationId, clientId: clientId(), text: 'x', ...params });
    for (const params of [
      { type: 'image' },
      { type: 'file' },
      { type: 'text', fileId: text.id },
      { type: 'emoji', text: '👋', fileId: text.id },
      { type: 'image', fileId: text.id },
    ])
      expect((await sending(params)).error).toMatchObject({ code: 'bad_request', path: 'params.fileId' });
    expect((await sending({ type: 'file', fileId: 'nobody' })).error).toMatchObject({ code: 'not_found' });
    expect((await sending({ type: 'text', text: '' })).error).toMatchObject({ code: 'bad_request', path: 'params.text' });
    // Not of others, until one may read it; then it can be passed on.
    const theirs = { conversationId, clientId: clientId(), type: 'file', text: '', fileId: text.id } as const;
    await expect(bert.call('message.send', theirs)).rejects.toMatchObject({ code: 'not_found' });
    const original = await send(anna, conversationId, text);
    const notes = (await bert.call('conversation.direct', { userId: bert.id })).conversation.id;
    const forwarded = await send(bert, notes, text);
    await anna.call('message.delete', { messageId: original.id });
    expect((await place.server.download(anna, text.id)).status).toBe(404);
    expect((await place.server.download(bert, text.id)).status).toBe(200);
    await bert.call('message.delete', { messageId: forwarded.id });
    expect((await place.server.download(bert, text.id)).status).toBe(404);
    await expect(send(anna, conversationId, text)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[FI8] members read a file, its sender also before it is sent, and nobody else', async () => {
    const { server } = place;
    const { anna, bert, cleo, conversationId } = await place.group();
    const [outsider, bytes] = [await place.person('olga'), some()];
    const file = await server.upload(anna, bytes);
    const statuses = async (...people: { token: string }[]) => Promise.all(people.map(async (who) => (await server.download(who, file.id)).status));
    expect(await statuses(anna, bert, outsider, { token: 'kith_nobody' })).toEqual([200, 404, 404, 401]);
    expect((await server.http('GET', `/files/${file.id}/x`)).status).toBe(401);
    await send(anna, conversationId, file);
    expect(await statuses(anna, bert, cleo, outsider)).toEqual([200, 200, 200, 404]);
    // By the answer "not modified" nobody learns of it either, nor of its length.
    const { etag } = (await server.download(bert, file.id)).headers;
    expect((await server.download(outsider, file.id, { 'if-none-match': etag! })).status).toBe(404);
    expect((await server.download(outsider, file.id, { range: 'bytes=999999-' })).status).toBe(404);
    expect((await server.download(outsider, file.id, {}, 'HEAD')).status).toBe(404);
    await anna.call('member.remove', { conversationId, userId: bert.id });
    expect(await statuses(anna, bert, cleo)).toEqual([200, 404, 200]);
    expect((await server.download(bert, file.id, { 'if-none-match': etag! })).status).toBe(404);
    await cleo.call('conversation.leave', { conversationId });
    expect(await statuses(anna, cleo)).toEqual([200, 404]);
    await server.call('auth.logout', {}, anna.token);
    expect(await statuses(anna)).toEqual([401]);
  });

  test('[FI8] a blocked person keeps what was in the conversation; a request shows what is in it', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const file = await place.server.upload(anna, some());
    await send(anna, conversationId, file);
    await anna.call('block.add', { userId: bert.id });
    expect((await place.server.download(bert, file.id)).status).toBe(200);
    await expect(bert.call('file.reserve', { conversationId, name: 'x', size: 1 })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[FI9] with its last message a file is out of reach at once, whoever ends it', async () => {
    const { server } = place;
    const { anna, bert, cleo, conversationId } = await place.group();
    const [recalled, dissolved, both] = [await server.upload(anna, some()), await server.upload(bert, some()), await server.upload(bert, some())];
    const message = await send(anna, conversationId, recalled);
    for (const file of [dissolved, both]) await send(bert, conversationId, file);
    const { conversation } = await bert.call('conversation.create', { title: 'Other', memberIds: [] });
    await send(bert, conversation.id, both);
    const gone = await anna.call('message.delete', { messageId: message.id });
    expect(gone.message).not.toHaveProperty('file');
    expect((await cleo.call('message.history', { conversationId })).messages.find(({ id }) => id === message.id)).not.toHaveProperty('file');
    expect((await server.download(anna, recalled.id)).status).toBe(404);
    await anna.call('conversation.dissolve', { conversationId });
    for (const who of [anna, bert, cleo]) expect((await server.download(who, dissolved.id)).status).toBe(404);
    expect((await server.download(bert, both.id)).status).toBe(200);
    // The last one to leave takes with them what nobody can come back to.
    await bert.call('conversation.leave', { conversationId: conversation.id });
    const rows = await place.rows.run<{ state: string }>('select state from files where id in (?, ?, ?)', recalled.id, dissolved.id, both.id);
    expect(rows.map(({ state }) => state)).toEqual(['dropped', 'dropped', 'dropped']);
  });

  test('[FI12] what a file is, its bytes say: shown in place, or downloaded as bytes of no kind', async () => {
    const { server } = place;
    const anna = await place.person();
    const cases: [name: string, claimed: string, bytes: Buffer, type: string, inline: boolean][] = [
      ['a.png', 'text/html', noise(), 'image/png', true],
      ['a.html', 'image/png', Buffer.from('<!doctype html><script>alert(1)</script>'), 'application/octet-stream', false],
      ['a.svg', 'image/svg+xml', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'), 'application/octet-stream', false],
      ['a.html', 'text/html', Buffer.from('<script>alert(1)</script>'), 'text/html', false],
      ['a.pdf', 'application/pdf', Buffer.from('%PDF-1.7 <script>'), 'application/pdf', false],
      ['a.gif', 'image/gif', Buffer.from('GIF89a/*<script>*/=1;alert(1)'), 'application/octet-stream', false],
      ['a.swf', 'video/mp4', Buffer.from('CWS\x09'), 'application/octet-stream', false],
      ['a.mht', 'message/rfc822', Buffer.from('MIME-Version: 1.0\r\nContent-Type: text/html'), 'message/rfc822', false],
    ];
    for (const [name, claimed, bytes, type, inline] of cases) {
      const file = await server.upload(anna, bytes, { name, type: claimed });
      expect([name, file.type]).toEqual([name, type]);
      const { headers, bytes: got } = await server.download(anna, file.id);
      expect(got).toEqual(bytes);
      expect(headers).toMatchObject({
        'content-type': inline ? type : 'application/octet-stream',
        'content-disposition': expect.stringMatching(inline ? /^inline; / : /^attachment; /),
        'x-content-type-options': 'nosniff',
        'content-security-policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
        'cross-origin-resource-policy': 'same-origin',
        'cache-control': 'private, no-cache',
        'content-length': String(bytes.length),
      });
      expect(headers).not.toHaveProperty('service-worker-allowed');
    }
  });

  test('[FI13] a name is cleaned once, and never gets into a header raw', async () => {
    const anna = await place.person();
    const file = await place.server.upload(anna, Buffer.from('x'), { name: '../a"; x=\r\nSet-Cookie: a=1\u202e会议.txt' });
    expect(file.name).toBe('a_; x= Set-Cookie_ a=1会议.txt');
    const { headers } = await place.server.download(anna, file.id);
    expect(headers['content-disposition']).toBe(`attachment; filename="a__ x= Set-Cookie_ a=1__.txt"; filename*=UTF-8''a_%3B%20x%3D%20Set-Cookie_%20a%3D1%E4%BC%9A%E8%AE%AE.txt`);
    expect(headers).not.toHaveProperty('set-cookie');
    // The name in the URL is nobody's business.
    for (const name of ['', 'x', '..%2f..%2fetc%2fpasswd', '%0d%0aset-cookie:%20a=1', '%E6%96%87'.repeat(200)]) {
      const answer = await place.server.http('GET', `/files/${file.id}/${name}`, { headers: { authorization: `Bearer ${anna.token}` } });
      expect([name, answer.status, answer.headers['content-disposition']]).toEqual([name, 200, headers['content-disposition']]);
    }
  });

  test('[FI14] a part of a file can be asked for, what one has is not sent again, and HEAD says what GET would', async () => {
    const { server } = place;
    const anna = await place.person();
    const bytes = some(10_000);
    const { id } = await server.upload(anna, bytes);
    const whole = await server.download(anna, id);
    expect(whole.headers).toMatchObject({ 'accept-ranges': 'bytes', etag: expect.stringMatching(/^"[\w-]{43}"$/) });
    const etag = whole.headers.etag!;
    const ranges: [string, number, string | undefined, Buffer][] = [
      ['bytes=0-0', 206, 'bytes 0-0/10000', bytes.subarray(0, 1)],
      ['bytes=100-199', 206, 'bytes 100-199/10000', bytes.subarray(100, 200)],
      ['bytes=9000-', 206, 'bytes 9000-9999/10000', bytes.subarray(9_000)],
      ['bytes=-100', 206, 'bytes 9900-9999/10000', bytes.subarray(-100)],
      ['bytes=-99999', 206, 'bytes 0-9999/10000', bytes],
      ['bytes=5-999999999999999', 206, 'bytes 5-9999/10000', bytes.subarray(5)],
      ['bytes=10000-', 416, 'bytes */10000', Buffer.alloc(0)],
      ['bytes=-0', 416, 'bytes */10000', Buffer.alloc(0)],
      ['bytes=0-1,5-6', 200, undefined, bytes],
      [`bytes=${Array.from({ length: 1_000 }, (_, at) => `${at}-${at}`).join()}`, 200, undefined, bytes],
      ['bytes=9-5', 200, undefined, bytes],
      ['bytes=-', 200, undefined, bytes],
      ['chapters=1-2', 200, undefined, bytes],
      ['bytes=0-99999999999999999999', 200, undefined, bytes],
    ];
    for (const [range, status, contentRange, part] of ranges) {
      const answer = await server.download(anna, id, { range });
      expect([range.slice(0, 40), answer.status, answer.headers['content-range']]).toEqual([range.slice(0, 40), status, contentRange]);
      expect(answer.bytes.equals(part)).toBe(true);
    }
    expect((await server.download(anna, id, { range: 'bytes=0-9', 'if-range': etag })).status).toBe(206);
    expect((await server.download(anna, id, { range: 'bytes=0-9', 'if-range': '"other"' })).status).toBe(200);
    for (const value of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const answer = await server.download(anna, id, { 'if-none-match': value });
      expect([value, answer.status, answer.bytes.length, answer.headers.etag]).toEqual([value, 304, 0, etag]);
    }
    const asked = await server.download(anna, id, {}, 'HEAD');
    const { date: _, ...expected } = whole.headers;
    expect([asked.status, asked.bytes.length, asked.headers]).toMatchObject([200, 0, { ...expected, date: expect.any(String) }]);
    expect((await server.download(anna, id, { range: 'bytes=0-9' }, 'HEAD')).headers).toMatchObject({ 'content-length': '10', 'content-range': 'bytes 0-9/10000' });
  });

  test('[FI15] a browser shows a file in pages of ours, runs none, and sends none for another site', async () => {
    const { server } = place;
    const anna = await place.person();
    const { id } = await server.upload(anna, some());
    const cookie = `kith=${anna.token}`;
    const get = (headers: Record<string, string>) => server.http('GET', `/files/${id}/a.png`, { headers: { cookie, ...headers } });
    expect((await get({})).status).toBe(200);
    expect((await get({ 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': 'image' })).status).toBe(200);
    expect((await get({ 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': 'document', 'sec-fetch-mode': 'navigate' })).status).toBe(200);
    for (const site of ['cross-site', 'same-site']) expect((await get({ 'sec-fetch-site': site, 'sec-fetch-dest': 'image' })).status).toBe(403);
    for (const dest of ['script', 'serviceworker', 'worker', 'sharedworker', 'style', 'object', 'embed'])
      expect((await get({ 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': dest })).status).toBe(404);
    const { url } = await reserve(place, anna, { length: 4 });
    const patch = (headers: Record<string, string>) =>
      server.http('PATCH', url, { headers: { ...tus, cookie, 'upload-offset': '0', 'content-length': '4', ...headers }, body: 'four' });
    for (const headers of [{}, { origin: 'https://evil.example' }, { origin: 'null' }, { origin: server.url, 'sec-fetch-site': 'cross-site' }])
      expect((await patch(headers as Record<string, string>)).status).toBe(403);
    expect((await server.http('DELETE', url, { headers: { ...tus, cookie, origin: 'https://evil.example' } })).status).toBe(403);
    expect((await patch({ origin: server.url })).status).toBe(204);
    expect((await server.http('PATCH', url, { headers: { ...tus, 'upload-offset': '4', 'content-length': '0' } })).status).toBe(401);
  });
});

describe.each(engines)('files and room on %s', (engine) => {
  const place = usePlace({ engine, config: { fileSize: 1, filesPerUser: 2, filesTotal: 3 } });
  const mib = 1_048_576;

  test('[FI11] a person and a server have so much room for files; without it everything else goes on, and it comes back', async () => {
    const { anna, bert, conversationId } = await place.direct();
    await reserve(place, anna, { length: mib });
    const { url } = await reserve(place, anna, { length: mib });
    await expect(reserve(place, anna, { length: 1 })).rejects.toMatchObject({ code: 'quota_full' });
    await reserve(place, bert, { length: mib });
    await expect(reserve(place, bert, { length: 1 })).rejects.toMatchObject({ code: 'storage_full' });
    await anna.say(conversationId, 'words take no room');
    await reserve(place, bert, { length: 0 });
    await place.server.http('DELETE', url, { headers: { ...tus, authorization: `Bearer ${anna.token}` } });
    const { core } = place.server.running;
    await core.forgetFiles(await core.unusedFiles());
    await reserve(place, bert, { length: 1 });
    const usage = await place.rows.run<{ owner_id: string; bytes: number }>('select owner_id, bytes from file_usage');
    expect(new Map(usage.map(({ owner_id, bytes }) => [owner_id, Number(bytes)]))).toEqual(
      new Map([
        ['', 2 * mib + 1],
        [anna.id, mib],
        [bert.id, mib + 1],
      ]),
    );
  });

  test('[FI18] a person learns how much room there is and how much they take, an operator the same of the server', async () => {
    const [boss, cleo] = [await place.operator(), await place.person('cleo')];
    const before = (await boss.call('file.usage', {})).server!;
    const { url } = await reserve(place, cleo, { length: 1_000 });
    expect(await cleo.call('file.usage', {})).toEqual({ own: { bytes: 1_000, limit: 2 * mib }, fileLimit: mib });
    expect(await boss.call('file.usage', {})).toEqual({ own: { bytes: 0, limit: 2 * mib }, fileLimit: mib, server: { bytes: before.bytes + 1_000, limit: 3 * mib } });
    await place.server.http('DELETE', url, { headers: { ...tus, authorization: `Bearer ${cleo.token}` } });
    await place.server.running.core.forgetFiles(await place.server.running.core.unusedFiles());
    expect((await cleo.call('file.usage', {})).own.bytes).toBe(0);
  });
});

describe.each(engines)('files and the disk on %s', (engine) => {
  const place = usePlace({ engine, config: { uploadReserve: 1_000_000_000 } });

  test('[FI11] a disk without room takes no upload, and everything else goes on', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const bytes = randomBytes(500_000);
    const { fileId, url } = await reserve(place, anna, bytes);
    const answer = await place.server.patch(anna, url, 0, bytes);
    expect([answer.status, answer.error]).toEqual([507, 'storage_full']);
    expect((await head(place, anna, url)).headers['upload-offset']).toBe('0');
    await expect(anna.call('file.commit', { fileId, sha256: sha256(bytes) })).rejects.toMatchObject({ code: 'incomplete' });
    const { text } = await anna.say(conversationId, 'still here');
    expect((await bert.call('message.history', { conversationId })).messages.at(-1)?.text).toBe(text);
  });
});

test.skipIf(!canMount())(
  '[FI11] a disk that is full in the middle of an upload keeps what fitted; everything else goes on, and so does the upload once there is room',
  async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-full-'));
    fs.mkdirSync(path.join(folder, 'files'));
    const disk = mountSmall(path.join(folder, 'files'), '2m');
    const place = new Place({ config: { data: folder, uploadReserve: 0 } });
    onTestFinished(async () => {
      await place.close();
      disk.unmount();
      fs.rmSync(folder, { recursive: true });
    });
    await place.open();
    const { anna, bert, conversationId } = await place.direct();
    const before = await place.server.upload(anna, some(100_000));
    const bytes = randomBytes(3_000_000);
    const { fileId, url } = await reserve(place, anna, bytes);
    const full = await place.server.patch(anna, url, 0, bytes);
    expect([full.status, full.error]).toEqual([507, 'storage_full']);
    const at = Number((await head(place, anna, url)).headers['upload-offset']);
    expect(at).toBeGreaterThan(1_000_000);
    expect((await place.server.download(anna, fileId)).status).toBe(404);
    expect((await place.server.download(anna, before.id)).bytes).toHaveLength(before.size);
    await anna.say(conversationId, 'still here');
    expect((await bert.call('message.history', { conversationId })).messages.at(-1)?.text).toBe('still here');
    disk.resize('16m');
    expect((await place.server.patch(anna, url, at, bytes.subarray(at))).status).toBe(204);
    await anna.call('file.commit', { fileId, sha256: sha256(bytes) });
    expect(sha256((await place.server.download(anna, fileId)).bytes)).toBe(sha256(bytes));
  },
);

describe.each(engines)('files and a sweep that is cut off, on %s', (engine) => {
  const clock = new ManualClock();
  let now = Date.now();
  let cut = false;
  let rounds = 0;
  const place = usePlace({
    engine,
    clock,
    now: () => now,
    wrapCore: (core) =>
      coreWith(core, {
        async forgetFiles(ids) {
          rounds += 1;
          if (cut) throw new Error('killed between the bytes and the rows');
          return core.forgetFiles(ids);
        },
      }),
  });

  test('[FI10] after a sweep that was cut off the next one is whole: no bytes without a row, no row without bytes', async () => {
    const { anna, conversationId } = await place.direct();
    const kept = await place.server.upload(anna, some());
    await send(anna, conversationId, kept);
    const recalled = await send(anna, conversationId, await place.server.upload(anna, some()));
    await place.server.upload(anna, some());
    const begun = await reserve(place, anna, { length: 100 });
    await place.server.patch(anna, begun.url, 0, randomBytes(50));
    await reserve(place, anna, { length: 100 });
    await anna.call('message.delete', { messageId: recalled.id });
    now += 24 * hours + 1;
    cut = true;
    await clock.pass(60_000);
    await vi.waitUntil(() => rounds === 1, { timeout: 20_000 });
    expect(stored(place)).toEqual([kept.id]);
    expect((await place.rows.run('select id from files')).length).toBe(5);
    cut = false;
    const ids = async () => (await place.rows.run<{ id: string }>('select id from files')).map(({ id }) => id);
    // The round that was cut off may not be over yet when the next minute comes: then it is the one after.
    await vi.waitUntil(
      async () => {
        await clock.pass(60_000);
        return (await ids()).length === 1;
      },
      { timeout: 20_000 },
    );
    expect([stored(place), await ids()]).toEqual([[kept.id], [kept.id]]);
    expect((await anna.call('file.usage', {})).own.bytes).toBe(kept.size);
  });
});

describe.each(engines)('files and time on %s', (engine) => {
  const clock = new ManualClock();
  let now = Date.now();
  const place = usePlace({ engine, clock, now: () => now });
  /** A round of the sweep, all of it. */
  const swept = async (gone: string[]): Promise<void> => {
    await clock.pass(60_000);
    await vi.waitUntil(() => stored(place).every((name) => !gone.includes(name)), { timeout: 20_000 });
    await vi.waitUntil(async () => (await place.rows.run(`select id from files where id in ('', ${gone.map((id) => `'${id}'`).join()})`)).length === 0, { timeout: 20_000 });
  };

  test('[FI10] what nobody sends within a day is deleted, finished or not, and what was sent is kept', async () => {
    const { server } = place;
    const { anna, conversationId } = await place.direct();
    const [sent, unsent] = [await server.upload(anna, some()), await server.upload(anna, some())];
    const { fileId, url } = await reserve(place, anna, { length: 100 });
    await server.patch(anna, url, 0, randomBytes(50));
    const { fileId: empty } = await reserve(place, anna, { length: 100 });
    await send(anna, conversationId, sent);
    now += 24 * hours - 1_000;
    await clock.pass(60_000);
    expect((await server.download(anna, unsent.id)).status).toBe(200);
    expect((await head(place, anna, url)).headers['upload-offset']).toBe('50');
    now += 2_000;
    expect((await server.download(anna, unsent.id)).status).toBe(404);
    expect((await server.patch(anna, url, 50, randomBytes(50))).status).toBe(404);
    await expect(send(anna, conversationId, unsent)).rejects.toMatchObject({ code: 'not_found' });
    await swept([unsent.id, fileId, empty]);
    expect(stored(place)).toEqual([sent.id]);
    expect((await server.download(anna, sent.id)).status).toBe(200);
    const { total } = (await place.rows.run<{ total: number }>('select bytes as total from file_usage where owner_id = ?', anna.id))[0]!;
    expect(Number(total)).toBe(sent.size);
  });

  test('[FI9] a minute after its last message the bytes of a file are gone, and the room is free again', async () => {
    const { anna, conversationId } = await place.direct();
    const file = await place.server.upload(anna, some());
    const message = await send(anna, conversationId, file);
    expect(stored(place)).toContain(file.id);
    await anna.call('message.delete', { messageId: message.id });
    await swept([file.id]);
    const { total } = (await place.rows.run<{ total: number }>('select bytes as total from file_usage where owner_id = ?', anna.id))[0]!;
    expect(Number(total)).toBe(0);
  });

  test('[FI4] an upload that is too slow is cut, and can be resumed', async () => {
    const anna = await place.person();
    const bytes = randomBytes(500_000);
    const { fileId, url } = await reserve(place, anna, bytes);
    const socket = await cutAfter(place, anna, url, 0, bytes, 100_000, async () => onDisk(place, fileId));
    const over = new Promise((resolve) => socket.once('close', resolve));
    const enough = 10_000 + (100_000 / limits.uploadBytesPerSecond) * 1_000;
    await clock.pass(Math.floor(enough / 5_000) * 5_000);
    expect(socket.destroyed).toBe(false);
    await clock.pass(10_000);
    await over;
    expect((await place.server.patch(anna, url, 100_000, bytes.subarray(100_000))).status).toBe(204);
  });

  test('[FI16] a body other than an upload has half a minute to come', async () => {
    const socket = net.connect(place.server.port, '127.0.0.1');
    let said = '';
    socket.setEncoding('utf8').on('data', (text: string) => (said += text));
    const over = new Promise((resolve) => socket.once('close', resolve));
    socket.write('POST /api/auth.guest HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{');
    // Answered behind it, so that it has been taken up.
    await place.server.http('GET', '/healthz');
    await clock.pass(29_000);
    expect(said).toBe('');
    await clock.pass(2_000);
    await over;
    expect(said).toMatch(/^HTTP\/1\.1 408 /);
  });
});
