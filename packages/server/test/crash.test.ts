import { once } from 'node:events';
import pg from 'pg';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { canInject, start } from './crash-child.ts';
import { type Outcome, crash } from './crash-run.ts';
import type { ServerProcess } from './crash-server.ts';
import { createTestDatabase } from './postgres.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env.KITH_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

describe.skipIf(process.platform === 'win32')(`a server that is killed, seed ${seed}`, () => {
  let outcome: Outcome;
  beforeAll(async () => {
    outcome = await crash({ seed, kills: 10 });
    console.log(`seed ${seed}: ${outcome.acks} acks, ${outcome.messages} messages, stopped in ${Math.round(outcome.stopMs)} ms`);
  }, 120_000);

  test('[ST2] [MS3] after ten kills at any moment every ack holds: each message once, in its place, on every device, in the order sent', () => {
    expect(outcome.problems).toEqual([]);
    expect(outcome.acks).toBeGreaterThan(100);
    expect(outcome.messages).toBeGreaterThan(100);
  });

  test('[CO9] asked to stop under load, it answers what it took up, tells everyone to come back, and is gone within 10 s', () => {
    expect(outcome.exit).toBe(0);
    expect(outcome.stopMs).toBeLessThan(10_000);
    expect(outcome.closes.length).toBe(8);
    for (const close of outcome.closes) expect(close).toEqual({ code: 1012, reason: expect.stringMatching(/^\d+$/) });
  });
});

describe.skipIf(process.platform === 'win32')(`a server on PostgreSQL, seed ${seed}`, () => {
  test('[ST2] [MS3] after kills, and after its connections were cut under it, every ack holds and it serves on', { timeout: 60_000 }, async () => {
    const { url, drop } = await createTestDatabase();
    onTestFinished(drop);
    const beside = new pg.Client(url);
    await beside.connect();
    const cut = () => beside.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
    const { problems, acks, exit } = await crash({ seed, kills: 2, database: { url, cut, cuts: 8 } });
    await beside.end();
    expect(problems).toEqual([]);
    expect(acks).toBeGreaterThan(50);
    expect(exit).toBe(0);
  });
});

describe.skipIf(!canInject())(`a disk that fails, seed ${seed}`, () => {
  test('[ST2] a sync that fails ends the server at once, and nothing is acked that was not synced', { timeout: 60_000 }, async () => {
    const { problems, failed } = await crash({ seed, kills: 0, disk: failToSync });
    expect(failed).toBe(1);
    expect(problems).toEqual([]);
  });
});

/** From here on every sync of this process ends in an I/O error, as on a disk that is dying. */
async function failToSync(server: ServerProcess): Promise<void> {
  const calls = 'fsync,fdatasync';
  const tracer = start('strace', ['-f', '-o', '/dev/null', '-e', `trace=${calls}`, '-e', `inject=${calls}:error=EIO`, '-p', String(server.process.pid)]);
  await once(tracer.process.stderr!, 'data');
}
