import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type ELDHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { type Child, randomFrom, start } from '../packages/server/test/crash-child.ts';
import { type ServerProcess, main as serverProgram, spawnServerProcess, startServerProcess } from '../packages/server/test/crash-server.ts';
import { createTestDatabase } from '../packages/server/test/postgres.ts';
import { type Proxy, openProxy } from '../packages/server/test/proxy.ts';
import { type Bounds, type Violation, check, usualBounds } from './checker.ts';
import { type History, now, openHistory, readHistory } from './history.ts';
import type { LoadOptions } from './load.ts';
import type { Nemesis } from './nemeses.ts';
import type { OwnPostgres } from './own-postgres.ts';

// Puts the play on: a real server, people in a process of their own, a network between them, somebody who breaks things,
// and at the end the checker.

/** A nemesis, and for how long things are broken by it. Seconds. */
export type Turn = [nemesis: Nemesis, seconds: number];

export interface Run {
  /** One after the other, on one server and the same people. */
  turns: Turn[];
  seed: number;
  /** A long run: each turn goes on until so many more sends have been acknowledged, or its time is over. */
  acks?: number;
  /** Ends as soon as something is found that reads like this. */
  untilFound?: RegExp;
  /** What the server stores in. */
  variant: 'sqlite' | 'postgres';
  load?: Partial<LoadOptions>;
  bounds?: Partial<Bounds>;
  /** The file with the server's program: another one has a mistake planted in it. */
  main?: string;
}

export interface Report {
  violations: Violation[];
  acks: number;
  messages: number;
  /** How often the server was started, and how its processes ended. */
  starts: number;
  ends: (number | NodeJS.Signals)[];
  /** The longest start, from the process to listening. Milliseconds. */
  slowestStartMs: number;
  slowestStopMs: number;
}

/** What a nemesis works with. */
export interface Stage {
  readonly seed: number;
  readonly random: () => number;
  readonly data: string;
  /** For whatever is gone at the end. */
  readonly folder: string;
  readonly proxy: Proxy;
  /** URL of the PostgreSQL database, if that is what it stores in; and the server of it, where the nemesis has one of its own. */
  readonly database: string | undefined;
  readonly postgres: OwnPostgres | undefined;
  /** So many acks are wanted that there is time for everything. */
  readonly long: boolean;
  server(): ServerProcess;
  /**
   * Ends the server in some way, starts the next one at once, and looks what is there before anybody else comes.
   *
   * @param inOrder  It was asked to stop, and has time to.
   */
  restart(end: (server: ServerProcess) => Promise<unknown>, inOrder?: boolean): Promise<void>;
  /** The file that the server is started from, and from here on. */
  program(): string;
  setProgram(file: string): void;
  /** While there is no server: starts one, and ends it so many milliseconds later, wherever it is. @returns how it ended, and what it said */
  startInVain(ms: number, program?: string): Promise<{ end: number | NodeJS.Signals; words: string }>;
  /** The people, as a process: to be paused like a laptop that is closed. */
  people(): Child;
  /** Hardly anybody writes, until it is said otherwise. */
  quiet(on: boolean): void;
  /** A fault begins, or is healed. */
  fault(what: string, on: boolean): void;
  /** What must not be and only the nemesis sees. */
  wrong(what: string): void;
  /** Somewhere between two numbers of milliseconds; between two others in a long run, which is about what builds up in between. */
  wait(least: number, most: number, inLong?: [least: number, most: number]): Promise<void>;
  /** Is there time for one more of what was done so often? However slow the machine is, the least of them are done, and more in a long run. */
  goesOn(done?: number, least?: number, leastInLong?: number): boolean;
  /** Resolves when its time is over. */
  rest(): Promise<void>;
}

/** What a nemesis asks for. */
interface Wishes {
  load?: Partial<LoadOptions>;
  bounds?: Partial<Bounds>;
}

/** What each of several asks for, all of it. */
export function together(nemeses: Wishes[]): { load: Partial<LoadOptions>; bounds: Partial<Bounds> } {
  return { load: largest(nemeses.map(({ load }) => load)), bounds: largest(nemeses.map(({ bounds }) => bounds)) };
}

function largest<V extends object>(all: (V | undefined)[]): Partial<V> {
  const found: Record<string, unknown> = {};
  for (const [key, value] of all.flatMap((one) => Object.entries<unknown>((one ?? {}) as Record<string, unknown>))) {
    found[key] = typeof value === 'number' ? Math.max(value, (found[key] as number | undefined) ?? 0) : value;
  }
  return found as Partial<V>;
}

/** How often is looked whether something is wrong already. Milliseconds. */
const lookEveryMs = 400;

