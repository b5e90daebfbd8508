import { fork } from 'node:child_process';
import type { ServerResponse } from 'node:http';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Web, farSite, openWeb, otherSite, plainSite, secureSite } from '../../test/web.ts';
import { type Fetcher, environment, openFetcher, rights } from './fetcher.ts';
import type { Read } from './talk.ts';

// Real requests of the real process. Its internet is this machine: some public addresses lead to the sites of `web`, and
// whatever else is connected to, the canary sees.

const log = pino({ level: 'silent' });
const page = (head: string): string => `<!doctype html><html><head>${head}</head><body><p>words</p></body></html>`;
const hello = page('<title>Hello</title>');

let web: Web;
let fetcher: Fetcher;
beforeAll(async () => {
  web = await openWeb();
  fetcher = openFetcher({ log, ownHosts: ['chat.example.org'], test: web.network });
});
afterAll(async () => {
  await fetcher.close();
  await web.close();
});
beforeEach(() => {
  for (const known of Object.keys(web.pages)) delete web.pages[known];
  web.asked.length = 0;
});

/** Another process: names are told when it begins. */
async function withNames(names: Record<string, string[][]>, url: string, astray: Record<string, string> = {}): Promise<Read | undefined> {
  const other = openFetcher({ log, ownHosts: [], test: { ...web.network, names: { ...web.network.names, ...names }, astray } });
  try {
    return await other.read(url);
  } finally {
    await other.close();
  }
}

test('[LP3] whatever is let through and is no site is seen by the canary', async () => {
  const before = web.canary.reached;
  expect(await fetcher.read('http://9.9.9.9/')).toBeUndefined();
  expect(web.canary.reached).toBe(before + 1);
  web.canary.reached = 0;
});

test('[LP3] what is public is read: by name and number, IPv4 and IPv6, in plain and over TLS', async () => {
  const hosts = ['http://site.test', 'http://site.test.', `http://${plainSite}`, 'http://far.test', `http://[${farSite}]`, 'https://secure.test', `https://${secureSite}`];
  for (const origin of hosts) {
    web.pages[`${new URL(origin).host}/`] = hello;
    expect(await fetcher.read(`${origin}/`)).toEqual({ host: new URL(origin).host, title: 'Hello' });
  }
});

describe('addresses that are not everybody’s', () => {
  const loopback = [
    '127.0.0.1',
    '127.1',
    '0x7f.1',
    '0x7f000001',
    '2130706433',
    '017700000001',
    '0177.0.0.1',
    '127.0.0.1.',
    '①②⑦.0.0.1',
    '127。0。0。1',
    '１２７.０.０.１',
    '0',
    '0.0.0.0',
  ];
  const inside6 = [
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::7f00:1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b:1::7f00:1]',
    '[2002:7f00:1::]',
    '[2001:0:7f00:1::]',
    '[fc00::1]',
    '[fd12:3456::1]',
  ];
  const others6 = ['[fe80::1]', '[fec0::1]', '[ff02::1]', '[2001:db8::1]', '[2001:2::1]', '[2001:20::1]', '[3fff::1]', '[100::1]', '[5f00::1]', '[4000::1]'];
  const private4 = [
    '10.0.0.1',
    '100.64.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.0.1',
    '198.18.0.1',
    '198.19.255.255',
  ];
  const reserved4 = ['198.51.100.1', '203.0.113.1', '224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255'];
  const all = [...loopback, ...inside6, ...others6, ...private4, ...reserved4];

  test.each(all)('[LP3] %s is not asked', async (host) => {
    expect(await fetcher.read(`http://${host}/`)).toBeUndefined();
    expect(web.canary.reached).toBe(0);
  });

  test('[LP3] a name that leads to any of them is not asked, not even if it leads elsewhere as well', async () => {
    const addresses = [...inside6, ...others6, ...private4, ...reserved4, '127.0.0.1', '0.0.0.0', '[fe80::1%lo]'].map((host) => host.replace(/^\[|\]$/g, ''));
    const names = Object.fromEntries(
      addresses.flatMap((address, at) => [
        [`only-${at}.test`, [[address]]],
        [`also-${at}.test`, [[plainSite, address]]],
      ]),
    );
    const other = openFetcher({ log, ownHosts: [], test: { ...web.network, names } });
    for (const name of Object.keys(names)) expect(await other.read(`http://${name}/`)).toBeUndefined();
    await other.close();
    expect(web.canary.reached).toBe(0);
    expect(web.asked).toEqual([]);
  });

  test('[LP3] the addresses of the machine itself are not asked', async () => {
    const own = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
    expect(own.length).toBeGreaterThan(0);
    for (const { address, family } of own) {
      const host = family === 'IPv6' ? `[${address.split('%')[0]}]` : address;
      expect(await fetcher.read(`http://${host}/`)).toBeUndefined();
    }
    expect(web.canary.reached).toBe(0);
  });
});

