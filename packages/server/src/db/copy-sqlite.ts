import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { type Hold, type Row, type Side, type Source, type Table, type Target, isOurs } from './copy.ts';
import { DatabaseError } from './db.ts';

/** Milliseconds to wait for a server that is writing just now. */
const patientMs = 10_000;

/**
 * A data directory that everything is copied from, its server running or not.
 *
 * @throws DatabaseError
 */
export function openSqliteSource(folder: string): Source {
  const file = path.join(folder, 'kith.db');
  if (!fs.existsSync(file)) throw new DatabaseError(`There is no database at ${file}.`);
  const db = open(file);
  return {
    ...side(folder, db),
    async movedTo() {
      return has(db, 'kith_moved') ? (db.prepare('select "to" from kith_moved').get() as { to: string } | undefined)?.to : undefined;
    },
    /** The one lock for writing that there is: the server finds it taken. It goes with this process, however that ends. */
    async hold(): Promise<Hold> {
      try {
        // Beside a server that copies the log itself.
        db.exec('pragma wal_autocheckpoint = 0; begin immediate');
      } catch (error) {
        throw new DatabaseError(`${file} is held by another program, a backup perhaps. Try again when that is done; nothing was changed.`, { cause: error });
      }
      return {
        async leave(to) {
          db.exec('create table if not exists kith_moved ("to" text not null, at bigint not null); delete from kith_moved');
          db.prepare('insert into kith_moved ("to", at) values (?, ?)').run(to, Date.now());
          db.exec('commit');
        },
        release: async () => db.exec('rollback'),
      };
    },
  };
}

/**
 * A data directory that everything is copied to: empty, or of an unfinished copy of the same source.
 *
 * @param migrate  Makes the tables of this version in it.
 * @throws DatabaseError
 */
export async function openSqliteTarget(folder: string, from: string, migrate: () => Promise<void>): Promise<Target> {
  const file = path.join(folder, 'kith.db');
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = (fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const first = open(file);
  try {
    const begun = has(first, 'kith_copy') ? (first.prepare(`select value from kith_copy where name = 'from'`).get() as { value: string } | undefined)?.value : undefined;
    if (!fresh && begun !== from)
      throw new DatabaseError(
        begun === undefined
          ? `There is a database in ${folder} already. Name an empty folder; nothing was changed.`
          : `In ${folder} is an unfinished copy of ${begun}, not of ${from}. Go on with that one, or name an empty folder; nothing was changed.`,
      );
    if (fresh) {
      first.exec(`pragma journal_mode = wal; begin immediate; create table kith_copy (name text primary key, value text not null)`);
      first.prepare(`insert into kith_copy (name, value) values ('from', ?)`).run(from);
      first.exec('commit');
    }
  } finally {
    first.close();
  }
  await migrate();
  const lock = lockFolder(folder);
  const db = open(file);
  db.exec('pragma synchronous = full; pragma cache_size = -64000; pragma wal_autocheckpoint = 8000');
  const note = (table: Table, value: Row | 'done'): void =>
    void db.prepare('insert into kith_copy (name, value) values (?, ?) on conflict (name) do update set value = excluded.value').run(`table ${table.name}`, JSON.stringify(value));
  const common = side(folder, db);
  return {
    ...common,
    async progress(table) {
      const row = db.prepare('select value from kith_copy where name = ?').get(`table ${table.name}`) as { value: string } | undefined;
      return row && (JSON.parse(row.value) as Row | 'done');
    },
    async change(table, { gone = [], rows = [], progress }) {
      db.exec('begin immediate');
      try {
        if (gone.length > 0) {
          const remove = db.prepare(`delete from ${quoted(table.name)} where ${table.key.map((name) => `${quoted(name)} = ?`).join(' and ')}`);
          for (const key of gone) remove.run(...key);
        }
        if (rows.length > 0) {
          const insert = db.prepare(`insert into ${quoted(table.name)} (${list(table.columns)}) values (${table.columns.map(() => '?').join(', ')}) on conflict do nothing`);
          for (const row of rows) insert.run(...row);
        }
        if (progress !== undefined) note(table, progress);
        db.exec('commit');
      } catch (error) {
        if (db.isTransaction) db.exec('rollback');
        throw error;
      }
    },
    async finish() {
      db.exec('analyze; drop table kith_copy');
    },
    async close() {
      await common.close();
      lock.close();
    },
  };
}

/** The lock that a server holds on its folder: two copies into one, or a copy beside a server, would be a mixture. */
function lockFolder(folder: string): DatabaseSync {
  const lock = new DatabaseSync(path.join(folder, 'kith.lock'), { timeout: 0 });
  try {
    lock.exec('begin exclusive');
    return lock;
  } catch (error) {
    lock.close();
    throw new DatabaseError(`Another Kith is running on ${folder}. One data directory serves one process.`, { cause: error });
  }
}

function side(folder: string, db: DatabaseSync): Side {
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    let statement = statements.get(sql);
    if (!statement) {
      statement = db.prepare(sql);
      statement.setReturnArrays(true);
      statements.set(sql, statement);
    }
    return statement;
  };
  const all = (sql: string, ...values: Row): Row[] => prepared(sql).all(...values) as unknown as Row[];
  return {
    name: path.resolve(folder),
    async migrations() {
      return has(db, 'kysely_migration') ? all('select name from kysely_migration order by name').map(([name]) => name as string) : [];
    },
    async tables() {
      // Virtual tables and what stands behind them are made from the others.
      const names = all(`select name from pragma_table_list where schema = 'main' and type = 'table' order by name`).map(([name]) => name as string);
      return names.filter(isOurs).map((name) => {
        const columns = db.prepare('select name, pk from pragma_table_info(?)').all(name) as { name: string; pk: number }[];
        const key = columns.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
        return { name, key: key.map((column) => column.name), columns: columns.map((column) => column.name).sort() };
      });
    },
    async count({ name }) {
      return all(`select count(*) from ${quoted(name)}`)[0]![0] as number;
    },
    async page({ name, key, columns }, after, limit) {
      const where = after === undefined ? '' : `where (${list(key)}) > (${key.map(() => '?').join(', ')})`;
      return all(`select ${list(columns)} from ${quoted(name)} ${where} order by ${list(key)} limit ?`, ...(after ?? []), limit);
    },
    async find({ name, key, columns }, keys) {
      const sql = `select ${list(columns)} from ${quoted(name)} where ${key.map((one) => `${quoted(one)} = ?`).join(' and ')}`;
      return keys.flatMap((values) => all(sql, ...values));
    },
    async close() {
      db.close();
    },
  };
}

function open(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file, { timeout: patientMs });
  } catch (error) {
    throw new DatabaseError(`${file} cannot be opened: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  }
}

const has = (db: DatabaseSync, table: string): boolean => db.prepare(`select 1 from sqlite_master where type = 'table' and name = ?`).get(table) !== undefined;
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const list = (names: string[]): string => names.map(quoted).join(', ');
