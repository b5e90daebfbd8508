import { type ErrorBody, limits } from '@kith/protocol';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Engine, type Person, type TestServer, coreWith, engines, startTestServer } from '../../test/harness.ts';
import { ManualClock } from '../../test/manual-clock.ts';

const json = { 'content-type': 'application/json' };

describe.each<Engine>(engines)('POST /api/<method> with %s', (engine) => {
  let server: TestServer;
  let ann: Person;
  beforeAll(async () => {
    server = await startTestServer({ engine });
    ann = await server.guest('Ann');
  });
  afterAll(() => server.close());

  test('answers the bare result, not to be kept by anybody', async () => {
    const answer = await server.post('user.get', { userId: ann.id }, { token: ann.token });
    expect(answer.status).toBe(200);
    expect(answer.json()).toMatchObject({ user: { id: ann.id, name: 'Ann' } });
    expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8' });
  });

  test('[ER3] answers an error with the status of its code', async () => {
    const answer = await server.post('user.get', { userId: 'nobody' }, { token: ann.token });
    expect(answer.status).toBe(404);
    expect(answer.json()).toEqual({ error: { code: 'not_found', message: expect.any(String), retryable: false } });
    expect((await server.post('user.get', { userId: ann.id })).status).toBe(401);
    expect((await server.post('user.get', { userId: ann.id, as: 'operator' }, { token: ann.token })).json()).toMatchObject({ error: { code: 'bad_request', path: 'params.as' } });
  });
});