export async function play({ turns, seed, acks, untilFound, variant, load, bounds, main }: Run): Promise<Report> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-chaos-'));
  // Beside the folder that is broken, never in it.
  const histories = [path.join(folder, 'people.jsonl'), path.join(folder, 'stage.jsonl')];
  const random = randomFrom(seed);
  const nemeses = turns.map(([nemesis]) => nemesis);
  const asked = together(nemeses);
  const allBounds = { ...usualBounds, ...asked.bounds, ...bounds };
  const long = acks !== undefined;
  const data = await (nemeses.find((nemesis) => nemesis.folder)?.folder!(folder, long) ?? { path: path.join(folder, 'data'), release: async () => {} });
  const postgres = variant === 'postgres' ? await nemeses.find((nemesis) => nemesis.postgres)?.postgres!(data.path) : undefined;
  const database = variant === 'postgres' && !postgres ? await createTestDatabase() : undefined;
  const databaseUrl = postgres?.url ?? database?.url;
  const metricsPort = long ? await freePort() : undefined;
  const env: NodeJS.ProcessEnv = Object.assign(
    { KITH_DISK_RESERVE: '0', ...(metricsPort !== undefined && { KITH_METRICS_PORT: String(metricsPort) }), ...(databaseUrl !== undefined && { KITH_DATABASE: databaseUrl }) },
    ...nemeses.map((nemesis) => nemesis.env),
  );
  const through = nemeses.find((nemesis) => nemesis.through)?.through!();
  let program = main ?? serverProgram;
  const history = openHistory(histories[1]!);
  const ends: Report['ends'] = [];
  let starts = 0;
  let slowestStartMs = 0;
  let slowestStopMs = 0;
  let server: ServerProcess | undefined;
  let people: People | undefined;
  /** When the server began to serve; and from when on nothing was broken but what is broken now. */
  let serving = 0;
  let turning = 0;
  let found = false;
  let looking: NodeJS.Timeout | undefined;
  let watching: NodeJS.Timeout | undefined;
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  const begin = async (): Promise<ServerProcess> => {
    const began = now();
    const begun = await startServerProcess(data.path, env, program, through);
    starts += 1;
    serving = now();
    slowestStartMs = Math.max(slowestStartMs, serving - began);
    return begun;
  };
  let proxy: Proxy | undefined;
  try {
    server = await begin();
    proxy = await openProxy(() => Number(new URL(server!.url).port));
    const options: LoadOptions = { url: proxy.url, file: histories[0]!, seed, people: 8, rate: 80, copies: 1, changes: 0.5, drops: 0.5, ...asked.load, ...load };
    people = await startPeople(options);
    let until = Infinity;
    let enough = Infinity;
    const sample = (when: 'start' | 'end'): void => history.note({ e: 'server', ...sizesOf(server!, data.path), when, t: now() });
    const stage: Stage = {
      seed,
      random,
      data: data.path,
      folder,
      proxy,
      database: databaseUrl,
      postgres,
      long,
      server: () => server!,
      async restart(end, inOrder = false) {
        history.note({ e: 'fault', what: 'the server is gone', on: true, t: now() });
        proxy!.refuse(true);
        const when = { began: Math.max(serving, turning), asked: now() };
        await end(server!);
        ends.push(await server!.ended);
        if (inOrder) {
          history.note({ e: 'stopped', ...when, t: now() });
          slowestStopMs = Math.max(slowestStopMs, now() - when.asked);
          listen();
        }
        server = await begin();
        await people!.look(server.url);
        proxy!.refuse(false);
        history.note({ e: 'fault', what: 'the server is back', on: false, t: now() });
      },
      program: () => program,
      setProgram: (file) => void (program = file),
      async startInVain(ms, other = program) {
        const child = spawnServerProcess(data.path, env, other, through);
        const end = await Promise.race([child.ended, pause(ms, undefined)]);
        await child.kill();
        const { out, err } = child.output();
        return { end: end ?? 'SIGKILL', words: `${out.join('\n')}\n${err}` };
      },
      people: () => people!.child,
      quiet: (on) => void people!.child.process.stdin!.write(`quiet ${on ? 'on' : 'off'}\n`),
      fault: (what, on) => history.note({ e: 'fault', what, on, t: now() }),
      wrong: (what) => history.note({ e: 'wrong', what, t: now() }),
      wait(least, most, inLong) {
        const [from, to] = (long && inLong) || [least, most];
        return pause(found ? 0 : from + random() * (to - from));
      },
      goesOn: (done = 0, least = 0, leastInLong = least) => !found && ((now() < until && people!.acks() < enough) || done < (long ? leastInLong : least)),
      async rest() {
        while (stage.goesOn()) await pause(50);
      },
    };
    const listen = (): void => {
      const complaints = server!.output().out.filter((line) => /"level":"(error|fatal)"|unhandled/.test(line) && !nemeses.some(({ expected }) => expected?.test(line)));
      if (complaints.length > 0) stage.wrong(`the server complained: ${complaints[0]!.slice(0, 300)}`);
    };
    await pause(500);
    sample('start');
    if (metricsPort !== undefined) watching = setInterval(() => void noteLag(metricsPort, delay, history), 1_000);
    const look = (): boolean => check(readHistory(histories), allBounds, true).some(({ rule, what }) => untilFound?.test(`${rule} ${what}`));
    looking = untilFound && setInterval(() => (found ||= look()), lookEveryMs);
    for (const [nemesis, seconds] of turns) {
      if (found) break;
      turning = now();
      [until, enough] = [turning + seconds * 1_000, people.acks() + (acks ?? Infinity)];
      await nemesis.act(stage);
      if (nemesis.losesPushes) history.note({ e: 'lossy', from: turning, t: now() });
    }
    clearInterval(looking);
    if (!found) {
      // Some quiet traffic when all is healed, so that liveness can be seen.
      await pause(1_500);
      await people.finish();
      for (const { after } of nemeses) await after?.(stage);
      sample('end');
      server.process.kill('SIGTERM');
      ends.push(await server.ended);
      if (ends.at(-1) !== 0) stage.wrong(`the last server ended with ${ends.at(-1)}`);
      listen();
    }
    clearInterval(watching);
    history.close();
    const all = readHistory(histories);
    return {
      violations: check(all, allBounds, found),
      acks: all.filter(({ e }) => e === 'ack').length,
      messages: all.reduce((sum, entry) => sum + (entry.e === 'truth' ? entry.rows.length : 0), 0),
      starts,
      ends,
      slowestStartMs: Math.round(slowestStartMs),
      slowestStopMs: Math.round(slowestStopMs),
    };
  } finally {
    clearInterval(looking);
    clearInterval(watching);
    delay.disable();
    await people?.child.kill();
    await server?.kill();
    await proxy?.close();
    await database?.drop();
    await postgres?.close();
    await data.release();
    if (process.env['KITH_CHAOS_KEEP'] === undefined) fs.rmSync(folder, { recursive: true, force: true });
    else console.log(`kept: ${folder}`);
  }
}

