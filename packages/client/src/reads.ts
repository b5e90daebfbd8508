import { type Inbox, RequestError, limits } from '@kith/protocol';
import type { Clock } from './clock.ts';
import type { Journal } from './journal.ts';
import { Lane } from './lane.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

/** What is shown as read, and is not told to the server before it is kept. After one of the two the other does nothing. */
export interface HeldReads {
  /** Conversations in which something was unread. */
  count: number;
  keep(): void;
  /** All is as unread as it was. */
  undo(): void;
}

/** A decision about marking as unread, by what was known of the conversation then. */
interface Marked {
  on: boolean;
  base: number;
}

/**
 * What this person has read and this device received: told to the server at most once a second per conversation, and
 * again after every disconnect until the server knows.
 */
export class Reads {
  readonly #replica: Replica;
  readonly #journal: Journal;
  readonly #read: Lane;
  readonly #delivered: Lane;
  /** Marks the server has not confirmed. */
  readonly #wanted = new Map<string, number>();
  readonly #marked = new Map<string, Marked>();
  /** Up to where conversations are shown as read for now. */
  #held: Map<string, number> | undefined;
  /** Receipts the server confirmed to this device; the push that says so may be lost on its way. */
  readonly #told = new Map<string, number>();
  #call: Call | undefined;

  constructor(options: { replica: Replica; journal: Journal; clock: Clock; random: () => number }) {
    this.#replica = options.replica;
    this.#journal = options.journal;
    this.#read = new Lane(options.clock, options.random, (id) => this.#sendRead(id));
    this.#delivered = new Lane(options.clock, options.random, (id) => this.#sendDelivered(id));
  }

  load(entries: Map<string, unknown>): void {
    for (const [key, value] of entries) {
      if (key.startsWith('read/')) this.#wanted.set(key.slice('read/'.length), value as number);
      else if (key.startsWith('unread/')) this.#marked.set(key.slice('unread/'.length), value as Marked);
    }
  }

