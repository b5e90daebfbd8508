import assert from 'node:assert/strict';
import { type Entity, type Push, type Result, type StreamId, entityKey, limits } from '@kith/protocol';

/** How a device asks: the result, or a thrown error with its `code`. */
export type Ask = <T>(method: string, params: unknown) => Promise<T>;

interface Held {
  version: number;
  entities: Map<string, Entity>;
  /** What was held at each version on the way. */
  past: { version: number; entities: Map<string, Entity> }[];
}

/**
 * The simplest client that follows the rules of docs/protocol.md §4 to the letter, and fails where the server breaks
 * them: a push that is not the next version, or changes a thing without its version.
 */
export class Replica {
  readonly userId: string;
  readonly streams = new Map<StreamId, Held>();
  readonly #ask: Ask;
  #arrived: Push[] = [];

  constructor(userId: string, ask: Ask) {
    this.userId = userId;
    this.#ask = ask;
  }

  /** Pushes are kept in the order of their arrival until `settle`. */
  receive(push: Push): void {
    this.#arrived.push(push);
  }

  async open(heads: Record<string, number>): Promise<void> {
    for (const stream of Object.keys(heads)) await this.#snapshot(stream as StreamId);
  }

  /** Applies what has arrived; takes snapshots of conversations that are new. */
  async settle(): Promise<void> {
    for (let push = this.#arrived.shift(); push; push = this.#arrived.shift()) await this.#apply(push);
  }

  async #snapshot(stream: StreamId): Promise<void> {
    const { entities, version } = await this.#ask<Result<'stream.snapshot'>>('stream.snapshot', { stream });
    const held = { version, entities: new Map(entities.map((entity) => [entityKey(entity), entity])), past: [] };
    this.streams.set(stream, held);
    remember(held);
  }

  async #apply({ stream, version, entities }: Push): Promise<void> {
    const held = this.streams.get(stream);
    // Of a conversation just joined the push comes first; the snapshot that follows has it in.
    if (!held || version <= held.version) return;
    assert.equal(version, held.version + 1, `${stream} jumped`);
    for (const entity of entities) {
      assert.equal(entity.version, version, `${entityKey(entity)} changed without the version of its commit`);
      held.entities.set(entityKey(entity), entity);
    }
    held.version = version;
    remember(held);
    for (const entity of entities) if (entity.kind === 'inbox') await this.#enterOrLeave(entity.conversationId, entity.joined);
  }

  async #enterOrLeave(conversationId: string, joined: boolean): Promise<void> {
    const stream: StreamId = `conversation:${conversationId}`;
    if (!joined) this.streams.delete(stream);
    // Left again since: the push that says so is on its way.
    else if (!this.streams.has(stream)) await this.#snapshot(stream).catch((error: { code?: string }) => assert.equal(error.code, 'not_a_member'));
  }

  /** [ST3] and [ST4]: what is held equals a fresh snapshot, and so does every earlier state with the changes since. */
  async check(): Promise<void> {
    await this.settle();
    for (const [stream, held] of this.streams) {
      const fresh = await this.#ask<Result<'stream.snapshot'>>('stream.snapshot', { stream });
      assert.equal(held.version, fresh.version, `${stream}: head`);
      assert.deepEqual(shown(held.entities.values()), shown(fresh.entities), `${stream}: snapshot plus pushes is not the fresh snapshot`);
      for (const past of held.past) await this.#checkChanges(stream, past, fresh.entities);
    }
  }

  async #checkChanges(stream: StreamId, past: { version: number; entities: Map<string, Entity> }, fresh: Entity[]): Promise<void> {
    const entities = new Map(past.entities);
    for (let since = past.version, more = true; more;) {
      const changes = await this.#ask<Result<'stream.changes'>>('stream.changes', { stream, since, limit: 3 });
      assert.ok(!('tooOld' in changes), `${stream}: changes since ${since} are too old`);
      for (const entity of changes.entities) entities.set(entityKey(entity), entity);
      assert.ok(changes.version > since || !changes.more, `${stream}: changes do not move on`);
      ({ version: since, more } = changes);
    }
    assert.deepEqual(shown(entities.values()), shown(fresh), `${stream}: version ${past.version} plus changes is not the fresh snapshot`);
  }
}

function remember(held: Held): void {
  held.past.push({ version: held.version, entities: new Map(held.entities) });
}

/** In one order, and without what a snapshot leaves out: what has ended, and older messages. */
function shown(entities: Iterable<Entity>): Entity[] {
  const present = [...entities].filter((entity) => !isOver(entity));
  const messages = present.filter((entity) => entity.kind === 'message').sort((a, b) => b.seq - a.seq);
  const old = new Set<Entity>(messages.slice(limits.snapshotMessages));
  return present.filter((entity) => !old.has(entity)).sort((a, b) => (entityKey(a) < entityKey(b) ? -1 : 1));
}

function isOver(entity: Entity): boolean {
  switch (entity.kind) {
    case 'session':
      return entity.endedAt !== null;
    case 'inbox':
      return !entity.joined;
    case 'friend':
      return entity.state === 'none' && !entity.blocked && entity.remark === '';
    case 'draft':
      return entity.text === '' && entity.other === null;
    case 'heard':
      return entity.upTo === 0 && entity.seqs.length === 0;
    default:
      return false;
  }
}
