import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Message, RequestError, type StreamId } from '@kith/protocol';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { start } from '../test/crash-child.ts';
import { type Person, type TestServer, startTestServer } from '../test/harness.ts';
import { createTestDatabase } from '../test/postgres.ts';
import { type TestS3, startS3 } from '../test/s3.ts';
import { type Config, configWith } from './config.ts';
import { readSecrets } from './core/secrets.ts';
import { openDatabase } from './db/open.ts';
import { endsOf, migrateAll, prepareAll, verifyAll } from './migrate-command.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-migrate-'));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
let folders = 0;
const folder = (): string => path.join(root, String((folders += 1)));

async function database(): Promise<string> {
  const { url, drop } = await createTestDatabase();
  onTestFinished(drop);
  return url;
}

/** A server whose data may be moved away from it. */
async function serve(config: Partial<Config>): Promise<TestServer & { moved: Promise<Error> }> {
  const moved = Promise.withResolvers<Error>();
  const server = await startTestServer({ config: { data: folder(), offlineGraceMs: 0, ...config }, onFatal: (error) => moved.resolve(error) });
  onTestFinished(() => server.close());
  return Object.assign(server, { moved: moved.promise });
}

const between = (from: string, to: string, config: Partial<Config> = {}) => endsOf({ from, to, config: configWith(config) });
const silent = (): void => {};

