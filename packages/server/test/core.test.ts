import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as loopTurn } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { type Bound, type Entity, type MethodName, type Params, type Push, type ErrorCode, type Result, type RequestError, entityKey, limits } from '@kith/protocol';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Config, configWith } from '../src/config.ts';
import type { Answer, Caller, Core, Publication } from '../src/core/core.ts';
import { type Fault, startCore } from '../src/core/local-core.ts';
import { openCore } from '../src/core/open.ts';
import type { Database } from '../src/db/db.ts';
import { openDatabase } from '../src/db/open.ts';
import { from, randomFrom, runScript } from './crash-child.ts';
import { createTestDatabase } from './postgres.ts';

// The seam between the gateway and the core, without a gateway: frames go in, answers and publications come out.

const root = process.getuid?.() === 0;
const windows = process.platform === 'win32';
const beside = ['worker', 'direct'] as const;

function folder(): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-core-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const configIn = (data: string, part: Partial<Config> = {}): Config =>
  configWith({ data, database: 'sqlite', rateLimits: false, diskReserve: 0, passwordMemory: 64, passwordPasses: 1, registrationsPerHour: 1_000_000, logLevel: 'silent', ...part });

/** What came out of a core, in the order in which it came. */
type Event = { publications: Publication[] } | { answer: Answer } | { fault: Fault };

class Host {
  readonly core: Core;
  readonly events: Event[];
  readonly caller: Caller = { ip: '127.0.0.1', device: 'a test' };

  private constructor(core: Core, events: Event[]) {
    this.core = core;
    this.events = events;
    core.onPublish((publications) => events.push({ publications }));
  }

  static async open(config: Config, engine: 'worker' | 'direct', onLimit: (limit: Bound) => void = () => {}): Promise<Host> {
    const events: Event[] = [];
    const core = await openCore({ config, engine, onFault: (fault) => events.push({ fault }), onLimit });
    return new Host(core, events);
  }

  /** On a database with something between. */
  static async over(config: Config, between: (db: Database) => Database): Promise<Host> {
    const events: Event[] = [];
    const core = await startCore({ config, db: between(await openDatabase(config)), now: Date.now, onFault: (fault) => events.push({ fault }) });
    return new Host(core, events);
  }

  async send(who: Caller | undefined, frame: string): Promise<Answer> {
    const answer = await this.core.handle(who ?? this.caller, frame);
    this.events.push({ answer });
    return answer;
  }

  ask(who: Caller | undefined, method: string, params: unknown = {}, id = 'r'): Promise<Answer> {
    return this.send(who, JSON.stringify({ id, method, params }));
  }

  /** @throws when the answer is an error */
  async result<M extends MethodName>(who: Caller | undefined, method: M, params: Params<M>): Promise<Result<M>> {
    const { text, error } = await this.ask(who, method, params);
    if (error) throw new Error(text);
    return (JSON.parse(text) as { result: Result<M> }).result;
  }

  async guest(name: string): Promise<Caller & { id: string; token: string }> {
    const { user, sessionId, token } = await this.result(undefined, 'auth.guest', { name });
    return { ip: '127.0.0.1', identity: { userId: user.id, sessionId }, id: user.id, token: token! };
  }

  get publications(): Publication[] {
    return this.events.flatMap((event) => ('publications' in event ? event.publications : []));
  }

  /** What was pushed, in the order of the commits. */
  get pushed(): Entity[] {
    return this.publications.flatMap(entitiesOf);
  }
}

function entitiesOf(publication: Publication): Entity[] {
  return publication.kind === 'push' ? (JSON.parse(publication.frame) as Push).entities : [];
}

async function opened(config: Config, engine: 'worker' | 'direct'): Promise<Host> {
  const host = await Host.open(config, engine);
  onTestFinished(() => host.core.close());
  return host;
}

