import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { Append, Place, Query } from './db.ts';
import type { Direct } from './prepare.ts';

/** Has the sender used a client id, or taken it back? */
export const findTaken = 'select 1 from messages where sender_id = ?1 and client_id = ?2 union all select 1 from withdrawn where sender_id = ?1 and client_id = ?2 limit 1';

/**
 * Puts a message at the end of a conversation without running its work: four statements, one after the other, and nothing of promises between
 * them. All that could refuse or repeat it is looked at before anything is written, which here, where one writes at a time, is the
 * same as after. So there is nothing to take back, and no savepoint: of each page that changes after one, SQLite would keep a copy.
 *
 * Refusals and repetitions are not known here: they are left to the work.
 */
export class Appends {
  readonly #file: DatabaseSync;
  readonly #q: Query;
  readonly #direct: Direct;
  readonly #taken: StatementSync;
  #columns: string[] = [];
  #insert: StatementSync | undefined;

  constructor(file: DatabaseSync, q: Query, direct: Direct) {
    this.#file = file;
    this.#q = q;
    this.#direct = direct;
    this.#taken = file.prepare(findTaken);
  }

  /**
   * In a transaction that writes.
   *
   * @returns undefined: it does not go through, and nothing was written
   * @throws what no message does: then the transaction has half of one in it
   */
  run({ rights, allows, message, advance }: Append<unknown>): Place | undefined {
    if (!allows(this.#direct.all(rights(this.#q)))) return undefined;
    const row = message();
    if (this.#taken.get(row.sender_id, row.client_id)) return undefined;
    const place = this.#direct.first(advance(this.#q, 1)) as Place | undefined;
    // There is no such stream.
    if (!place) return undefined;
    if (!this.#insert) {
      this.#columns = Object.keys(row);
      const columns = [...this.#columns, 'version', 'seq', 'at'];
      this.#insert = this.#file.prepare(`insert into messages (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`);
    }
    const values = this.#columns.map((column) => row[column as keyof typeof row] as SQLInputValue);
    this.#insert.run(...values, place.version, place.seq, place.at);
    return place;
  }
}
