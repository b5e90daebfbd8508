import { type Draft, RequestError, limits } from '@kith/protocol';
import type { Clock } from './clock.ts';
import type { Journal } from './journal.ts';
import { Lane } from './lane.ts';
import { Listeners } from './listeners.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

/** A text that the server does not have yet. */
interface Local {
  text: string;
  /** Version of the draft it was written over. */
  base: number;
}

/** Milliseconds after the last key before a draft is told to the server. */
const pauseMs = 1_500;

/** What is written and not sent, per conversation: on this device at once, on the person's others after a pause. */
export class Drafts {
  readonly #replica: Replica;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #lane: Lane;
  readonly #local = new Map<string, Local>();
  readonly #timers = new Map<string, unknown>();
  readonly #listeners = new Listeners<[conversationId: string]>();
  #call: Call | undefined;

  constructor(options: { replica: Replica; journal: Journal; clock: Clock; random: () => number }) {
    this.#replica = options.replica;
    this.#journal = options.journal;
    this.#clock = options.clock;
    this.#lane = new Lane(options.clock, options.random, (id) => this.#send(id));
  }

  get(conversationId: string): string {
    return this.#local.get(conversationId)?.text ?? this.#kept(conversationId)?.text ?? '';
  }

  /** What another device had written when this one wrote over it unseen; gone with the next change. */
  other(conversationId: string): string | undefined {
    return this.#kept(conversationId)?.other ?? undefined;
  }

  set(conversationId: string, text: string): void {
    if (this.get(conversationId) === text) return;
    const base = this.#local.get(conversationId)?.base ?? this.#kept(conversationId)?.version ?? 0;
    this.#keep(conversationId, { text, base });
    this.#cancel(conversationId);
    // An empty one was sent or given up: nobody should see it any longer.
    if (text === '') this.#lane.add(conversationId);
    else
      this.#timers.set(
        conversationId,
        this.#clock.setTimeout(() => this.#lane.add(conversationId), pauseMs),
      );
    this.#listeners.emit(conversationId);
  }

  /** Told of changes here and on other devices. */
  onChange(fn: (conversationId: string) => void): () => void {
    return this.#listeners.add(fn);
  }

  /** @internal */
  load(entries: Map<string, unknown>): void {
    for (const [key, value] of entries) if (key.startsWith('draft/')) this.#local.set(key.slice('draft/'.length), value as Local);
  }

  /** @internal There is a connection: what was written without one goes out. */
  resume(call: Call): void {
    this.#call = call;
    for (const id of this.#local.keys()) this.#lane.add(id);
    this.#lane.resume();
  }

  /** @internal */
  pause(): void {
    this.#call = undefined;
    this.#lane.pause();
  }

  /** @internal A draft from the server was kept. */
  onKept({ conversationId }: Draft): void {
    if (!this.#local.has(conversationId)) this.#listeners.emit(conversationId);
  }

  /** @internal */
  forget(conversationId: string): void {
    this.#cancel(conversationId);
    if (this.#local.delete(conversationId)) this.#journal.put(`draft/${conversationId}`, undefined);
    this.#replica.store.touch('draft', conversationId);
  }

  /** @internal */
  clear(): void {
    this.pause();
    for (const id of [...this.#local.keys()]) this.forget(id);
  }

  #kept(conversationId: string): Draft | undefined {
    return this.#replica.store.get('inbox', conversationId)?.joined ? this.#replica.store.get('draft', conversationId) : undefined;
  }

  #keep(conversationId: string, local: Local): void {
    this.#local.set(conversationId, local);
    this.#journal.put(`draft/${conversationId}`, local);
    this.#replica.store.touch('draft', conversationId);
  }

  #cancel(conversationId: string): void {
    this.#clock.clearTimeout(this.#timers.get(conversationId));
    this.#timers.delete(conversationId);
  }

  async #send(conversationId: string): Promise<void> {
    const local = this.#local.get(conversationId);
    // Longer than any message may be: it stays here until it is shorter.
    if (!local || !this.#call || local.text.length > limits.messageText) return;
    try {
      const { draft } = await this.#call('draft.set', { conversationId, ...local });
      if (draft.version > 0) this.#replica.merge([draft]);
      const now = this.#local.get(conversationId);
      if (now === local) this.forget(conversationId);
      else if (now) this.#keep(conversationId, { ...now, base: draft.version });
    } catch (error) {
      // Refused for good: it is safe here, and the next change asks again.
      if (!(error instanceof RequestError) || error.retryable) throw error;
    }
  }
}