test.each(['worker', 'direct', 'postgres'] as const)(
  '[ST4] who asks for changes or takes snapshots while others write misses nothing up to the version told, %s',
  async (where) => {
    const database = where === 'postgres' ? await createTestDatabase() : undefined;
    onTestFinished(async () => database?.drop());
    const host = await opened(configIn(folder(), database && { database: database.url }), where === 'worker' ? 'worker' : 'direct');
    const people = await Promise.all(['Anna', 'Bert', 'Cleo', 'Dora'].map((name) => host.guest(name)));
    const { conversation } = await host.result(people[0], 'conversation.create', { title: 'Club', memberIds: people.slice(1).map((person) => person.id) });
    const stream = `conversation:${conversation.id}` as const;
    const snapshots: Result<'stream.snapshot'>[] = [];
    const polled = new Map<string, Entity>();
    let version = 1;
    const poll = async (): Promise<void> => {
      const changes = await host.result(people[0], 'stream.changes', { stream, since: version });
      if ('tooOld' in changes) throw new Error('too old');
      for (const entity of changes.entities) polled.set(entityKey(entity), entity);
      ({ version } = changes);
    };
    let sent = 0;
    const writing = Promise.all(
      people.map(async (person, who) => {
        // As long as it takes until enough was seen meanwhile.
        for (let at = 0; at < 40 || snapshots.length <= 10; at += 1, sent += 1)
          await host.result(person, 'message.send', { conversationId: conversation.id, clientId: `message-${who}-${at}`, type: 'text', text: 'hello' });
      }),
    );
    const over = new AbortController();
    void writing.finally(() => over.abort());
    while (!over.signal.aborted) {
      await poll();
      snapshots.push(await host.result(people[1], 'stream.snapshot', { stream }));
    }
    await writing;
    await poll();
    const truth = host.pushed.filter((entity) => entity.kind === 'message' && entity.type === 'text');
    expect(truth.length).toBe(sent);
    expect([...polled.values()].filter((entity) => entity.kind === 'message').sort((a, b) => a.version - b.version)).toEqual(truth);
    expect(snapshots.length).toBeGreaterThan(10);
    for (const snapshot of snapshots) {
      const due = truth.filter((entity) => entity.version <= snapshot.version).slice(-29);
      expect(snapshot.entities.filter((entity) => entity.kind === 'message' && entity.type === 'text').slice(-29)).toEqual(due);
    }
  },
);

test('[CR9] a core that was closed ends its thread by itself', async () => {
  const ended = new Promise((resolve) => process.once('worker', (worker) => worker.once('exit', resolve)));
  const host = await Host.open(configIn(folder()), 'worker');
  await host.guest('Anna');
  await host.core.close();
  // 1: it was stopped from outside.
  expect(await ended).toBe(0);
});

test('[CR9] a core whose answer and end are found in one turn of a busy loop has ended in order', async () => {
  const host = await Host.open(configIn(folder()), 'worker');
  const fatal: Error[] = [];
  host.core.onFatal((error) => fatal.push(error));
  const closing = host.core.close();
  // What was asked is on its way; then this thread sees nothing until the other one is gone.
  await loopTurn();
  await loopTurn();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  await closing;
  expect(fatal).toEqual([]);
});

test('[CR9] closing a core whose thread is gone waits for nothing', async () => {
  const thread = new Promise<Worker>((resolve) => process.once('worker', resolve));
  const host = await Host.open(configIn(folder()), 'worker');
  const fatal = new Promise<Error>((resolve) => host.core.onFatal(resolve));
  await (await thread).terminate();
  expect((await fatal).message).toBe('the core ended unexpectedly');
  await host.core.close();
});

test('[CR20] [LI3] a core has so many requests in hand, and so much text of them, and the rest is busy until they are answered', async () => {
  const hits: string[] = [];
  const core = await openCore({ config: configIn(folder()), engine: 'direct', onLimit: (limit) => hits.push(limit) });
  onTestFinished(() => core.close());
  const ask = (frame: string) => core.handle({ ip: '127.0.0.1' }, frame);
  const large = 'x'.repeat(limits.frameBytes);
  for (const [limit, frame, most] of [
    ['coreRequests', '', limits.coreRequests],
    ['coreRequestUnits', large, limits.coreRequestUnits / large.length],
  ] as const) {
    const answers = Array.from({ length: most }, () => ask(frame));
    const refused: unknown = await ask('x').catch((error: RequestError) => error.toBody());
    expect(refused).toMatchObject({ code: 'busy', retryAfterMs: 1_000 });
    expect(hits.splice(0)).toEqual([limit]);
    expect(new Set((await Promise.all(answers)).map(({ error }) => error))).toEqual(new Set(['bad_json']));
    expect((await ask(frame)).error).toBe('bad_json');
    expect(hits).toEqual([]);
  }
});

