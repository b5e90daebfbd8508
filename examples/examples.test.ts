import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestServer, startTestServer } from '../packages/server/test/harness.ts';

const folder = import.meta.dirname;
const programs = fs.readdirSync(folder).filter((name) => name.endsWith('.js'));
const data = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-examples-'));
let server: TestServer;
let expiredToken: string;

beforeAll(async () => {
  // A guest of 200 days ago, so that the programs meet a token that is really too old.
  const longAgo = await startTestServer({ engine: 'sqlite-direct', now: () => Date.now() - 200 * 86_400_000, config: { data } });
  expiredToken = (await longAgo.guest()).token;
  await longAgo.close();
  // Quick to miss a heartbeat and to be offline; the programs themselves know nothing of that.
  server = await startTestServer({ config: { data, heartbeatMs: 1_000, offlineGraceMs: 200, rateLimits: true } });
});

afterAll(async () => {
  await server?.close();
  fs.rmSync(data, { recursive: true, force: true });
});

/** Runs one in a process of its own. @returns its exit code and what it said */
function run(program: string, ...args: string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [path.join(folder, program), server.url, ...args]);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, said }));
  });
}

test('[EX1] two friends talk by hand-written frames and send a file, one is away meanwhile, and a dead connection is ended by the heartbeat', async () => {
  expect(await run('friend-chat.js')).toEqual({ code: 0, said: 'Ann and Bo have talked.\n' });
});

test('[EX2] a guest gets an identity, comes back with it, sees who is online and how they are called; a wrong or expired token is refused', async () => {
  expect(await run('chat-room.js', expiredToken)).toEqual({ code: 0, said: 'The room is quiet again.\n' });
});

test('[EX3] name and picture are chosen at sign-in; one message reaches everyone in the room, another one person and nobody else', async () => {
  expect(await run('group-and-private.js')).toEqual({ code: 0, said: 'Everyone heard what was meant for them.\n' });
});

test('[EX4] who was away gets everything at the next sign-in, in order, once; tokens are checked before the handshake completes', async () => {
  expect(await run('offline-inbox.js')).toEqual({ code: 0, said: 'Everyone has everything.\n' });
});

test('[EX8] a file goes up in parts over plain HTTP, reaches a friend in a message, and nobody else', async () => {
  expect(await run('send-file.js')).toEqual({ code: 0, said: 'Bo has the file.\n' });
});

test('[EX5] a program that finds something else than promised ends with 1', async () => {
  // The token of somebody who may still sign in, where one is expected that is over.
  const { token } = await server.guest();
  const { code, said } = await run('chat-room.js', token);
  expect(code).toBe(1);
  expect(said).toMatch(/AssertionError|TypeError/);
});

test.for(programs)('[EX6] %s uses the public protocol only, and fits on two screens', (program) => {
  const text = fs.readFileSync(path.join(folder, program), 'utf8');
  const imported = [...text.matchAll(/from '([^']+)'/g)].map(([, name]) => name);
  expect(imported.filter((name) => !name!.startsWith('node:'))).toEqual([]);
  expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(80);
});
