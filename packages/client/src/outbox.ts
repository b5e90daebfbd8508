import { type ErrorBody, type Message, RequestError } from '@kith/protocol';
import { type Clock, fullJitter } from './clock.ts';
import { newClientId } from './client-id.ts';
import type { FileDoor } from './file-door.ts';
import type { Journal } from './journal.ts';
import type { Peers } from './peers.ts';
import type { Store } from './store.ts';
import type { Call } from './sync.ts';
import { type BytesOf, type PendingFile, type PendingWithFile, Uploads, retryAfter } from './uploads.ts';

export type MessageType = Exclude<Message['type'], 'system'>;

/** A message that is not known to be stored by the server yet. */
export interface Pending {
  /** Names the message for ever: the stored one has the same. */
  clientId: string;
  conversationId: string;
  type: MessageType;
  /** With a file its caption. */
  text: string;
  file?: PendingFile;
  /** By this device's clock. */
  addedAt: number;
  /**
   * waiting: goes out by itself. failed: for good, see `error`. asking: too old to go out without being asked for.
   * leaving: taken back, as soon as it is known that the server does not have it.
   */
  state: 'waiting' | 'failed' | 'asking' | 'leaving';
  /** false: it never left this device. */
  tried?: boolean;
  error?: ErrorBody;
  /** The newest message when this one was written: its place once it is not waiting any more. */
  afterSeq: number;
  /** Place in the queue; grows. */
  order: number;
}

/** Of one message. */
type Bytes = { [of in BytesOf]?: Blob | undefined };
const bytesKey = (clientId: string, of: BytesOf): string => (of === 'file' ? clientId : `${clientId}/poster`);
const bytesKeys = (clientId: string): string[] => [bytesKey(clientId, 'file'), bytesKey(clientId, 'poster')];

/** What the outboxes of one storage tell each other: how an entry stands now, that the server has it as this, that it was given up. */
type Word = { keep: Pending; bytes?: Bytes } | { stored: Message; clientId: string } | { gone: string };

/** Milliseconds after which an unsent message found at start is not sent without asking. */
export const askAfterMs = 3_600_000;

/**
 * Unsent messages: on disk before they go out, in order within a conversation, conversations independent of each other,
 * the same client id however often they are tried. A file is uploaded first, and what was written after it passes it meanwhile.
 */
export class Outbox {
  readonly #store: Store;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #shownUpTo: (conversationId: string) => number;
  readonly #onSent: (message: Message) => void;
  readonly #isHeld: (conversationId: string, clientId: string) => boolean;
  /** Where there are any, the one that leads sends for all, so that order and once hold across tabs. */
  readonly #peers: Peers | undefined;
  /** By client id, in the order of sending. */
  readonly #entries = new Map<string, Pending>();
  /** Conversations that are being sent to. */
  readonly #busy = new Set<string>();
  /** Confirmed ones among the entries, as the server has them: something before them has not arrived yet. */
  readonly #stored = new Map<string, Message>();
  readonly #sleeping = new Set<() => void>();
  /** Of files that are not sent yet, by `bytesKey`. `kept` resolves when storage has them, or cannot. */
  readonly #bytes = new Map<string, { bytes: Blob; kept: Promise<void> }>();
  readonly #uploads: Uploads;
  /** Of each conversation that is being sent to: makes the next try come now. */
  readonly #hurry = new Map<string, () => void>();
  /** Who wants to know what became of one that was taken back here. */
  readonly #leaving = new Map<string, (taken: Pending | undefined) => void>();
  /** Those that an earlier life of this device took back, of which nobody waits to hear. */
  readonly #orphans = new Set<string>();
  /** Those about which the server is being asked. */
  readonly #withdrawing = new Set<string>();
  /** Files that were gone when their message came, and are uploaded once more. */
  readonly #again = new Set<string>();
  #lastOrder = 0;
  /** Set while there is a connection. */
  #call: Call | undefined;

