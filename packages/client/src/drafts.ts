import { type Draft, RequestError, limits } from '@kith/protocol';
import type { Clock } from './clock.ts';
import type { Journal } from './journal.ts';
import { Lane } from './lane.ts';
import { Listeners } from './listeners.ts';
import type { Peers } from './peers.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

/** What a text was written over: the draft as the server had it. */
interface Over {
  /** 0: there was none. */
  base: number;
  /** What it said. Undefined where an older program kept this. */
  from?: string;
}

/** A text that the server does not have yet. */
interface Local extends Over {
  text: string;
  /** Version whose other text the person has seen and chosen against. */
  settled?: number;
}

/** What tabs tell each other: this is written there now; or the server has this text, as that. */
type Word = { conversationId: string; local: Local } | { conversationId: string; text: string; kept: Draft };

/** Milliseconds after the last key before a draft is told to the server. */
const pauseMs = 1_500;

/** What is written and not sent, per conversation: on this device at once, on the person's others after a pause. */
export class Drafts {
  readonly #replica: Replica;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #lane: Lane;
  readonly #local = new Map<string, Local>();
  /** What is on the screen was made of this; what is written next is written over it. */
  readonly #shown = new Map<string, Over>();
  readonly #timers = new Map<string, unknown>();
  readonly #listeners = new Listeners<[conversationId: string]>();
  /** Where there are any, the one that leads tells the server for all. */
  readonly #peers: Peers | undefined;
  #call: Call | undefined;

  constructor(options: { replica: Replica; journal: Journal; clock: Clock; random: () => number; peers?: Peers }) {
    this.#replica = options.replica;
    this.#journal = options.journal;
    this.#clock = options.clock;
    this.#lane = new Lane(options.clock, options.random, (id) => this.#send(id));
    this.#peers = options.peers;
    this.#peers?.onTold('draft', (word: Word) => this.#onTold(word));
    this.#peers?.onLead(() => this.#sendAll());
  }

  get(conversationId: string): string {
    return this.#local.get(conversationId)?.text ?? this.#kept(conversationId)?.text ?? '';
  }

  /** What another device had written when one of them wrote over it unseen; there until a person has chosen. */
  other(conversationId: string): string | undefined {
    return this.#kept(conversationId)?.other ?? undefined;
  }

  /**
   * A field shows the draft as it is now: what is `set` from here on is written over that, whatever comes meanwhile.
   *
   * @returns The text.
   */
  show(conversationId: string): string {
    const { base, from } = this.#local.get(conversationId) ?? this.#overKept(conversationId);
    this.#shown.set(conversationId, { base, ...(from !== undefined && { from }) });
    return this.get(conversationId);
  }

  /**
   * Texts of other devices that a field with `text` has not taken in, newest first. While there are any, what is written
   * here stays on this device: the server would forget one of them. `settle` says that a person has chosen.
   */
  others(conversationId: string, text: string): string[] {
    const kept = this.#kept(conversationId);
    const local = this.#local.get(conversationId);
    if (!kept || local?.settled === kept.version) return [];
    const { from } = local ?? this.#shown.get(conversationId) ?? this.#overKept(conversationId);
    // What the field began with is in it already, whatever became of it there.
    return [...new Set([kept.text, kept.other ?? ''])].filter((other) => other !== '' && other !== text && other !== from);
  }

  set(conversationId: string, text: string): void {
    if (this.get(conversationId) === text) return;
    const local = this.#local.get(conversationId);
    const shown = this.#shown.get(conversationId);
    // A field in which nothing was written since it was filled has nothing to say.
    if (!local && shown?.from === text) return;
    this.#put(conversationId, { ...(local ?? shown ?? this.#overKept(conversationId)), text });
  }

  /** The person has seen what `others` tells and wants this text; all their devices forget the rest. */
  settle(conversationId: string, text: string): void {
    const over = this.#overKept(conversationId);
    this.#shown.set(conversationId, over);
    this.#put(conversationId, { text, ...over, settled: over.base });
  }

  /** Told of changes here and on other devices. */
  onChange(fn: (conversationId: string) => void): () => void {
    return this.#listeners.add(fn);
  }

