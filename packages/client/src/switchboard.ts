import { type Params, type Push, type Result, conversationStream, decodeServerFrame, parseStream } from '@kith/protocol';
import type { Clock } from './clock.ts';
import type { WebSocketConstructor, WebSocketLike } from './socket.ts';

/** What becomes of a line: told to the tab that holds it. */
export interface LineEvents {
  onOpened(line: string): void;
  /** @param live  From now on every frame for all is for this line too. */
  onFrame(line: string, text: string, live: boolean): void;
  /** For all lines that are live. */
  onFrameForAll(text: string): void;
  onClosed(line: string, code: number, reason: string): void;
}

interface Line {
  opened: boolean;
  /** The requests of hello that wait for the first answer. */
  hello?: string;
  /** Whom the server tells us about because this line asked. */
  watched: Set<string>;
}

interface Upstream {
  socket: WebSocketLike;
  open: boolean;
  startedAt: number;
  heardAt: number;
}

/** Milliseconds of silence after which a socket that one tab took for lost is given up for all. */
const silentMs = 2_000;
/** Milliseconds after which an attempt that is under way is begun anew when somebody asks. */
const stuckMs = 3_000;
/** Milliseconds between two attempts, however many tabs ask. */
const betweenMs = 500;
/** The peer did not answer: what `Link` says of a connection that it takes for lost. */
const lostCode = 4000;

/**
 * One socket for many lines. Each line sees what it would see on a socket of its own: a hello that is answered with the
 * heads of that moment, every push after it, replies to its own requests.
 */
export class Switchboard {
  readonly #WebSocket: WebSocketConstructor;
  readonly #clock: Clock;
  readonly #events: LineEvents;
  readonly #lines = new Map<string, Line>();
  /** By the id that the server sees. */
  readonly #requests = new Map<string, { line: string; id: string; method: string; stream?: string }>();
  #upstream: Upstream | undefined;
  #url = '';
  #lastId = 0;
  #endedAt = -Infinity;
  /** The server's answer to the one hello, kept as it would be answered now. */
  #hello: { result: Result<'hello'>; at: number } | undefined;
  #helloAsked = false;

  constructor(options: { WebSocket: WebSocketConstructor; clock: Clock; events: LineEvents }) {
    this.#WebSocket = options.WebSocket;
    this.#clock = options.clock;
    this.#events = options.events;
  }

