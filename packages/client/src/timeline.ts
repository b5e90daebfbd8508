import { type ErrorBody, type Message, RequestError } from '@kith/protocol';
import { Listeners } from './listeners.ts';
import type { Outbox, Pending } from './outbox.ts';
import type { Held, Replica } from './replica.ts';
import type { Call } from './sync.ts';

export type TimelineItem = Message | Pending;

export const isPending = (item: TimelineItem): item is Pending => !('kind' in item);

/** Stays the same when a pending message becomes a stored one. */
export const itemKey = (item: TimelineItem, me: string | undefined): string => (isPending(item) || (item.senderId === me && item.clientId) ? item.clientId! : item.id);

/** Messages in one page. */
const page = 50;
/** Messages that a window has at most. */
export const windowMessages = 300;

/**
 * A window on a conversation: a contiguous interval of its messages, so a hole is never shown. It follows the newest
 * message unless `hasAfter`, and has a bound: what is farthest from what is being read goes. Close it when nobody looks
 * any more.
 */
export class Timeline {
  readonly conversationId: string;
  readonly #replica: Replica;
  readonly #outbox: Outbox;
  readonly #call: Call;
  readonly #onClose: () => void;
  readonly #onLoaded: () => void;
  readonly #listeners = new Listeners<[]>();
  #from = 1;
  #to = 0;
  /** The interval ends with the newest message, and grows with it. */
  #attached = true;
  #generation = 0;
  #items: TimelineItem[] | undefined;
  #reading: number | undefined;
  /** The stored messages among `#items`, and those hidden: what a snapshot takes away is shown from here until it is back. */
  #shown = new Map<number, Message>();
  /** A snapshot came, and parts of the window have to be asked for again. */
  #stale = false;
  /** It ended with the newest message when the snapshot came. */
  #rejoins = false;
  #refreshing = false;
  /** Requests under way. */
  #asking = 0;
  /** Counts what moves the window elsewhere: of two that overlap, the later one wins. */
  #moves = 0;
  #told = true;
  #error: ErrorBody | 'no_connection' | undefined;
  #loading: { what: 'before' | 'after' | 'around'; done: Promise<void> } | undefined;

  constructor(options: { conversationId: string; replica: Replica; outbox: Outbox; call: Call; onLoaded(): void; onClose(): void }) {
    this.conversationId = options.conversationId;
    this.#replica = options.replica;
    this.#outbox = options.outbox;
    this.#call = options.call;
    this.#onClose = options.onClose;
    this.#onLoaded = options.onLoaded;
    this.#settle();
  }

  /** Ascending, without those hidden by this person. Messages that wait to be sent come last; failed ones stay where they were written. Same array until something changes. */
  get messages(): TimelineItem[] {
    this.#settle();
    return (this.#items ??= this.#build());
  }

  get hasBefore(): boolean {
    this.#settle();
    const held = this.#replica.conversation(this.conversationId);
    return held !== undefined && this.#from > 1 && this.#to >= this.#from;
  }

  get hasAfter(): boolean {
    return !this.#attached;
  }

  /** Something is under way; also while the conversation has never been synced on this device. */
  get loading(): boolean {
    return this.#loading !== undefined || !this.#replica.conversation(this.conversationId);
  }

  /** Why the last loading failed; gone with the next one that works. */
  get error(): ErrorBody | 'no_connection' | undefined {
    return this.#error;
  }

  /**
   * The seq of the message that is being read: the window shrinks away from it, and a snapshot leaves it where it is.
   * Undefined: the newest, whatever it is.
   */
  set reading(seq: number | undefined) {
    this.#reading = seq;
  }

  /** @internal The seqs from the first to the last message. */
  get window(): { from: number; to: number } {
    return { from: this.#from, to: this.#to };
  }

  /** @internal A reply is on its way. */
  get isAsking(): boolean {
    return this.#asking > 0;
  }

  /** Adds a page of older messages. Resolves when it is there, or `error` says why not. */
  loadBefore(): Promise<void> {
    if (!this.hasBefore) return Promise.resolve();
    const from = this.#from;
    this.#widen();
    if (this.#from < from) {
      this.#bound(this.#reading ?? this.#from);
      this.invalidate();
      return Promise.resolve();
    }
    return this.#load('before', async () => {
      await this.#history({ before: from });
      this.#widen();
      this.#bound(this.#reading ?? this.#from);
    });
  }

