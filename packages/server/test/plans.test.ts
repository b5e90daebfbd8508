import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { type ErrorBody, type MethodName, type Params, RequestError, type Result } from '@kith/protocol';
import { CompiledQuery, PostgresQueryCompiler, type RootOperationNode, SqliteQueryCompiler } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Config, configWith } from '../src/config.ts';
import type { Caller, Core } from '../src/core/core.ts';
import { startCore } from '../src/core/local-core.ts';
import type { Database, Query } from '../src/db/db.ts';
import { openDatabase } from '../src/db/open.ts';
import { insertMessage } from '../src/db/sqlite-append.ts';
import { createTestDatabase } from './postgres.ts';
import { numbers } from './rules/rows.ts';
import { type Person, type World, durableMethods, jwtAudience, jwtSecret, password, say, scenarioUrl, scenarios, tellPreview, unique } from './scenarios.ts';

// Every query that any scenario makes is kept as the core hands it to the database, and then the database is asked how
// it would find the rows, among many.

const engines = ['sqlite', 'postgres'] as const;
type Engine = (typeof engines)[number];

interface Kept {
  query: CompiledQuery;
  /** The requests that made it. */
  by: Set<string>;
}

/** How a database would answer a query. */
interface Plan {
  steps: { table: string; index: string | undefined; /** All rows of the table, or all of an index. */ whole: boolean }[];
  sorts: boolean;
  text: string;
}

/** No program calls this port, so nothing leaves the machine. */
const deadPushService = 'http://127.0.0.1:1';

/** These alone may read all of a table. */
const mayReadWhole: { table: string; by: string[]; because: string }[] = [
  { table: 'invites', by: ['start'], because: 'operators make them one by one, and what is over goes with the next' },
  { table: 'eras', by: ['hello', 'stream.heads', 'stream.changes'], because: 'one comes with each standby that takes over' },
  { table: 'search', by: ['stream.changes'], because: 'it is the question itself: as many rows as a version has bits' },
];

