import {
  type Entity,
  type FileRef,
  type Message,
  type MethodName,
  type Params,
  RequestError,
  type Result,
  type Signal,
  type User,
  conversationStream,
  entities,
} from '@kith/protocol';
import { type Clock, systemClock } from './clock.ts';
import { Drafts } from './drafts.ts';
import { Heard } from './heard.ts';
import { FileDoor } from './file-door.ts';
import { type FileSource, type SendFileOptions, type UploadOptions, isShownPicture, mediaTypeOf, nameOf } from './file-source.ts';
import { type Hints, browserHints } from './hints.ts';
import { Journal } from './journal.ts';
import { type Connection, Link, answerMs } from './link.ts';
import { Listeners } from './listeners.ts';
import { newClientId } from './client-id.ts';
import { type MessageType, Outbox, type Pending } from './outbox.ts';
import { MissingMembers } from './missing-members.ts';
import type { Peers } from './peers.ts';
import { Presence } from './presence.ts';
import { type HeldReads, Reads } from './reads.ts';
import { Renewal } from './renewal.ts';
import { Replica, storedMessages } from './replica.ts';
import type { WebSocketConstructor } from './socket.ts';
import { memoryStorage } from './storage-memory.ts';
import { type Storage, isReplicaKey } from './storage.ts';
import { Store } from './store.ts';
import { type Call, Sync } from './sync.ts';
import { Timeline } from './timeline.ts';
import { Pace } from './transfer.ts';
import { Typing } from './typing.ts';
import { type PendingFile, upload } from './uploads.ts';
import { type ConversationView, Views } from './views.ts';

export interface ClientOptions {
  /** `http://host:port` of the server. */
  url: string;
  /** Of `signIn`. Left out in a browser, where the cookie signs in. */
  token?: string;
  /** What to call this device in the list of sessions. */
  device?: string;
  /** Default: in memory, for as long as the process lives. */
  storage?: Storage;
  /** Default: the global one. */
  WebSocket?: WebSocketConstructor;
  /** Default: the global one. Files go up and down by it. */
  fetch?: typeof fetch;
  /** Default: the browser's events, where there are any. */
  hints?: Hints;
  /** Other clients on the same storage, as `Tabs` are. Default: none. */
  peers?: Peers;
  /**
   * The server wants to know once more who is there, before something sensitive: shows it by `auth.confirm`. The call
   * is then repeated. Default: it fails with `confirm_required`.
   *
   * @returns whether that was done
   */
  confirm?: () => Promise<boolean>;
  clock?: Clock;
  /** Like Math.random; spreads attempts in time. */
  random?: () => number;
}

/** Messages of one conversation that are held before the older ones go. */
const trimAbove = 1_000;

/** What storage keeps of the replica. One that lacks a kind this program knows is taken anew: its heads vouch for less. */
const replicaFormat = `1 ${Object.keys(entities).sort().join(' ')}`;

/**
 * A person's device: a replica of what they may see, kept equal to the server's; an outbox; a connection that comes
 * back by itself. Reading never waits, writing never loses.
 */
export class Client {
  readonly store = new Store();
  readonly drafts: Drafts;
  readonly presence: Presence;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #journal: Journal;
  readonly #replica: Replica;
  readonly #outbox: Outbox;
  readonly #reads: Reads;
  readonly #heard: Heard;
  readonly #typing: Typing;
  readonly #missing: MissingMembers;
  readonly #views: Views;
  readonly #link: Link;
  /** Of the cookie; absent with a token, which is the program's to keep. */
  readonly #renewal: Renewal | undefined;
  readonly #door: FileDoor;
  readonly #pace = new Pace();
  readonly #signals = new Listeners<[Signal]>();
  readonly #messages = new Listeners<[message: Message, isNew: boolean]>();
  readonly #timelines = new Set<Timeline>();
  readonly #peers: Peers | undefined;
  readonly #confirm: (() => Promise<boolean>) | undefined;
  /** Last seq that `message` listeners have been told of; undefined until the first sync is complete. */
  #emitted: Map<string, number> | undefined;
  #sync: Sync | undefined;
  #serverAhead = 0;
  #session: string | undefined;
  #started: Promise<void> | undefined;