  /** Adds a page of newer messages, in a window that does not end with the newest. */
  loadAfter(): Promise<void> {
    if (this.#attached) return Promise.resolve();
    const to = this.#to;
    this.#extend();
    if (this.#to > to) {
      this.#bound(this.#reading ?? this.#to);
      this.invalidate();
      return Promise.resolve();
    }
    return this.#load('after', async () => {
      await this.#history({ after: to });
      this.#extend();
      this.#bound(this.#reading ?? this.#to);
    });
  }

  /** Moves the window so that this message and its neighbours are in it. */
  loadAround(seq: number): Promise<void> {
    const move = ++this.#moves;
    if (seq >= this.#from && seq <= this.#to) return Promise.resolve();
    if (this.#isHeldAround(seq)) {
      this.#moveTo(seq);
      this.invalidate();
      return Promise.resolve();
    }
    return this.#load('around', async () => {
      await this.#history({ around: seq });
      if (move === this.#moves && this.#replica.store.message(this.conversationId, seq)) this.#moveTo(seq);
    });
  }

  /**
   * Moves the window to the first message from this time on, in milliseconds; to the newest where all are older.
   *
   * @returns The seq of that message; undefined if there is none, or `error` says why it could not be had.
   */
  async loadAt(at: number): Promise<number | undefined> {
    const move = ++this.#moves;
    let seq: number | undefined;
    await this.#load('around', async () => {
      const messages = await this.#history({ at });
      seq = (messages.find((message) => message.at >= at) ?? messages.at(-1))?.seq;
      if (seq === undefined || move !== this.#moves || (seq >= this.#from && seq <= this.#to)) return;
      if (this.#replica.store.message(this.conversationId, seq)) this.#moveTo(seq);
    });
    return seq;
  }

  /** Goes to the newest messages, which are always here. */
  loadLatest(): Promise<void> {
    this.#moves += 1;
    this.#reading = undefined;
    this.#reset();
    this.invalidate();
    return Promise.resolve();
  }

  /** @internal There is a connection again, and the replica is in step. */
  resume(): void {
    this.#settle();
    void this.#refresh();
  }

  /** Calls `fn` when anything above changed. */
  onChange(fn: () => void): () => void {
    return this.#listeners.add(fn);
  }

  close(): void {
    this.#onClose();
  }

  /** @internal Something in this conversation changed. */
  invalidate(): void {
    this.#items = undefined;
    if (!this.#told) return;
    this.#told = false;
    queueMicrotask(() => {
      this.#told = true;
      this.#listeners.emit();
    });
  }

  #reset(): void {
    const held = this.#replica.conversation(this.conversationId);
    const [from, to] = held ? [Math.max(held.lo, held.hi - page + 1), held.hi] : [1, 0];
    const generation = held?.generation ?? 0;
    if (!this.#attached || this.#generation !== generation || this.#from !== from || this.#to !== to) this.#items = undefined;
    this.#attached = true;
    this.#stale = this.#rejoins = false;
    this.#generation = generation;
    this.#from = from;
    this.#to = to;
  }

  /** Brings the window in line with what is held now. */
  #settle(): void {
    const held = this.#replica.conversation(this.conversationId);
    if ((held?.generation ?? 0) !== this.#generation) return this.#takeSnapshot(held);
    if (this.#to < this.#from && this.#attached) return this.#reset();
    if (!held) return;
    if (!this.#attached && this.#to >= held.hi) this.#attached = true;
    if (this.#attached && this.#to !== held.hi) {
      this.#to = held.hi;
      this.#items = undefined;
      this.#bound(this.#reading ?? this.#to);
    }
  }

  /**
   * All that was held of the conversation was replaced by its newest messages. Who reads older ones goes on reading: what
   * was shown stays until the server has said again what it is now.
   */
  #takeSnapshot(held: Held | undefined): void {
    const reading = this.#reading ?? (this.#attached ? undefined : this.#from);
    const isShown = (seq: number): boolean => this.#shown.has(seq) || this.#replica.store.message(this.conversationId, seq) !== undefined;
    if (!held || reading === undefined || reading > held.hi || !isShown(reading)) return this.#reset();
    this.#items = undefined;
    this.#generation = held.generation;
    const [from, end] = [this.#from, Math.min(this.#to, held.hi)];
    for (this.#from = reading; this.#from > from && isShown(this.#from - 1);) this.#from -= 1;
    for (this.#to = reading; this.#to < end && isShown(this.#to + 1);) this.#to += 1;
    this.#stale = true;
    if (this.#attached && this.#to + 1 < held.lo) {
      this.#attached = false;
      this.#rejoins = true;
    }
    void this.#refresh();
  }

  /** Asks for what a snapshot took away. What fails is tried again with the next connection. */
  async #refresh(): Promise<void> {
    if (this.#refreshing || !this.#stale) return;
    this.#refreshing = true;
    try {
      for (;;) {
        this.#settle();
        const next = this.#missing();
        if (next === undefined) break;
        const { generation } = this.#replica.conversation(this.conversationId)!;
        await this.#history({ after: next - 1 });
        const held = this.#replica.conversation(this.conversationId);
        if (held?.generation !== generation) continue;
        // Never was: the server is older than what was read.
        if (!this.#replica.store.message(this.conversationId, next)) this.#reset();
        if (this.#rejoins && next > this.#to) this.#extend();
      }
      this.#stale = this.#rejoins = false;
      this.#onLoaded();
    } catch (error) {
      if (!(error instanceof RequestError) || error.retryable) return;
      this.#reset();
    } finally {
      this.#refreshing = false;
      this.invalidate();
    }
  }

  /** The lowest seq that the window shows, or has to show to end with the newest again, and that is not held. */
  #missing(): number | undefined {
    if (!this.#stale) return undefined;
    const held = this.#replica.conversation(this.conversationId);
    if (!held) return undefined;
    for (let seq = this.#from; seq <= this.#to; seq++) if (!this.#replica.store.message(this.conversationId, seq)) return seq;
    // Across a wide gap nobody reads on by themselves: it is one way down, by pages.
    return this.#rejoins && !this.#attached && held.hi - this.#from < windowMessages ? this.#to + 1 : undefined;
  }

  /** Lets go of what is farthest from `at`, when there is too much; not of a single message each time. */
  #bound(at: number): void {
    if (this.#to - this.#from < windowMessages) return;
    const keep = windowMessages - page;
    this.#items = undefined;
    if (at - this.#from < this.#to - at) {
      this.#to = this.#from + keep - 1;
      this.#attached = false;
    } else this.#from = this.#to - keep + 1;
  }

  /** A page towards the newest, as far as it is held. */
  #extend(): void {
    const { store } = this.#replica;
    for (let n = 0; n < page && store.message(this.conversationId, this.#to + 1); n++) this.#to += 1;
    this.#join();
  }

  /** What is left to the newest is less than a page, and held. */
  #join(): void {
    const held = this.#replica.conversation(this.conversationId);
    if (!held || this.#to + 1 < held.lo || held.hi - this.#to > page) return;
    this.#to = held.hi;
    this.#attached = true;
  }

  #moveTo(seq: number): void {
    this.#from = this.#to = seq;
    this.#attached = false;
    this.#stale = this.#rejoins = false;
    this.#reading = seq;
    this.#widen(page / 2);
    for (let n = 1; n < page / 2 && this.#replica.store.message(this.conversationId, this.#to + 1); n++) this.#to += 1;
    this.#join();
  }

  /** A push may have brought a message without its neighbours. */
  #isHeldAround(seq: number): boolean {
    const held = this.#replica.conversation(this.conversationId);
    if (!held) return false;
    const [from, to] = [Math.max(1, seq - page / 2), Math.min(held.hi, seq + page / 2)];
    for (let n = from; n <= to; n++) if (!this.#replica.store.message(this.conversationId, n)) return false;
    return from <= seq && seq <= to;
  }

  #widen(count = page): void {
    for (let n = 0; n < count && this.#replica.store.message(this.conversationId, this.#from - 1); n++) this.#from -= 1;
  }

  #build(): TimelineItem[] {
    const items: TimelineItem[] = [];
    const shown = new Map<number, Message>();
    const pending = this.#outbox.pending(this.conversationId);
    const placed = pending.filter((entry) => !isLast(entry)).sort((a, b) => a.afterSeq - b.afterSeq || a.order - b.order);
    let next = placed.findIndex((entry) => entry.afterSeq >= this.#from - 1);
    if (next < 0) next = placed.length;
    // At the very beginning there is nothing they could come after.
    if (!this.hasBefore) next = 0;
    for (let seq = this.#from; seq <= this.#to; seq++) {
      while (next < placed.length && placed[next]!.afterSeq < seq) items.push(placed[next++]!);
      const message = this.#replica.store.message(this.conversationId, seq) ?? (this.#stale ? this.#shown.get(seq) : undefined);
      if (message) shown.set(seq, message);
      if (message && !this.#replica.store.get('hidden', message.id)) items.push(message);
    }
    this.#shown = shown;
    if (this.#attached || this.#rejoins) items.push(...placed.slice(next), ...pending.filter(isLast));
    return items;
  }

  async #history(where: { before: number } | { after: number } | { around: number } | { at: number }): Promise<readonly Message[]> {
    const { conversationId } = this;
    const generation = this.#replica.conversation(conversationId)?.generation;
    this.#asking += 1;
    try {
      const { messages } = await this.#call('message.history', { conversationId, ...where, limit: page });
      // A snapshot came in between: this page may be older than it.
      if (this.#replica.conversation(conversationId)?.generation !== generation) return [];
      this.#replica.history(conversationId, messages);
      return messages;
    } finally {
      this.#asking -= 1;
    }
  }

  #load(what: 'before' | 'after' | 'around', work: () => Promise<void>): Promise<void> {
    if (this.#loading?.what === what && what !== 'around') return this.#loading.done;
    const loading = { what, done: Promise.resolve() };
    this.#loading = loading;
    loading.done = (async () => {
      try {
        await work();
        this.#error = undefined;
      } catch (error) {
        this.#error = error instanceof RequestError ? error.toBody() : 'no_connection';
      } finally {
        if (this.#loading === loading) this.#loading = undefined;
        this.invalidate();
        this.#onLoaded();
      }
    })();
    this.invalidate();
    return loading.done;
  }
}

/** It would be the newest, were it stored now; others have their place where they were written. */
const isLast = ({ state }: Pending): boolean => state === 'waiting' || state === 'leaving';
