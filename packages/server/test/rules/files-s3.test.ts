import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { randomFrom } from '../crash-child.ts';
import { type TestServer, startTestServer, tus } from '../harness.ts';
import { ManualClock } from '../manual-clock.ts';
import { type TestS3, startBadWire, startS3 } from '../s3.ts';
import { type Place, Place as OpenPlace, clientId } from './place.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env.KITH_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` });

/** Sends the beginning of a body and breaks the connection. */
async function brokenPatch(server: TestServer, who: { token: string }, url: string, offset: number, rest: Buffer, sent: number): Promise<void> {
  const socket = net.connect(server.port, '127.0.0.1');
  const headers = { ...tus, ...bearer(who), host: `127.0.0.1:${server.port}`, 'upload-offset': offset, 'content-length': rest.length };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`PATCH ${url} HTTP/1.1\r\n${lines.join('')}\r\n`);
  socket.end(rest.subarray(0, sent));
  socket.resume().on('error', () => {});
  await once(socket, 'close');
}

const offsetOf = async (server: TestServer, who: { token: string }, url: string): Promise<number> =>
  Number((await server.http('HEAD', url, { headers: { ...tus, ...bearer(who) } })).headers['upload-offset']);

describe(`files of a server whose store is in S3, seed ${seed}`, () => {
  const clock = new ManualClock();
  let now = Date.now();
  let s3: TestS3;
  let place: Place;
  beforeAll(async () => {
    s3 = await startS3();
    place = new OpenPlace({ clock, now: () => now, config: s3.config });
    await place.open();
  });
  afterAll(async () => {
    await place.close();
    await s3.close();
  });

  test('[FI3] an upload whose connection breaks at any byte goes on where it was, and ends as what was sent', async () => {
    const random = randomFrom(seed);
    const { anna, bert, conversationId } = await place.direct();
    const bytes = randomBytes(400_000);
    const { fileId, url } = await place.server.call('file.reserve', { name: 'x', size: bytes.length }, anna.token);
    for (let at = 0, cut = 1; cut <= 15; cut += 1) {
      await brokenPatch(place.server, anna, url, at, bytes.subarray(at), Math.floor(random() * Math.min(40_000, bytes.length - at)));
      const next = await offsetOf(place.server, anna, url);
      expect(next).toBeGreaterThanOrEqual(at);
      expect((await place.server.download(anna, fileId)).status).toBe(404);
      at = next;
    }
    const at = await offsetOf(place.server, anna, url);
    expect((await place.server.patch(anna, url, at, bytes.subarray(at))).status).toBe(204);
    await anna.call('file.commit', { fileId, sha256: sha256(bytes) });
    await anna.call('message.send', { conversationId, clientId: clientId(), type: 'file', text: '', fileId });
    const got = await place.server.download(bert, fileId);
    expect([got.status, sha256(got.bytes)]).toEqual([200, sha256(bytes)]);
    const part = await place.server.download(bert, fileId, { range: 'bytes=100000-100009' });
    expect([part.status, part.headers['content-range']]).toEqual([206, 'bytes 100000-100009/400000']);
    expect(part.bytes).toEqual(bytes.subarray(100_000, 100_010));
    expect((await place.server.download(bert, fileId, { 'if-none-match': got.headers.etag! })).status).toBe(304);
    expect((await place.server.download(await place.person('olga'), fileId)).status).toBe(404);
  });

  test('[FI5] bytes that are not those of the checksum are forgotten', async () => {
    const anna = await place.person();
    const bytes = randomBytes(100_000);
    const { url } = await place.server.call('file.reserve', { name: 'x', size: bytes.length, sha256: sha256(bytes) }, anna.token);
    expect((await place.server.patch(anna, url, 0, bytes.subarray(0, 30_000))).status).toBe(204);
    const wrong = { 'upload-checksum': `sha256 ${createHash('sha256').update('other').digest('base64')}` };
    expect((await place.server.patch(anna, url, 30_000, bytes.subarray(30_000), wrong)).status).toBe(460);
    expect(await offsetOf(place.server, anna, url)).toBe(30_000);
    expect((await place.server.patch(anna, url, 30_000, randomBytes(70_000))).status).toBe(460);
    expect(await offsetOf(place.server, anna, url)).toBe(0);
    expect((await place.server.patch(anna, url, 0, bytes)).status).toBe(204);
  });

  test('[FI9] with its last message a file is gone, and what nobody sends goes after a day', async () => {
    const { anna, conversationId } = await place.direct();
    const file = await place.server.upload(anna, randomBytes(1_000));
    const unsent = await place.server.upload(anna, randomBytes(1_000));
    const { message } = await anna.call('message.send', { conversationId, clientId: clientId(), type: 'file', text: '', fileId: file.id });
    const begun = await place.server.call('file.reserve', { name: 'x', size: 1_000 }, anna.token);
    await place.server.patch(anna, begun.url, 0, randomBytes(500));
    expect(s3.keys()).toEqual(expect.arrayContaining([file.id, unsent.id, `incoming.${begun.fileId}.0.500`]));
    await anna.call('message.delete', { messageId: message.id });
    now += 86_400_001;
    await clock.pass(60_000);
    await vi.waitUntil(() => s3.keys().every((key) => ![file.id, unsent.id, begun.fileId].some((id) => key.includes(id))), { timeout: 20_000 });
  });

  test('[FI28] once an hour what is left of uploads of two days ago goes', async () => {
    const anna = await place.person();
    const { fileId, url } = await place.server.call('file.reserve', { name: 'x', size: 1_000 }, anna.token);
    await place.server.patch(anna, url, 0, randomBytes(500));
    const left = s3.keys().find((key) => key.includes(fileId))!;
    // As after a crash at the wrong moment: the row is gone and the bytes are not.
    await place.rows.run('delete from files where id = ?', fileId);
    s3.age(left, now - Date.now() + 3 * 86_400_000);
    await clock.pass(3_600_000);
    await vi.waitUntil(() => !s3.keys().includes(left), { timeout: 20_000 });
    expect(s3.keys().filter((key) => key.includes(fileId))).toEqual([]);
  });
});

