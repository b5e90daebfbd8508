import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import type { IncomingMessage } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import sharp from 'sharp';
import { describe, expect, onTestFinished, test } from 'vitest';
import { canInject, start } from './crash-child.ts';
import { post } from './api.ts';
import { type ServerProcess, startServerProcess } from './crash-server.ts';
import { tus } from './harness.ts';
import { telling } from './pictures.ts';
import { startBadWire, startS3 } from './s3.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What a file needs to become durable: its bytes and its names in the pool's one thread, its row in the core's. */
const series = [
  { what: 'a sync or a rename of the blob store', path: undefined, least: 3, picture: false, stride: 1 },
  { what: 'a commit of the database', path: 'kith.db-wal', least: 3, picture: false, stride: 1 },
  // Of a picture the same three steps come four times, for itself and what is made of it: every fourth is another of them.
  { what: 'a sync or a rename of what is made of a picture', path: undefined, least: 9, picture: true, stride: 4 },
];

describe.skipIf(!canInject())('a server that is killed while a file arrives', () => {
  test.each(series)(
    '[FI17] at $what: nothing partial is seen, and the same requests again bring exactly what was sent',
    { timeout: 300_000 },
    async ({ path: only, least, picture, stride }) => {
      const data = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-file-crash-'));
      const begin = (): Promise<ServerProcess> => startServerProcess(data, { UV_THREADPOOL_SIZE: '1' });
      let server = await begin();
      onTestFinished(async () => {
        await server.kill();
        fs.rmSync(data, { recursive: true, force: true });
      });
      const anna = await newcomer(server);

      let tried = 0;
      for (let step = 1; ; step += stride) {
        const file = picture ? await reservedPicture(server, anna, step) : await reserved(server, anna, step);
        const tracer = await killAt(server, step, only && path.join(data, only));
        const delivered = await file.deliver(server).catch(() => undefined);
        if (delivered !== undefined) {
          // There are no more steps: nothing was killed.
          tracer.process.kill('SIGINT');
          await tracer.ended;
          tried = step - 1;
          break;
        }
        expect(await server.ended).toBe('SIGKILL');
        await tracer.ended;
        server = await begin();
        await file.isWholeOrNothing(server);
        await file.isDeliveredOnce(server);
        expect(fs.readdirSync(path.join(data, 'files', 'incoming'))).toEqual([]);
      }
      expect(tried).toBeGreaterThanOrEqual(least);
      await server.kill();
      const made = picture ? ['-clean', '-large', '-small'] : [''];
      // The row of an original goes after its file, which may be gone already.
      const originals = idsIn(data, 'originals');
      const expected = idsIn(data).flatMap((id) => made.map((name) => id + name));
      expect(filesIn(data).filter((name) => !originals.includes(name))).toEqual(expected.toSorted());
    },
  );
});

/** What a store in S3 is asked on the way to a file that is there. */
const requests: [string, (asked: IncomingMessage) => boolean][] = [
  ['writing a part', ({ method, headers }) => method === 'PUT' && headers['x-amz-copy-source'] === undefined],
  ['making a file of it', ({ method, headers }) => method === 'PUT' && headers['x-amz-copy-source'] !== undefined],
  ['reading it back', ({ method, url }) => method === 'GET' && !url!.includes('list-type')],
  ['deleting the part', ({ method }) => method === 'DELETE'],
];

test(
  '[FI17] a server that is killed before or after any request to its store in S3 shows nothing partial, and the same requests again bring exactly what was sent',
  { timeout: 300_000 },
  async () => {
    const data = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-file-crash-'));
    const s3 = await startS3();
    const wire = await startBadWire(s3);
    const { endpoint, bucket, accessKey, secretKey } = wire.options;
    const env = { KITH_S3_ENDPOINT: endpoint, KITH_S3_BUCKET: bucket, KITH_S3_ACCESS_KEY: accessKey, KITH_S3_SECRET_KEY: secretKey };
    let server = await startServerProcess(data, env);
    onTestFinished(async () => {
      await server.kill();
      await wire.close();
      await s3.close();
      fs.rmSync(data, { recursive: true, force: true });
    });
    const anna = await newcomer(server);
    let step = 0;
    for (const [what, is] of requests) {
      for (const fate of ['cut', 'cut the answer'] as const) {
        const file = await reserved(server, anna, (step += 1));
        let killed = false;
        wire.decide = (asked) => {
          if (killed || !is(asked)) return 'pass';
          killed = true;
          // What is asked after this comes from nobody.
          if (fate === 'cut') server.process.kill('SIGKILL');
          else asked.socket.once('close', () => server.process.kill('SIGKILL'));
          return fate;
        };
        // Its answer may still have got out, where the store was not asked for it.
        await file.deliver(server).catch(() => {});
        expect([what, fate, killed]).toEqual([what, fate, true]);
        expect(await server.ended).toBe('SIGKILL');
        server = await startServerProcess(data, env);
        await file.isWholeOrNothing(server);
        await file.isDeliveredOnce(server);
      }
    }
    await server.kill();
    expect(s3.keys().toSorted()).toEqual(idsIn(data));
  },
);

interface Someone {
  as: { authorization: string };
  token: string;
  conversationId: string;
}