  /** @internal */
  load(entries: Map<string, unknown>): void {
    for (const [key, value] of entries) {
      const id = key.slice('draft/'.length);
      // What another tab has told meanwhile is newer.
      if (key.startsWith('draft/') && !this.#local.has(id)) this.#local.set(id, value as Local);
    }
  }

  /** @internal There is a connection: what was written without one goes out. */
  resume(call: Call): void {
    this.#call = call;
    this.#sendAll();
    this.#lane.resume();
  }

  /** @internal */
  pause(): void {
    this.#call = undefined;
    this.#lane.pause();
  }

  /** @internal Another tab has just opened, and this one leads. */
  tellAll(): void {
    for (const [conversationId, local] of this.#local) this.#tell({ conversationId, local });
  }

  /** @internal A draft from the server was kept. */
  onKept({ conversationId }: Draft): void {
    // What was held back for a choice may go now: it was made on another device.
    if (this.#leads && this.#local.has(conversationId) && !this.#timers.has(conversationId)) this.#lane.add(conversationId);
    this.#listeners.emit(conversationId);
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
    this.#shown.clear();
    for (const id of [...this.#local.keys()]) this.forget(id);
  }

  #onTold(word: Word): void {
    const { conversationId } = word;
    if ('local' in word) {
      this.#keep(conversationId, word.local, this.#leads);
      this.#sendSoon(conversationId, word.local.text);
      this.#listeners.emit(conversationId);
    } else this.#onSent(conversationId, word.text, word.kept);
  }

  #tell(word: Word): void {
    this.#peers?.tell('draft', word);
  }

  get #leads(): boolean {
    return this.#peers?.leads ?? true;
  }

  #sendAll(): void {
    if (this.#leads) for (const id of this.#local.keys()) this.#lane.add(id);
  }

  #sendSoon(conversationId: string, text: string): void {
    this.#cancel(conversationId);
    if (!this.#leads) return;
    // An empty one was sent or given up: nobody should see it any longer.
    if (text === '') return this.#lane.add(conversationId);
    this.#timers.set(
      conversationId,
      this.#clock.setTimeout(() => {
        this.#timers.delete(conversationId);
        this.#lane.add(conversationId);
      }, pauseMs),
    );
  }

  #kept(conversationId: string): Draft | undefined {
    return this.#replica.store.get('inbox', conversationId)?.joined ? this.#replica.store.get('draft', conversationId) : undefined;
  }

  #overKept(conversationId: string): Required<Over> {
    const kept = this.#kept(conversationId);
    return { base: kept?.version ?? 0, from: kept?.text ?? '' };
  }

  #put(conversationId: string, local: Local): void {
    this.#keep(conversationId, local);
    // The page may be closed the next moment.
    void this.#journal.flush();
    this.#tell({ conversationId, local });
    this.#sendSoon(conversationId, local.text);
    this.#listeners.emit(conversationId);
  }

  #keep(conversationId: string, local: Local, write = true): void {
    this.#local.set(conversationId, local);
    if (write) this.#journal.put(`draft/${conversationId}`, local);
    this.#replica.store.touch('draft', conversationId);
  }

  #cancel(conversationId: string): void {
    this.#clock.clearTimeout(this.#timers.get(conversationId));
    this.#timers.delete(conversationId);
  }

  async #send(conversationId: string): Promise<void> {
    const local = this.#local.get(conversationId);
    // Longer than any message may be: it stays here until it is shorter.
    if (!local || !this.#call || !this.#leads || local.text.length > limits.messageText) return;
    const kept = this.#kept(conversationId);
    const others = this.others(conversationId, local.text);
    // The server keeps one text beside another. A third would be the end of it.
    if (kept?.other && others.includes(kept.other)) return;
    const base = kept && others.length === 0 ? kept.version : local.base;
    try {
      const { draft } = await this.#call('draft.set', { conversationId, text: local.text, base });
      this.#onSent(conversationId, local.text, draft);
      this.#tell({ conversationId, text: local.text, kept: draft });
    } catch (error) {
      // Refused for good: it is safe here, and the next change asks again.
      if (!(error instanceof RequestError) || error.retryable) throw error;
    }
  }

  /** The server has this text, as that: nothing is left to tell, unless more was written meanwhile. */
  #onSent(conversationId: string, text: string, draft: Draft): void {
    if (draft.version > 0) this.#replica.merge([draft]);
    const over = { base: draft.version, from: text };
    if (this.#shown.has(conversationId)) this.#shown.set(conversationId, over);
    const now = this.#local.get(conversationId);
    if (now?.text === text) this.forget(conversationId);
    else if (now) this.#keep(conversationId, { ...over, text: now.text }, this.#leads);
    this.#listeners.emit(conversationId);
  }
}
