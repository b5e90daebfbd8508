import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import type { WebSocket } from 'ws';
import { insist, post } from '../packages/server/test/api.ts';
import { randomFrom } from '../packages/server/test/crash-child.ts';
import { type ServerProcess, startServerProcess } from '../packages/server/test/crash-server.ts';
import { findNatsServer } from '../packages/server/test/nats.ts';
import { type Proxy, openProxy } from '../packages/server/test/proxy.ts';
import { type Bounds, check, usualBounds } from './checker.ts';
import { type Entry, now, openHistory, readHistory } from './history.ts';
import type { LoadOptions } from './load.ts';
import { missingForNamespaces, startApart } from './namespaces.ts';
import { enter, fakeTime, serverClock } from './nemeses.ts';
import { type Place, type Site, type Way, openLoopback, openNamespaces } from './site.ts';
import { type People, type Report, startPeople, together } from './stage.ts';

// The same play with three nodes: processes on one PostgreSQL and one NATS, each behind wires of its own to both, and people who
// connect to any of them. People may miss pushes here, for NATS may; what they may not miss is in the database.

/** One of the three. */
interface Node {
  server: ServerProcess;
  place: Place;
  /** Takes new connections. */
  open: boolean;
}

/** What a nemesis of several nodes works with. */
export interface ClusterStage {
  readonly random: () => number;
  readonly nodes: readonly Node[];
  readonly site: Site;
  note(entry: Entry): void;
  fault(what: string, on: boolean): void;
  wrong(what: string): void;
  /** Between two others in a long run. */
  wait(least: number, most: number, long?: [least: number, most: number]): Promise<void>;
  goesOn(done?: number, least?: number): boolean;
  rest(): Promise<void>;
  any(): Node;
  /** Ends a node in some way, and starts it again. */
  restart(node: Node, end: (server: ServerProcess) => unknown): Promise<void>;
}

export interface ClusterNemesis {
  what: string;
  load?: Partial<LoadOptions>;
  bounds?: Partial<Bounds>;
  /** PostgreSQL has a synchronous standby. */
  standby?: true;
  /** It needs wires that can be cut one way: namespaces. */
  oneWay?: true;
  /** It needs wires that can be slow: proxies. */
  slow?: true;
  /** What the first of the nodes is started with. */
  env?(): NodeJS.ProcessEnv;
  /** @returns what is missing here, in words */
  missing?(): string | undefined;
  /** Whatever it does, nobody loses their connection more often than a node is started again, and nobody is told of an error. */
  isCalm?: true;
  act(stage: ClusterStage): Promise<void>;
}

/** Until a node without NATS has compared heads, it may not know of a removal elsewhere. */
const withoutNatsMs = 9_000;

const kill = async (stage: ClusterStage): Promise<void> => stage.restart(stage.any(), (server) => server.kill());
const stop = async (stage: ClusterStage, node = stage.any()): Promise<void> => stage.restart(node, (server) => server.process.kill('SIGTERM'));

/** A backend that is killed takes all of PostgreSQL through a crash: what was in its memory is gone. */
async function crashDatabase({ site: { database }, fault }: ClusterStage): Promise<void> {
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

async function restartNats({ site: { nats }, fault, wait }: ClusterStage): Promise<void> {
  fault('NATS is gone', true);
  await nats.kill();
  await wait(300, 4_000, [5_000, 60_000]);
  await nats.start();
  fault('NATS is back, with empty memory', false);
}

type End = 'toDatabase' | 'toNats';
const bothEnds: End[] = ['toDatabase', 'toNats'];
const ways: Way[] = ['both', 'there', 'back'];

/** One node's wire swallows everything, or what goes one way, and the connections stay open. */
async function cut(stage: ClusterStage, end: End, way: Way, least = 300, most = 4_000): Promise<void> {
  const node = stage.any();
  const wire = node.place[end];
  stage.fault(`a node is cut off: ${end}, ${way}`, true);
  wire.cut(way, true);
  const began = now();
  const unready = end === 'toDatabase' ? untilUnready(node.server.url, began + unreadyMs) : undefined;
  await stage.wait(least, most, [5_000, 40_000]);
  const long = now() - began > unreadyMs;
  wire.cut(way, false);
  if (unready && long && !(await unready)) stage.wrong(`a node that was cut off from PostgreSQL said for ${unreadyMs} ms that it was ready`);
  stage.fault(`the wire is whole: ${end}`, false);
}

/** Milliseconds after which a node without its database has to say that it wants no traffic: it finds out within two seconds, and says it of the last. */
const unreadyMs = 6_000;

async function untilUnready(url: string, until: number): Promise<boolean> {
  while (now() < until) {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(Math.max(1, Math.ceil(until - now()))) }).catch(() => undefined);
    if (answer?.status === 503) return true;
    await pause(100);
  }
  return false;
}

