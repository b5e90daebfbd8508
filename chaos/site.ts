import fs from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { type TestNats, startNats } from '../packages/server/test/nats.ts';
import { type TestDatabase, type TestPostgres, createTestDatabase, openTestPostgres } from '../packages/server/test/postgres.ts';
import { type Proxy, openProxy } from '../packages/server/test/proxy.ts';
import { type Space, float, openMiddle, openSpace, swallow } from './namespaces.ts';

// Where the nodes of a play stand, and what they stand on: PostgreSQL, with a standby where one is wanted, and NATS, and wires that can be
// cut. Either all of it on loopback, and the wires are proxies; or each part in a network namespace, and the kernel swallows what goes one way.

export type Way = 'there' | 'back' | 'both';

/** From a node to something it needs. */
export interface Wire {
  /** What goes this way is swallowed while the connections stay open, or goes through again. */
  cut(way: Way, on: boolean): void;
  /** What goes either way takes so many milliseconds longer; 0: no longer. */
  slow(ms: number): void;
}

/** Where a node stands. */
export interface Place {
  /** What starts it, before its own command. */
  through: string[];
  env: NodeJS.ProcessEnv;
  toDatabase: Wire;
  toNats: Wire;
  close(): Promise<void>;
}

export interface Site {
  nats: TestNats;
  /** URL of the database, around all wires: of whatever server is the primary. */
  database: string;
  /** Only one way at a time can be cut. */
  oneWay: boolean;
  place(): Promise<Place>;
  /**
   * kill -9 of the primary, with everything of it; then the standby is it. @throws where no standby was asked for
   *
   * @param alive  The primary is not killed, and knows of nothing: whoever is connected to it stays so.
   */
  failOver(alive?: boolean): Promise<void>;
  /** Nobody waits for the standby any more, and it hears of nothing. @throws where no standby was asked for */
  deafen(): Promise<void>;
  /** The name of the primary leads to the one that was given up alive, or no more. All connections to it are cut. */
  mislead(on: boolean): void;
  /** The standby stands still, and with it every commit. @throws where no standby was asked for */
  pauseStandby(on: boolean): Promise<void>;
  close(): Promise<void>;
}

/** All on loopback. */
export async function openLoopback({ standby = false }: { standby?: boolean } = {}): Promise<Site> {
  const nats = await startNats();
  const pair = standby ? await openPair((_, standbyOf) => openTestPostgres({ ...careful, ...(standbyOf !== undefined && { standbyOf }) })) : undefined;
  const { url, drop } = pair?.database ?? (await createTestDatabase());
  const port = (): number => Number(new URL(pair?.primary() ?? url).port);
  const named = (): number => Number(new URL(pair?.named() ?? url).port);
  const names: Proxy[] = [];
  const at = (there: number): string => Object.assign(new URL(url), { port: String(there) }).href;
  return {
    nats,
    get database() {
      return at(port());
    },
    oneWay: false,
    async place() {
      const [toDatabase, toNats] = [await openProxy(named), await openProxy(() => nats.port)];
      names.push(toDatabase);
      return {
        through: [],
        env: { KITH_DATABASE: at(toDatabase.port), KITH_NATS: `nats://127.0.0.1:${toNats.port}` },
        toDatabase: wireOf(toDatabase),
        toNats: wireOf(toNats),
        close: async () => void (await Promise.all([toDatabase.close(), toNats.close()])),
      };
    },
    failOver: (alive) => (pair ?? noStandby()).failOver(alive),
    deafen: () => (pair ?? noStandby()).deafen(),
    mislead(on) {
      (pair ?? noStandby()).mislead(on);
      for (const proxy of names) proxy.cut();
    },
    pauseStandby: (on) => (pair ?? noStandby()).pauseStandby(on),
    async close() {
      await nats.close();
      if (pair) await pair.close();
      else await drop();
    },
  };
}

const noStandby = (): never => {
  throw new Error('No standby was asked for.');
};

function wireOf(proxy: Proxy): Wire {
  return {
    cut(way, on) {
      if (way !== 'both') throw new Error('A proxy that swallows one way would still confirm it: this needs namespaces.');
      proxy.stall(on);
    },
    slow: (ms) => proxy.delay(ms),
  };
}

/** The address that leads to the primary, and the port that both have. */
const floating = '10.77.0.9';
const postgresPort = 5_432;

/** Each part in a namespace of its own; this process is in the middle of them. */
export async function openNamespaces(): Promise<Site> {
  openMiddle();
  const [one, other, services] = [await openSpace(), await openSpace(), await openSpace()];
  const of = [one, other] as const;
  float(floating, one, [one, other]);
  const nats = await startNats([], services);
  const pair = await openPair(
    (which, standbyOf) => openTestPostgres({ ...careful, at: { ...of[which], port: postgresPort }, ...(standbyOf !== undefined && { standbyOf }) }),
    (which) => float(floating, of[which]),
  );
  const database = Object.assign(new URL(pair.database.url), { hostname: floating }).href;
  return {
    nats,
    database,
    oneWay: true,
    async place() {
      const space = await openSpace();
      return {
        through: space.through,
        env: { KITH_DATABASE: database, KITH_NATS: nats.url, HOST: space.address, ...onAnotherAddress },
        toDatabase: wireBetween(space, floating),
        toNats: wireBetween(space, services.address),
        close: () => space.close(),
      };
    },
    failOver: (alive) => pair.failOver(alive),
    deafen: () => pair.deafen(),
    mislead: (on) => pair.mislead(on),
    pauseStandby: (on) => pair.pauseStandby(on),
    async close() {
      await nats.close();
      await pair.close();
      await Promise.all([one, other, services].map((space) => space.close()));
    },
  };
}

