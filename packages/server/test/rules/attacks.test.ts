import { Writable } from 'node:stream';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { type HttpAnswer, startTestServer } from '../harness.ts';
import { password, unique } from './place.ts';
import { openRows } from './rows.ts';

// Rows of docs/attacks.md that no other file tries.

const login = { 'content-type': 'application/json' };

describe('signing in', () => {
  test('[HO1] a name that does not exist is refused as late as a wrong password', async () => {
    // A hash takes some 80 ms here, and everything else a few: without one the answer would come twenty times as early.
    await using server = await startTestServer({ config: { passwordMemory: 32_768, passwordPasses: 2 } });
    const anna = await server.register();
    const took = async (handle: string): Promise<number> => {
      const began = performance.now();
      expect((await server.post('auth.login', { handle, password: 'wrong but long enough' })).error).toBe('wrong_credentials');
      return performance.now() - began;
    };
    const [known, unknown]: [number[], number[]] = [[], []];
    for (let turn = 0; turn < 4; turn += 1) {
      known.push(await took(anna.handle!));
      unknown.push(await took(unique('nobody')));
    }
    // The quickest of each, because other programs can only make it slower.
    const ratio = Math.min(...unknown) / Math.min(...known);
    expect(ratio).toBeGreaterThan(0.2);
    expect(ratio).toBeLessThan(5);
  });

  test('[HO2] a flood of sign-ins right after a start is told to come later, and neither ends the server nor keeps anybody out afterwards', async () => {
    await using server = await startTestServer({ config: { passwordMemory: 4_096 } });
    const anna = await server.register('anna', { password });
    await server.restart();
    const chat = await server.connect(anna);
    const flood = Array.from({ length: 120 }, () => server.post('auth.register', { handle: unique('flood'), password, name: 'Flood' }));
    const signIns = ['anna', 'nobody-of-that-name', 'anna'].map((handle) => server.post('auth.login', { handle, password }));
    // Meanwhile there is chat.
    const { conversation } = await chat.call('conversation.direct', { userId: anna.id });
    await chat.call('message.send', { conversationId: conversation.id, clientId: unique('client-id'), type: 'text', text: 'meanwhile' });
    const answers = await Promise.all([...flood, ...signIns]);
    const codes = answers.map(({ status, error }) => (status === 200 ? 'ok' : error));
    // Who is not there may have found room to be told so.
    expect([...new Set(codes)].filter((code) => code !== 'wrong_credentials').toSorted()).toEqual(['busy', 'ok']);
    expect(codes.filter((code) => code === 'ok').length).toBeGreaterThanOrEqual(50);
    // All is as it was: who knows the password comes in, who does not is told so.
    expect((await server.post('auth.login', { handle: 'anna', password })).status).toBe(200);
    expect((await server.post('auth.login', { handle: 'nobody-of-that-name', password })).error).toBe('wrong_credentials');
  });

  test('[HO3] a cookie that was there before is worth nothing after signing in, and no session is taken over from one', async () => {
    await using server = await startTestServer();
    const anna = await server.register('anna', { password });
    const origin = `http://127.0.0.1:${server.port}`;
    const mallory = await server.register('mallory', { password });
    for (const planted of ['planted', mallory.token]) {
      const answer = await server.post('auth.login', { handle: 'anna', password }, { headers: { ...login, origin, cookie: `kith=${planted}` } });
      const set = String(answer.headers['set-cookie']);
      const given = /kith=([^;]+)/.exec(set)![1]!;
      expect(answer.status).toBe(200);
      expect([planted, anna.token]).not.toContain(given);
      expect((await server.post('session.list', {}, { token: given })).json<{ sessions: unknown[] }>().sessions.length).toBeGreaterThan(0);
    }
    // What was planted is what it was: nobody's, or mallory's own.
    expect((await server.post('session.list', {}, { token: 'planted' })).error).toBe('unauthenticated');
    expect((await server.post('user.get', { userId: mallory.id }, { token: mallory.token })).json<{ user: { id: string } }>().user.id).toBe(mallory.id);
  });
});

test('[HO4] what peers send makes no line of its own in the log, colours no terminal, and does not fill it', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, new Writable({ write: (line: Buffer, _encoding, done) => (lines.push(line.toString()), done()) }));
  await using server = await startTestServer({ log });
  const before = lines.length;
  const evil = 'a%0d%0a{"level":"fatal"}%1b[31m';
  const asked: Promise<HttpAnswer>[] = [];
  for (let turn = 0; turn < 50; turn += 1) {
    asked.push(server.http('GET', `/files/${evil}/x?${evil}`, { headers: { 'user-agent': 'x\t[31m', authorization: 'Bearer [31m' } }));
    asked.push(server.http('GET', `/${evil}`), server.http('POST', `/api/${evil}`, { headers: login, body: '{' }));
    asked.push(server.post('auth.login', { handle: 'x\r\n\u001b[31m', password: 'y\r\n{"level":"fatal"}' }));
  }
  for (const { status } of await Promise.all(asked)) expect(status).not.toBe(500);
  expect(lines.slice(before)).toEqual([]);
});

// Found by `npm run chaos -- fuzz`, with seed 2800000.
test('[US4] who deletes their account twice at once is nobody the second time, and nothing breaks', async () => {
  await using server = await startTestServer();
  const anna = await server.register('anna', { password });
  const answers = await Promise.all([1, 2, 3].map(() => server.post('user.delete', { password }, { token: anna.token })));
  expect(answers.map(({ status, error }) => (status === 200 ? 'ok' : error)).toSorted()).toEqual(['ok', 'unauthenticated', 'unauthenticated']);
});

// With seed 11795629362.
test('[ER2] an account that is deleted before its copy is made is no fault of ours', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'error' }, new Writable({ write: (line: Buffer, _encoding, done) => (lines.push(line.toString()), done()) }));
  await using server = await startTestServer({ log });
  const anna = await server.register('anna', { password });
  await server.call('export.start', {}, anna.token);
  await server.call('user.delete', { password }, anna.token);
  const rows = await openRows(server.config);
  await expect.poll(async () => rows.run('select user_id from exports')).toEqual([]);
  await rows.close();
  expect(lines).toEqual([]);
});