  /** Read up to here, as this device shows it. */
  readSeq(conversationId: string): number {
    return Math.max(this.#readTo(conversationId), this.#held?.get(conversationId) ?? 0);
  }

  /** Has this person marked it as unread? */
  isMarked(conversationId: string): boolean {
    return this.#held?.has(conversationId) !== true && this.#isMarked(conversationId);
  }

  /** Messages of others above the read mark. Of those this device does not hold, all count. */
  unread(conversationId: string): number {
    const held = this.#replica.conversation(conversationId);
    if (!held) return 0;
    const me = this.#replica.userId;
    let count = 0;
    const from = this.readSeq(conversationId) + 1;
    if (from < held.lo) count += held.lo - from;
    for (let seq = Math.max(from, held.lo); seq <= held.hi; seq++) if (this.#replica.store.message(conversationId, seq)?.senderId !== me) count += 1;
    return count;
  }

  mark(conversationId: string, seq: number): void {
    if (seq <= this.#readTo(conversationId)) return;
    this.#keepWanted(conversationId, seq);
    this.#read.add(conversationId);
    // At the server, reading on takes it back by itself.
    this.#decide(conversationId, false);
  }

  /** Marks a conversation as unread, or takes that back. */
  setMarked(conversationId: string, on: boolean): void {
    // A word about this one is the last one about it.
    const heldTo = this.#held?.get(conversationId);
    if (this.#held?.delete(conversationId)) this.mark(conversationId, heldTo!);
    this.#decide(conversationId, on);
  }

  /** Shows everything as read. A mark never goes back, so none goes out before it is sure that this is meant. */
  holdAll(): HeldReads {
    this.#release(this.#held, true);
    const held = new Map<string, number>();
    for (const { conversationId: id, joined } of this.#replica.store.list('inbox')) {
      if (joined && (this.unread(id) > 0 || this.isMarked(id))) held.set(id, this.#replica.conversation(id)?.hi ?? 0);
    }
    this.#held = held;
    for (const id of held.keys()) this.#replica.store.touch('read', id);
    return { count: held.size, keep: () => this.#release(held, true), undo: () => this.#release(held, false) };
  }

  /** An own message was stored: if all before it was read, so is it. */
  onOwnMessage(conversationId: string): void {
    const me = this.#replica.userId;
    let seq = this.readSeq(conversationId);
    while (this.#replica.store.message(conversationId, seq + 1)?.senderId === me) seq += 1;
    this.mark(conversationId, seq);
  }

  onInbox({ conversationId, readSeq, markedUnread, joined }: Inbox): void {
    if (!joined) return this.forget(conversationId);
    if (readSeq >= (this.#wanted.get(conversationId) ?? Infinity)) this.#keepWanted(conversationId, undefined);
    if (markedUnread === this.#marked.get(conversationId)?.on) this.#keepMarked(conversationId, undefined);
  }

  /** There may be messages in this conversation that nobody has been told this person received. */
  onMessages(conversationId: string): void {
    if (this.#undelivered(conversationId) !== undefined) this.#delivered.add(conversationId);
  }

  forget(conversationId: string): void {
    this.#held?.delete(conversationId);
    this.#keepWanted(conversationId, undefined);
    this.#keepMarked(conversationId, undefined);
  }

  resume(call: Call): void {
    this.#call = call;
    for (const id of [...this.#wanted.keys(), ...this.#marked.keys()]) this.#read.add(id);
    this.#read.resume();
  }

  /** Receipts wait for the first sync: before it, this device does not know what it has told already. */
  resumeReceipts(): void {
    for (const stream of this.#replica.streams) if (stream.startsWith('conversation:')) this.onMessages(stream.slice('conversation:'.length));
    this.#delivered.resume();
  }

  pause(): void {
    this.#call = undefined;
    this.#read.pause();
    this.#delivered.pause();
  }

  clear(): void {
    this.pause();
    this.#held = undefined;
    for (const id of [...this.#wanted.keys(), ...this.#marked.keys()]) this.forget(id);
  }

  /** What the server confirmed, or what it will. */
  #readTo(conversationId: string): number {
    return Math.max(this.#replica.store.get('inbox', conversationId)?.readSeq ?? 0, this.#wanted.get(conversationId) ?? 0);
  }

  #isMarked(conversationId: string): boolean {
    return this.#marked.get(conversationId)?.on ?? this.#replica.store.get('inbox', conversationId)?.markedUnread ?? false;
  }

  #release(held: Map<string, number> | undefined, keep: boolean): void {
    if (!held || this.#held !== held) return;
    this.#held = undefined;
    for (const [id, seq] of held) {
      this.#replica.store.touch('read', id);
      if (!keep) continue;
      this.mark(id, seq);
      this.#decide(id, false);
    }
  }

  #decide(conversationId: string, on: boolean): void {
    if (this.#isMarked(conversationId) === on) return;
    this.#keepMarked(conversationId, { on, base: this.#replica.store.get('inbox', conversationId)?.version ?? 0 });
    this.#read.add(conversationId);
  }

  #keepWanted(conversationId: string, seq: number | undefined): void {
    if (seq === undefined && !this.#wanted.delete(conversationId)) return;
    if (seq !== undefined) this.#wanted.set(conversationId, seq);
    this.#journal.put(`read/${conversationId}`, seq);
    this.#replica.store.touch('read', conversationId);
  }

  #keepMarked(conversationId: string, marked: Marked | undefined): void {
    if (!marked && !this.#marked.delete(conversationId)) return;
    if (marked) this.#marked.set(conversationId, marked);
    this.#journal.put(`unread/${conversationId}`, marked);
    this.#replica.store.touch('read', conversationId);
  }

  async #sendRead(conversationId: string): Promise<void> {
    await this.#sendMark(conversationId);
    await this.#sendMarked(conversationId);
  }

  async #sendMark(conversationId: string): Promise<void> {
    const seq = this.#wanted.get(conversationId);
    if (seq === undefined || !this.#call) return;
    try {
      const { inbox } = await this.#call('read.mark', { conversationId, seq });
      this.#replica.merge([inbox]);
      const marked = this.#marked.get(conversationId);
      // It was marked after it was read: what the server made of that is known to who marked it.
      if (marked?.on) this.#keepMarked(conversationId, { on: true, base: inbox.version });
    } catch (error) {
      if (isPassing(error)) throw error;
    }
    // Beyond the end means the end: the mark is where it should be although it is lower.
    if (this.#wanted.get(conversationId) === seq) this.#keepWanted(conversationId, undefined);
  }

  async #sendMarked(conversationId: string): Promise<void> {
    const marked = this.#marked.get(conversationId);
    if (!marked || !this.#call) return;
    try {
      const { inbox } = await this.#call('read.unread', { conversationId, ...marked });
      this.#replica.merge([inbox]);
    } catch (error) {
      if (isPassing(error)) throw error;
    }
    // Read further or decided anew elsewhere: what the server says now is the newest.
    if (this.#marked.get(conversationId) === marked) this.#keepMarked(conversationId, undefined);
  }

  async #sendDelivered(conversationId: string): Promise<void> {
    const seq = this.#undelivered(conversationId);
    if (seq === undefined || !this.#call) return;
    try {
      await this.#call('receipt.delivered', { conversationId, seq });
      this.#told.set(conversationId, seq);
    } catch (error) {
      if (!(error instanceof RequestError) || error.retryable) throw error;
    }
  }

  /** The newest message, if it or one before it came from somebody else and is not known to be delivered to this person. */
  #undelivered(conversationId: string): number | undefined {
    const held = this.#replica.conversation(conversationId);
    const conversation = this.#replica.store.get('conversation', conversationId);
    const me = this.#replica.userId;
    if (!held || !conversation || !me || conversation.type === 'announcements' || conversation.memberCount > limits.attentionMembers) return undefined;
    const known = Math.max(this.#replica.store.get('receipt', conversationId, me)?.deliveredSeq ?? 0, this.#told.get(conversationId) ?? 0);
    for (let seq = held.hi; seq > Math.max(known, held.lo - 1); seq--) if (this.#replica.store.message(conversationId, seq)?.senderId !== me) return held.hi;
    return undefined;
  }
}

const isPassing = (error: unknown): boolean => !(error instanceof RequestError) || error.retryable || error.code === 'unauthenticated';