describe('addresses that are no addresses of pages', () => {
  const urls = [
    'file:///etc/passwd',
    'ftp://site.test/',
    'gopher://site.test/',
    'data:text/html,<title>x</title>',
    'javascript:alert(1)',
    'http://anna@site.test/',
    'http://anna:secret@site.test/',
    'http://site.test:8080/',
    'http://site.test:22/',
    'https://secure.test:444/',
    'http://chat.example.org/',
    'http://chat.example.org./',
    'http://nobody.test/',
    'not an address',
  ];
  test.each(urls)('[LP3] %s is not asked', async (url) => {
    expect(await fetcher.read(url)).toBeUndefined();
    expect(web.asked).toEqual([]);
  });

  test('[LP3] http:127.0.0.1 without its slashes is 127.0.0.1 and not asked', async () => {
    expect(await fetcher.read(`http:127.0.0.1/`)).toBeUndefined();
    expect(web.canary.reached).toBe(0);
  });
});

describe('redirects', () => {
  const to =
    (location: string, code = 302): Web['pages'][string] =>
    (_request, response) =>
      void response.writeHead(code, { location }).end();

  test('[LP3] three are followed, and the host is where it ended', async () => {
    web.pages['site.test/1'] = to('/2', 301);
    web.pages['site.test/2'] = to('//other.test/3', 307);
    web.pages['other.test/3'] = to('https://secure.test/4', 308);
    web.pages['secure.test/4'] = hello;
    expect(await fetcher.read('http://site.test/1')).toEqual({ host: 'secure.test', title: 'Hello' });
  });

  test('[LP3] a fourth is not, of thirty or of a ring', async () => {
    for (let at = 1; at <= 30; at += 1) web.pages[`site.test/${at}`] = to(`/${at + 1}`);
    web.pages['site.test/31'] = hello;
    expect(await fetcher.read('http://site.test/1')).toBeUndefined();
    expect(web.asked).toHaveLength(4);
    web.pages['site.test/ring'] = to('/ring');
    expect(await fetcher.read('http://site.test/ring')).toBeUndefined();
    expect(web.asked).toHaveLength(8);
  });

  const bad: [string, string][] = [
    ['to this machine', 'http://127.0.0.1/'],
    ['to this machine by another writing', 'http://0x7f.1/'],
    ['to this machine by IPv6', 'http://[::1]/'],
    ['to this machine inside of IPv6', 'http://[::ffff:127.0.0.1]/'],
    ['to a name of this machine', 'http://localhost/'],
    ['to the metadata of a cloud', 'http://169.254.169.254/latest/meta-data/'],
    ['to a file', 'file:///etc/passwd'],
    ['to a user', 'http://anna@other.test/'],
    ['to an unusual port', 'http://other.test:8080/'],
    ['to another scheme', 'gopher://other.test/'],
    ['to nowhere', 'http://[not-an-address'],
  ];
  test.each(bad)('[LP3] one that leads %s is not followed', async (_what, location) => {
    web.pages['other.test/'] = hello;
    web.pages['site.test/'] = to(location);
    expect(await fetcher.read('http://site.test/')).toBeUndefined();
    expect(web.canary.reached).toBe(0);
    expect(web.asked.map(({ url }) => url)).toEqual(['http://site.test/']);
  });

  test('[LP3] none leads out of TLS', async () => {
    web.pages['secure.test/'] = to('http://site.test/');
    web.pages['site.test/'] = hello;
    expect(await fetcher.read('https://secure.test/')).toBeUndefined();
    expect(web.asked).toHaveLength(1);
  });

  test('[LP3] a name that is public first and then this machine is asked once, at the public address', async () => {
    web.pages['rebind.test/'] = hello;
    expect(await withNames({ 'rebind.test': [[plainSite], ['127.0.0.1']] }, 'http://rebind.test/')).toMatchObject({ title: 'Hello' });
    const location = 'http://rebind.test/';
    web.pages['rebind.test/'] = to(location);
    expect(await withNames({ 'rebind.test': [[plainSite], ['127.0.0.1']] }, 'http://rebind.test/')).toBeUndefined();
    expect(web.canary.reached).toBe(0);
  });
});

test('[LP3] a connection that ends at another address than it was made to is not asked anything', async () => {
  web.pages['site.test/'] = hello;
  expect(await withNames({}, 'http://site.test/', { [plainSite]: otherSite })).toBeUndefined();
  expect(web.asked).toEqual([]);
});

test('[LP3] a certificate of somebody else is not believed', async () => {
  web.pages['wrong.test/'] = hello;
  expect(await withNames({ 'wrong.test': [[secureSite]] }, 'https://wrong.test/')).toBeUndefined();
  expect(web.asked).toEqual([]);
});

