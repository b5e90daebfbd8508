import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { openTestPostgres } from '../packages/server/test/postgres.ts';

// A PostgreSQL for one play, which may be broken: its processes are ended, and it comes back on the same files and port.

export interface OwnPostgres {
  /** Of a database on it. */
  url: string;
  /** All its processes are gone when it resolves. SIGKILL: at once, and nobody writes anything any more; SIGQUIT: `pg_ctl stop -m immediate`. */
  crash(signal: 'SIGKILL' | 'SIGQUIT'): Promise<void>;
  /** On what it finds: resolves when it takes connections. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds for what has to be repaired after a crash, on a busy machine. */
const startMs = 60_000;

/** @param folder  Where its files are, on a disk that may lose its power. Default: the folder for temporary files. */
export async function openOwnPostgres(folder?: string): Promise<OwnPostgres> {
  const { url: server, close } = await openTestPostgres({ fsync: true, ...(folder !== undefined && { folder }) });
  const database = Object.assign(new URL(server), { pathname: '/kith' }).href;
  await query(server, 'create database kith');
  // So that its log is used again and again.
  await query(server, `alter system set max_wal_size = '64MB'`);
  await query(server, 'select pg_reload_conf()');
  const [{ data }] = await query<{ data: string }>(server, `select current_setting('data_directory') as data`);
  const parent = (): number => Number(fs.readFileSync(path.join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
  const found = `/proc/${parent()}`;
  const [command, ...args] = fs.readFileSync(`${found}/cmdline`, 'utf8').split('\0').filter(Boolean) as [string, ...string[]];
  const env = Object.fromEntries(fs.readFileSync(`${found}/environ`, 'utf8').split('\0').filter(Boolean).map(pair));
  const { uid, gid } = fs.statSync(data);
  // Servers for tests are made without waiting for the disk.
  spawnSync('sync', ['-f', data]);
  const crash: OwnPostgres['crash'] = async (signal) => {
    const pid = parent();
    const all = [pid, ...childrenOf(pid)];
    for (const one of signal === 'SIGKILL' ? all : [pid]) end(one, signal);
    while (all.some(isThere)) await pause(10);
    // Its number may soon be somebody else's.
    fs.rmSync(path.join(data, 'postmaster.pid'), { force: true });
  };
  /** The one that was started last, if one was: nobody else ends it when this program ends. */
  let child: ChildProcess | undefined;
  const endWithUs = (): void => void child?.kill('SIGQUIT');
  process.once('exit', endWithUs);
  return {
    url: database,
    crash,
    async start() {
      child = spawn(command, args, { uid, gid, env, cwd: path.dirname(data), stdio: 'ignore' });
      for (const until = performance.now() + startMs; ; await pause(20)) {
        try {
          return void (await query(server, 'select 1'));
        } catch (error) {
          if (child.exitCode !== null || performance.now() > until) throw error;
        }
      }
    },
    async close() {
      if (fs.existsSync(path.join(data, 'postmaster.pid'))) await crash('SIGQUIT');
      await close();
      process.off('exit', endWithUs);
    },
  };
}

const pair = (line: string): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)];

function childrenOf(parent: number): number[] {
  return spawnSync('ps', ['--ppid', String(parent), '-o', 'pid='], { encoding: 'utf8' })
    .stdout.trim()
    .split(/\s+/)
    .filter(Boolean)
    .map(Number);
}

/** Gone, or dead and not yet collected by whoever started it. */
function isThere(pid: number): boolean {
  try {
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function query<T extends pg.QueryResultRow>(url: string, text: string): Promise<[T]> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<T>(text)).rows as [T];
  } finally {
    await client.end();
  }
}
