import pg from 'pg';
import { type Hold, type Row, type Side, type Source, type Table, type Target, isOurs } from './copy.ts';
import { DatabaseError } from './db.ts';

/** Whoever copies from, and to, a database. */
const sourceLock = 0x6b697468;
const targetLock = 0x6b697469;
const INT8 = 20;
/** All our integers are below 2^53; as text they would not be those of SQLite. */
const types = { getTypeParser: ((oid: number, format: 'text') => (oid === INT8 ? Number : pg.types.getTypeParser(oid, format))) as typeof pg.types.getTypeParser };
/** Milliseconds for the transactions that run to end. */
const patientMs = 10_000;

/**
 * A PostgreSQL that everything is copied from, with its nodes running or not.
 *
 * @throws DatabaseError
 */
export async function openPostgresSource(url: string): Promise<Source> {
  const db = await connect(url);
  const common = side(url, db);
  return {
    ...common,
    async movedTo() {
      return (await has(db, 'kith_moved')) ? (await rowsOf(db, 'select "to" from kith_moved'))[0]?.[0]?.toString() : undefined;
    },
    async hold() {
      try {
        return await hold(db, await common.tables());
      } catch (error) {
        throw new DatabaseError(`Writing could not be held: ${wordsOf(error)}. Nothing was changed.`, { cause: error });
      }
    },
  };
}

/**
 * Every table refuses to be written to for as long as this connection has the lock, so that nothing is left behind when
 * this process is killed: the triggers then let everything through. A trigger can be made only when those who write to its table have
 * ended, and whoever writes after that meets it; so what is read from here on is the last.
 */
async function hold(db: pg.Client, tables: Table[]): Promise<Hold> {
  await db.query(`set lock_timeout = ${patientMs}`);
  await db.query('select pg_advisory_lock($1)', [sourceLock]);
  const refuse = (condition: string, words: string): string =>
    `create or replace function kith_hold() returns trigger language plpgsql as $$ begin
      ${condition} raise exception '${words}' using errcode = 'cannot_connect_now';
    end $$`;
  const release = async (): Promise<void> => {
    for (const { name } of tables) await db.query(`drop trigger if exists kith_hold on ${quoted(name)}`);
    await db.query('drop function if exists kith_hold()');
    await db.query('select pg_advisory_unlock($1)', [sourceLock]);
  };
  try {
    await db.query(refuse(`if pg_try_advisory_xact_lock_shared(${sourceLock}) then return null; end if;`, 'everything is being copied'));
    for (const { name } of tables) {
      await db.query(`drop trigger if exists kith_hold on ${quoted(name)}`);
      await db.query(`create trigger kith_hold before insert or update or delete on ${quoted(name)} for each statement execute function kith_hold()`);
    }
  } catch (error) {
    await release().catch(() => {});
    throw error;
  }
  return {
    release,
    async leave(to) {
      await db.query('begin');
      await db.query('create table if not exists kith_moved ("to" text not null, at bigint not null)');
      await db.query('delete from kith_moved');
      await db.query('insert into kith_moved ("to", at) values ($1, $2)', [to, Date.now()]);
      await db.query(refuse('', 'everything was moved away from here'));
      await db.query('commit');
      await db.query('select pg_advisory_unlock($1)', [sourceLock]);
    },
  };
}

/**
 * A PostgreSQL that everything is copied to: empty, or with an unfinished copy of the same source.
 *
 * @param migrate  Makes the tables of this version in it.
 * @throws DatabaseError
 */
