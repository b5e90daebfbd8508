import { type Entity, type Message, type Push, type StreamId, type User, conversationStream, entities as kinds, entityKey, parseStream, userStream } from '@kith/protocol';
import type { Journal } from './journal.ts';
import { Listeners } from './listeners.ts';
import type { Store } from './store.ts';

/** How far this device holds one stream. */
export interface Held {
  /** All changes up to this version are in the store. */
  head: number;
  /** Versions above the head that arrived already. */
  above: Set<number>;
  /** The messages `lo` to `hi` are in the store without a hole, and `hi` is the newest. Empty: `hi < lo`. */
  lo: number;
  hi: number;
  /** Of the server's database, in which the head was the newest. */
  era: string | undefined;
  /** Another snapshot, another generation: whoever remembers an interval has to look again. */
  generation: number;
  /** Part of `lo` to `hi` that storage keeps. */
  savedLo: number;
  savedHi: number;
}

/** What storage keeps of `Held`. */
interface Stored {
  head: number;
  lo: number;
  hi: number;
  /** Absent: kept by a program that knew of none. */
  era?: string;
}

/** Latest messages of each conversation that storage keeps. */
export const storedMessages = 100;

/** Messages on either side of a window that stay in memory: a short way back asks nobody. */
const nearMessages = 100;

/**
 * The streams this device follows, as far as it has them: entities in the store, heads and message intervals here, all
 * of it in storage. Knows the laws of versions and seqs, and nothing of the network.
 */
export class Replica {
  readonly store: Store;
  /** Whose replica this is. */
  userId: string | undefined;
  /** Of the server's database, as the last hello said: what comes from there is of it. */
  era: string | undefined;
  readonly #journal: Journal;
  readonly #streams = new Map<StreamId, Held>();
  #generations = 0;
  /** Entities that the store has kept, after each step. */
  readonly onKept = new Listeners<[kept: Entity[]]>();

  constructor(store: Store, journal: Journal) {
    this.store = store;
    this.#journal = journal;
  }

  get me(): User | undefined {
    return this.userId === undefined ? undefined : this.store.get('user', this.userId);
  }

  held(stream: StreamId): Held | undefined {
    return this.#streams.get(stream);
  }

  conversation(conversationId: string): Held | undefined {
    return this.#streams.get(conversationStream(conversationId));
  }

