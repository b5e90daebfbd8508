import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { Kysely, type LimitNode, type QueryCompiler, SqliteDialect, SqliteQueryCompiler, ValueNode } from 'kysely';
import type { Query } from './db.ts';
import type { Direct, Prepared, Statement } from './prepare.ts';
import type { Schema } from './schema.ts';

const preparedStatements = 500;

type Row = Record<string, SQLOutputValue>;

/** How often a connection has written, and to some tables: whoever remembers what stood there knows by it that it may not be so any more. */
export class Writes {
  /** To any table. */
  all = 0;
  /** To these. */
  count = 0;
  readonly #mentions: RegExp;

  constructor(tables: readonly string[]) {
    this.#mentions = new RegExp(`\\b(${tables.join('|')})\\b`, 'i');
  }

  /** @returns what to call when the statement is run; undefined: it cannot write. One that only reads counts here and there, too: it is once too often at most. */
  counter(sql: string): (() => void) | undefined {
    if (/^\s*select\b/i.test(sql)) return undefined;
    const mentions = this.#mentions.test(sql) ? 1 : 0;
    return () => {
      this.all++;
      this.count += mentions;
    };
  }
}

/**
 * A statement whose rows are plain objects. Those that node:sqlite makes look each property up in a table of their own and name it anew for each
 * row: to make and copy one takes two to three times as long.
 */
class Rows {
  readonly #statement: StatementSync;
  readonly #runs: (() => void) | undefined;
  #names: string[] = [];
  #template: Row = {};

  constructor(db: DatabaseSync, sql: string, writes: Writes | undefined) {
    const statement = (this.#statement = db.prepare(sql));
    this.#runs = writes?.counter(sql);
    statement.setReturnArrays(true);
    this.#learn();
  }

  /** Does it find rows at all? */
  get finds(): boolean {
    return this.#names.length > 0;
  }

  first(parameters: readonly unknown[]): Row | undefined {
    this.#runs?.();
    const values = this.#statement.get(...(parameters as SQLInputValue[])) as SQLOutputValue[] | undefined;
    return values && this.#row(values);
  }

  all(parameters: readonly unknown[]): Row[] {
    this.#runs?.();
    const rows = this.#statement.all(...(parameters as SQLInputValue[])) as unknown as SQLOutputValue[][];
    return rows.map((values) => this.#row(values));
  }

  *iterate(parameters: readonly unknown[]): IterableIterator<Row> {
    this.#runs?.();
    for (const values of this.#statement.iterate(...(parameters as SQLInputValue[]))) yield this.#row(values as unknown as SQLOutputValue[]);
  }

  run(parameters: readonly unknown[]) {
    this.#runs?.();
    return this.#statement.run(...(parameters as SQLInputValue[]));
  }

  #row(values: SQLOutputValue[]): Row {
    // A `select *` has more columns once a migration has added some.
    if (values.length !== this.#names.length) this.#learn();
    const row = { ...this.#template };
    for (let at = 0; at < values.length; at++) row[this.#names[at]!] = values[at]!;
    return row;
  }

  #learn(): void {
    this.#names = this.#statement.columns().map(({ name }) => name);
    // Parsed, so that all rows have the same layout, however many columns there are.
    this.#template = JSON.parse(JSON.stringify(Object.fromEntries(this.#names.map((name) => [name, null])))) as Row;
  }
}

/** Kysely on node:sqlite, which has the shape of better-sqlite3 but for two details, with the prepared statements kept. */
export function kyselyOn(db: DatabaseSync, writes?: Writes): Query {
  const prepared = new Map<string, ReturnType<typeof adapt>>();
  return new Kysely<Schema>({
    dialect: new Dialect({
      database: {
        close: () => db.close(),
        prepare(sql: string) {
          let statement = prepared.get(sql);
          if (statement) prepared.delete(sql);
          else statement = adapt(new Rows(db, sql, writes));
          prepared.set(sql, statement);
          if (prepared.size > preparedStatements) prepared.delete(prepared.keys().next().value!);
          return statement;
        },
      },
    }),
  });
}

function adapt(rows: Rows) {
  return {
    reader: rows.finds,
    all: (parameters: readonly unknown[]) => rows.all(parameters),
    run: (parameters: readonly unknown[]) => rows.run(parameters),
    iterate: (parameters: readonly unknown[]) => rows.iterate(parameters),
  };
}

class Dialect extends SqliteDialect {
  override createQueryCompiler(): QueryCompiler {
    return new Compiler();
  }
}

/**
 * Limits stand in the text. SQLite plans by them: where one is a parameter, it prepares the statement anew each time that it is given, also with the same
 * value, which takes many times as long as most answers.
 */
class Compiler extends SqliteQueryCompiler {
  protected override visitLimit(node: LimitNode): void {
    const { limit } = node;
    if (!ValueNode.is(limit) || !Number.isSafeInteger(limit.value)) return super.visitLimit(node);
    this.append('limit ');
    this.appendImmediateValue(limit.value);
  }
}

/** Prepared queries, without Kysely between: it answers at once, where Kysely has to wait for each of its own steps. */
export function directly(db: DatabaseSync, writes?: Writes): Direct {
  const statements = new Map<Prepared, Rows>();
  const find = (prepared: Prepared): Rows => {
    let statement = statements.get(prepared);
    if (!statement) statements.set(prepared, (statement = new Rows(db, prepared.sql, writes)));
    return statement;
  };
  return {
    first: ({ of, parameters }: Statement) => find(of).first(parameters),
    all: ({ of, parameters }: Statement) => find(of).all(parameters),
  };
}
