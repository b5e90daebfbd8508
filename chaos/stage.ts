import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Child, randomFrom, start } from '../packages/server/test/crash-child.ts';
import { type ServerProcess, startServerProcess } from '../packages/server/test/crash-server.ts';
import { createTestDatabase } from '../packages/server/test/postgres.ts';
import { type Proxy, openProxy } from '../packages/server/test/proxy.ts';
import { type Bounds, type Violation, check, usualBounds } from './checker.ts';
import { now, openHistory, readHistory } from './history.ts';
import type { LoadOptions } from './load.ts';
import type { Nemesis } from './nemeses.ts';

// Puts the play on: a real server, people in a process of their own, a network between them, somebody who breaks things,
// and at the end the checker.

export interface Run {
  nemesis: Nemesis;
  seed: number;
  /** How long things are broken. */
  seconds: number;
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
}

/** What a nemesis works with. */
export interface Stage {
  readonly seed: number;
  readonly seconds: number;
  readonly random: () => number;
  readonly data: string;
  readonly proxy: Proxy;
  /** URL of the PostgreSQL database, if that is what it stores in. */
  readonly database: string | undefined;
  server(): ServerProcess;
  /** Ends the server in some way and starts the next one at once. */
  restart(end: (server: ServerProcess) => Promise<unknown>, env?: NodeJS.ProcessEnv): Promise<void>;
  /** The people, as a process: to be paused like a laptop that is closed. */
  people(): Child;
  /** A fault begins, or is healed. */
  fault(what: string, on: boolean): void;
  /** What must not be and only the nemesis sees. */
  wrong(what: string): void;
  /** Somewhere between two numbers of milliseconds. */
  wait(least: number, most: number): Promise<void>;
  /** Milliseconds left. */
  left(): number;
}

export async function play({ nemesis, seed, seconds, variant, load, bounds, main }: Run): Promise<Report> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-chaos-'));
  // Beside the folder that is broken, never in it.
  const histories = [path.join(folder, 'people.jsonl'), path.join(folder, 'stage.jsonl')];
  const random = randomFrom(seed);
  const data = await (nemesis.folder?.(folder) ?? { path: path.join(folder, 'data'), release: async () => {} });
  const database = variant === 'postgres' ? await createTestDatabase() : undefined;
  const history = openHistory(histories[1]!);
  const ends: Report['ends'] = [];
  let starts = 0;
  let slowestStartMs = 0;
  let server: ServerProcess | undefined;
  let people: Child | undefined;
  const begin = async (env?: NodeJS.ProcessEnv): Promise<ServerProcess> => {
    const began = now();
    const begun = await startServerProcess(data.path, { KITH_DISK_RESERVE: '0', ...nemesis.env, ...(database && { KITH_DATABASE: database.url }), ...env }, main);
    starts += 1;
    slowestStartMs = Math.max(slowestStartMs, now() - began);
    return begun;
  };
  let proxy: Proxy | undefined;
  try {
    server = await begin();
    proxy = await openProxy(() => Number(new URL(server!.url).port));
    const options: LoadOptions = { url: proxy.url, file: histories[0]!, seed, people: 8, rate: 80, copies: 1, changes: 0.5, drops: 0.5, ...nemesis.load, ...load };
    people = start(process.execPath, [path.join(import.meta.dirname, 'load.ts'), JSON.stringify(options)]);
    await heard(people, 'ready');
    const until = now() + seconds * 1_000;
    const sample = (when: 'start' | 'end'): void => history.note({ e: 'server', ...sizesOf(server!, data.path), when, t: now() });
    const stage: Stage = {
      seed,
      seconds,
      random,
      data: data.path,
      proxy,
      database: database?.url,
      server: () => server!,
      async restart(end, env) {
        history.note({ e: 'fault', what: 'the server is gone', on: true, t: now() });
        proxy!.refuse(true);
        await end(server!);
        ends.push(await server!.ended);
        server = await begin(env);
        proxy!.refuse(false);
        history.note({ e: 'fault', what: 'the server is back', on: false, t: now() });
      },
      people: () => people!,
      fault: (what, on) => history.note({ e: 'fault', what, on, t: now() }),
      wrong: (what) => history.note({ e: 'wrong', what, t: now() }),
      wait: (least, most) => pause(least + random() * (most - least)),
      left: () => until - now(),
    };
    await pause(500);
    sample('start');
    await nemesis.act(stage);
    // Some quiet traffic when all is healed, so that liveness can be seen.
    await pause(1_500);
    people.process.stdin!.write('finish\n');
    await heard(people, 'done');
    await nemesis.after?.(stage);
    sample('end');
    server.process.kill('SIGTERM');
    ends.push(await server.ended);
    if (ends.at(-1) !== 0) stage.wrong(`the last server ended with ${ends.at(-1)}`);
    const complaints = server.output().out.filter((line) => /"level":"(error|fatal)"|unhandled/.test(line) && !nemesis.expected?.test(line));
    if (complaints.length > 0) stage.wrong(`the server complained: ${complaints[0]!.slice(0, 300)}`);
    history.close();
    const all = readHistory(histories);
    return {
      violations: check(all, { ...usualBounds, ...nemesis.bounds, ...bounds }),
      acks: all.filter(({ e }) => e === 'ack').length,
      messages: all.flatMap((entry) => (entry.e === 'truth' ? entry.rows : [])).length,
      starts,
      ends,
      slowestStartMs: Math.round(slowestStartMs),
    };
  } finally {
    await people?.kill();
    await server?.kill();
    await proxy?.close();
    await database?.drop();
    await data.release();
    if (process.env['KITH_CHAOS_KEEP'] === undefined) fs.rmSync(folder, { recursive: true, force: true });
    else console.log(`kept: ${folder}`);
  }
}

export async function heard(child: Child, line: string): Promise<void> {
  while ((await child.line()) !== line);
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
