import { type MethodName, type Params, type Push, RequestError, type Result, type ServerFrame, type Signal, closeCodes, limits } from '@kith/protocol';
import type { Clock } from './clock.ts';
import { type Hints, onWake } from './hints.ts';
import { Listeners } from './listeners.ts';
import { Reconnect, closeName } from './reconnect.ts';
import { ConnectionError, Requests } from './requests.ts';
import { type Socket, type WebSocketConstructor, openSocket } from './socket.ts';
import type { Call } from './sync.ts';

/** How things stand with the server. */
export interface Connection {
  /** offline: none, see `retryAt`. syncing: there is one, the replica is catching up. ended: will not come back by itself. */
  at: 'offline' | 'connecting' | 'syncing' | 'ready' | 'ended';
  /** By this device's clock: since when it is so; offline and connecting: since when there has been no connection, attempts included. */
  since: number;
  /** offline: when the next attempt begins. */
  retryAt?: number;
  /** ended: `stopped`, or why the server does not want us: an error code or the name of a close code, such as `sessionEnded`. */
  reason?: string;
}

export interface LinkEvents {
  /** A socket is open; nothing was said yet. */
  onOpen(call: Call): void;
  /** The server knows us. The connection is ready when this resolves, and dropped if it rejects. */
  onHello(hello: Result<'hello'>, call: Call): Promise<void>;
  onPush(push: Push): void;
  onSignal(signal: Signal): void;
  onHeads(heads: Record<string, number>): void;
  /** The connection that was open is gone. */
  onDown(): void;
}

/** One socket and what belongs to it. What an abandoned one still does concerns nobody. */
interface Attempt {
  startedAt: number;
  socket: Socket;
  requests: Requests;
  call: Call;
  opened: boolean;
  /** Requests may be made. */
  helloed: boolean;
  readyAt?: number;
  heartbeatMs: number;
  heardAt: number;
  frames: number;
  /** One of: the deadline of the hello, the next look at the silence, the end of the wait for a sign of life. */
  timer: unknown;
  probing: boolean;
}

/** Milliseconds an answer to a request may take. */
export const answerMs = 15_000;
/** Milliseconds from the first byte to the answer of hello. */
const helloMs = limits.helloMs + 5_000;
/** Milliseconds for a sign of life: ordinarily, and when something happened that often kills connections. */
const probeMs = 10_000;
const suspiciousMs = 3_000;

/** Least milliseconds to the next attempt when the server answered hello with a refusal that may pass. */
const refusedMs = 2_000;
/** Signing in again, or another version of this program, is what it takes. */
const isFinal = ({ code }: RequestError): boolean => code === 'unauthenticated' || code === 'unsupported' || code === 'bad_request';

/** Keeps one connection to the server, and never two: opens it, says hello, notices its death, opens the next. */
export class Link {
  readonly #url: string;
  readonly #hello: Params<'hello'>;
  readonly #WebSocket: WebSocketConstructor;
  readonly #clock: Clock;
  readonly #hints: Hints;
  readonly #events: LinkEvents;
  readonly #reconnect: Reconnect;
  readonly #changes = new Listeners<[Connection]>();
  #connection: Connection;
  /** Attempts that failed do not restart the time without a connection. */
  #downSince: number;
  #attempt: Attempt | undefined;
  #retry: unknown;
  #unsubscribe: (() => void) | undefined;
  /** Callers that wait for a connection. */
  readonly #waiting = new Set<{ go(call: Attempt): void; fail(error: Error): void }>();

  constructor(options: { url: string; hello: Params<'hello'>; WebSocket: WebSocketConstructor; clock: Clock; random: () => number; hints: Hints; events: LinkEvents }) {
    this.#url = options.url;
    this.#hello = options.hello;
    this.#WebSocket = options.WebSocket;
    this.#clock = options.clock;
    this.#hints = options.hints;
    this.#events = options.events;
    this.#reconnect = new Reconnect(options.random);
    this.#downSince = options.clock.now();
    this.#connection = { at: 'offline', since: this.#downSince };
  }

  get connection(): Connection {
    return this.#connection;
  }

