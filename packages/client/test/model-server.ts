import {
  type Conversation,
  type Draft,
  type Entity,
  type ErrorCode,
  type Heard,
  type Inbox,
  type Member,
  type Message,
  type MethodName,
  type Params,
  type Push,
  RequestError,
  type Signal,
  type StreamId,
  type User,
  conversationStream,
  decodeRequest,
  entities as kinds,
  entityKey,
  userStream,
} from '@kith/protocol';
import type { WebSocketLike } from '../src/socket.ts';
import type { FakeClock } from './fake-clock.ts';

type Answer = (params: never, socket: ModelSocket) => unknown;
type Unversioned<E> = E extends Entity ? Omit<E, 'version'> : never;

/** A server in one page: streams with versions, methods by the letter of the protocol, and every fault a test may ask for. */
export class ModelServer {
  readonly userId = 'me';
  readonly clock: FakeClock;
  readonly heads = new Map<StreamId, number>();
  readonly rows = new Map<string, Entity>();
  readonly sockets: ModelSocket[] = [];
  /** All that was asked, in order. */
  readonly asked: { method: MethodName; params: never; at: number }[] = [];
  /** What stands in for the real answer of a method. */
  readonly answers = new Map<MethodName, Answer>();
  /** What becomes of a push on its way. */
  lose: (push: Push) => boolean = () => false;
  /** Of each conversation: when one's own inbox last changed in what is read. */
  readonly readVersions = new Map<string, number>();
  /** Client ids of mine under which nothing is taken. */
  readonly withdrawn = new Set<string>();
  /** Of its database. */
  era = 'first';
  /** The era before, and what streams had come to when it ended, as far as that was not lost. */
  before: { era: string; heads: Map<StreamId, number> } | undefined;
  /** Connections are refused. */
  down = false;
  /** More changed entities than this are too old. */
  resumeEntities = 500;
  snapshotMessages = 30;
  changesPage = 500;
  /** Default: all. */
  snapshotMembers: string[] | undefined;
  heartbeatMs = 25_000;

  constructor(clock: FakeClock) {
    this.clock = clock;
    this.commit(userStream(this.userId), this.user());
  }

  /** For the client's options. */
  get WebSocket(): new (url: string) => WebSocketLike {
    // oxlint-disable-next-line typescript/no-this-alias, unicorn/no-this-assignment
    const server = this;
    return class extends ModelSocket {
      constructor(url: string) {
        super(server, url);
      }
    };
  }

  /** The connection in use. */
  get socket(): ModelSocket | undefined {
    return this.sockets.findLast((socket) => socket.state === 'open');
  }

  askedFor<M extends MethodName>(method: M): Params<M>[] {
    return this.asked.filter((request) => request.method === method).map((request) => request.params);
  }

  // ── What happens on it ─────────────────────────────────────────────────────────────────────────────────────────────

