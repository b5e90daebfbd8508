import type { Database, Query } from '../db/db.ts';
import type { Online } from './online.ts';

/** Beats without one of the other node after which it counts as dead, or, once it has said that it stops, as gone. */
const beatsOfTheDead = 6;
const beatsOfTheGone = 2;
/** What a node that stops leaves behind in place of its count. */
const stopped = -1;
/** People written at once. */
const atOnce = 500;
/** Milliseconds until a change that could not be written is tried again, and that somebody who asks waits for what is being written. */
const againMs = 1_000;
const settleMs = 1_000;

export interface Change {
  userId: string;
  online: boolean;
}

interface PresenceOptions {
  db: Database;
  online: Online;
  /** Which node this is. */
  node: string;
  /** There can be no other. */
  alone: boolean;
  /** People came online, or went offline, on all nodes together. In the order of the changes of each. */
  onChange: (changes: Change[]) => Promise<void>;
  onFault: (error: unknown) => void;
}

/**
 * Who is online on any node. Each writes its own people into the database, and a count beside its name: one whose count stands still
 * while one's own goes on is dead, whatever the clocks say, and whoever finds it so takes its people out. While the database is
 * away nobody counts, and so nobody dies.
 */
export class Presence {
  readonly #options: PresenceOptions;
  /** Changes that are not written yet, the newest of each person. */
  readonly #waiting = new Map<string, boolean>();
  readonly #others = new Map<string, { beat: number; missed: number }>();
  #writing: Promise<void> | undefined;
  #closed = false;
  #wake: () => void = () => {};