/** What a server insists on that is not on loopback. */
const onAnotherAddress = { KITH_INSECURE_HTTP: 'on', KITH_PASSWORD_MEMORY: '19456', KITH_PASSWORD_PASSES: '2', KITH_REGISTRATION: 'open' };

const wireBetween = ({ address }: Space, to: string): Wire => ({
  cut(way, on) {
    if (way !== 'back') swallow(on, address, to);
    if (way !== 'there') swallow(on, to, address);
  },
  slow() {
    throw new Error('The kernel swallows, and makes nothing slow: this needs proxies.');
  },
});

// ── A primary and its synchronous standby ───────────────────────────────────────────────────────────────────────────────

const careful = { fsync: process.env['KITH_CHAOS_FSYNC'] !== undefined };

interface Pair {
  database: TestDatabase;
  /** URL of the server that is the primary now. */
  primary(): string;
  /** To which its name leads. */
  named(): string;
  failOver(alive?: boolean): Promise<void>;
  deafen(): Promise<void>;
  mislead(on: boolean): void;
  pauseStandby(on: boolean): Promise<void>;
  close(): Promise<void>;
}

type Which = 0 | 1;

/** @param lead  Makes the address that is given out lead to one of the two. */
async function openPair(open: (which: Which, standbyOf?: string) => Promise<TestPostgres>, lead: (which: Which) => void = () => {}): Promise<Pair> {
  let which: Which = 0;
  let primary = await open(which);
  let standby: TestPostgres | undefined;
  /** It hears of nothing any more. */
  let deaf = false;
  /** Given up alive. */
  let old: TestPostgres | undefined;
  let misled = false;
  const database = await createTestDatabase(primary.url);
  const join = async (): Promise<TestPostgres> => {
    await old?.close();
    old = undefined;
    standby ??= await open(which === 0 ? 1 : 0, primary.url);
    await confirmTogether(primary.url);
    return standby;
  };
  await join();
  return {
    database,
    primary: () => primary.url,
    named: () => (misled ? old! : primary).url,
    async failOver(alive = false) {
      const next = pausedProcesses.length > 0 || deaf ? standby! : await join();
      if (alive) old = primary;
      else {
        for (const pid of await processesOf(primary.url)) signal(pid, 'SIGKILL');
        await primary.close();
      }
      goOn();
      await ask(next.url, 'select pg_promote(true, 60)');
      which = which === 0 ? 1 : 0;
      [primary, standby, deaf] = [next, undefined, false];
      lead(which);
    },
    async deafen() {
      const { url } = await join();
      await ask(primary.url, 'alter system reset synchronous_standby_names');
      await ask(primary.url, 'select pg_reload_conf()');
      await ask(url, `alter system set primary_conninfo = ''`);
      await ask(url, 'select pg_reload_conf()');
      while ((await ask(primary.url, 'select 1 from pg_stat_replication')).length > 0) await pause(20);
      deaf = true;
    },
    mislead(on) {
      if (!old) throw new Error('No primary was given up alive.');
      misled = on;
      lead(on ? (which === 0 ? 1 : 0) : which);
    },
    async pauseStandby(on) {
      if (!on) return goOn();
      pausedProcesses.push(...(await processesOf((await join()).url)));
      for (const pid of pausedProcesses) signal(pid, 'SIGSTOP');
    },
    async close() {
      goOn();
      await standby?.close();
      await old?.close();
      await primary.close();
    },
  };
}

/** Of the one standby there is. */
const pausedProcesses: number[] = [];

function goOn(): void {
  for (const pid of pausedProcesses.splice(0)) signal(pid, 'SIGCONT');
}

/** Who answered when it was asked for the processes may be gone before its turn comes. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** From here on nothing is committed that the standby has not. */
async function confirmTogether(url: string): Promise<void> {
  await ask(url, `alter system set synchronous_standby_names = 'ANY 1 (*)'`);
  await ask(url, 'select pg_reload_conf()');
  while ((await ask(url, `select 1 from pg_stat_replication where sync_state in ('sync', 'quorum')`)).length === 0) await pause(50);
}

async function ask<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** All of a server of this machine: the one process that starts the others, and them. */
async function processesOf(url: string): Promise<number[]> {
  const [{ pid }] = (await ask<{ pid: number }>(url, 'select pg_backend_pid() as pid')) as [{ pid: number }];
  // The one that answered may be gone again, and the next has its number: the parent of all is in the file of locks, which it wrote.
  const [{ parent }] = (await ask<{ parent: number }>(url, `select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int as parent`)) as [{ parent: number }];
  if (fs.readFileSync(`/proc/${parent}/comm`, 'utf8').trim() !== 'postgres' || pid === parent) throw new Error(`${parent} is no PostgreSQL of this machine`);
  const children = fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => parentOf(name) === parent)
    .map(Number);
  return [parent, ...children];
}

/** Behind the name in brackets, which may have any characters: state, parent. */
function parentOf(pid: string): number | undefined {
  try {
    return Number(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[1]);
  } catch {
    return undefined;
  }
}
