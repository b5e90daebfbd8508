import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { demoPassword, demoSignIns, seedDemo } from '../packages/server/src/demo.ts';
import { startTestServer } from '../packages/server/test/harness.ts';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-demo-'));
const main = path.join(import.meta.dirname, '../packages/server/src/main.ts');
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

test('[DM1] the demo is a whole server: everybody listed can sign in and finds people, requests and unread messages', async () => {
  const data = path.join(folder, 'whole');
  const noon = new Date().setHours(12, 0, 0, 0);
  await seedDemo(data, noon);
  await using server = await startTestServer({ config: { data } });
  for (const handle of demoSignIns) {
    const { token, user } = await server.call('auth.login', { handle, password: demoPassword });
    const { entities } = await server.call('stream.snapshot', { stream: `user:${user.id}` }, token);
    const inbox = entities.filter((it) => it.kind === 'inbox');
    expect(inbox.length).toBeGreaterThan(4);
    expect(entities.filter((it) => it.kind === 'friend' && it.state === 'friends').length).toBeGreaterThan(2);
    if (handle !== 'lin') continue;
    const kinds = ['media', 'files', 'voice', 'links'] as const;
    const shared = await Promise.all(
      kinds.map(async (kind) =>
        (await Promise.all(inbox.map(({ conversationId }) => server.call('message.media', { conversationId, kind }, token)))).flatMap(({ messages }) => messages),
      ),
    );
    expect(shared.map(({ length }) => length)).toEqual([4, 1, 1, 1]);
    for (const { file } of shared[0]!) expect(file).toMatchObject({ width: expect.any(Number), preview: expect.any(String) });
    expect(shared[2]![0]!.file).toMatchObject({ type: 'audio/wav', durationMs: 12_000 });
    expect((await server.download({ token: token! }, shared[0]![0]!.file!.id)).status).toBe(200);
    expect(user.operator).toBe(true);
    expect(entities.filter((it) => it.kind === 'friend' && it.state === 'incoming')).toHaveLength(2);
    expect(inbox.filter((it) => it.pinnedAt > 0)).toHaveLength(3);
    expect(inbox.filter((it) => it.mutedUntil > 0)).toHaveLength(1);
    expect(inbox.filter((it) => it.request)).toHaveLength(1);
    const unread = await Promise.all(
      inbox.map(async ({ conversationId, readSeq }) => {
        const { messages } = await server.call('message.history', { conversationId, limit: 100 }, token);
        // What is shown is in the past, and never older than the people are.
        expect(messages.every(({ at }) => at <= noon && at > user.createdAt)).toBe(true);
        return (messages.at(-1)?.seq ?? 0) - readSeq;
      }),
    );
    expect(Math.max(...unread)).toBeGreaterThan(99);
    expect(unread.filter((count) => count > 0).length).toBeGreaterThan(4);
  }
});

test('[DM2] the demo keeps its data beside that of a real server, and what is written into it', async () => {
  const data = path.join(folder, 'kept');
  const first = await start(data);
  const answer = await post(first.url, 'auth.login', { handle: 'ada', password: demoPassword });
  await post(first.url, 'user.update', { bio: 'Changed in the demo' }, answer.token);
  await first.stop();
  expect(fs.readdirSync(data)).toEqual(['demo']);
  const second = await start(data);
  expect((await post(second.url, 'user.get', { userId: answer.user.id }, answer.token)).user.bio).toBe('Changed in the demo');
  expect(second.said).toContain(demoPassword);
  for (const handle of demoSignIns) expect(second.said).toContain(handle);
  expect(await second.stop()).toBe(0);
});

test('[DM3] a demo that cannot start says why in one line', async () => {
  const data = path.join(folder, 'kept');
  fs.cpSync(data, path.join(folder, 'copy'), { recursive: true });
  const first = await start(data);
  const port = new URL(first.url).port;
  const child = spawn(process.execPath, [main, 'demo', '--port', port, '--data', path.join(folder, 'copy')]);
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const [code] = (await once(child, 'close')) as [number];
  expect(code).toBe(1);
  expect(complaint.split('\n')[0]).toContain(port);
  expect(complaint).not.toContain('    at ');
  await first.stop();
});

interface Demo {
  url: string;
  said: string;
  stop(): Promise<number>;
}

async function start(data: string): Promise<Demo> {
  const child = spawn(process.execPath, [main, 'demo', '--port', '0', '--data', data, '--log-level', 'silent'], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let said = '';
  for await (const line of createInterface({ input: child.stdout })) {
    said += `${line}\n`;
    if (line.includes('try it')) break;
  }
  const stop = async (): Promise<number> => {
    child.kill('SIGTERM');
    const [code] = (await once(child, 'close')) as [number];
    return code;
  };
  return { url: /http:\/\/\S+/.exec(said)![0], said, stop };
}

async function post(url: string, method: string, params: object, token?: string) {
  const headers = { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${url}/api/${method}`, { method: 'POST', headers, body: JSON.stringify(params) });
  return (await answer.json()) as { token: string; user: { id: string; bio: string } };
}
