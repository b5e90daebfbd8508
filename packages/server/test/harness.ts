import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ErrorBody,
  type FileRef,
  type MethodName,
  type Params,
  type Push,
  type Reply,
  RequestError,
  type Result,
  type ServerFrame,
  type Signal,
  type User,
} from '@kith/protocol';
import { WebSocket } from 'ws';
import { type Config, configWith } from '../src/config.ts';
import type { Core } from '../src/core/core.ts';
import { type Overrides, type RunningServer, startServer } from '../src/server.ts';
import { createTestDatabase } from './postgres.ts';

/** Where the core of a server under test runs: as with SQLite by default, SQLite in the gateway's thread, PostgreSQL. */
export type Engine = 'sqlite' | 'sqlite-direct' | 'postgres';
export const engines: readonly Engine[] = ['sqlite', 'sqlite-direct', 'postgres'];

export interface TestServerOptions extends Omit<Overrides, 'engine'> {
  /** Default: sqlite. */
  engine?: Engine;
  /** Beyond these defaults: a free port, an empty data directory, cheap passwords, no rate limits, no log. */
  config?: Partial<Config>;
}

/** A person with a session, and the token of that session. */
export interface Person {
  user: User;
  id: string;
  token: string;
  sessionId: string;
  handle: string | undefined;
  password: string | undefined;
}

/**
 * A real server on a free port with an empty database. Time limits, where a test waits for something that does not
 * come, are the test runner's; nothing here sleeps.
 */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { engine = 'sqlite', config: given, ...overrides } = options;
  const database = engine === 'postgres' ? await createTestDatabase() : undefined;
  const data = given?.data ?? (await mkdtemp(join(tmpdir(), 'kith-test-')));
  const config = configWith({
    port: 0,
    data,
    database: database?.url ?? 'sqlite',
    passwordMemory: 64,
    passwordPasses: 1,
    registrationsPerHour: 1_000_000,
    rateLimits: false,
    logLevel: 'silent',
    // Tests of links make a network of their own; nobody else's words ask anybody.
    linkPreviews: overrides.network !== undefined,
    ...given,
  });
  const start = (): Promise<RunningServer> => startServer(config, { env: {}, ...overrides, ...(engine === 'sqlite-direct' && { engine: 'direct' }) });
  const dispose = async (): Promise<void> => {
    if (given?.data === undefined) await rm(data, { recursive: true, force: true });
    await database?.drop();
  };
  return new TestServer(config, await start(), start, dispose);
}

export class TestServer {
  readonly config: Config;
  running: RunningServer;
  readonly #start: () => Promise<RunningServer>;
  readonly #dispose: () => Promise<void>;
  readonly #clients = new Set<TestClient>();
  #names = 0;

  constructor(config: Config, running: RunningServer, start: () => Promise<RunningServer>, dispose: () => Promise<void>) {
    this.config = config;
    this.running = running;
    this.#start = start;
    this.#dispose = dispose;
  }

  get port(): number {
    return this.running.port;
  }

