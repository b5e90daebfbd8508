import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { createTestDatabase, openTestPostgres } from './postgres.ts';

test('[TP1] every test database is empty, its own, and gone after drop', async () => {
  const [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  await query(one.url, 'create table mine (id int)');
  expect(await query(other.url, `select to_regclass('mine') as found`)).toEqual([{ found: null }]);
  await Promise.all([one.drop(), other.drop()]);
  await expect(query(one.url, 'select 1')).rejects.toThrow('does not exist');
});

test('[TP2] a database is dropped although somebody is connected to it', async () => {
  const database = await createTestDatabase();
  const client = new pg.Client(database.url);
  const cut = new Promise<Error>((resolve) => void client.on('error', resolve));
  await client.connect();
  await database.drop();
  expect((await cut).message).toMatch(/terminat/);
});

test('[TP3] the server from npm starts on a machine that has none, and syncs its commits when asked to', { timeout: 60_000 }, async () => {
  const server = await openTestPostgres({ embedded: true, fsync: true });
  onTestFinished(server.close);
  const [{ version, fsync }] = (await query(server.url, `select version(), current_setting('fsync') as fsync`)) as [{ version: string; fsync: string }];
  expect(version).toContain('PostgreSQL 18');
  expect(fsync).toBe('on');
});

test.skipIf(process.platform === 'win32')('[TP4] a server ends with the process that opened it, even when that one is killed', { timeout: 60_000 }, async () => {
  const script = `import { openTestPostgres } from ${JSON.stringify(new URL('postgres.ts', import.meta.url).href)}; console.log((await openTestPostgres()).url);`;
  const opener = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [url] = (await once(createInterface({ input: opener.stdout }), 'line')) as [string];
  const client = new pg.Client(url);
  const cut = new Promise<Error>((resolve) => void client.on('error', resolve));
  await client.connect();
  opener.kill('SIGKILL');
  await cut;
  await expect.poll(() => query(url, 'select 1').catch((error: Error) => error.message), { timeout: 10_000 }).toContain('ECONNREFUSED');
});

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
