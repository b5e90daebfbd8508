import type { ErrorBody, Message, MethodName, Params, Result, ServerFrame, StreamId } from '@kith/protocol';
import { WebSocket } from 'ws';

// People who write as fast as they are answered, on devices that come back whenever the server does, and a ledger of
// what they were told. What is wrong is never thrown in the middle: it is written into the ledger and read at the end.

/** One send, from the first time it left to the answer. */
interface Sent {
  clientId: string;
  conversationId: string;
  text: string;
  device: string;
  senderId: string;
  /** When it first left and when it was first acked, on the ledger's own clock, which only counts. */
  leftAt: number;
  ackedAt?: number;
  ack?: Message;
}

const keyOf = (message: Message): string => `${message.conversationId} ${message.seq}`;
const same = (a: Message, b: Message): boolean => a.id === b.id && a.text === b.text && a.clientId === b.clientId && a.senderId === b.senderId;

/** All that was sent, acked and seen, and all that should not have happened. */
export class Ledger {
  readonly problems: string[] = [];
  /** Of sends that may be refused and asked again, no order is promised but that of acks. */
  readonly #inOrder: boolean;
  readonly sent = new Map<string, Sent>();
  /** By conversation and seq: what any device was ever shown there. */
  readonly #shown = new Map<string, Message>();
  #clock = 0;
  #listeners = new Set<() => void>();
  acks = 0;
  frames = 0;
  /** When the last server began to serve, if it then stopped in good order: what it stored, it has acked. Until the next check. */
  stopped: number | undefined;

  constructor(inOrder: boolean) {
    this.#inOrder = inOrder;
  }