test('[LP3] the picture of a page gets the same looks as the page', async () => {
  for (const href of ['http://127.0.0.1/x.png', 'http://localhost/x.png', 'file:///etc/passwd', 'http://site.test:8080/x.png']) {
    web.pages['site.test/'] = page(`<title>Hello</title><meta property="og:image" content="${href}">`);
    expect(await fetcher.read('http://site.test/')).toEqual({ host: 'site.test', title: 'Hello' });
  }
  expect(web.canary.reached).toBe(0);
});

describe('what is asked and what is read', () => {
  test('[LP4] a server learns nothing but that this server asks', async () => {
    web.pages['site.test/'] = (_request, response) => void response.writeHead(302, { location: '/next', 'set-cookie': 'a=b' }).end();
    web.pages['site.test/next'] = hello;
    await fetcher.read('http://site.test/#part');
    expect(web.asked.map(({ url }) => url)).toEqual(['http://site.test/', 'http://site.test/next']);
    for (const { headers } of web.asked) {
      expect(headers).toEqual({
        host: 'site.test',
        accept: expect.any(String),
        'accept-encoding': 'gzip',
        'user-agent': expect.stringContaining('KithPreview'),
        connection: 'close',
      });
    }
  });

  const answers: [string, Web['pages'][string]][] = [
    ['another type', (_request, response) => void response.writeHead(200, { 'content-type': 'application/pdf' }).end('%PDF')],
    ['no type', (_request, response) => void response.writeHead(200).end(hello)],
    ['a drawing that can hold scripts', (_request, response) => void response.writeHead(200, { 'content-type': 'image/svg+xml' }).end('<svg/>')],
    ['an error', (_request, response) => void response.writeHead(500, { 'content-type': 'text/html' }).end(hello)],
    ['an empty page', (_request, response) => void response.writeHead(204).end()],
    ['another packing', (_request, response) => void response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': 'br' }).end('x')],
    ['packing that is none', (_request, response) => void response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': 'gzip' }).end(hello)],
    [
      'packing within packing',
      (_request, response) => void response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': 'gzip, gzip' }).end(gzipSync(gzipSync(hello))),
    ],
    ['what is no HTTP', (request) => void request.socket.end('220 mail.example.org ESMTP\r\n')],
    ['another protocol', (request) => void request.socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')],
    ['headers without end', (request) => void request.socket.write(`HTTP/1.1 200 OK\r\n${'x-filler: 1234567890\r\n'.repeat(2_000)}`)],
    ['a connection that is cut', (request) => void request.socket.destroy()],
  ];
  test.each(answers)('[LP4] %s is no preview', async (_what, answer) => {
    web.pages['site.test/'] = answer;
    expect(await fetcher.read('http://site.test/')).toBeUndefined();
  });

  test('[LP4] a page packed by gzip is read', async () => {
    web.pages['site.test/'] = (_request, response) => void response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': 'gzip' }).end(gzipSync(hello));
    expect(await fetcher.read('http://site.test/')).toMatchObject({ title: 'Hello' });
  });

  test('[LP4] a picture is read as it is, with the name in its address', async () => {
    web.pages['site.test/a/cat.png'] = (_request, response) => void response.writeHead(200, { 'content-type': 'image/png' }).end('bytes');
    expect(await fetcher.read('http://site.test/a/cat.png')).toEqual({ host: 'site.test', path: '/a/cat.png', picture: Buffer.from('bytes').toString('base64') });
  });

  /** Says 10 GB of something, as fast as it is taken, until nobody takes more. */
  function endless(response: ServerResponse, letter: string): { sent: number; over: boolean } {
    const state = { sent: 0, over: false };
    const more = (): void => {
      if (state.over || state.sent >= 10 * 1024 ** 3) return;
      state.sent += 65_536;
      if (response.write(Buffer.alloc(65_536, letter))) setImmediate(more);
      else response.once('drain', more);
    };
    response.on('close', () => (state.over = true));
    more();
    return state;
  }

  test('[LP4] nothing is read behind the head of a page, however much there is', async () => {
    let state: { sent: number; over: boolean } | undefined;
    web.pages['site.test/'] = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html', 'content-length': String(10 * 1024 ** 3) }).write('<title>Hello</title><body>');
      state = endless(response, 'x');
    };
    expect(await fetcher.read('http://site.test/')).toMatchObject({ title: 'Hello' });
    await expect.poll(() => state?.over).toBe(true);
    expect(state!.sent).toBeLessThan(32 * 1_048_576);
  });

  test.each([
    ['a page whose head has no end', 'text/html', '<title>Hello</title>'],
    ['a picture', 'image/png', '\x89PNG'],
  ])('[LP4] of %s of 10 GB a mebibyte is read, and then no more', async (_what, type, start) => {
    let state: { sent: number; over: boolean } | undefined;
    web.pages['site.test/'] = (_request, response) => {
      response.writeHead(200, { 'content-type': type }).write(start);
      state = endless(response, ' ');
    };
    expect(await fetcher.read('http://site.test/')).toBeUndefined();
    await expect.poll(() => state?.over).toBe(true);
    expect(state!.sent).toBeLessThan(32 * 1_048_576);
  });

  test('[LP4] a mebibyte that unpacks to a gigabyte is given up after the first', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1_048_576, ' '), { level: 9 });
    expect(bomb.length).toBeLessThan(131_072);
    web.pages['site.test/'] = (_request, response) => void response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': 'gzip' }).end(bomb);
    expect(await fetcher.read('http://site.test/')).toBeUndefined();
    web.pages['site.test/picture'] = (_request, response) => void response.writeHead(200, { 'content-type': 'image/png', 'content-encoding': 'gzip' }).end(bomb);
    expect(await fetcher.read('http://site.test/picture')).toBeUndefined();
  });

  test('[LP4] after five seconds nobody waits: not for headers, not for a byte each second, not for a picture', { timeout: 30_000 }, async () => {
    const drip: Web['pages'][string] = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' });
      const timer = setInterval(() => response.write(' '), 500);
      response.on('close', () => clearInterval(timer));
    };
    web.pages['site.test/silent'] = () => {};
    web.pages['site.test/drip'] = drip;
    web.pages['site.test/picture'] = page('<title>Hello</title><meta property="og:image" content="/silent">');
    const began = performance.now();
    const read = await Promise.all(['silent', 'drip', 'picture'].map((name) => fetcher.read(`http://site.test/${name}`)));
    expect(read).toEqual([undefined, undefined, { host: 'site.test', title: 'Hello' }]);
    expect(performance.now() - began).toBeGreaterThan(4_500);
  });
});