  /** One commit: the next version, the rows, the push. */
  commit(stream: StreamId, ...drafts: Unversioned<Entity>[]): Push {
    const version = (this.heads.get(stream) ?? 0) + 1;
    this.heads.set(stream, version);
    const entities = drafts.map((draft) => ({ ...draft, version }));
    for (const entity of entities) this.rows.set(entityKey(entity), entity);
    const push: Push = { stream, version, entities };
    if (!this.lose(push) && this.#follows(stream)) this.socket?.deliver(push);
    return push;
  }

  /** A group in which I am. */
  found(id: string, options: { memberIds?: string[]; messages?: number; type?: Conversation['type']; title?: string | null; inbox?: Partial<Inbox> } = {}): void {
    const memberIds = options.memberIds ?? ['me', 'ann'];
    const stream = conversationStream(id);
    const conversation: Unversioned<Conversation> = {
      kind: 'conversation',
      id,
      type: options.type ?? 'group',
      title: options.title === undefined ? `Group ${id}` : options.title,
      avatar: '',
      createdBy: 'ann',
      createdAt: 1,
      memberCount: memberIds.length,
    };
    this.commit(stream, conversation, ...memberIds.map((userId) => this.member(id, userId)));
    for (let n = 0; n < (options.messages ?? 0); n++) this.say(id, 'ann', `old ${n + 1}`);
    this.inbox(id, options.inbox ?? {});
  }

  /** @returns Its version. */
  inbox(conversationId: string, change: Partial<Inbox> = {}): number {
    const before = this.rows.get(`inbox/${conversationId}`) as Inbox | undefined;
    const start: Unversioned<Inbox> = { kind: 'inbox', conversationId, joined: true, readSeq: 0, markedUnread: false, mutedUntil: 0, pinnedAt: 0, request: false };
    return this.commit(userStream(this.userId), { ...start, ...before, ...change }).version;
  }

  say(conversationId: string, senderId: string, text: string, clientId = `c-${senderId}-${++this.#count}-00000000`): Message {
    const seq = this.lastSeq(conversationId) + 1;
    const message: Unversioned<Message> = { kind: 'message', id: `${conversationId}-m${seq}`, conversationId, seq, senderId, clientId, type: 'text', text, at: this.clock.now() };
    return this.commit(conversationStream(conversationId), message).entities[0] as Message;
  }

  edit(conversationId: string, seq: number, text: string): void {
    const message = this.rows.get(`message/${conversationId}-m${seq}`) as Message;
    this.commit(conversationStream(conversationId), { ...message, text, editedAt: this.clock.now() });
  }

  /** I am out: the inbox says so, and no more is heard. */
  removeMe(conversationId: string): void {
    this.inbox(conversationId, { joined: false });
    this.commit(conversationStream(conversationId), { ...this.member(conversationId, 'me'), state: 'left' });
  }

  signal(signal: Signal): void {
    this.socket?.deliver(signal);
  }

  beat(): void {
    this.socket?.deliver({ heads: this.#headsOfMine() });
  }

  /** Another database takes its place, which had only come as far as this copy. */
  failOver(copy: { heads: Map<StreamId, number>; rows: Map<string, Entity> }): void {
    this.before = { era: this.era, heads: new Map(copy.heads) };
    this.era = `after ${this.era}`;
    this.heads.clear();
    this.rows.clear();
    for (const [stream, head] of copy.heads) this.heads.set(stream, head);
    for (const [key, row] of copy.rows) this.rows.set(key, row);
  }

  lastSeq(conversationId: string): number {
    return Math.max(0, ...this.messages(conversationId).map((message) => message.seq));
  }

  messages(conversationId: string): Message[] {
    return this.of(conversationStream(conversationId)).filter((row) => row.kind === 'message');
  }

  of(stream: StreamId): Entity[] {
    return [...this.rows.values()].filter((row) => streamOf(row, this.userId) === stream);
  }

  user(): Unversioned<User> {
    return { kind: 'user', id: this.userId, handle: 'me', name: 'Me', avatar: '', bio: '', guest: false, operator: false, accepts: 'friends', createdAt: 1 };
  }

  member(conversationId: string, userId: string): Unversioned<Member> {
    return { kind: 'member', conversationId, userId, role: 'member', state: 'joined', joinedAt: 1, name: userId, avatar: '', handle: userId };
  }

  #count = 0;

  // ── What it answers ────────────────────────────────────────────────────────────────────────────────────────────────

  answer(method: MethodName, params: never, socket: ModelSocket): unknown {
    this.asked.push({ method, params, at: this.clock.now() });
    const answer = this.answers.get(method) ?? this.#methods[method];
    return answer ? answer(params, socket) : {};
  }

  /** The ordinary answer, for stand-ins that only come before it. */
  ordinary<M extends MethodName>(method: M, params: Params<M>, socket: ModelSocket): unknown {
    return (this.#methods[method] as Answer)(params as never, socket);
  }

  readonly #methods: { [M in MethodName]?: (params: Params<M>, socket: ModelSocket) => unknown } = {
    hello: () => ({ user: this.rows.get(`user/${this.userId}`), session: 's1', era: this.era, heads: this.#headsOfMine(), heartbeatMs: this.heartbeatMs, time: this.clock.now() }),
    'stream.heads': ({ streams }) => ({ era: this.era, heads: Object.fromEntries(streams.map((stream) => [stream, this.heads.get(stream as StreamId)])) }),
    'stream.changes': ({ stream, since, era = this.era }) => {
      this.#requireFollowed(stream as StreamId);
      const common = era === this.before?.era ? (this.before.heads.get(stream as StreamId) ?? 0) : -1;
      if (era !== this.era && since > common) return { tooOld: true };
      const head = this.heads.get(stream as StreamId) ?? 0;
      const changed = this.of(stream as StreamId)
        .filter((row) => row.version > since)
        .sort((a, b) => a.version - b.version);
      if (since > head || since === 0 || changed.length > this.resumeEntities) return { tooOld: true };
      if (changed.length <= this.changesPage) return { entities: changed, version: head, more: false };
      const { version } = changed[this.changesPage - 1]!;
      return { entities: changed.filter((row) => row.version <= version), version, more: true };
    },
    'stream.snapshot': ({ stream }) => {
      this.#requireFollowed(stream as StreamId);
      const lastSeq = Math.max(0, ...this.of(stream as StreamId).map((row) => (row.kind === 'message' ? row.seq : 0)));
      const entities = this.of(stream as StreamId).filter((row) => {
        if (row.kind === 'member') return this.snapshotMembers?.includes(row.userId) ?? true;
        return row.kind === 'message' ? row.seq > lastSeq - this.snapshotMessages : row.kind !== 'inbox' || row.joined;
      });
      return { entities, version: this.heads.get(stream as StreamId) };
    },
    'message.send': ({ conversationId, clientId, type, text }) => {
      const first = this.messages(conversationId).find((message) => message.clientId === clientId);
      if (!first) this.#requireFollowed(conversationStream(conversationId));
      if (!first && this.withdrawn.has(clientId)) throw new RequestError('too_late');
      return { message: first ?? { ...this.say(conversationId, this.userId, text, clientId), type } };
    },
    'message.withdraw': ({ conversationId, clientId }) => {
      this.#requireFollowed(conversationStream(conversationId));
      const message = this.messages(conversationId).find((it) => it.clientId === clientId);
      if (!message) this.withdrawn.add(clientId);
      return message ? { message } : {};
    },
    'message.history': ({ conversationId, before, after, around: place, at, limit = 50 }) => {
      const all = this.messages(conversationId).sort((a, b) => a.seq - b.seq);
      const around = at === undefined ? place : (all.find((message) => message.at >= at) ?? all.at(-1))?.seq;
      const found =
        around !== undefined
          ? [...all.filter((m) => m.seq < around).slice(-limit / 2), ...all.filter((m) => m.seq >= around).slice(0, limit / 2)]
          : after !== undefined
            ? all.filter((m) => m.seq > after).slice(0, limit)
            : all.filter((m) => m.seq < (before ?? Infinity)).slice(-limit);
      return { messages: found, before: (found[0]?.seq ?? 1) > 1, after: found.length > 0 && found.at(-1)!.seq < all.length };
    },
    'read.mark': ({ conversationId, seq }) => {
      const inbox = this.rows.get(`inbox/${conversationId}`) as Inbox;
      const readSeq = Math.min(seq, this.lastSeq(conversationId));
      if (readSeq > inbox.readSeq) this.readVersions.set(conversationId, this.inbox(conversationId, { readSeq, markedUnread: false }));
      return { inbox: this.rows.get(`inbox/${conversationId}`) };
    },
    'read.unread': ({ conversationId, on, base }) => {
      const { markedUnread } = this.rows.get(`inbox/${conversationId}`) as Inbox;
      if (markedUnread !== on && base >= (this.readVersions.get(conversationId) ?? 0)) this.readVersions.set(conversationId, this.inbox(conversationId, { markedUnread: on }));
      return { inbox: this.rows.get(`inbox/${conversationId}`) };
    },
    'draft.set': ({ conversationId, text, base }) => {
      const before = this.rows.get(`draft/${conversationId}`) as Draft | undefined;
      const other = before && base < before.version && before.text !== '' && before.text !== text ? before.text : null;
      return { draft: this.commit(userStream(this.userId), { kind: 'draft', conversationId, text, other, at: 1 }).entities[0] };
    },
    'message.hide': ({ messageId }) => {
      const { conversationId, seq } = this.rows.get(`message/${messageId}`) as Message;
      return { hidden: this.commit(userStream(this.userId), { kind: 'hidden', messageId, conversationId, seq }).entities[0] };
    },
    'voice.heard': ({ messageId }) => {
      const { conversationId, seq } = this.rows.get(`message/${messageId}`) as Message;
      const before = this.rows.get(`heard/${conversationId}`) as Heard | undefined;
      if (before?.seqs.includes(seq)) return { heard: before };
      const seqs = [...(before?.seqs ?? []), seq].sort((a, b) => a - b);
      return { heard: this.commit(userStream(this.userId), { kind: 'heard', conversationId, upTo: before?.upTo ?? 0, seqs }).entities[0] };
    },
    'presence.watch': ({ userIds }) => ({ presence: userIds.map((userId) => ({ userId, online: true, lastSeenAt: null })) }),
  };

  #requireFollowed(stream: StreamId): void {
    if (!this.#follows(stream)) throw new RequestError('not_a_member');
  }

  #follows(stream: StreamId): boolean {
    if (!stream.startsWith('conversation:')) return true;
    return (this.rows.get(`inbox/${stream.slice('conversation:'.length)}`) as Inbox | undefined)?.joined === true;
  }

  #headsOfMine(): Record<string, number> {
    return Object.fromEntries([...this.heads].filter(([stream]) => this.#follows(stream)));
  }
}

/** The server's end and the client's in one. */
export class ModelSocket implements WebSocketLike {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  state: 'connecting' | 'open' | 'closed' = 'connecting';
  /** Nothing gets through any more, in either direction, and nobody is told. */
  dead = false;
  readonly #server: ModelServer;
  readonly url: string;

  constructor(server: ModelServer, url: string) {
    this.#server = server;
    this.url = url;
    server.sockets.push(this);
    queueMicrotask(() => {
      if (this.state === 'closed') return;
      if (server.down) return this.drop(1006);
      this.state = 'open';
      this.onopen?.();
    });
  }

  send(text: string): void {
    if (this.state !== 'open' || this.dead) return;
    const { id, method, params } = decodeRequest(text);
    void (async () => {
      let reply: object;
      try {
        reply = { id, result: await this.#server.answer(method as MethodName, params as never, this) };
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        reply = { id, error: error.toBody() };
      }
      this.deliver(reply);
    })();
  }

  /** What the client does. */
  close(): void {
    this.state = 'closed';
  }

  deliver(frame: object): void {
    if (this.state === 'open' && !this.dead) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The connection ends. */
  drop(code = 1006, reason = ''): void {
    this.state = 'closed';
    this.onclose?.({ code, reason });
  }
}

export const refuse =
  (code: ErrorCode, extra: { retryAfterMs?: number } = {}) =>
  (): never => {
    throw new RequestError(code, extra);
  };
export const never = (): Promise<never> => new Promise(() => {});

function streamOf(row: Entity, userId: string): StreamId {
  if (kinds[row.kind].stream === 'user') return userStream(userId);
  return conversationStream(row.kind === 'conversation' ? row.id : (row as Message).conversationId);
}
