import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { createTestDatabase, openTestPostgres } from '../../packages/server/test/postgres.ts';

/** A PostgreSQL of our own on this machine, as careful as an operator's: `fsync` and `synchronous_commit` are on. */
export interface BenchPostgres {
  url: string;
  version: string;
  /** Microseconds of user and system time of all its processes since the start; undefined where the system does not tell. */
  cpu(): number | undefined;
  query<R extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

export async function openBenchPostgres(): Promise<BenchPostgres> {
  const server = await openTestPostgres({ fsync: true });
  const { url } = await createTestDatabase(server.url);
  const client = new pg.Client(url);
  await client.connect();
  const query = async <R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> => (await client.query<R>(text, values)).rows;
  const [{ pid, version }] = (await query(`select pg_backend_pid() as pid, current_setting('server_version') as version`)) as [{ pid: number; version: string }];
  const owner = statOf(pid)?.parent;
  return {
    url,
    version,
    query,
    cpu: () => (owner === undefined ? undefined : cpuOf(owner)),
    async close() {
      await client.end();
      await server.close();
    },
  };
}

/** Brings what was seeded there, as `kith migrate` does. @param files  The data directory of whoever serves it then. */
export async function moveTo(url: string, seeded: string, files: string): Promise<void> {
  const main = path.resolve(import.meta.dirname, '../../packages/server/src/main.ts');
  const child = spawn(process.execPath, [main, 'migrate', '--from', seeded, '--to', url, '--data', files], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`migrate ended with ${code}:\n${said}`);
}

/** Microseconds in one tick of /proc. */
const tick = 10_000;

interface Stat {
  parent: number;
  /** Of the process itself, and of its children that have ended. */
  own: number;
  ended: number;
}

function statOf(pid: number): Stat | undefined {
  try {
    // The name, in parentheses, may have anything in it.
    const fields = fs
      .readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
      .map(Number);
    return { parent: fields[1]!, own: fields[11]! + fields[12]!, ended: fields[13]! + fields[14]! };
  } catch {
    return undefined;
  }
}

function cpuOf(owner: number): number {
  const { own, ended } = statOf(owner)!;
  const children = fs.readdirSync('/proc').flatMap((name) => {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    return stat?.parent === owner ? [stat.own] : [];
  });
  return (own + ended + children.reduce((sum, one) => sum + one, 0)) * tick;
}
