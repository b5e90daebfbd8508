import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { TestClient } from '../test/harness.ts';
import { RawSocket, handshake } from '../test/raw-socket.ts';

let data: string;
const processes = new Set<Running>();

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'kith-main-'));
});
afterEach(async () => {
  for (const running of processes) await running.kill();
  await rm(data, { recursive: true, force: true });
});

/** The server as operators run it. */
class Running {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly exit: Promise<number | null>;
  stdout = '';
  stderr = '';
  #woken = (): void => {};

  constructor(args: string[], env: Record<string, string> = {}) {
    this.#process = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], { env: { PATH: process.env['PATH']!, KITH_DATA: data, PORT: '0', ...env } });
    this.#process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#woken();
    });
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.exit = once(this.#process, 'close').then(([code]) => {
      processes.delete(this);
      this.#woken();
      return code as number | null;
    });
    processes.add(this);
  }

  /** What the pattern finds in what it has printed, as soon as it has. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.stdout);
      if (found) return found;
      if (!processes.has(this)) throw new Error(`ended without saying it:\n${this.stdout}\n${this.stderr}`);
      await new Promise<void>((resolve) => (this.#woken = resolve));
    }
  }

  async url(): Promise<string> {
    return (await this.says(/ is at (http\S+)\n/))[1]!;
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.exit;
  }
}

const post = (url: string, method: string, params: unknown, token?: string): Promise<Response> =>
  fetch(`${url}/api/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(params),
  });

describe('starting', () => {
  test('prints where it is, and once a link with which the operator makes their account', async () => {
    const first = new Running(['start']);
    const url = await first.url();
    const link = await first.says(/operator's account[^\n]*: (\S+)\n/);
    expect(link[1]).toMatch(new RegExp(`^${url}/setup#[A-Za-z0-9_-]{22}$`));
    const invite = link[1]!.split('#')[1];
    const made = await post(url, 'auth.register', { handle: 'boss', password: 'correct horse', name: 'Boss', invite });
    expect(await made.json()).toMatchObject({ user: { operator: true } });
    first.signal('SIGTERM');
    expect(await first.exit).toBe(0);

    const second = new Running([]);
    await second.url();
    await second.says(/\n\n$/);
    expect(second.stdout).not.toContain('/setup#');
  }, 60_000);

  test('--help prints every setting, --version the version, and both end well', async () => {
    const help = new Running(['--help']);
    expect(await help.exit).toBe(0);
    expect(help.stdout).toContain('KITH_PUBLIC_URL');
    const version = new Running(['--version']);
    expect(await version.exit).toBe(0);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.each([
    ['a setting that cannot be', ['--port', 'x'], 2, /^--port: must be a whole number from 0 to 65535\.\n$/],
    ['an unknown flag', ['--prt', '1'], 2, /^Unknown option '--prt'/],
    ['an unknown command', ['strat'], 2, /^There is no command "strat"\. --help lists what there is\.\n$/],
    ['an open address without a word about TLS', ['--host', '0.0.0.0'], 2, /^HOST=0\.0\.0\.0 is reachable from other machines.*--insecure-http\.\n$/],
  ])('%s is refused in one line', async (_, args, code, message) => {
    const running = new Running(args);
    expect(await running.exit).toBe(code);
    expect(running.stderr).toMatch(message);
  });

  test('a port that is taken is refused in one line', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const running = new Running(['--port', String(port)]);
    expect(await running.exit).toBe(1);
    expect(running.stderr).toBe(`Port ${port} is taken. Stop what uses it, or choose another with --port.\n`);
    other.close();
  });

  test('a data directory that another server uses is refused in one line', async () => {
    const first = new Running([]);
    await first.url();
    const second = new Running([]);
    expect(await second.exit).toBe(1);
    expect(second.stderr).toMatch(/^Another Kith is running on [^\n]+\n$/);
  });

  test('a misspelt variable is pointed out', async () => {
    const running = new Running([], { KITH_REGISTRATOIN: 'closed' });
    expect(await running.says(/"level":"(\w+)".*KITH_REGISTRATOIN is no setting/)).toMatchObject({ 1: 'warn' });
  });
});

test('[AU38] operators are made, passwords reset and accounts disabled beside the running server', async () => {
  const server = new Running(['start', '--heartbeat-ms', '1000'], { KITH_PASSWORD_MEMORY: '64', KITH_PASSWORD_PASSES: '1', KITH_REGISTRATION: 'invite' });
  const url = await server.url();
  const admin = async (...words: string[]) => {
    const command = new Running(['admin', ...words, '--public-url', url]);
    return { code: await command.exit, stdout: command.stdout, stderr: command.stderr };
  };
  const ask = async (method: string, params: object) =>
    (await fetch(`${url}/api/${method}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(params) })).json() as Promise<{
      token?: string;
      user?: { operator: boolean };
      error?: { code: string };
    }>;
  const invite = /\/setup#(\S+)/.exec((await admin('create')).stdout)![1]!;
  const made = await ask('auth.register', { handle: 'anna', password: 'correct horse battery', name: 'Anna', invite });
  expect(made.user!.operator).toBe(true);
  expect((await ask('auth.register', { handle: 'bert', password: 'correct horse battery', name: 'Bert', invite })).error!.code).toBe('invite_required');
  const [, handle, ticket] = /\/reset#([a-z]+):(\S+)/.exec((await admin('reset', 'anna')).stdout)!;
  expect(await ask('auth.reset', { handle, ticket, password: 'another good one' })).toEqual({});
  const { token } = await ask('auth.login', { handle: 'anna', password: 'another good one' });
  const client = new TestClient(`${url.replace('http', 'ws')}/ws`);
  await client.opened;
  await client.hello({ token: token! });
  expect((await admin('disable', 'anna')).code).toBe(0);
  expect([4500, 4501]).toContain((await client.closed).code);
  expect((await ask('auth.login', { handle: 'anna', password: 'another good one' })).error!.code).toBe('wrong_credentials');
  expect(await admin('reset', 'nobody')).toEqual({ code: 1, stdout: '', stderr: 'Nobody here has the user name nobody.\n' });
  expect((await admin('disable')).code).toBe(2);
  // Six processes, one after the other: on a busy machine each takes its time.
}, 60_000);

test('[LG8] the audit log is read beside the running server: it knows starts, settings and stops, and one that was changed is refused in words', async () => {
  const first = new Running(['--site-name', 'Maple'], { KITH_S3_SECRET_KEY: '' });
  const url = await first.url();
  await post(url, 'auth.guest', { name: 'Ann' });
  const whole = new Running(['audit', 'verify']);
  expect([await whole.exit, whole.stderr]).toEqual([0, '']);
  expect(whole.stdout).toMatch(/Whole: 4 entries, 1 to 4\.\n {2}It ends with [0-9a-f]{64};/);
  first.signal('SIGTERM');
  expect(await first.exit).toBe(0);
  const taken = new Running(['audit', 'export']);
  expect(await taken.exit).toBe(0);
  const lines = taken.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; detail: Record<string, string> });
  expect(lines.map(({ event }) => event)).toEqual(['server.started', 'settings.changed', 'session.made', 'account.made', 'server.stopped']);
  expect(lines[0]!.detail['version']).toMatch(/^\d+\.\d+\.\d+$/);
  expect(lines[1]!.detail).toMatchObject({ KITH_SITE_NAME: 'default → Maple' });

  const file = new DatabaseSync(join(data, 'kith.db'));
  const taking = file.prepare('select event from audit order by seq desc limit 1').get();
  expect(taking).toEqual({ event: 'audit.exported' });
  file.exec(`update audit set actor = 'nobody' where seq = 3`);
  file.close();
  const broken = new Running(['audit', 'verify']);
  expect([await broken.exit, broken.stderr]).toEqual([1, 'Row 3 was changed.\n']);
}, 60_000);

describe('stopping', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('[CO9] [G10] on %s connections close 1012, and the process ends well within 10 s', async (signal) => {
    const running = new Running([]);
    const url = await running.url();
    const { token } = (await (await post(url, 'auth.guest', { name: 'Ann' })).json()) as { token: string };
    const client = new TestClient(`${url.replace('http', 'ws')}/ws`);
    await client.opened;
    await client.hello({ token });
    const began = performance.now();
    running.signal(signal);
    expect((await client.closed).code).toBe(1012);
    expect(await running.exit).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test('[CO9] [G10] a peer that hangs is not waited for beyond that', async () => {
    const running = new Running([]);
    const url = await running.url();
    const { token } = (await (await post(url, 'auth.guest', { name: 'Ann' })).json()) as { token: string };
    const client = new TestClient(`${url.replace('http', 'ws')}/ws`);
    await client.opened;
    await client.hello({ token });
    client.stopReading();
    running.signal('SIGTERM');
    expect(await running.exit).toBe(0);
    client.terminate();
  });

  test('[CO9] [G10] a second signal ends it at once, and what was acknowledged is there afterwards', async () => {
    const running = new Running([]);
    const url = await running.url();
    const { token } = (await (await post(url, 'auth.guest', { name: 'Ann' })).json()) as { token: string };
    const { conversation } = (await (await post(url, 'conversation.create', { title: 'Notes', memberIds: [] }, token)).json()) as { conversation: { id: string } };
    const sent = await post(url, 'message.send', { conversationId: conversation.id, clientId: 'client-id-1', type: 'text', text: 'kept' }, token);
    expect(sent.status).toBe(200);
    // Somebody who hangs, so that the first signal leaves it waiting.
    const client = new WebSocket(`${url.replace('http', 'ws')}/ws`);
    await once(client, 'open');
    client.pause();
    running.signal('SIGTERM');
    await running.says(/asked to stop/);
    running.signal('SIGTERM');
    // By a signal: killed by itself, so that SQLite does not end in good order.
    expect(await running.exit).toBeNull();
    client.terminate();

    const again = new Running([]);
    const history = await post(await again.url(), 'message.history', { conversationId: conversation.id }, token);
    expect(await history.text()).toContain('"kept"');
  });
});

describe('the log', () => {
  test('[WS3.1] holds no token and nothing that people wrote, however it was sent', async () => {
    const running = new Running(['--log-level', 'debug']);
    const url = await running.url();
    const guest = await post(url, 'auth.guest', { name: 'secret-name' });
    const { token } = (await guest.json()) as { token: string };
    await post(url, 'auth.login', { handle: 'ann', password: 'secret-password' });
    await fetch(`${url}/?token=${token}`);
    await fetch(`${url}/api/user.get?token=${token}`);
    const raw = await RawSocket.open(Number(new URL(url).port));
    raw.write(handshake([], { path: `/ws?token=${token}`, host: new URL(url).host }));
    expect(await raw.status()).toBe(400);
    raw.close();
    const client = new TestClient(`${url.replace('http', 'ws')}/ws`);
    await client.opened;
    await client.hello({ token });
    client.send('secret-nonsense');
    await client.settle();
    await client.close();
    running.signal('SIGTERM');
    await running.exit;
    for (const secret of [token, 'secret']) expect(running.stdout + running.stderr).not.toContain(secret);
  });
});

test('[4.5] metrics are on loopback, on a port of their own, with every limit from zero', async () => {
  // A port that was free a moment ago.
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  const running = new Running(['--metrics-port', String(port)]);
  const url = await running.url();
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(text).toContain('kith_limit_hits_total{limit="outbound"} 0');
  expect(text).toContain('kith_connections 0');
  expect(text).toMatch(/^kith_database_log_bytes [1-9]/m);
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
});