test('[CR21] [LI3] a core whose answers and pushes are not read waits, and loses none of them', { timeout: 60_000 }, async () => {
  const data = folder();
  const hits: string[] = [];
  const host = await Host.open(configIn(data), 'worker', (limit) => hits.push(limit));
  onTestFinished(() => host.core.close());
  const anna = await host.guest('Anna');
  const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
  const file = new DatabaseSync(path.join(data, 'kith.db'), { timeout: 5_000 });
  const seq = file.prepare('select seq from streams where id = ?');
  const stored = (): number => (seq.get(`conversation:${conversation.id}`) as { seq: number }).seq;
  const text = 'x'.repeat(limits.messageText);
  // Each is answered and pushed; so many that one batch of them is not all.
  const most = Math.ceil((2.5 * limits.coreUnread) / (2 * text.length));
  let sent = 0;
  // Where the core takes longer between two batches than this thread waits for it, once more.
  for (let round = 0; hits.length === 0; round += 1) {
    expect(round).toBeLessThan(10);
    const answers = Array.from({ length: most }, () => host.result(anna, 'message.send', { conversationId: conversation.id, clientId: `client-id-${sent++}`, type: 'text', text }));
    await loopTurn();
    // This thread reads nothing until the core has begun, and nothing more is stored.
    const before = stored();
    for (const began = performance.now(); stored() === before && performance.now() - began < 5_000;);
    for (let [last, since] = [0, performance.now()]; performance.now() - since < 300;) if (stored() !== last) [last, since] = [stored(), performance.now()];
    const seqs = (await Promise.all(answers)).map(({ message }) => message.seq);
    expect(seqs).toEqual(seqs.map((_, at) => seqs[0]! + at));
  }
  file.close();
  expect(new Set(hits)).toEqual(new Set(['coreUnread']));
  const pushed = host.pushed.flatMap((entity) => (entity.kind === 'message' && entity.type === 'text' ? [entity.clientId] : []));
  expect(pushed).toEqual(Array.from({ length: sent }, (_, at) => `client-id-${at}`));
});

test('[CR1] a core answers and publishes the same in a worker, in this thread, on PostgreSQL, and where every work is run again', { timeout: 60_000 }, async () => {
  const { url, drop } = await createTestDatabase();
  const hosts = [
    await Host.open(configIn(folder()), 'worker'),
    await Host.open(configIn(folder()), 'direct'),
    await Host.open(configIn('', { database: `${url}?options=${encodeURIComponent('-c synchronous_commit=on')}` }), 'direct'),
    await Host.over(configIn(folder()), runningAgain),
  ];
  const transcripts = await Promise.all(hosts.map(play));
  await Promise.all(hosts.map((host) => host.core.close()));
  await drop();
  expect(transcripts[0]!.length).toBeGreaterThan(40);
  expect(transcripts[1]).toEqual(transcripts[0]);
  expect(transcripts[2]).toEqual(transcripts[0]);
  expect(transcripts[3]).toEqual(transcripts[0]);
});

/** Runs every work to its end, takes back what it wrote, and runs it again: as every engine may. */
const runningAgain = (db: Database): Database => ({
  read: (work) => db.read(work),
  async write(keys, work) {
    const over = new Error('again');
    await db
      .write(keys, async (q) => {
        await work(q);
        throw over;
      })
      .catch(() => {});
    return db.write(keys, work);
  },
  scrub: () => db.scrub(),
  refuseWaiting: () => db.refuseWaiting(),
  close: () => db.close(),
});

/** What can be said in values is not: every work is run. */
const runningAll = (db: Database): Database => ({
  read: (work) => db.read(work),
  write: (keys, work) => db.write(keys, work),
  scrub: () => db.scrub(),
  refuseWaiting: () => db.refuseWaiting(),
  close: () => db.close(),
});

test('[DB31] messages that need no work of their own come out as their works would, whoever sends them and however often', { timeout: 60_000 }, async () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
  console.info(`messages without works: FUZZ_SEED=${seed}`);
  const [values, works] = await Promise.all([(db: Database) => db, runningAll].map((between) => Host.over(configIn(folder()), between).then((host) => sayAtRandom(host, seed))));
  expect(values).toEqual(works);
});

/** Bursts of messages, among them repeated, reused, withdrawn and refused ones, and between them what changes who may write. */
async function sayAtRandom(host: Host, seed: number): Promise<unknown> {
  const random = randomFrom(seed);
  const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const [anna, bert, cleo] = [await host.guest('Anna'), await host.guest('Bert'), await host.guest('Cleo')];
  const { conversation: club } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
  const { conversation: own } = await host.result(anna, 'conversation.direct', { userId: anna.id });
  await host.result(anna, 'friend.request', { userId: bert.id });
  await host.result(bert, 'friend.accept', { userId: anna.id });
  const { conversation: pair } = await host.result(anna, 'conversation.direct', { userId: bert.id });
  await host.result(anna, 'member.add', { conversationId: club.id, userIds: [bert.id] });
  const places = [club.id, club.id, pair.id, pair.id, own.id, anna.id];
  let fresh = 0;
  // Whether an answer or the push of another comes first is up to how they share commits.
  const answers: Answer[] = [];
  for (let burst = 0; burst < 40; burst += 1) {
    const sends = Array.from({ length: Math.floor(random() * 12) }, () => {
      const clientId = `client-id-${random() < 0.3 ? Math.floor(random() * 20) : (fresh += 1)}`;
      const params = { conversationId: one(places), clientId, type: 'text', text: one(['hello', 'other', 'https://one.test/', ' ']) };
      const who = one([anna, anna, bert, bert, cleo]);
      if (random() < 0.2) return host.ask(who, 'message.withdraw', { conversationId: params.conversationId, clientId });
      return host.ask(who, 'message.send', random() < 0.1 ? { ...params, type: 'emoji', text: '👋' } : params);
    });
    if (burst % 4 === 3)
      sends.push(
        one([
          () => host.ask(anna, 'member.remove', { conversationId: club.id, userId: bert.id }),
          () => host.ask(anna, 'member.add', { conversationId: club.id, userIds: [bert.id] }),
          () => host.ask(bert, 'friend.block', { userId: anna.id }),
          () => host.ask(bert, 'friend.unblock', { userId: anna.id }),
        ])(),
      );
    answers.push(...(await Promise.all(sends)));
  }
  const { messages } = await host.result(anna, 'message.history', { conversationId: club.id });
  expect(messages.length).toBeGreaterThan(10);
  await host.core.close();
  return named({ answers, publications: host.publications });
}