test('[FI27] an upload that one node took the beginning of goes on at another, and either serves it', async () => {
  const s3 = await startS3();
  const first = await startTestServer({ engine: 'postgres', config: s3.config });
  const second = await startTestServer({ config: { ...s3.config, database: first.config.database } });
  onTestFinished(async () => {
    await second.close();
    await first.close();
    await s3.close();
  });
  const nodes = [first, second];
  const anna = await first.register();
  const bytes = randomBytes(600_000);
  const { fileId, url } = await first.call('file.reserve', { name: 'x', size: bytes.length }, anna.token);
  let at = 0;
  for (let turn = 0; turn < 6; turn += 1) {
    await brokenPatch(nodes[turn % 2]!, anna, url, at, bytes.subarray(at), 50_000);
    // The node that took it may not have written it yet; then it comes again.
    at = await offsetOf(nodes[(turn + 1) % 2]!, anna, url);
  }
  expect((await second.patch(anna, url, at, bytes.subarray(at))).status).toBe(204);
  await first.call('file.commit', { fileId, sha256: sha256(bytes) }, anna.token);
  for (const node of nodes) expect(sha256((await node.download(anna, fileId)).bytes)).toBe(sha256(bytes));
});

test('[FI29] without its store a server says busy for files, and everything else goes on', async () => {
  const s3 = await startS3();
  const wire = await startBadWire(s3);
  const server = await startTestServer({ config: wire.config });
  onTestFinished(async () => {
    await server.close();
    await wire.close();
    await s3.close();
  });
  const anna = await server.register();
  const file = await server.upload(anna, randomBytes(1_000));
  const { url } = await server.call('file.reserve', { name: 'x', size: 10 }, anna.token);
  wire.decide = () => ({ status: 503 });
  for (const answer of [await server.download(anna, file.id), await server.patch(anna, url, 0, randomBytes(10))]) {
    expect([answer.status, answer.error, answer.headers['retry-after']]).toEqual([503, 'busy', '5']);
    expect(answer.text).not.toMatch(/S3RVER|127\.0\.0\.1|kith-files/);
  }
  const { conversation } = await server.call('conversation.direct', { userId: anna.id }, anna.token);
  await server.call('message.send', { conversationId: conversation.id, clientId: clientId(), type: 'text', text: 'still here' }, anna.token);
  wire.decide = () => 'pass';
  expect((await server.download(anna, file.id)).status).toBe(200);
  expect((await server.patch(anna, url, 0, randomBytes(10))).status).toBe(204);
});

test('[FI30] a store that refuses us is refused at the start, and one that does not answer yet is waited for', async () => {
  const s3 = await startS3();
  onTestFinished(() => s3.close());
  await expect(startTestServer({ config: { ...s3.config, s3Bucket: 'another-bucket' } })).rejects.toThrow(/404.*another-bucket exists/);
  await expect(startTestServer({ config: { ...s3.config, s3AccessKey: 'NOBODY' } })).rejects.toThrow(/403 .*these keys/);
  const wire = await startBadWire(s3);
  wire.decide = () => 'cut';
  const server = await startTestServer({ config: wire.config });
  onTestFinished(async () => {
    await server.close();
    await wire.close();
  });
  wire.decide = () => 'pass';
  await server.upload(await server.register(), randomBytes(100));
});