  /** A tab wants a connection. */
  open(line: string, url: string): void {
    this.#url = url;
    this.#lines.set(line, { opened: false, watched: new Set() });
    const upstream = this.#upstream;
    if (upstream?.open) return this.#opened(line);
    if (!upstream) this.#connect();
    // It may hang in a network that is gone; whoever asks now knows of a better one.
    else if (this.#clock.now() - upstream.startedAt > stuckMs) this.#connect();
  }

  send(line: string, text: string): void {
    const from = this.#lines.get(line);
    if (!from?.opened || !this.#upstream?.open) return;
    const { id, method, params } = JSON.parse(text) as { id: string; method: string; params: unknown };
    if (method === 'hello') return this.#greet(line, from, id, text);
    if (method === 'presence.watch') for (const userId of (params as Params<'presence.watch'>).userIds) from.watched.add(userId);
    if (method === 'presence.unwatch') {
      const left = this.#unwatch(from, (params as Params<'presence.unwatch'>).userIds);
      if (left.length === 0) return this.#events.onFrame(line, JSON.stringify({ id, result: {} }), false);
      return this.#request(line, id, method, JSON.stringify({ id, method, params: { userIds: left } }));
    }
    this.#request(line, id, method, text, (params as { stream?: string }).stream);
  }

  /** A tab hangs up, or is gone. @param code  As of a socket; 4000: it takes the connection for lost. */
  close(line: string, code: number): void {
    const closed = this.#lines.get(line);
    if (!closed) return;
    this.#lines.delete(line);
    const upstream = this.#upstream;
    if (!upstream) return;
    if (this.#lines.size === 0) return this.#hangUp(code);
    if (code === lostCode && this.#clock.now() - upstream.heardAt >= silentMs) {
      this.#hangUp(code);
      return this.#closeAll(1006, '');
    }
    const left = this.#unwatch(closed, [...closed.watched]);
    if (left.length > 0 && upstream.open && this.#hello)
      this.#request('', '', 'presence.unwatch', JSON.stringify({ id: '', method: 'presence.unwatch', params: { userIds: left } }));
  }

  /** All lines of a tab that is gone. */
  closeAllOf(isTheirs: (line: string) => boolean): void {
    for (const line of [...this.#lines.keys()]) if (isTheirs(line)) this.close(line, 1000);
  }

  /** Leads no more. */
  end(): void {
    this.#hangUp(1000);
    this.#closeAll(1006, '');
  }

  #connect(): void {
    this.#hangUp(1000);
    const now = this.#clock.now();
    // However many tabs try, the server sees one that tries.
    if (now - this.#endedAt < betweenMs) return queueMicrotask(() => this.#upstream ?? this.#closeAll(1006, ''));
    let socket: WebSocketLike;
    try {
      socket = new this.#WebSocket(this.#url);
    } catch (error) {
      return queueMicrotask(() => this.#closeAll(1006, String(error)));
    }
    const upstream: Upstream = { socket, open: false, startedAt: now, heardAt: now };
    this.#upstream = upstream;
    socket.onopen = () => {
      if (this.#upstream !== upstream) return;
      upstream.open = true;
      upstream.heardAt = this.#clock.now();
      for (const line of this.#lines.keys()) this.#opened(line);
    };
    socket.onmessage = (event: { data: unknown }) => {
      if (this.#upstream !== upstream || typeof event.data !== 'string') return;
      upstream.heardAt = this.#clock.now();
      this.#onFrame(event.data);
    };
    socket.onclose = (event: { code?: number; reason?: string }) => {
      if (this.#upstream !== upstream) return;
      this.#forget();
      this.#endedAt = this.#clock.now();
      this.#closeAll(event.code ?? 1006, event.reason ?? '');
    };
    socket.onerror = () => {};
  }

  #opened(id: string): void {
    const line = this.#lines.get(id)!;
    if (line.opened) return;
    line.opened = true;
    this.#events.onOpened(id);
  }

  /** The server takes one hello on one socket; the others get the same answer, brought up to now. */
  #greet(line: string, from: Line, id: string, text: string): void {
    from.hello = id;
    if (this.#hello) return this.#answerHello(line, from);
    if (this.#helloAsked) return;
    this.#helloAsked = true;
    this.#request(line, id, 'hello', text);
  }

  /**
   * Everything the server said so far is in the heads, and everything it says from now on is passed on: the line follows
   * first and reads after, as on a socket of its own.
   */
  #answerHello(line: string, from: Line): void {
    const { result, at } = this.#hello!;
    const id = from.hello!;
    delete from.hello;
    this.#events.onFrame(line, JSON.stringify({ id, result: { ...result, time: result.time + this.#clock.now() - at } }), true);
  }

  #request(line: string, id: string, method: string, text: string, stream?: string): void {
    const ours = `${++this.#lastId}`;
    this.#requests.set(ours, { line, id, method, ...(stream !== undefined && { stream }) });
    try {
      this.#upstream!.socket.send(withId(text, ours));
    } catch {
      // Closing: the close event is on its way.
    }
  }

  #onFrame(text: string): void {
    const id = idOf(text);
    if (id === undefined) {
      const frame = decodeServerFrame(text);
      if (frame && 'heads' in frame) for (const [stream, head] of Object.entries(frame.heads)) this.#noteHead(stream, head);
      else if (frame && 'stream' in frame) this.#notePush(frame);
      return this.#events.onFrameForAll(text);
    }
    const asked = this.#requests.get(id);
    if (!asked) return;
    this.#requests.delete(id);
    if (asked.method === 'hello') return this.#onHello(text);
    if (asked.stream !== undefined) this.#noteReply(asked.stream, text);
    if (this.#lines.has(asked.line)) this.#events.onFrame(asked.line, withId(text, asked.id), false);
  }

  #onHello(text: string): void {
    const { result, error } = JSON.parse(text) as { result?: Result<'hello'>; error?: unknown };
    this.#helloAsked = false;
    if (result) this.#hello = { result, at: this.#clock.now() };
    for (const [line, from] of this.#lines) {
      if (from.hello === undefined) continue;
      if (result) this.#answerHello(line, from);
      else {
        this.#events.onFrame(line, JSON.stringify({ id: from.hello, error }), false);
        delete from.hello;
      }
    }
  }

  /** What the answer to hello would say differently now. */
  #notePush({ stream, version, entities }: Push): void {
    this.#noteHead(stream, version);
    const hello = this.#hello;
    if (!hello || parseStream(stream)?.kind !== 'user') return;
    for (const value of entities) {
      if (value.kind === 'inbox' && !value.joined) delete hello.result.heads[conversationStream(value.conversationId)];
      else if (value.kind === 'user' && value.id === hello.result.user.id) hello.result.user = value;
    }
  }

  /** Changes and snapshots may be ahead of the pushes that they cover, and who has them must not be told of older heads. */
  #noteReply(stream: string, text: string): void {
    const { result } = JSON.parse(text) as { result?: { version?: number } };
    if (result?.version !== undefined) this.#noteHead(stream, result.version);
  }

  #noteHead(stream: string, head: number): void {
    const heads = this.#hello?.result.heads;
    if (heads && head > (heads[stream] ?? 0)) heads[stream] = head;
  }

  /** @returns Those whom no other line watches. */
  #unwatch(line: Line, userIds: readonly string[]): string[] {
    for (const userId of userIds) line.watched.delete(userId);
    const others = [...this.#lines.values()].filter((other) => other !== line);
    return userIds.filter((userId) => !others.some((other) => other.watched.has(userId)));
  }

  #closeAll(code: number, reason: string): void {
    const lines = [...this.#lines.keys()];
    this.#lines.clear();
    for (const line of lines) this.#events.onClosed(line, code, reason);
  }

  #hangUp(code: number): void {
    const upstream = this.#upstream;
    if (!upstream) return;
    this.#forget();
    try {
      upstream.socket.close(code);
    } catch {
      // Not open yet, in an implementation that minds.
    }
  }

  #forget(): void {
    this.#upstream = undefined;
    this.#hello = undefined;
    this.#helloAsked = false;
    this.#requests.clear();
  }
}

/** Both ends write the id first, so that a large snapshot need not be parsed to be handed on. */
const idFirst = /^\{"id":"([^"\\]*)"/;
const idOf = (text: string): string | undefined => idFirst.exec(text)?.[1];
const withId = (text: string, id: string): string => text.replace(idFirst, () => `{"id":"${id}"`);