test('[DB32] a message that fails although nothing spoke against it takes none of its neighbours with it', async () => {
  const data = folder();
  const host = await opened(configIn(data), 'direct');
  const anna = await host.guest('Anna');
  const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
  const file = new DatabaseSync(path.join(data, 'kith.db'), { timeout: 5_000 });
  file.exec(`create trigger dies before insert on messages when new.text = 'dies' begin select raise(abort, 'on purpose'); end`);
  file.close();
  const texts = ['one', 'two', 'dies', 'three', 'dies', 'four'];
  const answers = await Promise.all(texts.map((text, at) => host.ask(anna, 'message.send', { conversationId: conversation.id, clientId: `client-id-${at}`, type: 'text', text })));
  expect(answers.map(({ error }) => error)).toEqual(texts.map((text) => (text === 'dies' ? 'internal' : undefined)));
  const { messages } = await host.result(anna, 'message.history', { conversationId: conversation.id });
  const said = messages.filter(({ type }) => type === 'text');
  expect(said.map(({ text, seq }) => [text, seq - said[0]!.seq])).toEqual([
    ['one', 0],
    ['two', 1],
    ['three', 2],
    ['four', 3],
  ]);
});

test('[DB36] who may write is remembered until it changes, by whomever: another process, too', async () => {
  const data = folder();
  const host = await opened(configIn(data), 'direct');
  const [anna, bert] = [await host.guest('Anna'), await host.guest('Bert')];
  await host.result(anna, 'friend.request', { userId: bert.id });
  await host.result(bert, 'friend.accept', { userId: anna.id });
  const { conversation: pair } = await host.result(anna, 'conversation.direct', { userId: bert.id });
  const { conversation: club } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [bert.id] });
  let sent = 0;
  const say = async (who: Caller, conversationId: string) =>
    (await host.ask(who, 'message.send', { conversationId, clientId: `client-id-${sent++}`, type: 'text', text: 'hello' })).error;
  const elsewhere = (sql: string): void => {
    const file = new DatabaseSync(path.join(data, 'kith.db'), { timeout: 5_000 });
    file.exec(sql);
    file.close();
  };
  const changes: { does: string; undoes: string; of: string; after: ErrorCode }[] = [
    { does: `update users set disabled_at = 1 where id = '${bert.id}'`, undoes: `update users set disabled_at = null where id = '${bert.id}'`, of: pair.id, after: 'not_found' },
    {
      does: `update members set state = 'left' where user_id = '${anna.id}'`,
      undoes: `update members set state = 'joined' where user_id = '${anna.id}'`,
      of: club.id,
      after: 'not_a_member',
    },
    { does: `update friends set blocked = 1 where user_id = '${bert.id}'`, undoes: `update friends set blocked = 0 where user_id = '${bert.id}'`, of: pair.id, after: 'not_found' },
  ];
  for (const { does, undoes, of, after } of changes) {
    expect([does, await say(anna, of), await say(anna, of)]).toEqual([does, undefined, undefined]);
    elsewhere(does);
    expect([does, await say(anna, of)]).toEqual([does, after]);
    elsewhere(undoes);
    expect([does, await say(anna, of)]).toEqual([does, undefined]);
  }
});

