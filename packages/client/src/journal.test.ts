import { expect, test, vi } from 'vitest';
import { FakeClock } from '../test/fake-clock.ts';
import { Journal } from './journal.ts';
import { memoryStorage } from './storage-memory.ts';
import type { Batch, Written } from './storage.ts';

test('[SY12] what changes in one turn is one batch', async () => {
  const clock = new FakeClock();
  const batches: Batch[] = [];
  const journal = new Journal({ ...memoryStorage(), write: async (batch) => (batches.push(batch), 'written' as const) }, clock, () => []);
  journal.put('entity/a', 1);
  journal.put('stream/s', 1);
  journal.put('entity/a', 2);
  journal.put('draft/c1', 'x');
  await clock.advance(100);
  journal.put('stream/s', 2);
  await clock.advance(100);
  expect(batches).toEqual([
    {
      changes: [['draft/c1', 'x']],
      replica: [
        ['entity/a', 2],
        ['stream/s', 1],
      ],
    },
    { changes: [], replica: [['stream/s', 2]] },
  ]);
});

test('[SY12] after a write that failed, the replica is written whole and the changes again', async () => {
  vi.spyOn(console, 'warn').mockReturnValue();
  const clock = new FakeClock();
  const kept = new Map<string, unknown>();
  const storage = memoryStorage(kept);
  let full = true;
  const all: [string, unknown][] = [
    ['entity/a', 1],
    ['entity/b', 1],
    ['stream/s', 2],
  ];
  const journal = new Journal({ ...storage, write: (batch) => (full ? Promise.reject(new Error('full')) : storage.write(batch)) }, clock, () => all);
  journal.put('entity/a', 1);
  journal.put('draft/c1', 'x');
  await clock.advance(100);
  full = false;
  journal.put('stream/s', 2);
  await clock.advance(100);
  expect(kept).toEqual(new Map<string, unknown>([...all, ['draft/c1', 'x']]));
});

test('[SY17] a tab that takes over the replica writes all of it first', async () => {
  const clock = new FakeClock();
  const batches: Batch[] = [];
  const answers: Written[] = ['elsewhere', 'lapsed', 'written', 'written'];
  const journal = new Journal({ ...memoryStorage(), write: async (batch) => (batches.push(batch), answers.shift()!) }, clock, () => [['entity/all', 1]]);
  for (let head = 1; head <= 3; head++) {
    journal.put('stream/s', head);
    await clock.advance(100);
  }
  expect(batches.map(({ replica, whole }) => [replica, whole])).toEqual([
    [[['stream/s', 1]], undefined],
    [[['stream/s', 2]], undefined],
    [[['entity/all', 1]], true],
    [[['stream/s', 3]], undefined],
  ]);
});

test('[SY18] a storage that does not answer counts as empty when it is read, holds up nothing, and gets all of it when it answers again', async () => {
  vi.spyOn(console, 'warn').mockReturnValue();
  const clock = new FakeClock();
  const kept = new Map<string, unknown>();
  const storage = memoryStorage(kept);
  const held: (() => void)[] = [];
  let stands = true;
  const wait = async (): Promise<void> => void (stands && (await new Promise<void>((go) => held.push(go))));
  const journal = new Journal(
    { ...storage, load: () => wait().then(storage.load), loadBytes: () => wait().then(storage.loadBytes), write: (batch) => wait().then(() => storage.write(batch)) },
    clock,
    () => [['entity/a', 1]],
  );
  const loaded = Promise.all([journal.load(), journal.loadBytes()]);
  await clock.advance(10_000);
  expect(await loaded).toEqual([new Map(), new Map()]);
  journal.put('outbox/m', 'hello');
  // At once, without another 10 s.
  await journal.flush();
  expect(held).toHaveLength(2);
  stands = false;
  for (const go of held) go();
  await clock.advance(0);
  journal.put('entity/a', 1);
  await clock.advance(100);
  expect(kept).toEqual(
    new Map<string, unknown>([
      ['entity/a', 1],
      ['outbox/m', 'hello'],
    ]),
  );
});
