import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Log } from '../log.ts';
import type { TestNetwork } from './network.ts';
import type { Answered, Asked, Read, Start } from './talk.ts';

/** Milliseconds for one address. The process itself stops after 5,000; one that does not is ended. */
const answerMs = 6_000;
/** Milliseconds in which it begins, beside that. */
const beginMs = 5_000;
/** Milliseconds without a question after which it ends: it takes memory, and begins in a moment. */
const idleMs = 60_000;

export interface Fetcher {
  /**
   * Reads what is at an address of the web, in a process that can do nothing else.
   *
   * @returns undefined: nothing, or nothing that may be read
   * @throws when the process ended before it could say
   */
  read(url: string): Promise<Read | undefined>;
  /** Of the process that runs now. */
  readonly pid: number | undefined;
  close(): Promise<void>;
}

export function openFetcher({ log, ownHosts, test }: Start & { log: Log; test?: TestNetwork }): Fetcher {
  let current: Child | undefined;
  let closed = false;

  const child = (): Child => {
    if (current && !current.ended) return current;
    return (current = new Child({ ownHosts, ...(test && { test }) }, log));
  };

  return {
    async read(url) {
      // A process that ended over one address took the others with it: they get a second try.
      for (let tries = 2; ; tries -= 1) {
        if (closed) throw new Error('the server stops');
        try {
          return await child().read(url);
        } catch (error) {
          if (tries === 1 || closed) throw error;
        }
      }
    },
    get pid() {
      return current?.pid;
    },
    async close() {
      closed = true;
      await current?.end();
    },
  };
}

class Child {
  ended = false;
  readonly #process: ChildProcess;
  readonly #over: Promise<void>;
  readonly #waiting = new Map<number, { resolve: (read: Read | undefined) => void; reject: (error: Error) => void }>();
  #next = 1;
  #began = false;
  #idle: NodeJS.Timeout | undefined;

  constructor(start: Start, log: Log) {
    const process = fork(program, { execArgv: rights(), env: environment(), cwd: dirname(program), serialization: 'json', stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    this.#process = process;
    this.#over = new Promise((resolve) => {
      const over = (): void => {
        this.ended = true;
        clearTimeout(this.#idle);
        for (const { reject } of this.#waiting.values()) reject(new Error('the process ended'));
        this.#waiting.clear();
        resolve();
      };
      process.once('exit', over);
      // It could not even begin.
      process.on('error', (error) => {
        log.warn({ err: error }, 'links cannot be looked at');
        if (process.pid === undefined) over();
      });
    });
    process.on('message', (message) => this.#answered(message));
    process.send(start satisfies Start, ignored);
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  async read(url: string): Promise<Read | undefined> {
    clearTimeout(this.#idle);
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<Read | undefined>();
    this.#waiting.set(id, { resolve, reject });
    this.#process.send({ id, url } satisfies Asked, ignored);
    let tooLate = false;
    const late = setTimeout(
      () => {
        tooLate = true;
        this.#process.kill('SIGKILL');
      },
      this.#began ? answerMs : answerMs + beginMs,
    );
    try {
      return await promise;
    } catch (error) {
      if (tooLate) return undefined;
      throw error;
    } finally {
      clearTimeout(late);
      this.#rest();
    }
  }

  #answered(message: unknown): void {
    this.#began = true;
    const waiting = isAnswered(message) ? this.#waiting.get(message.id) : undefined;
    // What says things that nobody asked for is not what we started any more.
    if (!waiting) return void this.#process.kill('SIGKILL');
    const { id, read } = message as Answered;
    this.#waiting.delete(id);
    waiting.resolve(read);
  }

  #rest(): void {
    if (this.#waiting.size > 0 || this.ended) return;
    this.#idle = setTimeout(() => void this.end(), idleMs);
    this.#idle.unref();
  }

  async end(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#over;
  }
}

/** Whatever comes from there is looked at like what comes from a stranger: it has talked to some. */
function isAnswered(message: unknown): message is Answered {
  const { id, read } = (message ?? {}) as Partial<Answered>;
  if (typeof id !== 'number' || (read !== undefined && (typeof read !== 'object' || read === null || typeof read.host !== 'string'))) return false;
  return Object.entries(read ?? {}).every(([name, value]) => typeof value === 'string' && value.length <= (longest[name] ?? -1));
}

/** UTF-16 units of each; a mebibyte is a third more in base64. */
const longest: Record<string, number> = { host: 300, title: 4_096, description: 4_096, path: 4_096, picture: 1_400_000 };

/** Sent to a process that has just ended: its end is what is told. */
const ignored = (): void => {};

const program = fileURLToPath(new URL('./child.ts', import.meta.url));

/**
 * It may read its program, and nothing else: no data, no other files, no processes or threads. From Node 25 on the network
 * is a right as well.
 */
export function rights(): string[] {
  const parser = fileURLToPath(import.meta.resolve('htmlparser2'));
  const packages = parser.slice(0, parser.lastIndexOf(`${sep}node_modules${sep}`) + sep.length + 'node_modules'.length);
  // Where it is looked for, which may only be a link to where it is.
  const looked = ancestors(dirname(program)).map((folder) => join(folder, 'node_modules'));
  return [
    '--permission',
    ...(process.allowedNodeEnvironmentFlags.has('--allow-net') ? ['--allow-net'] : []),
    ...new Set([dirname(program), packages, ...looked.filter((folder) => existsSync(folder))].map((folder) => `--allow-fs-read=${join(folder, '*')}`)),
    '--max-old-space-size=64',
    '--disable-proto=delete',
    '--disallow-code-generation-from-strings',
    '--disable-warning=PERM0001',
  ];
}

/** A folder and all that it is in. */
const ancestors = (folder: string): string[] => (dirname(folder) === folder ? [folder] : [folder, ...ancestors(dirname(folder))]);

/** Nothing of ours, passwords of databases least of all, and no proxy. Windows begins no process without its own. */
export function environment(): NodeJS.ProcessEnv {
  const { SystemRoot, NODE_EXTRA_CA_CERTS } = process.env;
  return { ...(SystemRoot !== undefined && { SystemRoot }), ...(NODE_EXTRA_CA_CERTS !== undefined && { NODE_EXTRA_CA_CERTS }) };
}
