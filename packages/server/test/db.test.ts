import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { spawnSync } from 'node:child_process';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { CommitUnknown, type Database, type Query } from '../src/db/db.ts';
import { noteCleanStop } from '../src/db/clean-stop.ts';
import { openPostgres } from '../src/db/postgres.ts';
import { openSqlite } from '../src/db/sqlite.ts';
import { type Child, canInject, from, randomFrom, runScript, start } from './crash-child.ts';
import { allIds, bump, databaseContract, find, put } from './db.contract.ts';
import { createTestDatabase } from './postgres.ts';
import { openProxy } from './proxy.ts';

databaseContract(
  'SQLite',
  async () => {
    const data = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-db-'));
    return { config: { database: 'sqlite', data }, remove: async () => fs.rmSync(data, { recursive: true }) };
  },
  { severalAtOnce: false },
);

databaseContract(
  'PostgreSQL',
  async () => {
    const { url, drop } = await createTestDatabase();
    return { config: { database: durable(url), data: '' }, remove: drop };
  },
  { severalAtOnce: true },
);

/** Servers for tests do not wait for the disk, and say so; ours then refuses them. */
function durable(url: string): string {
  return `${url}?options=${encodeURIComponent('-c synchronous_commit=on')}`;
}

// ── A file ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const root = process.getuid?.() === 0;
const windows = process.platform === 'win32';