/** Milliseconds after a failover until all nodes have to work on what is there. */
const enteredMs = 60_000;

/**
 * A standby that lacks what was acknowledged last takes over.
 *
 * @param alive  The primary goes on, and nodes that are connected to it may; then the name leads back to it for a while.
 */
async function failOverBehind(stage: ClusterStage, alive: boolean): Promise<void> {
  const { site, fault } = stage;
  fault('the standby hears of nothing', true);
  await site.deafen();
  await stage.wait(500, 2_000);
  const before = await asking(site.database, eraOf);
  fault(alive ? 'the standby takes over while the primary goes on' : 'the primary is gone', true);
  await site.failOver(alive);
  await untilEntered(stage, before);
  if (alive) {
    fault('the name leads to the old primary', true);
    site.mislead(true);
    await stage.wait(1_000, 4_000);
    site.mislead(false);
  }
  fault('the standby is the primary', false);
}

/** Until each node has said that it works on the database that is there now, and what of that it knew of is gone. */
async function untilEntered({ nodes, site: { database }, note, wrong }: ClusterStage, before: number): Promise<void> {
  await asking(database, async (client) => {
    let number = before;
    for (const ended = now() + enteredMs; ; await pause(50)) {
      number = await eraOf(client);
      const era = `"era":${number},`;
      const haveAll = (words: RegExp): boolean => nodes.every(({ server }) => server.output().out.some((line) => line.includes(era) && words.test(line)));
      if (number > before && haveAll(/is another server/) && haveAll(/is missing that is not|has lost/)) break;
      if (now() > ended) return wrong('not every node has found that the database is another one');
    }
    const of = `split_part(stream, ':', 2) as conversation`;
    const heads = await client.query<{ conversation: string; seq: number }>(`select ${of}, seq::int from era_heads where stream like 'conversation:%'`);
    const losses = await client.query<{ era: number; conversation: string; messages: number }>(
      `select era::int, ${of}, messages::int from losses where stream like 'conversation:%' and era = (select max(number) from eras)`,
    );
    note({ e: 'era', number, heads: heads.rows.map(({ conversation, seq }) => [conversation, seq]), t: now() });
    for (const loss of losses.rows) note({ e: 'reported', ...loss, t: now() });
  });
}

const eraOf = async (client: pg.Client): Promise<number> => (await client.query<{ number: number }>('select max(number)::int as number from eras')).rows[0]!.number;

