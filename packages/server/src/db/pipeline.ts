import type pg from 'pg';

/** A statement whose parameters are text, numbers or nothing. It is prepared once on each connection, so there must be few different ones. */
export interface Step {
  sql: string;
  parameters: readonly unknown[];
}

/** A row as the server wrote it: its columns in order, as text. */
export type Texts = (string | null)[];

/**
 * Runs statements one after the other in one round trip, as one transaction: they are sent with a single Sync behind them, which commits. When one
 * fails, those behind it are not run, and all of them are undone. Each sees what others committed before it began, also while it
 * waited for the lock of the one before.
 *
 * @returns for each statement the rows that it found
 * @throws pg.DatabaseError what the server said: nothing of it is left. Any other error, and one by which the server ends the connection: nobody knows
 */
export function pipeline(client: pg.ClientBase, steps: readonly Step[]): Promise<Texts[][]> {
  const { promise, resolve, reject } = Promise.withResolvers<Texts[][]>();
  client.query(new Pipeline(steps, resolve, reject));
  return promise;
}

/** What `pg.Connection` can do that its types do not tell. */
interface Wire {
  stream: { cork(): void; uncork(): void };
  parse(statement: { name: string; text: string }): void;
  bind(values: { statement: string; values: unknown[] }): void;
  execute(portal: object): void;
  close(what: { type: 'S'; name: string }): void;
  sync(): void;
}

/** By its text: how a statement is called on each connection. */
const names = new Map<string, string>();
/** What is prepared there. */
const prepared = new WeakMap<object, Set<string>>();

/** What `pg` takes for a query, as `pg-cursor` does: it is handed the answers of the server as they come. */
class Pipeline implements pg.Submittable {
  readonly #steps: readonly Step[];
  readonly #resolve: (rows: Texts[][]) => void;
  readonly #reject: (error: unknown) => void;
  readonly #rows: Texts[][];
  #at = 0;
  #connection: object | undefined;

  constructor(steps: readonly Step[], resolve: (rows: Texts[][]) => void, reject: (error: unknown) => void) {
    this.#steps = steps;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#rows = steps.map(() => []);
  }

  submit(connection: pg.Connection): void {
    this.#connection = connection;
    const wire = connection as unknown as Wire;
    let known = prepared.get(connection);
    if (!known) prepared.set(connection, (known = new Set()));
    // One write to the socket, and at the other end one wake-up.
    wire.stream.cork();
    try {
      for (const { sql, parameters } of this.#steps) {
        const name = nameOf(sql);
        if (!known.has(name)) {
          // It may be there all the same, of a run that failed; to close one that is not is no error.
          wire.close({ type: 'S', name });
          wire.parse({ name, text: sql });
          known.add(name);
        }
        wire.bind({ statement: name, values: parameters.map((value) => (typeof value === 'number' ? String(value) : value)) });
        wire.execute({});
      }
      wire.sync();
    } finally {
      wire.stream.uncork();
    }
  }

  handleDataRow({ fields }: { fields: Texts }): void {
    this.#rows[this.#at]!.push(fields);
  }

  handleCommandComplete(): void {
    this.#at++;
  }

  /** Only now it is durable: each statement was reported as complete before the commit. */
  handleReadyForQuery(): void {
    this.#resolve(this.#rows);
  }

  handleError(error: unknown): void {
    // Whatever was to be prepared behind the one that failed is not.
    if (this.#connection) prepared.delete(this.#connection);
    this.#reject(error);
  }
}

function nameOf(sql: string): string {
  let name = names.get(sql);
  if (name === undefined) names.set(sql, (name = `kith ${names.size}`));
  return name;
}
