import { type Heard as HeardEntity, type Message, RequestError } from '@kith/protocol';
import type { Clock } from './clock.ts';
import type { Journal } from './journal.ts';
import { Lane } from './lane.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

type Spoken = Pick<Message, 'id' | 'conversationId' | 'seq'>;

/** Which voice messages this person has heard: here at once, and told to the server until it knows. */
export class Heard {
  readonly #replica: Replica;
  readonly #journal: Journal;
  readonly #lane: Lane;
  /** By message id, what the server has not confirmed. */
  readonly #wanted = new Map<string, Spoken>();
  #call: Call | undefined;

  constructor(options: { replica: Replica; journal: Journal; clock: Clock; random: () => number }) {
    this.#replica = options.replica;
    this.#journal = options.journal;
    this.#lane = new Lane(options.clock, options.random, (conversationId) => this.#send(conversationId));
  }

  load(entries: Map<string, unknown>): void {
    for (const [key, value] of entries) if (key.startsWith('heard/')) this.#wanted.set(key.slice('heard/'.length), value as Spoken);
  }

  /** What one said oneself, and what was there before one came, counts as heard. */
  has({ id, conversationId, seq, senderId, at }: Message): boolean {
    const { store, userId } = this.#replica;
    if (senderId === userId || this.#wanted.has(id)) return true;
    const known = store.get('heard', conversationId);
    if (known && (seq <= known.upTo || known.seqs.includes(seq))) return true;
    return at < (store.get('member', conversationId, userId ?? '')?.joinedAt ?? 0);
  }

  mark(message: Message): void {
    if (message.type !== 'voice' || this.has(message)) return;
    const { id, conversationId, seq } = message;
    this.#wanted.set(id, { id, conversationId, seq });
    this.#journal.put(`heard/${id}`, { id, conversationId, seq });
    this.#replica.store.touch('heard', conversationId);
    this.#lane.add(conversationId);
  }

  onKept({ conversationId, upTo, seqs }: HeardEntity): void {
    for (const { id, seq } of this.#of(conversationId)) if (seq <= upTo || seqs.includes(seq)) this.#forget(id);
  }

  /** Of a conversation that was left. */
  forget(conversationId: string): void {
    for (const { id } of this.#of(conversationId)) this.#forget(id);
  }

  resume(call: Call): void {
    this.#call = call;
    for (const { conversationId } of this.#wanted.values()) this.#lane.add(conversationId);
    this.#lane.resume();
  }

  pause(): void {
    this.#call = undefined;
    this.#lane.pause();
  }

  clear(): void {
    this.pause();
    for (const id of [...this.#wanted.keys()]) this.#forget(id);
  }

  #of(conversationId: string): Spoken[] {
    return [...this.#wanted.values()].filter((one) => one.conversationId === conversationId);
  }

  #forget(id: string): void {
    const one = this.#wanted.get(id);
    if (!one) return;
    this.#wanted.delete(id);
    this.#journal.put(`heard/${id}`, undefined);
    this.#replica.store.touch('heard', one.conversationId);
  }

  async #send(conversationId: string): Promise<void> {
    for (const { id } of this.#of(conversationId)) {
      if (!this.#call) return;
      try {
        const { heard } = await this.#call('voice.heard', { messageId: id });
        this.#replica.merge([heard]);
      } catch (error) {
        if (!(error instanceof RequestError) || error.retryable || error.code === 'unauthenticated') throw error;
      }
      this.#forget(id);
    }
  }
}
