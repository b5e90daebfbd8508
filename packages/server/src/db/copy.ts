import { hash } from 'node:crypto';

// What copying everything from one database to another needs of either engine. Tables and columns are read off the database, so
// that a migration adds nothing here.

export type Value = string | number | null;
/** The values of a row, in the order of its table's columns. */
export type Row = Value[];

export interface Table {
  name: string;
  /** Of the primary key, in its order. */
  key: string[];
  /** By name, so that both engines have one order. */
  columns: string[];
}

/** One of the two databases. */
export interface Side {
  /** For people: the folder, or the URL without its password. */
  name: string;
  /** Names of the migrations that it has seen. */
  migrations(): Promise<string[]>;
  tables(): Promise<Table[]>;
  count(table: Table): Promise<number>;
  /** Rows behind this key, in an order of the engine's own that stays the same. */
  page(table: Table, after: Row | undefined, limit: number): Promise<Row[]>;
  /** Those of the rows with these keys that there are. */
  find(table: Table, keys: Row[]): Promise<Row[]>;
  close(): Promise<void>;
}

export interface Source extends Side {
  /** Where everything has gone, if it has. */
  movedTo(): Promise<string | undefined>;
  /** From here on nobody writes, a running server included: it refuses with `busy`. Ends with this process, however that ends. */
  hold(): Promise<Hold>;
}

export interface Hold {
  /** Nobody writes here ever again. */
  leave(to: string): Promise<void>;
  /** All goes on as before. */
  release(): Promise<void>;
}

export interface Target extends Side {
  /** Up to where the first round has come: a key; 'done'; undefined: not begun. */
  progress(table: Table): Promise<Row | 'done' | undefined>;
  /**
   * In one durable transaction: these go, these come, and the first round has come so far. A row that cannot come because another one still has
   * what must be unique is left out.
   */
  change(table: Table, change: { gone?: Row[]; rows?: Row[]; progress?: Row | 'done' }): Promise<void>;
  /** It is whole: a server may start on it. */
  finish(): Promise<void>;
}

/** Tables that are not copied: what the copying itself and the migrations keep, keys, which may have been elsewhere, and which server it was. */
export const isOurs = (table: string): boolean => !/^(?:kysely_|sqlite_|kith_copy$|kith_moved$|secrets$|era_servers$)/.test(table);

export const keyOf = ({ key, columns }: Table, row: Row): Row => key.map((name) => row[columns.indexOf(name)]!);

/** As text that is the same for the same values on both engines. */
export const textOf = (row: Row): string => JSON.stringify(row);

/** Of many rows in any order: the sum of their SHA-256, 32 bits at a time. */
export class Sum {
  readonly #lanes = new Uint32Array(8);
  rows = 0;

  add(row: string): void {
    const digest = hash('sha256', row, 'buffer');
    for (let lane = 0; lane < 8; lane++) this.#lanes[lane] = (this.#lanes[lane]! + digest.readUInt32LE(lane * 4)) >>> 0;
    this.rows += 1;
  }

  get hex(): string {
    return Buffer.from(this.#lanes.buffer).toString('hex');
  }
}
