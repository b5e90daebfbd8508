import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A NATS server of our own on loopback. It keeps nothing: a restart is one with empty memory. */
export interface TestNats {
  url: string;
  port: number;
  /** kill -9. */
  kill(): Promise<void>;
  /** Again on the same port, after it was killed. */
  start(): Promise<void>;
  /** Stands still, or goes on. */
  pause(on: boolean): void;
  close(): Promise<void>;
}

/** Milliseconds that a start may take on a busy machine. */
const startMs = 20_000;
const cache = fileURLToPath(new URL('../../../node_modules/.cache/kith-nats', import.meta.url));

/**
 * The program: what `KITH_TEST_NATS_SERVER` names, else the one on PATH, else the package of Debian, which needs neither root nor to
 * be installed for that.
 *
 * @returns undefined where there is none, which in CI is an error
 */
export function findNatsServer(): string | undefined {
  const debian = path.join(cache, 'usr/sbin/nats-server');
  const candidates = [process.env['KITH_TEST_NATS_SERVER'], 'nats-server', debian].filter((file) => file !== undefined);
  const runs = (file: string): boolean => spawnSync(file, ['--version']).status === 0;
  const found = candidates.find(runs) ?? (unpackDebianPackage() && runs(debian) ? debian : undefined);
  if (found === undefined && process.env['CI']) throw new Error('No nats-server: neither KITH_TEST_NATS_SERVER nor PATH has one, and apt-get could not download it.');
  return found;
}

function unpackDebianPackage(): boolean {
  if (process.platform !== 'linux') return false;
  fs.mkdirSync(path.dirname(cache), { recursive: true });
  const folder = fs.mkdtempSync(`${cache}-`);
  const succeeds = (command: string, args: string[]): boolean => spawnSync(command, args, { cwd: folder, stdio: 'ignore', timeout: 120_000 }).status === 0;
  // Lists of packages of its own, for those who may not write the system's, or have none.
  const own = ['-o', `Dir::State=${folder}/state`, '-o', `Dir::Cache=${folder}/cache`, '-o', 'APT::Sandbox::User='];
  const lists = (): boolean => {
    fs.mkdirSync(path.join(folder, 'state/lists/partial'), { recursive: true });
    fs.mkdirSync(path.join(folder, 'cache/archives/partial'), { recursive: true });
    return succeeds('apt-get', [...own, 'update']) && succeeds('apt-get', [...own, 'download', 'nats-server']);
  };
  try {
    if (!succeeds('apt-get', ['-o', 'APT::Sandbox::User=', 'download', 'nats-server']) && !lists()) return false;
    const archive = fs.readdirSync(folder).find((name) => name.endsWith('.deb'));
    if (archive === undefined || !succeeds('dpkg-deb', ['-x', archive, 'out'])) return false;
    // Others may be at it as well: whoever comes second finds it there, and fails here.
    fs.renameSync(path.join(folder, 'out'), cache);
    return true;
  } catch {
    return fs.existsSync(cache);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param args             Beyond address and port.
 * @param options.address  Where it listens. Default: loopback.
 * @param options.through  What starts it, before its own command: `nsenter …`.
 * @throws when there is no server, or it does not start
 */
export async function startNats(args: string[] = [], { address = '127.0.0.1', through = [] }: { address?: string; through?: string[] } = {}): Promise<TestNats> {
  const program = findNatsServer();
  if (program === undefined) throw new Error('There is no nats-server on this machine.');
  const port = await freePort();
  const [command, ...rest] = [...through, program, '-a', address, '-p', String(port), ...args];
  let running = await run(command!, rest);
  return {
    url: `nats://${address}:${port}`,
    port,
    kill: () => running.kill(),
    async start() {
      running = await run(command!, rest);
    },
    pause: (on) => void process.kill(running.pid, on ? 'SIGSTOP' : 'SIGCONT'),
    close: () => running.kill(),
  };
}

interface Running {
  pid: number;
  kill(): Promise<void>;
}

/** In the care of a shell that ends it when our end of the pipe closes, however we end. */
async function run(program: string, args: string[]): Promise<Running> {
  const guard: ChildProcess = spawn('sh', ['-c', '"$@" 2>&1 & child=$!; echo "pid $child"; read line; kill -9 $child 2> /dev/null; wait $child', 'sh', program, ...args], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = once(guard, 'close');
  const log: string[] = [];
  let pid = 0;
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`nats-server was not ready after ${startMs} ms.\n${log.join('\n')}`)), startMs);
    createInterface({ input: guard.stdout! }).on('line', (line) => {
      // Read to the end, or the server would block on a full pipe; kept only while starting.
      if (log.length < 100) log.push(line);
      pid ||= Number(/^pid (\d+)$/.exec(line)?.[1] ?? 0);
      if (/Server is ready/.test(line)) {
        clearTimeout(late);
        resolve();
      }
    });
    guard.once('error', reject);
    guard.once('close', () => reject(new Error(`nats-server did not start.\n${log.join('\n')}`)));
  });
  return {
    pid,
    async kill() {
      guard.stdin!.end();
      await ended;
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
