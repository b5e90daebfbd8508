import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';

export interface TestPostgres {
  /** Of a superuser, on the database `postgres`. */
  url: string;
  close(): Promise<void>;
}

export interface TestDatabase {
  url: string;
  /** Ends whoever is still connected to it. */
  drop(): Promise<void>;
}

/**
 * Starts a PostgreSQL of our own on loopback and a free port, its files in a temporary folder. Within a test run,
 * `createTestDatabase` is all one needs.
 *
 * @param options.fsync     Whether a commit waits for the disk. Default false: nobody needs these rows after a power cut.
 * @param options.embedded  Take the server from npm even where the machine has one. Default false.
 * @param options.folder    Where its files are made. Default: the folder for temporary files.
 * @param options.standbyOf URL of a server whose standby it is to be.
 * @param options.at        Not on loopback and a free port, but on all addresses, for everybody, and on this port, and what starts it, before
 *                          its own command, sees to it that nobody else is there. `address` is for the URL.
 * @throws when no server could be started; the message says what was looked for.
 */
export async function openTestPostgres(
  options: { fsync?: boolean; embedded?: boolean; folder?: string; standbyOf?: string; at?: { through: string[]; address: string; port: number } } = {},
): Promise<TestPostgres> {
  // The server belongs to a process of its own that stops it when our end of the pipe closes. The system closes the
  // pipe however we end, so that even a kill -9 of the tests leaves nothing behind.
  const { fsync, embedded, folder, standbyOf, at } = options;
  const flags = [...(fsync ? ['--fsync'] : []), ...(embedded ? ['--embedded'] : []), ...(standbyOf === undefined ? [] : ['--standby-of', standbyOf])];
  const where = at ? ['--address', at.address, '--port', String(at.port)] : [];
  const [command, ...args] = [...(at?.through ?? []), process.execPath, join(import.meta.dirname, 'postgres-process.ts'), ...flags, ...where];
  const owner = spawn(command!, args, { stdio: 'pipe', ...(folder !== undefined && { env: { ...process.env, TMPDIR: folder } }) });
  const ended = once(owner, 'close');
  let complaints = '';
  owner.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: owner.stdout }).once('line', resolve);
    owner.once('error', reject);
    owner.once('close', () => reject(new Error(`No PostgreSQL for tests.\n${complaints}`)));
  });
  const close = async () => {
    owner.stdin.end();
    await ended;
  };
  return { url, close };
}

/**
 * A fresh, empty database on the server of this test run: the one that `KITH_TEST_POSTGRES` names, else one that starts
 * when the first database is asked for.
 *
 * @param server  URL of another server to make it on.
 */
export async function createTestDatabase(server?: string): Promise<TestDatabase> {
  const serverUrl = server ?? (await serverOfThisRun());
  const name = `kith_test_${randomUUID().replaceAll('-', '')}`;
  await runOn(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => runOn(serverUrl, `drop database if exists ${name} with (force)`) };
}

async function serverOfThisRun(): Promise<string> {
  const given = process.env.KITH_TEST_POSTGRES;
  if (given) return given;
  const door = process.env.KITH_TEST_POSTGRES_DOOR;
  if (!door) throw new Error('No test run is under way. Use openTestPostgres(), or set KITH_TEST_POSTGRES to the URL of a server.');
  const answer = await fetch(door);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}

async function runOn(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