describe.each(engines)('plans on %s', (engine) => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(engine);
    for (const method of durableMethods) await scenarios[method]!(stage.world);
    await readEverything(stage);
    await stage.fill();
  }, 120_000);
  afterAll(() => stage.close());

  test('[DB90] no request reads a whole table', async () => {
    const kept = stage.kept();
    expect(kept.length).toBeGreaterThan(100);
    const bad: string[] = [];
    for (const { query, by } of kept) {
      const plan = await stage.plan(query);
      for (const { table, whole } of plan.steps) {
        const excused = mayReadWhole.some((one) => one.table === table && [...by].every((method) => one.by.includes(method)));
        if (whole && !excused) bad.push(`${[...by].join(', ')} reads all of ${table}:\n${query.sql}\n${plan.text}`);
      }
    }
    expect(bad).toEqual([]);
  });

  // The queries of every message sent, every device that comes back and every request: exactly so, and without sorting.
  const hot: { what: string; by: string; sql: RegExp; table: string; index: string }[] = [
    { what: 'the message of a client id', by: 'message.send', sql: /from "messages" where "sender_id" = .* and "client_id" = /, table: 'messages', index: 'messages_client_id' },
    { what: 'the page of history before a place', by: 'message.history', sql: /from "messages" where .*"seq" < .* order by "seq" desc/, table: 'messages', index: 'messages_seq' },
    { what: 'the page of history after a place', by: 'message.history', sql: /from "messages" where .*"seq" > .* order by "seq" limit/, table: 'messages', index: 'messages_seq' },
    { what: 'the place of a time in the history', by: 'message.history', sql: /select "at" from "messages" where .*"seq" = /, table: 'messages', index: 'messages_seq' },
    {
      what: 'the links of a conversation',
      by: 'message.media',
      sql: /from "messages" where .*"link_url" is not null order by "seq" (?:desc|asc)/,
      table: 'messages',
      index: 'messages_conversation_link',
    },
    {
      what: 'the files of a conversation',
      by: 'message.media',
      sql: /from "messages" where .*"shared" = .* order by "seq" (?:desc|asc)/,
      table: 'messages',
      index: 'messages_shared',
    },
    { what: 'the latest messages of a snapshot', by: 'stream.snapshot', sql: /from "messages" .*order by "seq" desc/, table: 'messages', index: 'messages_seq' },
    {
      what: 'messages changed since a version',
      by: 'stream.changes',
      sql: /from "messages" .*"version" > .*order by "version"/,
      table: 'messages',
      index: 'messages_changed',
    },
    // PostgreSQL does not show what is asked in each step of such a search.
    ...(engine === 'sqlite'
      ? [{ what: 'the place in a conversation at a version', by: 'stream.changes', sql: /with recursive search/, table: 'messages', index: 'messages_seq' }]
      : []),
    { what: 'new messages since a version', by: 'stream.changes', sql: /from "messages" .*"seq" > .*"born" is null order by "seq"/, table: 'messages', index: 'messages_seq' },
    { what: 'members changed since a version', by: 'stream.changes', sql: /from "members" .*"version" > .*order by/, table: 'members', index: 'members_conversation_version' },
    { what: 'receipts changed since a version', by: 'stream.changes', sql: /from "receipts" .*"version" > .*order by/, table: 'receipts', index: 'receipts_conversation_version' },
    { what: 'the inbox changed since a version', by: 'stream.changes', sql: /from "inbox" .*"version" > .*order by/, table: 'inbox', index: 'inbox_user_version' },
    { what: 'friends changed since a version', by: 'stream.changes', sql: /from "friends" .*"version" > .*order by/, table: 'friends', index: 'friends_user_version' },
    { what: 'sessions changed since a version', by: 'stream.changes', sql: /from "sessions" .*"version" > .*order by/, table: 'sessions', index: 'sessions_user_version' },
    { what: 'the heads of many streams', by: 'hello', sql: /from "streams" where "id" in /, table: 'streams', index: 'streams_pkey' },
    { what: 'the conversations of a person', by: 'hello', sql: /select "conversation_id" from "inbox" where "user_id" = /, table: 'inbox', index: 'inbox_(pk|user_version)' },
    { what: 'the topics of a connection', by: 'topics', sql: /from "inbox"/, table: 'inbox', index: 'inbox_(pk|user_version)' },
    { what: 'membership', by: 'message.send', sql: /from "members" inner join "conversations"/, table: 'members', index: 'members_pk' },
    { what: 'the stream that is locked', by: 'message.send', sql: /^update "streams" set "version" = "version" \+/, table: 'streams', index: 'streams_pkey' },
    { what: 'whether a message has the file', by: 'download', sql: /from "messages" inner join "members".*"file_id" = /, table: 'messages', index: 'messages_file' },
    {
      what: 'whether the link of a message has the picture',
      by: 'download',
      sql: /from "messages" inner join "members".*"link_file_id" = /,
      table: 'messages',
      index: 'messages_link_file',
    },
    { what: 'files whose time is over', by: 'sweep', sql: /from "files" where "expires_at" <= .* order by/, table: 'files', index: 'files_expires' },
    { what: 'the session of a token', by: 'authenticate', sql: /from "sessions" where "token_hash" = /, table: 'sessions', index: 'sessions_token_hash_key' },
    { what: 'sessions that nobody uses', by: 'sweep', sql: /from "sessions" where "ended_at" is null and "used_at" </, table: 'sessions', index: 'sessions_used' },
    { what: 'sessions that are old', by: 'sweep', sql: /from "sessions" where "ended_at" is null and "created_at" </, table: 'sessions', index: 'sessions_created' },
    { what: 'the account of a handle', by: 'auth.login', sql: /from "users" where "handle" = /, table: 'users', index: 'users_handle_key' },
  ];
  test.each(hot)('[DB91] $what is found by its index', async ({ by, sql, table, index }) => {
    const queries = stage.kept().filter((one) => one.by.has(by) && sql.test(one.query.sql));
    expect(queries.length).toBeGreaterThan(0);
    for (const { query } of queries) {
      const { steps, sorts, text } = await stage.plan(query);
      expect({ sql: query.sql, text, sorts }).toEqual({ sql: query.sql, text, sorts: false });
      const step = steps.find((one) => one.table === table);
      expect({ text, index: step?.index, whole: step?.whole }).toEqual({ text, index: expect.stringMatching(indexName(engine, index)), whole: false });
    }
  });
});