  onChange(fn: (connection: Connection) => void): () => void {
    return this.#changes.add(fn);
  }

  start(): void {
    if (this.#unsubscribe) return;
    const unsubscribe = this.#hints.subscribe((hint) => this.#nudge(hint));
    const unwake = onWake(this.#clock, () => this.#nudge('wake'));
    this.#unsubscribe = () => {
      unsubscribe();
      unwake();
    };
    this.#connect();
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#abandon(closeCodes.normal.code);
    this.#end('stopped');
  }

  /** Tries at once: while waiting for the next attempt, or after the reason why it ended is gone. */
  retryNow(): void {
    if (this.#unsubscribe && (this.#connection.at === 'offline' || this.#connection.at === 'ended')) this.#connect();
  }

  /** Waits for a connection, and for the answer; both within `timeoutMs`. */
  async call<M extends MethodName>(method: M, params: Params<M>, timeoutMs: number): Promise<Result<M>> {
    const until = this.#clock.now() + timeoutMs;
    const attempt = this.#attempt?.helloed ? this.#attempt : await this.#connected(timeoutMs);
    return attempt.requests.call(method, params, Math.max(1, Math.min(timeoutMs, until - this.#clock.now())));
  }

  #connected(timeoutMs: number): Promise<Attempt> {
    if (this.#connection.at === 'ended') return Promise.reject(new ConnectionError('There is no connection.', false));
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => waiting.fail(new ConnectionError('There is no connection.', false)), timeoutMs);
      const done = (): void => {
        this.#clock.clearTimeout(timer);
        this.#waiting.delete(waiting);
      };
      const waiting = {
        go(attempt: Attempt) {
          done();
          resolve(attempt);
        },
        fail(error: Error) {
          done();
          reject(error);
        },
      };
      this.#waiting.add(waiting);
    });
  }

  #connect(): void {
    this.#cancelRetry();
    this.#abandon(closeCodes.normal.code);
    const now = this.#clock.now();
    const requests = new Requests(this.#clock, (text) => attempt.socket.send(text));
    const attempt: Attempt = {
      startedAt: now,
      requests,
      call: (method, params) => requests.call(method, params, answerMs),
      opened: false,
      helloed: false,
      heartbeatMs: 25_000,
      heardAt: now,
      frames: 0,
      timer: this.#clock.setTimeout(() => this.#lose(attempt), helloMs),
      probing: false,
      socket: undefined as unknown as Socket,
    };
    this.#attempt = attempt;
    this.#set({ at: 'connecting', since: this.#downSince });
    attempt.socket = openSocket(this.#WebSocket, this.#url, {
      onOpen: () => void this.#greet(attempt),
      onFrame: (frame) => this.#onFrame(attempt, frame),
      onClose: (code, reason) => this.#onClose(attempt, code, reason),
    });
  }

  async #greet(attempt: Attempt): Promise<void> {
    attempt.opened = true;
    this.#events.onOpen(attempt.call);
    try {
      const hello = await attempt.requests.call('hello', this.#hello, helloMs);
      if (this.#attempt !== attempt) return;
      attempt.helloed = true;
      attempt.heartbeatMs = hello.heartbeatMs;
      this.#watchSilence(attempt);
      this.#set({ at: 'syncing', since: this.#clock.now() });
      const synced = this.#events.onHello(hello, attempt.call);
      for (const waiting of [...this.#waiting]) waiting.go(attempt);
      await synced;
      if (this.#attempt !== attempt) return;
      attempt.readyAt = this.#clock.now();
      this.#set({ at: 'ready', since: attempt.readyAt });
    } catch (error) {
      if (this.#attempt !== attempt) return;
      if (error instanceof RequestError && isFinal(error)) {
        this.#abandon(closeCodes.normal.code);
        this.#end(error.code);
        return;
      }
      if (!(error instanceof RequestError) && !(error instanceof ConnectionError)) console.error('kith: sync failed', error);
      this.#lose(attempt, error instanceof RequestError ? Math.max(error.extra.retryAfterMs ?? 0, refusedMs) : 0);
    }
  }

  #onFrame(attempt: Attempt, frame: ServerFrame): void {
    attempt.heardAt = this.#clock.now();
    attempt.frames += 1;
    if ('stream' in frame) this.#events.onPush(frame);
    else if ('signal' in frame) this.#events.onSignal(frame);
    else if ('heads' in frame) this.#events.onHeads(frame.heads);
    else if ('id' in frame) attempt.requests.onReply(frame);
  }

  #onClose(attempt: Attempt, code: number, reason: string): void {
    const upMs = attempt.readyAt === undefined ? undefined : this.#clock.now() - attempt.readyAt;
    this.#abandon(closeCodes.normal.code);
    const delay = this.#reconnect.delayAfter(code, reason, upMs);
    if (delay === undefined) this.#end(closeName(code));
    else this.#retryIn(delay);
  }

  /** Gives the socket up without waiting for its close: one that is lost may take minutes to say so. */
  #lose(attempt: Attempt, atLeastMs = 0): void {
    if (this.#attempt !== attempt) return;
    const upMs = attempt.readyAt === undefined ? undefined : this.#clock.now() - attempt.readyAt;
    this.#abandon(closeCodes.heartbeatLost.code);
    this.#retryIn(Math.max(atLeastMs, this.#reconnect.delayAfter(closeCodes.heartbeatLost.code, '', upMs)!));
  }

  #abandon(code: number): void {
    const attempt = this.#attempt;
    if (!attempt) return;
    this.#attempt = undefined;
    this.#clock.clearTimeout(attempt.timer);
    attempt.socket.close(code);
    attempt.requests.close();
    if (attempt.helloed) this.#downSince = this.#clock.now();
    if (attempt.opened) this.#events.onDown();
  }

  #retryIn(ms: number): void {
    const now = this.#clock.now();
    this.#retry = this.#clock.setTimeout(() => this.#connect(), ms);
    this.#set({ at: 'offline', since: this.#downSince, retryAt: now + ms });
  }

  #end(reason: string): void {
    this.#cancelRetry();
    this.#set({ at: 'ended', since: this.#clock.now(), reason });
    for (const waiting of [...this.#waiting]) waiting.fail(new ConnectionError('There is no connection.', false));
  }

  #cancelRetry(): void {
    if (this.#retry !== undefined) this.#clock.clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  #set(connection: Connection): void {
    this.#connection = connection;
    this.#changes.emit(connection);
  }

  /** Something happened after which waiting is foolish and an open connection may be dead. */
  #nudge(hint: 'online' | 'visible' | 'wake'): void {
    const attempt = this.#attempt;
    if (!attempt) {
      if (this.#connection.at === 'offline') this.#connect();
      return;
    }
    const now = this.#clock.now();
    if (!attempt.helloed) {
      // It may hang in the network that is gone.
      if (hint !== 'visible' && now - attempt.startedAt > suspiciousMs) this.#connect();
    } else if (hint !== 'visible' || now - attempt.heardAt > suspiciousMs) this.#probe(attempt, suspiciousMs);
  }

  /** The server's pings are invisible to programs in browsers, so silence has to be broken from this side. */
  #watchSilence(attempt: Attempt): void {
    this.#clock.clearTimeout(attempt.timer);
    attempt.probing = false;
    const silentMs = Math.max(0, this.#clock.now() - attempt.heardAt);
    attempt.timer = this.#clock.setTimeout(
      () => {
        if (this.#clock.now() - attempt.heardAt < attempt.heartbeatMs) this.#watchSilence(attempt);
        else this.#probe(attempt, Math.min(probeMs, attempt.heartbeatMs / 2));
      },
      Math.max(1, attempt.heartbeatMs - silentMs),
    );
  }

  #probe(attempt: Attempt, withinMs: number): void {
    if (attempt.probing) return;
    attempt.probing = true;
    this.#clock.clearTimeout(attempt.timer);
    const { frames } = attempt;
    // Any frame is a sign of life, a refusal as well.
    attempt.call('stream.heads', { streams: [] }).catch(() => {});
    attempt.timer = this.#clock.setTimeout(() => {
      if (attempt.frames === frames) this.#lose(attempt);
      else this.#watchSilence(attempt);
    }, withinMs);
  }
}
