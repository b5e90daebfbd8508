import { RequestError } from '@kith/protocol';
import type { Kysely } from 'kysely';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Config } from '../src/config.ts';
import type { Publication } from '../src/core/core.ts';
import { commit } from '../src/core/streams.ts';
import type { Database, Query } from '../src/db/db.ts';
import { nameOldLinks } from '../src/db/migrations/0010_links.ts';
import { up as shareOld } from '../src/db/migrations/0013_shared.ts';
import { up as orderMessages } from '../src/db/migrations/0024_messages.ts';
import { openDatabase } from '../src/db/open.ts';
import type { MessagesTable } from '../src/db/schema.ts';
import { from, randomFrom, runScript } from './crash-child.ts';

/** A place for one database, empty at first. */
export interface Place {
  config: Pick<Config, 'database' | 'data'>;
  remove(): Promise<void>;
}

/** What every engine promises. */
export function databaseContract(engine: string, makePlace: () => Promise<Place>, options: { severalAtOnce: boolean }): void {
  async function place(): Promise<Place['config']> {
    const { config, remove } = await makePlace();
    onTestFinished(remove);
    return config;
  }

  /** Opened, and closed at the end of the test unless the test did. */
  async function open(config: Place['config']): Promise<Database> {
    const db = await openDatabase(config);
    onTestFinished(() => db.close());
    return db;
  }

  describe(`${engine}, the contract`, () => {
    test('[DB1] what a write wrote is there when it resolves, for every reader, and after the process is killed', { timeout: 60_000 }, async () => {
      const config = await place();
      await (await openDatabase(config)).close();
      const writer = runScript(
        `import { openDatabase } from ${from('../src/db/open.ts')};
        const db = await openDatabase(${JSON.stringify(config)});
        for (let turn = 0; ; turn++) {
          await Promise.all([0, 1, 2].map(async (n) => {
            const id = turn + '.' + n;
            await db.write([id], (q) => q.insertInto('streams').values({ id, version: turn }).execute());
            // Past all buffers of ours: what is printed is printed before anything else can happen.
            (await import('node:fs')).writeSync(1, id + '\\n');
          }));
        }`,
      );
      onTestFinished(() => writer.kill());
      for (let lines = 0; lines < 200; lines += 1) await writer.line();
      await writer.kill();
      const said = writer.output().out;
      const db = await open(config);
      expect(said.length).toBeGreaterThanOrEqual(200);
      const ids = await db.read((q) => allIds(q));
      expect(ids).toEqual(expect.arrayContaining(said));

      await db.write(['later'], (q) => put(q, 'later'));
      expect(await db.read((q) => find(q, 'later'))).toBeDefined();
    });

    test('[DB2] a work that throws leaves nothing behind, and takes none of its neighbours with it', async () => {
      const db = await open(await place());
      await db.write(['taken'], (q) => put(q, 'taken'));
      const wanted = Array.from({ length: 60 }, (_, at) => `row ${at}`);
      const fates = await Promise.allSettled(
        wanted.map((id, at) =>
          db.write([`key ${at % 7}`], async (q) => {
            await put(q, id);
            await put(q, `${id}, again`);
            if (at % 5 === 1) throw new RequestError('forbidden');
            // Breaks a rule of the database itself, in the middle of the transaction.
            if (at % 5 === 3) await put(q, 'taken');
            return id;
          }),
        ),
      );
      const kept = wanted.filter((_, at) => at % 5 !== 1 && at % 5 !== 3);
      expect(fates.filter((fate) => fate.status === 'fulfilled').map((fate) => fate.value)).toEqual(kept);
      expect(fates[1]).toMatchObject({ status: 'rejected', reason: { name: 'RequestError', code: 'forbidden' } });
      expect(fates[3]).toMatchObject({ status: 'rejected', reason: { message: expect.stringMatching(/unique/i) } });
      expect((await db.read((q) => allIds(q))).sort()).toEqual([...kept, ...kept.map((id) => `${id}, again`), 'taken'].sort());
    });

    test('[DB3] writes that share a key are taken up, committed and resolved in the order of the calls', async () => {
      const db = await open(await place());
      const keys = ['a', 'b', 'c'];
      await Promise.all(keys.map((key) => db.write([key], (q) => put(q, key))));
      const taken: number[] = [];
      const resolved: number[] = [];
      const committed: { call: number; key: string; version: number }[] = [];
      const calls = Array.from({ length: 120 }, (_, call) => (call % 11 === 0 ? ['a', 'b'] : [keys[call % 3]!]));
      const fails = (call: number): boolean => call % 6 === 4;
      await Promise.all(
        calls.map(async (own, call) => {
          const work = async (q: Query) => {
            // One that is run again is taken up then.
            if (taken.includes(call)) taken.splice(taken.indexOf(call), 1);
            taken.push(call);
            const versions = [];
            for (const key of own) versions.push({ call, key, version: await bump(q, key) });
            if (fails(call)) throw new RequestError('forbidden');
            return versions;
          };
          const done = await db.write(own, work).catch((error: unknown) => {
            if (error instanceof RequestError) return [];
            throw error;
          });
          resolved.push(call);
          committed.push(...done);
        }),
      );
      for (const key of keys) {
        const inOrder = calls.flatMap((own, call) => (own.includes(key) ? [call] : []));
        expect(taken.filter((call) => calls[call]!.includes(key))).toEqual(inOrder);
        expect(resolved.filter((call) => calls[call]!.includes(key))).toEqual(inOrder);
        const versions = committed.filter((one) => one.key === key).sort((one, other) => one.version - other.version);
        expect(versions.map((one) => one.call)).toEqual(inOrder.filter((call) => !fails(call)));
        expect(versions.map((one) => one.version)).toEqual(versions.map((_, at) => at + 1));
      }
    });

    test('[DB4] a read sees only what is committed, and one state of it from its first query to its last', async () => {
      const config = await place();
      const db = await open(config);
      const writers = options.severalAtOnce ? [db, await open(config)] : [db];
      await db.write([], async (q) => {
        await put(q, 'left', 1_000);
        await put(q, 'right', 1_000);
      });
      // What leaves one side arrives at the other, so that a half-seen write is a wrong sum.
      const move = (q: Query) =>
        bump(q, 'left', -1)
          .then(() => find(q, 'nothing'))
          .then(() => bump(q, 'right'));
      const look = async (q: Query): Promise<[number, number]> => {
        const left = (await find(q, 'left'))!.version;
        for (let more = 0; more < 5; more += 1) await find(q, 'nothing');
        return [left, (await find(q, 'right'))!.version];
      };
      const moving = new AbortController();
      const seen: [number, number][] = [];
      const reading = Promise.all(
        Array.from({ length: 4 }, async () => {
          while (!moving.signal.aborted) seen.push(await db.read(look));
        }),
      );
      for (let turn = 0; turn < 40; turn += 1) {
        await Promise.all(
          writers.map((writer) =>
            writer.write(['left', 'right'], async (q) => {
              await move(q);
              if (turn % 4 === 0) throw new RequestError('forbidden');
            }),
          ),
        ).catch(() => {});
      }
      moving.abort();
      await reading;
      expect(new Set(seen.map(([left, right]) => left + right))).toEqual(new Set([2_000]));
      expect(new Set(seen.map(([left]) => left)).size).toBeGreaterThan(5);
    });

    test('[DB5] a read cannot change anything', async () => {
      const db = await open(await place());
      await expect(db.read((q) => put(q, 'written by a read'))).rejects.toThrow(/read.?only/i);
      expect(await db.read((q) => allIds(q))).toEqual([]);
    });

    test('[DB6] commits of one stream at the same moment have dense versions, published in their order', async () => {
      const config = await place();
      const nodes = options.severalAtOnce ? [await open(config), await open(config)] : [await open(config)];
      await nodes[0]!.write([], (q) => put(q, 'conversation:c', 1));
      const published: Publication[][] = nodes.map(() => []);
      const stored: number[] = [];
      await Promise.all(
        nodes.flatMap((db, node) =>
          Array.from({ length: 60 }, async (_, call) => {
            const log = { db, now: () => 5, publish: (publications: Publication[]) => void published[node]!.push(...publications) };
            // Client ids come twice: at once, from two nodes where there are two.
            const clientId = `client id ${call >> 1}`;
            const outcome = await commit(
              log,
              ['conversation:c'],
              async (c) => {
                if (call % 9 === 5) throw new RequestError('forbidden');
                const row = message({ id: `${node}.${call}`, client_id: clientId, seq: c.appended().seq, version: c.version('conversation:c') });
                const written = await c.q
                  .insertInto('messages')
                  .values(row)
                  .onConflict((conflict) => conflict.columns(['sender_id', 'client_id']).doNothing())
                  .returning('id')
                  .executeTakeFirst();
                if (!written) throw c.unchanged('known' as const);
                c.put('conversation:c', { kind: 'message', id: row.id, version: row.version } as never);
                return row.version;
              },
              { append: 'conversation:c' },
            ).catch((error: unknown) => {
              if (error instanceof RequestError) return 'refused' as const;
              throw error;
            });
            if (typeof outcome === 'number') stored.push(outcome);
          }),
        ),
      );
      const dense = Array.from({ length: 30 }, (_, at) => at + 2);
      expect(stored.sort((a, b) => a - b)).toEqual(dense);
      const versions = published.map((list) => list.map((publication) => (publication.kind === 'push' ? publication.version : Number.NaN)));
      for (const ofOne of versions) expect(ofOne).toEqual([...ofOne].sort((a, b) => a - b));
      expect(versions.flat().sort((a, b) => a - b)).toEqual(dense);
      const rows = await nodes[0]!.read((q) => q.selectFrom('messages').select(['seq', 'version']).orderBy('seq').execute());
      expect(rows).toEqual(dense.map((version) => ({ seq: version - 1, version })));
      expect((await nodes[0]!.read((q) => find(q, 'conversation:c')))!.version).toBe(31);
    });

    test('[DB16] works that fail, wherever among others, leave what they would leave one after the other', async () => {
      const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
      console.info(`works that fail on ${engine}: FUZZ_SEED=${seed}`);
      const random = randomFrom(seed);
      const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
      const db = await open(await place());
      const ids = ['a', 'b', 'c', 'd', 'e'];
      await db.write([], async (q) => {
        for (const id of ids) await put(q, id);
      });
      /** Of all rows, so that it depends on each work before. */
      const look = async (q: Query) => {
        const { sum, count } = await q
          .selectFrom('streams')
          .select((eb) => [eb.fn.sum('version').as('sum'), eb.fn.countAll().as('count')])
          .executeTakeFirstOrThrow();
        return { sum: Number(sum), count: Number(count) };
      };
      const model = { sum: 0, count: ids.length };
      const expected: unknown[] = [];
      const resolved: number[] = [];
      const writes: Promise<unknown>[] = [];
      // Long stretches without a failure, and short ones.
      const stretches = options.severalAtOnce
        ? [
            [60, 0.05],
            [60, 0.4],
          ]
        : [
            [600, 0.003],
            [300, 0.03],
            [200, 0.1],
            [200, 0.5],
            [300, 0.01],
          ];
      for (const [works, share] of stretches as [number, number][]) {
        for (let left = works; left > 0; left -= 1) {
          const call = expected.length;
          const [id, taken] = [one(ids), one(ids)];
          const fails = random() < share ? one(['before it wrote', 'after it wrote', 'by a rule']) : undefined;
          if (fails === undefined) {
            model.sum += 1 + (model.count % 7);
            model.count += 1;
          }
          expected.push(fails ?? { ...model });
          let run = 0;
          const work = async (q: Query) => {
            const mine = (run += 1);
            if (fails === 'before it wrote') throw new Error(fails);
            const { count } = await look(q);
            await bump(q, id);
            await put(q, `new ${call}`, count % 7);
            if (fails === 'by a rule') await put(q, taken);
            if (fails !== undefined) throw new Error(fails);
            return { ...(await look(q)), run: mine };
          };
          // What an earlier run of it said is not so any more.
          const last = ({ run: mine, ...found }: Awaited<ReturnType<typeof work>>) => (mine === run ? found : 'of an earlier run');
          const outcome = db.write(['all'], work).then(last, (error: Error) => (/unique/i.test(error.message) ? 'by a rule' : error.message));
          writes.push(outcome.finally(() => resolved.push(call)));
          // Some come alone, most with others.
          if (random() < 0.01) await Promise.all(writes);
        }
      }
      expect(await Promise.all(writes)).toEqual(expected);
      expect(resolved).toEqual(expected.map((_, call) => call));
      expect(await db.read(look)).toEqual(model);
    });

    test('[DB7] a statement takes ten thousand values', async () => {
      const db = await open(await place());
      const ids = Array.from({ length: 2_500 }, (_, at) => `id ${at}`);
      await db.write([], (q) =>
        q
          .insertInto('streams')
          .values(ids.map((id, version) => ({ id, version, seq: 0, at: 0 })))
          .execute(),
      );
      const asked = [...ids, ...Array.from({ length: 7_500 }, (_, at) => `nobody ${at}`)];
      const found = await db.read((q) => q.selectFrom('streams').select('version').where('id', 'in', asked).orderBy('version').execute());
      expect(found.map((row) => row.version)).toEqual(ids.map((_, at) => at));
    });

    test('[DB8] text, numbers and nothing come back as they went in', async () => {
      const db = await open(await place());
      const texts = [
        'plain',
        '',
        ' spaces  kept \t\n\r\n ',
        '你好，世界',
        '👩‍👩‍👧‍👦🏳️‍🌈👍🏽',
        'e\u0301 is not \u00E9',
        '\u202Eright to left\u202C \u200B\uFEFF\u2028\u2029',
        'زبان عربی',
        '\u{10FFFF}\u{1F600}\uFFFD\uFFFE',
        `'; drop table messages; -- " \\ $1 ? :a @b %s {}`,
        '\u0001\u001F\u007F\u0085',
        'x'.repeat(8_000),
        '🙂'.repeat(4_000),
        '{"json":"\\u0041"}',
      ];
      const rows = texts.map((text, at) => message({ id: `${at}`, seq: at + 1, text, event: at % 2 ? text : null, client_id: text === '' ? null : `${at} ${text}` }));
      const numbers = [0, 1, -1, 2 ** 31, 1_790_000_000_123, Number.MAX_SAFE_INTEGER];
      await db.write([], async (q) => {
        await q.insertInto('messages').values(rows).execute();
        await q
          .insertInto('streams')
          .values(numbers.map((at) => ({ id: `${at}`, version: at, seq: at, at })))
          .execute();
      });
      expect(await db.read((q) => q.selectFrom('messages').selectAll().orderBy('seq').execute())).toEqual(rows);
      for (const [at, text] of texts.entries()) {
        expect(await db.read((q) => q.selectFrom('messages').select('seq').where('text', '=', text).execute())).toEqual([{ seq: at + 1 }]);
      }
      const stored = await db.read((q) => q.selectFrom('streams').selectAll().execute());
      expect(stored.sort((a, b) => numbers.indexOf(a.at) - numbers.indexOf(b.at))).toEqual(numbers.map((at) => ({ id: `${at}`, version: at, seq: at, at })));
      const { count } = await db.read((q) =>
        q
          .selectFrom('streams')
          .select((eb) => eb.fn.countAll<number>().as('count'))
          .executeTakeFirstOrThrow(),
      );
      expect(count).toBe(numbers.length);
    });

    test('[DB9] text is the same only if every byte is: no case, accent or form of writing is overlooked', async () => {
      const db = await open(await place());
      const ids = ['anna', 'Anna', 'ANNA', 'ànna', 'a\u0300nna', 'anna ', ' anna', 'anna\u200B', 'ａnna'];
      for (const id of ids) await db.write([], (q) => put(q, id));
      for (const id of ids) {
        expect((await db.read((q) => q.selectFrom('streams').select('id').where('id', '=', id).execute())).map((row) => row.id)).toEqual([id]);
        await expect(db.write([], (q) => put(q, id))).rejects.toThrow(/unique/i);
      }
    });

    test('[DB18] of what is asked for, that which has not begun can be refused; what has is done, and what comes later too', async () => {
      const db = await open(await place());
      const begun = db.write(['a', 'b'], async (q) => {
        await put(q, 'begun');
        db.refuseWaiting();
        await put(q, 'and ended');
      });
      const waiting = [['a'], ['b'], ['a', 'b']].map((keys) => db.write(keys, (q) => put(q, keys.join())).catch((error: unknown) => error));
      await begun;
      for (const refused of await Promise.all(waiting)) expect(refused).toMatchObject({ code: 'busy' });
      await db.write(['a'], (q) => put(q, 'later'));
      expect((await db.read((q) => allIds(q))).toSorted()).toEqual(['and ended', 'begun', 'later']);
    });

    test('[DB10] close answers what is in flight, and refuses what comes after', async () => {
      const config = await place();
      const db = await openDatabase(config);
      const settled: string[] = [];
      const work = Array.from({ length: 60 }, async (_, at) => {
        if (at % 3 === 0) {
          await db.read(async (q) => {
            for (let more = 0; more < 5; more += 1) await find(q, 'nothing');
            return find(q, 'nothing');
          });
        } else await db.write([`key ${at % 2}`], (q) => put(q, `row ${at}`));
        settled.push(`${at}`);
      });
      await db.close();
      expect(settled.length).toBe(60);
      await Promise.all(work);
      await expect(db.read((q) => find(q, 'nothing'))).rejects.toThrow(/closed|destroyed|end/);
      await expect(db.write([], (q) => put(q, 'too late'))).rejects.toThrow(/closed|destroyed|end/);
      const again = await open(config);
      expect((await again.read((q) => allIds(q))).length).toBe(40);
    });

    test('[DB11] migrations make an empty database, and find nothing to do in their own', async () => {
      const config = await place();
      const tables = ['conversations', 'friends', 'inbox', 'invites', 'members', 'messages', 'receipts', 'sessions', 'spent_tokens', 'streams', 'users'] as const;
      for (let turn = 1; turn <= 3; turn += 1) {
        const db = await openDatabase(config);
        await db.write([], (q) => put(q, `turn ${turn}`));
        for (const table of tables) await db.read((q) => q.selectFrom(table).selectAll().execute());
        expect((await db.read((q) => allIds(q))).length).toBe(turn);
        await db.close();
      }
    });

    test('[DB14] what was written before is found among the files of its conversation', async () => {
      const db = await open(await place());
      const file = (name: string, type: string) => ({ file_id: name, file: JSON.stringify({ id: name, name, size: 1, type }) });
      const rows: Partial<MessagesTable>[] = [
        { type: 'image', ...file('a.png', 'image/png') },
        { type: 'file', ...file('a.mp4', 'video/mp4') },
        { type: 'file', ...file('"type":"video/x".txt', 'text/plain') },
        { type: 'voice', ...file('a.ogg', 'audio/ogg') },
        { text: 'see kith' },
        { type: 'image', deleted_at: 1 },
      ];
      const found = await db.write([], async (q) => {
        // As it was before.
        await q.schema.dropIndex('messages_shared').execute();
        await q.schema.alterTable('messages').dropColumn('shared').execute();
        for (const [at, row] of rows.entries()) {
          const { shared: _, ...before } = message({ id: `${at}`, seq: at + 1, ...row });
          await q.insertInto('messages').values(before).execute();
        }
        await shareOld(q as unknown as Kysely<unknown>);
        return q.selectFrom('messages').select('shared').orderBy('seq').execute();
      });
      expect(found.map(({ shared }) => shared)).toEqual(['media', 'media', 'files', 'voice', null, null]);
    });

    test('[DB15] what was written before has its first link', async () => {
      const db = await open(await place());
      const texts = ['http://one.test/ https://two.test/', 'mailto:anna@one.test', '`http://one.test/`', 'words', `http://one.test/${'x'.repeat(2_048)}`, '://'];
      // More than are taken up at once.
      const many = Array.from({ length: 600 }, (_, at) => texts[at % texts.length]!);
      const found = await db.write([], async (q) => {
        for (const [at, text] of many.entries())
          await q
            .insertInto('messages')
            .values(message({ id: `m-${String(at).padStart(4, '0')}`, seq: at + 1, text }))
            .execute();
        await nameOldLinks(q);
        return q.selectFrom('messages').select('link_url').orderBy('seq').execute();
      });
      expect(found.map(({ link_url }) => link_url)).toEqual(many.map((text) => (text === texts[0] ? 'http://one.test/' : null)));
    });

    test('[DB35] messages of before are where they were, and what was changed of them is known as such', async () => {
      const db = await open(await place());
      // By seq: those that were changed since have a version from beyond that of the next.
      const versions = [2, 9, 4, 8, 6, 12, 11];
      const [found, others] = await db.write([], async (q) => {
        await q.schema.dropIndex('messages_changed').execute();
        await q.schema.alterTable('messages').dropColumn('born').execute();
        if (engine === 'PostgreSQL') {
          await q.schema.alterTable('messages').dropConstraint('messages_client_id').execute();
          await q.schema.alterTable('messages').addUniqueConstraint('messages_client_id', ['sender_id', 'client_id']).execute();
        }
        await q.schema.createIndex('messages_conversation_version').on('messages').columns(['conversation_id', 'version']).execute();
        const rows = ['one', 'two'].flatMap((conversation_id) => versions.map((version, at) => ({ id: `${conversation_id} ${at}`, conversation_id, seq: at + 1, version })));
        for (const row of rows) {
          const { born: _, ...before } = message({ ...row, client_id: `client-${row.id}`, text: row.id, link_url: row.id });
          await q.insertInto('messages').values(before).execute();
        }
        await orderMessages(q as unknown as Kysely<unknown>);
        const all = await q.selectFrom('messages').selectAll().orderBy('conversation_id').orderBy('seq').execute();
        expect(all.map((row) => ({ ...row, born: null }))).toEqual(rows.map((row) => message({ ...row, client_id: `client-${row.id}`, text: row.id, link_url: row.id })));
        return [all.slice(0, versions.length), all.slice(versions.length)];
      });
      expect(found.map(({ born }) => born)).toEqual([null, 4, null, 6, null, 11, null]);
      expect(others.map(({ born }) => born)).toEqual(found.map(({ born }) => born));
      const again = db.write([], (q) =>
        q
          .insertInto('messages')
          .values(message({ id: 'again', seq: 99, client_id: 'client-one 3' }))
          .execute(),
      );
      await expect(again).rejects.toThrow(/unique/i);
    });

    test('[DB12] a database of a newer program is refused in words, and left as it is', async () => {
      const config = await place();
      const db = await openDatabase(config);
      await db.write([], async (q) => {
        await put(q, 'precious');
        await addMigration(q, '0999_from_the_future');
      });
      await db.close();
      await expect(openDatabase(config)).rejects.toMatchObject({ name: 'DatabaseError', message: expect.stringMatching(/made by a newer Kith.*Start that version/) });
      await expect(openDatabase(config)).rejects.toThrow(/made by a newer Kith/);
    });
  });
}