describe('the process', () => {
  const open = (): Fetcher => openFetcher({ log, ownHosts: [], test: web.network });
  const ended = async (pid: number): Promise<void> => {
    const there = (): boolean => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    await expect.poll(there).toBe(false);
  };

  test('[LP5] it may read its program and nothing else, and start nothing', async () => {
    // The same rights and the same environment, for a program that tries.
    const tries = path.join(import.meta.dirname, 'tries.test-child.ts');
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const child = fork(tries, { execArgv: rights(), env: environment(), stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    child.once('message', resolve);
    expect(await promise).toEqual({
      passwd: 'ERR_ACCESS_DENIED',
      repository: 'ERR_ACCESS_DENIED',
      write: 'ERR_ACCESS_DENIED',
      process: 'ERR_ACCESS_DENIED',
      thread: 'ERR_ACCESS_DENIED',
      addon: 'ERR_DLOPEN_DISABLED',
      program: 'ok',
      secrets: [],
    });
    child.kill('SIGKILL');
  });

  test('[LP5] killed in the middle, it is another one that answers', async () => {
    const fetcher2 = open();
    const answers: (() => void)[] = [];
    web.pages['site.test/'] = (_request, response) => void answers.push(() => response.writeHead(200, { 'content-type': 'text/html' }).end(hello));
    const reading = fetcher2.read('http://site.test/');
    await expect.poll(() => answers.length).toBe(1);
    const first = fetcher2.pid!;
    process.kill(first, 'SIGKILL');
    await expect.poll(() => answers.length).toBe(2);
    answers[1]!();
    expect(await reading).toMatchObject({ title: 'Hello' });
    expect(fetcher2.pid).not.toBe(first);
    // Twice is enough: whatever is there kills it.
    const again = fetcher2.read('http://site.test/').catch((error: Error) => error.message);
    for (const count of [3, 4]) {
      await expect.poll(() => answers.length).toBe(count);
      process.kill(fetcher2.pid!, 'SIGKILL');
    }
    expect(await again).toBe('the process ended');
    web.pages['site.test/'] = hello;
    expect(await fetcher2.read('http://site.test/')).toMatchObject({ title: 'Hello' });
    const last = fetcher2.pid!;
    await fetcher2.close();
    await ended(last);
  });

  test('[LP5] one that does not answer in its time is ended, and the next answers', { timeout: 30_000 }, async () => {
    const fetcher2 = open();
    web.pages['site.test/'] = hello;
    expect(await fetcher2.read('http://site.test/')).toMatchObject({ title: 'Hello' });
    const stopped = fetcher2.pid!;
    process.kill(stopped, 'SIGSTOP');
    expect(await fetcher2.read('http://site.test/')).toBeUndefined();
    await ended(stopped);
    expect(await fetcher2.read('http://site.test/')).toMatchObject({ title: 'Hello' });
    await fetcher2.close();
  });
});
