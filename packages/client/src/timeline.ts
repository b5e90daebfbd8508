import { type ErrorBody, type Message, RequestError } from '@kith/protocol';
import { Listeners } from './listeners.ts';
import type { Outbox, Pending } from './outbox.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

export type TimelineItem = Message | Pending;

export const isPending = (item: TimelineItem): item is Pending => !('kind' in item);

/** Stays the same when a pending message becomes a stored one. */
export const itemKey = (item: TimelineItem, me: string | undefined): string => (isPending(item) || (item.senderId === me && item.clientId) ? item.clientId! : item.id);

/** Messages in one page. */
const page = 50;

/**
 * A window on a conversation: a contiguous interval of its messages, so a hole is never shown. It follows the newest
 * message unless `hasAfter`. Close it when nobody looks any more.
 */
export class Timeline {
  readonly conversationId: string;
  readonly #replica: Replica;
  readonly #outbox: Outbox;
  readonly #call: Call;
  readonly #onClose: () => void;
  readonly #listeners = new Listeners<[]>();
  #from = 1;
  #to = 0;
  /** The interval ends with the newest message, and grows with it. */
  #attached = true;
  #generation = 0;
  #items: TimelineItem[] | undefined;
  #told = true;
  #error: ErrorBody | 'no_connection' | undefined;
  #loading: { what: 'before' | 'after' | 'around'; done: Promise<void> } | undefined;

  constructor(options: { conversationId: string; replica: Replica; outbox: Outbox; call: Call; onClose(): void }) {
    this.conversationId = options.conversationId;
    this.#replica = options.replica;
    this.#outbox = options.outbox;
    this.#call = options.call;
    this.#onClose = options.onClose;
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

  /** Adds a page of older messages. Resolves when it is there, or `error` says why not. */
  loadBefore(): Promise<void> {
    if (!this.hasBefore) return Promise.resolve();
    const from = this.#from;
    this.#widen();
    if (this.#from < from) {
      this.invalidate();
      return Promise.resolve();
    }
    return this.#load('before', async () => {
      await this.#history({ before: from });
      this.#widen();
    });
  }

  /** Adds a page of newer messages, in a window that does not end with the newest. */
  loadAfter(): Promise<void> {
    if (this.#attached) return Promise.resolve();
    const to = this.#to;
    return this.#load('after', async () => {
      if (!this.#replica.store.message(this.conversationId, to + 1)) await this.#history({ after: to });
      for (let n = 0; n < page && this.#replica.store.message(this.conversationId, this.#to + 1); n++) this.#to += 1;
    });
  }

  /** Moves the window so that this message and its neighbours are in it. */
  loadAround(seq: number): Promise<void> {
    if (seq >= this.#from && seq <= this.#to) return Promise.resolve();
    return this.#load('around', async () => {
      if (!this.#replica.store.message(this.conversationId, seq)) await this.#history({ around: seq });
      if (!this.#replica.store.message(this.conversationId, seq)) return;
      this.#from = this.#to = seq;
      this.#attached = false;
      this.#widen(page / 2);
      for (let n = 0; n < page / 2 && this.#replica.store.message(this.conversationId, this.#to + 1); n++) this.#to += 1;
    });
  }

  /** Goes to the newest messages, which are always here. */
  loadLatest(): Promise<void> {
    this.#reset();
    this.invalidate();
    return Promise.resolve();
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
    this.#generation = generation;
    this.#from = from;
    this.#to = to;
  }

  /** Brings the window in line with what is held now. */
  #settle(): void {
    const held = this.#replica.conversation(this.conversationId);
    if ((held?.generation ?? 0) !== this.#generation || (this.#to < this.#from && this.#attached)) return this.#reset();
    if (!held) return;
    // Two intervals that touch are one.
    if (!this.#attached && this.#to + 1 >= held.lo) this.#attached = true;
    if (this.#attached && this.#to !== held.hi) {
      this.#to = held.hi;
      this.#items = undefined;
    }
  }

  #widen(count = page): void {
    for (let n = 0; n < count && this.#replica.store.message(this.conversationId, this.#from - 1); n++) this.#from -= 1;
  }

  #build(): TimelineItem[] {
    const items: TimelineItem[] = [];
    const pending = this.#outbox.pending(this.conversationId);
    const placed = pending.filter((entry) => entry.state !== 'waiting').sort((a, b) => a.afterSeq - b.afterSeq || a.order - b.order);
    let next = placed.findIndex((entry) => entry.afterSeq >= this.#from - 1);
    if (next < 0) next = placed.length;
    // At the very beginning there is nothing they could come after.
    if (!this.hasBefore) next = 0;
    for (let seq = this.#from; seq <= this.#to; seq++) {
      while (next < placed.length && placed[next]!.afterSeq < seq) items.push(placed[next++]!);
      const message = this.#replica.store.message(this.conversationId, seq);
      if (message && !this.#replica.store.get('hidden', message.id)) items.push(message);
    }
    if (this.#attached) items.push(...placed.slice(next), ...pending.filter((entry) => entry.state === 'waiting'));
    return items;
  }

  async #history(where: { before: number } | { after: number } | { around: number }): Promise<void> {
    const { conversationId } = this;
    const generation = this.#generation;
    const reply = await this.#call('message.history', { conversationId, ...where, limit: page });
    // A snapshot came in between: this page may be older than it.
    if (this.#replica.conversation(conversationId)?.generation !== generation) return;
    this.#replica.history(conversationId, reply.messages);
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
      }
    })();
    this.invalidate();
    return loading.done;
  }
}