test('[CR22] more requests of connections than are of use at once wait, are done in their order, and are busy where there is no time left', async () => {
  const host = await opened(configIn(folder()), 'worker');
  const anna = { ...(await host.guest('Anna')), connection: 1 };
  const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
  const burst = (name: string) =>
    Array.from({ length: 3_000 }, (_, at) => {
      const params = { conversationId: conversation.id, clientId: `${name}-${at}`, type: 'text', text: `${at}` };
      return host.core.handle(anna, JSON.stringify({ id: `${at}`, method: 'message.send', params })).catch((error: unknown) => error as RequestError);
    });
  const answers = (await Promise.all(burst('in-order'))) as Answer[];
  const seqs = answers.map(({ text }) => (JSON.parse(text) as { result: Result<'message.send'> }).result.message.seq);
  expect(seqs).toEqual(Array.from({ length: 3_000 }, (_, at) => seqs[0]! + at));

  // All of it arrives in one piece, so none of them can have begun.
  const hurried = burst('hurried');
  await host.core.refuseWaiting();
  const fates = (await Promise.all(hurried)).map((one) => ('text' in one ? (one.error ?? 'done') : one.code));
  expect([...new Set(fates)]).toEqual(['busy']);
  const { messages } = await host.result(anna, 'message.history', { conversationId: conversation.id, limit: 1 });
  expect(messages[0]!.seq).toBe(seqs.at(-1));
});

/** A little of everything that crosses the seam, with what differs by nature replaced by its place of first appearance. */
async function play(host: Host): Promise<unknown[]> {
  const { core } = host;
  const log: unknown[] = [];
  const said = (what: string, value: unknown): void => void log.push({ what, value });
  said('setup link', typeof (await core.setupLink()));
  await host.send(undefined, 'not json');
  await host.send(undefined, '{"id":"1"}');
  await host.ask(undefined, 'no.such.method');
  await host.ask(undefined, 'message.send', {});
  const anna = await host.guest('Anna');
  const bert = await host.guest('Bert 🦊');
  await host.ask(undefined, 'auth.register', { handle: 'cleo', password: 'correct horse battery', name: 'Cleo' });
  await host.ask(undefined, 'auth.login', { handle: 'cleo', password: 'wrong horse battery' });
  await host.ask(undefined, 'auth.login', { handle: 'cleo', password: 'correct horse battery' });
  said('whose', await core.authenticate(anna.token));
  said('nobody’s', await core.authenticate('kith_nonsense'));
  await host.ask(anna, 'hello', { token: anna.token });
  const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [bert.id], clientId: 'club-0001' });
  await host.ask(anna, 'conversation.create', { title: 'Club', memberIds: [bert.id], clientId: 'club-0001' });
  const stream = `conversation:${conversation.id}` as const;
  said('topics', await core.topics(bert.identity!));
  const message = { conversationId: conversation.id, clientId: 'message-0001', type: 'text', text: 'hi 👋' };
  const sent = await host.result(anna, 'message.send', message as Params<'message.send'>);
  await host.ask(anna, 'message.send', message);
  await host.ask(anna, 'message.send', { ...message, text: 'other' });
  await host.ask(anna, 'message.send', { ...message, more: 1 });
  await host.ask(bert, 'message.edit', { messageId: sent.message.id, text: 'mine' });
  await host.ask(anna, 'message.edit', { messageId: sent.message.id, text: 'hi' });
  await host.ask(bert, 'read.mark', { conversationId: conversation.id, seq: 2 });
  await host.ask(bert, 'typing.set', { conversationId: conversation.id });
  await host.ask(bert, 'message.history', { conversationId: conversation.id });
  await host.ask(bert, 'stream.changes', { stream, since: 1 });
  await host.ask(bert, 'stream.snapshot', { stream });
  await host.ask(anna, 'admin.disable', { userId: bert.id });
  await host.ask(anna, 'member.remove', { conversationId: conversation.id, userId: bert.id });
  await host.ask(bert, 'message.send', { ...message, clientId: 'message-0002' });
  said('heads', await core.heads([stream, 'conversation:nowhere']));
  await host.ask(anna, 'auth.logout');
  said('topics of a session that is over', await core.topics(anna.identity!));
  said('whose token that was', await core.authenticate(anna.token));
  log.push(...host.events);
  return named(log) as unknown[];
}

function named(value: unknown): unknown {
  const names = new Map<string, string>();
  const text = JSON.stringify(value)
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (id) => {
      if (!names.has(id)) names.set(id, `id ${names.size}`);
      return names.get(id)!;
    })
    .replaceAll(/kith_[\w-]{43}/g, 'a token')
    .replaceAll(/\b1[0-9]{12}\b/g, '0');
  return JSON.parse(text) as unknown;
}

