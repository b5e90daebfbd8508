import { type CloseName, type Entity, RequestError, type StreamId, entityKey } from '@kith/protocol';
import type { Append, Database, Place, Query, Rights } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { Publication, Topic } from './core.ts';

/** What the write path needs from the process. */
export interface Log {
  db: Database;
  /** Milliseconds since 1970. */
  now: () => number;
  publish: (publications: Publication[]) => void;
}

/** One commit in the making: its streams are locked and have their new versions. */
export interface Commit {
  q: Query;
  now: number;
  /** The new version of one of the commit's streams. Every row written for that stream carries it. */
  version(stream: StreamId): number;
  /** Place and time of the message this commit appends; only for the stream named in `append`. */
  appended(): { seq: number; at: number };
  /** Begins a stream: for ids made just now, instead of naming them to `commit`. */
  begin(stream: StreamId, options?: { append?: boolean }): Promise<void>;
  /** Adds to the push of a stream: the entities as they are after this commit. */
  put(stream: StreamId, ...entities: Entity[]): void;
  /** The owner's connections follow these from this commit on, or no longer. */
  follow(userStream: StreamId, ...topics: Topic[]): void;
  unfollow(userStream: StreamId, ...topics: Topic[]): void;
  /** Whoever follows the stream may have lost the right to these, and is asked about anew. */
  doubt(stream: StreamId, ...topics: Topic[]): void;
  /** The owner's connections of these sessions are closed. */
  end(userStream: StreamId, sessionIds: string[], as: CloseName): void;
  /** Nothing has to change after all: throw it. Everything is rolled back, no version is used, `commit` returns the result. */
  unchanged<T>(result: T): Unchanged<T>;
}

export class Unchanged<T> extends Error {
  readonly result: T;
  constructor(result: T) {
    super('unchanged');
    this.result = result;
  }
}

/** A commit that does nothing but append one message, said in values for engines that do it so: it is a version and a push like any other. */
export interface OnlyAppends<T> extends Pick<Append<T>, 'message'>, Rights {
  done(place: Place): { entity: Entity; result: T };
}

export interface CommitOptions<T> {
  append?: StreamId;
  only?: OnlyAppends<T>;
}

interface Part extends Place {
  /** By key: an entity written twice in one commit is pushed once, as it was last. */
  entities: Map<string, Entity>;
  follow: Topic[];
  unfollow: Topic[];
  doubt: Topic[];
  end?: { sessionIds: string[]; as: CloseName };
  /** Not written after all: the stream kept its version, and there is no push. */
  silent?: boolean;
}

/**
 * THE write path. Locks the streams in the order of their ids and takes their next versions, runs the work, commits,
 * and only then publishes: one commit, one version of each stream, one push of each stream.
 *
 * The version is taken first and uniqueness is checked after, by the work. The other order passes on SQLite and, on
 * PostgreSQL, skips a version when one client id arrives twice at once.
 *
 * @param streams  Ids, or a query for them. A query is asked again under the locks; if its answer changed, all starts over.
 * @param append   The conversation in which this commit takes the next message seq.
 * @param only     The same in values, where that is all it does: `append` is its only stream then.
 */
export async function commit<T>(log: Log, streams: StreamId[] | ((q: Query) => Promise<StreamId[]>), work: (c: Commit) => Promise<T>, options: CommitOptions<T> = {}): Promise<T> {
  const { append, only } = options;
  for (;;) {
    const wanted = inOrder(typeof streams === 'function' ? await log.db.read(streams) : streams);
    let told: Publication[] = [];
    let moved = false;
    let result: T;
    try {
      result = await log.db.write(
        wanted,
        async (q) => {
          // Anew, because works may be run again.
          const parts = new Map<StreamId, Part>();
          moved = false;
          const now = log.now();
          for (const stream of wanted) parts.set(stream, await advance(q, stream, stream === append ? now : undefined));
          if (typeof streams === 'function' && !same(wanted, inOrder(await streams(q)))) {
            moved = true;
            throw new Unchanged(undefined);
          }
          const value = await work(commitOn(q, now, parts, append));
          await giveBack(q, parts);
          told = publications(parts);
          return value;
        },
        append && only && inValues(append, log, only, (push) => (told = [push])),
      );
    } catch (error) {
      if (moved) continue;
      if (error instanceof Unchanged) return error.result as T;
      throw error;
    }
    log.publish(told);
    return result;
  }
}

function inValues<T>(stream: StreamId, { now }: Log, only: OnlyAppends<T>, tell: (push: Publication) => void): Append<T> {
  const { asks, rights, allows, message } = only;
  return {
    asks,
    rights,
    allows,
    message,
    stream,
    advance: (q, count) => takeVersionsAndSeqs.statement(q, { id: stream, by: count, now: now() }),
    done(place) {
      const { entity, result } = only.done(place);
      tell(push(stream, place, [entity]));
      return result;
    },
  };
}

/** What a part of a commit says at first. */
const nothing = (): Omit<Part, keyof Place> => ({ entities: new Map(), follow: [], unfollow: [], doubt: [] });

const inOrder = (streams: StreamId[]): StreamId[] => (streams.length === 1 ? streams : [...new Set(streams)].sort());
const same = (a: StreamId[], b: StreamId[]): boolean => a.length === b.length && a.every((stream, at) => stream === b[at]);