  constructor(options: {
    store: Store;
    journal: Journal;
    clock: Clock;
    random: () => number;
    door: FileDoor;
    /** The newest message that can be shown; of a conversation that is not held, all that can ever be is shown: Infinity. */
    shownUpTo(conversationId: string): number;
    /** The server has it, as this. */
    onSent(message: Message): void;
    /** Is the message with this client id held, as the server has it? */
    isHeld(conversationId: string, clientId: string): boolean;
    peers?: Peers;
  }) {
    this.#store = options.store;
    this.#journal = options.journal;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#shownUpTo = options.shownUpTo;
    this.#onSent = options.onSent;
    this.#isHeld = options.isHeld;
    this.#peers = options.peers;
    this.#peers?.onTold('outbox', (word: Word) => this.#onTold(word));
    this.#peers?.onLead(() => this.#pumpAll());
    this.#uploads = new Uploads({
      ...options,
      entries: {
        list: () => (this.#leads ? this.pending().filter(isUploading) : []),
        find: (clientId) => this.#withFile(clientId),
        bytes: async (clientId, of) => {
          const found = this.#bytes.get(bytesKey(clientId, of));
          await found?.kept;
          return found?.bytes;
        },
        change: (clientId, file) => this.#changeFile(clientId, file),
        fail: (clientId, error) => {
          this.#changeFile(clientId, { state: 'waiting' });
          const entry = this.#entries.get(clientId);
          if (entry) this.#fail(entry, error);
        },
      },
    });
  }

  /** Unsent messages in the order of sending. */
  pending(conversationId?: string): Pending[] {
    const all = [...this.#entries.values()].sort((a, b) => a.order - b.order);
    return conversationId === undefined ? all : all.filter((entry) => entry.conversationId === conversationId);
  }

  /** The bytes of a file that is not sent yet, to show it from. */
  bytes(clientId: string, of: BytesOf = 'file'): Blob | undefined {
    return this.#bytes.get(bytesKey(clientId, of))?.bytes;
  }

  /** Lets an upload rest until it is resumed, over restarts too. What waits behind it passes it. */
  pauseFile(clientId: string): void {
    const entry = this.#withFile(clientId);
    if (!entry || !isUploading(entry)) return;
    this.#uploads.stop(clientId);
    this.#changeFile(clientId, { state: 'paused' });
  }

  resumeFile(clientId: string): void {
    if (this.#withFile(clientId)?.file.state !== 'paused') return;
    this.#changeFile(clientId, { state: 'waiting' });
    this.#uploads.pump();
  }

  /** Sends a failed or an old one after all, after what waits already. One that waits is tried at once. */
  retry(clientId: string): void {
    const entry = this.#entries.get(clientId);
    if (!entry || entry.state === 'leaving') return;
    if (entry.state === 'waiting') {
      this.#hurry.get(entry.conversationId)?.();
      for (const wake of [...this.#sleeping]) wake();
      return;
    }
    this.#entries.delete(clientId);
    const { error: _, ...rest } = entry;
    this.#change({ ...rest, state: 'waiting', order: this.#nextOrder() });
    this.#again.delete(clientId);
    this.#pump(entry.conversationId);
  }

  /**
   * Takes one back, so that its text can be gone on with. Of one that has left this device nobody here can say whether the
   * server has it: it is asked, and either has it or never takes it. Until then, over restarts too, it stays in its place.
   *
   * @returns It, once it is sure that it is not sent; undefined if it was
   */
  cancel(clientId: string): Promise<Pending | undefined> {
    const entry = this.#entries.get(clientId);
    if (!entry || this.#stored.has(clientId)) return Promise.resolve(undefined);
    const atServer = entry.tried !== false && entry.state !== 'failed' && (!entry.file || entry.file.state === 'stored');
    if (!atServer) return Promise.resolve(this.discard(clientId));
    if (entry.state !== 'leaving') this.#change({ ...entry, state: 'leaving' });
    const before = this.#leaving.get(clientId);
    return new Promise((resolve) => {
      this.#leaving.set(clientId, (taken) => {
        before?.(taken);
        resolve(taken);
      });
      void this.#withdraw(clientId);
    });
  }

  /** Gives one up that is not on its way. @returns It, so that its text can go back to the composer; undefined if it was stored meanwhile. */
  discard(clientId: string): Pending | undefined {
    const entry = this.#entries.get(clientId);
    if (!entry) return undefined;
    this.#dropUpload(entry);
    this.#forget(entry);
    this.#tell({ gone: clientId });
    return entry;
  }

  /** @internal */
  load(entries: Map<string, unknown>, bytes: Map<string, Blob>): void {
    const found = [...entries].filter(([key]) => key.startsWith('outbox/')).map(([, value]) => value as Pending);
    const tooOld = this.#clock.now() - askAfterMs;
    for (const entry of found.sort((a, b) => a.order - b.order)) {
      this.#lastOrder = Math.max(this.#lastOrder, entry.order);
      // Another tab has told of it meanwhile, or it was sent and this one was not told.
      if (this.#entries.has(entry.clientId)) continue;
      if (this.#isHeld(entry.conversationId, entry.clientId)) this.#journal.put(`outbox/${entry.clientId}`, undefined);
      else {
        for (const key of bytesKeys(entry.clientId)) {
          const kept = bytes.get(key);
          if (kept) this.#bytes.set(key, { bytes: kept, kept: Promise.resolve() });
        }
        if (entry.state === 'leaving') this.#orphans.add(entry.clientId);
        const movedAt = Math.max(entry.addedAt, entry.file?.sentAt ?? 0);
        this.#keep(entry.state === 'waiting' && movedAt < tooOld ? { ...entry, state: 'asking' } : entry);
      }
    }
    const wanted = new Set([...this.#entries.keys()].flatMap(bytesKeys));
    for (const key of bytes.keys()) if (!wanted.has(key)) void this.#journal.putBytes(key, undefined);
  }

  /** @internal */
  add(conversationId: string, body: { type: MessageType; text: string; file?: PendingFile }, bytes: Bytes = {}): Pending {
    const clientId = newClientId();
    this.#keepBytes(clientId, bytes);
    const entry: Pending = {
      clientId,
      conversationId,
      ...body,
      addedAt: this.#clock.now(),
      state: 'waiting',
      tried: this.#call !== undefined,
      afterSeq: this.#shownUpTo(conversationId),
      order: this.#nextOrder(),
    };
    this.#change(entry, bytes);
    // The page may be closed the next moment.
    void this.#journal.flush();
    this.#pump(conversationId);
    return entry;
  }

  /** @internal There is a connection: everything that waits goes out. */
  resume(call: Call): void {
    this.#call = call;
    for (const wake of [...this.#sleeping]) wake();
    this.#pumpAll();
    this.#uploads.connect(call);
  }

  /** @internal */
  pause(): void {
    this.#call = undefined;
    this.#uploads.disconnect();
  }

  /** @internal The server has it. It stays in its place until the stored message can be shown. @returns Whether that is news. */
  stored(clientId: string, message: Message): boolean {
    const entry = this.#entries.get(clientId);
    if (!entry || this.#stored.has(clientId)) return false;
    this.#stored.set(clientId, message);
    this.#left(clientId, undefined);
    this.#journal.put(`outbox/${clientId}`, undefined);
    this.show(message.conversationId, this.#shownUpTo(message.conversationId));
    return true;
  }

  /** @internal Messages up to here can be shown. */
  show(conversationId: string, seq: number): void {
    for (const [clientId, message] of this.#stored) {
      const entry = this.#entries.get(clientId);
      if (entry && message.conversationId === conversationId && message.seq <= seq) this.#forget(entry);
    }
  }

  /** @internal */
  clear(): void {
    for (const { clientId } of this.#entries.values()) this.#uploads.stop(clientId);
    for (const entry of this.#entries.values()) this.#forget(entry);
  }

  /** @internal Another tab has just opened, and this one leads. */
  tellAll(): void {
    for (const entry of this.#entries.values()) if (!this.#stored.has(entry.clientId)) this.#tell({ keep: entry, ...this.#bytesOf(entry.clientId) });
  }

  #onTold(word: Word): void {
    if ('keep' in word) {
      const { keep: entry } = word;
      this.#lastOrder = Math.max(this.#lastOrder, entry.order);
      if (this.#stored.has(entry.clientId) || this.#isHeld(entry.conversationId, entry.clientId)) return;
      // Its writer keeps it too, but may be closed before it is sent.
      if (word.bytes && !this.#bytes.has(entry.clientId)) this.#keepBytes(entry.clientId, word.bytes, this.#leads);
      this.#keep(entry, this.#leads);
      if (entry.file && !isUploading(entry)) this.#uploads.stop(entry.clientId);
      this.#pump(entry.conversationId);
    } else if ('stored' in word) {
      this.#onSent(word.stored);
      this.stored(word.clientId, word.stored);
    } else {
      const entry = this.#entries.get(word.gone);
      if (!entry) return;
      if (this.#leads) this.#dropUpload(entry);
      this.#forget(entry);
    }
  }

  #tell(word: Word): void {
    this.#peers?.tell('outbox', word);
  }

  get #leads(): boolean {
    return this.#peers?.leads ?? true;
  }

  #pumpAll(): void {
    for (const { clientId, conversationId, state } of this.#entries.values()) {
      if (state === 'leaving') void this.#withdraw(clientId);
      this.#pump(conversationId);
    }
  }

  #pump(conversationId: string): void {
    this.#uploads.pump();
    if (this.#busy.has(conversationId) || !this.#call || !this.#leads) return;
    this.#busy.add(conversationId);
    void this.#sendAll(conversationId).finally(() => {
      this.#busy.delete(conversationId);
      // A connection that came back while the old one's answer was awaited found the lane busy.
      if (this.#next(conversationId)) this.#pump(conversationId);
    });
  }

  /** One at a time: the next goes out when this one is stored, so nothing overtakes. */
  async #sendAll(conversationId: string): Promise<void> {
    let attempt = 0;
    for (let entry = this.#next(conversationId); entry; entry = this.#next(conversationId)) {
      // On disk before it leaves, that it left as well.
      if (entry.tried === false) this.#change((entry = { ...entry, tried: true }));
      await this.#journal.flush();
      const call = this.#call;
      if (!call || !this.#leads) return;
      if (this.#entries.get(entry.clientId) !== entry) continue;
      const { clientId, text, file } = entry;
      // What was called a picture is none that the server shows.
      const type = entry.type === 'image' && !file?.ref?.type.startsWith('image/') ? 'file' : entry.type;
      try {
        const { message } = await this.#unlessHurried(entry, call('message.send', { conversationId, clientId, type, text, ...(file?.ref && { fileId: file.ref.id }) }));
        this.#confirm(clientId, message);
        attempt = 0;
      } catch (error) {
        if (error === hurried) continue;
        const refused = error instanceof RequestError ? error : undefined;
        if (refused && !refused.retryable && refused.code !== 'unauthenticated') {
          const found = this.#entries.get(clientId);
          const current = found?.state === 'waiting' ? found : undefined;
          if (current && file && this.#bytes.has(clientId) && (refused.code === 'not_found' || refused.code === 'incomplete') && !this.#again.has(clientId))
            this.#uploadAgain(clientId);
          // A picture that cannot be shown in place still arrives.
          else if (current && type === 'image' && (refused.code === 'unsupported' || refused.code === 'bad_request')) this.#change({ ...current, type: 'file' });
          else if (current) this.#fail(current, refused.toBody());
          attempt = 0;
          continue;
        }
        // The session ended: the message waits for the next one.
        if (refused?.code === 'unauthenticated' && this.#call === call) this.#call = undefined;
        if (this.#call !== call) return;
        // A limit on rate says itself when to come back; trouble gets longer and longer pauses.
        await this.#pauseFor(refused ? retryAfter(refused, attempt, this.#random) : fullJitter(attempt, this.#random));
        attempt += 1;
      }
    }
  }

  /** The answer, or `hurried` when somebody does not want to wait for it any longer. Coming after all, it counts. */
  #unlessHurried({ clientId, conversationId }: Pending, answer: Promise<{ message: Message }>): Promise<{ message: Message }> {
    return new Promise<{ message: Message }>((resolve, reject) => {
      answer.then(resolve, reject);
      this.#hurry.set(conversationId, () => {
        answer.then(
          ({ message }) => this.#confirm(clientId, message),
          () => {},
        );
        reject(hurried);
      });
    }).finally(() => this.#hurry.delete(conversationId));
  }

  #confirm(clientId: string, message: Message): void {
    this.#onSent(message);
    this.stored(clientId, message);
    this.#tell({ stored: message, clientId });
  }

  /** Asks the server about one that was taken back: here, or in an earlier life of this device. */
  async #withdraw(clientId: string): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const entry = this.#entries.get(clientId);
      const call = this.#call;
      const isOurs = this.#leaving.has(clientId) || (this.#orphans.has(clientId) && this.#leads);
      if (!entry || entry.state !== 'leaving' || !call || !isOurs || this.#stored.has(clientId) || this.#withdrawing.has(clientId)) return;
      this.#withdrawing.add(clientId);
      await this.#journal.flush();
      try {
        const { message } = await call('message.withdraw', { conversationId: entry.conversationId, clientId });
        this.#withdrawing.delete(clientId);
        return message ? this.#confirm(clientId, message) : this.#gone(clientId);
      } catch (error) {
        this.#withdrawing.delete(clientId);
        const refused = error instanceof RequestError ? error : undefined;
        // Not in the conversation any more: nothing is taken from this person there.
        if (refused?.code === 'not_a_member') return this.#gone(clientId);
        if (refused && !refused.retryable && refused.code !== 'unauthenticated') return this.#stay(clientId);
        if (this.#call !== call) continue;
        await this.#pauseFor(refused ? retryAfter(refused, attempt, this.#random) : fullJitter(attempt, this.#random));
      }
    }
  }

  /** It is sure that the server never takes it. */
  #gone(clientId: string): void {
    const entry = this.#entries.get(clientId);
    if (!entry || this.#stored.has(clientId)) return;
    const { bytes } = this.#bytesOf(clientId);
    const tell = this.#leaving.get(clientId);
    this.#leaving.delete(clientId);
    this.discard(clientId);
    if (tell) return tell(entry);
    // Who took it back is not there any more. Its text is not lost with them: it asks what is to become of it.
    const anew = { ...entry, clientId: newClientId(), state: 'asking' as const, tried: false };
    if (bytes) this.#keepBytes(anew.clientId, bytes);
    this.#change(anew, bytes);
  }

  /** A server that cannot take anything back: it goes on as before. */
  #stay(clientId: string): void {
    const entry = this.#entries.get(clientId);
    if (entry) this.#change({ ...entry, state: 'waiting' });
    this.#left(clientId, undefined);
    if (entry) this.#pump(entry.conversationId);
  }

  #left(clientId: string, taken: Pending | undefined): void {
    this.#leaving.get(clientId)?.(taken);
    this.#leaving.delete(clientId);
  }

  /** A new connection ends the pause. */
  #pauseFor(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#clock.clearTimeout(timer);
        this.#sleeping.delete(wake);
        resolve();
      };
      const timer = this.#clock.setTimeout(wake, ms);
      this.#sleeping.add(wake);
    });
  }

  /** Two tabs that write one outbox rarely share a millisecond; one tab never repeats a number. */
  #nextOrder(): number {
    this.#lastOrder = Math.max(this.#lastOrder + 1, this.#clock.now());
    return this.#lastOrder;
  }

  /** Files keep their order among themselves; one that is not at the server yet holds up nothing else. */
  #next(conversationId: string): Pending | undefined {
    let fileAhead = false;
    for (const entry of this.pending(conversationId)) {
      if (entry.state !== 'waiting' || this.#stored.has(entry.clientId)) continue;
      if (!entry.file || (entry.file.state === 'stored' && !fileAhead)) return entry;
      fileAhead ||= entry.file.state !== 'paused';
    }
    return undefined;
  }

  #withFile(clientId: string): PendingWithFile | undefined {
    const entry = this.#entries.get(clientId);
    return entry?.file && (entry as PendingWithFile);
  }

  #changeFile(clientId: string, part: Partial<PendingFile>): void {
    const entry = this.#withFile(clientId);
    if (!entry) return;
    this.#change({ ...entry, file: { ...entry.file, ...part } });
    if (part.state === 'stored' || part.state === 'paused') this.#pump(entry.conversationId);
  }

  /** The server kept it for a day, and the message did not come. */
  #uploadAgain(clientId: string): void {
    this.#again.add(clientId);
    this.#changeFile(clientId, { state: 'waiting', sent: 0, place: undefined, posterId: undefined, ref: undefined });
    this.#uploads.pump();
  }

  #dropUpload(entry: Pending): void {
    if (entry.file && !this.#stored.has(entry.clientId)) this.#uploads.drop(entry as PendingWithFile);
  }

  #keepBytes(clientId: string, all: Bytes, write = true): void {
    for (const name of ['file', 'poster'] as const) {
      const [key, bytes] = [bytesKey(clientId, name), all[name]];
      if (bytes) this.#bytes.set(key, { bytes, kept: write ? this.#journal.putBytes(key, bytes) : Promise.resolve() });
    }
  }

  #bytesOf(clientId: string): { bytes?: Bytes } {
    const file = this.bytes(clientId);
    return file ? { bytes: { file, poster: this.bytes(clientId, 'poster') } } : {};
  }

  #fail(entry: Pending, error: ErrorBody): void {
    this.#change({ ...entry, state: 'failed', error });
  }

  #change(entry: Pending, bytes?: Bytes): void {
    this.#keep(entry);
    this.#tell({ keep: entry, ...(bytes?.file && { bytes }) });
  }

  #keep(entry: Pending, write = true): void {
    this.#entries.set(entry.clientId, entry);
    if (write) this.#journal.put(`outbox/${entry.clientId}`, entry);
    this.#store.touch('outbox', entry.conversationId);
  }

  #forget(entry: Pending): void {
    this.#entries.delete(entry.clientId);
    this.#stored.delete(entry.clientId);
    this.#again.delete(entry.clientId);
    this.#orphans.delete(entry.clientId);
    this.#left(entry.clientId, undefined);
    for (const key of entry.file ? bytesKeys(entry.clientId) : []) {
      if (this.#bytes.delete(key)) void this.#journal.putBytes(key, undefined);
    }
    this.#journal.put(`outbox/${entry.clientId}`, undefined);
    this.#store.touch('outbox', entry.conversationId);
  }
}

const isUploading = (entry: Pending): entry is PendingWithFile => entry.state === 'waiting' && (entry.file?.state === 'waiting' || entry.file?.state === 'sending');

/** Why a wait for an answer ended that did not come. */
const hurried = new Error('hurried');
