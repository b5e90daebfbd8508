import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { Append, Place, Query } from './db.ts';
import type { Direct } from './prepare.ts';
import type { Writes } from './sqlite-statements.ts';

/** Answers to questions for rights that are remembered. Each takes some 200 bytes. */
const mostAnswers = 50_000;

/** The tables that `rights` may ask. Whatever is written to one of them, all answers are asked for anew. */
export const tablesOfRights = ['conversations', 'friends', 'members', 'users'];

/** Writes a message, unless its sender has used this client id or taken it back. */
export const insertMessage = (columns: readonly string[]): string =>
  `insert into messages (${columns.join(', ')}) select ${columns.map((_, at) => `?${at + 1}`).join(', ')}
  where not exists (select 1 from withdrawn where sender_id = ?${columns.indexOf('sender_id') + 1} and client_id = ?${columns.indexOf('client_id') + 1})
  on conflict (sender_id, client_id) do nothing`;

/**
 * Puts a message at the end of a conversation without running its work: two statements, one after the other, and nothing of promises between
 * them. There is no savepoint: of each page that changes after one, SQLite would keep a copy.
 *
 * Who may write is asked once and remembered until anything is written that could change it: all that is written to this file goes through this
 * connection, and what other processes write is noticed when a transaction begins.
 *
 * Refusals and repetitions are not known here: they are left to the work.
 */
export class Appends {
  readonly #file: DatabaseSync;
  readonly #q: Query;
  readonly #direct: Direct;
  readonly #writes: Writes;
  /** Those who may write, and where: `Append.asks`. */
  readonly #allowed = new Set<string>();
  /** What had been written when they were asked for. */
  #at = -1;
  #columns: string[] = [];
  #insert: StatementSync | undefined;

  /** @param writes  Counts what this connection writes to `tablesOfRights`. */
  constructor(file: DatabaseSync, q: Query, direct: Direct, writes: Writes) {
    this.#file = file;
    this.#q = q;
    this.#direct = direct;
    this.#writes = writes;
  }

  /** What was read may not be so any more: it was rolled back, or another process has written. */
  forget(): void {
    this.#allowed.clear();
  }

  /**
   * In a transaction that writes.
   *
   * @returns undefined: it does not go through, and nothing was written, but that the clock of its conversation may have moved on
   * @throws what no message does: then the transaction has half of one in it
   */
  run(append: Append<unknown>): Place | undefined {
    if (!this.#allows(append)) return undefined;
    const place = this.#direct.first(append.advance(this.#q, 1)) as Place | undefined;
    // There is no such stream.
    if (!place) return undefined;
    const row = append.message();
    if (!this.#insert) {
      this.#columns = Object.keys(row);
      this.#insert = this.#file.prepare(insertMessage([...this.#columns, 'version', 'seq', 'at']));
    }
    const values = this.#columns.map((column) => row[column as keyof typeof row] as SQLInputValue);
    values.push(place.version, place.seq, place.at);
    if (this.#insert.run(...values).changes === 1) return place;
    this.#direct.first(append.advance(this.#q, -1));
    return undefined;
  }

  #allows({ asks, rights, allows }: Append<unknown>): boolean {
    if (this.#at !== this.#writes.count || this.#allowed.size >= mostAnswers) this.forget();
    this.#at = this.#writes.count;
    if (this.#allowed.has(asks)) return true;
    if (!allows(this.#direct.all(rights(this.#q)))) return false;
    this.#allowed.add(asks);
    return true;
  }
}
