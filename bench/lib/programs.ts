import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import type { Bench } from './bench.ts';
import type { Ask, Usage } from './probe.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** A server in a process of its own, and what the operating system says of it. */
export class Program {
  readonly name: string;
  readonly port: number;
  /** Milliseconds from its start to the line that says where it listens. */
  readonly startedMs: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  constructor(name: string, port: number, startedMs: number, child: ChildProcess) {
    this.name = name;
    this.port = port;
    this.startedMs = startedMs;
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once('exit', () => resolve()));
  }

  /** @param collect  Garbage goes first. */
  async usage(collect = false): Promise<Usage> {
    return new Promise((resolve) => {
      this.#child.once('message', (message) => resolve(message as Usage));
      this.#child.send({ ask: 'usage', collect } satisfies Ask);
    });
  }

  watchStalls(on = true): void {
    this.#child.send({ ask: 'watch', on } satisfies Ask);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }
}

/** Those that a scenario has started and not stopped: where it throws, they end with this process. */
const running = new Set<ChildProcess>();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export interface StartOptions {
  env?: Record<string, string>;
  /** Flags of the runtime. */
  node?: string[];
  /** For a name in profiles and messages. */
  name?: string;
}

/** Runs a program of ours, which says on its output where it listens. */
export async function startProgram(file: string, args: string[], { env = {}, node = [], name = path.basename(file, '.ts') }: StartOptions = {}): Promise<Program> {
  const probe = new URL('./probe.ts', import.meta.url).href;
  const began = performance.now();
  const child = spawn(process.execPath, [...node, '--import', probe, path.join(root, file), ...args], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: { ...process.env, ...env },
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const port = await new Promise<number>((resolve, reject) => {
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text);
      if (found) resolve(Number(found[1]));
    });
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it listened:\n${text}`)));
  });
  return new Program(name, port, performance.now() - began, child);
}

/** Kith as operators run it, but for the limits on rates: one machine is everybody here. */
export function startKith(bench: Pick<Bench, 'profile'>, data: string, { env = {}, ...options }: StartOptions = {}): Promise<Program> {
  const node = bench.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${bench.profile}`];
  return startProgram('packages/server/src/main.ts', ['start', '--port', '0', '--data', data], {
    name: 'kith',
    ...options,
    // As scripts/run.mjs starts it, and docs/operations.md says.
    node: ['--max-semi-space-size=4', '--v8-pool-size=0', ...node, ...(options.node ?? [])],
    env: { KITH_RATE_LIMITS: 'off', KITH_LOG_LEVEL: 'warn', KITH_MAX_CONNECTIONS: '50000', ...env },
  });
}

export const startFloor = (floor: 'ws' | 'ws-batched' | 'socket-io'): Promise<Program> =>
  floor === 'socket-io' ? startProgram('bench/floors/socket-io.ts', []) : startProgram('bench/floors/ws.ts', [floor], { name: floor });
