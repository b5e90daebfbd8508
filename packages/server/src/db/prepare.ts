import type { Compilable } from 'kysely';
import type { Query } from './db.ts';

/** What an engine offers that can run a statement without going through Kysely. */
export interface Direct {
  /** The first row, or undefined; the statement runs to its end all the same. */
  first(statement: Statement): unknown;
  all(statement: Statement): unknown[];
}

export interface Statement {
  /** The same object for every run: engines keep what they prepared by it. */
  of: Prepared;
  parameters: unknown[];
}

/** Made once from the query as Kysely compiled it. */
export interface Prepared {
  sql: string;
  /** For each parameter the name of what is given, or the constant that stands in the query. */
  parameters: (Place | { constant: unknown })[];
  /** Names of all that is given. */
  names: number;
}

type Given = Record<string, unknown>;
type Built<R> = Compilable<R> & { execute(): Promise<unknown[]> };

const direct = new WeakMap<Query, Direct>();

/** From now on prepared queries that are run on `q` go to the engine directly. */
export function runDirectly(q: Query, engine: Direct): void {
  direct.set(q, engine);
}

/**
 * A query that is asked at every message. Kysely takes several times as long to build and compile one as SQLite to answer it, so
 * it is built once, with places in place of the values, and from then on only the values change. Where an engine has no direct way, and
 * where a plugin watches, it is built and run like any other.
 *
 * @param build  May not decide by what is given; the same keys must be given each time.
 */
export function prepare<P extends object, R>(
  build: (q: Query, given: P) => Built<R>,
): { first(q: Query, given: P): Promise<R | undefined>; all(q: Query, given: P): Promise<R[]>; statement(q: Query, given: P): Statement } {
  let prepared: Prepared | undefined;
  let apart: Prepared | undefined;
  const statement = (q: Query, given: P): Statement => {
    prepared ??= compile(q, given, build);
    return { of: prepared, parameters: valuesOf(prepared, given as Given) };
  };
  return {
    async first(q, given) {
      const engine = direct.get(q);
      return (engine ? engine.first(statement(q, given)) : (await build(q, given).execute())[0]) as R | undefined;
    },
    async all(q, given) {
      const engine = direct.get(q);
      return (engine ? engine.all(statement(q, given)) : await build(q, given).execute()) as R[];
    },
    /** For an engine that runs it itself. One without a direct way has words of its own, so not the one above. */
    statement(q, given) {
      if (direct.has(q)) return statement(q, given);
      apart ??= compile(q, given, build);
      return { of: apart, parameters: valuesOf(apart, given as Given) };
    },
  };
}

/** Stands in a query for a value that is given with each run. */
class Place {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

function compile<P extends object, R>(q: Query, given: P, build: (q: Query, given: P) => Built<R>): Prepared {
  const names = Object.keys(given);
  const places = Object.fromEntries(names.map((name) => [name, new Place(name)])) as P;
  const { sql, parameters } = build(q, places).compile();
  return { sql, parameters: parameters.map((value) => (value instanceof Place ? value : { constant: value })), names: names.length };
}

function valuesOf({ parameters, names }: Prepared, given: Given): unknown[] {
  let count = 0;
  for (const name in given) if (Object.hasOwn(given, name)) count++;
  if (count !== names) throw new Error('a prepared query was given other names than at first');
  return parameters.map((parameter) => {
    if (!(parameter instanceof Place)) return parameter.constant;
    const value = given[parameter.name];
    if (value === undefined) throw new Error(`a prepared query was not given ${parameter.name}`);
    return value;
  });
}
