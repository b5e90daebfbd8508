import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type MethodName, type Params, type Result } from '@kith/protocol';
import { SqliteQueryCompiler, sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { configWith } from '../src/config.ts';
import type { Core, Identity } from '../src/core/core.ts';
import { startCore } from '../src/core/local-core.ts';
import type { Database, Query } from '../src/db/db.ts';
import { openDatabase } from '../src/db/open.ts';

// What each transaction of the path of a message has to do with: the rows that are others after it than before, and the tables
// that it asks. Rows that belong to one stream are on one machine, however many machines a database has; docs/scale.md.

/** To which stream a row of each table belongs. */
const streamOf: Record<string, (row: Record<string, unknown>) => string> = {
  streams: ({ id }) => String(id),
  ...Object.fromEntries(['members', 'receipts', 'messages'].map((table) => [table, (row: Record<string, unknown>) => `conversation:${String(row['conversation_id'])}`])),
  conversations: ({ id }) => `conversation:${String(id)}`,
  users: ({ id }) => `user:${String(id)}`,
  ...Object.fromEntries(
    ['sessions', 'friends', 'inbox', 'settings', 'drafts', 'hidden', 'heard', 'push_subscriptions', 'push_told'].map((table) => [
      table,
      (row: Record<string, unknown>) => `user:${String(row['user_id'])}`,
    ]),
  ),
  files: ({ owner_id }) => `user:${String(owner_id)}`,
};
/** These belong to a conversation; a question to any other table may be one to another machine. */
const ofConversation = new Set(['streams', 'conversations', 'members', 'receipts', 'messages']);

interface Transaction {
  /** Streams that were locked for it. */
  locked: string[];
  /** Streams whose rows are others now. */
  written: string[];
  /** Tables that it asked and that do not belong to a conversation. */
  asked: string[];
}

/** The same database, with a look at every transaction that writes. */
function watched(db: Database, seen: (transaction: Transaction) => void): Database {
  const compiler = new SqliteQueryCompiler();
  const all = async (q: Query): Promise<Map<string, string>> => {
    const rows = new Map<string, string>();
    const tables = await sql<{ name: string }>`select name from sqlite_master where type = 'table' and name not like 'sqlite%' and name not like 'kysely%'`.execute(q);
    for (const { name } of tables.rows) {
      const found = await sql<Record<string, unknown>>`select * from ${sql.table(name)}`.execute(q);
      for (const row of found.rows) rows.set(JSON.stringify([name, row]), (streamOf[name] ?? (() => name))(row));
    }
    return rows;
  };
  return {
    read: (work) => db.read(work),
    write: (keys, work) =>
      db.write(keys, async (q) => {
        const before = await all(q);
        const asked = new Set<string>();
        const listening = q.withPlugin({
          transformQuery({ node }) {
            const text = compiler.compileQuery(node, { queryId: '' }).sql;
            for (const [, table] of text.matchAll(/(?:from|join|update|into) "(\w+)"/g)) if (!ofConversation.has(table!)) asked.add(table!);
            return node;
          },
          transformResult: async ({ result }) => result,
        });
        const value = await work(listening);
        const after = await all(q);
        const changed = [...[...before].filter(([row]) => !after.has(row)), ...[...after].filter(([row]) => !before.has(row))];
        // The core looks every second whether it may write at all, by writing nothing.
        if (keys.length + asked.size + changed.length === 0) return value;
        seen({ locked: [...keys].filter((key) => key.includes(':')).sort(), written: [...new Set(changed.map(([, stream]) => stream))].sort(), asked: [...asked].sort() });
        return value;
      }),
    scrub: () => db.scrub(),
    refuseWaiting: () => db.refuseWaiting(),
    close: () => db.close(),
  };
}

let core: Core;
let data: string;
let seen: Transaction[] = [];
beforeAll(async () => {
  data = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-one-stream-'));
  const config = configWith({ data, rateLimits: false, passwordMemory: 64, passwordPasses: 1, registrationsPerHour: 1_000_000 });
  const db = watched(await openDatabase(config), (transaction) => seen.push(transaction));
  const onFault = ({ error }: { error: unknown }): void => {
    throw error;
  };
  core = await startCore({ config, db, now: Date.now, onFault });
});
afterAll(async () => {
  await core.close();
  fs.rmSync(data, { recursive: true });
});

async function ask<M extends MethodName>(method: M, params: Params<M>, identity?: Identity): Promise<Result<M>> {
  const { text } = await core.handle({ ip: '::1', ...(identity && { identity }) }, JSON.stringify({ id: '1', method, params }));
  const { result, error } = JSON.parse(text) as { result: Result<M>; error?: { code: string; message?: string } };
  if (error) throw new Error(`${method}: ${error.code} ${error.message ?? ''}`);
  return result;
}

async function person(handle: string, invite?: string): Promise<Identity> {
  const { user, sessionId } = await ask('auth.register', { handle, password: 'correct horse', name: handle, ...(invite !== undefined && { invite }) });
  return { userId: user.id, sessionId };
}

/** What the transactions were that a request made. */
async function transactionsOf<T>(work: () => Promise<T>): Promise<{ result: T; transactions: Transaction[] }> {
  seen = [];
  const result = await work();
  return { result, transactions: seen };
}

test('[SC1] every transaction of the path of a message locks and writes one stream, and asks other tables only where it says so', async () => {
  const [ann, bob] = [await person('ann', await core.setupLink()), await person('bob')];
  await ask('friend.request', { userId: bob.userId }, ann);
  await ask('friend.accept', { userId: ann.userId }, bob);
  const direct = (await ask('conversation.direct', { userId: bob.userId }, ann)).conversation.id;
  const group = (await ask('conversation.create', { clientId: randomUUID(), title: 'Plans', memberIds: [bob.userId] }, ann)).conversation.id;
  const room = (await ask('room.create', { title: 'Room' }, ann)).conversation.id;
  await ask('room.join', { conversationId: room }, bob);

  // Whether it was taken back before it came; whether a reader has let the writer in, and tells at all; between two, whether one has blocked the other (the query is the same in groups, where it asks
  // for nobody); and an operator has rights in rooms.
  const beyond: Record<string, { send: string[]; edit: string[]; recall: string[]; delivered: string[] }> = {
    [direct]: { send: ['friends', 'users', 'withdrawn'], edit: ['friends', 'users'], recall: [], delivered: ['friends', 'inbox', 'settings'] },
    [group]: { send: ['friends', 'users', 'withdrawn'], edit: [], recall: [], delivered: ['inbox', 'settings'] },
    [room]: { send: ['friends', 'users', 'withdrawn'], edit: [], recall: ['users'], delivered: ['inbox', 'settings'] },
  };
  for (const [conversationId, asks] of Object.entries(beyond)) {
    // In the room somebody writes who does not run it.
    const [author, reader] = conversationId === room ? [bob, ann] : [ann, bob];
    const stream = `conversation:${conversationId}`;
    const one = (asked: string[]): Transaction[] => [{ locked: [stream], written: [stream], asked }];
    const of = async (method: MethodName, params: Params<MethodName>, who = author): Promise<Transaction[]> => (await transactionsOf(() => ask(method, params, who))).transactions;
    const sent = await transactionsOf(() => ask('message.send', { conversationId, clientId: randomUUID(), type: 'text', text: 'at https://example.org/' }, author));
    expect(sent.transactions).toEqual(one(asks.send));
    const { id: messageId, seq } = sent.result.message;
    expect(await of('receipt.delivered', { conversationId, seq }, reader)).toEqual(one(asks.delivered));
    expect(await of('message.edit', { messageId, text: 'no, at https://example.org/' })).toEqual(one(asks.edit));
    expect(await of('message.unlink', { messageId })).toEqual(one([]));
    expect(await of('message.delete', { messageId })).toEqual(one(asks.recall));
  }
});

test('[SC2] what belongs to two streams is a transaction of these two: a file that is sent, and how far somebody has read', async () => {
  const [cara, dan] = [await person('cara'), await person('dan')];
  const conversationId = (await ask('conversation.create', { clientId: randomUUID(), title: 'Files', memberIds: [] }, cara)).conversation.id;
  const [conversation, own] = [`conversation:${conversationId}`, `user:${cara.userId}`];
  const { fileId } = await ask('file.reserve', { name: 'a.txt', size: 1 }, cara);
  await core.fileStored(fileId, { sha256: '0'.repeat(64), type: undefined });
  await ask('file.commit', { fileId, sha256: '0'.repeat(64) }, cara);
  const sent = await transactionsOf(() => ask('message.send', { conversationId, clientId: randomUUID(), type: 'file', text: '', fileId }, cara));
  expect(sent.transactions).toEqual([{ locked: [conversation], written: [conversation, own], asked: ['files', 'friends', 'users', 'withdrawn'] }]);
  const read = await transactionsOf(() => ask('read.mark', { conversationId, seq: sent.result.message.seq }, cara));
  expect(read.transactions[0]).toMatchObject({ locked: [conversation, own], written: [conversation, own] });
  // A person who is added is two streams, however many are in it.
  await ask('friend.request', { userId: dan.userId }, cara);
  await ask('friend.accept', { userId: cara.userId }, dan);
  const added = await transactionsOf(() => ask('member.add', { conversationId, userIds: [dan.userId] }, cara));
  expect(added.transactions[0]!.locked).toEqual([conversation, `user:${dan.userId}`]);
});
