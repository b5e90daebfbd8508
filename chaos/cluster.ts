import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { type Child, randomFrom, start } from '../packages/server/test/crash-child.ts';
import { type ServerProcess, startServerProcess } from '../packages/server/test/crash-server.ts';
import { type TestNats, findNatsServer, startNats } from '../packages/server/test/nats.ts';
import { createTestDatabase } from '../packages/server/test/postgres.ts';
import { type Proxy, openProxy } from '../packages/server/test/proxy.ts';
import { type Bounds, type Violation, check, usualBounds } from './checker.ts';
import { type Entry, now, openHistory, readHistory } from './history.ts';
import type { LoadOptions } from './load.ts';
import { type Report, heard } from './stage.ts';

// The same play with three nodes: processes on one PostgreSQL and one NATS, each behind wires of its own to both, and people who
// connect to any of them. People may miss pushes here, for NATS may; what they may not miss is in the database.

/** One of the three, and its wires. */
interface Node {
  server: ServerProcess;
  toDatabase: Proxy;
  toNats: Proxy;
  /** Takes new connections. */
  open: boolean;
}

/** What a nemesis of several nodes works with. */
export interface ClusterStage {
  readonly random: () => number;
  readonly nodes: readonly Node[];
  readonly nats: TestNats;
  /** Of the database, around all wires. */
  readonly database: string;
  fault(what: string, on: boolean): void;
  wrong(what: string): void;
  wait(least: number, most: number): Promise<void>;
  left(): number;
  any(): Node;
  /** Ends a node in some way, and starts it again. */
  restart(node: Node, end: (server: ServerProcess) => unknown): Promise<void>;
}

export interface ClusterNemesis {
  what: string;
  load?: Partial<LoadOptions>;
  bounds?: Partial<Bounds>;
  /** How often a device may lose its connection, given how often a node was started again. Default: as often as it likes. */
  losses?: (restarts: number) => number;
  act(stage: ClusterStage): Promise<void>;
}

/** Until a node without NATS has compared heads, it may not know of a removal elsewhere. */
const withoutNatsMs = 9_000;

const kill = async (stage: ClusterStage): Promise<void> => stage.restart(stage.any(), (server) => server.kill());
const stop = async (stage: ClusterStage, node = stage.any()): Promise<void> => stage.restart(node, (server) => server.process.kill('SIGTERM'));

/** A backend that is killed takes all of PostgreSQL through a crash: what was in its memory is gone. */
async function crashDatabase({ database, fault }: ClusterStage): Promise<void> {
  const beside = new pg.Client(database);
  beside.on('error', () => {});
  await beside.connect();
  const { rows } = await beside.query<{ pid: number }>('select pg_backend_pid() as pid');
  fault('PostgreSQL crashes', true);
  // Only if it is a process of this machine, and one of PostgreSQL: the number may be of somewhere else.
  const program = fs.existsSync(`/proc/${rows[0]!.pid}/comm`) ? fs.readFileSync(`/proc/${rows[0]!.pid}/comm`, 'utf8').trim() : '';
  if (program === 'postgres') process.kill(rows[0]!.pid, 'SIGKILL');
  else await beside.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
  await beside.end().catch(() => {});
  for (;;) {
    const again = new pg.Client({ connectionString: database, connectionTimeoutMillis: 1_000 });
    again.on('error', () => {});
    const there = await again.connect().then(
      () => true,
      () => false,
    );
    await again.end().catch(() => {});
    if (there) break;
    await pause(50);
  }
  fault('PostgreSQL is back', false);
}

async function restartNats({ nats, fault, wait }: ClusterStage): Promise<void> {
  fault('NATS is gone', true);
  await nats.kill();
  await wait(300, 4_000);
  await nats.start();
  fault('NATS is back, with empty memory', false);
}

/** One node's wire swallows everything both ways, and the connections stay open. */
async function partition(stage: ClusterStage, wire: 'toDatabase' | 'toNats', least = 300, most = 4_000): Promise<void> {
  const node = stage.any();
  stage.fault(`a node is cut off: ${wire}`, true);
  node[wire].stall(true);
  await stage.wait(least, most);
  node[wire].stall(false);
  if (stage.random() < 0.5) node[wire].cut();
  stage.fault(`the wire is back: ${wire}`, false);
}