  tick(): number {
    return (this.#clock += 1);
  }

  problem(text: string): void {
    if (this.problems.length < 40) this.problems.push(text);
  }

  acked(clientId: string, message: Message): void {
    const sent = this.sent.get(clientId)!;
    this.acks += 1;
    if (sent.ack && (sent.ack.seq !== message.seq || !same(sent.ack, message))) this.problem(`${clientId} was acked as seq ${sent.ack.seq} and as seq ${message.seq}`);
    if (message.text !== sent.text || message.senderId !== sent.senderId || message.conversationId !== sent.conversationId)
      this.problem(`${clientId} came back as another message`);
    sent.ackedAt ??= this.tick();
    sent.ack ??= message;
    this.shown('its sender', message);
  }

  /** A message was shown to a device, by whatever way. */
  shown(device: string, message: Message): void {
    const known = this.#shown.get(keyOf(message));
    if (!known) this.#shown.set(keyOf(message), message);
    else if (!same(known, message)) this.problem(`seq ${message.seq} is ${known.clientId ?? known.type} to one, and ${message.clientId ?? message.type} to ${device}`);
  }

  frame(): void {
    this.frames += 1;
    for (const listener of this.#listeners) listener();
  }

  /** Resolves once so many more frames have come in, at all devices together. */
  afterFrames(count: number): Promise<void> {
    const until = this.frames + count;
    const { promise, resolve } = Promise.withResolvers<void>();
    const listener = (): void => {
      if (this.frames < until) return;
      this.#listeners.delete(listener);
      resolve();
    };
    this.#listeners.add(listener);
    listener();
    return promise;
  }

  /** What is on the server, in full, against all that was promised. @param when  For the words. */
  check(when: string, truth: Map<string, Message[]>): void {
    const places = new Map<string, number>();
    for (const [conversationId, messages] of truth) {
      for (const [at, message] of messages.entries()) {
        if (message.seq !== at + 1) {
          this.problem(`${when}: seq ${message.seq} stands at place ${at + 1} of ${conversationId}`);
          break;
        }
      }
      for (const message of messages) {
        this.shown(when, message);
        if (message.type === 'system') continue;
        const sent = this.sent.get(message.text);
        if (sent?.senderId !== message.senderId || sent.conversationId !== conversationId) this.problem(`${when}: nobody sent ${message.text} there`);
        if (places.has(message.text)) this.problem(`${when}: ${message.text} is there twice, as seq ${places.get(message.text)} and ${message.seq}`);
        places.set(message.text, message.seq);
      }
    }
    for (const message of this.#shown.values()) {
      const now = truth.get(message.conversationId)?.[message.seq - 1];
      if (!now || !same(now, message)) this.problem(`${when}: seq ${message.seq} was ${message.clientId ?? message.type} and is ${now ? (now.clientId ?? now.type) : 'lost'}`);
    }
    for (const sent of this.sent.values()) if (sent.ack && places.get(sent.text) !== sent.ack.seq) this.problem(`${when}: acked and lost: ${sent.clientId}, seq ${sent.ack.seq}`);
    if (this.stopped !== undefined) {
      for (const sent of this.sent.values()) if (!sent.ack && sent.leftAt > this.stopped && places.has(sent.text)) this.problem(`${when}: stored and not acked: ${sent.clientId}`);
      this.stopped = undefined;
    }
    this.#checkOrder(when, places);
  }

  /** Sends of one device keep their order; and what was acked before another began to be sent stands before it. */
  #checkOrder(when: string, places: Map<string, number>): void {
    const stored = [...this.sent.values()].filter((sent) => places.has(sent.text));
    const groups = Map.groupBy(stored, (sent) => sent.conversationId);
    for (const group of groups.values()) {
      const last = new Map<string, Sent>();
      for (const sent of group) {
        const before = last.get(sent.device);
        if (this.#inOrder && before && places.get(before.text)! > places.get(sent.text)!)
          this.problem(`${when}: ${sent.clientId} was sent after ${before.clientId} and stands before it`);
        last.set(sent.device, sent);
      }
      const byPlace = group.sort((a, b) => places.get(a.text)! - places.get(b.text)!);
      // The latest departure among those that stand before: who stands behind must not have been acked before it.
      let latest: Sent | undefined;
      for (const sent of byPlace) {
        if (latest && sent.ackedAt !== undefined && sent.ackedAt < latest.leftAt)
          this.problem(`${when}: ${sent.clientId} was acked before ${latest.clientId} left, and stands behind it`);
        if (!latest || sent.leftAt > latest.leftAt) latest = sent;
      }
    }
  }
}

/** The server as its clients see it: sometimes there, always somewhere else. */
export class Uptime {
  #url = Promise.withResolvers<string>();

  get url(): Promise<string> {
    return this.#url.promise;
  }

  up(url: string): void {
    this.#url.resolve(url);
  }

  down(): void {
    this.#url = Promise.withResolvers<string>();
  }
}

/** Calls a method over HTTP. @throws when there is no answer, or an error */
export async function post<M extends MethodName>(url: string, method: M, params: Params<M>, token?: string): Promise<Result<M>> {
  const headers = { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const response = await fetch(`${url}/api/${method}`, { method: 'POST', headers, body: JSON.stringify(params) });
  const body = (await response.json()) as Result<M> & { error?: ErrorBody };
  if (!response.ok) throw new Error(`${method}: ${body.error?.code}`);
  return body;
}

/** A conversation from its first message to its last, as a fresh reader gets it. */
export async function readAll(url: string, conversationId: string, token: string): Promise<Message[]> {
  const found: Message[] = [];
  for (;;) {
    const { messages, after } = await post(url, 'message.history', { conversationId, after: found.at(-1)?.seq ?? 0, limit: 100 }, token);
    found.push(...messages);
    if (!after || messages.length === 0) return found;
  }
}

export interface Load {
  ledger: Ledger;
  uptime: Uptime;
  random: () => number;
  /** The database goes away now and then; then `busy` is no mistake, and the same is asked again. */
  mayBeBusy: boolean;
}

/** Sends of one device that may wait for their acks. */
const waitingAcks = 5;

/** One device: a socket whenever there is a server, an outbox, and all messages it was ever shown. */
export class Device {
  readonly name: string;
  /** How each of its connections ended. */
  readonly closes: { code: number; reason: string }[] = [];
  readonly #load: Load;
  readonly #person: { id: string; token: string };
  readonly #conversations: string[];
  /** By conversation: the newest version known, and messages by seq. */
  readonly #heads = new Map<StreamId, number>();
  readonly #messages = new Map<string, Map<number, Message>>();
  readonly #outbox: Sent[] = [];
  readonly #own: Sent[] = [];
  readonly #catchingUp = new Map<StreamId, Promise<void>>();
  #ws: WebSocket | undefined;
  #ask: ((method: MethodName, params: unknown) => Promise<unknown>) | undefined;
  #writing = true;
  #over = false;
  #ready = Promise.withResolvers<void>();
  #allAcked = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;

  constructor(name: string, person: { id: string; token: string }, conversations: string[], load: Load) {
    this.name = name;
    this.#person = person;
    this.#conversations = conversations;
    this.#load = load;
  }

  start(): void {
    this.#running = this.#live();
  }

  /** No more new messages; resolves when all it ever sent is acked. */
  async finish(): Promise<void> {
    this.#writing = false;
    if (this.#outbox.length > 0) await this.#allAcked.promise;
  }

  /** All that the server had for it by now has been read. */
  async settle(): Promise<void> {
    await this.#ready.promise;
    await this.#ask!('stream.heads', { streams: [] });
    while (this.#catchingUp.size > 0) await Promise.all(this.#catchingUp.values());
  }

  /** While there is a server. */
  async end(): Promise<void> {
    this.#over = true;
    this.#ws?.terminate();
    await this.#running;
  }

  /** Has it every message that is there? */
  check(truth: Map<string, Message[]>): void {
    for (const conversationId of this.#conversations) {
      const messages = truth.get(conversationId)!;
      const missing = messages.filter((message) => !this.#messages.get(conversationId)?.has(message.seq)).map((message) => message.seq);
      if (missing.length > 0) this.#load.ledger.problem(`${this.name} misses ${missing.join(', ')} of ${messages.length}`);
    }
  }

  async #live(): Promise<void> {
    while (!this.#over) {
      const url = await this.#load.uptime.url;
      if (this.#over) return;
      await this.#connect(url);
      this.#ready = Promise.withResolvers<void>();
    }
  }

  /** One connection, from the handshake to its end. */
  async #connect(url: string): Promise<void> {
    const ws = (this.#ws = new WebSocket(`${url.replace('http', 'ws')}/ws`));
    const waiting = new Map<string, (frame: { result?: unknown; error?: ErrorBody }) => void>();
    const ended = new Promise<void>((resolve) => {
      ws.once('close', (code, reason) => {
        this.closes.push({ code, reason: reason.toString() });
        this.#ask = undefined;
        resolve();
      });
    });
    ws.on('error', () => {});
    ws.on('message', (data: Buffer) => {
      this.#load.ledger.frame();
      const frame = JSON.parse(data.toString()) as ServerFrame;
      if ('id' in frame) {
        waiting.get(frame.id)?.(frame);
        waiting.delete(frame.id);
      } else if ('stream' in frame) {
        for (const entity of frame.entities) if (entity.kind === 'message') this.#keep(entity);
        const head = this.#heads.get(frame.stream);
        if (head !== undefined && frame.version === head + 1) this.#heads.set(frame.stream, frame.version);
        // The answer to the question that is under way brings what is missing.
        else if (head !== undefined && frame.version > head + 1 && !this.#catchingUp.has(frame.stream)) this.#catchUp(frame.stream);
      }
    });
    let next = 0;
    ws.once('open', () => {
      this.#ask = (method, params) =>
        new Promise((resolve) => {
          const id = `r${next++}`;
          waiting.set(id, ({ result, error }) => {
            if (error?.code === 'busy' && method !== 'hello' && this.#load.mayBeBusy && this.#ask) return resolve(this.#ask(method, params));
            // A hello is refused with the end of the connection; the next one asks again by itself.
            const excused = method === 'hello' && error?.retryable && this.#load.mayBeBusy;
            if (error && !excused) this.#load.ledger.problem(`${this.name}: ${method} answered ${error.code}`);
            resolve(result);
          });
          ws.send(JSON.stringify({ id, method, params }));
        });
      void this.#onOpen();
    });
    await ended;
  }

  async #onOpen(): Promise<void> {
    const hello = (await this.#ask!('hello', { token: this.#person.token })) as Result<'hello'> | undefined;
    if (!hello || !this.#ask) return;
    this.#catchingUp.clear();
    // What waits goes out first, in its order, and before anything new.
    for (const sent of this.#outbox) this.#send(sent);
    for (const conversationId of this.#conversations) this.#catchUp(`conversation:${conversationId}`);
    this.#ready.resolve();
    this.#write();
  }

  #catchUp(stream: StreamId): void {
    const done = this.#askForChanges(stream).then(() => {
      if (this.#catchingUp.get(stream) === done) this.#catchingUp.delete(stream);
    });
    this.#catchingUp.set(stream, done);
  }

  async #askForChanges(stream: StreamId): Promise<void> {
    const ask = this.#ask!;
    const conversationId = stream.slice('conversation:'.length);
    for (let more = true; more && this.#ask === ask;) {
      const since = this.#heads.get(stream) ?? 0;
      const changes = (await ask('stream.changes', { stream, since })) as Result<'stream.changes'> | undefined;
      if (!changes) break;
      if ('tooOld' in changes) more = await this.#snapshot(stream, conversationId);
      else {
        for (const entity of changes.entities) if (entity.kind === 'message') this.#keep(entity);
        this.#heads.set(stream, Math.max(this.#heads.get(stream) ?? 0, changes.version));
        ({ more } = changes);
      }
    }
  }

  /** The newest messages, and then back to what it has. @returns false: no more to ask */
  async #snapshot(stream: StreamId, conversationId: string): Promise<false> {
    const ask = this.#ask!;
    const snapshot = (await ask('stream.snapshot', { stream })) as Result<'stream.snapshot'> | undefined;
    if (!snapshot) return false;
    for (const entity of snapshot.entities) if (entity.kind === 'message') this.#keep(entity);
    let before = Math.min(...snapshot.entities.flatMap((entity) => (entity.kind === 'message' ? [entity.seq] : [])));
    while (before > 1 && Number.isFinite(before) && this.#ask === ask) {
      const page = (await ask('message.history', { conversationId, before, limit: 100 })) as Result<'message.history'> | undefined;
      if (!page || page.messages.length === 0) return false;
      for (const message of page.messages) this.#keep(message);
      before = page.messages[0]!.seq;
    }
    this.#heads.set(stream, Math.max(this.#heads.get(stream) ?? 0, snapshot.version));
    return false;
  }

  #keep(message: Message): void {
    this.#load.ledger.shown(this.name, message);
    let messages = this.#messages.get(message.conversationId);
    if (!messages) this.#messages.set(message.conversationId, (messages = new Map()));
    messages.set(message.seq, message);
  }

  /** New messages, as many as may wait. */
  #write(): void {
    const { ledger, random } = this.#load;
    while (this.#writing && this.#ask && this.#outbox.length < waitingAcks) {
      const clientId = `${this.name}-${this.#own.length}`;
      const conversationId = this.#conversations[Math.floor(random() * this.#conversations.length)]!;
      const sent: Sent = { clientId, conversationId, text: clientId, device: this.name, senderId: this.#person.id, leftAt: ledger.tick() };
      ledger.sent.set(clientId, sent);
      this.#own.push(sent);
      this.#outbox.push(sent);
      this.#send(sent);
    }
    // Some ask again for what has long been answered.
    if (this.#writing && this.#ask && random() < 0.1 && this.#own.length > 0) this.#send(this.#own[Math.floor(random() * this.#own.length)]!);
  }

  #send(sent: Sent): void {
    const { clientId, conversationId, text } = sent;
    void this.#ask!('message.send', { conversationId, clientId, type: 'text', text }).then((result) => {
      if (result) this.#load.ledger.acked(clientId, (result as Result<'message.send'>).message);
      const at = this.#outbox.indexOf(sent);
      if (at >= 0) this.#outbox.splice(at, 1);
      if (this.#outbox.length === 0 && !this.#writing) this.#allAcked.resolve();
      this.#write();
    });
  }
}

/** Somebody without a socket, who asks again and again what changed, and believes every word of it. */
export class Poller {
  readonly #load: Load;
  readonly #token: string;
  readonly #conversationId: string;
  readonly #seqs = new Set<number>();
  #version = 0;
  #over = false;
  #running: Promise<void> | undefined;

  constructor(token: string, conversationId: string, load: Load) {
    this.#token = token;
    this.#conversationId = conversationId;
    this.#load = load;
  }

  start(): void {
    this.#running = this.#live();
  }

  async #live(): Promise<void> {
    while (!this.#over) {
      const url = await this.#load.uptime.url;
      if (this.#over) return;
      await this.#poll(url).catch(() => {});
    }
  }

  async #poll(url: string): Promise<void> {
    const stream: StreamId = `conversation:${this.#conversationId}`;
    for (let more = true; more;) {
      const changes = await post(url, 'stream.changes', { stream, since: this.#version, limit: 100 }, this.#token);
      if ('tooOld' in changes) {
        const { version } = await post(url, 'stream.snapshot', { stream }, this.#token);
        for (const message of await readAll(url, this.#conversationId, this.#token)) this.#seqs.add(message.seq);
        this.#version = version;
        return;
      }
      for (const entity of changes.entities) if (entity.kind === 'message') this.#seqs.add(entity.seq);
      this.#version = changes.version;
      ({ more } = changes);
    }
  }

  async end(url: string, truth: Map<string, Message[]>): Promise<void> {
    this.#over = true;
    await this.#running;
    await this.#poll(url);
    const missing = truth.get(this.#conversationId)!.filter((message) => !this.#seqs.has(message.seq));
    if (missing.length > 0) this.#load.ledger.problem(`who asks for changes again and again misses ${missing.map((message) => message.seq).join(', ')}`);
  }
}