/** SQLite gives the indexes of keys names of its own. */
function indexName(engine: Engine, name: string): RegExp {
  const [table] = name.split('_') as [string];
  const ofKey = /_pkey|_pk|_key|^messages_seq|^messages_client_id/.test(name);
  return new RegExp(engine === 'sqlite' && ofKey ? `^(?:sqlite_autoindex_${table}_\\d|${name})$` : `^(?:${name})$`);
}

/** What scenarios of changes do not ask. */
async function readEverything(stage: Stage): Promise<void> {
  const { world, core } = stage;
  const [anna, bert] = [await world.register('anna'), await world.register('bert')];
  await anna.ask('friend.request', { userId: bert.id });
  await bert.ask('friend.accept', { userId: anna.id });
  const { conversation } = await anna.ask('conversation.create', { title: 'Club', memberIds: [bert.id] });
  const conversationId = conversation.id;
  const stream = `conversation:${conversationId}` as const;
  const own = `user:${bert.id}` as const;
  for (let at = 0; at < 5; at += 1) await say(anna, conversationId, `text ${at}`);
  const twice = { conversationId, clientId: unique('client-id'), type: 'text', text: 'twice' } as const;
  await anna.ask('message.send', twice);
  await anna.ask('message.send', twice);
  await bert.ask('hello', {});
  await bert.ask('stream.heads', { streams: [stream, own] });
  for (const one of [stream, own]) {
    await bert.ask('stream.snapshot', { stream: one });
    await bert.ask('stream.changes', { stream: one, since: 1 });
  }
  await bert.ask('message.history', { conversationId });
  await bert.ask('message.history', { conversationId, before: 4 });
  await bert.ask('message.history', { conversationId, after: 2 });
  await bert.ask('message.history', { conversationId, around: 3 });
  await bert.ask('message.history', { conversationId, at: 0 });
  await bert.ask('message.media', { conversationId, kind: 'links' });
  await bert.ask('message.media', { conversationId, kind: 'media', before: 4 });
  await bert.ask('message.media', { conversationId, kind: 'media', after: 4 });
  await bert.ask('member.list', { conversationId });
  await bert.ask('member.list', { conversationId, after: anna.id, limit: 2 });
  await bert.ask('member.list', { conversationId, userIds: [anna.id] });
  await bert.ask('session.list', {});
  await bert.ask('user.get', { userId: anna.id });
  await bert.ask('user.search', { query: anna.handle!.slice(0, 3) });
  await bert.ask('presence.watch', { userIds: [anna.id] });
  const { rooms } = await bert.ask('room.list', {});
  await bert.ask('room.join', { conversationId: rooms[0]!.conversation.id });
  await bert.ask('room.online', { conversationId: rooms[0]!.conversation.id });
  await bert.ask('typing.set', { conversationId });
  await readPushes(world, anna, bert, conversationId);
  await readFiles(stage, anna, bert, conversationId);
  await (await world.operator()).ask('admin.invite', {});
  await asking.run('authenticate', () => core.authenticate(bert.token));
  await asking.run('topics', () => core.topics({ userId: bert.id, sessionId: bert.sessionId }));
  await asking.run('heads', () => core.heads([stream]));
  await asking.run('sweep', () => core.sweepSessions());
}

/** What is asked when a file is downloaded, given up, or swept. */
async function readFiles({ world, core }: Stage, anna: Person, bert: Person, conversationId: string): Promise<void> {
  const [sent, unsent] = [await world.upload(anna, 'sent.txt'), await world.upload(anna, 'unsent.txt')];
  const { message } = await anna.ask('message.send', { conversationId, clientId: unique('client-id'), type: 'file', text: '', fileId: sent.id });
  await asking.run('download', () => core.findFile({ userId: bert.id, sessionId: bert.sessionId }, sent.id));
  await asking.run('download', () => core.findFile({ userId: bert.id, sessionId: bert.sessionId }, unsent.id));
  await anna.ask('message.delete', { messageId: message.id });
  await asking.run('upload', () => core.dropUpload({ userId: anna.id, sessionId: anna.sessionId }, unsent.id));
  const unused = await asking.run('sweep', () => core.unusedFiles());
  await asking.run('sweep', () => core.forgetFiles(unused));
}