/** The process of the people. */
export interface People {
  child: Child;
  /** So many sends have been acknowledged, as of half a second ago. */
  acks(): number;
  /** Reads the newest of everything from this server. */
  look(url: string): Promise<void>;
  /** Resolves when all has come to rest and everybody has said what they hold. */
  finish(): Promise<void>;
}

export async function startPeople(options: LoadOptions): Promise<People> {
  const child = start(process.execPath, ['--max-old-space-size=8192', path.join(import.meta.dirname, 'load.ts'), JSON.stringify(options)]);
  let acks = 0;
  child.onLine((line) => {
    if (line.startsWith('acks ')) acks = Number(line.slice('acks '.length));
  });
  await heard(child, 'ready');
  return {
    child,
    acks: () => acks,
    async look(url) {
      child.process.stdin!.write(`look ${url}\n`);
      await heard(child, 'looked');
    },
    async finish() {
      child.process.stdin!.write('finish\n');
      await heard(child, 'done');
    },
  };
}

async function heard(child: Child, line: string): Promise<void> {
  while ((await child.line()) !== line);
}

/** How late the server's loop was in the last second, as it says itself, and how late ours: then it may be the machine. */
async function noteLag(port: number, delay: ELDHistogram, history: History): Promise<void> {
  const ownMs = delay.percentile(99) / 1e6;
  delay.reset();
  const text = await fetch(`http://127.0.0.1:${port}/metrics`).then(
    (answer) => answer.text(),
    () => '',
  );
  const lag = /^nodejs_eventloop_lag_p99_seconds (\S+)/m.exec(text)?.[1];
  if (lag !== undefined) history.note({ e: 'lag', ms: Math.round(Number(lag) * 1_000), ownMs: Math.round(ownMs), t: now() });
}

/** One that stays free while servers come and go: none of those that the system gives to whoever asks for any. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const probe = net.createServer().listen(port, '127.0.0.1');
    const how = await Promise.race([once(probe, 'listening').then(() => 'free'), once(probe, 'error').then(() => 'taken')]);
    probe.close();
    if (how === 'free') return port;
  }
}

/** Memory, open files and the log of writes. Zeros where the system has no /proc. */
function sizesOf({ process: { pid } }: ServerProcess, data: string): { rssMiB: number; files: number; walMiB: number } {
  const status = read(`/proc/${pid}/status`);
  const wal = path.join(data, 'kith.db-wal');
  return {
    rssMiB: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024),
    files: fs.existsSync(`/proc/${pid}/fd`) ? fs.readdirSync(`/proc/${pid}/fd`).length : 0,
    walMiB: fs.existsSync(wal) ? Math.round(fs.statSync(wal).size / 1_048_576) : 0,
  };
}

const read = (file: string): string => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