export async function openPostgresTarget(url: string, from: string, migrate: () => Promise<void>): Promise<Target> {
  const db = await connect(url);
  const common = side(url, db);
  try {
    // Of one that was killed just now the database server may not know yet.
    await db.query(`set lock_timeout = ${patientMs}`);
    await db.query('select pg_advisory_lock($1)', [targetLock]).catch((error: unknown) => {
      throw new DatabaseError(`Somebody else is copying to ${common.name} just now.`, { cause: error });
    });
    const begun = (await has(db, 'kith_copy')) ? (await rowsOf(db, `select value from kith_copy where name = 'from'`))[0]?.[0] : undefined;
    const tables = await rowsOf(db, 'select tablename from pg_tables where schemaname = current_schema()');
    if (tables.length > 0 && begun !== from)
      throw new DatabaseError(
        begun === undefined
          ? `There are tables in ${common.name} already. Name an empty database; nothing was changed.`
          : `In ${common.name} is an unfinished copy of ${String(begun)}, not of ${from}. Go on with that one, or name an empty database; nothing was changed.`,
      );
    if (begun === undefined) {
      await db.query('begin');
      await db.query('create table kith_copy (name text primary key, value text not null)');
      await db.query(`insert into kith_copy (name, value) values ('from', $1)`, [from]);
      await db.query('commit');
    }
    await migrate();
  } catch (error) {
    await db.end();
    throw error;
  }
  return {
    ...common,
    async progress({ name }) {
      const [row] = await rowsOf(db, 'select value from kith_copy where name = $1', [`table ${name}`]);
      return row && (JSON.parse(row[0] as string) as Row | 'done');
    },
    async change(table, { gone = [], rows = [], progress }) {
      const { name, key, columns } = table;
      await db.query('begin');
      try {
        if (gone.length > 0) {
          const same = key.map((one) => `t.${quoted(one)} = k.${quoted(one)}`).join(' and ');
          await db.query(`delete from ${quoted(name)} t using ${given(table)} k where ${same}`, [asJson(key, gone)]);
        }
        if (rows.length > 0)
          await db.query(`insert into ${quoted(name)} (${list(columns)}) select ${list(columns)} from ${given(table)} on conflict do nothing`, [asJson(columns, rows)]);
        if (progress !== undefined)
          await db.query('insert into kith_copy (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value', [
            `table ${name}`,
            JSON.stringify(progress),
          ]);
        await db.query('commit');
      } catch (error) {
        await db.query('rollback').catch(() => {});
        throw error;
      }
    },
    async finish() {
      await db.query('analyze');
      await db.query('drop table kith_copy');
    },
  };
}

function side(url: string, db: pg.Client): Side {
  return {
    name: nameOf(url),
    async migrations() {
      return (await has(db, 'kysely_migration')) ? (await rowsOf(db, 'select name from kysely_migration')).map(([name]) => name as string).sort() : [];
    },
    async tables() {
      // What the database makes from other columns by itself comes by itself.
      const columns = await rowsOf(
        db,
        `select c.relname::text, a.attname::text, coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)
          from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_index i on i.indrelid = c.oid and i.indisprimary
          where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''`,
      );
      const names = [...new Set(columns.map(([table]) => table as string))].filter(isOurs).sort();
      return names.map((name) => {
        const own = columns.filter(([table]) => table === name) as [string, string, number][];
        const key = own.filter(([, , place]) => place > 0).sort((a, b) => a[2] - b[2]);
        return { name, key: key.map(([, column]) => column), columns: own.map(([, column]) => column).sort() };
      });
    },
    async count({ name }) {
      return (await rowsOf(db, `select count(*) from ${quoted(name)}`))[0]![0] as number;
    },
    page({ name, key, columns }, after, limit) {
      const where = after === undefined ? '' : `where (${list(key)}) > (${key.map((_, index) => `$${index + 2}`).join(', ')})`;
      return rowsOf(db, `select ${list(columns)} from ${quoted(name)} ${where} order by ${list(key)} limit $1`, [limit, ...(after ?? [])]);
    },
    find(table, keys) {
      const columns = table.columns.map((name) => `t.${quoted(name)}`).join(', ');
      return rowsOf(db, `select ${columns} from ${given(table)} k join ${quoted(table.name)} t using (${list(table.key)})`, [asJson(table.key, keys)]);
    },
    async close() {
      await db.end();
    },
  };
}

async function connect(url: string): Promise<pg.Client> {
  const db = new pg.Client({ connectionString: url, connectionTimeoutMillis: patientMs, keepAlive: true, types });
  // It tells by the query that is under way; without a listener the process would end without words.
  db.on('error', () => {});
  try {
    await db.connect();
  } catch (error) {
    throw new DatabaseError(`${nameOf(url)} cannot be reached: ${wordsOf(error)}.`, { cause: error });
  }
  return db;
}

/** Without its password. */
function nameOf(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `postgres://${hostname}${port === '' ? '' : `:${port}`}${pathname}`;
}

const rowsOf = async (db: pg.Client, text: string, values: unknown[] = []): Promise<Row[]> => (await db.query<Row>({ text, values, rowMode: 'array' })).rows;
const has = async (db: pg.Client, table: string): Promise<boolean> =>
  (await rowsOf(db, 'select 1 from pg_tables where schemaname = current_schema() and tablename = $1', [table])).length > 0;
const quoted = (name: string): string => pg.escapeIdentifier(name);
const list = (names: string[]): string => names.map(quoted).join(', ');
/** Rows of a table, given as one value, however many they are. */
const given = ({ name }: Table): string => `json_populate_recordset(null::${quoted(name)}, $1::json)`;
const asJson = (columns: string[], rows: Row[]): string => JSON.stringify(rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]]))));
const wordsOf = (error: unknown): string => (error instanceof Error ? error.message || ((error as NodeJS.ErrnoException).code ?? error.name) : String(error));
