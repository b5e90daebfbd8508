import type { PostgresPool, PostgresPoolClient } from 'kysely';
import type pg from 'pg';

/** How often a query comes before it is prepared; how many are, on each connection; and of how many it is known how often they came. */
const oftenFrom = 3;
const mostPrepared = 100;
const mostCounted = 2_000;

/**
 * The pool as Kysely sees it. Queries that come again and again are prepared, because to plan one takes the server several times as long as to
 * answer it. Those that name no columns (`*`) are not: when another node, of a newer version, gives the table one more, the server refuses them.
 */
export function preparing(pool: pg.Pool): PostgresPool {
  const names = new Map<string, string>();
  const counts = new Map<string, number>();
  const nameOf = (sql: string): string | undefined => {
    const name = names.get(sql);
    if (name !== undefined || names.size >= mostPrepared || !isPreparable(sql)) return name;
    const count = (counts.get(sql) ?? 0) + 1;
    if (count < oftenFrom) {
      if (counts.size >= mostCounted) counts.clear();
      counts.set(sql, count);
      return undefined;
    }
    counts.delete(sql);
    names.set(sql, `often ${names.size}`);
    return names.get(sql);
  };
  // By the connection, since Kysely keeps what it knows of one by what it is given.
  const seen = new WeakMap<pg.PoolClient, PostgresPoolClient>();
  return {
    async connect() {
      const client = await pool.connect();
      let shown = seen.get(client);
      if (!shown) {
        // A query goes as text and values; all else, which is cursors, as it is.
        const query = (text: unknown, values: readonly unknown[]): unknown => {
          const name = typeof text === 'string' ? nameOf(text) : undefined;
          return client.query((name === undefined ? text : { name, text }) as string, values as unknown[]);
        };
        shown = { query: query as PostgresPoolClient['query'], release: (discard) => client.release(discard) };
        seen.set(client, shown);
      }
      return shown;
    },
    end: () => pool.end(),
    options: pool.options,
  };
}

const isPreparable = (sql: string): boolean => /^(?:select|insert|update|delete|with)\b/.test(sql) && !sql.includes('*');
