import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type pg from 'pg';
import { type Era, type PrimaryNews, type Standing, isBefore } from '../core/core.ts';
import { DatabaseError, type Primary } from './db.ts';
import { writeEraHeads } from './schema.ts';

/** Milliseconds that the beginning of an era may take: all streams are written down. */
const beginMs = 300_000;

/**
 * The system, and its timeline: another one begins with each promotion and each recovery to a moment. It is read off the name of the file that is written
 * to, because the control file learns of it later.
 */
const serverNow = `(select system_identifier::text from pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)`;
const newest = `select number, id, server, ${serverNow} as here from eras left join era_servers on era = number order by number desc limit 1`;

interface Found extends Era {
  server: string | null;
  here: string;
}

/**
 * Sees to it that nothing is written to a server whose history others have left: one that was the primary, was given up, and is back, or never knew.
 * Each server's newest era is in its database; a node remembers the latest that it has seen or heard of, and works with no
 * earlier one. With the first connection to another server, or timeline, an era begins, before anybody can write there.
 */
export class PostgresPrimary implements Primary {
  readonly #connect: () => Promise<pg.Client>;
  /** Connections that are in use or may be, and the era that each was made in. */
  readonly #clients = new Map<pg.ClientBase, Era>();
  /** That this node works in. */
  #era: Era | undefined;
  /** That it knows of. */
  #latest: Era | undefined;
  #refused: string | undefined;
  #tell: (news: PrimaryNews) => void = () => {};

  /** @param connect  Makes a connection that is nobody's, to a server that takes writes. */
  constructor(connect: () => Promise<pg.Client>) {
    this.#connect = connect;
  }

  /** Lets a connection in. @throws DatabaseError when its server is of an earlier era */
  async admit(client: pg.ClientBase): Promise<void> {
    const era = await findEra(client);
    if (this.#latest && isBefore(era, this.#latest)) {
      const words = `The PostgreSQL that answers now is of an earlier time (era ${era.number}, and others are in ${this.#latest.number} already): a primary that was given up. It is not written to.`;
      if (this.#refused !== words) this.#tell({ refused: words });
      this.#refused = words;
      throw new DatabaseError(words);
    }
    this.#latest = era;
    this.#refused = undefined;
    this.#clients.set(client, era);
    client.once('end', () => this.#clients.delete(client));
    if (this.#era?.id === era.id) return;
    const isFirst = this.#era === undefined;
    this.#era = era;
    this.#letGo(era);
    if (!isFirst) this.#tell({ era });
  }

  heard(era: Era): void {
    if (!this.#latest || !isBefore(this.#latest, era)) return;
    this.#latest = era;
    this.#letGo(era);
  }

  onNews(listener: (news: PrimaryNews) => void): void {
    this.#tell = listener;
  }

  async look(): Promise<Standing> {
    const client = await this.#connect();
    try {
      await this.admit(client);
      return await findStanding(client);
    } finally {
      await client.end();
    }
  }

  /** What is under way on connections to earlier servers ends as when those are gone: nobody knows whether it came about. */
  #letGo(era: Era): void {
    for (const [client, of] of this.#clients) {
      if (of.id === era.id) continue;
      this.#clients.delete(client);
      wireOf(client).stream.destroy();
    }
  }
}

/** The newest era of a server's database; one begins if it is not of this server. */
async function findEra(client: pg.ClientBase): Promise<Era> {
  const [found] = (await client.query<Found>(newest)).rows;
  if (found && found.server === found.here) return { number: found.number, id: found.id };
  const { stream } = wireOf(client);
  const { timeout = 0 } = stream;
  await client.query('begin');
  try {
    stream.setTimeout(beginMs);
    // All that find the same wait here for the first of them.
    await client.query(`set local statement_timeout = ${beginMs}`);
    await client.query('lock table eras in exclusive mode');
    const era = await begin(client, (await client.query<Found>(newest)).rows[0]!);
    await client.query('commit');
    return era;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  } finally {
    stream.setTimeout(timeout);
  }
}

/** What `pg.Client` has that its types do not tell. */
export const wireOf = (client: pg.ClientBase): { stream: Socket } => (client as unknown as { connection: { stream: Socket } }).connection;

/** Under the lock. */
async function begin(client: pg.ClientBase, { number, id, server, here }: Found): Promise<Era> {
  if (server === here) return { number, id };
  const place = (era: number): Promise<unknown> => client.query('insert into era_servers (era, server) values ($1, $2)', [era, here]);
  // It was made here, or copied to here, and goes on.
  if (server === null) {
    await place(number);
    return { number, id };
  }
  const era = { number: number + 1, id: randomUUID() };
  await client.query('insert into eras (number, id, at) values ($1, $2, $3)', [era.number, era.id, Date.now()]);
  await place(era.number);
  for (const statement of writeEraHeads) await client.query(statement);
  return era;
}

/** Whoever may not read all of pg_stat_replication sees who is there, and not whether commits wait for it: settings say the rest. */
async function findStanding(client: pg.ClientBase): Promise<Standing> {
  const { rows } = await client.query<{ names: string; waits: string; standbys: number; awaited: number }>(
    `select current_setting('synchronous_standby_names') as names, current_setting('synchronous_commit') as waits,
      count(*)::int as standbys, (count(*) filter (where sync_state is distinct from 'async'))::int as awaited
    from pg_stat_replication where application_name <> 'pg_basebackup'`,
  );
  const { names, waits, standbys, awaited } = rows[0]!;
  if (names.trim() === '') return standbys === 0 ? 'alone' : 'asynchronous';
  if (waits !== 'on' && waits !== 'remote_apply') return 'asynchronous';
  return awaited === 0 ? 'missing' : 'synchronous';
}
