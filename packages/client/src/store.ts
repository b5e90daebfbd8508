import { type Entity, type EntityKind, type EntityOf, type Member, type Message, type Receipt, type StreamKind, entities, entityKey } from '@kith/protocol';
import { Listeners } from './listeners.ts';

/** What a batch of changes touched. Besides entities: what is local to this device. */
export interface Changed {
  kinds: ReadonlySet<ChangedKind>;
  /** `message/<id>`, as `entityKey` makes them. */
  keys: ReadonlySet<string>;
  /** Conversations in which anything changed, local things included. */
  conversations: ReadonlySet<string>;
}
export type ChangedKind = EntityKind | 'timeline' | 'outbox' | 'read';

type Kinds = { [K in EntityKind]: Map<string, EntityOf<K>> };

/** The entities this device holds, each in the highest version seen. */
export class Store {
  readonly #kinds: Kinds = Object.fromEntries(Object.keys(entities).map((kind) => [kind, new Map()])) as Kinds;
  readonly #messages = new Map<string, Map<number, Message>>();
  readonly #members = new Map<string, Map<string, Member>>();
  readonly #receipts = new Map<string, Map<string, Receipt>>();
  readonly #watchers = new Listeners<[Changed]>();
  readonly #touched = new Listeners<[ChangedKind, string | undefined]>();
  #changed: { kinds: Set<ChangedKind>; keys: Set<string>; conversations: Set<string> } | undefined;

  /** `get('member', conversationId, userId)`. */
  get<K extends EntityKind>(kind: K, ...key: string[]): EntityOf<K> | undefined {
    return this.#kinds[kind].get([kind, ...key].join('/'));
  }

  list<K extends EntityKind>(kind: K): EntityOf<K>[] {
    return [...this.#kinds[kind].values()] as EntityOf<K>[];
  }

  /** Everybody who is in a conversation or was; see `state`. */
  members(conversationId: string): Member[] {
    return [...(this.#members.get(conversationId)?.values() ?? [])];
  }

  receipts(conversationId: string): Receipt[] {
    return [...(this.#receipts.get(conversationId)?.values() ?? [])];
  }

  /** The message at this place, if it is held. */
  message(conversationId: string, seq: number): Message | undefined {
    return this.#messages.get(conversationId)?.get(seq);
  }

  /** All messages held of a conversation, in no order and with holes. */
  messages(conversationId: string): Iterable<Message> {
    return this.#messages.get(conversationId)?.values() ?? [];
  }

  /** How many messages of a conversation are held. */
  countMessages(conversationId: string): number {
    return this.#messages.get(conversationId)?.size ?? 0;
  }

  /**
   * Calls `fn` after a turn in which something changed, once for all of it.
   *
   * @returns Ends the watching.
   */
  watch(fn: (changed: Changed) => void): () => void {
    return this.#watchers.add(fn);
  }

  /** @internal Told at once and for every change, so that what is derived can be marked stale before anybody asks. */
  onTouch(fn: (kind: ChangedKind, conversationId: string | undefined) => void): () => void {
    return this.#touched.add(fn);
  }

  /** @internal Keeps what is newer than what is held. @returns What was kept. */
  apply(incoming: readonly Entity[]): Entity[] {
    return incoming.filter((value) => {
      const key = entityKey(value);
      const map = this.#kinds[value.kind] as Map<string, Entity>;
      const held = map.get(key);
      if (held && held.version >= value.version) return false;
      map.set(key, value);
      if (value.kind === 'message') within(this.#messages, value.conversationId).set(value.seq, value);
      else if (value.kind === 'member') within(this.#members, value.conversationId).set(value.userId, value);
      else if (value.kind === 'receipt') within(this.#receipts, value.conversationId).set(value.userId, value);
      this.touch(value.kind, conversationOf(value), key);
      return true;
    });
  }

  /** @internal Forgets one entity. */
  remove(value: Entity): void {
    const key = entityKey(value);
    if (!(this.#kinds[value.kind] as Map<string, Entity>).delete(key)) return;
    if (value.kind === 'message') this.#messages.get(value.conversationId)?.delete(value.seq);
    else if (value.kind === 'member') this.#members.get(value.conversationId)?.delete(value.userId);
    else if (value.kind === 'receipt') this.#receipts.get(value.conversationId)?.delete(value.userId);
    this.touch(value.kind, conversationOf(value), key);
  }

  /** @internal Everything that a stream carries. */
  of(stream: { kind: StreamKind; id: string }): Entity[] {
    if (stream.kind === 'user') return userKinds.flatMap((kind) => this.list(kind) as Entity[]);
    const conversation = this.get('conversation', stream.id);
    return [...(conversation ? [conversation] : []), ...this.members(stream.id), ...this.receipts(stream.id), ...this.messages(stream.id)];
  }

  /** @internal Says that something changed which is not an entity. */
  touch(kind: ChangedKind, conversationId?: string, key?: string): void {
    if (!this.#changed) {
      this.#changed = { kinds: new Set(), keys: new Set(), conversations: new Set() };
      queueMicrotask(() => {
        const changed = this.#changed!;
        this.#changed = undefined;
        this.#watchers.emit(changed);
      });
    }
    this.#changed.kinds.add(kind);
    if (key !== undefined) this.#changed.keys.add(key);
    if (conversationId !== undefined) this.#changed.conversations.add(conversationId);
    this.#touched.emit(kind, conversationId);
  }
}

const userKinds = (Object.keys(entities) as EntityKind[]).filter((kind) => entities[kind].stream === 'user');

function conversationOf(value: Entity): string | undefined {
  if (value.kind === 'conversation') return value.id;
  return 'conversationId' in value ? value.conversationId : undefined;
}

function within<V>(maps: Map<string, Map<string | number, V>>, id: string): Map<string | number, V>;
function within<K, V>(maps: Map<string, Map<K, V>>, id: string): Map<K, V>;
function within<K, V>(maps: Map<string, Map<K, V>>, id: string): Map<K, V> {
  let map = maps.get(id);
  if (!map) maps.set(id, (map = new Map()));
  return map;
}
