import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type Interface, createInterface } from 'node:readline';

/** A process of ours that is going to be killed: what it prints, line by line, and how it ends. */
export interface Child {
  process: ChildProcess;
  /** The next line of stdout that no one has asked for yet. @throws with all of stderr when it ended without one */
  line(): Promise<string>;
  /** From here on hears every line of stdout, asked for or not. */
  onLine(hear: (line: string) => void): void;
  /** Everything it has said so far. */
  output(): { out: string[]; err: string };
  /** Exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>;
  /** kill -9, unless it is gone already; resolves when nothing of it runs any more. */
  kill(): Promise<void>;
}

/** Starts a program; ours are told by their module. */
export function start(command: string, args: string[], options: { env?: NodeJS.ProcessEnv; stdio?: StdioOptions } = {}): Child {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
  const out: string[] = [];
  const waiting: ((line: string | undefined) => void)[] = [];
  let err = '';
  let asked = 0;
  let over = false;
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (err += text));
  const lines: Interface = createInterface({ input: child.stdout! });
  lines.on('line', (line) => {
    out.push(line);
    const waiter = waiting.shift();
    if (!waiter) return;
    asked += 1;
    waiter(line);
  });
  // A test that was given up leaves nothing running behind it.
  const leave = (): void => void child.kill('SIGKILL');
  process.once('exit', leave);
  const ended = once(child, 'close').then((how) => {
    process.off('exit', leave);
    const [code, signal] = how as [number | null, NodeJS.Signals | null];
    over = true;
    for (const waiter of waiting.splice(0)) waiter(undefined);
    return code ?? signal!;
  });
  return {
    process: child,
    async line() {
      if (asked < out.length) return out[asked++]!;
      const line = over ? undefined : await new Promise<string | undefined>((resolve) => void waiting.push(resolve));
      if (line === undefined) throw new Error(`It ended and said no more.\n${out.join('\n')}\n${err}`);
      return line;
    },
    onLine: (hear) => void lines.on('line', hear),
    output: () => ({ out: [...out], err }),
    ended,
    async kill() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}

/**
 * Runs a script in a process of its own. `from` makes the URL of a module beside this file, for imports in the script.
 *
 * @param script  The text of an ES module.
 */
export function runScript(script: string, args: string[] = [], options: { through?: string[]; env?: NodeJS.ProcessEnv } = {}): Child {
  const [command, ...rest] = [...(options.through ?? []), process.execPath, '-e', script, ...args];
  return start(command!, rest, { env: options.env ?? process.env });
}

/** The URL of a module, to be imported by a script: relative to this folder. */
export const from = (module: string): string => JSON.stringify(new URL(module, import.meta.url).href);

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** May we make system calls of our processes fail, or kill them at one? Only on Linux, with strace, and where the kernel allows it. */
export function canInject(): boolean {
  if (process.platform !== 'linux') return false;
  const sleeper = start('sleep', ['60']);
  const tried = spawnSync('timeout', ['-s', 'INT', '2', 'strace', '-o', '/dev/null', '-e', 'trace=fsync', '-e', 'inject=fsync:error=EIO', '-p', String(sleeper.process.pid)], {
    encoding: 'utf8',
  });
  void sleeper.kill();
  return tried.stderr?.includes('attached') ?? false;
}
