import type { ErrorBody, Inbox, Message, MethodName, Params, Result, ServerFrame, StreamId } from '@kith/protocol';
import { WebSocket } from 'ws';
import { type History, type Row, now, perhapsRefused, resent } from './history.ts';

// One device of a person: it speaks the public protocol by hand, keeps what it was told, asks for what it missed, and
// notes all of it. Nothing here judges.

export interface Person {
  id: string;
  name: string;
  token: string;
}

interface Waiting {
  clientId: string;
  conversation: string;
  text: string;
  /** It was sent before. */
  left: boolean;
}

/** Asks on one connection; with neither result nor error, the connection ended first. */
type Ask = <M extends MethodName>(method: M, params: Params<M>) => Promise<{ result?: Result<M>; error?: ErrorBody }>;

/** What it holds of one conversation. */
interface Held {
  rows: Map<number, { version: number; row: Row }>;
  /** By id: words of its own that may still be changed, the latest of them. */
  own: Map<string, { clientId: string; text: string }>;
  /** The highest seq. */
  top: number;
}

/** Of its own messages it changes none that is older than so many. */
const ownKept = 200;

/** Milliseconds without an answer after which a connection is given up, and of pauses between attempts. */
const answerMs = 6_000;
const pauseMs = { least: 20, most: 500 };

/** For so long after somebody was told to come again, the answer that somebody else missed may have been the same. Milliseconds. */
const refusalMs = 10_000;
let lastRefused = -Infinity;

const canaries = /canary-[a-z0-9]+/g;

export class Device {
  readonly name: string;
  readonly person: Person;
  readonly #url: string;
  readonly #history: History;
  readonly #random: () => number;
  readonly #heads = new Map<StreamId, number>();
  /** How often a stream was lost: an answer of before says nothing of after. */
  readonly #losses = new Map<StreamId, number>();
  readonly #held = new Map<string, Held>();
  readonly #marks = new Map<string, Inbox>();
  readonly #outbox: Waiting[] = [];
  readonly #catching = new Map<StreamId, Promise<void>>();
  /** By canary: whose it is; and until when what was told of it need not be told again. */
  readonly #canaries: Map<string, string>;
  readonly #toldUntil = new Map<string, number>();
  /** What this connection was told that its person is not in any more. */
  readonly #out = new Map<string, { version: number; told: number }>();
  /** Answers that were on their way when the last connection ended may have been lost. */
  #lostAnswers = false;
  #socket: WebSocket | undefined;
  #ask: Ask | undefined;
  #next = 0;
  #sent = 0;
  #acks = 0;
  #over = false;
  #hungUp = false;
  #failures = 0;
  /** Of the server's database. */
  #era: string | undefined;
  #idle = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;