async function asking<T>(database: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(database);
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function failOver({ site, fault }: ClusterStage): Promise<void> {
  fault('the primary is gone', true);
  await site.failOver();
  fault('the standby is the primary', false);
}

export const clusterNemeses = {
  'nodes-none': {
    what: 'three nodes and nothing else',
    act: (stage) => stage.rest(),
  },

  'nodes-kill': {
    what: 'N1: kill -9 of one of three nodes, again and again',
    async act(stage) {
      for (let kills = 0; stage.goesOn(kills, 2); kills += 1) {
        await stage.wait(300, 1_500);
        await kill(stage);
      }
    },
  },

  'nodes-rolling': {
    what: 'N4: one node after the other is stopped in good order and started again; nobody loses their connection more often than that, or sees an error',
    isCalm: true,
    async act(stage) {
      for (let rounds = 0; stage.goesOn(rounds, 1); rounds += 1) {
        for (const node of stage.nodes) {
          await stage.wait(200, 600);
          await stop(stage, node);
        }
      }
      // Who was sent away last is back, if they are.
      await stage.wait(1_000, 1_000);
    },
  },

  'nodes-database': {
    what: 'N8: PostgreSQL crashes and comes back, again and again',
    async act(stage) {
      for (let crashes = 0; stage.goesOn(crashes, 2); crashes += 1) {
        await stage.wait(500, 2_000);
        await crashDatabase(stage);
      }
    },
  },

  'nodes-bus': {
    what: 'N9: NATS is killed and comes back with empty memory, or stands still',
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2); turn += 1) {
        await stage.wait(300, 1_500);
        if (turn % 2 === 0) await restartNats(stage);
        else {
          stage.fault('NATS stands still', true);
          stage.site.nats.pause(true);
          await stage.wait(500, 5_000, [5_000, 20_000]);
          stage.site.nats.pause(false);
          stage.fault('NATS goes on', false);
        }
      }
    },
  },

  'nodes-partition': {
    what: 'N11: the wire of one node to NATS or to PostgreSQL swallows everything for seconds',
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2); turn += 1) {
        await stage.wait(300, 1_000);
        await cut(stage, bothEnds[Math.floor(stage.random() * 2)]!, 'both', 500, 8_000);
      }
    },
  },

  'nodes-cut': {
    what: 'N11: the same in the kernel, both ways, only there, and only back',
    oneWay: true,
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 6); turn += 1) {
        await stage.wait(100, 600);
        await cut(stage, bothEnds[turn % 2]!, ways[turn % 3]!, 500, 12_000);
      }
    },
  },

  'nodes-slow': {
    what: 'N9: what goes to NATS and comes from there takes 300 ms longer, for one node or for all',
    slow: true,
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2); turn += 1) {
        const nodes = turn % 2 === 0 ? stage.nodes : [stage.any()];
        stage.fault('NATS is slow', true);
        for (const { place } of nodes) place.toNats.slow(300);
        await stage.wait(2_000, 4_000, [10_000, 30_000]);
        for (const { place } of nodes) place.toNats.slow(0);
        stage.fault('NATS is quick', false);
        await stage.wait(300, 1_000);
      }
    },
  },

  'nodes-readers': {
    what: 'N10: on every node connections that never read, in the busiest conversation',
    async act(stage) {
      stage.fault('some read nothing', true);
      const sockets: WebSocket[] = [];
      for (const { server } of stage.nodes) {
        const { token } = await insist(() => post(server.url, 'auth.login', { handle: 'p0', password: 'correct horse battery' }));
        // A person may have twenty on a node, and has two devices.
        for (let index = 0; index < 15; index += 1) {
          const socket = await enter(server.url, token!);
          socket.pause();
          sockets.push(socket);
        }
      }
      await stage.rest();
      for (const socket of sockets) socket.terminate();
      stage.fault('everybody reads', false);
    },
  },

  'nodes-members': {
    what: 'N14: people are removed and let in again all the time, while they are connected to other nodes than who does it',
    load: { changes: 20, drops: 1 },
    act: (stage) => stage.rest(),
  },

  'nodes-clock': {
    what: 'N15: the clock of one node jumps hours, days and a year, back and ahead, and runs twice as fast',
    missing: () => (fakeTime() === undefined ? 'libfaketime (package faketime)' : undefined),
    env() {
      serverClock.turn('+0');
      return serverClock.env();
    },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 3); turn += 1) {
        await stage.wait(300, 1_200, [1_000, 5_000]);
        serverClock.turn(['-1h', '+1h', '+0 x2', '+0', '-1y', '+1d'][turn % 6]!);
      }
      serverClock.turn('+0');
    },
  },

  'nodes-stall': {
    what: 'N20: a node stands still, for less and for longer than others wait for it; nobody may be taken for dead because of it',
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2); turn += 1) {
        await stage.wait(300, 1_500);
        const { server } = stage.any();
        stage.fault('a node stands still', true);
        server.process.kill('SIGSTOP');
        await (turn % 2 === 0 ? stage.wait(500, 2_500) : stage.wait(4_000, 12_000, [12_000, 30_000]));
        server.process.kill('SIGCONT');
        stage.fault('the node goes on', false);
      }
    },
  },

  'nodes-promote': {
    what: 'N8: kill -9 of the primary of PostgreSQL, and its synchronous standby takes over',
    standby: true,
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 1); turn += 1) {
        await stage.wait(300, 1_500);
        await failOver(stage);
        await stage.wait(300, 1_500);
      }
    },
  },

  'nodes-standby': {
    what: 'N8: the synchronous standby stands still for longer than any statement may take, and then is all that is left',
    standby: true,
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 1); turn += 1) {
        await stage.wait(300, 1_500);
        stage.fault('the standby stands still', true);
        await stage.site.pauseStandby(true);
        await stage.wait(12_000, 16_000);
        stage.fault('the primary is gone', true);
        await stage.site.failOver();
        stage.fault('the standby is the primary', false);
      }
    },
  },

  'nodes-async': {
    what: 'N8: a standby that lacks what was acknowledged last takes over, and the primary is gone, or goes on and is led back to: what is lost is reported',
    standby: true,
    // Removals that are lost would be leaks.
    load: { changes: 0, honest: true },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2); turn += 1) {
        await stage.wait(300, 1_500);
        await failOverBehind(stage, turn % 2 === 0);
      }
    },
  },

  'nodes-mixed': {
    what: 'N21: kills, stops, crashes of PostgreSQL, NATS with empty memory, nodes that are cut off, and a standby that takes over, one after the other',
    load: { changes: 2, copies: 2 },
    standby: true,
    bounds: { leakMs: withoutNatsMs },
    async act(stage) {
      const oneWay = bothEnds.flatMap((end) => (['there', 'back'] as const).map((way) => (one: ClusterStage) => cut(one, end, way, 300, 2_000)));
      const acts = [
        kill,
        (one: ClusterStage) => restartNats(one),
        crashDatabase,
        stop,
        ...bothEnds.map((end) => (one: ClusterStage) => cut(one, end, 'both', 300, 3_000)),
        ...(stage.site.oneWay ? oneWay : []),
        failOver,
      ];
      // Each of them once, however little time there is.
      for (let turn = 0; stage.goesOn(turn, acts.length); turn += 1) {
        await acts[turn % acts.length]!(stage);
        await stage.wait(100, 500);
      }
    },
  },
} satisfies Record<string, ClusterNemesis> as Record<string, ClusterNemesis>;

