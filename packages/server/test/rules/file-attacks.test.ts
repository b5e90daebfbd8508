import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { limits } from '@kith/protocol';
import { describe, expect, test, vi } from 'vitest';
import { tus } from '../harness.ts';
import { ManualClock } from '../manual-clock.ts';
import { RawSocket } from '../raw-socket.ts';
import { type Someone, usePlace } from './place.ts';

// What is sent to a server for files by somebody who means it no good, and what comes of it. The rules are those of docs/protocol.md;
// the names are those of the catalogue of attacks.

const mib = 1_048_576;

describe('hostile uploads and downloads', () => {
  const clock = new ManualClock();
  const place = usePlace({ clock, config: { filesPerUser: 8 } });
  const bearer = ({ token }: Someone) => ({ authorization: `Bearer ${token}` });
  const reserve = (who: Someone, size: number, more: { name?: string; type?: string } = {}) => who.call('file.reserve', { name: 'x', size, ...more });
  const offsetOf = async (who: Someone, url: string): Promise<string | undefined> =>
    (await place.server.http('HEAD', url, { headers: { ...tus, ...bearer(who) } })).headers['upload-offset'] as string | undefined;
  const onDisk = (fileId: string): number | undefined => fs.statSync(path.join(place.server.config.data, 'files', 'incoming', fileId), { throwIfNoEntry: false })?.size;
  const allOnDisk = (): string[] => fs.readdirSync(place.server.config.data, { recursive: true, encoding: 'utf8' }).filter((name) => !/kith\.(?:db|lock)|secrets\.json/.test(name));

  /** The head of an upload as no client library would write it. */
  async function rawPatch(who: Someone, url: string, headers: string[]): Promise<RawSocket> {
    const socket = await RawSocket.open(place.server.port);
    const all = { host: `127.0.0.1:${place.server.port}`, 'tus-resumable': '1.0.0', 'content-type': 'application/offset+octet-stream', 'upload-offset': '0', ...bearer(who) };
    socket.socket.write(`PATCH ${url} HTTP/1.1\r\n${[...Object.entries(all).map(([name, value]) => `${name}: ${value}`), ...headers].join('\r\n')}\r\n\r\n`);
    return socket;
  }

  test('[3.3 content length] a body that breaks off at 99 % shows nothing; given up, it leaves nothing and its room is free', async () => {
    const anna = await place.person();
    const bytes = randomBytes(100_000);
    const { fileId, url } = await reserve(anna, bytes.length);
    const socket = await rawPatch(anna, url, [`content-length: ${bytes.length}`]);
    socket.socket.write(bytes.subarray(0, 99_000));
    await vi.waitUntil(() => onDisk(fileId) === 99_000, { timeout: 20_000 });
    socket.socket.destroy();
    expect(await offsetOf(anna, url)).toBe('99000');
    expect((await place.server.download(anna, fileId)).status).toBe(404);
    await expect(anna.call('file.commit', { fileId, sha256: '0'.repeat(64) })).rejects.toMatchObject({ code: 'incomplete' });
    expect((await place.server.http('DELETE', url, { headers: { ...tus, ...bearer(anna) } })).status).toBe(204);
    expect(await offsetOf(anna, url)).toBeUndefined();
    await clock.pass(60_000);
    await vi.waitUntil(() => onDisk(fileId) === undefined, { timeout: 20_000 });
    await vi.waitUntil(async () => (await anna.call('file.usage', {})).own.bytes === 0, { timeout: 20_000 });
  });

  test('[3.3 content length] more than was announced is refused before it is read, and a place of no bytes takes none', async () => {
    const anna = await place.person();
    const { url } = await reserve(anna, 10);
    const far = await rawPatch(anna, url, ['content-length: 999999999999']);
    expect((await far.ended).toString()).toMatch(/^HTTP\/1\.1 413 [^]*connection: close/i);
    const { url: nothing } = await reserve(anna, 0);
    expect((await place.server.patch(anna, nothing, 0, Buffer.from('x'))).status).toBe(413);
    expect(await offsetOf(anna, url)).toBe('0');
  });

  test('[3.3 chunked] chunks without an end are cut when they come too slowly, and what came is the owner’s to go on with', async () => {
    const anna = await place.person();
    const { fileId, url } = await reserve(anna, 500_000);
    const socket = await rawPatch(anna, url, ['transfer-encoding: chunked']);
    socket.socket.write('5\r\nhello\r\n');
    await vi.waitUntil(() => onDisk(fileId) === 5, { timeout: 20_000 });
    await clock.pass(20_000);
    await socket.ended;
    expect(await offsetOf(anna, url)).toBe('5');
  });

  test('[3.3 chunked] what is no chunk ends the request, and nothing of it is written', async () => {
    const anna = await place.person();
    for (const body of ['zz\r\nhello\r\n', '5\r\nhelloworld\r\n', 'fffffffffffffffff\r\n', '-5\r\nhello\r\n']) {
      const { url } = await reserve(anna, 500_000);
      const socket = await rawPatch(anna, url, ['transfer-encoding: chunked']);
      socket.socket.write(body);
      await socket.ended;
      expect(Number(await offsetOf(anna, url))).toBeLessThanOrEqual(5);
    }
  });

  test.each([
    ['a length and chunks', ['content-length: 5', 'transfer-encoding: chunked']],
    ['two lengths', ['content-length: 5', 'content-length: 6']],
    ['a negative length', ['content-length: -5']],
    ['a length in hex', ['content-length: 0x5']],
    ['an encoding that only looks like chunks', ['transfer-encoding: xchunked']],
    ['a folded header', ['x-a: 1', ' content-length: 5']],
  ])('[3.3 smuggling] an upload with %s is answered 400, and nothing is written', async (_, headers) => {
    const anna = await place.person();
    const { fileId, url } = await reserve(anna, 100);
    const socket = await rawPatch(anna, url, headers);
    socket.socket.write('hello');
    expect((await socket.ended).toString()).toMatch(/^HTTP\/1\.1 400 /);
    expect(onDisk(fileId)).toBeUndefined();
  });

  test('[3.3 path traversal] no id leads anywhere, by any method', async () => {
    const anna = await place.person();
    const before = allOnDisk();
    const climbs = [
      '..',
      '../kith.db',
      '..%2fkith.db',
      '%2e%2e%2fkith.db',
      '..%5ckith.db',
      '..%252fkith.db',
      '%00',
      'x%00.png',
      '/etc/passwd',
      '%2fetc%2fpasswd',
      'x'.repeat(300),
      '文',
      '.',
      'incoming',
      'CON',
      '-rf',
    ];
    for (const id of climbs) {
      for (const [method, url] of [
        ['GET', `/files/${id}/x`],
        ['HEAD', `/files/${id}`],
        ['PATCH', `/files/${id}`],
        ['DELETE', `/files/${id}`],
      ] as const) {
        const headers = { ...tus, ...bearer(anna), 'upload-offset': '0', ...(method === 'PATCH' && { 'content-length': '1' }) };
        const answer = await place.server.http(method, encodeURI(decodeURI(url.replaceAll('%', '%25'))).replaceAll('%25', '%'), {
          headers,
          ...(method === 'PATCH' && { body: 'x' }),
        });
        expect([method, id, answer.status]).toEqual([method, id, expect.toSatisfy((status: number) => [400, 404, 405].includes(status))]);
        expect(answer.text).not.toMatch(/SQLite|kith\.db|root:|ENOENT|\/tmp/);
      }
    }
    expect(allOnDisk()).toEqual(before);
  });

  test('[3.3 path traversal] whatever a file is called, its bytes are under our id, and its name is one word of a header', async () => {
    const anna = await place.person();
    const names = [
      '../../../kith.db',
      '..\\..\\kith.db',
      '/etc/passwd',
      'a%2f..%2fb',
      'nul\0byte',
      'CON',
      'trailing.',
      '-rf',
      '文'.repeat(255),
      'x\r\nSet-Cookie: a=b',
      '"; filename=evil.html',
      "x''y",
      'a;b=c',
      '\u202egnp.exe',
    ];
    for (const name of names) {
      const file = await place.server.upload(anna, Buffer.from('x'), { name });
      const { headers, status } = await place.server.download(anna, file.id);
      expect([name, status, headers['content-disposition']]).toEqual([
        name,
        200,
        expect.stringMatching(/^attachment; filename="[\x20-\x21\x23-\x5b\x5d-\x7e]*"(?:; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]*)?$/),
      ]);
      expect(headers).not.toHaveProperty('set-cookie');
      expect(allOnDisk().filter((stored) => !/^(?:files|files\/(?:incoming|[0-9a-f]{2})(?:\/[0-9a-f-]{36})?)$/.test(stored))).toEqual([]);
    }
  });

  const svg = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>';
  const scripts: [string, Buffer][] = [
    ['HTML', Buffer.from('<!doctype html><script>alert(1)</script>')],
    ['SVG', Buffer.from(svg)],
    ['SVG behind a byte order mark', Buffer.from(`\ufeff<?xml version="1.0"?>${svg}`)],
    ['svgz', gzipSync(svg)],
    ['XHTML', Buffer.from('<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>')],
    ['XML with a stylesheet', Buffer.from('<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="x"?><a/>')],
    ['MHTML', Buffer.from('MIME-Version: 1.0\r\nContent-Type: multipart/related\r\n\r\n<html>')],
    ['a script', Buffer.from('self.onfetch = () => {}')],
    ['Flash', Buffer.from('CWS\x0a')],
    ['PDF and HTML at once', Buffer.from('%PDF-1.7\n<html><script>alert(1)</script></html>')],
    ['an archive with a page in it', Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.from('<script>alert(1)</script>')])],
  ];
  test.each(scripts)('[3.3 claimed type] %s is a download of no type, whatever it is called', async (_, bytes) => {
    const anna = await place.person();
    for (const type of ['image/png', 'text/html', 'image/svg+xml', 'application/xhtml+xml', 'text/javascript']) {
      const file = await place.server.upload(anna, bytes, { name: 'holiday.png', type });
      const { headers } = await place.server.download(anna, file.id);
      expect(headers).toMatchObject({
        'content-type': 'application/octet-stream',
        'content-disposition': `attachment; filename="holiday.png"; filename*=UTF-8''holiday.png`,
        'x-content-type-options': 'nosniff',
        'content-security-policy': expect.stringContaining('sandbox; default-src'),
      });
      expect(file.type).not.toMatch(/^(?:image|audio|video)\//);
    }
  });

  test('[3.3 compressed] no request is unpacked, and no answer packed', async () => {
    const anna = await place.person();
    const { url } = await reserve(anna, 1_000);
    for (const encoding of ['gzip', 'br', 'deflate', 'zstd', 'identity', 'gzip, gzip', ''])
      expect([encoding, (await place.server.patch(anna, url, 0, gzipSync(Buffer.alloc(500)), { 'content-encoding': encoding })).status]).toEqual([encoding, 415]);
    expect(await offsetOf(anna, url)).toBe('0');
    const bomb = await place.server.upload(anna, gzipSync(Buffer.alloc(2 * mib)), { name: 'bomb.gz', type: 'application/gzip' });
    const { headers, bytes } = await place.server.download(anna, bomb.id, { 'accept-encoding': 'gzip, br' });
    expect(headers).not.toHaveProperty('content-encoding');
    expect(bytes.length).toBe(bomb.size);
  });

  test('[3.3 multipart] forms are no way in', async () => {
    const anna = await place.person();
    const { url } = await reserve(anna, 1_000);
    const form = Buffer.from('--x\r\nContent-Disposition: form-data; name="a"; filename="b"; filename="../c"\r\n\r\nhello\r\n');
    expect((await place.server.patch(anna, url, 0, form, { 'content-type': 'multipart/form-data; boundary=x' })).status).toBe(415);
    for (const where of ['/files', '/files/', url, '/api/file.reserve']) {
      const answer = await place.server.http('POST', where, { headers: { ...bearer(anna), 'content-type': 'multipart/form-data; boundary=x' }, body: form });
      expect([where, answer.status]).toEqual([where, expect.toSatisfy((status: number) => [404, 405, 412, 415].includes(status))]);
    }
    expect(await offsetOf(anna, url)).toBe('0');
  });

  test('[3.3 service worker] no file becomes one, also for browsers that say it in the old way', async () => {
    const anna = await place.person();
    const { id } = await place.server.upload(anna, Buffer.from('self.onfetch = () => {}'), { name: 'sw.js', type: 'text/javascript' });
    for (const [name, value] of [
      ['service-worker', 'script'],
      ['sec-fetch-dest', 'serviceworker'],
    ] as const)
      expect((await place.server.download(anna, id, { [name]: value })).status).toBe(404);
    const { headers } = await place.server.download(anna, id);
    expect(headers).not.toHaveProperty('service-worker-allowed');
    expect(headers).toMatchObject({ 'cross-origin-resource-policy': 'same-origin', 'referrer-policy': 'no-referrer' });
  });

  test('[3.3 If-None-Match] neither it nor a range nor a date tells anything of somebody else’s file', async () => {
    const [anna, eve] = await place.people('anna', 'eve');
    const { id } = await place.server.upload(anna!, randomBytes(1_000));
    const { etag, date } = (await place.server.download(anna!, id)).headers;
    const nobody = (await place.server.download(eve!, '00000000-0000-7000-8000-000000000000')).text;
    for (const headers of [
      {},
      { 'if-none-match': '*' },
      { 'if-none-match': etag! },
      { 'if-match': '"x"' },
      { range: 'bytes=0-0' },
      { range: 'bytes=9999-' },
      { 'if-modified-since': date! },
      { 'if-range': etag!, range: 'bytes=0-0' },
    ]) {
      const answer = await place.server.download(eve!, id, headers as Record<string, string>);
      expect([headers, answer.status, answer.text]).toEqual([headers, 404, nobody]);
      expect(answer.headers).not.toHaveProperty('etag');
    }
  });

  test('[3.3 Host] files are served and taken under our own name only', async () => {
    const anna = await place.person();
    const { id } = await place.server.upload(anna, Buffer.from('x'));
    const { url } = await reserve(anna, 10);
    expect((await place.server.download(anna, id, { host: 'evil.example' })).status).toBe(421);
    expect((await place.server.patch(anna, url, 0, Buffer.from('x'), { host: 'evil.example' })).status).toBe(421);
  });

  test('[3.7 quotas] of many places asked for at once, only as many are made as there is room and number for', async () => {
    const anna = await place.person();
    const asked = await Promise.allSettled(Array.from({ length: 20 }, () => reserve(anna, mib)));
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(8);
    expect((await anna.call('file.usage', {})).own.bytes).toBe(8 * mib);
    const bert = await place.person('bert');
    const small = await Promise.allSettled(Array.from({ length: limits.openUploads + 10 }, () => reserve(bert, 1)));
    expect(small.filter(({ status }) => status === 'fulfilled')).toHaveLength(limits.openUploads);
    expect((await bert.call('file.usage', {})).own.bytes).toBe(limits.openUploads);
  });
});
