import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { type MethodName, type Params, type Result } from '@kith/protocol';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configWith } from '../src/config.ts';
import type { Answer, Caller, Core, Publication } from '../src/core/core.ts';
import { startCore } from '../src/core/local-core.ts';
import { openPostgres } from '../src/db/postgres.ts';
import { randomFrom } from './crash-child.ts';
import { createTestDatabase } from './postgres.ts';

// Messages on PostgreSQL, which go by a way of their own: how often the server is asked, and that nobody can tell by what comes out.

const now = Date.now();

describe('messages on PostgreSQL', () => {
  let url: string;
  let drop: () => Promise<void>;
  let wire: Wire;
  let rows: pg.Client;
  /** Two nodes. The first is connected through the wire. */
  let nodes: [Node, Node];
  let ann: Person;
  let bob: Person;
  let cleo: Person;
  let stranger: Person;

  beforeAll(async () => {
    ({ url, drop } = await createTestDatabase());
    wire = await openWire(Number(new URL(url).port));
    rows = new pg.Client(url);
    await rows.connect();
    nodes = [await openNode(Object.assign(new URL(url), { port: String(wire.port) }).href), await openNode(url)];
    [ann, bob, cleo, stranger] = (await Promise.all(['Ann', 'Bob', 'Cleo', 'Stranger'].map((name) => nodes[0].guest(name)))) as [Person, Person, Person, Person];
  });
  afterAll(async () => {
    await Promise.all(nodes.map(({ core }) => core.close()));
    await rows.end();
    await wire.close();
    await drop();
  });

  const group = async (...others: Person[]): Promise<string> =>
    (await nodes[0].result(ann, 'conversation.create', { title: 'Club', memberIds: others.map(({ id }) => id) })).conversation.id;
  const say = (conversationId: string, clientId: string, text = 'hello'): Params<'message.send'> => ({ conversationId, clientId, type: 'text', text });
  const stored = async (conversationId: string): Promise<{ sender: string; version: number; seq: number; text: string }[]> =>
    (
      await rows.query<{ sender: string; version: string; seq: string; text: string }>(
        `select sender_id as sender, version, seq, text from messages where conversation_id = $1 and type = 'text' order by seq`,
        [conversationId],
      )
    ).rows.map(({ version, seq, ...rest }) => ({ ...rest, version: Number(version), seq: Number(seq) }));

  test('[DB60] a message is one round trip, the first of somebody in a conversation two, and a hundred at once are a few', async () => {
    const conversationId = await group(bob, cleo);
    const trips = async (work: () => Promise<unknown>): Promise<number> => {
      const before = wire.trips;
      await work();
      return wire.trips - before;
    };
    const send = (who: Person, clientId: string) => nodes[0].result(who, 'message.send', say(conversationId, clientId));
    expect(await trips(() => send(ann, 'ann-0001'))).toBe(2);
    expect(await trips(() => send(ann, 'ann-0002'))).toBe(1);
    expect(await trips(() => send(ann, 'ann-0003'))).toBe(1);
    const hundred = Array.from({ length: 100 }, (_, at) => [[ann, bob, cleo][at % 3]!, `many-${String(at).padStart(4, '0')}`] as const);
    const count = await trips(() => Promise.all(hundred.map(([who, clientId]) => send(who, clientId))));
    expect(count).toBeLessThanOrEqual(4);
    const versions = (await stored(conversationId)).map(({ version }) => version);
    expect(versions).toEqual(Array.from({ length: 103 }, (_, at) => versions[0]! + at));
    // Each is a version and a push of its own, in the order in which they were sent.
    const pushed = nodes[0].texts(conversationId).slice(-100);
    expect(pushed.map(({ clientId }) => clientId)).toEqual(hundred.map(([, clientId]) => clientId));
    expect(pushed.map(({ version }) => version)).toEqual(versions.slice(-100));
    // Among a hundred others, one that is refused and one that comes again are done alone, and the others go on together.
    const mixed = Array.from({ length: 100 }, (_, at) => nodes[0].ask.bind(nodes[0], ann, 'message.send', say(conversationId, `more-${String(at).padStart(4, '0')}`)));
    mixed.splice(70, 0, () => nodes[0].ask(ann, 'message.send', say(conversationId, 'ann-0001')));
    mixed.splice(30, 0, () => nodes[0].ask(stranger, 'message.send', say(conversationId, 'stranger')));
    let answers: Answer[] = [];
    const alone = await trips(async () => void (answers = await Promise.all(mixed.map((ask) => ask()))));
    expect(alone).toBeLessThanOrEqual(20);
    expect(answers.flatMap(({ error }, at) => (error ? [at] : []))).toEqual([30]);
    expect((await stored(conversationId)).length).toBe(203);
  });

  test('[DB61] who is removed at another node while they send gets nothing in after it', { timeout: 60_000 }, async () => {
    for (let round = 0; round < 6; round++) {
      const conversationId = await group(bob, cleo);
      let removed: Promise<unknown> | undefined;
      let refused = 0;
      for (let turn = 0; refused === 0; turn++) {
        const answers = [bob, bob, cleo].map((who, at) => nodes[0].ask(who, 'message.send', say(conversationId, `${conversationId.slice(-12)}-${turn}-${at}`)));
        if (turn === 3 + round) removed = nodes[1].result(ann, 'member.remove', { conversationId, userId: bob.id });
        const refusals = (await Promise.all(answers)).flatMap(({ error }) => (error === undefined ? [] : [error]));
        expect(refusals.filter((error) => error !== 'not_a_member')).toEqual([]);
        refused += refusals.length;
      }
      await removed;
      expect(refused).toBeGreaterThan(0);
      const { version: after } = (await rows.query<{ version: string }>('select version from members where conversation_id = $1 and user_id = $2', [conversationId, bob.id]))
        .rows[0]!;
      const messages = await stored(conversationId);
      expect(messages.filter(({ sender, version }) => sender === bob.id && version > Number(after))).toEqual([]);
      expect(messages.length).toBeGreaterThan(3);
    }
  });

  test('[DB61] what changes under the lock of the conversation, while a message waits for it, decides', async () => {
    const conversationId = await group(bob, cleo);
    await nodes[0].result(bob, 'message.send', say(conversationId, 'before-0'));
    await rows.query('begin');
    await rows.query(`update streams set version = version where id = $1`, [`conversation:${conversationId}`]);
    const waiting = nodes[0].ask(bob, 'message.send', say(conversationId, 'during-0'));
    await expect
      .poll(async () => (await rows.query(`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)).rowCount, { timeout: 15_000 })
      .toBe(1);
    await rows.query(`update members set state = 'left' where conversation_id = $1 and user_id = $2`, [conversationId, bob.id]);
    await rows.query('commit');
    expect((await waiting).error).toBe('not_a_member');
    expect((await stored(conversationId)).map(({ seq }) => seq)).toEqual([2]);
  });

  test('[DB63] of messages whose connection ends at the commit nobody says whether they are there; asked again, each is there once', async () => {
    const conversationId = await group(bob);
    await rows.query(
      `create function die() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(60); return null; end $$`,
    );
    await rows.query(`create constraint trigger die after insert on messages deferrable initially deferred for each row when (new.text = 'dies') execute function die()`);
    const texts = ['lives', 'dies', 'lives', 'lives'];
    const ask = (): Promise<Answer[]> => Promise.all(texts.map((text, at) => nodes[0].ask([ann, bob][at % 2]!, 'message.send', say(conversationId, `unknown-${at}`, text))));
    // Those of one turn go together.
    const answers = await ask();
    expect(answers.map(({ error, effects }) => ({ error, effects }))).toEqual(texts.map(() => ({ error: 'busy', effects: [{ do: 'close', as: 'tryLater' }] })));
    expect(nodes[0].faults.splice(0).map((error) => (error as Error).name)).toEqual(texts.map(() => 'CommitUnknown'));
    expect(await stored(conversationId)).toEqual([]);
    await rows.query('drop trigger die on messages; drop function die');
    expect((await ask()).map(({ error }) => error)).toEqual([undefined, undefined, undefined, undefined]);
    expect((await stored(conversationId)).map(({ text }) => text)).toEqual(texts);
  });

  test('[DB65] what waits behind a message of which nobody knows whether it is there is not done: asked again, it comes behind it', async () => {
    const conversationId = await group(bob);
    const first = (connection = 1) => nodes[0].ask({ ...ann, connection }, 'message.send', say(conversationId, 'left-first'));
    const others = [
      (connection = 1) => nodes[0].ask({ ...ann, connection }, 'message.send', say(conversationId, 'left-second')),
      () => nodes[0].ask(bob, 'message.withdraw', { conversationId, clientId: 'never-left' }),
      (connection = 1) => nodes[0].ask({ ...ann, connection }, 'message.send', say(conversationId, 'left-third')),
    ];
    const holder = new pg.Client(url);
    await holder.connect();
    await holder.query('begin');
    await holder.query('select from streams where id = $1 for update', [`conversation:${conversationId}`]);
    const held = first();
    const waiting = `from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    await expect.poll(async () => (await rows.query(`select pid ${waiting}`)).rows.length).toBe(1);
    const behind = others.map((ask) => ask());
    await rows.query(`select pg_terminate_backend(pid) ${waiting}`);
    const leave = { error: 'busy', effects: [{ do: 'close', as: 'tryLater' }] };
    expect(await held).toMatchObject(leave);
    await holder.end();
    expect((await Promise.all(behind)).map(({ error, effects }) => ({ error, effects }))).toEqual(others.map(() => ({ error: 'busy', effects: undefined })));
    expect(nodes[0].faults.splice(0).map((error) => (error as Error).name)).toEqual(['CommitUnknown']);
    // What that connection had sent before it was closed comes too late, too.
    expect(await others[2]!()).toMatchObject(leave);
    expect(await stored(conversationId)).toEqual([]);
    expect((await Promise.all([first, ...others].map((ask) => ask(2)))).map(({ error }) => error)).toEqual([undefined, undefined, undefined, undefined]);
    expect(
      (await rows.query('select client_id from messages where conversation_id = $1 and client_id is not null order by seq', [conversationId])).rows.map(
        (row) => (row as { client_id: string }).client_id,
      ),
    ).toEqual(['left-first', 'left-second', 'left-third']);
  });

  test.each(Array.from({ length: 2 }, () => Math.floor(Math.random() * 2 ** 31)))(
    '[DB62] messages at once, with refusals, repetitions and ones that were taken back among them, are answered as one at a time, seed %i',
    async (seed) => {
      const random = randomFrom(seed);
      const below = (end: number): number => Math.floor(random() * end);
      const people = [ann, bob, cleo, stranger];
      const any = Array.from({ length: 76 }, () => ({
        who: people[below(people.length)]!,
        where: random() < 0.8 ? ('large' as const) : ('small' as const),
        method: random() < 0.1 ? ('message.withdraw' as const) : ('message.send' as const),
        key: random() < 0.05 ? 'elsewhere' : `key-${below(random() < 0.5 ? 12 : 1_000)}`,
        text: random() < 0.9 ? 'hello' : 'other words',
      }));
      // At any rate one that was taken back, and one with a key of another.
      const sure = [
        { who: ann, where: 'large' as const, method: 'message.withdraw' as const, key: 'sure', text: '' },
        { who: ann, where: 'large' as const, method: 'message.send' as const, key: 'sure', text: 'hello' },
        { who: bob, where: 'large' as const, method: 'message.send' as const, key: 'elsewhere', text: 'hello' },
      ];
      const script = [...any.slice(0, 40), ...sure, ...any.slice(40)];
      /** What comes of it in conversations of its own, without the names of things. */
      const play = async (run: (requests: (() => Promise<Answer>)[]) => Promise<Answer[]>) => {
        const places = { small: await group(bob), large: await group(bob, cleo), elsewhere: await group(bob) };
        const keys = (key: string, where: string): string => `${places.elsewhere.slice(-12)}-${key === 'elsewhere' ? '' : where}-${key}`;
        for (const who of [ann, bob]) await nodes[0].result(who, 'message.send', say(places.elsewhere, keys('elsewhere', '')));
        const heard = nodes[0].published.length;
        const answers = await run(
          script.map(
            ({ who, where, method, key, text }) =>
              () =>
                nodes[0].ask(who, method, {
                  conversationId: places[where],
                  clientId: keys(key, where),
                  ...(method === 'message.send' && { type: 'text', text }),
                }),
          ),
        );
        const names = new Map<string, string>([...Object.entries(places).map(([name, id]) => [id, name] as const), [places.elsewhere.slice(-12), 'run']]);
        const plain = (text: string): unknown => {
          let out = text.replaceAll(/"id":"[0-9a-f-]{36}"/g, '"id":"…"');
          for (const [id, name] of names) out = out.replaceAll(id, name);
          return JSON.parse(out);
        };
        const pushes = nodes[0].published.slice(heard).flatMap((one) => (one.kind === 'push' ? [plain(one.frame) as { stream: string }] : []));
        return {
          answers: answers.map(({ text }) => plain(text)),
          pushes: { large: pushes.filter(({ stream }) => stream.endsWith(':large')), small: pushes.filter(({ stream }) => stream.endsWith(':small')) },
          rows: { large: await stored(places.large), small: await stored(places.small) },
        };
      };
      const settled: number[] = [];
      const together = await play((requests) => Promise.all(requests.map((request, at) => request().finally(() => settled.push(at)))));
      const alone = await play(async (requests) => {
        const answers: Answer[] = [];
        for (const request of requests) answers.push(await request());
        return answers;
      });
      expect(together).toEqual(alone);
      expect(together.rows.large.length).toBeGreaterThan(10);
      expect(new Set(together.answers.map((answer) => (answer as { error?: { code: string } }).error?.code))).toEqual(
        new Set([undefined, 'not_a_member', 'client_id_reused', 'too_late']),
      );
      // In each conversation in the order of the requests.
      for (const where of ['large', 'small']) {
        const inOrder = settled.filter((at) => script[at]!.where === where);
        expect(inOrder).toEqual([...inOrder].sort((a, b) => a - b));
      }
    },
  );
});

interface Person extends Caller {
  id: string;
}

interface Node {
  core: Core;
  published: Publication[];
  faults: unknown[];
  ask<M extends MethodName>(who: Caller, method: M, params: Params<M>): Promise<Answer>;
  result<M extends MethodName>(who: Caller, method: M, params: Params<M>): Promise<Result<M>>;
  guest(name: string): Promise<Person>;
  /** The messages that were pushed in a conversation. */
  texts(conversationId: string): { clientId: string; version: number }[];
}

async function openNode(url: string): Promise<Node> {
  const published: Publication[] = [];
  const faults: unknown[] = [];
  const config = configWith({ database: url, rateLimits: false, registrationsPerHour: 1_000_000, logLevel: 'silent' });
  const core = await startCore({ config, db: await openPostgres(url), now: () => now, onFault: ({ error }) => faults.push(error) });
  core.onPublish((publications) => published.push(...publications));
  const node: Node = {
    core,
    published,
    faults,
    ask: (who, method, params) => core.handle(who, JSON.stringify({ id: 'r', method, params })),
    async result(who, method, params) {
      const { text, error } = await node.ask(who, method, params);
      if (error) throw new Error(text);
      return (JSON.parse(text) as { result: never }).result;
    },
    async guest(name) {
      const { user, sessionId } = await node.result({ ip: '127.0.0.1' }, 'auth.guest', { name });
      return { ip: '127.0.0.1', identity: { userId: user.id, sessionId }, id: user.id };
    },
    texts: (conversationId) =>
      published
        .flatMap((one) => (one.kind === 'push' && one.topic === `conversation:${conversationId}` ? (JSON.parse(one.frame) as { entities: never[] }).entities : []))
        .filter(({ kind, type }: { kind: string; type: string }) => kind === 'message' && type === 'text'),
  };
  return node;
}

/**
 * The way to the server, with a count of how often it is asked something and has to answer before the next. Transactions that only read do not
 * count: whoever tells devices by push has some a moment after each message.
 */
interface Wire {
  port: number;
  readonly trips: number;
  close(): Promise<void>;
}

const typeOf = { query: 0x51, sync: 0x53 };

async function openWire(target: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let trips = 0;
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    let rest = Buffer.alloc(0);
    let begun = false;
    let reading = false;
    near.on('data', (chunk) => {
      far.write(chunk);
      rest = Buffer.concat([rest, chunk]);
      // The first message has no type.
      for (let head = begun ? 1 : 0; rest.length >= head + 4 && rest.length >= head + rest.readInt32BE(head); head = 1) {
        const end = head + rest.readInt32BE(head);
        const words = begun && rest[0] === typeOf.query ? rest.toString('latin1', 5, end) : undefined;
        reading ||= words?.startsWith('start transaction') === true;
        if (!reading && (words !== undefined || (begun && rest[0] === typeOf.sync))) trips++;
        if (words !== undefined && /^(?:commit|rollback)/.test(words)) reading = false;
        rest = rest.subarray(end);
        begun = true;
      }
    });
    far.on('data', (chunk) => near.write(chunk));
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => (near.destroy(), far.destroy()));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get trips() {
      return trips;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
