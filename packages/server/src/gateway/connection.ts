import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { type CloseName, type ErrorBody, type ErrorCode, RequestError, type Reply, closeCodes, decodeParams, decodeRequest, limits, userStream } from '@kith/protocol';
import type { Answer, Caller, Core, Effect, Identity, Topic } from '../core/core.ts';
import type { Log } from '../log.ts';
import type { LimitName, Metrics } from '../metrics.ts';
import type { Clock } from './clock.ts';
import { Few } from './few.ts';
import type { Follower, Hub } from './hub.ts';
import { type Line, type Listener, takeEnd } from './line.ts';
import { peek, rateOf } from './peek.ts';
import { ConnectionRates } from './rate-limit.ts';
import { type Frame, type Owner, SendQueue, type Writer, buildFrame } from './send-queue.ts';
import type { Slices } from './slices.ts';

/** What a connection needs of the server around it. */
export interface Around {
  core: Core;
  hub: Hub;
  writer: Writer;
  departures: Slices;
  clock: Clock;
  metrics: Metrics;
  log: Log;
  /** Limits on rates and counts are asked; sizes are always. */
  limited: boolean;
  /** The connection has said hello, or is gone: it no longer counts as a stranger. */
  onKnown(connection: Connection): void;
  onGone(connection: Connection): void;
  /** After it is gone: the last byte is out, or will never be. */
  onClosed(line: Line): void;
}

/** Who is at the other end, as the handshake told. */
export interface Peer {
  ip: string;
  /** By which they called us. */
  origin: string | undefined;
  device: string | undefined;
  /** From a Bearer header, checked before the handshake was answered. */
  identity: Identity | undefined;
  /** From the cookie, to be checked at hello. */
  cookie: string | undefined;
}

type State =
  | { at: 'awaiting-hello'; since: number }
  /** The hello is being answered. Pushes are held until its reply is written, requests sent behind it wait. */
  | { at: 'opening'; identity: Identity | undefined; waiting: string[] }
  | { at: 'ready'; identity: Identity }
  /** The server stops, or this connection is old: what was asked is answered, nothing new is taken up. */
  | { at: 'draining'; identity: Identity; as: CloseName; reason: string }
  /** Dead: ws goes on delivering what it has read already, and all of it is ignored. */
  | { at: 'closing'; as: CloseName | 'by-peer' };

/** Requests of one connection that wait for their reply. */
const inFlightLimit = 256;
/** UTF-16 units of those of them that were not taken up yet. */
const waitingUnits = 1_048_576;
/** Connections of one person. */
const connectionsPerPerson = 20;
/** Milliseconds for one message to arrive in full, once begun. */
const messageMs = 10_000;
const protocolVersion = 1;

/** A request that waits to be taken up. */
interface Asked {
  id: string;
  text: string;
  /** May its reply be as large as a page? Those to sends and to what is fleeting are small. */
  large: boolean;
  /** Does it make nobody follow anything? */
  isSend: boolean;
}

/** Signals that wait for the reply to what is asked again, and how often that is, at most. */
const heldSignals = 1_000;
const askedAgain = 3;

let connections = 0;

/** Finds the connection of a socket, so that all of them share two listeners. */
const ofSocket = Symbol('connection');
type Socket = Duplex & { [ofSocket]?: Connection };

/** What ws does when nothing more comes from a peer: the same function for all sockets. */
let endOfWs: (this: Duplex) => void;

/**
 * One socket: from the end of its handshake to its last byte.
 *
 * There are as many as people, and most of them are idle. So whatever is not needed by one that only waits is made when it is
 * first used, and nothing is a closure that can be a method.
 */
export class Connection implements Follower, Listener, Owner {
  readonly topics = new Few<Topic>();
  toldAt: number;
  changed: Map<Topic, 'follow' | 'unfollow'> | undefined;
  readonly ip: string;
  readonly #number = (connections += 1);
  readonly #origin: string | undefined;
  /** The connections with which it is pinged. */
  slot: Set<Connection> | undefined;