/** What is asked when a device is told of a message, and when that is taken back. */
async function readPushes(world: World, anna: Person, bert: Person, conversationId: string): Promise<void> {
  const p256dh = 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4';
  const subscription = { endpoint: `${deadPushService}/device`, p256dh, auth: 'BTBZMqHH6r4Tts7J_aSIgg' };
  await bert.ask('push.subscribe', subscription);
  await bert.ask('settings.update', { pushContent: true });
  const { message } = await say(anna, conversationId);
  const lastAt = async (): Promise<number> => (await bert.ask('push.check', {})).last?.at ?? 0;
  await vi.waitUntil(async () => (await lastAt()) > 0, { timeout: 20_000 });
  const toldAt = await lastAt();
  await (await world.device(bert)).ask('read.mark', { conversationId, seq: message.seq });
  await vi.waitUntil(async () => (await lastAt()) > toldAt, { timeout: 20_000 });
  await bert.ask('push.test', {});
  await bert.ask('push.unsubscribe', { endpoint: subscription.endpoint });
}

// ── The stage ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** The method whose queries are made. */
const asking = new AsyncLocalStorage<string>();

interface Stage {
  core: Core;
  world: World;
  /** Every query made so far, once. */
  kept(): Kept[];
  /** So many rows that their number tells, beside those of the scenarios. */
  fill(): Promise<void>;
  plan(query: CompiledQuery): Promise<Plan>;
  close(): Promise<void>;
}

async function openStage(engine: Engine): Promise<Stage> {
  const place = engine === 'sqlite' ? fs.mkdtempSync(path.join(os.tmpdir(), 'kith-plans-')) : undefined;
  const database = place === undefined ? await createTestDatabase() : undefined;
  const config = configWith({
    data: place,
    database: database?.url ?? 'sqlite',
    directory: 'prefix',
    rateLimits: false,
    passwordMemory: 64,
    passwordPasses: 1,
    registrationsPerHour: 1_000_000,
    pushHosts: deadPushService,
    pushIntervalMs: 0,
    publicUrl: scenarioUrl,
    jwtAlg: 'HS256',
    jwtKey: jwtSecret,
    jwtAudience,
  });
  const kept = new Map<string, Kept>();
  const compiler = engine === 'sqlite' ? new SqliteQueryCompiler() : new PostgresQueryCompiler();
  const keep = (node: RootOperationNode, by: string): void => {
    const query = compiler.compileQuery(node, { queryId: '' });
    const known = kept.get(query.sql) ?? { query, by: new Set() };
    known.by.add(by);
    kept.set(query.sql, known);
  };
  // Not Kysely's; the others of a message without its work are those of the work.
  const columnsOfMessage = ['id', 'conversation_id', 'sender_id', 'client_id', 'type', 'text', 'sent_hash', 'version', 'seq', 'at'];
  const insert = insertMessage(columnsOfMessage);
  if (engine === 'sqlite') kept.set(insert, { query: CompiledQuery.raw(insert, columnsOfMessage), by: new Set(['message.send']) });
  const db = watched(await openDatabase(config), keep);
  const core = await startCore({
    config,
    db,
    now: Date.now,
    onFault: ({ error }) => {
      throw error;
    },
  });
  const beside = place === undefined ? await openBesidePostgres(config) : openBesideSqlite(config);
  return {
    core,
    world: worldOn(core),
    kept: () => [...kept.values()],
    plan: (query) => beside.plan(query),
    async fill() {
      for (const [table, columns, count, values] of manyRows) await beside.run(`insert into ${table} (${columns}) ${numbers(count)} select ${values} from n`);
      await beside.run('analyze');
    },
    async close() {
      await beside.close();
      await core.close();
      await database?.drop();
      if (place !== undefined) fs.rmSync(place, { recursive: true });
    },
  };
}