  /** Of the address listened on, whatever the public URL is. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** A request with exactly these headers, and the answer as it came. */
  http(method: string, path: string, { headers = {}, body }: { headers?: Record<string, string | string[]>; body?: string | Buffer } = {}): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ host: '127.0.0.1', port: this.port, method, path, headers, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => resolve(new HttpAnswer(response.statusCode!, response.headers, Buffer.concat(chunks))));
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  /** `POST /api/<method>`, as a program does it. */
  post(method: string, params: unknown = {}, { token, headers = {} }: { token?: string; headers?: Record<string, string> } = {}): Promise<HttpAnswer> {
    const all = { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers };
    return this.http('POST', `/api/${method}`, { headers: all, body: JSON.stringify(params) });
  }

  /** Calls a method over HTTP. @throws RequestError */
  async call<M extends MethodName>(method: M, params: Params<M>, token?: string): Promise<Result<M>> {
    const answer = await this.post(method, params, token === undefined ? {} : { token });
    if (answer.status !== 200) throw requestError(answer.json<{ error: ErrorBody }>().error);
    return answer.json<Result<M>>();
  }

  /** Reserves, sends and commits a file, as a program does it. @throws RequestError */
  async upload(
    { token }: { token: string },
    bytes: Buffer,
    {
      name = 'notes.txt',
      durationMs,
      waveform,
      posterId,
      ...more
    }: Partial<Omit<Params<'file.reserve'>, 'size'>> & Pick<Params<'file.commit'>, 'durationMs' | 'waveform' | 'posterId'> = {},
  ): Promise<FileRef> {
    const { fileId, url } = await this.call('file.reserve', { name, size: bytes.length, ...more }, token);
    const answer = await this.patch({ token }, url, 0, bytes);
    if (answer.status !== 204) throw requestError(answer.json<{ error: ErrorBody }>().error);
    return (await this.call('file.commit', { fileId, sha256: createHash('sha256').update(bytes).digest('hex'), durationMs, waveform, posterId }, token)).file;
  }

  /** Sends bytes of an upload from a place on. */
  patch({ token }: { token: string }, url: string, offset: number, body: Buffer, headers: Record<string, string> = {}): Promise<HttpAnswer> {
    return this.http('PATCH', url, {
      headers: { ...tus, authorization: `Bearer ${token}`, 'content-length': String(body.length), 'upload-offset': String(offset), ...headers },
      body,
    });
  }

  /** A file, or a part of it, as this person gets it. */
  download({ token }: { token: string }, fileId: string, headers: Record<string, string> = {}, method = 'GET', query = ''): Promise<HttpAnswer> {
    return this.http(method, `/files/${fileId}/name${query}`, { headers: { authorization: `Bearer ${token}`, ...headers } });
  }

  async guest(name = this.#name('Guest')): Promise<Person> {
    return person(await this.call('auth.guest', { name }));
  }

  async register(
    handle = this.#name('person').toLowerCase(),
    { password = 'correct horse', name = handle, invite }: { password?: string; name?: string; invite?: string } = {},
  ): Promise<Person> {
    return person(await this.call('auth.register', { handle, password, name, ...(invite !== undefined && { invite }) }), handle, password);
  }

  /** The operator, by the set-up link of a fresh server. */
  async operator(handle = 'operator'): Promise<Person> {
    const invite = await this.running.core.setupLink();
    if (invite === undefined) throw new Error('There is an operator already.');
    return this.register(handle, { invite });
  }

  /** Another session of a registered person. */
  async login({ handle, password }: Person): Promise<Person> {
    return person(await this.call('auth.login', { handle: handle!, password: password! }), handle, password);
  }

  /** Makes friends of these, each with each. */
  async befriend(...people: Person[]): Promise<void> {
    for (const [index, one] of people.entries()) {
      for (const other of people.slice(index + 1)) {
        await this.call('friend.request', { userId: other.id }, one.token);
        await this.call('friend.accept', { userId: one.id }, other.token);
      }
    }
  }

  /** A socket that has said nothing yet. @throws when the handshake is refused; the error has the `status` */
  async socket(options: SocketOptions = {}): Promise<TestClient> {
    const client = new TestClient(`ws://127.0.0.1:${this.port}${options.path ?? '/ws'}`, options);
    this.#clients.add(client);
    void client.closed.then(() => this.#clients.delete(client));
    await client.opened;
    return client;
  }

  /** A socket of this person, ready for calls. */
  async connect({ token }: { token: string }, options: SocketOptions = {}): Promise<TestClient> {
    const client = await this.socket(options);
    await client.hello({ token });
    return client;
  }

  /** Stops the server in an orderly way and starts it again on the same data; the port is another one. */
  async restart(): Promise<void> {
    await this.running.close();
    this.running = await this.#start();
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.terminate();
    await this.running.close();
    await this.#dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #name(kind: string): string {
    return `${kind}${++this.#names}`;
  }
}

/** What every request of an upload has. */
export const tus = { 'tus-resumable': '1.0.0', 'content-type': 'application/offset+octet-stream' };

export class HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  constructor(status: number, headers: IncomingHttpHeaders, bytes: Buffer) {
    this.status = status;
    this.headers = headers;
    this.bytes = bytes;
  }
  get text(): string {
    return this.bytes.toString();
  }
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the test says what it expects to find
  json<T = Record<string, unknown>>(): T {
    return JSON.parse(this.text) as T;
  }
  /** The code of an error answer. */
  get error(): string | undefined {
    return this.json<{ error?: ErrorBody }>().error?.code;
  }
}

export interface SocketOptions {
  path?: string;
  headers?: Record<string, string>;
  origin?: string;
  /** Answer pings, as every client does. Default: true. */
  autoPong?: boolean;
}