  readonly #ws: Line;
  readonly #around: Around;
  readonly #queue: SendQueue;
  /** When it is too old, by the clock of the gateway. */
  readonly #until: number;
  #rates: ConnectionRates | undefined;
  /** What the handshake told; until the hello. */
  #peer: Peer | undefined;
  #state: State;
  #inFlight = 0;
  /** Of the requests in flight those that the core has not been asked yet, in the order in which they came. */
  #asked: Asked[] | undefined;
  #askedUnits = 0;
  /** Of the requests in flight those that the core is asked, and whose replies may be large. */
  #large = 0;
  /** Since when more than `limits.outboundBytes` wait to be sent, as far as `checkDeadlines` knows. */
  #behindSince: number | undefined;
  /** Bytes received before the hello was believed. */
  #strangerBytes = 0;
  /** Since when a message is arriving in parts. */
  #partialSince: number | undefined;
  #awaitsPong = false;
  /** The core has to be asked again what this person may follow. */
  #stale = false;
  /** What the peer calls its device. */
  #device: string | undefined;
  /** While something is asked again: how often, and what is published meanwhile. */
  #signals: { holders: number; held: Frame[] } | undefined;
  /** As whom it asks, once it has. */
  #asker: Caller | undefined;

  /** @param spread  0 to 1: where within the tenths around `limits.connectionMs` this one ends. */
  constructor(ws: Line, socket: Duplex, peer: Peer, around: Around, spread: number) {
    this.#ws = ws;
    this.#around = around;
    this.#until = around.clock.now() + limits.connectionMs * (0.9 + 0.2 * spread);
    this.#peer = peer;
    this.ip = peer.ip;
    this.#origin = peer.origin;
    this.#device = peer.device;
    this.toldAt = around.hub.moves;
    this.#state = { at: 'awaiting-hello', since: around.clock.now() };
    this.#queue = new SendQueue(socket, around.writer, this);
    ws.listener = this;
    (socket as Socket)[ofSocket] = this;
    socket.on('drain', onDrain);
    // After ws has read the same bytes: it listens since before this connection was made.
    socket.on('data', onData);
    endOfWs = takeEnd(socket);
    socket.on('end', onEnd);
  }

  get sessionId(): string {
    return this.#identity?.sessionId ?? '';
  }