describe('what comes in at POST /api', () => {
  let server: TestServer;
  let ann: Person;
  beforeAll(async () => {
    server = await startTestServer();
    ann = await server.guest('Ann');
  });
  afterAll(() => server.close());

  const bearer = () => ({ ...json, authorization: `Bearer ${ann.token}` });
  const raw = (body: string | Buffer, headers: Record<string, string> = bearer(), method = 'user.update') => server.http('POST', `/api/${method}`, { headers, body });

  test.each([
    ['text/plain', 'text/plain'],
    ['a form', 'application/x-www-form-urlencoded'],
    ['a multipart form', 'multipart/form-data; boundary=x'],
    ['JSON by another name', 'application/json+x'],
  ])('[ER3] [3.3] %s is answered 415', async (_, type) => {
    expect(await raw('{}', { ...bearer(), 'content-type': type })).toMatchObject({ status: 415, error: 'unsupported' });
  });

  test('[3.3] no content type at all is answered 415, and a charset is welcome', async () => {
    expect((await raw('{}', { authorization: `Bearer ${ann.token}` })).status).toBe(415);
    expect((await raw('', { authorization: `Bearer ${ann.token}` })).status).toBe(415);
    expect((await raw('{"bio":"é"}', { ...bearer(), 'content-type': 'application/json; charset=utf-8' })).status).toBe(200);
  });

  test('[3.3] a compressed body is answered 415', async () => {
    expect((await raw('{}', { ...bearer(), 'content-encoding': 'gzip' })).status).toBe(415);
  });

  test.each([
    ['no JSON', 'nonsense'],
    ['JSON cut short', '{"bio":"'],
    ['a byte order mark', '\ufeff{}'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d])],
    ['something behind it', '{} {}'],
    ['a bracket that closes our own', '{}} {'],
    ['nesting of 10,000', `{"bio":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
    ['half of a surrogate pair', '{"bio":"\\ud800"}'],
  ])('[3.2] %s is answered 400 bad_json', async (_, body) => {
    expect(await raw(body)).toMatchObject({ status: 400, error: 'bad_json' });
  });

  test.each([
    ['a list', '[]'],
    ['a number', '1'],
    ['text', '"text"'],
    ['an unknown key', '{"role":"operator"}'],
    ['__proto__', '{"__proto__":{"operator":true}}'],
  ])('[3.2] %s is answered 400 bad_request', async (_, body) => {
    expect(await raw(body)).toMatchObject({ status: 400, error: 'bad_request' });
  });

  test('a body cannot turn into another method, or another id', async () => {
    for (const body of ['{},"method":"auth.logout"', '{},"id":"x","method":"auth.logout","params":{}', '{},"params":{"bio":"smuggled"}', '{"bio":"a"},"method":"user.delete"']) {
      // Whatever it is answered, it is an answer to user.update.
      const answer = await raw(body);
      expect(answer.json()).toSatisfy((said: object) => answer.status === 400 || 'user' in said);
    }
    // Still signed in, and still there.
    expect((await server.post('session.list', {}, { token: ann.token })).status).toBe(200);
  });

  test('no body is no params', async () => {
    expect((await raw('', bearer(), 'session.list')).status).toBe(200);
  });

  test('64 KiB are read, one byte more is answered 413', async () => {
    const padded = (bytes: number): string => '{"bio":"x"}'.padEnd(bytes, ' ');
    expect((await raw(padded(limits.frameBytes))).status).toBe(200);
    expect(await raw(padded(limits.frameBytes + 1))).toMatchObject({ status: 413, error: 'too_large' });
  });

  test('[3.3] what does not exist is 404, what is asked in another way is 405', async () => {
    for (const path of ['/api/nothing', '/api/user', '/api/toString', '/api/__proto__', '/api/user.get/x', '/api/']) {
      expect([path, (await server.http('POST', path, { headers: bearer(), body: '{}' })).status]).toEqual([path, 404]);
      expect([path, (await server.http('GET', path)).status]).toEqual([path, 404]);
    }
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'OPTIONS']) {
      const answer = await server.http(method, '/api/user.update', { headers: bearer() });
      expect([method, answer.status]).toEqual([method, 405]);
      expect([method, answer.headers.allow]).toEqual([method, 'POST']);
    }
  });

  test('hello is not for HTTP', async () => {
    expect(await server.post('hello', {}, { token: ann.token })).toMatchObject({ status: 415, error: 'unsupported' });
  });

  test('[3.3] there are no CORS headers, whoever asks', async () => {
    for (const origin of ['null', 'http://evil.example', server.url]) {
      const answer = await server.post('room.list', {}, { token: ann.token, headers: { origin } });
      expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
  });

  test('[ER2] a bug of ours answers 500 with an id, which stands in the log beside the cause, and nothing else about it', async () => {
    const lines: string[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(line) });
    await using broken = await startTestServer({ log, wrapCore: (core) => coreWith(core, { handle: () => Promise.reject(new Error('select * from secrets')) }) });
    const answer = await broken.post('room.list');
    expect(answer.status).toBe(500);
    const { error } = answer.json<{ error: ErrorBody }>();
    expect(error).toEqual({ code: 'internal', message: expect.any(String), retryable: true, id: expect.any(String) });
    expect(answer.text).not.toContain('secrets');
    expect(lines.find((line) => line.includes(error.id!))).toContain('select * from secrets');
  });
});

describe('who it is', () => {
  let server: TestServer;
  let ann: Person;
  beforeAll(async () => {
    server = await startTestServer();
    ann = await server.register('ann');
  });
  afterAll(() => server.close());

  const ours = () => ({ ...json, origin: server.url });
  const cookieOf = (headers: Record<string, unknown>): string => (headers['set-cookie'] as string[])[0]!;

  test('[4.1] the web client gets its session as a cookie that no script reads, and no token', async () => {
    const answer = await server.http('POST', '/api/auth.login', { headers: ours(), body: JSON.stringify({ handle: 'ann', password: ann.password }) });
    expect(answer.status).toBe(200);
    expect(answer.json()).toEqual({ user: expect.objectContaining({ id: ann.id }), sessionId: expect.any(String) });
    const cookie = cookieOf(answer.headers);
    expect(cookie).toMatch(/^kith=[^;]+; Max-Age=15552000; Path=\/; HttpOnly; SameSite=Lax$/);
    const me = await server.http('POST', '/api/session.list', { headers: { ...ours(), cookie: cookie.split(';')[0]! }, body: '{}' });
    expect(me.json()).toMatchObject({ current: answer.json()['sessionId'] });
  });

  test('[4.1] behind TLS the cookie is bound to the host', async () => {
    await using secure = await startTestServer({ config: { publicUrl: 'https://chat.example.org', passwordMemory: 19_456, registration: 'open' } });
    const answer = await secure.http('POST', '/api/auth.guest', { headers: { ...json, host: 'chat.example.org', origin: 'https://chat.example.org' }, body: '{"name":"Ann"}' });
    expect(cookieOf(answer.headers)).toMatch(/^__Host-kith=[^;]+; Max-Age=15552000; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
    expect(answer.headers['strict-transport-security']).toBe('max-age=31536000');
  });

  test('a program gets its token in the body, and no cookie', async () => {
    const answer = await server.post('auth.login', { handle: 'ann', password: ann.password });
    expect(answer.json()).toHaveProperty('token');
    expect(answer.headers['set-cookie']).toBeUndefined();
  });

  test('[4.4] signing out takes the cookie and what the browser keeps', async () => {
    const login = await server.http('POST', '/api/auth.login', { headers: ours(), body: JSON.stringify({ handle: 'ann', password: ann.password }) });
    const cookie = cookieOf(login.headers).split(';')[0]!;
    const answer = await server.http('POST', '/api/auth.logout', { headers: { ...ours(), cookie }, body: '{}' });
    expect(answer.status).toBe(200);
    expect(cookieOf(answer.headers)).toMatch(/^kith=;.*Expires=Thu, 01 Jan 1970/);
    expect(answer.headers['clear-site-data']).toBe('"cache", "cookies", "storage"');
    expect((await server.http('POST', '/api/session.list', { headers: { ...ours(), cookie }, body: '{}' })).status).toBe(401);
  });

  test.each<[what: string, headers: Record<string, string>, status: number]>([
    ['our own page', {}, 200],
    ['our own page, as browsers say it', { 'sec-fetch-site': 'same-origin' }, 200],
    ['another site', { origin: 'http://evil.example' }, 403],
    ['another site, by Sec-Fetch-Site alone', { 'sec-fetch-site': 'cross-site' }, 403],
    ['a sibling, by Sec-Fetch-Site', { 'sec-fetch-site': 'same-site' }, 403],
    ['a page without an origin', { origin: 'null' }, 403],
    ['no page at all', { origin: '' }, 403],
    ['our host with another port', { origin: 'http://127.0.0.1:1' }, 403],
    ['a suffix of our host', { origin: 'http://127.0.0.1.evil.example' }, 403],
  ])('[3.3 CSRF] with a cookie, from %s: %o is answered %i', async (_, headers, status) => {
    const { origin, ...rest } = { ...ours(), ...headers };
    const all = { ...rest, cookie: `kith=${ann.token}`, ...(origin !== '' && { origin }) };
    expect((await server.http('POST', '/api/session.list', { headers: all, body: '{}' })).status).toBe(status);
  });

  test('[3.3 CSRF] signing in and out from another site is refused too, cookie or not', async () => {
    for (const method of ['auth.login', 'auth.guest', 'auth.logout']) {
      expect([method, (await server.post(method, { name: 'Eve' }, { headers: { origin: 'http://evil.example' } })).status]).toEqual([method, 403]);
      expect([method, (await server.post(method, { name: 'Eve' }, { headers: { 'sec-fetch-site': 'cross-site' } })).status]).toEqual([method, 403]);
    }
  });

  test('[4.1] a Bearer token makes cookies ignored, and a bad one is 401 whatever the cookie says', async () => {
    const headers = { ...json, authorization: 'Bearer kith_wrong', cookie: `kith=${ann.token}`, origin: server.url };
    for (const method of ['session.list', 'auth.guest']) expect((await server.http('POST', `/api/${method}`, { headers, body: '{"name":"Ann"}' })).status).toBe(401);
    const other = await server.guest();
    const answer = await server.http('POST', '/api/session.list', { headers: { ...headers, authorization: `Bearer ${other.token}` }, body: '{}' });
    expect(answer.json()).toMatchObject({ current: other.sessionId });
  });

  test('a cookie that is no longer valid is nobody, who may still sign in', async () => {
    const headers = { ...ours(), cookie: 'kith=gone' };
    expect((await server.http('POST', '/api/session.list', { headers, body: '{}' })).status).toBe(401);
    expect((await server.http('POST', '/api/auth.guest', { headers, body: '{"name":"Back"}' })).status).toBe(200);
  });
});

test('[4.5] calls over HTTP are taken from the same buckets, by session', async () => {
  const clock = new ManualClock();
  await using server = await startTestServer({ clock, config: { rateLimits: true } });
  const [ann, bob] = [await server.guest(), await server.guest()];
  const call = (person: Person) => server.post('room.list', {}, { token: person.token });
  for (let n = 0; n < 60; n++) expect((await call(ann)).status).toBe(200);
  const refused = await call(ann);
  expect(refused).toMatchObject({ status: 429, error: 'rate_limited' });
  expect(refused.headers['retry-after']).toBe('1');
  expect((await call(bob)).status).toBe(200);
  await clock.pass(50);
  expect((await call(ann)).status).toBe(200);
});