/** @returns what is missing here for these, in words */
export function missingForCluster(names: string[] = []): string | undefined {
  if (findNatsServer() === undefined) return 'nats-server, on PATH or by apt-get';
  const all = names.map((name) => clusterNemeses[name]!);
  if (all.some(({ standby }) => standby) && process.platform !== 'linux') return 'Linux, to kill a whole PostgreSQL';
  const missing = all.map((nemesis) => nemesis.missing?.()).find((one) => one !== undefined);
  if (missing !== undefined) return missing;
  if (all.some(({ oneWay }) => oneWay) && all.some(({ slow }) => slow)) return 'to be run apart: wires that are slow are proxies, those that let one way through are namespaces';
  return all.some(({ oneWay }) => oneWay) ? missingForNamespaces() : undefined;
}

export interface ClusterRun {
  /** One after the other, on the same nodes with the same people. */
  turns: [name: string, seconds: number][];
  seed: number;
  /** Each turn goes on until so many more sends have been acknowledged, or its time is over. */
  acks?: number | undefined;
  load?: Partial<LoadOptions>;
}

/** Each part in a network namespace where that is possible and asked for or needed, else all of it on loopback. */
export async function playCluster(run: ClusterRun, apart = run.turns.some(([name]) => clusterNemeses[name]!.oneWay)): Promise<Report> {
  if (!apart) return playOn(await openLoopback({ standby: run.turns.some(([name]) => clusterNemeses[name]!.standby) }), run);
  const child = startApart('cluster.ts', [JSON.stringify(run)]);
  try {
    for (;;) {
      const line = await child.line();
      if (line.startsWith('report ')) return JSON.parse(line.slice('report '.length)) as Report;
      console.log(line);
    }
  } finally {
    child.process.stdin!.end();
    await child.kill();
  }
}