describe('SQLite, a directory', () => {
  function folder(): string {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-db-'));
    onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
    return dir;
  }

  async function open(dir: string): Promise<Database> {
    const db = await openSqlite(dir);
    onTestFinished(() => db.close());
    return db;
  }

  /** Another process that opens the directory, says so or why not, and then writes a row for each line it is given. */
  function opener(dir: string, before = ''): Child {
    const child = runScript(
      `import { createInterface } from 'node:readline';
      import { openSqlite } from ${from('../src/db/sqlite.ts')};
      const dir = ${JSON.stringify(dir)};
      ${before}
      try {
        const db = await openSqlite(dir);
        console.log('open');
        for await (const id of createInterface({ input: process.stdin })) {
          await db.write([id], (q) => q.insertInto('streams').values({ id, version: 1 }).execute());
          console.log(id);
        }
        await db.close();
      } catch (error) {
        console.log(error.name + ': ' + error.message);
        process.exitCode = 1;
      }`,
    );
    onTestFinished(() => child.kill());
    return child;
  }

  test('[DB20] a second process on a directory is refused in words and touches nothing; after a kill -9 the next one may', { timeout: 60_000 }, async () => {
    const dir = folder();
    const first = opener(dir);
    expect(await first.line()).toBe('open');
    first.process.stdin!.write('one\n');
    await first.line();
    const before = contents(dir);

    const second = opener(dir);
    expect(await second.line()).toBe(`DatabaseError: Another Kith is running on ${dir}. One data directory serves one process.`);
    expect(await second.ended).toBe(1);
    // Also from the process of a test, and however often.
    await expect(openSqlite(dir)).rejects.toThrow(`Another Kith is running on ${dir}`);
    expect(contents(dir)).toEqual(before);
    first.process.stdin!.write('two\n');
    expect(await first.line()).toBe('two');

    await first.kill();
    const third = opener(dir);
    expect(await third.line()).toBe('open');
    third.process.stdin!.end('three\n');
    expect(await third.line()).toBe('three');
    expect(await third.ended).toBe(0);
    const db = await open(dir);
    expect((await db.read((q) => allIds(q))).sort()).toEqual(['one', 'three', 'two']);
  });

  test('[DB34] the log is copied beside whoever writes, and begins anew; everything stays readable', async () => {
    const dir = folder();
    const file = path.join(dir, 'kith.db');
    // SQLite itself would do it after a thousand times as many pages.
    const db = await openSqlite(dir, { copyAt: 32 });
    const look = new DatabaseSync(file);
    const log = look.prepare('pragma wal_checkpoint(noop)');
    const pages = (): number => (log.get() as { log: number }).log;
    const ids: string[] = [];
    for (let times = 0; times < 3;) {
      const before = pages();
      const some = Array.from({ length: 20 }, (_, at) => `row ${ids.length + at}`);
      ids.push(...some);
      await Promise.all(some.map((id) => db.write([id], (q) => put(q, id, 1))));
      expect((await db.read((q) => allIds(q))).length).toBe(ids.length);
      if (pages() < before) times += 1;
    }
    look.close();
    await db.close();
    expect(fs.existsSync(`${file}-wal`)).toBe(false);
    const again = await open(dir);
    expect((await again.read((q) => allIds(q))).toSorted()).toEqual(ids.toSorted());
  });

  describe('damaged', () => {
    let sound: string;
    beforeAll(async () => {
      sound = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-db-'));
      const file = path.join(sound, 'kith.db');
      await (await openSqlite(sound)).close();
      // Row after row in the file, and the last only in the log: closing it as usual would bring it over.
      const raw = new DatabaseSync(file);
      raw.exec('begin');
      const insert = raw.prepare('insert into streams (id, version) values (?, 1)');
      for (let at = 0; at < 2_000; at += 1) insert.run(`row ${at}`);
      raw.exec(`commit; pragma wal_checkpoint(truncate); insert into streams (id, version) values ('last', 1)`);
      const saved = [fs.readFileSync(file), fs.readFileSync(`${file}-wal`)] as const;
      raw.close();
      fs.writeFileSync(file, saved[0]);
      fs.writeFileSync(`${file}-wal`, saved[1]);
    });
    afterAll(() => fs.rmSync(sound, { recursive: true }));

    function copy(): { dir: string; file: string; wal: string } {
      const dir = folder();
      fs.cpSync(sound, dir, { recursive: true });
      return { dir, file: path.join(dir, 'kith.db'), wal: path.join(dir, 'kith.db-wal') };
    }

    test('[DB21] a file that is not damaged is opened with all of its log', async () => {
      const db = await open(copy().dir);
      expect((await db.read((q) => allIds(q))).length).toBe(2_001);
    });

    const damages: Record<string, (file: string) => void> = {
      'whose header is overwritten': (file) => overwrite(file, 0, 100),
      'with a page overwritten': (file) => overwrite(file, 4_096 * 3, 4_096),
      'without its second half': (file) => fs.truncateSync(file, Math.floor(fs.statSync(file).size / 8_192) * 4_096),
      'that is another file altogether': (file) => fs.writeFileSync(file, 'This is a diary.\n'.repeat(5_000)),
      'that is empty': (file) => fs.truncateSync(file, 0),
    };
    for (const [which, damage] of Object.entries(damages)) {
      test(`[DB21] a file ${which} is refused in words, and not a byte of it or of its log changes`, async () => {
        const { dir, file, wal } = copy();
        damage(file);
        const before = [fs.readFileSync(file), fs.readFileSync(wal)];
        const next = opener(dir);
        expect(await next.line()).toMatch(/^DatabaseError: .*kith\.db .*(?:left as it is|new one)/);
        expect(await next.ended).toBe(1);
        await expect(openSqlite(dir)).rejects.toMatchObject({ name: 'DatabaseError' });
        expect([file, wal].map((one, at) => fs.readFileSync(one).equals(before[at]!))).toEqual([true, true]);
      });
    }
  });

  describe('left at a clean stop', () => {
    /** Some pages, opened and closed: from its first byte on it is large enough to be looked at later. */
    async function left(): Promise<{ dir: string; file: string; note: string }> {
      const dir = folder();
      const db = await openSqlite(dir, { from: 0 });
      await db.write([], async (q) => {
        for (let at = 0; at < 2_000; at += 1) await put(q, `row ${at}`);
      });
      await db.close();
      const file = path.join(dir, 'kith.db');
      return { dir, file, note: `${file}-clean` };
    }

    test('[DB70] a file is opened at once; if it is damaged all the same, nothing more is written, and the next start refuses it', async () => {
      const { dir, file, note } = await left();
      overwrite(file, fs.statSync(file).size - 4_096 * 10, 4_096 * 8);
      // As if nobody had touched it.
      await noteCleanStop(file);
      const db = await openSqlite(dir, { from: 0 });
      expect(fs.existsSync(note)).toBe(false);
      await expect.poll(() => db.write([], (q) => put(q, randomUUID())).catch((error: unknown) => error), { timeout: 30_000 }).toBeInstanceOf(CommitUnknown);
      await db.close();
      expect(fs.existsSync(note)).toBe(false);
      await expect(openSqlite(dir, { from: 0 })).rejects.toMatchObject({ name: 'DatabaseError' });
    });

    test.each<[string, (file: string) => void]>([
      [
        'changed, and given its old time',
        (file) => {
          const { atime, mtime } = fs.statSync(file);
          overwrite(file, fs.statSync(file).size - 4_096 * 10, 4_096 * 8);
          fs.utimesSync(file, atime, mtime);
        },
      ],
      [
        'copied',
        (file) => {
          overwrite(file, fs.statSync(file).size - 4_096 * 10, 4_096 * 8);
          fs.copyFileSync(file, `${file}-2`);
          fs.renameSync(`${file}-2`, file);
        },
      ],
    ])('[DB71] a file that was %s is looked at before', async (_, change) => {
      const { dir, file, note } = await left();
      expect(fs.existsSync(note)).toBe(true);
      change(file);
      await expect(openSqlite(dir, { from: 0 })).rejects.toMatchObject({ name: 'DatabaseError' });
      expect(fs.existsSync(note)).toBe(false);
    });
  });

  test('[DB22] a file that is missing beside its log is refused, and no new one is made', async () => {
    const dir = folder();
    const writer = opener(dir);
    expect(await writer.line()).toBe('open');
    await writer.kill();
    const file = path.join(dir, 'kith.db');
    const wal = `${file}-wal`;
    fs.rmSync(file);
    const log = fs.readFileSync(wal);
    expect(log.length).toBeGreaterThan(0);
    await expect(openSqlite(dir)).rejects.toMatchObject({ name: 'DatabaseError', message: expect.stringContaining(`${file} is missing`) });
    expect(fs.existsSync(file)).toBe(false);
    expect(fs.readFileSync(wal).equals(log)).toBe(true);
  });

  test('[DB23] commits go to a write-ahead log, and whoever wrote or read them hears of them when it is synced', { timeout: 60_000 }, async () => {
    const db = await open(folder());
    const pragma = (q: Query, name: string) => sql.raw<Record<string, unknown>>(`pragma ${name}`).execute(q);
    for (const run of [(name: string) => db.write([], (q) => pragma(q, name)), (name: string) => db.read((q) => pragma(q, name))]) {
      expect((await run('journal_mode')).rows).toEqual([{ journal_mode: 'wal' }]);
      expect((await run('foreign_keys')).rows).toEqual([{ foreign_keys: 1 }]);
    }

    // What the runtime asks of the system is written down by itself: each round says when it is heard of.
    const dir = folder();
    const child = runScript(
      `import fs from 'node:fs';
      import { openSqlite } from ${from('../src/db/sqlite.ts')};
      const db = await openSqlite(${JSON.stringify(dir)});
      const write = (id) => db.write([id], (q) => q.insertInto('streams').values({ id, version: 1 }).execute());
      const say = (word) => fs.writeSync(1, word + '\\n');
      for (const count of [1, 1, 50, 1, 50, 50]) {
        const from = performance.now();
        say('begins');
        const all = Array.from({ length: count }, (_, at) => write(from + ' ' + at));
        await Promise.race(all);
        say('written');
        await Promise.all(all);
      }
      // One that reads while others are on their way to the disk.
      for (let round = 0; round < 20; round++) {
        say('begins');
        const all = Array.from({ length: 50 }, (_, at) => write(round + ' of many ' + at));
        const there = () => db.read((q) => q.selectFrom('streams').select('id').where('id', '=', round + ' of many 0').executeTakeFirst());
        while (!(await there())) await new Promise((resolve) => setImmediate(resolve));
        say('read');
        await Promise.all(all);
      }
      await db.close();
      console.log('done');`,
      [],
      { env: { ...process.env, NODE_OPTIONS: `--trace-event-categories=node.fs.sync --trace-event-file-pattern=${path.join(dir, 'trace-${rotation}.json')}` } },
    );
    onTestFinished(() => child.kill());
    while ((await child.line()) !== 'done');
    await child.ended;
    const { traceEvents } = JSON.parse(fs.readFileSync(path.join(dir, 'trace-1.json'), 'utf8')) as { traceEvents: { name: string; ph: string; ts: number }[] };
    const calls = traceEvents.filter(({ name, ph }) => (name === 'fs.sync.fdatasync' && ph === 'E') || (name === 'fs.sync.write' && ph === 'B')).toSorted((a, b) => a.ts - b.ts);
    const heard = calls.map(({ name }) => (name === 'fs.sync.write' ? 'said' : 'synced'));
    // Said that it begins, synced, said that it is there: never anything said without a sync before.
    const said = heard.flatMap((one, at) => (one === 'said' ? [at] : []));
    expect(said.length).toBe(52);
    for (let at = 1; at < said.length; at += 2) expect(heard.slice(said[at - 1], said[at])).toContain('synced');
  });

  test.skipIf(windows)('[DB24] a directory that cannot be written to, or made, is refused in words', { timeout: 60_000 }, async () => {
    // The superuser may write anywhere: there the process that tries becomes nobody first.
    const asNobody = root ? 'process.setgid(65534); process.setuid(65534);' : '';
    const used = folder();
    await (await openSqlite(used)).close();
    const empty = folder();
    for (const dir of [used, empty]) fs.chmodSync(dir, 0o555);
    onTestFinished(() => [used, empty].forEach((dir) => fs.chmodSync(dir, 0o700)));
    const file = path.join(folder(), 'a file');
    fs.writeFileSync(file, '');
    for (const dir of [used, empty, path.join(empty, 'below'), file, path.join(file, 'below')]) {
      const before = fs.existsSync(dir) && contents(dir);
      const child = opener(dir, asNobody);
      const line = await child.line();
      expect(line).toMatch(/^DatabaseError: /);
      expect(line).toContain(dir);
      expect(line).toContain('cannot be used');
      expect(await child.ended).toBe(1);
      expect(fs.existsSync(dir) && contents(dir)).toEqual(before);
    }
  });

  test('[DB25] when the file may not grow, writes are storage_full and leave nothing; reads go on, and writes too once there is room', async () => {
    const db = await open(folder());
    await db.write([], (q) => put(q, 'before'));
    const { rows } = await db.write([], (q) => sql<{ page_count: number }>`pragma page_count`.execute(q));
    await db.write([], (q) => sql.raw(`pragma max_page_count = ${rows[0]!.page_count + 4}`).execute(q));
    const long = 'x'.repeat(3_000);
    const fates = await Promise.allSettled(Array.from({ length: 40 }, (_, at) => db.write([`${at % 3}`], (q) => put(q, `${at} ${long}`))));
    const refused = fates.filter((fate) => fate.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) expect(reason).toMatchObject({ name: 'RequestError', code: 'storage_full' });
    const there = await db.read((q) => allIds(q));
    expect(there.length).toBe(1 + fates.length - refused.length);
    await db.write([], (q) => sql`pragma max_page_count = 100000`.execute(q));
    await db.write([], (q) => put(q, long));
    expect((await db.read((q) => allIds(q))).length).toBe(there.length + 1);
  });

  test.skipIf(!root || process.platform !== 'linux')('[DB25] when the disk is full, the same', async () => {
    const dir = folder();
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'kith-test', dir], { encoding: 'utf8' })).toMatchObject({ status: 0 });
    onTestFinished(() => void spawnSync('umount', ['-l', dir]));
    const db = await openSqlite(dir);
    const long = 'x'.repeat(3_000);
    const kept: string[] = [];
    const reasons: unknown[] = [];
    for (let turn = 0; reasons.length < 60; turn += 1) {
      const ids = Array.from({ length: 6 }, (_, at) => `${turn}.${at} ${long}`);
      const fates = await Promise.allSettled(ids.map((id) => db.write([], (q) => put(q, id))));
      for (const [at, fate] of fates.entries()) {
        if (fate.status === 'fulfilled') kept.push(ids[at]!);
        else reasons.push(fate.reason);
      }
      expect((await db.read((q) => allIds(q))).sort()).toEqual([...kept].sort());
    }
    expect(kept.length).toBeGreaterThan(10);
    for (const reason of reasons) expect(reason).toMatchObject({ name: 'RequestError', code: 'storage_full' });
    expect(spawnSync('mount', ['-o', 'remount,size=8m', dir])).toMatchObject({ status: 0 });
    await Promise.all(Array.from({ length: 10 }, (_, at) => db.write([], (q) => put(q, `after ${at}`))));
    await db.close();
    const again = await openSqlite(dir);
    expect((await again.read((q) => allIds(q))).sort()).toEqual([...kept, ...Array.from({ length: 10 }, (_, at) => `after ${at}`)].sort());
    await again.close();
  });

  test('[DB26] while another program holds the file, writes are busy within a second and reads go on; then all is well', async () => {
    const dir = folder();
    const db = await open(dir);
    await db.write([], (q) => put(q, 'before'));
    const holder = runScript(
      `import { DatabaseSync } from 'node:sqlite';
      const file = new DatabaseSync(${JSON.stringify(path.join(dir, 'kith.db'))});
      file.exec('begin immediate');
      console.log('held');
      process.stdin.once('data', () => {
        file.exec('rollback');
        console.log('free');
      });`,
    );
    onTestFinished(() => holder.kill());
    expect(await holder.line()).toBe('held');
    const took: number[] = [];
    for (let turn = 0; turn < 3; turn += 1) {
      const began = performance.now();
      const fates = await Promise.allSettled(Array.from({ length: 10 }, (_, at) => db.write([`${at}`], (q) => put(q, `${turn} ${at}`))));
      took.push(performance.now() - began);
      for (const fate of fates) expect(fate).toMatchObject({ status: 'rejected', reason: { code: 'busy', extra: { retryAfterMs: expect.any(Number) } } });
      expect(await db.read((q) => allIds(q))).toEqual(['before']);
    }
    // The quickest: a busy machine may take its time with the others.
    expect(Math.min(...took)).toBeLessThan(1_000);
    holder.process.stdin!.write('go\n');
    expect(await holder.line()).toBe('free');
    await db.write([], (q) => put(q, 'after'));
    expect((await db.read((q) => allIds(q))).sort()).toEqual(['after', 'before']);
  });

  test('[DB27] a start while another program holds the file is refused in words, within a second', async () => {
    const dir = folder();
    await (await openSqlite(dir)).close();
    const raw = new DatabaseSync(path.join(dir, 'kith.db'));
    raw.exec('begin immediate');
    const took: number[] = [];
    for (let turn = 0; turn < 3; turn += 1) {
      const began = performance.now();
      await expect(openSqlite(dir)).rejects.toMatchObject({ name: 'DatabaseError', message: expect.stringContaining('is held by another program') });
      took.push(performance.now() - began);
    }
    expect(Math.min(...took)).toBeLessThan(1_000);
    raw.close();
    const db = await open(dir);
    await db.write([], (q) => put(q, 'after'));
  });

  test('[DB29] a first start that is killed at any moment leaves nothing that stops the next', { timeout: 60_000 }, async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`seed ${seed}`);
    const random = randomFrom(seed);
    for (let turn = 0; turn < 6; turn += 1) {
      const dir = folder();
      const child = opener(dir);
      const file = path.join(dir, 'kith.db');
      // As soon as the log has so many bytes, or a while after the file appears.
      const bytes = turn % 2 === 0 ? 1 + random() * 150_000 : 0;
      const size = (): number => fs.statSync(bytes > 0 ? `${file}-wal` : file, { throwIfNoEntry: false })?.size ?? -1;
      while (size() < bytes) await new Promise((resolve) => void setImmediate(resolve));
      const until = performance.now() + (bytes > 0 ? 0 : random() * 12);
      while (performance.now() < until);
      await child.kill();
      const db = await openSqlite(dir);
      await db.write([], (q) => put(q, 'there'));
      expect(await db.read((q) => allIds(q))).toEqual(['there']);
      await db.close();
    }
  });

  test.skipIf(windows).each<[how: string, change: (file: string) => void]>([
    ['deleted with its log', (file) => ['', '-wal', '-shm'].forEach((end) => fs.rmSync(file + end))],
    ['without its log', (file) => fs.rmSync(`${file}-wal`)],
    [
      'replaced by a copy',
      (file) => {
        fs.copyFileSync(file, `${file}-copy`);
        fs.renameSync(`${file}-copy`, file);
      },
    ],
  ])('[DB30] to a file that is %s while it is open nothing more is acknowledged', async (_how, change) => {
    const dir = folder();
    const db = await open(dir);
    await db.write([], (q) => put(q, 'before'));
    change(path.join(dir, 'kith.db'));
    const fates = await Promise.allSettled(['a', 'b'].map((id) => db.write([id], (q) => put(q, id))));
    const later = await db.write([], (q) => put(q, 'later')).catch((error: unknown) => error);
    for (const reason of [...fates.map((fate) => fate.status === 'rejected' && fate.reason), later]) {
      expect(reason).toBeInstanceOf(CommitUnknown);
      expect(reason).toMatchObject({ fatal: true, message: expect.stringMatching(/kith\.db(-wal)? was deleted or replaced/) });
    }
  });

  test('[DB33] a log that grew because another program read for long is cut off afterwards', async () => {
    const dir = folder();
    const db = await open(dir);
    const log = (): number => fs.statSync(path.join(dir, 'kith.db-wal')).size;
    await db.write([], (q) => put(q, 'before'));
    const reader = new DatabaseSync(path.join(dir, 'kith.db'), { readOnly: true });
    reader.exec('begin');
    reader.prepare('select count(*) from streams').get();
    for (let turn = 0; log() < 80 * 1_048_576; turn += 1) await db.write([], (q) => put(q, `${turn} ${'x'.repeat(10 * 1_048_576)}`));
    reader.close();
    expect(log()).toBeGreaterThan(64 * 1_048_576);
    // It is copied beside these, and one of them begins it anew.
    for (let turn = 0; log() > 64 * 1_048_576; turn += 1) await db.write([], (q) => put(q, `after ${turn}`));
  });

  test('[DB37] after a sync that failed nobody hears of what was on its way to the disk, neither who writes nor who reads', { timeout: 60_000 }, async () => {
    const dir = folder();
    const child = runScript(
      `import fs from 'node:fs';
      import { openSqlite } from ${from('../src/db/sqlite.ts')};
      const db = await openSqlite(${JSON.stringify(dir)});
      const fate = (work) => work.then((value) => value ?? 'done', (error) => error.name + ' ' + error.fatal);
      const write = (id) => fate(db.write([id], (q) => q.insertInto('streams').values({ id, version: 1 }).execute().then(() => undefined)));
      const read = () => fate(db.read((q) => q.selectFrom('streams').select('id').execute()).then((rows) => rows.length));
      const before = [await write('first'), await read()];
      fs.fdatasyncSync = () => { throw new Error('the disk is gone'); };
      const after = await Promise.all([write('second'), read(), read()]);
      const later = [await write('third'), await read(), await fate(db.scrub())];
      console.log(JSON.stringify({ before, after, later }));
      process.exit();`,
    );
    onTestFinished(() => child.kill());
    const { before, after, later } = JSON.parse(await child.line()) as { before: unknown[]; after: unknown[]; later: unknown[] };
    const unknown = 'CommitUnknown true';
    expect(before).toEqual(['done', expect.any(Number)]);
    // Who read beside it may have looked before anything was committed.
    const mayHaveSeen = expect.toSatisfy((one) => one === unknown || one === before[1]) as unknown;
    expect(after).toEqual([unknown, mayHaveSeen, mayHaveSeen]);
    expect(later).toEqual([unknown, unknown, unknown]);
    await child.ended;
    // Unknown is unknown: the second is there or not, what came after it is not.
    const db = await open(dir);
    const there = await db.read((q) => allIds(q));
    expect(there).toContain('first');
    expect(there).not.toContain('third');
  });

  test.runIf(canInject())('[DB39] what a start finds of the log is written and synced once more before anything is written behind it', { timeout: 60_000 }, async () => {
    const dir = folder();
    const log = path.join(dir, 'kith.db-wal');
    const script = `import { openSqlite } from ${from('../src/db/sqlite.ts')};
      const db = await openSqlite(${JSON.stringify(dir)});
      await db.write([], (q) => q.insertInto('streams').values({ id: process.argv[1], version: 1 }).execute());
      process.kill(process.pid, 'SIGKILL');`;
    const first = runScript(script, ['first']);
    onTestFinished(() => first.kill());
    await first.ended;
    const size = fs.statSync(log).size;
    expect(size).toBeGreaterThan(0);
    const calls = path.join(dir, 'calls');
    const second = runScript(script, ['second'], { through: ['strace', '-f', '-o', calls, '-P', log, '-e', 'trace=pwrite64,fdatasync'] });
    onTestFinished(() => second.kill());
    await second.ended;
    const made = fs.readFileSync(calls, 'utf8').split('\n');
    const synced = made.findIndex((line) => /fdatasync\(.*= 0$/.test(line));
    let end = 0;
    for (const line of made.slice(0, synced)) {
      const [, at, bytes] = /pwrite64\(.*, (\d+)\) += (\d+)$/.exec(line)!;
      expect(Number(at)).toBe(end);
      end += Number(bytes);
    }
    expect(end).toBe(size);
    const db = await open(dir);
    expect(await db.read((q) => allIds(q))).toEqual(expect.arrayContaining(['first', 'second']));
  });

  test.runIf(canInject()).each<[how: string, end: string]>([
    ['beside whoever writes', ''],
    ['beside whoever writes, its log first', '-wal'],
    ['for a scrub', ''],
  ])(
    '[DB38] after a sync of the file that failed, copied %s, its log is not begun anew, and the next start copies all of it again, alone',
    { timeout: 60_000 },
    async (how, end) => {
      const dir = folder();
      const file = path.join(dir, 'kith.db');
      const scrubs = how === 'for a scrub';
      const child = runScript(
        `import fs from 'node:fs';
      import { DatabaseSync } from 'node:sqlite';
      import { openSqlite } from ${from('../src/db/sqlite.ts')};
      const db = await openSqlite(${JSON.stringify(dir)}, { copyAt: ${scrubs ? 1_000_000 : 32} });
      const fate = (work) => work.then(() => 'done', (error) => error.name + ' ' + error.fatal);
      const written = [];
      let turn = 0;
      const write = async () => {
        const ids = Array.from({ length: 20 }, (_, at) => 'row ' + turn + ' ' + at);
        turn += 1;
        const fates = await Promise.all(ids.map((id) => fate(db.write([id], (q) => q.insertInto('streams').values({ id, version: 1 }).execute()))));
        written.push(...ids.filter((_, at) => fates[at] === 'done'));
        return fates.find((one) => one !== 'done') ?? (${scrubs} ? await fate(db.scrub()) : 'done');
      };
      const helper = () => fs.readdirSync('/proc/self/task').find((id) => fs.readFileSync('/proc/self/task/' + id + '/comm', 'utf8').startsWith('kith-check'));
      // The thread that copies is there from the first time on. It has nothing in hand when the log has just begun anew.
      const log = new DatabaseSync(${JSON.stringify(file)}).prepare('pragma wal_checkpoint(noop)');
      for (let pages = 0; !${scrubs}; ) {
        const before = pages;
        await write();
        pages = log.get().log;
        if (helper() && pages < before) break;
      }
      console.log(${scrubs} ? process.pid : helper());
      await new Promise((resolve) => process.stdin.once('data', resolve));
      let end = 'done';
      while (end === 'done' && turn < 1_000) end = await write();
      const later = [await write(), await fate(db.scrub()), await fate(db.close())];
      console.log(JSON.stringify({ written, end, later }));
      process.kill(process.pid, 'SIGKILL');`,
      );
      onTestFinished(() => child.kill());
      const thread = await child.line();
      // What the disk has if nothing of what is copied from here on gets there.
      fs.copyFileSync(file, `${file}-disk`);
      const calls = 'fsync,fdatasync';
      const tracer = start('strace', ['-o', '/dev/null', '-P', `${file}${end}`, '-e', `trace=${calls}`, '-e', `inject=${calls}:error=EIO:when=1`, '-p', thread]);
      onTestFinished(() => tracer.kill());
      await once(tracer.process.stderr!, 'data');
      const other = new DatabaseSync(file, { readOnly: true });
      other.prepare('select count(*) from streams').get();
      child.process.stdin!.write('go');
      const told = JSON.parse(await child.line()) as { written: string[]; end: string; later: string[] };
      expect([told.end, ...told.later]).toEqual(Array.from({ length: 4 }, () => 'CommitUnknown true'));
      expect(await child.ended).toBe('SIGKILL');
      await expect(openSqlite(dir)).rejects.toThrow(/while another program has it open/);
      other.close();
      fs.renameSync(`${file}-disk`, file);
      const db = await open(dir);
      expect(await db.read((q) => allIds(q))).toEqual(expect.arrayContaining(told.written));
      expect(fs.readdirSync(dir)).not.toContain('kith.db-unsynced');
    },
  );

  test.skipIf(windows)('[DB28] after a commit that ended in an error nobody is told anything but that, and nothing more is written', { timeout: 60_000 }, async () => {
    const dir = folder();
    // No file may grow beyond this many blocks: the write of the commit fails, and not for want of room.
    const child = runScript(
      `import { openSqlite } from ${from('../src/db/sqlite.ts')};
      const db = await openSqlite(${JSON.stringify(dir)});
      const text = 'x'.repeat(2_000);
      const write = (id) => db.write([id], (q) => q.insertInto('streams').values({ id: id + ' ' + text, version: 1 }).execute()).then(
        () => 'written', (error) => error.name + ' ' + error.fatal);
      let turn = 0;
      let fates = [];
      while (fates.every((fate) => fate === 'written')) {
        turn += 1;
        fates = await Promise.all(['a', 'b', 'c'].map((name) => write(turn + name)));
      }
      const after = await Promise.all([write('after'), write('after that')]);
      console.log(JSON.stringify({ turn, fates, after, read: (await db.read((q) => q.selectFrom('streams').select('id').execute())).length }));
      process.exit();`,
      [],
      { through: ['sh', '-c', 'ulimit -f 2000; exec "$0" "$@"'] },
    );
    onTestFinished(() => child.kill());
    const { turn, fates, after, read } = JSON.parse(await child.line()) as { turn: number; fates: string[]; after: string[]; read: number };
    expect(turn).toBeGreaterThan(5);
    expect(fates).toEqual(['CommitUnknown true', 'CommitUnknown true', 'CommitUnknown true']);
    expect(after).toEqual(['CommitUnknown true', 'CommitUnknown true']);
    expect(read).toBe((turn - 1) * 3);
    await child.ended;
    const db = await open(dir);
    const there = await db.read((q) => allIds(q));
    // Unknown is unknown: all three or none.
    expect([(turn - 1) * 3, turn * 3]).toContain(there.length);
  });
});