export const clusterNemeses = {
  'nodes-none': {
    what: 'three nodes and nothing else',
    act: (stage) => pause(stage.left()),
  },

  'nodes-kill': {
    what: 'N1: kill -9 of one of three nodes, again and again',
    async act(stage) {
      for (let kills = 0; stage.left() > 0 || kills < 2; kills += 1) {
        await stage.wait(300, 1_500);
        await kill(stage);
      }
    },
  },

  'nodes-rolling': {
    what: 'N4: one node after the other is stopped in good order and started again; nobody loses their connection more often than that',
    load: { drops: 0, changes: 0 },
    losses: (restarts) => restarts,
    async act(stage) {
      do {
        for (const node of stage.nodes) {
          await stage.wait(200, 600);
          await stop(stage, node);
        }
      } while (stage.left() > 0);
    },
  },

  'nodes-database': {
    what: 'N8: PostgreSQL crashes and comes back, again and again',
    async act(stage) {
      for (let crashes = 0; stage.left() > 0 || crashes < 2; crashes += 1) {
        await stage.wait(500, 2_000);
        await crashDatabase(stage);
      }
    },
  },

  'nodes-bus': {
    what: 'N9: NATS is killed and comes back with empty memory, or stands still',
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      for (let turn = 0; stage.left() > 0 || turn < 2; turn += 1) {
        await stage.wait(300, 1_500);
        if (turn % 2 === 0) await restartNats(stage);
        else {
          stage.fault('NATS stands still', true);
          stage.nats.pause(true);
          await stage.wait(500, 5_000);
          stage.nats.pause(false);
          stage.fault('NATS goes on', false);
        }
      }
    },
  },

  'nodes-partition': {
    what: 'N11: the wire of one node to NATS or to PostgreSQL swallows everything for seconds',
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      for (let turn = 0; stage.left() > 0 || turn < 2; turn += 1) {
        await stage.wait(300, 1_000);
        await partition(stage, stage.random() < 0.5 ? 'toNats' : 'toDatabase');
      }
    },
  },

  'nodes-mixed': {
    what: 'N21: kills, stops, crashes of PostgreSQL, NATS with empty memory and nodes that are cut off, one after the other',
    load: { changes: 2, copies: 2 },
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      const acts = [
        kill,
        (one: ClusterStage) => restartNats(one),
        crashDatabase,
        stop,
        (one: ClusterStage) => partition(one, 'toNats'),
        (one: ClusterStage) => partition(one, 'toDatabase'),
      ];
      // Each of them once, however little time there is.
      for (let turn = 0; stage.left() > 0 || turn < acts.length; turn += 1) {
        await acts[turn % acts.length]!(stage);
        await stage.wait(100, 500);
      }
    },
  },
} satisfies Record<string, ClusterNemesis> as Record<string, ClusterNemesis>;

/** @returns what is missing here, in words */
export const missingForCluster = (): string | undefined => (findNatsServer() === undefined ? 'nats-server, on PATH or by apt-get' : undefined);