  constructor(options: ClientOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#journal = new Journal(options.storage ?? memoryStorage(), this.#clock, () => this.#replica.checkpoint());
    this.#replica = new Replica(this.store, this.#journal);
    this.#replica.onKept.add((kept) => this.#onKept(kept));
    this.#peers = options.peers;
    this.#confirm = options.confirm;
    const shared = { store: this.store, replica: this.#replica, journal: this.#journal, clock: this.#clock, random: this.#random, peers: this.#peers };
    this.#door = new FileDoor({ url: options.url, token: options.token, fetch: options.fetch ?? ((url, init) => fetch(url, init)), clock: this.#clock });
    this.#renewal =
      options.token === undefined
        ? new Renewal({
            url: options.url,
            fetch: options.fetch ?? ((url, init) => fetch(url, init)),
            clock: this.#clock,
            random: this.#random,
            leads: () => this.#peers?.leads ?? true,
          })
        : undefined;
    this.#outbox = new Outbox({
      ...shared,
      door: this.#door,
      shownUpTo: (id) => this.#replica.conversation(id)?.hi ?? Infinity,
      onSent: (message) => this.#onSent(message),
      isHeld: (conversationId, clientId) => [...this.store.messages(conversationId)].some((message) => message.clientId === clientId && message.senderId === this.#replica.userId),
    });
    this.drafts = new Drafts(shared);
    this.presence = new Presence(this.#clock, this.#random);
    this.#reads = new Reads(shared);
    this.#heard = new Heard(shared);
    this.#missing = new MissingMembers(shared);
    this.#typing = new Typing(this.#replica, this.#clock);
    this.#views = new Views({ replica: this.#replica, outbox: this.#outbox, drafts: this.drafts, reads: this.#reads, serverTime: (at) => at + this.#serverAhead });
    this.#peers?.onTold('opened', () => {
      if (!this.#peers!.leads) return;
      this.#outbox.tellAll();
      this.drafts.tellAll();
    });
    this.store.onTouch((_, conversationId) => {
      for (const timeline of this.#timelines) if (timeline.conversationId === conversationId) timeline.invalidate();
    });
    this.#link = new Link({
      url: `${options.url.replace(/^http/, 'ws').replace(/\/+$/, '')}/ws`,
      hello: { protocol: 1, ...(options.token !== undefined && { token: options.token }), ...(options.device !== undefined && { device: options.device }) },
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      clock: this.#clock,
      random: this.#random,
      hints: options.hints ?? browserHints(),
      events: {
        onOpen: (call) => this.#onOpen(call),
        onHello: (hello, call) => this.#onHello(hello, call),
        onPush: (push) => this.#sync?.onPush(push),
        onSignal: (signal) => this.#onSignal(signal),
        onHeads: (heads) => this.#sync?.onHeads(heads),
        onDown: () => this.#onDown(),
      },
    });
  }

  // ── Connection ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Loads what this device kept, and resolves: there is something to show. Connects in the background, and stays connected. */
  start(): Promise<void> {
    return (this.#started ??= this.#start());
  }

  /** Goes away; what is stored stays. A client that was stopped is not started again: make a new one. */
  async stop(): Promise<void> {
    this.#link.stop();
    this.#renewal?.stop();
    this.#outbox.pause();
    await this.#journal.close();
  }

  /** Signs out on this device: goes away and erases everything that was stored. The session is ended by `auth.logout`. */
  async wipe(): Promise<void> {
    this.#link.stop();
    this.#renewal?.stop();
    this.#forgetEverything();
    await this.#journal.wipe();
  }

  get connection(): Connection {
    return this.#link.connection;
  }

  onConnection(fn: (connection: Connection) => void): () => void {
    return this.#link.onChange(fn);
  }

  /** Tries to connect at once: the button of a banner, or after signing in again. */
  retryNow(): void {
    this.#link.retryNow();
  }

  /** Now by the server's clock, as far as this device knows it: what the server judges by time is judged by this one. */
  now(): number {
    return this.#clock.now() + this.#serverAhead;
  }

  /**
   * Calls a method. Waits for a connection if there is none. Entities in the result are in the store when it resolves.
   *
   * @param options.timeoutMs  For connection and answer together. Default 15,000.
   * @throws RequestError the server refused; ConnectionError no answer, and if it was `sent`, it may have been carried out.
   */
  async call<M extends MethodName>(method: M, params: Params<M>, options: { timeoutMs?: number } = {}): Promise<Result<M>> {
    const result = await this.#ask(method, params, options.timeoutMs ?? answerMs);
    // A page of history belongs to nobody's window: who asked for it has it.
    if (method !== 'message.history' && method !== 'message.media') this.#replica.merge(entitiesIn(result));
    return result;
  }

  // ── What there is ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** The person signed in; undefined until the first connection of a new device. */
  get me(): User | undefined {
    return this.#replica.me;
  }

  /** The conversations this person is in, pinned ones first, then by the last thing that happened. Same array until something changes. */
  conversations(): ConversationView[] {
    return this.#views.conversations();
  }

  conversation(conversationId: string): ConversationView | undefined {
    return this.#views.conversation(conversationId);
  }

  /** Opens a window on a conversation, at its newest messages. */
  timeline(conversationId: string): Timeline {
    const timeline = new Timeline({
      conversationId,
      replica: this.#replica,
      outbox: this.#outbox,
      call: (method, params) => this.#link.call(method, params, answerMs),
      onLoaded: () => this.#trim(conversationId),
      onClose: () => void this.#timelines.delete(timeline),
    });
    this.#timelines.add(timeline);
    return timeline;
  }

  // ── Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Unsent messages. */
  get outbox(): Pick<Outbox, 'pending' | 'retry' | 'cancel' | 'discard' | 'bytes' | 'pauseFile' | 'resumeFile'> {
    return this.#outbox;
  }

  /**
   * Sends a message: it is in the timeline when this returns, on disk before it leaves, and at the server exactly once,
   * whatever happens to connection, page or server in between.
   *
   * @returns The client id.
   */
  send(conversationId: string, body: { type?: MessageType; text: string }): string {
    this.#typing.sent(conversationId);
    return this.#outbox.add(conversationId, { type: body.type ?? 'text', text: body.text }).clientId;
  }

  /** @throws forbidden, not_found, too_late */
  async edit(messageId: string, text: string): Promise<Message> {
    return (await this.call('message.edit', { messageId, text })).message;
  }

  /** Recalls a message for everybody. @throws forbidden, not_found, too_late */
  async recall(messageId: string): Promise<Message> {
    return (await this.call('message.delete', { messageId })).message;
  }

  /** Deletes a message for this person alone, on all their devices. @throws not_found, too_many */
  async hide(messageId: string): Promise<void> {
    await this.call('message.hide', { messageId });
  }

  /** This person has read up to here. Never goes back, and survives disconnects and restarts. */
  markRead(conversationId: string, seq: number): void {
    this.#reads.mark(conversationId, seq);
  }

  /** Marks a conversation as unread on all devices, until it is read on or that is taken back. Survives disconnects and restarts. */
  markUnread(conversationId: string, on = true): void {
    this.#reads.setMarked(conversationId, on);
  }

  /** Shows everything as read. The server hears of it only when the result is kept; until then it can be undone. */
  markAllRead(): HeldReads {
    return this.#reads.holdAll();
  }

  /** This person has heard a voice message, on all their devices. Survives disconnects and restarts. */
  markHeard(message: Message): void {
    this.#heard.mark(message);
  }

  /** Has this person heard a voice message? Their own, and what was said before they came, counts as heard. */
  isHeard(message: Message): boolean {
    return this.#heard.has(message);
  }

  /**
   * Told of every message that others write, once, in the order of each conversation; not of system lines.
   * Nothing is told of what was there when this client started.
   *
   * @param fn  `isNew` is false for messages that were missed while disconnected.
   */
  on(event: 'message', fn: (message: Message, isNew: boolean) => void): () => void {
    if (event !== 'message') throw new TypeError(`There is no event ${String(event)}.`);
    return this.#messages.add(fn);
  }

  // ── Files ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Sends a file in a message of its own: it is in the timeline when this returns, its bytes are in storage before any of
   * them leaves, and it arrives exactly once and whole, whatever happens in between. Files of one conversation keep their
   * order; text that was written after one does not wait for it. `outbox` pauses it, takes it back and tries it again.
   */
  sendFile(conversationId: string, source: FileSource, options: SendFileOptions = {}): Pending {
    const { type, text = '', poster, ...file } = options;
    const mediaType = mediaTypeOf(source);
    this.#typing.sent(conversationId);
    return this.#outbox.add(
      conversationId,
      {
        type: type ?? (isShownPicture(mediaType) ? 'image' : 'file'),
        text,
        file: { name: nameOf(source), size: source.bytes.size, type: mediaType, ...file, state: 'waiting', sent: 0 },
      },
      { file: source.bytes, poster },
    );
  }

  /**
   * Sends what a message says, or the file it has, once more: to somebody else, without its bytes travelling again.
   *
   * @returns The client id.
   */
  forward(conversationId: string, { type, text, file }: Pick<Message, 'type' | 'text' | 'file'>): string {
    if (type === 'system') throw new TypeError('Lines of the system are nobody’s to send.');
    return this.#outbox.add(conversationId, { type, text, ...(file && { file: atServer(file) }) }).clientId;
  }

  /**
   * Uploads a file that no message carries yet: a picture of oneself, one to forward. What nothing uses within a day goes.
   *
   * @throws RequestError the server refused; ConnectionError it could not be reached several times; the reason of `signal`
   */
  upload(source: FileSource, options: UploadOptions = {}): Promise<FileRef> {
    const { conversationId, original, avatar, onSent, signal, ...measures } = options;
    const type = mediaTypeOf(source);
    const reserve = {
      ...(conversationId !== undefined && { conversationId }),
      clientId: newClientId(),
      name: nameOf(source),
      ...(type !== '' && { type }),
      ...(original && { original }),
      ...(avatar && { avatar }),
    };
    return upload(
      { bytes: source.bytes, reserve, measures },
      { call: (method, params) => this.call(method, params), door: this.#door, pace: this.#pace, clock: this.#clock, random: this.#random, onSent, signal },
    );
  }

  /** Where a file is. @param size  Of a picture or video: scaled down to that. */
  fileUrl(file: Pick<FileRef, 'id' | 'name'>, size?: 'small' | 'large'): string {
    return this.#door.urlOf(file, size);
  }

  /**
   * Fetches a file: `await (await client.download(file)).blob()` has it as a whole, `.body` is a stream of it.
   *
   * @throws RequestError not_found: gone, or not for this person; ConnectionError no answer
   */
  download(file: Pick<FileRef, 'id' | 'name'>, options: { size?: 'small' | 'large'; signal?: AbortSignal } = {}): Promise<Response> {
    return this.#door.get(this.fileUrl(file, options.size), options.signal);
  }

  // ── Fleeting ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Call it on every key that is pressed. */
  setTyping(conversationId: string): void {
    this.#typing.set(conversationId);
  }

  /** User ids of those who are typing there. */
  typing(conversationId: string): string[] {
    return this.#typing.of(conversationId);
  }

  onTyping(fn: (conversationId: string) => void): () => void {
    return this.#typing.onChange(fn);
  }

  /** Every signal as it comes. */
  onSignal(fn: (signal: Signal) => void): () => void {
    return this.#signals.add(fn);
  }

  // ── Inside ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #start(): Promise<void> {
    const [entries, bytes] = await Promise.all([this.#journal.load(), this.#journal.loadBytes()]);
    if (entries.get('format') !== replicaFormat) {
      for (const key of [...entries.keys()].filter(isReplicaKey)) {
        entries.delete(key);
        this.#journal.put(key, undefined);
      }
      this.#journal.put('format', replicaFormat);
    }
    this.#replica.userId = entries.get('owner') as string | undefined;
    this.#replica.load(entries);
    this.#outbox.load(entries, bytes);
    this.drafts.load(entries);
    this.#reads.load(entries);
    this.#heard.load(entries);
    // What was written in another tab may not be on disk yet.
    this.#peers?.tell('opened', null);
    this.#link.start();
  }

  async #ask<M extends MethodName>(method: M, params: Params<M>, timeoutMs: number): Promise<Result<M>> {
    try {
      return await this.#link.call(method, params, timeoutMs);
    } catch (error) {
      const asked = error instanceof RequestError && error.code === 'confirm_required' && this.#confirm;
      if (!asked || !(await asked())) throw error;
      return this.#link.call(method, params, timeoutMs);
    }
  }

  #onOpen(call: Call): void {
    this.#sync = new Sync({ replica: this.#replica, call, clock: this.#clock, random: this.#random, onGone: (id) => this.#onGone(id) });
  }

  async #onHello(hello: Result<'hello'>, call: Call): Promise<void> {
    const sync = this.#sync!;
    const userId = hello.user.id;
    if (this.#replica.userId !== undefined && this.#replica.userId !== userId) {
      // Somebody else's device until now: nothing of theirs may be seen or sent by this person.
      this.#forgetEverything();
      void this.#journal.erase();
      this.#journal.put('format', replicaFormat);
    }
    if (this.#replica.userId !== userId) this.#journal.put('owner', userId);
    this.#replica.userId = userId;
    this.#serverAhead = hello.time - this.#clock.now();
    this.#session = hello.session;
    this.#renewal?.start();
    this.#outbox.resume(call);
    this.#reads.resume(call);
    this.#heard.resume(call);
    this.drafts.resume(call);
    this.#typing.call = call;
    this.presence.resume(call);
    await sync.start(hello);
    if (this.#sync !== sync) return;
    this.#reads.resumeReceipts();
    this.#missing.resume(call);
    for (const timeline of this.#timelines) timeline.resume();
    this.#emitted ??= new Map(this.store.list('inbox').map(({ conversationId: id }) => [id, this.#replica.conversation(id)?.hi ?? 0]));
  }

  #onDown(): void {
    this.#sync?.close();
    this.#sync = undefined;
    this.#outbox.pause();
    this.#reads.pause();
    this.#heard.pause();
    this.drafts.pause();
    this.#missing.pause();
    this.#typing.call = undefined;
    this.presence.pause();
  }

  #onSignal(signal: Signal): void {
    if (signal.signal === 'typing') this.#typing.onSignal(signal.data);
    else if (signal.signal === 'presence') this.presence.onSignal(signal.data);
    this.#signals.emit(signal);
  }

  #onKept(kept: Entity[]): void {
    const conversations = new Set<string>();
    const sent = new Set<string>();
    for (const value of kept) {
      if (value.kind === 'inbox') {
        this.#reads.onInbox(value);
        if (value.joined) this.#sync?.onJoined(value.conversationId);
        else this.#onGone(value.conversationId);
      } else if (value.kind === 'security' && value.last.sessionId === this.#session) this.#renewal?.now();
      else if (value.kind === 'draft') this.drafts.onKept(value);
      else if (value.kind === 'heard') this.#heard.onKept(value);
      else if (value.kind === 'settings') this.presence.onShown(value.presence);
      else if (value.kind === 'message') {
        conversations.add(value.conversationId);
        this.#typing.end(value.conversationId, value.senderId);
        this.#missing.onMessage(value);
        if (value.senderId === this.#replica.userId && value.clientId !== null && this.#outbox.stored(value.clientId, value)) sent.add(value.conversationId);
      }
    }
    for (const id of conversations) {
      this.#outbox.show(id, this.#replica.conversation(id)?.hi ?? 0);
      this.#reads.onMessages(id);
      this.#emit(id);
      this.#trim(id);
    }
    for (const id of sent) this.#reads.onOwnMessage(id);
  }

  /** A bot runs for years, and a page is open for weeks: what nobody looks at goes. */
  #trim(conversationId: string): void {
    if (this.store.countMessages(conversationId) <= trimAbove || this.#sync?.isBusy(conversationStream(conversationId))) return;
    const open = [...this.#timelines].filter((timeline) => timeline.conversationId === conversationId);
    if (open.some((timeline) => timeline.isAsking)) return;
    this.#replica.trim(
      conversationId,
      storedMessages,
      open.map(({ window }) => window),
    );
  }

  /** The server confirmed a message of this device. */
  #onSent(message: Message): void {
    this.#replica.merge([message]);
    const held = this.#replica.conversation(message.conversationId);
    // Something before it never arrived here.
    if (held && message.seq > held.hi) this.#sync?.onHeads({ [conversationStream(message.conversationId)]: message.version });
  }

  /** Not in this conversation any more: nothing of it stays on this device. */
  #onGone(conversationId: string): void {
    this.#replica.erase(conversationId);
    this.drafts.forget(conversationId);
    this.#reads.forget(conversationId);
    this.#heard.forget(conversationId);
    // What was not sent is left to the server to refuse: one whose answer was lost may be stored.
    this.#outbox.show(conversationId, Infinity);
    this.#emitted?.delete(conversationId);
  }

  #emit(conversationId: string): void {
    const held = this.#replica.conversation(conversationId);
    if (!this.#emitted || !held) return;
    // A conversation that appeared after the start: what was written before this person came is not news.
    const from = this.#emitted.get(conversationId) ?? this.store.get('inbox', conversationId)?.readSeq ?? held.hi;
    // What was told of and then lost by the server has no place any more: others come in its place, and are news.
    this.#emitted.set(conversationId, held.hi);
    const isNew = this.connection.at === 'ready';
    for (let seq = Math.max(from + 1, held.lo); seq <= held.hi; seq++) {
      const message = this.store.message(conversationId, seq)!;
      if (message.senderId !== this.#replica.userId && message.type !== 'system' && message.deletedAt === undefined) this.#messages.emit(message, isNew);
    }
  }

  #forgetEverything(): void {
    this.#replica.clear();
    this.#outbox.clear();
    this.drafts.clear();
    this.#reads.clear();
    this.#heard.clear();
    this.#typing.clear();
    this.#emitted = undefined;
  }
}

/** A file that need not go up any more. */
function atServer(ref: FileRef): PendingFile {
  const { name, size, type, width, height, durationMs, waveform } = ref;
  return { name, size, type, width, height, durationMs, waveform, state: 'stored', sent: size, ref };
}

/** Entities at the top of a result: `{message}`, `{friend}`, `{members: […]}`. */
function entitiesIn(result: unknown): Entity[] {
  if (typeof result !== 'object' || result === null) return [];
  return Object.values(result)
    .flat()
    .filter((value): value is Entity => typeof value === 'object' && value !== null && 'kind' in value && 'version' in value);
}