  constructor(options: PresenceOptions) {
    this.#options = options;
    options.online.onChange((userId, isOnline) => this.#changed(userId, isOnline));
  }

  /** Before anybody connects. */
  async begin(): Promise<void> {
    const { db, node, alone } = this.#options;
    await db.write([], async (q) => {
      if (alone) for (const table of ['nodes', 'online', 'presence'] as const) await q.deleteFrom(table).execute();
      await register(q, node);
    });
  }

  /** Says that this node is there, once in five seconds. @returns the others that are */
  async beat(): Promise<string[]> {
    const { db, node, online, alone } = this.#options;
    if (alone || this.#closed) return [];
    const { known, rows } = await db.write([], async (q) => {
      const mine = await q
        .updateTable('nodes')
        .set((eb) => ({ beat: eb('beat', '+', 1) }))
        .where('id', '=', node)
        .returning('id')
        .executeTakeFirst();
      if (!mine) await register(q, node);
      return { known: mine !== undefined, rows: await q.selectFrom('nodes').selectAll().where('id', '!=', node).execute() };
    });
    // Taken for dead, after having stood still: its people are entered anew.
    if (!known) for (const userId of online.all()) this.#changed(userId, true);
    const dead: { id: string; beat: number }[] = [];
    const before = new Map(this.#others);
    this.#others.clear();
    for (const { id, beat } of rows) {
      const last = before.get(id);
      const missed = last?.beat === beat ? last.missed + 1 : 0;
      if (missed >= (beat === stopped ? beatsOfTheGone : beatsOfTheDead)) dead.push({ id, beat });
      else this.#others.set(id, { beat, missed });
    }
    for (const one of dead) await this.#bury(one);
    return [...this.#others].flatMap(([id, { beat }]) => (beat === stopped ? [] : [id]));
  }

  /** Those of these who are online. After `settled`. */
  async among(q: Query, userIds: Iterable<string>): Promise<Set<string>> {
    const rows = await q
      .selectFrom('presence')
      .select('user_id')
      .where('user_id', 'in', ['', ...userIds])
      .execute();
    return new Set(rows.map((row) => row.user_id));
  }

  /** Those of these who are connected to other nodes. */
  async elsewhere(userIds: string[]): Promise<Set<string>> {
    const others = [...this.#others.keys()];
    if (others.length === 0 || userIds.length === 0) return new Set();
    const rows = await this.#options.db.read((q) => q.selectFrom('online').select('user_id').where('node_id', 'in', others).where('user_id', 'in', userIds).execute());
    return new Set(rows.map((row) => row.user_id));
  }

  /** Comes back when whoever came or went on this node before is in the database; soon in any case. */
  async settled(): Promise<void> {
    if (!this.#writing) return;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, settleMs);
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  #changed(userId: string, online: boolean): void {
    this.#waiting.set(userId, online);
    this.#writing ??= this.#write();
  }

  /** What one write lasts, the next one gathers. */
  async #write(): Promise<void> {
    const { db, node, onChange, onFault } = this.#options;
    while (this.#waiting.size > 0 && !this.#closed) {
      const taken = [...this.#waiting].slice(0, atOnce);
      for (const [userId] of taken) this.#waiting.delete(userId);
      let changes: Change[] | undefined;
      try {
        changes = await db.write(['presence'], (q) => enter(q, node, taken));
      } catch (error) {
        onFault(error);
        for (const [userId, online] of taken) if (!this.#waiting.has(userId)) this.#waiting.set(userId, online);
        await this.#pause();
      }
      if (changes && changes.length > 0) await onChange(changes).catch(onFault);
    }
    this.#writing = undefined;
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, againMs);
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
  }

  /** Whichever node is first takes its people out, and tells. */
  async #bury({ id, beat }: { id: string; beat: number }): Promise<void> {
    const changes = await this.#options.db.write(['presence'], async (q) => {
      const taken = await q.deleteFrom('nodes').where('id', '=', id).where('beat', '=', beat).returning('id').executeTakeFirst();
      if (!taken) return [];
      const people = await q.selectFrom('online').select('user_id').where('node_id', '=', id).orderBy('user_id').execute();
      const gone: Change[] = [];
      for (let at = 0; at < people.length; at += atOnce) {
        gone.push(
          ...(await enter(
            q,
            id,
            people.slice(at, at + atOnce).map((row) => [row.user_id, false]),
          )),
        );
      }
      return gone;
    });
    if (changes.length > 0) await this.#options.onChange(changes).catch(this.#options.onFault);
  }

  /** The people of this node are left to whichever node they go to; those who go nowhere are taken out by another. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#writing;
    const { db, node, alone } = this.#options;
    if (alone) return;
    await db.write([], (q) => q.updateTable('nodes').set({ beat: stopped }).where('id', '=', node).execute()).catch(() => {});
  }
}

const register = (q: Query, id: string) => q.insertInto('nodes').values({ id, beat: 1 }).execute();

/**
 * Enters people of one node, or takes them out. The row that counts a person's nodes is locked by the change: of two nodes that change
 * at once one is first.
 *
 * @returns those who are online now and were not before, or the other way round
 */
async function enter(q: Query, node: string, people: [userId: string, online: boolean][]): Promise<Change[]> {
  const changes: Change[] = [];
  // In one order everywhere, so that two nodes do not wait for each other.
  const sorted = people.toSorted(([a], [b]) => (a < b ? -1 : 1));
  const coming = sorted.flatMap(([user_id, online]) => (online ? [{ node_id: node, user_id }] : []));
  const came =
    coming.length === 0
      ? []
      : await q
          .insertInto('online')
          .values(coming)
          .onConflict((conflict) => conflict.doNothing())
          .returning('user_id')
          .execute();
  if (came.length > 0) {
    const counts = await q
      .insertInto('presence')
      .values(came.map(({ user_id }) => ({ user_id, nodes: 1 })))
      .onConflict((conflict) => conflict.column('user_id').doUpdateSet((eb) => ({ nodes: eb('presence.nodes', '+', 1) })))
      .returning(['user_id', 'nodes'])
      .execute();
    for (const { user_id, nodes } of counts) if (nodes === 1) changes.push({ userId: user_id, online: true });
  }
  const going = sorted.flatMap(([userId, online]) => (online ? [] : [userId]));
  const went = going.length === 0 ? [] : await q.deleteFrom('online').where('node_id', '=', node).where('user_id', 'in', going).returning('user_id').execute();
  if (went.length > 0) {
    const counts = await q
      .updateTable('presence')
      .set((eb) => ({ nodes: eb('nodes', '-', 1) }))
      .where(
        'user_id',
        'in',
        went.map(({ user_id }) => user_id),
      )
      .returning(['user_id', 'nodes'])
      .execute();
    const gone = counts.flatMap(({ user_id, nodes }) => (nodes <= 0 ? [user_id] : []));
    if (gone.length > 0) await q.deleteFrom('presence').where('user_id', 'in', gone).execute();
    changes.push(...gone.map((userId) => ({ userId, online: false })));
  }
  return changes;
}