const manyRows: [table: string, columns: string, count: number, values: string][] = [
  ['streams', 'id, version', 8_000, `'stream ' || i, i`],
  ['users', 'id, version, handle, name, external_id, created_at', 4_000, `'user ' || i, 1, 'handle' || i, 'name', 'external ' || i, i`],
  ['sessions', 'id, user_id, version, token_hash, created_at, used_at', 8_000, `'session ' || i, 'user ' || (i % 4000), i, 'hash ' || i, i, i`],
  ['friends', 'user_id, friend_id, version, state, since', 8_000, `'user ' || (i % 400), 'user ' || i, i, 'friends', i`],
  ['conversations', 'id, version, type, title, created_by, created_at, direct_key', 4_000, `'conversation ' || i, 1, 'direct', null, 'user ' || (i % 400), i, 'direct ' || i`],
  ['members', 'conversation_id, user_id, version, role, state, joined_at', 20_000, `'conversation ' || (i % 400), 'user ' || (i / 5), i, 'member', 'joined', i`],
  ['inbox', 'user_id, conversation_id, version, joined', 20_000, `'user ' || (i / 5), 'conversation ' || (i % 400), i, 1`],
  ['receipts', 'conversation_id, user_id, version', 10_000, `'conversation ' || (i % 400), 'user ' || (i / 5), i`],
  [
    'messages',
    'id, conversation_id, seq, version, sender_id, client_id, type, text, at, file_id',
    30_000,
    `'message ' || i, 'conversation ' || (i % 40), i, i, 'user ' || (i % 400), 'client ' || i, 'text', 'text', i, case when i % 4 = 0 then 'file ' || i end`,
  ],
  ['push_subscriptions', 'session_id, user_id, endpoint, p256dh, auth, created_at', 8_000, `'session ' || i, 'user ' || (i % 4000), 'endpoint ' || i, 'key', 'auth', i`],
  ['push_told', 'session_id, conversation_id, user_id, seq', 20_000, `'session ' || i, 'conversation ' || (i % 400), 'user ' || (i % 4000), i`],
  [
    'files',
    'id, owner_id, client_id, name, size, type, state, created_at, expires_at',
    8_000,
    `'file ' || i, 'user ' || (i % 400), 'client ' || i, 'name', 1, 'a/b', 'committed', i, i`,
  ],
  ['file_usage', 'owner_id, bytes', 4_000, `'user ' || i, 1`],
  ['invites', 'code_hash, uses_left, expires_at', 2_000, `'hash ' || i, 1, 4102444800000 + i`],
  ['online', 'node_id, user_id', 4_000, `'node ' || (i % 4), 'user ' || i`],
  ['presence', 'user_id, nodes', 4_000, `'user ' || i, 1`],
  ['tries', 'key, points, waits_until, expires_at', 4_000, `'key ' || i, 1, 0, 4102444800000 + i`],
  ['spent_tokens', 'hash, expires_at', 2_000, `'hash ' || i, 4102444800000 + i`],
];

/** The same database, with an ear at it. */
function watched(db: Database, keep: (node: RootOperationNode, by: string) => void): Database {
  const listen = <T>(work: (q: Query) => Promise<T>): ((q: Query) => Promise<T>) => {
    // Asked here, not at the query: writes that share a commit run in the context of the first of them.
    const by = asking.getStore() ?? 'start';
    return (q) =>
      work(
        q.withPlugin({
          transformQuery({ node }) {
            keep(node, by);
            return node;
          },
          transformResult: async ({ result }) => result,
        }),
      );
  };
  return {
    read: (work) => db.read(listen(work)),
    write: (keys, work) => db.write(keys, listen(work)),
    scrub: () => db.scrub(),
    refuseWaiting: () => db.refuseWaiting(),
    close: () => db.close(),
  };
}

