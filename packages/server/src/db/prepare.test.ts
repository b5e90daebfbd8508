import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database, Query } from './db.ts';
import { openSqlite } from './sqlite.ts';
import { prepare } from './prepare.ts';

let folder: string;
let db: Database;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kith-prepare-'));
  db = await openSqlite(folder);
});
afterAll(async () => {
  await db.close();
  await rm(folder, { recursive: true, force: true });
});

let built = 0;
const add = prepare((q, row: { id: string; version: number; seq: number; at: number }) => {
  built++;
  return q
    .insertInto('streams')
    .values({ ...row })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .returning(['id', 'version']);
});
const later = prepare((q, { id, now }: { id: string; now: number }) =>
  q
    .updateTable('streams')
    .set((eb) => ({ version: eb('version', '+', 1), at: eb.case().when('at', '>', now).then(eb.ref('at')).else(now).end() }))
    .where('id', '=', id)
    .returning(['version', 'at']),
);
const from = prepare((q, { version }: { version: number }) => q.selectFrom('streams').select(['id', 'at']).where('version', '>=', version).where('seq', '=', 7).orderBy('id'));

test('a prepared query is built once and answers with each set of values as the query itself does', async () => {
  built = 0;
  const rows = Array.from({ length: 20 }, (_, n) => ({ id: `row ${String(n).padStart(2, '0')}`, version: n, seq: 7, at: n * 100 }));
  expect(await db.write([], async (q) => Promise.all(rows.map((row) => add.first(q, row))))).toEqual(rows.map(({ id, version }) => expect.objectContaining({ id, version })));
  expect(built).toBe(1);
  expect(await db.write([], (q) => add.first(q, rows[3]!))).toBeUndefined();
  const plain = (q: Query, version: number) => q.selectFrom('streams').select(['id', 'at']).where('version', '>=', version).where('seq', '=', 7).orderBy('id').execute();
  for (const version of [0, 5, 19, 20]) {
    const [found, expected] = await db.read(async (q) => [await from.all(q, { version }), await plain(q, version)]);
    expect(found).toEqual(expected);
    expect(found).toHaveLength(20 - version);
  }
});

test('a prepared query takes numbers in expressions from each call, too', async () => {
  const write = (id: string, now: number) => db.write([], (q) => later.first(q, { id, now }));
  expect(await write('row 01', 50)).toMatchObject({ version: 2, at: 100 });
  expect(await write('row 01', 5_000)).toMatchObject({ version: 3, at: 5_000 });
  expect(await write('row 02', 70)).toMatchObject({ version: 3, at: 200 });
  expect(await write('nobody', 70)).toBeUndefined();
});

test('a work that fails takes back what its prepared queries wrote, and nothing of its neighbours', async () => {
  const row = (id: string) => ({ id, version: 1, seq: 8, at: 0 });
  const fates = await Promise.allSettled(
    ['a', 'b', 'c'].map((id) =>
      db.write([], async (q) => {
        await add.first(q, row(id));
        if (id === 'b') throw new Error('no');
      }),
    ),
  );
  expect(fates.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(await db.read((q) => q.selectFrom('streams').select('id').where('seq', '=', 8).orderBy('id').execute())).toMatchObject([{ id: 'a' }, { id: 'c' }]);
});

test('a prepared query refuses other names than it was built with, and a value that is missing', async () => {
  await expect(db.read((q) => from.all(q, { version: 1, more: 2 } as { version: number }))).rejects.toThrow('other names');
  await expect(db.read((q) => from.all(q, { version: undefined } as unknown as { version: number }))).rejects.toThrow('was not given version');
});