/** Somebody who writes until they are told to stop, and asks again with the same client id for as long as they are asked to wait. */
function write(conversationId: string, { token }: Person) {
  const acked: Message[] = [];
  const pen = { down: false, server: undefined as TestServer | undefined, refused: 0 };
  const writing = (async () => {
    for (let index = 0; !pen.down; index += 1) {
      for (; !pen.down;) {
        try {
          acked.push((await pen.server!.call('message.send', { conversationId, clientId: `client-${index}`, type: 'text', text: `word ${index}` }, token)).message);
          break;
        } catch (error) {
          if (!(error instanceof RequestError) || error.code === 'busy') pen.refused += 1;
          else throw error;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    }
  })();
  return { acked, pen, writing };
}

describe('there and back', () => {
  let s3: TestS3;
  beforeAll(async () => {
    s3 = await startS3();
  });
  afterAll(() => s3.close());

  test(
    '[OP10] everything goes to PostgreSQL and S3 and back while people write: equal, nothing acknowledged is lost, and clients only come back',
    { timeout: 90_000 },
    async () => {
      const url = await database();
      const first = await serve({});
      const ann = await first.register('ann');
      const bob = await first.register('bob');
      await first.befriend(ann, bob);
      const { conversation } = await first.call('conversation.create', { clientId: 'a-group-of-two', title: 'Plans', memberIds: [bob.id] }, ann.token);
      const bytes = randomBytes(300_000);
      const keys = await readSecrets(first.config);
      const file = await first.upload(ann, bytes, { name: 'plan.bin' });
      await first.call('message.send', { conversationId: conversation.id, clientId: 'the-plan', type: 'file', text: '', fileId: file.id }, ann.token);
      const streams: StreamId[] = [`user:${bob.id}`, `conversation:${conversation.id}`];

      /** Moves everything from a server that serves, and starts another where it has gone to. */
      const move = async (from: TestServer & { moved: Promise<Error> }, ends: Parameters<typeof migrateAll>[0], next: Partial<Config>, lines: string[]): Promise<typeof from> => {
        const author = write(conversation.id, ann);
        author.pen.server = from;
        await expect.poll(() => author.acked.length).toBeGreaterThan(20);
        const { heads } = await from.call('stream.heads', { streams }, bob.token);
        expect(await migrateAll(ends, (line) => lines.push(line))).toBe(true);
        expect(await verifyAll(ends, silent)).toBe(true);
        expect(await readSecrets(ends.to)).toEqual(keys);
        const to = await serve(next);
        author.pen.server = to;
        const acked = author.acked.length;
        await expect.poll(() => author.acked.length).toBeGreaterThan(acked + 20);
        author.pen.down = true;
        await author.writing;
        // The same sessions; what a device has is gone on from, and not begun anew.
        const client = await to.connect(bob);
        for (const stream of streams) expect(await client.call('stream.changes', { stream, since: heads[stream]! })).not.toHaveProperty('tooOld');
        const history: Message[] = [];
        for (let more = true; more;) {
          const page = await to.call('message.history', { conversationId: conversation.id, after: history.at(-1)?.seq ?? 0, limit: 100 }, bob.token);
          history.push(...page.messages);
          more = page.after;
        }
        expect(history.map(({ seq }) => seq)).toEqual(history.map((_, index) => index + 1));
        const ids = new Set(author.acked.map(({ id }) => id));
        expect(history.filter(({ id }) => ids.has(id))).toEqual(author.acked);
        const sent = history.flatMap(({ clientId }) => clientId ?? []);
        expect(new Set(sent).size).toBe(sent.length);
        expect((await to.download(bob, file.id)).bytes.equals(bytes)).toBe(true);
        return to;
      };

      const [there, back]: [string[], string[]] = [[], []];
      const data = first.config.data;
      const second = await move(first, between(data, url, s3.config), { database: url, ...s3.config }, there);
      expect(there.join('\n')).toMatch(/✓ messages: \d+ rows[^]*Nobody could write for [\d.]+ s/);
      expect(s3.keys()).toEqual([file.id]);
      // The one that it was taken from ends, whoever writes there or not, and does not start again.
      expect((await first.moved).message).toContain('Everything was moved to postgres://');
      await first.close();
      await expect(openDatabase({ database: 'sqlite', data })).rejects.toThrow('Everything was moved to postgres://');

      const home = folder();
      await move(second, between(url, home, s3.config), { data: home }, back);
      await expect(second.call('message.send', { conversationId: conversation.id, clientId: 'too-late', type: 'text', text: 'late' }, ann.token)).rejects.toMatchObject({
        code: 'busy',
      });
      await expect(openDatabase({ database: url, data })).rejects.toThrow(`Everything was moved to ${home}`);
    },
  );
});

describe('of one server', () => {
  /** A data directory with people, messages and a file, as a server left it. */
  let made: string;
  beforeAll(async () => {
    made = folder();
    const server = await startTestServer({ config: { data: made, offlineGraceMs: 0 } });
    const [ann, bob] = [await server.register('ann'), await server.register('bob')];
    await server.befriend(ann, bob);
    const { conversation } = await server.call('conversation.direct', { userId: bob.id }, ann.token);
    for (let index = 0; index < 30; index += 1) {
      await server.call('message.send', { conversationId: conversation.id, clientId: `client-${index}`, type: 'text', text: `words ${index} 你好 "'\\ 🎈` }, ann.token);
    }
    await server.upload(ann, randomBytes(50_000));
    await server.close();
    // More pages than one.
    const db = new DatabaseSync(path.join(made, 'kith.db'));
    db.exec(`with recursive n (i) as (select 1 union all select i + 1 from n where i < 2500)
      insert into messages (id, conversation_id, seq, version, sender_id, client_id, type, text, at, link_off)
      select printf('id-%05d', i), 'c', i, i, 's', 'client ' || i, 'text', 'text ' || i, i, 0 from n`);
    db.close();
  });
  const copyOf = (data: string): string => {
    const copy = folder();
    fs.cpSync(data, copy, { recursive: true });
    return copy;
  };

  test('[OP11] killed at any point, it is gone on with; until its end nothing starts on the copy, and the source serves as before', { timeout: 90_000 }, async () => {
    const [url, data, back] = [await database(), copyOf(made), folder()];
    const killed = async (from: string, to: string, at: string, count = 1): Promise<void> => {
      const child = start(process.execPath, [path.join(import.meta.dirname, '../test/killed-migrate.ts'), String(count), at, 'migrate', '--from', from, '--to', to]);
      expect([await child.ended, child.output().err]).toEqual(['SIGKILL', '']);
    };
    const starts = async (place: { database: string; data: string }): Promise<string> =>
      openDatabase(place).then(
        async (db) => db.write([], async (q) => void (await q.updateTable('users').set({ bio: 'now' }).execute())).then(async () => (await db.close(), 'starts')),
        (error: Error) => error.message,
      );
    for (const [at, count] of [
      ['insert into kith_copy', 1],
      ['insert into "messages"', 2],
      ['create table if not exists kith_moved', 1],
    ] as const) {
      await killed(data, url, at, count);
      expect(await starts({ database: 'sqlite', data })).toBe('starts');
    }
    expect(await starts({ database: url, data })).toMatch(/is an unfinished copy/);
    // The source is closed, and the target not ready: neither is lost, and neither takes anything until it is.
    await killed(data, url, 'analyze');
    expect(await starts({ database: 'sqlite', data })).toMatch(/Everything was moved/);
    expect(await starts({ database: url, data })).toMatch(/is an unfinished copy/);
    expect(await migrateAll(between(data, url, { data }), silent)).toBe(true);
    expect(await verifyAll(between(data, url, { data }), silent)).toBe(true);
    expect(await starts({ database: url, data })).toBe('starts');

    // Back; held by triggers that let everything through once nobody holds them.
    await killed(url, back, 'create table if not exists kith_moved');
    expect(await starts({ database: 'sqlite', data: back })).toMatch(/is an unfinished copy/);
    // As soon as the database server has noticed.
    await expect.poll(() => starts({ database: url, data })).toBe('starts');
    expect(await migrateAll(between(url, back, { data }), silent)).toBe(true);
    expect(await verifyAll(between(url, back, { data }), silent)).toBe(true);
    expect(await starts({ database: 'sqlite', data: back })).toBe('starts');
  });

  test('[OP12] whatever is other on one side is found, and named by its table', { timeout: 60_000 }, async () => {
    const [url, data, files] = [await database(), copyOf(made), folder()];
    const ends = between(data, url, { data: files });
    await migrateAll(ends, silent);
    const db = new pg.Client({ connectionString: url });
    await db.connect();
    onTestFinished(() => db.end());
    const found = async (): Promise<string[]> => {
      const lines: string[] = [];
      const equal = await verifyAll(ends, (line) => lines.push(line));
      const bad = lines.flatMap((line) => /^✗ (the bytes|\w+)/.exec(line)?.[1] ?? []);
      expect(equal).toBe(bad.length === 0);
      return bad;
    };
    expect(await found()).toEqual([]);
    const blob = fs.readdirSync(path.join(files, 'files'), { recursive: true, withFileTypes: true }).find((entry) => entry.isFile())!;
    const place = path.join(blob.parentPath, blob.name);
    const [first, bytes] = [fs.readFileSync(place), fs.readFileSync(place)];
    bytes[1_000]! ^= 1;
    for (const { does, undo, bad } of [
      { does: `update messages set text = text || ' ' where id = 'id-01234'`, undo: `update messages set text = 'text 1234' where id = 'id-01234'`, bad: 'messages' },
      { does: `update users set bio = 'other' where handle = 'ann'`, undo: `update users set bio = '' where handle = 'ann'`, bad: 'users' },
      { does: `insert into hidden values ('u', 'm', 'c', 1, 1)`, undo: `delete from hidden`, bad: 'hidden' },
      { does: `create temporary table kept as select * from friends; delete from friends`, undo: `insert into friends select * from kept`, bad: 'friends' },
    ]) {
      await db.query(does);
      expect(await found()).toEqual([bad]);
      await db.query(undo);
    }
    fs.writeFileSync(place, bytes);
    expect(await found()).toEqual(['the bytes']);
    fs.rmSync(place);
    expect(await found()).toEqual(['the bytes']);
    fs.writeFileSync(place, first);
    expect(await found()).toEqual([]);
  });

  test('[OP13] what is there already is never written over; only what is other is brought to an unfinished copy, and what is gone goes', { timeout: 60_000 }, async () => {
    const [url, other, data] = [await database(), await database(), copyOf(made)];
    const config = { data };
    const refused = (from: string, to: string): Promise<string> => migrateAll(between(from, to, config), silent).then(String, (error: Error) => error.message);
    await (await openDatabase({ database: other, data })).close();
    expect(await refused(data, other)).toMatch(/There are tables in .* already\. Name an empty database; nothing was changed/);
    expect(await refused(other, data)).toMatch(/There is a database in .* already\. Name an empty folder; nothing was changed/);
    expect(await refused(folder(), url)).toMatch(/There is no database at/);
    await prepareAll(between(data, url, config), silent);
    expect(await refused(copyOf(made), url)).toMatch(/is an unfinished copy of .*, not of/);
    // Two people who have exchanged their user names, a message that is gone, one that is other, one that is new: while nobody looked.
    const db = new DatabaseSync(path.join(data, 'kith.db'));
    db.exec(`update users set handle = 'x' where handle = 'ann'; update users set handle = 'ann' where handle = 'bob'; update users set handle = 'bob' where handle = 'x';
      delete from messages where id = 'id-00007'; update messages set text = 'other' where id = 'id-02000'; update messages set id = 'id-99999' where id = 'id-02001'`);
    db.close();
    const lines: string[] = [];
    expect(await migrateAll(between(data, url, config), (line) => lines.push(line))).toBe(true);
    expect(lines.find((line) => line.startsWith('What changed'))).toBeDefined();
    expect(await verifyAll(between(data, url, config), silent)).toBe(true);
    // Again: it is done, and the target is in use.
    expect(await refused(data, url)).toMatch(/There are tables in/);
  });
});