/** People who ask the core itself. */
function worldOn(core: Core): World {
  const askAs = async <M extends MethodName>(caller: Caller, method: M, params: Params<M>): Promise<Result<M>> => {
    const { text } = await asking.run(method, () => core.handle(caller, JSON.stringify({ id: '1', method, params })));
    const { result, error } = JSON.parse(text) as { result: Result<M>; error?: ErrorBody };
    if (error) throw new RequestError(error.code, { message: `${method}: ${error.message}`, ...(error.ticket !== undefined && { ticket: error.ticket }) });
    return result;
  };
  const ask: World['ask'] = (method, params) => askAs({ ip: '127.0.0.1' }, method, params);
  const person = ({ user, token, sessionId }: Result<'auth.login'>): Person => {
    const caller: Caller = { ip: '127.0.0.1', identity: { userId: user.id, sessionId } };
    return { id: user.id, handle: user.handle, sessionId, token: token!, ask: (method, params) => askAs(caller, method, params) };
  };
  let operator: Promise<Person> | undefined;
  return {
    ask,
    register: async (name) => person(await ask('auth.register', { handle: unique(name), password, name })),
    guest: async (name) => person(await ask('auth.guest', { name })),
    exchange: async (jwt) => person(await ask('auth.exchange', { jwt })),
    enter: async (signedIn) => person(signedIn),
    device: async ({ handle }) => person(await ask('auth.login', { handle: handle!, password })),
    async upload({ id, sessionId, ask: asks }, name, sound) {
      const sha256 = '0'.repeat(64);
      const { fileId } = await asks('file.reserve', { name, size: 1, clientId: unique('client-id') });
      await asking.run('upload', () => core.findUpload({ userId: id, sessionId }, fileId));
      await asking.run('upload', () => core.fileStored(fileId, { sha256, type: sound && 'audio/ogg' }));
      return (await asks('file.commit', { fileId, sha256, ...sound })).file;
    },
    preview: (message) => asking.run('preview', () => tellPreview(core, message)),
    operator: () =>
      (operator ??= core
        .setupLink()
        .then(async (invite) => person(await ask('auth.register', { handle: unique('boss'), password, name: 'boss', ...(invite !== undefined && { invite }) })))),
  };
}

interface Beside {
  run(sql: string): Promise<unknown>;
  plan(query: CompiledQuery): Promise<Plan>;
  close(): Promise<unknown>;
}

function openBesideSqlite({ data }: Config): Beside {
  const file = new DatabaseSync(path.join(data, 'kith.db'), { timeout: 5_000 });
  return {
    // Nothing here counts rows: ours is never analysed either.
    run: async (sql) => sql === 'analyze' || file.exec(sql),
    async plan({ sql, parameters }) {
      const rows = file.prepare(`explain query plan ${sql}`).all(...(parameters as SQLInputValue[])) as { detail: string }[];
      const details = rows.map((row) => row.detail);
      const steps = details.flatMap((detail): Plan['steps'] => {
        const [, how, table, index] = /^(SCAN|SEARCH) (\S+)(?: USING (?:COVERING )?INDEX (\S+)| USING (INTEGER PRIMARY KEY)| VIRTUAL TABLE INDEX (\S+))?/.exec(detail) ?? [];
        if (!how || table === 'CONSTANT' || detail.endsWith('VALUES CLAUSE')) return [];
        return [{ table: table!, index, whole: (how === 'SCAN' && !detail.includes('VIRTUAL TABLE')) || detail.includes('AUTOMATIC') }];
      });
      return { steps, sorts: details.some((detail) => detail.includes('TEMP B-TREE')), text: details.join('\n') };
    },
    close: async () => file.close(),
  };
}

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  Plans?: PlanNode[];
}

async function openBesidePostgres({ database }: Config): Promise<Beside> {
  const client = new pg.Client(database);
  await client.connect();
  // A table is read whole, or sorted, only where there is no other way, not because little of it is wanted.
  for (const way of ['seqscan', 'bitmapscan', 'sort', 'incremental_sort']) await client.query(`set enable_${way} = off`);
  const { rows: partial } = await client.query<{ name: string }>('select indexrelid::regclass::text as name from pg_index where indpred is not null');
  const isPartial = (index: string): boolean => partial.some(({ name }) => name === index);
  return {
    run: (sql) => client.query(sql),
    async plan({ sql, parameters }) {
      const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(`explain (format json) ${sql}`, [...parameters]);
      const nodes: { node: PlanNode; table: string | undefined }[] = [];
      const walk = (node: PlanNode, above: string | undefined): void => {
        const table = node['Relation Name'] ?? above;
        nodes.push({ node, table });
        for (const below of node.Plans ?? []) walk(below, table);
      };
      const plan = rows[0]!['QUERY PLAN'][0].Plan;
      walk(plan, undefined);
      const steps = nodes.flatMap(({ node, table = '' }): Plan['steps'] => {
        const index = node['Index Name'];
        if (index === undefined) return node['Node Type'] === 'Seq Scan' ? [{ table, index, whole: true }] : [];
        return [{ table, index, whole: node['Index Cond'] === undefined && !isPartial(index) }];
      });
      return { steps, sorts: nodes.some(({ node }) => node['Node Type'].includes('Sort')), text: JSON.stringify(plan, undefined, 1) };
    },
    close: () => client.end(),
  };
}
