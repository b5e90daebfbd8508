import { type Inbox, RequestError, limits } from '@kith/protocol';
import type { Clock } from './clock.ts';
import type { Journal } from './journal.ts';
import { Lane } from './lane.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

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
    for (const [key, value] of entries) if (key.startsWith('read/')) this.#wanted.set(key.slice('read/'.length), value as number);
  }

  /** Read up to here, as this device knows it: what the server confirmed, or what it will. */
  readSeq(conversationId: string): number {
    return Math.max(this.#replica.store.get('inbox', conversationId)?.readSeq ?? 0, this.#wanted.get(conversationId) ?? 0);
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
    if (seq <= this.readSeq(conversationId)) return;
    this.#wanted.set(conversationId, seq);
    this.#journal.put(`read/${conversationId}`, seq);
    this.#replica.store.touch('read', conversationId);
    this.#read.add(conversationId);
  }

  /** An own message was stored: if all before it was read, so is it. */
  onOwnMessage(conversationId: string): void {
    const me = this.#replica.userId;
    let seq = this.readSeq(conversationId);
    while (this.#replica.store.message(conversationId, seq + 1)?.senderId === me) seq += 1;
    this.mark(conversationId, seq);
  }

  onInbox(inbox: Inbox): void {
    const wanted = this.#wanted.get(inbox.conversationId);
    if (wanted !== undefined && (inbox.readSeq >= wanted || !inbox.joined)) this.forget(inbox.conversationId);
  }

  /** There may be messages in this conversation that nobody has been told this person received. */
  onMessages(conversationId: string): void {
    if (this.#undelivered(conversationId) !== undefined) this.#delivered.add(conversationId);
  }

  forget(conversationId: string): void {
    if (this.#wanted.delete(conversationId)) this.#journal.put(`read/${conversationId}`, undefined);
    this.#replica.store.touch('read', conversationId);
  }

  resume(call: Call): void {
    this.#call = call;
    for (const id of this.#wanted.keys()) this.#read.add(id);
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
    for (const id of [...this.#wanted.keys()]) this.forget(id);
  }

  async #sendRead(conversationId: string): Promise<void> {
    const seq = this.#wanted.get(conversationId);
    if (seq === undefined || !this.#call) return;
    try {
      const { inbox } = await this.#call('read.mark', { conversationId, seq });
      this.#replica.merge([inbox]);
      // Beyond the end means the end: the mark is where it should be although it is lower.
      if (this.#wanted.get(conversationId) === seq) this.forget(conversationId);
    } catch (error) {
      if (!(error instanceof RequestError) || error.retryable || error.code === 'unauthenticated') throw error;
      this.forget(conversationId);
    }
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
