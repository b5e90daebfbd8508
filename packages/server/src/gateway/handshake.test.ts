import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Person, type TestServer, startTestServer } from '../../test/harness.ts';
import { RawSocket, handshake } from '../../test/raw-socket.ts';

let server: TestServer;
let publicServer: TestServer;
let person: Person;

beforeAll(async () => {
  server = await startTestServer();
  publicServer = await startTestServer({ config: { publicUrl: 'https://chat.example.org', passwordMemory: 19_456, registration: 'open' } });
  person = await server.guest();
});
afterAll(async () => {
  await server.close();
  await publicServer.close();
});

const answered = async (bytes: string, port = server.port): Promise<number> => {
  const raw = await RawSocket.open(port);
  raw.write(bytes);
  const status = await raw.status();
  raw.close();
  return status;
};

describe('what is no handshake is refused, and ends nothing', () => {
  const headers = (count: number): string[] => Array.from({ length: count }, (_, index) => `X-${index}: 1`);
  const without = (name: string): string => handshake().replace(new RegExp(`${name}:.*\r\n`), '');

  test.each<[what: string, status: number, bytes: string]>([
    ['version 8', 426, handshake().replace('Version: 13', 'Version: 8')],
    ['version 12', 426, handshake().replace('Version: 13', 'Version: 12')],
    ['no version', 426, without('Sec-WebSocket-Version')],
    ['two keys', 400, handshake(['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='])],
    ['a bad key', 400, handshake().replace('dGhlIHNhbXBsZSBub25jZQ==', 'short')],
    ['no key', 400, without('Sec-WebSocket-Key')],
    ['100 KB of headers', 431, handshake([`X-Long: ${'x'.repeat(100_000)}`])],
    ['3,000 headers', 431, handshake(headers(3_000))],
    ['Upgrade: h2c', 426, handshake().replace('Upgrade: websocket', 'Upgrade: h2c')],
    ['a GET with a body', 400, handshake(['Content-Length: 5'])],
    ['a POST', 405, handshake([], { line: 'POST /ws HTTP/1.1' })],
    ['HTTP/1.0', 400, handshake([], { line: 'GET /ws HTTP/1.0' })],
    ['/ws/../admin', 404, handshake([], { path: '/ws/../admin' })],
    ['//ws', 404, handshake([], { path: '//ws' })],
    ['/ws/', 404, handshake([], { path: '/ws/' })],
    ['another path', 404, handshake([], { path: '/socket' })],
    ['no Host', 421, handshake().replace('Host: 127.0.0.1\r\n', '')],
    ['two Hosts', 421, handshake(['Host: 127.0.0.1'])],
  ])('[WS3.1] %s is answered %i', async (_, status, bytes) => {
    expect(await answered(bytes)).toBe(status);
  });

  test('[CO11] [WS3.1] a token in the query is refused, even a valid one', async () => {
    expect(await answered(handshake([], { path: `/ws?token=${person.token}` }))).toBe(400);
  });

  test('[WS3.1] a reset at any step of the handshake ends nothing', async () => {
    const whole = handshake([`Authorization: Bearer ${person.token}`]);
    for (const length of [0, 1, 20, whole.length - 2, whole.length]) {
      const raw = await RawSocket.open(server.port);
      if (length > 0) raw.write(whole.slice(0, length));
      raw.reset();
      await raw.ended;
    }
    // And the moment after it.
    const raw = await RawSocket.upgraded(server.port);
    raw.reset();
    await raw.ended;
    expect((await server.http('GET', '/healthz')).status).toBe(200);
  });
});

describe('the host by which the server is called', () => {
  test.each([
    ['127.0.0.1:3000', 101],
    ['localhost', 101],
    ['kith.localhost:8080', 101],
    ['[::1]:3000', 101],
    ['192.168.1.20:3000', 101],
    ['chat.example.org', 421],
    ['localhost.example.org', 421],
    ['127.0.0.1.example.org', 421],
    ['0x7f.1', 421],
    ['2130706433', 421],
    ['localhost@example.org', 421],
  ])('[CO11] [3.3 Host] without a public URL, %s is answered %i', async (host, status) => {
    expect(await answered(handshake([], { host }))).toBe(status);
  });

  test.each([
    ['chat.example.org', 101],
    ['CHAT.example.org', 101],
    ['chat.example.org:443', 101],
    ['localhost:3000', 101],
    ['chat.example.org:8443', 421],
    ['chat.example.org.evil.example', 421],
    ['evil.example', 421],
    ['192.168.1.20', 421],
  ])('[CO11] [3.3 Host] with a public URL, %s is answered %i', async (host, status) => {
    expect(await answered(handshake([], { host }), publicServer.port)).toBe(status);
  });
});