  constructor(options: { name: string; person: Person; url: string; history: History; random: () => number; canaries: Map<string, string> }) {
    ({ name: this.name, person: this.person, url: this.#url, history: this.#history, random: this.#random, canaries: this.#canaries } = options);
  }

  start(): void {
    this.#running = this.#live();
  }

  get connected(): boolean {
    return this.#ask !== undefined;
  }

  /** @param copies  How often it goes out; they are all the same message. */
  send(conversation: string, canary: string, copies = 1): void {
    const clientId = `${this.name}-${String((this.#sent += 1)).padStart(6, '0')}`;
    const text = `${clientId}|${canary}|${this.#random().toString(36).slice(2)}`;
    this.#history.note({ e: 'send', clientId, conversation, user: this.person.id, device: this.name, text, t: now() });
    const waiting = { clientId, conversation, text, left: false };
    this.#outbox.push(waiting);
    for (let copy = 0; copy < copies; copy += 1) this.#deliver(waiting);
  }

  /** The same client id with other words: it must be refused. */
  async misuse(conversation: string): Promise<void> {
    const known = [...(this.#held.get(conversation)?.own.values() ?? [])].at(-1);
    if (!known || !this.#ask) return;
    const { result, error } = await this.#ask('message.send', { conversationId: conversation, clientId: known.clientId, type: 'text', text: 'something else' });
    if (result) this.#history.note({ e: 'wrong', what: `${known.clientId} was accepted a second time, with other words`, t: now() });
    else if (error && !error.retryable && error.code !== 'client_id_reused') {
      this.#history.note({ e: 'wrong', what: `${known.clientId} again, with other words: ${error.code}`, t: now() });
    }
  }

  /** Changes one of its own messages, or takes it back. */
  async change(conversation: string, recall: boolean): Promise<void> {
    const own = [...(this.#held.get(conversation)?.own ?? [])];
    const [id, message] = own[Math.floor(this.#random() * own.length)] ?? [];
    if (!id || !message || !this.#ask) return;
    const text = recall ? '' : `${message.text.slice(0, 200)}+`;
    const entry = { e: recall ? 'recall' : 'edit', id, text } as const;
    // Noted before: it may happen without an answer.
    this.#history.note({ ...entry, done: false, t: now() });
    const { result, error } = recall ? await this.#ask('message.delete', { messageId: id }) : await this.#ask('message.edit', { messageId: id, text });
    if (result) this.#history.note({ ...entry, done: true, t: now() });
    // Its other device may have taken it back in this moment.
    else if (error && error.code !== 'not_found') this.#complain(entry.e, error);
  }

  async read(conversation: string): Promise<void> {
    const seq = this.#held.get(conversation)?.top ?? 0;
    if (seq === 0) return;
    const { error } = (await this.#ask?.('read.mark', { conversationId: conversation, seq })) ?? {};
    if (error) this.#complain('read.mark', error);
  }

  async type(conversation: string): Promise<void> {
    const { error } = (await this.#ask?.('typing.set', { conversationId: conversation })) ?? {};
    if (error) this.#complain('typing.set', error);
  }

  /** What passes by itself, no client shows to anybody. */
  #complain(what: string, error: ErrorBody): void {
    if (!error.retryable) this.#history.note({ e: 'error', device: this.name, what: `${what}: ${error.code}`, t: now() });
  }

  /** Drops its connection without a word, as who walks out of reach of a network. */
  drop(): void {
    this.#hungUp = true;
    this.#socket?.terminate();
  }

  /** Resolves when all it ever sent has been answered. */
  async drained(): Promise<void> {
    while (this.#outbox.length > 0) await this.#idle.promise;
  }

  get acks(): number {
    return this.#acks;
  }

  get waiting(): number {
    return this.#outbox.length;
  }

  /** All that the server has for it by now has been read. Needs a connection. */
  async settle(): Promise<void> {
    for (const conversation of this.#held.keys()) this.#catchUp(`conversation:${conversation}`);
    this.#catchUp(`user:${this.person.id}`);
    while (this.#catching.size > 0) await Promise.all(this.#catching.values());
  }

  /** What it holds of a conversation, by seq. */
  rows(conversation: string): Row[] {
    return [...(this.#held.get(conversation)?.rows.values() ?? [])].map(({ row }) => row).sort((a, b) => a[0] - b[0]);
  }

  mark(conversation: string): number {
    return this.#marks.get(conversation)?.readSeq ?? 0;
  }

  async end(): Promise<void> {
    this.#over = true;
    this.#socket?.terminate();
    await this.#running;
  }

  async #live(): Promise<void> {
    while (!this.#over) {
      await this.#connect();
      const most = Math.min(pauseMs.most, pauseMs.least * 2 ** this.#failures);
      this.#failures += 1;
      if (!this.#over) await new Promise((resolve) => setTimeout(resolve, this.#random() * most));
    }
  }

  /** One connection, from the handshake to its end. */
  async #connect(): Promise<void> {
    const socket = (this.#socket = new WebSocket(`${this.#url.replace('http', 'ws')}/ws`, { handshakeTimeout: answerMs }));
    this.#hungUp = false;
    this.#out.clear();
    const waiting = new Map<string, (frame: { result?: unknown; error?: ErrorBody }) => void>();
    let heard = now();
    const watching = setInterval(() => {
      if (waiting.size > 0 && now() - heard > answerMs) this.drop();
    }, 1_000);
    const ended = new Promise<void>((resolve) => {
      socket.once('close', (code, reason) => {
        clearInterval(watching);
        if (this.#ask && !this.#over) this.#history.note({ e: 'closed', device: this.name, code, reason: reason.toString(), own: this.#hungUp, t: now() });
        this.#ask = undefined;
        // What a server closes in order, it closes behind its answers.
        this.#lostAnswers = this.#hungUp || code === 1_006;
        for (const answer of waiting.values()) answer({});
        // A session that was ended stays ended.
        if (code >= 4_500) this.#over = true;
        resolve();
      });
    });
    socket.on('error', () => {});
    socket.on('message', (bytes: Buffer) => {
      heard = now();
      const text = bytes.toString();
      this.#smell(text);
      const frame = JSON.parse(text) as ServerFrame;
      if ('id' in frame) {
        const answer = waiting.get(frame.id);
        waiting.delete(frame.id);
        answer?.(frame);
      } else if ('stream' in frame) this.#onPush(frame);
      else if ('heads' in frame) for (const [stream, head] of Object.entries(frame.heads)) if ((this.#heads.get(stream as StreamId) ?? 0) < head) this.#catchUp(stream as StreamId);
    });
    socket.once('open', () => {
      const ask = (method: MethodName, params: unknown): Promise<{ result?: unknown; error?: ErrorBody }> =>
        new Promise((resolve) => {
          const id = `r${(this.#next += 1)}`;
          if (waiting.size === 0) heard = now();
          waiting.set(id, resolve);
          socket.send(JSON.stringify({ id, method, params }));
        });
      void this.#onOpen(ask as Ask);
    });
    await ended;
  }

  async #onOpen(ask: Ask): Promise<void> {
    const { result: hello } = await ask('hello', { token: this.person.token, device: this.name });
    if (!hello) return this.#socket?.terminate();
    this.#ask = ask;
    this.#failures = 0;
    if (this.#era !== undefined && this.#era !== hello.era) {
      // What it holds may never have been.
      for (const stream of [...this.#heads.keys()]) this.#lose(stream);
      this.#held.clear();
      this.#marks.clear();
    }
    this.#era = hello.era;
    this.#history.note({ e: 'open', device: this.name, t: now() });
    this.#catching.clear();
    // Where it was taken out meanwhile, nothing follows on what it has.
    for (const stream of this.#heads.keys()) if (!(stream in hello.heads)) this.#lose(stream);
    for (const [stream, head] of Object.entries(hello.heads)) if ((this.#heads.get(stream as StreamId) ?? 0) !== head) this.#catchUp(stream as StreamId);
    // What waits goes out first, in its order, and before anything new.
    const code = this.#lostAnswers && now() - lastRefused < refusalMs ? perhapsRefused : resent;
    for (const waiting of this.#outbox) {
      if (waiting.left) this.#history.note({ e: 'again', clientId: waiting.clientId, device: this.name, code, t: now() });
      this.#deliver(waiting);
    }
  }

  #onPush(push: { stream: StreamId; version: number; entities: readonly { kind: string }[] }): void {
    // In the order of one connection, whenever it is read: whom the server takes out it tells that first, and then nothing of there any more.
    if (push.stream === `user:${this.person.id}`) {
      for (const entity of push.entities) if (entity.kind === 'inbox') this.#isIn(entity as Inbox);
    } else this.#isAfter(push.stream.slice('conversation:'.length));
    for (const entity of push.entities) this.#keep(entity);
    const head = this.#heads.get(push.stream);
    if (head !== undefined && push.version === head + 1) this.#heads.set(push.stream, push.version);
    else if (head === undefined || push.version > head + 1) {
      // Right behind the reply to hello, nobody has compared heads yet.
      if (head !== undefined && this.#ask && !this.#catching.has(push.stream)) this.#history.note({ e: 'gap', device: this.name, stream: push.stream, t: now() });
      this.#catchUp(push.stream);
    }
  }

  #isIn({ conversationId, joined, version }: Inbox): void {
    if (joined) this.#out.delete(conversationId);
    else this.#out.set(conversationId, { version, told: now() });
  }

  /** Nothing newer is known of it, from answers either: where pushes are lost, they tell that one is in again. */
  #isAfter(conversation: string): void {
    const out = this.#out.get(conversation);
    if (out && out.version === this.#marks.get(conversation)?.version)
      this.#history.note({ e: 'after', device: this.name, user: this.person.id, conversation, told: out.told, t: now() });
  }

  #keep(entity: { kind: string }): void {
    if (entity.kind === 'message') {
      const message = entity as Message;
      this.#history.note({
        e: 'seen',
        device: this.name,
        user: this.person.id,
        conversation: message.conversationId,
        seq: message.seq,
        id: message.id,
        clientId: message.clientId,
        sender: message.senderId,
        text: message.text,
        t: now(),
      });
      let held = this.#held.get(message.conversationId);
      if (!held) this.#held.set(message.conversationId, (held = { rows: new Map(), own: new Map(), top: 0 }));
      const before = held.rows.get(message.seq);
      if (!before || before.version < message.version) keep(held, message, message.senderId === this.person.id);
    } else if (entity.kind === 'inbox') {
      const inbox = entity as Inbox;
      const before = this.#marks.get(inbox.conversationId);
      if (!before || before.version < inbox.version) this.#marks.set(inbox.conversationId, inbox);
      const known = this.#marks.get(inbox.conversationId)!;
      // Somebody took us out: what comes later, should we be let in again, does not follow on what we have.
      if (!known.joined) this.#lose(`conversation:${inbox.conversationId}`);
      else if (!this.#heads.has(`conversation:${inbox.conversationId}`)) this.#catchUp(`conversation:${inbox.conversationId}`);
    }
  }

  #deliver(waiting: Waiting): void {
    const { clientId, conversation, text } = waiting;
    waiting.left ||= this.#ask !== undefined;
    void this.#ask?.('message.send', { conversationId: conversation, clientId, type: 'text', text }).then(({ result, error }) => {
      if (!result && !error) return undefined;
      if (error?.retryable) {
        lastRefused = now();
        this.#history.note({ e: 'again', clientId, device: this.name, code: error.code, t: now() });
        const again = setTimeout(() => this.#outbox.includes(waiting) && this.#deliver(waiting), error.retryAfterMs ?? 100 + this.#random() * 200);
        return void again.unref();
      }
      if (result) {
        const { message } = result;
        this.#acks += 1;
        this.#history.note({ e: 'ack', clientId, device: this.name, conversation: message.conversationId, seq: message.seq, id: message.id, text: message.text, t: now() });
      } else this.#history.note({ e: 'refused', clientId, device: this.name, code: error!.code, t: now() });
      // Those who write here are never removed.
      if (error) this.#history.note({ e: 'wrong', what: `${clientId} was refused: ${error.code}`, t: now() });
      const at = this.#outbox.indexOf(waiting);
      if (at >= 0) this.#outbox.splice(at, 1);
      if (this.#outbox.length === 0) {
        this.#idle.resolve();
        this.#idle = Promise.withResolvers<void>();
      }
      return undefined;
    });
  }

  #catchUp(stream: StreamId): void {
    const before = this.#catching.get(stream) ?? Promise.resolve();
    const done = before
      .then(() => this.#askForChanges(stream))
      .then(() => {
        if (this.#catching.get(stream) === done) this.#catching.delete(stream);
      });
    this.#catching.set(stream, done);
  }

  async #askForChanges(stream: StreamId): Promise<void> {
    const ask = this.#ask;
    if (!ask) return;
    const losses = this.#losses.get(stream);
    for (let more = true; more && this.#ask === ask;) {
      const { result, error } = await ask('stream.changes', { stream, since: this.#heads.get(stream) ?? 0 });
      if (error && !error.retryable) {
        // Not a member any more: what it has stays until it is one again; nothing of it is asked for.
        this.#lose(stream);
        return;
      }
      if (!result) return;
      if ('tooOld' in result) return this.#snapshot(stream);
      for (const entity of result.entities) this.#keep(entity);
      if (this.#losses.get(stream) !== losses) return;
      this.#heads.set(stream, Math.max(this.#heads.get(stream) ?? 0, result.version));
      ({ more } = result);
    }
  }

  #lose(stream: StreamId): void {
    this.#heads.delete(stream);
    this.#losses.set(stream, (this.#losses.get(stream) ?? 0) + 1);
  }

  /** The newest messages, and then back to what it has. */
  async #snapshot(stream: StreamId): Promise<void> {
    const ask = this.#ask;
    const losses = this.#losses.get(stream);
    const { result: snapshot } = (await ask?.('stream.snapshot', { stream })) ?? {};
    if (!snapshot) return;
    for (const entity of snapshot.entities) this.#keep(entity);
    if (stream.startsWith('conversation:')) {
      const conversationId = stream.slice('conversation:'.length);
      // All of it anew: what changed in between may lie far back.
      for (let before = Number.MAX_SAFE_INTEGER; before > 1;) {
        const { result: page } = (await ask?.('message.history', { conversationId, before, limit: 100 })) ?? {};
        if (!page) return;
        for (const message of page.messages) this.#keep(message);
        before = page.before ? page.messages[0]!.seq : 0;
      }
    }
    if (this.#losses.get(stream) === losses) this.#heads.set(stream, Math.max(this.#heads.get(stream) ?? 0, snapshot.version));
  }

  /** Notes what is among the bytes that only members may have; each at most ten times a second. */
  #smell(text: string): void {
    const t = now();
    for (const [canary] of text.matchAll(canaries)) {
      const conversation = this.#canaries.get(canary);
      if (conversation === undefined || (this.#toldUntil.get(canary) ?? 0) > t) continue;
      this.#toldUntil.set(canary, t + 100);
      this.#history.note({ e: 'canary', device: this.name, user: this.person.id, conversation, t });
    }
  }
}

export const toRow = (message: Message): Row => [message.seq, message.id, message.clientId, message.senderId, message.text];

function keep(held: Held, message: Message, isOwn: boolean): void {
  const { rows, own } = held;
  rows.set(message.seq, { version: message.version, row: toRow(message) });
  held.top = Math.max(held.top, message.seq);
  if (!isOwn || message.clientId === null || message.type !== 'text') return;
  if (message.deletedAt) own.delete(message.id);
  else own.set(message.id, { clientId: message.clientId, text: message.text });
  if (own.size > ownKept) own.delete(own.keys().next().value!);
}