/** A WebSocket client that speaks the protocol frame by frame, and keeps every frame it got. */
export class TestClient {
  /** Every frame received, in order. */
  readonly frames: ServerFrame[] = [];
  readonly opened: Promise<void>;
  /** Resolves when the connection is over. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly ws: WebSocket;
  readonly #waiting = new Set<() => void>();
  #unread = 0;
  #next = 1;
  #over = false;

  constructor(url: string, { headers, origin, autoPong = true }: SocketOptions = {}) {
    this.ws = new WebSocket(url, { ...(headers && { headers }), ...(origin !== undefined && { origin }), autoPong });
    this.opened = new Promise((resolve, reject) => {
      this.ws.once('open', resolve);
      this.ws.once('unexpected-response', (request, response) => {
        request.destroy();
        reject(Object.assign(new Error(`handshake answered ${response.statusCode}`), { status: response.statusCode, headers: response.headers }));
      });
      this.ws.once('error', reject);
    });
    this.opened.catch(() => {});
    this.ws.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.ws.once('close', (code, reason) => {
        this.#over = true;
        resolve({ code, reason: reason.toString() });
        this.#wake();
      });
    });
    this.ws.on('message', (data: Buffer) => {
      this.frames.push(JSON.parse(data.toString()) as ServerFrame);
      this.#wake();
    });
  }

  /** Sends a frame as it is, or an object as JSON. */
  send(frame: string | Buffer | object): void {
    this.ws.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  }

  /** Sends a request and gives the reply, whatever it says. @throws when the connection ends first */
  async request(method: string, params: unknown = {}, id = `r${this.#next++}`): Promise<Reply> {
    this.send({ id, method, params });
    return this.reply(id);
  }

  /** The reply with this id. */
  reply(id: string): Promise<Reply> {
    return this.#find((frame): frame is Reply => 'id' in frame && frame.id === id, 0);
  }

  /** @throws RequestError */
  async call<M extends MethodName>(method: M, params: Params<M>): Promise<Result<M>> {
    const { result, error } = await this.request(method, params);
    if (error) throw requestError(error);
    return result as Result<M>;
  }

  hello(params: Params<'hello'> = {}): Promise<Result<'hello'>> {
    return this.call('hello', params);
  }

  /** The next frame that matches, from where the last call of this kind found its own. Waits for it. */
  next<F extends ServerFrame>(match: (frame: ServerFrame) => frame is F): Promise<F>;
  next(match?: (frame: ServerFrame) => boolean): Promise<ServerFrame>;
  next(match: (frame: ServerFrame) => boolean = () => true): Promise<ServerFrame> {
    return this.#find(match as (frame: ServerFrame) => frame is ServerFrame, this.#unread, (index) => (this.#unread = index + 1));
  }

  /** The next push that matches. */
  push(match: (push: Push) => boolean = () => true): Promise<Push> {
    return this.next((frame): frame is Push => 'stream' in frame && match(frame));
  }

  signal(match: (signal: Signal) => boolean = () => true): Promise<Signal> {
    return this.next((frame): frame is Signal => 'signal' in frame && match(frame));
  }

  heads(): Promise<{ heads: Record<string, number> }> {
    return this.next((frame): frame is { heads: Record<string, number> } => 'heads' in frame);
  }

  /**
   * Comes back when all that was sent to this client before is in `frames`: a reply is written behind it. To say that
   * something did *not* come, without waiting a while.
   */
  async settle(): Promise<void> {
    await this.request('stream.heads', { streams: [] });
  }

  /** Reads nothing from the network any more, as a client that hangs. */
  stopReading(): void {
    this.ws.pause();
  }

  startReading(): void {
    this.ws.resume();
  }

  async close(code = 1000): Promise<{ code: number; reason: string }> {
    this.ws.close(code);
    return this.closed;
  }

  /** Gone without a word. */
  terminate(): void {
    this.ws.terminate();
  }

  async #find<F extends ServerFrame>(match: (frame: ServerFrame) => frame is F, from: number, found?: (index: number) => void): Promise<F> {
    for (let index = from; ; index++) {
      while (index >= this.frames.length) {
        if (this.#over) throw new Error(`The connection closed before the frame came: ${JSON.stringify(await this.closed)}`);
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
      const frame = this.frames[index]!;
      if (!match(frame)) continue;
      found?.(index);
      return frame;
    }
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}

/** The core with some of its methods replaced: what a test does to it, the rest does not notice. */
export function coreWith(core: Core, replaced: Partial<Core>): Core {
  return new Proxy(core, {
    get(target, name: keyof Core) {
      const value: unknown = replaced[name] ?? target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function person({ user, token, sessionId }: Result<'auth.guest'>, handle?: string, password?: string): Person {
  return { user, id: user.id, token: token!, sessionId, handle, password };
}

function requestError({ code, message, path, retryAfterMs, id, ticket }: ErrorBody): RequestError {
  return new RequestError(code, {
    message,
    ...(ticket !== undefined && { ticket }),
    ...(path !== undefined && { path }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(id !== undefined && { id }),
  });
}