  get streams(): StreamId[] {
    return [...this.#streams.keys()];
  }

  /** Takes over what storage had. */
  load(entries: Map<string, unknown>): void {
    for (const [key, value] of entries) {
      if (!key.startsWith('stream/')) continue;
      const { head, lo, hi, era } = value as Stored;
      this.#streams.set(key.slice('stream/'.length) as StreamId, { head, lo, hi, era, above: new Set(), generation: ++this.#generations, savedLo: lo, savedHi: hi });
    }
    const kept: Entity[] = [];
    for (const [key, value] of entries) if (key.startsWith('entity/')) kept.push(value as Entity);
    this.store.apply(kept.filter((value) => this.#holds(value)));
    for (const [stream, held] of [...this.#streams]) {
      const { id } = parseStream(stream)!;
      for (let seq = held.hi; seq >= held.lo; seq--) if (!this.store.message(id, seq)) held.lo = seq + 1;
      held.savedLo = held.lo;
      // Rows are missing that the head vouches for: nothing of this stream can be trusted.
      if (held.hi > 0 && held.lo > held.hi) this.#streams.delete(stream);
    }
  }

  /** All of it as storage should have it. */
  *checkpoint(): Iterable<[string, unknown]> {
    for (const [stream, held] of this.#streams) {
      held.savedLo = Math.max(held.lo, held.hi - storedMessages + 1);
      held.savedHi = held.hi;
      yield [`stream/${stream}`, stored(held)];
      for (const value of this.store.of(parseStream(stream)!)) if (value.kind !== 'message' || isSaved(held, value)) yield [`entity/${entityKey(value)}`, value];
    }
  }

  /** Takes in entities from replies: true at their version, but no word on what else changed. */
  merge(entities: readonly Entity[]): void {
    this.#keep(entities.filter((value) => isKnown(value) && this.#holds(value) && !this.#isForgotten(value)));
  }

  /**
   * Takes in a push.
   *
   * @returns `absent`: the stream is not held, nothing was taken. `gap`: something before it is missing.
   */
  receive(push: Push): 'current' | 'gap' | 'absent' {
    const held = this.#streams.get(push.stream);
    if (!held) return 'absent';
    if (push.version > held.head) held.above.add(push.version);
    this.#keep(push.entities, push.stream);
    return held.above.size > 0 ? 'gap' : 'current';
  }

  /** The era in which a stream is held, where it is another one than the server's now: what is held may never have been. */
  doubtfulEra(stream: StreamId): string | undefined {
    const era = this.#streams.get(stream)?.era;
    return era === this.era ? undefined : era;
  }

  /** It is in step with the server as it is now. */
  vouch(stream: StreamId): void {
    const held = this.#streams.get(stream);
    if (!held || held.era === this.era) return;
    held.era = this.era;
    this.#journal.put(`stream/${stream}`, stored(held));
  }

  /** The newest that is held of a stream, the head and what came ahead of it. */
  newest(stream: StreamId): number {
    const versions = this.store.of(parseStream(stream)!).map(({ version }) => version);
    return versions.reduce((newest, version) => Math.max(newest, version), this.#streams.get(stream)?.head ?? 0);
  }

  /** Takes in the changes from the head up to a version. */
  advance(stream: StreamId, version: number, entities: readonly Entity[]): void {
    const held = this.#streams.get(stream);
    if (!held) return;
    held.head = Math.max(held.head, version);
    held.era = this.era;
    this.#keep(entities, stream);
  }

  /** Takes a snapshot in place of all that was held of the stream, then the pushes that came while it was on its way. */
  replace(stream: StreamId, version: number, entities: readonly Entity[], later: readonly Push[]): void {
    const id = parseStream(stream)!;
    const next = new Set(entities.filter(isKnown).map(entityKey));
    for (const old of this.store.of(id)) {
      this.store.remove(old);
      if (!next.has(entityKey(old))) this.#journal.put(`entity/${entityKey(old)}`, undefined);
    }
    const seqs = entities.filter((value) => value.kind === 'message').map((value) => value.seq);
    const hi = seqs.length > 0 ? Math.max(...seqs) : 0;
    const held: Held = { head: version, era: this.era, above: new Set(), lo: hi > 0 ? hi : 1, hi, generation: ++this.#generations, savedLo: 1, savedHi: 0 };
    this.#streams.set(stream, held);
    for (const push of later) if (push.version > version) held.above.add(push.version);
    this.#keep([...entities, ...later.flatMap((push) => push.entities)], stream);
  }

  /** Takes in a page of history. */
  history(conversationId: string, messages: readonly Message[]): void {
    const stream = conversationStream(conversationId);
    if (this.#streams.has(stream)) this.#keep(messages, stream);
  }

  /** Forgets a conversation: not a member any more. Its inbox stays, as the newest word on that. */
  erase(conversationId: string): void {
    const stream = conversationStream(conversationId);
    if (!this.#streams.delete(stream)) return;
    this.#journal.put(`stream/${stream}`, undefined);
    for (const value of this.store.of({ kind: 'conversation', id: conversationId })) {
      this.store.remove(value);
      this.#journal.put(`entity/${entityKey(value)}`, undefined);
    }
    this.store.touch('timeline', conversationId);
  }

  /**
   * Forgets old messages of a conversation: all but the latest `keep` and what is in or near these windows. Never while a
   * reply is on its way that may hold them.
   */
  trim(conversationId: string, keep: number, windows: readonly { from: number; to: number }[] = []): void {
    const held = this.conversation(conversationId);
    if (!held) return;
    let lo = Math.max(held.lo, held.hi - keep + 1);
    const near = windows.map(({ from, to }) => ({ from: from - nearMessages, to: to + nearMessages })).sort((a, b) => b.to - a.to);
    for (const { from, to } of near) if (to + 1 >= lo) lo = Math.max(held.lo, Math.min(lo, from));
    held.lo = lo;
    for (const message of [...this.store.messages(conversationId)]) {
      if (message.seq < lo && !near.some(({ from, to }) => message.seq >= from && message.seq <= to)) this.store.remove(message);
    }
  }

  /** Forgets everything, in memory; storage is the caller's. */
  clear(): void {
    for (const stream of this.#streams.keys()) for (const value of this.store.of(parseStream(stream)!)) this.store.remove(value);
    for (const value of this.store.list('inbox')) this.store.remove(value);
    this.#streams.clear();
  }

  #holds(value: Entity): boolean {
    switch (value.kind) {
      case 'conversation':
        return this.#streams.has(conversationStream(value.id));
      case 'member':
      case 'receipt':
      case 'message':
        return this.#streams.has(conversationStream(value.conversationId));
      default:
        return this.userId !== undefined && this.#streams.has(userStream(this.userId));
    }
  }

  /** An old message that was trimmed: a late reply would bring it back as it was before some push. */
  #isForgotten(value: Entity): boolean {
    if (value.kind !== 'message') return false;
    const held = this.conversation(value.conversationId)!;
    return value.seq < held.lo && !this.store.message(value.conversationId, value.seq);
  }

  #keep(entities: readonly Entity[], stream?: StreamId): void {
    const kept = this.store.apply(entities.filter(isKnown));
    const touched = new Set<StreamId>(stream ? [stream] : []);
    for (const value of kept) {
      if (value.kind === 'message') touched.add(conversationStream(value.conversationId));
      else this.#journal.put(`entity/${entityKey(value)}`, value);
    }
    for (const each of touched) this.#settle(each, kept);
    this.onKept.emit(kept);
  }

  /** Moves head and interval as far as what is held allows, and saves what moved. */
  #settle(stream: StreamId, kept: readonly Entity[]): void {
    const held = this.#streams.get(stream);
    if (!held) return;
    while (held.above.delete(held.head + 1)) held.head += 1;
    for (const version of held.above) if (version <= held.head) held.above.delete(version);
    const id = parseStream(stream)!;
    if (id.kind === 'conversation') {
      const before = held.hi;
      while (this.store.message(id.id, held.hi + 1)) held.hi += 1;
      if (held.hi >= held.lo) while (this.store.message(id.id, held.lo - 1)) held.lo -= 1;
      const savedLo = Math.max(held.lo, held.hi - storedMessages + 1);
      for (let seq = held.savedLo; seq < Math.min(savedLo, held.savedHi + 1); seq++) {
        const old = this.store.message(id.id, seq);
        if (old) this.#journal.put(`entity/${entityKey(old)}`, undefined);
      }
      const save = (message: Message): void => this.#journal.put(`entity/${entityKey(message)}`, message);
      for (let seq = savedLo; seq <= held.hi; seq++) if (seq < held.savedLo || seq > held.savedHi) save(this.store.message(id.id, seq)!);
      held.savedLo = savedLo;
      held.savedHi = held.hi;
      for (const value of kept) if (value.kind === 'message' && value.conversationId === id.id && isSaved(held, value)) save(value);
      if (held.hi !== before) this.store.touch('timeline', id.id);
    }
    this.#journal.put(`stream/${stream}`, stored(held));
  }
}

/** Kinds that a newer server may send to this older program. */
const isKnown = ({ kind }: Entity): boolean => Object.hasOwn(kinds, kind);
const stored = ({ head, savedLo, savedHi, era }: Held): Stored => ({ head, lo: savedLo, hi: savedHi, ...(era !== undefined && { era }) });
const isSaved = (held: Held, message: Message): boolean => message.seq >= held.savedLo && message.seq <= held.savedHi;