async function newcomer({ url }: ServerProcess): Promise<Someone> {
  const { user, token } = await post(url, 'auth.register', { handle: 'anna', password: 'correct horse battery', name: 'Anna' });
  const { conversation } = await post(url, 'conversation.direct', { userId: user.id }, token);
  return { as: { authorization: `Bearer ${token}` }, token: token!, conversationId: conversation.id };
}

/** A file that a place is made for, and how it is delivered, at first and again after any trouble. */
async function reserved(first: ServerProcess, { as, token, conversationId }: Someone, step: number, given: Buffer = randomBytes(300_000)) {
  const bytes = Buffer.from(given);
  const reservation = { name: `step ${step}.bin`, size: bytes.length, clientId: `reserve-${step}` };
  const { fileId, url } = await post(first.url, 'file.reserve', reservation, token);
  const get = (server: ServerProcess, query = '') => fetch(`${server.url}/files/${fileId}/x${query}`, { headers: as });

  const deliver = async (server: ServerProcess): Promise<string> => {
    expect((await post(server.url, 'file.reserve', reservation, token)).fileId).toBe(fileId);
    const asked = await fetch(server.url + url, { method: 'HEAD', headers: { ...as, ...tus } });
    // Sent already: then there is no upload any more, and the rest is repeated.
    if (asked.status === 200) {
      const offset = Number(asked.headers.get('upload-offset'));
      const headers = { ...as, ...tus, 'upload-offset': String(offset) };
      if (offset < bytes.length) await fetch(server.url + url, { method: 'PATCH', headers, body: bytes.subarray(offset) });
    }
    await post(server.url, 'file.commit', { fileId, sha256: sha256(bytes) }, token);
    const sent = { conversationId, clientId: `message-${step}`, type: 'file', text: '', fileId } as const;
    return (await post(server.url, 'message.send', sent, token)).message.id;
  };

  return {
    get,
    deliver,
    async isWholeOrNothing(server: ServerProcess): Promise<void> {
      const seen = await get(server);
      expect(['nothing', sha256(bytes)]).toContain(seen.status === 404 ? 'nothing' : sha256(await seen.bytes()));
    },
    async isDeliveredOnce(server: ServerProcess): Promise<void> {
      const id = await deliver(server);
      expect(await deliver(server)).toBe(id);
      expect(sha256(await (await get(server)).bytes())).toBe(sha256(bytes));
      const { messages } = await post(server.url, 'message.history', { conversationId }, token);
      expect(messages.filter(({ file }) => file?.id === fileId).map((message) => message.id)).toEqual([id]);
    },
  };
}

/** The same of a picture, which is never seen as it was sent, but only without what it told. */
async function reservedPicture(first: ServerProcess, anna: Someone, step: number) {
  const bytes = await telling('jpeg', { width: 1_000, height: 800 });
  const { get, deliver } = await reserved(first, anna, step, bytes);
  const seen: Buffer[] = [];
  const look = async (server: ServerProcess): Promise<void> => {
    const answer = await get(server);
    if (answer.status !== 404) seen.push(Buffer.from(await answer.bytes()));
  };
  return {
    deliver,
    isWholeOrNothing: look,
    async isDeliveredOnce(server: ServerProcess): Promise<void> {
      const id = await deliver(server);
      expect(await deliver(server)).toBe(id);
      await look(server);
      const last = seen.at(-1)!;
      expect([last.includes('KITHCAM'), seen.every((one) => one.equals(last))]).toEqual([false, true]);
      const pixels = (of: Buffer) => sharp(of).raw().toBuffer();
      expect((await pixels(last)).equals(await pixels(bytes))).toBe(true);
      for (const size of ['small', 'large']) {
        const smaller = await get(server, `?size=${size}`);
        expect([smaller.headers.get('content-type'), (await sharp(await smaller.bytes()).metadata()).width]).toEqual(['image/webp', size === 'small' ? 720 : 1_000]);
      }
    },
  };
}

/** What there is on the disk, and what the database of a server that is gone knows: neither without the other. */
const filesIn = (data: string): string[] =>
  fs
    .readdirSync(path.join(data, 'files'), { recursive: true, withFileTypes: true })
    .flatMap((entry) => (entry.isFile() ? [entry.name] : []))
    .toSorted();

function idsIn(data: string, table: 'files' | 'originals' = 'files'): string[] {
  const db = new DatabaseSync(path.join(data, 'kith.db'));
  try {
    return db
      .prepare(`select id from ${table} order by id`)
      .all()
      .map(({ id }) => id as string);
  } finally {
    db.close();
  }
}

/** kill -9 when the process, or one of its threads, begins its so many-th sync or rename. */
async function killAt(server: ServerProcess, step: number, only: string | undefined): Promise<ReturnType<typeof start>> {
  const calls = 'fsync,fdatasync,/^rename';
  const filter = only === undefined ? [] : ['-P', only];
  const tracer = start('strace', [
    '-f',
    '-o',
    '/dev/null',
    '-e',
    `trace=${calls}`,
    '-e',
    `inject=${calls}:signal=SIGKILL:when=${step}`,
    ...filter,
    '-p',
    String(server.process.pid),
  ]);
  await once(tracer.process.stderr!, 'data');
  return tracer;
}
