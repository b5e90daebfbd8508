import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Message } from '@kith/protocol';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { type Child, start } from '../test/crash-child.ts';
import { post, readAll } from '../test/api.ts';
import { startServerProcess } from '../test/crash-server.ts';
import { tus } from '../test/harness.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-backup-'));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
let folders = 0;
const folder = (): string => path.join(root, String((folders += 1)));

/** `kith …` as an operator runs it. */
async function kith(...args: string[]): Promise<{ code: unknown; out: string; err: string }> {
  const child = start(process.execPath, [path.join(import.meta.dirname, 'main.ts'), ...args], { env: { PATH: process.env['PATH'] } });
  const code = await child.ended;
  const { out, err } = child.output();
  return { code, out: out.join('\n'), err };
}

/** A server on a data directory, and somebody in it who writes to themselves. */
async function begin(data: string) {
  const server = await startServerProcess(data);
  onTestFinished(() => server.kill());
  return server;
}

async function anna(url: string) {
  const { user, token } = await post(url, 'auth.register', { handle: 'anna', password: 'correct horse battery', name: 'Anna' });
  const { conversation } = await post(url, 'conversation.direct', { userId: user.id }, token);
  return { token: token!, conversationId: conversation.id };
}

async function sendFile(url: string, { token, conversationId }: Awaited<ReturnType<typeof anna>>, name: string, bytes: Buffer<ArrayBuffer>): Promise<string> {
  const as = { authorization: `Bearer ${token}` };
  const place = await post(url, 'file.reserve', { name, size: bytes.length }, token);
  await fetch(url + place.url, { method: 'PATCH', headers: { ...as, ...tus, 'upload-offset': '0' }, body: bytes });
  await post(url, 'file.commit', { fileId: place.fileId, sha256: createHash('sha256').update(bytes).digest('hex') }, token);
  await post(url, 'message.send', { conversationId, clientId: `file-${place.fileId}`, type: 'file', text: '', fileId: place.fileId }, token);
  return place.fileId;
}

const stop = async (server: Child): Promise<void> => {
  server.process.kill('SIGTERM');
  expect(await server.ended).toBe(0);
};

test('[OP1] a backup that is taken while people write holds all that was acknowledged before it began, files too', { timeout: 60_000 }, async () => {
  const [data, copy, again] = [folder(), folder(), folder()];
  const server = await begin(data);
  const who = await anna(server.url);
  const bytes = randomBytes(300_000);
  const fileId = await sendFile(server.url, who, 'plan.bin', bytes);
  const acked: Message[] = [];
  const pen = { down: true };
  const writer = (async () => {
    for (let index = 0; pen.down; index += 1) {
      acked.push(
        (await post(server.url, 'message.send', { conversationId: who.conversationId, clientId: `message-${index}`, type: 'text', text: `word ${index}` }, who.token)).message,
      );
    }
  })();
  await expect.poll(() => acked.length).toBeGreaterThan(50);
  const before = [...acked];
  const made = await kith('backup', copy, '--data', data);
  pen.down = false;
  await writer;
  expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/Whole[^]*The keys of the server are not in it/) });
  expect(acked.length).toBeGreaterThan(before.length);
  await stop(server);

  expect(await kith('restore', copy, '--data', again)).toMatchObject({ code: 0, out: expect.stringMatching(/1 files[^]*Keys are not in a backup/) });
  const restored = await begin(again);
  // Another era: what devices have of after the backup is not taken for the beginning of what comes now.
  expect(eraOf(again)).not.toBe(eraOf(data));
  const there = await readAll(restored.url, who.conversationId, who.token);
  expect(there.filter(({ type }) => type === 'text').slice(0, before.length)).toEqual(before);
  const got = await fetch(`${restored.url}/files/${fileId}/plan.bin`, { headers: { authorization: `Bearer ${who.token}` } });
  expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);
  // What was sent after it is sent again by whoever has it, and is there once.
  const { message } = await post(restored.url, 'message.send', { conversationId: who.conversationId, clientId: 'message-0', type: 'text', text: 'word 0' }, who.token);
  expect(message.id).toBe(acked[0]!.id);
});

function eraOf(data: string): string {
  const db = new DatabaseSync(path.join(data, 'kith.db'), { readOnly: true });
  try {
    return (db.prepare('select id from eras order by number desc').get() as { id: string }).id;
  } finally {
    db.close();
  }
}