  get #identity(): Identity | undefined {
    return 'identity' in this.#state ? this.#state.identity : undefined;
  }

  /** Bytes that wait to be sent. */
  get backlog(): number {
    return this.#queue.bytes;
  }

  // ── What the hub and the gateway do to it ─────────────────────────────────────────────────────────────────────────

  deliver(frame: Frame): void {
    if (!this.#writable) return;
    this.#count(frame);
    this.#queue.push(frame);
  }

  signal(frame: Frame): void {
    if (!this.#writable) return;
    if (this.#signals) {
      if (this.#signals.held.length < heldSignals) this.#signals.held.push(frame);
      else this.#around.metrics.limitHit('signal-dropped');
    } else if (this.#queue.pushFleeting(frame)) this.#count(frame);
    else this.#around.metrics.limitHit('signal-dropped');
  }

  /** Once per heartbeat. */
  beat(): void {
    if (this.#rates?.isIdle(this.#around.clock.now())) this.#rates = undefined;
    if (this.#state.at !== 'ready' || !this.#writable) return;
    if (this.#awaitsPong) return this.close('heartbeatLost');
    this.#awaitsPong = true;
    this.#ws.ping();
    this.tellHeads();
    if (this.#stale) void this.recheck();
  }

  tellHeads(): void {
    if (this.#state.at !== 'ready') return;
    const heads = this.#around.hub.takeHeads(this);
    if (heads) this.deliver(heads);
  }

  async recheck(): Promise<boolean> {
    this.#stale = true;
    // While an answer is under way, the next heartbeat asks again.
    if (this.#state.at === 'ready' && this.changed === undefined) await this.#refollow(this.#state.identity);
    return !this.#stale || this.#isGone;
  }

  rewatch(topics: Topic[]): void {
    const identity = this.#identity;
    if (!identity) return;
    this.#around.core.watchable(identity, topics).then(
      (allowed) => (this.#isGone ? undefined : this.#around.hub.follow(this, allowed)),
      (error: unknown) => this.#around.log.warn({ err: error }, 'could not ask whose presence a connection may follow'),
    );
  }

  /** Often: ends who is late with the hello, with the rest of a message, or with taking what is sent, and who has been here long enough. */
  checkDeadlines(now: number): void {
    if (this.#queue.bytes <= limits.outboundBytes) this.#behindSince = undefined;
    else if (now - (this.#behindSince ??= now) >= limits.outboundMs) return this.#hit('outbound', 'tooSlow');
    if (this.#state.at === 'awaiting-hello' && now - this.#state.since >= limits.helloMs) this.#hit('hello-late', 'helloLate');
    else if (this.#partialSince !== undefined && now - this.#partialSince >= messageMs) this.#hit('incomplete-message', 'policy');
    // Whatever of its rights went wrong, or of a node that has too many of them, is over in a day.
    else if (this.#state.at === 'ready' && now >= this.#until) this.drain('aged');
  }

  /** Closes at once, or after the replies that are still due. @param reason  What the close frame says. */
  drain(as: CloseName, reason = ''): void {
    if (this.#state.at === 'ready' && this.#inFlight > 0) this.#state = { at: 'draining', identity: this.#state.identity, as, reason };
    else this.close(as, reason);
  }

  /** Writes what waits, says why, and hears nothing any more. */
  close(as: CloseName, reason = ''): void {
    if (this.#state.at === 'closing') return;
    this.#around.metrics.closed(as);
    // To one that does not read, the rest of the queue is only memory.
    if (as !== 'tooSlow' && this.#writable) this.#queue.flush();
    this.#gone(as);
    this.#ws.close(closeCodes[as].code, reason);
  }

  /** Lets go of the socket without a word. */
  terminate(): void {
    this.#gone('by-peer');
    this.#ws.terminate();
  }

  // ── What the peer does ────────────────────────────────────────────────────────────────────────────────────────────

  onMessage(data: Buffer, isBinary: boolean): void {
    this.#partialSince = undefined;
    const state = this.#state;
    // One that drains takes nothing up: the client asks again, with the same client ids, where it connects next.
    if (state.at === 'closing' || state.at === 'draining') return;
    if (isBinary || data.length === 0) return this.#refuse('', 'unsupported', 'unsupported');
    const text = data.toString();
    switch (state.at) {
      case 'awaiting-hello':
        return this.#hello(text);
      case 'opening':
        state.waiting.push(text);
        return;
      case 'ready':
        return this.#request(text);
      default:
        exhaustive(state);
    }
  }

  onBytes(chunk: Buffer): void {
    if (this.#state.at === 'closing') return;
    if (this.#state.at === 'awaiting-hello' || this.#state.at === 'opening') {
      this.#strangerBytes += chunk.length;
      if (this.#strangerBytes > limits.unauthenticatedBytes) return this.#hit('before-hello-bytes', 'tooLarge');
    }
    if (isMidMessage(this.#ws)) this.#partialSince ??= this.#around.clock.now();
    else this.#partialSince = undefined;
  }

  onPing(data: Buffer): void {
    if (!this.#isPinged()) this.#ws.pong(data);
  }

  onPong(): void {
    // Nobody asked for this one: a flood of pongs costs as much as one of pings.
    if (!this.#awaitsPong) this.#isPinged();
    this.#awaitsPong = false;
  }

  /** @returns whether that was once too often */
  #isPinged(): boolean {
    const over = this.#around.limited && this.#state.at !== 'closing' && this.#counts.pinged(this.#around.clock.now());
    if (over) this.#hit('ping', 'tooMany');
    return over;
  }

  /** ws answers a bad frame with the right close code by itself. */
  onError(error: Error & { code?: string }): void {
    this.#around.metrics.badFrames.inc({ kind: error.code ?? 'unknown' });
    this.#gone('by-peer');
  }

  onClose(): void {
    this.#gone('by-peer');
    this.#around.onClosed(this.#ws);
  }

  /** Nothing more comes from the peer. Where thousands leave at once, closing is most of the work. */
  onEnd(socket: Duplex): void {
    this.#around.departures.do(() => (socket.destroyed ? undefined : endOfWs.call(socket)));
  }

  /** The queue is full. */
  onOverflow(): void {
    this.#hit('outbound', 'tooSlow');
  }

  /** The socket has taken all that was written to it. */
  onDrained(): void {
    this.#takeUp();
  }

  /** The same object as long as it is the same: what knows it already does not have to be told again. */
  #caller(identity: Identity): Caller {
    return (this.#asker ??= { identity, connection: this.#number, ip: this.ip, origin: this.#origin, device: this.#device });
  }

  get #counts(): ConnectionRates {
    return (this.#rates ??= new ConnectionRates());
  }

  #request(text: string): void {
    const { clock, limited, metrics } = this.#around;
    const { id, method } = peek(text);
    if (method === 'hello') return this.#refuse(id, 'bad_request', 'policy');
    const rate = rateOf(method);
    const now = clock.now();
    const wait = limited ? this.#counts.take(rate, now) : 0;
    const full = (limited && this.#inFlight >= inFlightLimit) || this.#askedUnits + text.length > waitingUnits;
    if (wait > 0 || full) {
      metrics.limitHit(full ? 'in-flight' : rate);
      if (limited && this.#counts.refused(now)) return this.#refuse(id, 'rate_limited', 'tooMany');
      return this.#reply({ id, error: new RequestError('rate_limited', { retryAfterMs: Math.max(wait, full ? 1_000 : 0) }).toBody() });
    }
    this.#inFlight++;
    (this.#asked ??= []).push({ id, text, large: rate !== 'send' && rate !== 'fleeting', isSend: rate === 'send' });
    this.#askedUnits += text.length;
    this.#takeUp();
  }

  /**
   * Hands requests to the core in the order of arrival, as long as their replies have room in the queue: one that asks for
   * much in one breath gets it as fast as it reads. The others wait here, and so do those behind them.
   */
  #takeUp(): void {
    for (let next = this.#asked?.[0]; next !== undefined && !this.#isGone; next = this.#asked?.[0]) {
      if (next.large && this.#queue.bytes + this.#large * limits.pageBytes >= limits.outboundBytes) return;
      if (this.#asked!.length === 1) this.#asked = undefined;
      else this.#asked!.shift();
      this.#askedUnits -= next.text.length;
      this.#ask(next);
    }
  }

  /** Hands a request to the core. Of what waits for its reply no more is kept than that takes: there may be thousands of them. */
  #ask({ id, text, large, isSend }: Asked): void {
    const { core, clock, metrics } = this.#around;
    const began = clock.now();
    if (large) this.#large++;
    const answered = (answer: Answer): void => {
      metrics.answered('ws', answer.error ?? 'ok', answer.limit);
      this.#answer(buildFrame(answer.text), { began, large, answer });
    };
    const failed = (error: unknown): void => this.#answer(buildFrame(JSON.stringify({ id, error: this.#ourFault(error) } satisfies Reply)), { began, large, answer: undefined });
    const again = isSend ? undefined : text;
    core.handle(this.#caller(this.#identity!), text).then((answer) => {
      const later = again === undefined ? undefined : this.#followFirst(answer, again);
      if (later) void later.then(answered, failed).then(() => this.#letSignalsGo());
      else answered(answer);
    }, failed);
  }

  /**
   * What an answer has one follow was read before it is followed: of what changed in between nobody would tell. So the core is asked again once it is, unless what
   * it publishes comes behind its answers, and at once.
   */
  #followFirst(answer: Answer, text: string): Promise<Answer> | undefined {
    const { core, hub } = this.#around;
    const topics = topicsOf(answer);
    if (topics.length === 0 || this.#isGone) return undefined;
    const isFresh = this.#signals !== undefined || topics.some((topic) => !this.topics.has(topic));
    const coming = hub.follow(this, topics);
    if (!coming && (core.inOrder || !isFresh)) return undefined;
    this.#signals ??= { holders: 0, held: [] };
    this.#signals.holders++;
    return this.#askAgain(answer, topics, coming, text);
  }

  async #askAgain(first: Answer, followed: Topic[], coming: Promise<void> | undefined, text: string): Promise<Answer> {
    const { core, hub } = this.#around;
    /** By a request behind this one, or because they are not to be seen any more. */
    const givenUp = new Set<Topic>();
    let answer = first;
    for (let round = 0; round < askedAgain; round++) {
      await coming;
      if (this.#isGone) return answer;
      answer = await core.handle(this.#caller(this.#identity!), text);
      if (answer.error) return answer;
      for (const topic of followed) if (!this.topics.has(topic)) givenUp.add(topic);
      const wanted = topicsOf(answer).filter((topic) => !givenUp.has(topic));
      hub.unfollow(
        this,
        followed.filter((topic) => !wanted.includes(topic)),
      );
      if (this.#isGone || wanted.every((topic) => this.topics.has(topic))) return answer;
      coming = hub.follow(this, wanted);
      followed = wanted;
    }
    return answer;
  }

  /** Behind the reply, which is older. */
  #letSignalsGo(): void {
    if (--this.#signals!.holders > 0) return;
    const { held } = this.#signals!;
    this.#signals = undefined;
    for (const frame of held) this.signal(frame);
  }

  #answer(reply: Frame, { began, large, answer }: { began: number; large: boolean; answer: Answer | undefined }): void {
    const { clock, metrics } = this.#around;
    this.#inFlight--;
    if (large) this.#large--;
    metrics.answerSeconds.observe((clock.now() - began) / 1_000);
    if (this.#state.at === 'closing') return;
    // Effects come before the reply; where one ends the connection there is none, and the client asks again.
    const close = this.#apply(answer?.effects);
    if (close) return this.close(close);
    this.deliver(reply);
    if (answer?.error === 'bad_json' && this.#around.limited && this.#counts.bad(clock.now())) return this.#hit('bad-json', 'policy');
    this.#takeUp();
    if (this.#state.at === 'draining' && this.#inFlight === 0) this.close(this.#state.as, this.#state.reason);
  }

  /** @returns How the connection is to be closed instead of a reply, if it is. */
  #apply(effects: Effect[] | undefined): CloseName | undefined {
    let close: CloseName | undefined;
    for (const effect of effects ?? []) {
      switch (effect.do) {
        // As soon as the core has said so.
        case 'follow':
          break;
        case 'unfollow':
          this.#around.hub.unfollow(this, effect.topics);
          break;
        case 'close':
          close = effect.as;
          break;
        // The token is in the reply, for whoever wants to connect with it; a connection stays who it is.
        case 'signed-in':
        case 'signed-out':
        case 'renewed':
          break;
        default:
          exhaustive(effect);
      }
    }
    return close;
  }

  // ── Hello ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #hello(text: string): void {
    let id = '';
    try {
      const request = decodeRequest(text);
      id = request.id;
      if (request.method !== 'hello') return this.#refuse(id, 'unauthenticated', 'policy');
      const params = decodeParams('hello', request.params);
      if ((params.protocol ?? protocolVersion) !== protocolVersion) return this.#refuse(id, 'unsupported', 'protocolVersion');
      this.#device = params.device ?? this.#device;
      this.#state = { at: 'opening', identity: undefined, waiting: [] };
      this.#around.onKnown(this);
      void this.#open(id, text, params.token);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      // Typed by hand, perhaps: they may try again within the deadline, and within the bytes of a stranger.
      this.#reply({ id, error: error.toBody() }, error.limit);
      if (this.#around.limited && this.#counts.bad(this.#around.clock.now())) this.#hit('bad-json', 'policy');
    }
  }

  async #open(id: string, text: string, token: string | undefined): Promise<void> {
    const { core, hub, limited, metrics } = this.#around;
    const began = this.#around.clock.now();
    try {
      const { cookie, identity: known } = this.#peer!;
      this.#peer = undefined;
      const given = token ?? cookie;
      const identity = token === undefined && known ? known : given === undefined ? undefined : await core.authenticate(given);
      if (this.#state.at !== 'opening') return;
      if (!identity) return this.#refuse(id, 'unauthenticated', 'sessionEnded');
      const own = userStream(identity.userId);
      if (limited && hub.count(own) >= connectionsPerPerson) {
        metrics.limitHit('connections-person');
        return this.#refuse(id, 'too_many', 'tooMany');
      }
      this.#state.identity = identity;
      this.#queue.hold();
      this.changed = new Map();
      // Follow first, read after: what is committed in between is then in both, and none of it in neither.
      await hub.follow(this, [own]);
      const topics = await core.topics(identity);
      if (this.#isGone) return;
      if (!topics) return this.#refuse(id, 'unauthenticated', 'sessionEnded');
      await hub.settle(this, topics);
      // Most say nothing more for a long time: the core need not know them by their connection before they do.
      const answer = await core.handle({ identity, ip: this.ip, origin: this.#origin, device: this.#device }, text);
      if (this.#isGone) return;
      metrics.answered('ws', answer.error ?? 'ok', answer.limit);
      metrics.answerSeconds.observe((this.#around.clock.now() - began) / 1_000);
      const frame = buildFrame(answer.text);
      if (answer.error) return this.#last(frame, answer.error === 'unauthenticated' ? 'sessionEnded' : 'tryLater');
      const close = this.#apply(answer.effects);
      if (close) return this.close(close);
      const { waiting } = this.#state;
      this.#state = { at: 'ready', identity };
      core.connected(identity);
      this.#count(frame);
      this.#queue.release(frame);
      for (const request of waiting) if (!this.#isGone) this.#request(request);
    } catch (error) {
      if (this.#isGone) return;
      this.#last(buildFrame(JSON.stringify({ id, error: this.#ourFault(error) } satisfies Reply)), 'tryLater');
    }
  }

  /** Asks the core again what this person may follow: word of it may have been lost. */
  async #refollow(identity: Identity): Promise<void> {
    this.#stale = false;
    this.changed = new Map();
    try {
      const topics = await this.#around.core.topics(identity);
      if (this.#isGone) return;
      if (topics) await this.#around.hub.settle(this, topics);
      else this.close('sessionEnded');
    } catch (error) {
      // The next heartbeat tries again.
      this.#stale = true;
      this.changed = undefined;
      this.#around.log.warn({ err: error }, 'could not ask what a connection may follow');
    }
  }

  // ── The end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get #isGone(): boolean {
    return this.#state.at === 'closing';
  }

  /** May frames be written? Not after a close frame in either direction: ws knows of the peer's before we do. */
  get #writable(): boolean {
    return this.#state.at !== 'closing' && this.#ws.readyState === this.#ws.OPEN;
  }

  /** The dead flag goes up before anything else: whatever is still read from this socket is ignored. */
  #gone(as: CloseName | 'by-peer'): void {
    if (this.#state.at === 'closing') return;
    const identity = this.#state.at === 'ready' || this.#state.at === 'draining' ? this.#state.identity : undefined;
    this.#state = { at: 'closing', as };
    this.#queue.close();
    this.#asked = undefined;
    this.#peer = undefined;
    this.#around.hub.remove(this);
    if (identity) this.#around.core.disconnected(identity);
    this.#around.core.gone(this.#number);
    this.#around.onGone(this);
  }

  #hit(limit: LimitName, as: CloseName): void {
    this.#around.metrics.limitHit(limit);
    this.close(as);
  }

  #reply(reply: Reply, limit?: RequestError['limit']): void {
    this.#around.metrics.answered('ws', reply.error?.code ?? 'ok', limit);
    this.deliver(buildFrame(JSON.stringify(reply)));
  }

  /** An error reply, and the end. */
  #refuse(id: string, code: ErrorCode, as: CloseName): void {
    this.#around.metrics.answered('ws', code);
    // Those that go on and on, not everybody who was once too quick.
    if (as === 'tooMany') this.#around.core.blocked(code === 'too_many' ? 'connections-person' : 'requests', this.ip).catch(() => {});
    this.#last(buildFrame(JSON.stringify({ id, error: new RequestError(code).toBody() } satisfies Reply)), as);
  }

  /** One last frame, and the end. What was held back for a hello that failed is not for this peer. */
  #last(frame: Frame, as: CloseName): void {
    if (this.#state.at === 'opening') this.#queue.discard();
    this.deliver(frame);
    this.close(as);
  }

  #ourFault(error: unknown): ErrorBody {
    // The core may be busy with a database that is away: nobody's fault, and worth another try.
    if (error instanceof RequestError) return error.toBody();
    const id = randomUUID();
    this.#around.metrics.answered('ws', 'internal');
    this.#around.log.error({ err: error, id }, 'a request failed');
    return new RequestError('internal', { id }).toBody();
  }

  #count(frame: Frame): void {
    const { out } = this.#around.metrics;
    out.frames += 1;
    out.bytes += frame.length;
  }
}

function onDrain(this: Duplex): void {
  (this as Socket)[ofSocket]!.onDrained();
}

function onData(this: Duplex, chunk: Buffer): void {
  (this as Socket)[ofSocket]!.onBytes(chunk);
}

function onEnd(this: Duplex): void {
  (this as Socket)[ofSocket]!.onEnd(this);
}

/**
 * Has ws read part of a message, and waits for the rest? It has no timer for that and no public way to ask, so this
 * reads its receiver; a test sends a message byte by byte, and fails if a new version keeps its books otherwise.
 */
function isMidMessage(ws: Line): boolean {
  const { _receiver: receiver } = ws as unknown as { _receiver: { _state: number; _bufferedBytes: number; _fragmented: number } };
  const { _state: state, _bufferedBytes: bytes, _fragmented: fragmented } = receiver;
  return state !== 0 || bytes > 0 || fragmented !== 0;
}

function exhaustive(never: never): never {
  throw new Error(`not handled: ${JSON.stringify(never)}`);
}

/** What an answer has one follow. */
const topicsOf = ({ effects }: Answer): Topic[] => effects?.flatMap((effect) => (effect.do === 'follow' ? effect.topics : [])) ?? [];