describe.each(beside)('a core, %s', (engine) => {
  test('[CR2] of one connection and conversation, requests are taken up, published and answered in the order of the calls', async () => {
    const host = await opened(configIn(folder()), engine);
    const people = await Promise.all(['Anna', 'Bert', 'Cleo'].map((name) => host.guest(name)));
    const { conversation } = await host.result(people[0], 'conversation.create', { title: 'Club', memberIds: people.slice(1).map((person) => person.id) });
    const before = host.events.length;
    const calls = people.flatMap((person, who) =>
      Array.from({ length: 80 }, async (_, at) => {
        // One in ten says nothing new, one in ten is refused: they keep their place among the others.
        const clientId = `${who}-message-${at % 10 === 9 ? at - 1 : at}`;
        const text = at % 10 === 4 ? ' ' : clientId;
        await host.ask(person, 'message.send', { conversationId: conversation.id, clientId, type: 'text', text }, `${who} ${at}`);
      }),
    );
    await Promise.all(calls);

    const answers = host.events.flatMap((event) => ('answer' in event ? [JSON.parse(event.answer.text) as { id: string; result?: Result<'message.send'> }] : [])).slice(-240);
    for (const who of people.keys()) {
      const own = answers.filter((answer) => answer.id.startsWith(`${who} `));
      // Refusals of what is not even asked of the database come at once; all others wait for those before them.
      const stored = own.filter((answer) => answer.result);
      expect(stored.map((answer) => Number(answer.id.split(' ')[1]))).toEqual(Array.from({ length: 80 }, (_, at) => at).filter((at) => at % 10 !== 4));
      const seqs = stored.filter((answer) => !answer.id.endsWith('9')).map((answer) => answer.result!.message.seq);
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    }
    const pushes = host.publications.filter((publication) => publication.topic === `conversation:${conversation.id}`);
    expect(pushes.map((publication) => (publication.kind === 'push' ? publication.version : 0))).toEqual(pushes.map((_, at) => at + 1));
    expect(pushes.length).toBe(1 + 3 * 64);

    // Whoever hears of an ack has heard of the message before.
    const published = new Set<string>();
    for (const event of host.events.slice(before)) {
      if ('publications' in event) for (const entity of event.publications.flatMap(entitiesOf)) published.add(JSON.stringify(entity));
      if (!('answer' in event)) continue;
      const { result } = JSON.parse(event.answer.text) as { result?: Result<'message.send'> };
      expect(result === undefined || published.has(JSON.stringify(result.message))).toBe(true);
    }
  });

  test('[CR3] close answers what is in flight, and all of it is there', async () => {
    const config = configIn(folder());
    const host = await Host.open(config, engine);
    const anna = await host.guest('Anna');
    const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
    const calls = Array.from({ length: 60 }, (_, at) =>
      host.result(anna, 'message.send', { conversationId: conversation.id, clientId: `message-${at}`, type: 'text', text: `text ${at}` }),
    );
    const reads = Array.from({ length: 20 }, () => host.result(anna, 'message.history', { conversationId: conversation.id, limit: 5 }));
    // Who registers asks the database twice, and hashes a password in between.
    const handles = ['dora', 'emil', 'fay'];
    const registered = handles.map((handle) => host.result(undefined, 'auth.register', { handle, password: 'correct horse battery', name: handle }));
    await host.core.close();
    expect((await Promise.all(registered)).map(({ user }) => user.handle)).toEqual(handles);
    const answers = await Promise.all(calls);
    expect((await Promise.all(reads)).length).toBe(20);
    const again = await opened(config, engine);
    const { messages } = await again.result(anna, 'message.history', { conversationId: conversation.id, limit: 60 });
    expect(messages).toEqual(answers.map((answer) => answer.message));
  });

  test('[CR4] a directory in use is refused with the same words', async () => {
    const data = folder();
    await opened(configIn(data), engine);
    await expect(openCore({ config: configIn(data), engine })).rejects.toMatchObject({ name: 'DatabaseError', message: expect.stringContaining('Another Kith is running') });
  });

  test('[CR5] a fault of ours is told with its cause to the operator, and with an id to the peer', async () => {
    const data = folder();
    const host = await opened(configIn(data), engine);
    const anna = await host.guest('Anna');
    const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
    const file = new DatabaseSync(path.join(data, 'kith.db'));
    file.exec('alter table messages rename to somewhere_else');
    file.close();
    const { text, error } = await host.ask(anna, 'message.history', { conversationId: conversation.id });
    const faults = host.events.flatMap((event) => ('fault' in event ? [event.fault] : []));
    expect(error).toBe('internal');
    expect(faults).toMatchObject([{ method: 'message.history', error: { message: expect.stringContaining('no such table') } }]);
    expect(text).toContain(faults[0]!.id);
    expect(text).not.toContain('table');
    // And lives.
    await host.result(anna, 'session.list', {});
  });

  test('[CR6] while another program holds the file, requests that write are busy, and are done when asked again', async () => {
    const data = folder();
    const host = await opened(configIn(data), engine);
    const anna = await host.guest('Anna');
    const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
    const file = new DatabaseSync(path.join(data, 'kith.db'));
    file.exec('begin immediate');
    const published = host.publications.length;
    const message = { conversationId: conversation.id, clientId: 'message-0001', type: 'text', text: 'hello' } as const;
    const answers = await Promise.all([host.ask(anna, 'message.send', message), host.ask(anna, 'message.send', message)]);
    expect(answers.map((answer) => (JSON.parse(answer.text) as { error: unknown }).error)).toMatchObject(
      [1, 2].map(() => ({ code: 'busy', retryable: true, retryAfterMs: expect.any(Number) })),
    );
    expect((await host.result(anna, 'message.history', { conversationId: conversation.id })).messages.length).toBe(1);
    expect(host.publications.length).toBe(published);
    file.exec('rollback');
    file.close();
    expect((await host.result(anna, 'message.send', message)).message.seq).toBe(2);
  });

  test.skipIf(!root || process.platform !== 'linux')(
    '[CR7] on a full disk sends are storage_full, not acked and not seen; reading goes on, and sending once there is room',
    async () => {
      const data = folder();
      expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'kith-test', data])).toMatchObject({ status: 0 });
      onTestFinished(() => void spawnSync('umount', ['-l', data]));
      const host = await opened(configIn(data), engine);
      const anna = await host.guest('Anna');
      const { conversation } = await host.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
      const acked: string[] = [];
      const refused: { clientId: string; code: string | undefined }[] = [];
      for (let turn = 0; refused.length < 20; turn += 1) {
        await Promise.all(
          [0, 1, 2].map(async (n) => {
            const clientId = `message-${turn}-${n}`;
            const { error } = await host.ask(anna, 'message.send', { conversationId: conversation.id, clientId, type: 'text', text: clientId.padEnd(4_000, '.') });
            if (error) refused.push({ clientId, code: error });
            else acked.push(clientId);
          }),
        );
      }
      expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['storage_full']));
      const seen = () => host.pushed.flatMap((entity) => (entity.kind === 'message' && entity.clientId ? [entity.clientId] : []));
      expect(seen()).toEqual(acked);
      await host.result(anna, 'message.history', { conversationId: conversation.id });
      expect(await host.core.authenticate(anna.token)).toEqual(anna.identity);

      expect(spawnSync('mount', ['-o', 'remount,size=16m', data])).toMatchObject({ status: 0 });
      for (const { clientId } of refused) {
        await host.result(anna, 'message.send', { conversationId: conversation.id, clientId, type: 'text', text: clientId.padEnd(4_000, '.') });
        acked.push(clientId);
      }
      expect(seen()).toEqual(acked);
      await expectDense(host, anna, conversation.id, acked);
    },
  );

  test('[CR10] with too little room left nothing new is stored; reading, signing in, marking and deleting go on', async () => {
    const data = folder();
    const free = await Host.open(configIn(data), engine);
    const { user } = await free.result(undefined, 'auth.register', { handle: 'anna', password: 'correct horse battery', name: 'Anna' });
    const anna: Caller = { ip: '::1', identity: { userId: user.id, sessionId: 'none' } };
    const { conversation } = await free.result(anna, 'conversation.create', { title: 'Club', memberIds: [] });
    const message = { conversationId: conversation.id, clientId: 'message-0001', type: 'text', text: 'hello' } as const;
    const sent = await free.result(anna, 'message.send', message);
    await free.core.close();
    // No volume has so much.
    const full = await opened(configIn(data, { diskReserve: 2 ** 40 }), engine);
    const refused = [
      await full.ask(anna, 'message.send', { ...message, clientId: 'message-0002' }),
      await full.ask(anna, 'message.edit', { messageId: sent.message.id, text: 'more' }),
      await full.ask(anna, 'draft.set', { conversationId: conversation.id, text: 'half a', base: 0 }),
      await full.ask(undefined, 'auth.guest', { name: 'Gast' }),
    ];
    expect(refused.map(({ error }) => error)).toEqual(refused.map(() => 'storage_full'));
    expect((await full.result(anna, 'message.history', { conversationId: conversation.id })).messages).toHaveLength(2);
    await full.result(undefined, 'auth.login', { handle: 'anna', password: 'correct horse battery' });
    await full.result(anna, 'read.mark', { conversationId: conversation.id, seq: 2 });
    await full.result(anna, 'message.delete', { messageId: sent.message.id });
    await full.result(anna, 'conversation.leave', { conversationId: conversation.id });
  });

  test.skipIf(!root || process.platform !== 'linux')('[CR10] and what was refused is stored when there is room again', async () => {
    const data = folder();
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'kith-test', data])).toMatchObject({ status: 0 });
    onTestFinished(() => void spawnSync('umount', ['-l', data]));
    const host = await opened(configIn(data, { diskReserve: 16 }), engine);
    expect((await host.ask(undefined, 'auth.guest', { name: 'Anna' })).error).toBe('storage_full');
    expect(spawnSync('mount', ['-o', 'remount,size=64m', data])).toMatchObject({ status: 0 });
    await expect.poll(async () => (await host.ask(undefined, 'auth.guest', { name: 'Anna' })).error).toBeUndefined();
  });

  test.skipIf(windows)('[CR8] a commit that ends in an error ends the core; nobody is told that it is done, nor that it is not', { timeout: 60_000 }, async () => {
    const data = folder();
    // No file of this process may grow beyond 1 MB, so that some commit in the middle fails, and not for want of room.
    const child = runScript(
      `import { openCore } from ${from('../src/core/open.ts')};
      import { configWith } from ${from('../src/config.ts')};
      const core = await openCore({ config: configWith({ data: ${JSON.stringify(data)}, database: 'sqlite', diskReserve: 0, logLevel: 'silent' }), engine: ${JSON.stringify(engine)} });
      const say = (what, value) => console.log(JSON.stringify({ what, value }));
      let over = false;
      core.onPublish((publications) => {
        for (const { kind, frame } of publications) for (const entity of kind === 'push' ? JSON.parse(frame).entities : []) if (entity.kind === 'message' && entity.clientId) say('published', entity.clientId);
      });
      core.onFatal((error) => {
        over = true;
        say('fatal', error.message);
      });
      const call = async (identity, method, params) => JSON.parse((await core.handle({ identity, ip: '::1' }, JSON.stringify({ id: '1', method, params }))).text).result;
      const { user, sessionId, token } = await call(undefined, 'auth.guest', { name: 'Anna' });
      const identity = { userId: user.id, sessionId };
      const { conversation } = await call(identity, 'conversation.create', { title: 'Club', memberIds: [] });
      say('made', { conversationId: conversation.id, identity });
      const send = async (clientId) => {
        const params = { conversationId: conversation.id, clientId, type: 'text', text: clientId.padEnd(2_000, '.') };
        const { text, error, effects } = await core.handle({ identity, ip: '::1' }, JSON.stringify({ id: clientId, method: 'message.send', params }));
        const { result } = JSON.parse(text);
        if (result) say('acked', clientId);
        else say('told', { clientId, error, effects });
      };
      for (let turn = 0; !over; turn++) await Promise.all([0, 1, 2].map((n) => send('message-' + turn + '-' + n)));
      // The process would have ended by now. What if it did not?
      await Promise.all(['message-later-0', 'message-later-1'].map(send));
      say('end');
      setTimeout(() => process.exit(), 100);`,
      [],
      { through: ['sh', '-c', 'ulimit -f 3000; exec "$0" "$@"'] },
    );
    onTestFinished(() => child.kill());
    const said: { what: string; value: never }[] = [];
    while (said.at(-1)?.what !== 'end') said.push(JSON.parse(await child.line()) as { what: string; value: never });
    await child.ended;
    const all = <T>(what: string): T[] => said.filter((one) => one.what === what).map((one) => one.value);
    expect(all<string>('fatal')[0]).toContain('commit outcome unknown');
    const acked = all<string>('acked');
    expect(acked.length).toBeGreaterThan(10);
    expect(all('published')).toEqual(acked);
    const told = all<{ clientId: string }>('told');
    // Of the commit that failed at least one; how many share a commit is up to the moment.
    expect(told.length).toBeGreaterThan(2);
    expect(told.slice(-2).map(({ clientId }) => clientId)).toEqual(['message-later-0', 'message-later-1']);
    // No reply is written for these: the connection is closed, and the client asks again with the same client id.
    for (const one of told) expect(one).toMatchObject({ error: 'busy', effects: [{ do: 'close', as: 'tryLater' }] });

    const [made] = all<{ conversationId: string; identity: { userId: string; sessionId: string } }>('made');
    const anna: Caller = { ip: '::1', identity: made!.identity };
    const host = await opened(configIn(data), engine);
    for (const { clientId } of told) {
      await host.result(anna, 'message.send', { conversationId: made!.conversationId, clientId, type: 'text', text: clientId.padEnd(2_000, '.') });
    }
    await expectDense(host, anna, made!.conversationId, [...acked, ...told.map(({ clientId }) => clientId)]);
  });
});

/** Every message is there once, in this order, behind the line that tells of the beginning. */
async function expectDense(host: Host, who: Caller, conversationId: string, clientIds: string[]): Promise<void> {
  const found: { seq: number; clientId: string | null }[] = [];
  for (;;) {
    const { messages, after } = await host.result(who, 'message.history', { conversationId, after: found.length, limit: 100 });
    found.push(...messages.map(({ seq, clientId }) => ({ seq, clientId })));
    if (!after) break;
  }
  expect(found).toEqual([null, ...clientIds].map((clientId, at) => ({ seq: at + 1, clientId })));
}