/** Every file of a directory: name, time of the last change, bytes. */
function contents(dir: string): unknown {
  if (!fs.statSync(dir).isDirectory()) return fs.readFileSync(dir, 'base64');
  return fs
    .readdirSync(dir)
    .sort()
    .map((name) => ({ name, changed: fs.statSync(path.join(dir, name)).mtimeMs, bytes: fs.readFileSync(path.join(dir, name), 'base64') }));
}

function overwrite(file: string, at: number, bytes: number): void {
  const handle = fs.openSync(file, 'r+');
  fs.writeSync(handle, Buffer.alloc(bytes, 0xa5), 0, bytes, at);
  fs.closeSync(handle);
}

// ── A server ────────────────────────────────────────────────────────────────────────────────────────────────────────

describe('PostgreSQL, a server', () => {
  /** A database of our own, the handle under test on it, and a connection beside it that causes the trouble. */
  async function open(): Promise<{ db: Database; url: string; beside: pg.Client }> {
    const { url, drop } = await createTestDatabase();
    const db = await openPostgres(durable(url));
    const beside = new pg.Client(url);
    await beside.connect();
    onTestFinished(async () => {
      await beside.end();
      await db.close();
      await drop();
    });
    return { db, url, beside };
  }

  const pid = async (q: Query): Promise<number> => (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(q)).rows[0]!.pid;
  const busy = { name: 'RequestError', code: 'busy', extra: { retryAfterMs: expect.any(Number) } };

  test('[DB40] a connection that is cut during a work ends in busy; the process lives and the next write works', async () => {
    const { db, beside } = await open();
    // More often than there are connections: none may be lost for good.
    for (let turn = 0; turn < 13; turn += 1) {
      const between = db.write(['a'], async (q) => {
        await put(q, 'never there');
        await cut(beside, await pid(q));
        await find(q, 'nothing');
      });
      await expect(between).rejects.toMatchObject(busy);
      const asleep = db.write(['a'], async (q) => {
        const own = await pid(q);
        await Promise.all([sql`select pg_sleep(60)`.execute(q), cut(beside, own)]);
      });
      await expect(asleep).rejects.toMatchObject(busy);
      const reading = db.read(async (q) => {
        await cut(beside, await pid(q));
        await find(q, 'nothing');
      });
      await expect(reading).rejects.toMatchObject(busy);
      await db.write(['a'], (q) => put(q, `turn ${turn}`));
    }
    expect((await db.read((q) => allIds(q))).length).toBe(13);
  });

  test('[DB41] a connection that is cut while idle is replaced without a word', async () => {
    const { db, beside } = await open();
    for (let turn = 0; turn < 5; turn += 1) {
      await Promise.all(Array.from({ length: 10 }, (_, at) => db.write([`${at}`], (q) => put(q, `${turn} ${at}`))));
      const { rows } = await beside.query<{ pid: number }>('select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
      expect(rows.length).toBeGreaterThan(1);
      for (const row of rows) await cut(beside, row.pid);
    }
    await db.write(['a'], (q) => put(q, 'last'));
  });

  test('[DB41] a connection of which nobody has read yet that it was cut is replaced as well', async () => {
    const { db, url, beside } = await open();
    const spared = (await beside.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;
    const all = `select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and pid not in (pg_backend_pid(), ${spared})`;
    const cutAll = `import pg from 'pg'; const beside = new pg.Client(process.argv[1]); await beside.connect(); await beside.query(\`${all}\`); await beside.end();`;
    await Promise.all(Array.from({ length: 10 }, (_, at) => db.write([`${at}`], (q) => put(q, `before ${at}`))));
    // Nothing of this process runs meanwhile.
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', cutAll, url], { encoding: 'utf8', cwd: import.meta.dirname });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    await Promise.all(Array.from({ length: 10 }, (_, at) => (at % 2 ? db.read((q) => allIds(q)) : db.write([`${at}`], (q) => put(q, `after ${at}`)))));
    expect((await db.read((q) => allIds(q))).length).toBe(15);
  });

  test('[DB42] a connection that is cut during the commit leaves the outcome unknown, and says so', async () => {
    const { db, beside } = await open();
    await atCommit(beside, 'perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(60);');
    for (let turn = 0; turn < 13; turn += 1) {
      const unknown = await db.write(['a'], (q) => put(q, `dies ${turn}`)).catch((error: unknown) => error);
      expect(unknown).toBeInstanceOf(CommitUnknown);
      expect(unknown).toMatchObject({ fatal: false });
      await db.write(['a'], (q) => put(q, `lives ${turn}`));
    }
    expect((await db.read((q) => allIds(q))).length).toBe(13);
  });

  test('[DB43] a commit that the server refuses is rolled back and is known to be', async () => {
    const { db, beside } = await open();
    await atCommit(beside, `raise exception 'not today' using errcode = 'check_violation';`);
    for (let turn = 0; turn < 13; turn += 1) {
      const refused = await db.write(['a'], (q) => put(q, `dies ${turn}`)).catch((error: unknown) => error);
      expect(refused).toMatchObject({ message: 'not today' });
      await db.write(['a'], (q) => put(q, `lives ${turn}`));
    }
    expect((await db.read((q) => allIds(q))).length).toBe(13);
  });

  test('[DB44] works that lock each other out are run again, and all of them are kept', async () => {
    const { db } = await open();
    await db.write([], async (q) => {
      await put(q, 'left');
      await put(q, 'right');
    });
    let waiting = 2;
    let runs = 0;
    const { promise: bothHold, resolve: go } = Promise.withResolvers<void>();
    const crossing = (first: string, second: string) =>
      db.write([first], async (q) => {
        runs += 1;
        await bump(q, first);
        if (--waiting === 0) go();
        await bothHold;
        await bump(q, second);
        return first;
      });
    expect(await Promise.all([crossing('left', 'right'), crossing('right', 'left')])).toEqual(['left', 'right']);
    // PostgreSQL lets one of two go, and on a busy machine may find the same two once more.
    expect(runs).toBeGreaterThanOrEqual(3);
    expect(await db.read(async (q) => [(await find(q, 'left'))!.version, (await find(q, 'right'))!.version])).toEqual([2, 2]);
  });

  test('[DB45] a server that confirms before it is durable is refused in words', async () => {
    const { url, drop } = await createTestDatabase();
    onTestFinished(drop);
    const careless = `${url}?options=${encodeURIComponent('-c synchronous_commit=off')}`;
    await expect(openPostgres(careless)).rejects.toMatchObject({ name: 'DatabaseError', message: expect.stringContaining('synchronous_commit=off') });
  });

  test.skipIf(process.env['KITH_TEST_POSTGRES'])('[DB49] a server that a power cut can destroy is refused in words, unless it says itself that it may', async () => {
    const { url, drop } = await createTestDatabase();
    onTestFinished(drop);
    const needed = `${url}?options=${encodeURIComponent('-c kith.may_lose_data=off')}`;
    await expect(openPostgres(needed)).rejects.toMatchObject({ name: 'DatabaseError', message: expect.stringContaining('fsync=off') });
    await (await openPostgres(url)).close();
  });

  test('[DB50] a server that takes no writes is refused in words at the start, and found at each new connection', async () => {
    const { url, beside } = await open();
    const db = await openPostgres(url);
    onTestFinished(() => db.close());
    const name = new URL(url).pathname.slice(1);
    for (const [setting, value, says] of [
      ['default_transaction_read_only', 'on', 'takes no writes'],
      ['synchronous_commit', 'off', 'synchronous_commit=off'],
    ] as const) {
      await beside.query(`alter database ${name} set ${setting} = ${value}`);
      const spared = (await beside.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;
      const others = await beside.query<{ pid: number }>('select pid from pg_stat_activity where datname = current_database() and pid <> $1', [spared]);
      for (const { pid: other } of others.rows) await cut(beside, other);
      // As after a failover, to a server that is not what the first one was.
      await expect(db.write(['a'], (q) => put(q, `never ${setting}`))).rejects.toMatchObject(busy);
      await expect(openPostgres(url)).rejects.toMatchObject({ name: 'DatabaseError', message: expect.stringContaining(says) });
      await beside.query(`alter database ${name} reset ${setting}`);
      await db.write(['a'], (q) => put(q, `after ${setting}`));
    }
    expect((await db.read((q) => allIds(q))).sort()).toEqual(['after default_transaction_read_only', 'after synchronous_commit']);
  });

  test('[DB51] a network that swallows everything is given up, and the next connection works', async () => {
    const { url, drop } = await createTestDatabase();
    const proxy = await openProxy(() => Number(new URL(url).port));
    const through = Object.assign(new URL(durable(url)), { port: String(proxy.port) }).href;
    await (await openPostgres(durable(url))).close();
    const db = await openPostgres(through, { longestMs: 1_000 });
    onTestFinished(async () => {
      await db.close();
      await proxy.close();
      await drop();
    });
    await db.write(['a'], (q) => put(q, 'before'));
    // Whoever looks at the server itself has a connection of their own, and asks just then.
    const holder = new pg.Client(url);
    await holder.connect();
    await holder.query('begin; lock table eras in access exclusive mode');
    const looking = db.primary!.look().catch((error: unknown) => error);
    const waiting = `select from pg_locks where relation = 'eras'::regclass and not granted`;
    await expect.poll(async () => (await holder.query(waiting)).rows.length).toBe(1);
    proxy.stall(true);
    await expect(db.write(['a'], (q) => put(q, 'never'))).rejects.toMatchObject(busy);
    expect(await looking).toBeInstanceOf(Error);
    await holder.end();
    proxy.stall(false);
    await expect
      .poll(() =>
        db
          .write(['a'], (q) => put(q, 'after'))
          .then(
            () => 'written',
            () => 'busy',
          ),
      )
      .toBe('written');
    expect((await db.read((q) => allIds(q))).sort()).toEqual(['after', 'before']);
  });

  test('[DB52] a work that stands still in a transaction is ended by the server, and others go on', async () => {
    const { url, drop } = await createTestDatabase();
    const other = await openPostgres(durable(url));
    const slow = await openPostgres(durable(url), { longestMs: 1_000 });
    onTestFinished(async () => {
      await Promise.all([slow.close(), other.close()]);
      await drop();
    });
    await other.write([], (q) => put(q, 'held'));
    // By the server: a process that stands still ends nothing by itself.
    const shown = await slow.read((q) => sql<Record<string, string>>`show idle_in_transaction_session_timeout`.execute(q));
    expect(shown.rows).toEqual([{ idle_in_transaction_session_timeout: '1s' }]);
    const holding = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const standing = slow.write([], async (q) => {
      await bump(q, 'held');
      holding.resolve();
      await released.promise;
      await bump(q, 'held');
    });
    await holding.promise;
    await other.write([], (q) => bump(q, 'held'));
    released.resolve();
    await expect(standing).rejects.toMatchObject(busy);
    expect((await other.read((q) => find(q, 'held')))!.version).toBe(1);
  });

  test('[DB64] a query that comes again is planned once for each connection, unless a newer node could change what it finds', async () => {
    const { db, beside } = await open();
    const named = (q: Query) => q.selectFrom('streams').select('version').where('id', '=', 'asked often').execute();
    const whole = (q: Query) => q.selectFrom('streams').selectAll().where('id', '=', 'asked often').execute();
    await db.write([], (q) => put(q, 'asked often', 7));
    for (let time = 0; time < 5; time += 1) await db.read(async (q) => [await named(q), await whole(q)]);
    const { rows } = await db.read((q) => sql<{ statement: string }>`select statement from pg_prepared_statements where statement like '%"streams"%'`.execute(q));
    expect(rows.map(({ statement }) => statement)).toEqual(['select "version" from "streams" where "id" = $1']);
    await beside.query('alter table streams add column newer text');
    expect(await db.read(async (q) => [await named(q), await whole(q)])).toMatchObject([[{ version: 7 }], [{ id: 'asked often', version: 7, newer: null }]]);
  });

  test('[DB46] a server that cannot be reached is refused in words, without the password', async () => {
    const { url, drop } = await createTestDatabase();
    onTestFinished(drop);
    const wrong = [new URL(url), new URL(url)] as const;
    wrong[0].port = '1';
    wrong[1].pathname = '/nowhere';
    for (const { href } of wrong.map((one) => Object.assign(one, { password: 'hush-hush' }))) {
      const error: unknown = await openPostgres(href).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ name: 'DatabaseError', message: expect.stringMatching(/^PostgreSQL cannot be used: .*(?:ECONNREFUSED|does not exist)/) });
      expect((error as Error).message).not.toContain('hush-hush');
    }
  });

  test('[DB47] two programs that start at once on an empty database both work', async () => {
    const { url, drop } = await createTestDatabase();
    const both = await Promise.all([openPostgres(durable(url)), openPostgres(durable(url)), openPostgres(durable(url))]);
    await Promise.all(both.map((db, at) => db.write([], (q) => put(q, `${at}`))));
    expect((await both[0].read((q) => allIds(q))).sort()).toEqual(['0', '1', '2']);
    await Promise.all(both.map((db) => db.close()));
    await drop();
  });

  test('[DB48] more works at once than connections wait for their turn', async () => {
    const { db } = await open();
    await db.write([], (q) => put(q, 'counter'));
    const works = [
      ...Array.from({ length: 100 }, (_, at) => db.write([`key ${at}`], (q) => bump(q, 'counter'))),
      ...Array.from({ length: 100 }, () => db.read(async (q) => (await find(q, 'counter'))!.version)),
    ];
    const counted = await Promise.all(works);
    expect(counted.slice(0, 100).sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
  });
});

/** Ends a connection from the server's side, and waits until it is gone. */
async function cut(beside: pg.Client, pid: number): Promise<void> {
  await beside.query('select pg_terminate_backend($1)', [pid]);
  while ((await beside.query('select 1 from pg_stat_activity where pid = $1', [pid])).rowCount !== 0);
}

/** Makes the server do something at the commit of every transaction that stored a row whose id begins with `dies`. */
async function atCommit(beside: pg.Client, body: string): Promise<void> {
  await beside.query(`create function trouble() returns trigger language plpgsql as $$ begin ${body} return null; end $$`);
  await beside.query(`create constraint trigger trouble after insert on streams deferrable initially deferred for each row when (new.id like 'dies%') execute function trouble()`);
}