const takeVersion = prepare((q, { id }: { id: string }) =>
  q
    .updateTable('streams')
    .where('id', '=', id)
    .set((eb) => ({ version: eb('version', '+', 1) }))
    .returning(['version', 'seq', 'at']),
);

/** For so many messages at once; the answer is that of the last of them. */
const takeVersionsAndSeqs = prepare((q, { id, by, now }: { id: string; by: number; now: number }) =>
  q
    .updateTable('streams')
    .where('id', '=', id)
    .set((eb) => ({ version: eb('version', '+', by), seq: eb('seq', '+', by), at: eb.case().when('at', '>', now).then(eb.ref('at')).else(now).end() }))
    .returning(['version', 'seq', 'at']),
);

/** Locks the stream's row and takes its next version; with `now`, its next message seq too. */
async function advance(q: Query, stream: StreamId, now: number | undefined): Promise<Part> {
  const row = await (now === undefined ? takeVersion.first(q, { id: stream }) : takeVersionsAndSeqs.first(q, { id: stream, by: 1, now }));
  // The same answer as for a stream that is somebody else's: ids cannot be probed.
  if (!row) throw new RequestError(stream.startsWith('user:') ? 'not_found' : 'not_a_member');
  return { ...row, ...nothing() };
}

/**
 * A stream that was locked but not written keeps its version. An empty push would tell its followers that something
 * happened near them: that a request was refused, that a stranger asked a person who has blocked them.
 */
async function giveBack(q: Query, parts: Map<StreamId, Part>): Promise<void> {
  for (const [stream, part] of parts) {
    if (part.entities.size > 0 || part.version === 1) continue;
    await q
      .updateTable('streams')
      .set({ version: part.version - 1 })
      .where('id', '=', stream)
      .execute();
    part.silent = true;
  }
}

function commitOn(q: Query, now: number, parts: Map<StreamId, Part>, append: StreamId | undefined): Commit {
  const part = (stream: StreamId): Part => {
    const found = parts.get(stream);
    if (!found) throw new Error(`this commit has not locked ${stream}`);
    return found;
  };
  let appends = append;
  return {
    q,
    now,
    version: (stream) => part(stream).version,
    appended() {
      if (!appends) throw new Error('this commit appends no message');
      const { seq, at } = part(appends);
      return { seq, at };
    },
    async begin(stream, options = {}) {
      const seq = options.append ? 1 : 0;
      const at = options.append ? now : 0;
      await q.insertInto('streams').values({ id: stream, version: 1, seq, at }).execute();
      if (options.append) appends = stream;
      parts.set(stream, { version: 1, seq, at, ...nothing() });
    },
    put(stream, ...entities) {
      for (const entity of entities) part(stream).entities.set(entityKey(entity), entity);
    },
    follow: (stream, ...topics) => void part(stream).follow.push(...topics),
    unfollow: (stream, ...topics) => void part(stream).unfollow.push(...topics),
    doubt: (stream, ...topics) => void part(stream).doubt.push(...topics),
    end(stream, sessionIds, as) {
      if (sessionIds.length > 0) part(stream).end = { sessionIds, as };
    },
    unchanged: (value) => new Unchanged(value),
  };
}

/** People's own streams come first: who was removed by this commit is out before its conversation's push is delivered. */
function publications(parts: Map<StreamId, Part>): Publication[] {
  const own = [...parts].filter(([stream]) => stream.startsWith('user:'));
  const others = [...parts].filter(([stream]) => !stream.startsWith('user:'));
  return [...own, ...others].flatMap(([topic, part]) => publication(topic, part));
}

const push = (topic: StreamId, { version, seq }: Pick<Place, 'version' | 'seq'>, entities: Entity[]) => ({
  kind: 'push' as const,
  topic,
  version,
  ...(seq > 0 && { seq }),
  frame: JSON.stringify({ stream: topic, version, entities }),
});

function publication(topic: StreamId, part: Part): Publication[] {
  const { entities, follow, unfollow, doubt, end, silent } = part;
  const control = { ...(follow.length > 0 && { follow }), ...(unfollow.length > 0 && { unfollow }) };
  if (!silent) return [{ ...push(topic, part, [...entities.values()]), ...control, ...(doubt.length > 0 && { doubt }), ...(end && { end }) }];
  return follow.length + unfollow.length > 0 ? [{ kind: 'control', topic, ...control }] : [];
}

/** By how many are asked for at once: each is a statement of its own. */
const findHeads = new Map<number, ReturnType<typeof prepareHeads>>();
const prepareHeads = () => prepare((q, ids: readonly string[]) => q.selectFrom('streams').select(['id', 'version']).where('id', 'in', Object.values(ids)));

/** Newest versions; streams that do not exist are left out. */
export async function readHeads(q: Query, streams: readonly string[]): Promise<Record<string, number>> {
  const heads: Record<string, number> = {};
  const chunk = 500;
  for (let from = 0; from < streams.length; from += chunk) {
    const asked = streams.slice(from, from + chunk);
    let query = findHeads.get(asked.length);
    if (!query) findHeads.set(asked.length, (query = prepareHeads()));
    for (const row of await query.all(q, asked)) heads[row.id] = row.version;
  }
  return heads;
}
