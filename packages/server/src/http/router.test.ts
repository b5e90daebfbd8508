import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Core } from '../core/core.ts';
import { type TestServer, coreWith, startTestServer } from '../../test/harness.ts';
import { RawSocket } from '../../test/raw-socket.ts';

let server: TestServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kith-web-'));
  await mkdir(join(folder, 'assets'));
  await writeFile(join(folder, 'index.html'), '<!doctype html><title>page</title>');
  await writeFile(join(folder, 'sw.js'), '// worker');
  await writeFile(join(folder, 'assets/index-abc123.js'), 'export {};');
  await writeFile(join(folder, 'assets/index-abc123.js.map'), '{}');
  await writeFile(join(folder, '.env'), 'SECRET=1');
  server = await startTestServer({ webFolder: folder, config: { siteName: 'The Office' } });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

describe('what anybody may ask', () => {
  test('/api/server says what a sign-in page needs, and nothing of the operator', async () => {
    const answer = await server.http('GET', '/api/server');
    expect(answer.json()).toEqual({
      name: 'The Office',
      nameFixed: true,
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      registration: 'open',
      guests: true,
      recallHours: 48,
      retentionDays: 0,
      linkPreviews: false,
      // Called by an address of numbers, and without a public URL.
      passkeys: null,
      fileBytes: 100 * 1_048_576,
      languages: ['en', 'zh-CN'],
    });
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  test('/healthz and /readyz answer whatever the host: who checks knows an address only', async () => {
    for (const path of ['/healthz', '/readyz']) expect((await server.http('GET', path, { headers: { host: '10.0.0.5.example' } })).status).toBe(200);
  });

  test('[3.3 Host] everything else is 421 for a host that is not ours', async () => {
    for (const path of ['/', '/api/server', '/assets/index-abc123.js'])
      expect([path, (await server.http('GET', path, { headers: { host: 'evil.example' } })).status]).toEqual([path, 421]);
    expect((await server.http('POST', '/api/auth.guest', { headers: { host: 'evil.example', 'content-type': 'application/json' }, body: '{"name":"Eve"}' })).status).toBe(421);
  });
});

test('[CO13] /readyz is 503 while the database refuses or does not answer, /healthz is not', async () => {
  let answers: 'well' | 'with an error' | 'never' = 'well';
  const wrapCore = (core: Core): Core =>
    coreWith(core, {
      heads: (streams) => (answers === 'well' ? core.heads(streams) : answers === 'never' ? new Promise(() => {}) : Promise.reject(new Error('gone'))),
    });
  await using broken = await startTestServer({ wrapCore });
  const ready = async (): Promise<number> => (await broken.http('GET', '/readyz')).status;
  expect(await ready()).toBe(200);
  for (const [state, status] of [
    ['with an error', 503],
    ['well', 200],
    ['never', 503],
  ] as const) {
    answers = state;
    await expect.poll(ready).toBe(status);
    expect((await broken.http('GET', '/healthz')).status).toBe(200);
  }
});

test('an offer of HTTP/2 is not taken up, and the request is answered all the same', async () => {
  const answer = await server.http('GET', '/api/server', { headers: { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' } });
  expect(answer.status).toBe(200);
  const plain = await server.http('GET', '/ws');
  expect(plain).toMatchObject({ status: 426, headers: { upgrade: 'websocket' } });
});

describe('the web client', () => {
  test('is one page at every path that looks like a page, checked for a new version each time', async () => {
    for (const path of ['/', '/setup', '/c/01J', '/a/b/c']) {
      const answer = await server.http('GET', path);
      expect([path, answer.status]).toEqual([path, 200]);
      expect(answer.text).toContain('<title>page</title>');
      expect(answer.headers).toMatchObject({ 'cache-control': 'no-cache', 'content-type': 'text/html; charset=utf-8' });
    }
    const { headers } = await server.http('GET', '/');
    expect((await server.http('GET', '/', { headers: { 'if-none-match': headers.etag! } })).status).toBe(304);
  });

  test('has files with a hash in their name, kept for ever, and others that are not', async () => {
    expect((await server.http('GET', '/assets/index-abc123.js')).headers).toMatchObject({
      'cache-control': 'public, max-age=31536000, immutable',
      'content-type': expect.stringContaining('javascript'),
    });
    expect((await server.http('GET', '/sw.js')).headers['cache-control']).toBe('no-cache');
    expect((await server.http('HEAD', '/sw.js')).status).toBe(200);
  });

  test.each([
    '/.env',
    '/.git/config',
    '/assets/index-abc123.js.map',
    '/assets/missing.js',
    '/assets/',
    '/assets/..%2f.env',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%5c..%5cetc%5cpasswd',
    '/assets/%00.js',
    '/metrics',
    '/ws/',
    '/files/x',
    '/index-abc123.js',
    '//etc/passwd',
  ])('[HO8] [3.3] %s is 404', async (path) => {
    expect((await server.http('GET', path)).status).toBe(404);
  });

  test('[HO6] [3.3] changes nothing, by whatever method', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'TRACE']) {
      const answer = await server.http(method, '/');
      expect([method, answer.status]).toEqual([method, 405]);
      expect(answer.headers.allow).toBe('GET, HEAD');
    }
  });

  test('that is not built says so, in words', async () => {
    await using bare = await startTestServer({ webFolder: join(folder, 'none') });
    const answer = await bare.http('GET', '/');
    expect(answer.status).toBe(503);
    expect(answer.text).toContain('npm run build');
  });
});

describe('[4.4] headers', () => {
  const common = {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'origin-agent-cluster': '?1',
    'permissions-policy': expect.stringContaining('geolocation=()'),
  };

  test.each(['/', '/assets/index-abc123.js', '/api/server', '/api/nothing', '/nothing.js', '/healthz'])('of %s', async (path) => {
    const { headers } = await server.http('GET', path);
    expect(headers).toMatchObject(common);
    expect(headers).not.toHaveProperty('server');
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('strict-transport-security');
  });

  test('the page may load and run only what is ours, and no string becomes a script', async () => {
    const policy = (await server.http('GET', '/', { headers: { host: 'localhost:3000' } })).headers['content-security-policy'] as string;
    const directives = new Map(policy.split('; ').map((part) => [part.split(' ')[0], part.split(' ').slice(1).join(' ')]));
    expect(Object.fromEntries(directives)).toMatchObject({
      'default-src': "'none'",
      'script-src': "'self'",
      'connect-src': "'self' ws://localhost:3000",
      'frame-ancestors': "'none'",
      'base-uri': "'none'",
      'require-trusted-types-for': "'script'",
      'trusted-types': 'vue kith-worker',
    });
    expect(policy).not.toContain('unsafe');
  });

  test('[CS1] the page says where a break of its policy is told: always by the older way, on https by the newer one too', async () => {
    const page = await server.http('GET', '/', { headers: { host: 'localhost:3000' } });
    expect(page.headers['content-security-policy']).toMatch(/; report-uri \/policy-reports$/);
    expect(page.headers).not.toHaveProperty('reporting-endpoints');
    await using safe = await startTestServer({ webFolder: folder, config: { publicUrl: 'https://localhost', hstsSubdomains: true } });
    const { headers } = await safe.http('GET', '/', { headers: { host: 'localhost' } });
    expect(headers['content-security-policy']).toMatch(/; report-uri \/policy-reports; report-to pages$/);
    expect(headers['reporting-endpoints']).toBe('pages="/policy-reports"');
    expect(headers['strict-transport-security']).toBe('max-age=31536000; includeSubDomains');
  });

  test('what is no page may load nothing', async () => {
    for (const path of ['/api/server', '/api/nothing', '/nothing.js', '/healthz']) {
      expect([path, (await server.http('GET', path)).headers['content-security-policy']]).toEqual([path, "default-src 'none'; frame-ancestors 'none'"]);
    }
  });
});

describe('[3.3] bytes that are no request', () => {
  const answered = async (bytes: string): Promise<number> => {
    const raw = await RawSocket.open(server.port);
    raw.write(bytes);
    const status = await raw.status();
    raw.close();
    return status;
  };
  const post = (...headers: string[]): string => ['POST /api/auth.guest HTTP/1.1', 'Host: localhost', 'Content-Type: application/json', ...headers, '', ''].join('\r\n');

  test.each([
    ['a length and chunks at once', `${post('Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`],
    ['two lengths', `${post('Content-Length: 2', 'Content-Length: 5')}{}`],
    ['a folded header', `${post('X-Folded: one\r\n two', 'Content-Length: 2')}{}`],
    ['a bare line feed', 'GET / HTTP/1.1\nHost: localhost\n\n'],
    ['an unknown transfer coding', `${post('Transfer-Encoding: xchunked')}{}`],
    ['an unknown method', 'BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['nonsense', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ])('[HO6] %s is answered 400', async (_, bytes) => {
    expect(await answered(bytes)).toBe(400);
  });

  test('[HO6] headers of more than 16 KiB are answered 431', async () => {
    expect(await answered(`GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`)).toBe(431);
  });

  test('[HO6] CONNECT opens nothing', async () => {
    const raw = await RawSocket.open(server.port);
    raw.write('CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n');
    expect((await raw.ended).toString()).not.toContain('200');
  });

  test('[HO7] slow peers are cut: 10 s for headers, 30 s for a request, 5 s of idleness', () => {
    const { headersTimeout, requestTimeout, keepAliveTimeout } = server.running.http;
    expect({ headersTimeout, requestTimeout, keepAliveTimeout }).toEqual({ headersTimeout: 10_000, requestTimeout: 1_800_000, keepAliveTimeout: 5_000 });
  });
});
