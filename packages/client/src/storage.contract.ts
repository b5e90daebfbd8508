import { describe, expect, test } from 'vitest';
import type { Storage } from './storage.ts';

/**
 * What every storage keeps to.
 *
 * @param open    A storage on the same place each time; `fresh` is a new, empty place.
 * @param shared  Whether several may be open on one place at once.
 */
export function storageContract(name: string, open: (place: string) => Storage, shared: boolean): void {
  let places = 0;
  const place = (): string => `contract-${++places}`;

  describe(`storage: ${name}`, () => {
    test('[SY16] what was written is there at the next start, what was deleted is not', async () => {
      const at = place();
      const first = open(at);
      expect(await first.load()).toEqual(new Map());
      await first.write({
        changes: [['draft/c1', 'half']],
        replica: [
          ['entity/message/m1', { id: 'm1', list: [1, 2] }],
          ['stream/s', { head: 1 }],
        ],
      });
      await first.write({
        changes: [],
        replica: [
          ['entity/message/m1', undefined],
          ['stream/s', { head: 2 }],
        ],
      });
      await first.close();
      const second = open(at);
      expect(await second.load()).toEqual(
        new Map<string, unknown>([
          ['draft/c1', 'half'],
          ['stream/s', { head: 2 }],
        ]),
      );
      await second.close();
    });

    test('[SY16] a whole replica replaces the one there was, and nothing else', async () => {
      const at = place();
      const storage = open(at);
      await storage.load();
      await storage.write({
        changes: [
          ['outbox/1', 1],
          ['owner', 'me'],
        ],
        replica: [
          ['entity/a', 1],
          ['entity/b', 1],
          ['stream/s', 1],
        ],
      });
      expect(
        await storage.write({
          changes: [],
          replica: [
            ['entity/b', 2],
            ['stream/t', 2],
          ],
          whole: true,
        }),
      ).toBe('written');
      await storage.close();
      expect(await open(at).load()).toEqual(
        new Map<string, unknown>([
          ['outbox/1', 1],
          ['owner', 'me'],
          ['entity/b', 2],
          ['stream/t', 2],
        ]),
      );
    });

    test('[SY16] erasing leaves nothing', async () => {
      const at = place();
      const storage = open(at);
      await storage.load();
      await storage.write({ changes: [['owner', 'me']], replica: [['entity/a', 1]] });
      await storage.erase();
      await storage.write({ changes: [['owner', 'you']], replica: [] });
      await storage.close();
      expect(await open(at).load()).toEqual(new Map([['owner', 'you']]));
    });

    test('[UP2] bytes of files are kept apart from the table until they are deleted or all is erased', async () => {
      const at = place();
      const first = open(at);
      await first.load();
      expect(await first.loadBytes()).toEqual(new Map());
      for (const key of ['one', 'two', 'three']) await first.writeBytes(key, new Blob([`bytes of ${key}`]));
      await first.writeBytes('two', undefined);
      await first.write({ changes: [['outbox/one', 1]], replica: [] });
      await first.close();
      const second = open(at);
      expect(await second.load()).toEqual(new Map([['outbox/one', 1]]));
      const kept = await second.loadBytes();
      expect((await Promise.all([...kept].map(async ([key, bytes]) => [key, await bytes.text()]))).sort()).toEqual([
        ['one', 'bytes of one'],
        ['three', 'bytes of three'],
      ]);
      await second.erase();
      await second.writeBytes('four', new Blob(['of the next']));
      await second.close();
      const third = open(at);
      await third.load();
      expect([...(await third.loadBytes()).keys()]).toEqual(['four']);
      await third.close();
    });

    // A storage of one process has no tabs.
    if (!shared) return;

    test('[SY17] of several tabs one writes the replica; all write what they made themselves', async () => {
      const at = place();
      const [one, two] = [open(at), open(at)];
      await one.load();
      await two.load();
      expect(
        await one.write({
          changes: [],
          replica: [
            ['entity/a', 1],
            ['stream/s', 1],
          ],
        }),
      ).toBe('written');
      expect(
        await two.write({
          changes: [['draft/c1', 'two']],
          replica: [
            ['entity/a', 0],
            ['stream/s', 0],
          ],
        }),
      ).toBe('elsewhere');
      expect(await two.write({ changes: [], replica: [['entity/x', 0]], whole: true })).toBe('elsewhere');
      await one.close();
      expect(await two.write({ changes: [['draft/c2', 'two']], replica: [['entity/b', 1]] })).toBe('lapsed');
      expect(
        await two.write({
          changes: [],
          replica: [
            ['entity/b', 1],
            ['stream/s', 2],
          ],
          whole: true,
        }),
      ).toBe('written');
      expect(await two.write({ changes: [], replica: [['stream/s', 3]] })).toBe('written');
      await two.close();
      expect(await open(at).load()).toEqual(
        new Map<string, unknown>([
          ['draft/c1', 'two'],
          ['draft/c2', 'two'],
          ['entity/b', 1],
          ['stream/s', 3],
        ]),
      );
    });

    test('[SY17] after one tab signed out, the others bring nothing back', async () => {
      const at = place();
      const [one, two] = [open(at), open(at)];
      await one.load();
      await two.load();
      await two.loadBytes();
      await one.write({ changes: [['owner', 'me']], replica: [['entity/a', 1]] });
      await one.erase();
      await one.close();
      expect(await two.write({ changes: [['draft/c1', 'mine']], replica: [['entity/a', 1]] })).toBe('elsewhere');
      expect(await two.write({ changes: [], replica: [['entity/a', 1]], whole: true })).toBe('elsewhere');
      await two.writeBytes('c1', new Blob(['mine']));
      await two.close();
      const three = open(at);
      expect(await three.load()).toEqual(new Map());
      expect(await three.loadBytes()).toEqual(new Map());
    });
  });
}