describe('a cookie is only believed from our own pages', () => {
  const cookie = (): string => `Cookie: kith=${person.token}`;

  test.each([
    ['our own', 'http://127.0.0.1', 101],
    ['none', undefined, 403],
    ['null', 'null', 403],
    ['another site', 'http://evil.example', 403],
    ['our host with another scheme', 'https://127.0.0.1', 403],
    ['our host with another port', 'http://127.0.0.1:8080', 403],
    ['our host as a prefix', 'http://127.0.0.1.evil.example', 403],
    ['our host as a suffix', 'http://evil127.0.0.1', 403],
    ['our host as a user', 'http://127.0.0.1@evil.example', 403],
    ['two origins', 'http://127.0.0.1 http://evil.example', 403],
  ])('[CO11] [WS3.1] with the Origin %s (%s): %i', async (_, origin, status) => {
    expect(await answered(handshake([cookie(), ...(origin === undefined ? [] : [`Origin: ${origin}`])]))).toBe(status);
  });

  test.each([
    ['https://chat.example.org', 101],
    ['http://chat.example.org', 403],
    ['https://chat.example.org.evil.example', 403],
    ['https://evilchat.example.org', 403],
    ['https://sub.chat.example.org', 403],
  ])('[WS3.1] behind a public URL, the Origin %s: %i', async (origin, status) => {
    expect(await answered(handshake(['Cookie: __Host-kith=anything', `Origin: ${origin}`], { host: 'chat.example.org' }), publicServer.port)).toBe(status);
  });

  test('without a cookie the Origin says nothing: a program may run on any page, and has to bring a token', async () => {
    expect(await answered(handshake(['Origin: https://appservice.example']))).toBe(101);
  });

  test('hello needs no token then; a cookie that is no longer valid ends in 4500', async () => {
    const headers = { cookie: `kith=${person.token}` };
    const client = await server.socket({ headers, origin: server.url });
    expect((await client.hello()).user.id).toBe(person.id);
    const stale = await server.socket({ headers: { cookie: 'kith=no-longer' }, origin: server.url });
    expect((await stale.request('hello')).error?.code).toBe('unauthenticated');
    expect(await stale.closed).toMatchObject({ code: 4500 });
  });
});

describe('a Bearer token is checked before the handshake is answered', () => {
  test('a valid one is enough for hello', async () => {
    const client = await server.socket({ headers: { authorization: `Bearer ${person.token}` } });
    expect((await client.hello()).user.id).toBe(person.id);
  });

  test.each([
    ['an unknown token', 'Bearer kith_unknown'],
    ['no token', 'Bearer '],
    ['another scheme', 'Basic bWU6bWU='],
    ['a token with a line in it', 'Bearer a b'],
  ])('[CO3] %s is answered 401', async (_, authorization) => {
    expect(await answered(handshake([`Authorization: ${authorization}`]))).toBe(401);
  });

  test('cookies beside it are ignored', async () => {
    const other = await server.guest();
    const client = await server.socket({ headers: { authorization: `Bearer ${other.token}`, cookie: `kith=${person.token}` } });
    expect((await client.hello()).user.id).toBe(other.id);
    await expect(server.socket({ headers: { authorization: 'Bearer wrong', cookie: `kith=${person.token}` }, origin: server.url })).rejects.toMatchObject({ status: 401 });
  });

  test('[CO3] a token of an ended session is answered 401', async () => {
    const gone = await server.guest();
    await server.call('auth.logout', {}, gone.token);
    await expect(server.socket({ headers: { authorization: `Bearer ${gone.token}` } })).rejects.toMatchObject({ status: 401 });
  });
});
