import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import pg from 'pg';
import type { Config } from '../../src/config.ts';

/**
 * The rows of a server under test, read and written beside it: to see what is on disk, and to come to where calls would
 * take too long.
 */
export interface Rows {
  /** @param sql  The same for both engines; each `?` stands for a value. */
  run<T = Record<string, unknown>>(sql: string, ...values: (string | number | null)[]): Promise<T[]>;
  close(): Promise<void>;
}

export async function openRows(config: Pick<Config, 'data' | 'database'>): Promise<Rows> {
  if (config.database === 'sqlite') {
    const file = new DatabaseSync(join(config.data, 'kith.db'), { timeout: 5_000 });
    return {
      run: async <T>(sql: string, ...values: SQLInputValue[]) => file.prepare(sql).all(...values) as T[],
      close: async () => file.close(),
    };
  }
  const client = new pg.Client({ connectionString: config.database });
  // The server may drop the database before this connection is closed.
  client.on('error', () => {});
  await client.connect();
  let last: Promise<unknown> = Promise.resolve();
  return {
    async run<T>(sql: string, ...values: unknown[]) {
      let place = 0;
      const answer = last.then(() =>
        client.query(
          sql.replaceAll('?', () => `$${++place}`),
          values,
        ),
      );
      last = answer.catch(() => {});
      return (await answer).rows as T[];
    },
    close: () => client.end(),
  };
}

/** Numbers 1 to `count` as a table `n` with a column `i`, to insert many rows at once. */
export const numbers = (count: number): string => `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count})`;