export async function playCluster({ nemesis, seed, seconds }: { nemesis: ClusterNemesis; seed: number; seconds: number }): Promise<Report> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-cluster-'));
  const histories = [path.join(folder, 'people.jsonl'), path.join(folder, 'stage.jsonl')];
  const random = randomFrom(seed);
  const history = openHistory(histories[1]!);
  const ends: Report['ends'] = [];
  const nodes: Node[] = [];
  let starts = 0;
  let slowestStartMs = 0;
  let turn = 0;
  const nats = await startNats();
  const database = await createTestDatabase();
  const { port: databasePort } = new URL(database.url);

  const begin = async (at: number, toDatabase: Proxy, toNats: Proxy): Promise<ServerProcess> => {
    const began = now();
    const through = Object.assign(new URL(database.url), { port: String(toDatabase.port) }).href;
    const server = await startServerProcess(path.join(folder, `node-${at}`), { KITH_DATABASE: through, KITH_NATS: `nats://127.0.0.1:${toNats.port}` });
    starts += 1;
    slowestStartMs = Math.max(slowestStartMs, now() - began);
    return server;
  };
  const add = async (at: number): Promise<void> => {
    const toDatabase = await openProxy(() => Number(databasePort));
    const toNats = await openProxy(() => nats.port);
    nodes[at] = { server: await begin(at, toDatabase, toNats), toDatabase, toNats, open: true };
  };
  /** Round and round, past those that are not there. */
  const balance = (): number => {
    const open = nodes.filter((node) => node.open);
    return Number(new URL(open[(turn += 1) % open.length]!.server.url).port);
  };
  let people: Child | undefined;
  let balancer: Proxy | undefined;
  try {
    await Promise.all([0, 1, 2].map(add));
    balancer = await openProxy(balance);
    const options: LoadOptions = { url: balancer.url, file: histories[0]!, seed, people: 8, rate: 60, copies: 1, changes: 0.5, drops: 0.5, ...nemesis.load };
    people = start(process.execPath, [path.join(import.meta.dirname, 'load.ts'), JSON.stringify(options)]);
    await heard(people, 'ready');
    const until = now() + seconds * 1_000;
    const stage: ClusterStage = {
      random,
      nodes,
      nats,
      database: database.url,
      fault: (what, on) => history.note({ e: 'fault', what, on, t: now() }),
      wrong: (what) => history.note({ e: 'wrong', what, t: now() }),
      wait: (least, most) => pause(least + random() * (most - least)),
      left: () => until - now(),
      any: () => nodes[Math.floor(random() * nodes.length)]!,
      async restart(node, end) {
        stage.fault('a node is gone', true);
        node.open = false;
        await end(node.server);
        ends.push(await node.server.ended);
        if (ends.at(-1) !== 0 && ends.at(-1) !== 'SIGKILL') stage.wrong(`a node ended with ${ends.at(-1)}`);
        listen(node.server);
        node.server = await begin(nodes.indexOf(node), node.toDatabase, node.toNats);
        node.open = true;
        stage.fault('the node is back', false);
      },
    };
    /** What a node has logged as an error, but for what was done to it. */
    const listen = (server: ServerProcess): void => {
      const fault = server.output().out.find((line) => /"level":"(error|fatal)"|unhandled/.test(line) && !/NATS|[Cc]onnection|database|"code":"busy"/.test(line));
      if (fault !== undefined) stage.wrong(`a node complained: ${fault.slice(0, 300)}`);
    };
    await pause(500);
    await nemesis.act(stage);
    await pause(1_500);
    people.process.stdin!.write('finish\n');
    await heard(people, 'done');
    for (const { server } of nodes) {
      server.process.kill('SIGTERM');
      ends.push(await server.ended);
      if (ends.at(-1) !== 0) stage.wrong(`a node that was asked to stop ended with ${ends.at(-1)}`);
      listen(server);
    }
    history.close();
    const all = readHistory(histories);
    return {
      violations: [...check(all, { ...usualBounds, leakMs: 2_000, gaps: Infinity, ...nemesis.bounds }), ...tooManyLosses(all, nemesis.losses?.(starts - 3))],
      acks: all.filter(({ e }) => e === 'ack').length,
      messages: all.flatMap((entry) => (entry.e === 'truth' ? entry.rows : [])).length,
      starts,
      ends,
      slowestStartMs: Math.round(slowestStartMs),
    };
  } finally {
    await people?.kill();
    await balancer?.close();
    for (const { server, toDatabase, toNats } of nodes) {
      await server.kill();
      await Promise.all([toDatabase.close(), toNats.close()]);
    }
    await nats.close();
    await database.drop();
    if (process.env['KITH_CHAOS_KEEP'] === undefined) fs.rmSync(folder, { recursive: true, force: true });
    else console.log(`kept: ${folder}`);
  }
}

/** Nobody is thrown out more often than a node goes. */
function tooManyLosses(history: Entry[], most = Infinity): Violation[] {
  const closed = history.filter((entry) => entry.e === 'closed');
  return [...Map.groupBy(closed, ({ device }) => device)].flatMap(([device, all]) =>
    all.length > most ? [{ rule: 'R8' as const, what: `${device} lost its connection ${all.length} times in ${most} restarts` }] : [],
  );
}