async function playOn(site: Site, { turns, seed, acks, load }: ClusterRun): Promise<Report> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-cluster-'));
  const histories = [path.join(folder, 'people.jsonl'), path.join(folder, 'stage.jsonl')];
  const random = randomFrom(seed);
  const history = openHistory(histories[1]!);
  const ends: Report['ends'] = [];
  const nodes: Node[] = [];
  let starts = 0;
  let slowestStartMs = 0;
  let slowestStopMs = 0;
  let turn = 0;
  const odd: NodeJS.ProcessEnv = Object.assign({}, ...turns.map(([name]) => clusterNemeses[name]!.env?.()));
  const begin = async (at: number, { env, through }: Place): Promise<ServerProcess> => {
    const began = now();
    const server = await startServerProcess(path.join(folder, `node-${at}`), { ...env, ...(at === 0 && odd) }, undefined, through);
    starts += 1;
    slowestStartMs = Math.max(slowestStartMs, now() - began);
    return server;
  };
  const add = async (at: number): Promise<void> => {
    const place = await site.place();
    nodes[at] = { server: await begin(at, place), place, open: true };
  };
  /** Round and round, past those that are not there. */
  const balance = (): URL => {
    const open = nodes.filter((node) => node.open);
    return new URL(open[(turn += 1) % open.length]!.server.url);
  };
  let people: People | undefined;
  const asked = together(turns.map(([name]) => clusterNemeses[name]!));
  let balancer: Proxy | undefined;
  try {
    await Promise.all([0, 1, 2].map(add));
    balancer = await openProxy(balance);
    const options: LoadOptions = { url: balancer.url, file: histories[0]!, seed, people: 8, rate: 60, copies: 1, changes: 0.5, drops: 0.5, ...asked.load, ...load };
    people = await startPeople(options);
    let until = Infinity;
    let enough = Infinity;
    const stage: ClusterStage = {
      random,
      nodes,
      site,
      note: (entry) => history.note(entry),
      fault: (what, on) => history.note({ e: 'fault', what, on, t: now() }),
      wrong: (what) => history.note({ e: 'wrong', what, t: now() }),
      wait: (least, most, long) => pause(acks !== undefined && long ? long[0] + random() * (long[1] - long[0]) : least + random() * (most - least)),
      goesOn: (done = 0, least = 0) => (now() < until && people!.acks() < enough) || done < least,
      async rest() {
        while (stage.goesOn()) await pause(50);
      },
      any: () => nodes[Math.floor(random() * nodes.length)]!,
      async restart(node, end) {
        stage.fault('a node is gone', true);
        node.open = false;
        const ending = now();
        await end(node.server);
        ends.push(await node.server.ended);
        slowestStopMs = Math.max(slowestStopMs, now() - ending);
        const how = ends.at(-1);
        if (how !== 0 && how !== 'SIGKILL') stage.wrong(`a node ended with ${how}`);
        listen(node.server);
        node.server = await begin(nodes.indexOf(node), node.place);
        await people!.look(node.server.url);
        node.open = true;
        stage.fault('the node is back', false);
      },
    };
    /** What a node has logged as an error, but for what was done to it. */
    const listen = (server: ServerProcess): void => {
      const fault = server
        .output()
        .out.find((line) => /"level":"(error|fatal)"|unhandled/.test(line) && !/NATS|[Cc]onnection|database|commit outcome unknown|of an earlier time|"code":"busy"/.test(line));
      if (fault !== undefined) stage.wrong(`a node complained: ${fault.slice(0, 300)}`);
    };
    await pause(500);
    for (const [name, seconds] of turns) {
      const nemesis = clusterNemeses[name]!;
      const [from, before] = [now(), starts];
      [until, enough] = [from + seconds * 1_000, people.acks() + (acks ?? Infinity)];
      await nemesis.act(stage);
      if (nemesis.isCalm) history.note({ e: 'calm', from, t: now(), losses: starts - before });
    }
    await pause(1_500);
    await people.finish();
    for (const { server } of nodes) {
      server.process.kill('SIGTERM');
      ends.push(await server.ended);
      if (ends.at(-1) !== 0) stage.wrong(`a node that was asked to stop ended with ${ends.at(-1)}`);
      listen(server);
    }
    history.close();
    const all = readHistory(histories);
    return {
      violations: check(all, { ...usualBounds, leakMs: 2_000, gaps: Infinity, ...asked.bounds }),
      acks: all.filter(({ e }) => e === 'ack').length,
      messages: all.reduce((sum, entry) => sum + (entry.e === 'truth' ? entry.rows.length : 0), 0),
      starts,
      ends,
      slowestStartMs: Math.round(slowestStartMs),
      slowestStopMs: Math.round(slowestStopMs),
    };
  } finally {
    await people?.child.kill();
    await balancer?.close();
    for (const { server, place } of nodes) {
      await server.kill();
      await place.close();
    }
    await site.close();
    serverClock.forget();
    if (process.env['KITH_CHAOS_KEEP'] === undefined) fs.rmSync(folder, { recursive: true, force: true });
    else console.log(`kept: ${folder}`);
  }
}

// Started in a network of its own.
if (import.meta.main) {
  const report = await playOn(await openNamespaces(), JSON.parse(process.argv[2]!) as ClusterRun);
  console.log(`report ${JSON.stringify(report)}`);
  process.exit(0);
}
