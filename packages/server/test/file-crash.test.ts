import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { canInject, start } from './crash-child.ts';
import { post } from './crash-load.ts';
import { type ServerProcess, startServerProcess } from './crash-server.ts';
import { tus } from './harness.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What a file needs to become durable: its bytes and its names in the pool's one thread, its row in the core's. */
const series = [
  { what: 'a sync or a rename of the blob store', path: undefined, least: 3 },
  { what: 'a commit of the database', path: 'kith.db-wal', least: 3 },
];

describe.skipIf(!canInject())('a server that is killed while a file arrives', () => {
  test.each(series)('[FI17] at $what: nothing partial is seen, and the same requests again bring exactly what was sent', { timeout: 300_000 }, async ({ path: only, least }) => {
    const data = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-file-crash-'));
    const begin = (): Promise<ServerProcess> => startServerProcess(data, { UV_THREADPOOL_SIZE: '1' });
    let server = await begin();
    onTestFinished(async () => {
      await server.kill();
      fs.rmSync(data, { recursive: true, force: true });
    });
    const { user, token } = await post(server.url, 'auth.register', { handle: 'anna', password: 'correct horse battery', name: 'Anna' });
    const { conversation } = await post(server.url, 'conversation.direct', { userId: user.id }, token);
    const as = { authorization: `Bearer ${token}` };

    let tried = 0;
    for (let step = 1; ; step += 1) {
      const bytes = randomBytes(300_000);
      const reservation = { name: `step ${step}.bin`, size: bytes.length, clientId: `reserve-${step}` };
      const { fileId, url } = await post(server.url, 'file.reserve', reservation, token);
      const get = async () => fetch(`${server.url}/files/${fileId}/x`, { headers: as });
      /** What a client does, at first and again after any trouble. */
      const deliver = async (): Promise<string> => {
        expect((await post(server.url, 'file.reserve', reservation, token)).fileId).toBe(fileId);
        const asked = await fetch(server.url + url, { method: 'HEAD', headers: { ...as, ...tus } });
        // Sent already: then there is no upload any more, and the rest is repeated.
        if (asked.status === 200) {
          const offset = Number(asked.headers.get('upload-offset'));
          const headers = { ...as, ...tus, 'upload-offset': String(offset) };
          if (offset < bytes.length) await fetch(server.url + url, { method: 'PATCH', headers, body: bytes.subarray(offset) });
        }
        await post(server.url, 'file.commit', { fileId, sha256: sha256(bytes) }, token);
        const sent = { conversationId: conversation.id, clientId: `message-${step}`, type: 'file', text: '', fileId } as const;
        return (await post(server.url, 'message.send', sent, token)).message.id;
      };

      await post(server.url, 'file.reserve', reservation, token);
      const tracer = await killAt(server, step, only && path.join(data, only));
      const delivered = await deliver().catch(() => undefined);
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
      const seen = await get();
      expect(['nothing', sha256(bytes)]).toContain(seen.status === 404 ? 'nothing' : sha256(await seen.bytes()));
      const id = await deliver();
      expect(await deliver()).toBe(id);
      expect(sha256(await (await get()).bytes())).toBe(sha256(bytes));
      const { messages } = await post(server.url, 'message.history', { conversationId: conversation.id }, token);
      expect(messages.filter(({ file }) => file?.id === fileId).map((message) => message.id)).toEqual([id]);
      expect(fs.readdirSync(path.join(data, 'files', 'incoming'))).toEqual([]);
    }
    expect(tried).toBeGreaterThanOrEqual(least);
  });
});

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