export async function put(q: Query, id: string, version = 0): Promise<void> {
  await q.insertInto('streams').values({ id, version, seq: 0, at: 0 }).execute();
}

export const find = (q: Query, id: string) => q.selectFrom('streams').selectAll().where('id', '=', id).executeTakeFirst();

export async function bump(q: Query, id: string, by = 1): Promise<number> {
  const row = await q
    .updateTable('streams')
    .set((eb) => ({ version: eb('version', '+', by) }))
    .where('id', '=', id)
    .returning('version')
    .executeTakeFirstOrThrow();
  return row.version;
}

export async function allIds(q: Query): Promise<string[]> {
  return (await q.selectFrom('streams').select('id').execute()).map((row) => row.id);
}

/** A row as good as any. */
export function message(row: Partial<MessagesTable>): MessagesTable {
  const defaults = { conversation_id: 'c', version: 1, sender_id: 'someone', client_id: null, type: 'text', text: 'hello', sent_hash: null, at: 5 } as const;
  return {
    id: 'm',
    seq: 1,
    edited_at: null,
    deleted_at: null,
    deleted_by: null,
    event: null,
    file_id: null,
    file: null,
    shared: null,
    link_url: null,
    link: null,
    link_file_id: null,
    link_off: 0,
    born: null,
    ...defaults,
    ...row,
  };
}

async function addMigration(q: Query, name: string): Promise<void> {
  const table = q.withTables<{ kysely_migration: { name: string; timestamp: string } }>();
  await table
    .insertInto('kysely_migration')
    .values({ name, timestamp: new Date(0).toISOString() })
    .execute();
}
