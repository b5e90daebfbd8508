import { type Message, entityKey } from '@kith/protocol';
import { expect, test } from 'vitest';
import { settle } from '../test/fake-clock.ts';
import { type Changed, Store } from './store.ts';

const message = (seq: number, version: number, text = `v${version}`): Message => ({
  kind: 'message',
  id: `m${seq}`,
  conversationId: 'c1',
  seq,
  version,
  senderId: 'ann',
  clientId: null,
  type: 'text',
  text,
  at: 1,
});

test('[SY1] an entity is kept only if its version is higher than the one held', () => {
  const store = new Store();
  expect(store.apply([message(1, 5)])).toHaveLength(1);
  expect(store.apply([message(1, 5, 'the same again')])).toEqual([]);
  expect(store.apply([message(1, 4, 'late')])).toEqual([]);
  expect(store.get('message', 'm1')?.text).toBe('v5');
  expect(store.apply([message(1, 6)])).toHaveLength(1);
  expect(store.message('c1', 1)?.text).toBe('v6');
});

test('[SY1] watchers are called once for all that one turn changed, and not for what changed nothing', async () => {
  const store = new Store();
  const seen: Changed[] = [];
  const end = store.watch((changed) => seen.push(changed));
  store.apply([message(1, 1), message(2, 2)]);
  store.apply([message(1, 3)]);
  expect(seen).toHaveLength(0);
  await settle();
  expect(seen).toHaveLength(1);
  expect([...seen[0]!.keys].sort()).toEqual([entityKey(message(1, 1)), entityKey(message(2, 1))]);
  expect([...seen[0]!.conversations]).toEqual(['c1']);
  store.apply([message(1, 2)]);
  await settle();
  expect(seen).toHaveLength(1);
  end();
  store.apply([message(1, 9)]);
  await settle();
  expect(seen).toHaveLength(1);
});