test('[OP2] a backup into the folder of an earlier one copies what is new, and keeps what was', { timeout: 60_000 }, async () => {
  const [data, copy] = [folder(), folder()];
  const server = await begin(data);
  const who = await anna(server.url);
  const first = await sendFile(server.url, who, 'one.bin', randomBytes(50_000));
  expect((await kith('backup', copy, '--data', data)).code).toBe(0);
  const kept = path.join(copy, 'files', first.slice(-2), first);
  const { ino } = fs.statSync(kept);
  await sendFile(server.url, who, 'two.bin', randomBytes(50_000));
  const { code, out } = await kith('backup', copy, '--data', data);
  expect([code, out]).toEqual([0, expect.stringContaining('2 files')]);
  expect(fs.statSync(kept).ino).toBe(ino);
});

test('[OP3] a damaged backup is not restored, nor one over a database that is there; nothing is changed', { timeout: 60_000 }, async () => {
  const [data, copy, other] = [folder(), folder(), folder()];
  const server = await begin(data);
  const who = await anna(server.url);
  const write = (index: number) =>
    post(server.url, 'message.send', { conversationId: who.conversationId, clientId: `message-${index}`, type: 'text', text: 'x'.repeat(500) }, who.token);
  await Promise.all(Array.from({ length: 200 }, (_, index) => write(index)));
  await stop(server);
  expect((await kith('backup', copy, '--data', data)).code).toBe(0);
  const over = await kith('restore', copy, '--data', data);
  expect([over.code, over.err]).toEqual([1, expect.stringContaining('There is a database')]);
  const file = path.join(copy, 'kith.db');
  const damaged = fs.readFileSync(file);
  damaged.fill(0xff, Math.floor(damaged.length / 2), Math.floor(damaged.length / 2) + 40_000);
  fs.writeFileSync(file, damaged);
  const broken = await kith('restore', copy, '--data', other);
  expect([broken.code, broken.err]).toEqual([1, expect.stringMatching(/damaged/)]);
  expect(fs.existsSync(path.join(other, 'kith.db'))).toBe(false);
  const nothing = await kith('restore', folder(), '--data', other);
  expect([nothing.code, nothing.err]).toEqual([1, expect.stringContaining('There is no database')]);
  const inside = await kith('backup', path.join(data, 'here'), '--data', data);
  expect([inside.code, inside.err]).toEqual([1, expect.stringContaining('inside of the data directory')]);
});

test('[OP4] the doctor says of a healthy server that it is well, and names what is broken and what to do', { timeout: 60_000 }, async () => {
  const data = folder();
  const server = await begin(data);
  const who = await anna(server.url);
  const fileId = await sendFile(server.url, who, 'one.bin', randomBytes(50_000));
  // Beside the running server.
  expect(await kith('rotate-secrets', '--data', data)).toMatchObject({ code: 0, out: expect.stringContaining('in use in 5 minutes') });
  const well = await kith('doctor', '--data', data);
  expect([well.code, well.out]).toEqual([
    0,
    expect.stringMatching(/✓ database: whole: 1 people, 1 messages[^]*✓ files: 1 with[^]*✓ keys: \S+secrets.json, which is in no backup[^]*✓ audit log: \d+ entries/),
  ]);
  await stop(server);
  fs.rmSync(path.join(data, 'files', fileId.slice(-2), fileId));
  const db = new DatabaseSync(path.join(data, 'kith.db'));
  db.exec(`update messages set at = ${Date.now() + 86_400_000}`);
  db.exec(`update audit set actor = 'nobody' where seq = 1`);
  db.close();
  const file = path.join(data, 'secrets.json');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(/"privateKey": "[^"]+"/, `"privateKey": "${randomBytes(32).toString('base64url')}"`));
  const ill = await kith('doctor', '--data', data, '--public-url', 'http://127.0.0.1:9');
  expect(ill.code).toBe(1);
  expect(ill.out).toMatch(/✗ files: the bytes of 1 are missing/);
  expect(ill.out).toMatch(/✗ clock: the newest message is of .* still to come/);
  expect(ill.out).toMatch(/✗ keys: .* do not belong together/);
  expect(ill.out).toMatch(/✗ audit log: Row 1 was changed/);
  expect(ill.out).toMatch(/✗ address: .* cannot be reached/);
});
