import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RequestError, limits } from '@kith/protocol';
import type { Log } from '../log.ts';
import type { Look, Most, Pictures, Wish } from './pictures.ts';

/** Milliseconds that a process may take to begin, or for one picture. It counts its own time; this is for one that does not. */
const answerMs = 60_000;
/** Milliseconds without a picture after which a process ends: it takes memory, and begins in a moment. */
const usualIdleMs = 30_000;

const usual: Most = { ms: limits.pictureMs, memoryMib: limits.pictureMemoryMib };

/** Looks at pictures in processes of its own, at most two, and only as long as there are pictures. */
export function openPictures({
  log,
  processes = Math.min(2, availableParallelism()),
  most = usual,
  idleMs = usualIdleMs,
}: {
  log: Log;
  processes?: number;
  most?: Most;
  idleMs?: number;
}): Pictures {
  const workers = new Set<Worker>();
  const line: { start: (worker: Worker) => void; refuse: (error: Error) => void }[] = [];
  let closed = false;

  /** One that is free, once there is one. */
  const free = (): Promise<Worker> => {
    if (closed) throw stopping();
    // One that ended by itself, for lack of memory on the machine perhaps, would refuse a picture that is good.
    for (const worker of workers) if (worker.ended) workers.delete(worker);
    const idle = [...workers].find((worker) => !worker.busy);
    const worker = idle ?? (workers.size < processes ? new Worker() : undefined);
    if (!worker) return new Promise((start, refuse) => line.push({ start, refuse }));
    workers.add(worker);
    worker.busy = true;
    return Promise.resolve(worker);
  };

  const release = (worker: Worker): void => {
    worker.busy = false;
    if (!worker.ended) worker.endWhenIdle(idleMs, () => workers.delete(worker));
    const next = line.shift();
    if (next) free().then(next.start, next.refuse);
  };

  return {
    async look(bytes, wish) {
      if (wish.size > limits.pictureBytes) return { refused: 'too_large' };
      for (let attempt = 0; ; attempt += 1) {
        const worker = await free();
        try {
          return await worker.look(bytes(), { ...wish, ...most });
        } catch (error) {
          if (closed) throw stopping();
          if (!(error instanceof ProcessEnded)) throw error;
          // Killed from outside, by a machine without memory perhaps: that may be no fault of this picture. Once.
          if (error.why === 'killed' && attempt === 0) continue;
          log.warn({ type: wish.type, size: wish.size, why: error.why }, 'a picture could not be looked at');
          return { refused: error.why === 'no process began' ? 'no_decoder' : 'too_costly' };
        } finally {
          release(worker);
        }
      }
    },

    async close() {
      closed = true;
      for (const { refuse } of line.splice(0)) refuse(stopping());
      await Promise.all([...workers].map((worker) => worker.end()));
    },
  };
}

const stopping = (): RequestError => new RequestError('busy', { message: 'This server is stopping.', retryAfterMs: 1_000 });

class ProcessEnded extends Error {
  readonly why: 'no process began' | 'it took too much' | 'killed';
  constructor(why: ProcessEnded['why']) {
    super(why);
    this.why = why;
  }
}

class Worker {
  busy = false;
  ended = false;
  readonly #process: ChildProcess;
  readonly #over: Promise<void>;
  readonly #ready: Promise<unknown>;
  #idle: NodeJS.Timeout | undefined;
  /** It is we who end it. */
  #ending = false;
  #killed = false;

  constructor() {
    this.#process = fork(program, { execArgv: rights(), env: environment(), serialization: 'advanced', stdio: ['pipe', 'ignore', 'ignore', 'ipc'] });
    // One that could not begin has no exit; all other errors come to a process that is ending, and end with it.
    this.#over = new Promise((resolve) => {
      const end = (): void => {
        this.ended = true;
        resolve();
      };
      this.#process.once('exit', (code) => {
        this.#killed = code === null && !this.#ending;
        end();
      });
      this.#process.on('error', () => {
        if (this.#process.pid === undefined) end();
      });
    });
    this.#process.stdin?.on('error', () => {});
    this.#ready = this.#answer(false);
    this.#ready.catch(() => {});
  }

  /** @throws ProcessEnded, or what the bytes threw */
  async look(bytes: AsyncIterable<Uint8Array>, wish: Wish & Most): Promise<Look> {
    clearTimeout(this.#idle);
    await this.#ready;
    const process = this.#process;
    try {
      process.send(wish);
      let sent = 0;
      for await (const chunk of bytes) {
        if (this.ended) break;
        sent += chunk.length;
        if (!process.stdin!.write(chunk)) await Promise.race([new Promise((resolve) => process.stdin!.once('drain', resolve)), this.#over]);
      }
      if (!this.ended && sent !== wish.size) throw new Error(`a picture of ${wish.size} bytes has ${sent}`);
    } catch (error) {
      // It waits for bytes that do not come, and would take the next picture for them.
      await this.end();
      throw error;
    }
    return (await this.#answer(true)) as Look;
  }

  /** What it says next. One that does not say it in time is ended. */
  async #answer(began: boolean): Promise<unknown> {
    const late = setTimeout(() => void this.end(), answerMs);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#process.once('message', resolve);
    try {
      const said = await Promise.race([promise, this.#over]);
      if (said === undefined) throw new ProcessEnded(this.#killed ? 'killed' : began ? 'it took too much' : 'no process began');
      return said;
    } finally {
      clearTimeout(late);
      this.#process.off('message', resolve);
    }
  }

  endWhenIdle(idleMs: number, then: () => void): void {
    this.#idle = setTimeout(() => {
      then();
      void this.end();
    }, idleMs);
    this.#idle.unref();
  }

  async end(): Promise<void> {
    clearTimeout(this.#idle);
    this.#ending = true;
    this.#process.kill('SIGKILL');
    await this.#over;
  }
}

const program = fileURLToPath(new URL('./child.ts', import.meta.url));

/** It may read its program and load the decoder, and nothing else: no data, no other files, no processes. */
export function rights(): string[] {
  const own = [dirname(program), dirname(fileURLToPath(import.meta.resolve('@kith/protocol'))), packages()];
  return ['--permission', '--allow-addons', ...own.map((folder) => `--allow-fs-read=${join(folder, '*')}`), '--disable-warning=PERM0001'];
}

/** The folder that the decoder and what it needs is installed in. */
function packages(): string {
  const decoder = fileURLToPath(import.meta.resolve('sharp'));
  return decoder.slice(0, decoder.lastIndexOf(`${sep}node_modules${sep}`) + sep.length + 'node_modules'.length);
}

/** Nothing of ours, passwords of databases least of all. Windows begins no process without its own. */
export function environment(): NodeJS.ProcessEnv {
  const { SystemRoot } = process.env;
  // The decoder's small pieces of memory, given back instead of kept in many heaps.
  return { MALLOC_ARENA_MAX: '2', ...(SystemRoot !== undefined && { SystemRoot }) };
}
