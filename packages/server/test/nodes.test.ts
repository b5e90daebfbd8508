import { type Push, type SignalOf, type StreamId, closeCodes } from '@kith/protocol';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Broker } from '../src/broker/broker.ts';
import { openNats } from '../src/broker/nats.ts';
import type { Core } from '../src/core/core.ts';
import { openLog } from '../src/log.ts';
import { type Clock, realClock } from '../src/gateway/clock.ts';
import { openMetrics } from '../src/metrics.ts';
import { type Person, type TestClient, type TestServer, coreWith, startTestServer } from './harness.ts';
import { type TestNats, findNatsServer, startNats } from './nats.ts';
import { type TestDatabase, createTestDatabase } from './postgres.ts';
import { type Proxy, openProxy } from './proxy.ts';

// Several nodes on one PostgreSQL and one NATS, in one process: what people on different ones have of each other.

interface Node {
  server: TestServer;
  broker: Broker;
  /** Its database does not answer what streams have come to. */
  holdHeads(on: boolean): void;
  /** It takes long until what it follows now is delivered to it. */
  holdFollow(on: boolean): void;
}

/** Nodes say that they are there when a test says so. */
const clock: Clock = { ...realClock, every: (ms, turn) => (ms === 5_000 ? { stop() {} } : realClock.every(ms, turn)) };
const parts = { log: openLog({ logLevel: 'silent' }), metrics: openMetrics() };
const missing = findNatsServer() === undefined;
if (missing) console.warn('NOT RUN: several nodes need nats-server on PATH, or apt-get');

const pushesOf = (client: TestClient, stream: StreamId): Push[] => client.frames.filter((frame): frame is Push => 'stream' in frame && frame.stream === stream);
const versions = (pushes: Push[]): number[] => pushes.map(({ version }) => version);

describe.skipIf(missing)('several nodes', () => {
  let nats: TestNats;
  let wire: Proxy;
  let database: TestDatabase;
  let rows: pg.Client;
  let nodes: [Node, Node, Node];
  let ann: Person;
  let bob: Person;
  let cara: Person;
  let names = 0;
  /** By how much it is later than it is, at all nodes. Milliseconds. */
  let later = 0;

  const start = async (name: string, offlineGraceMs = 0): Promise<Node> => {
    const broker = await openNats({ url: `nats://127.0.0.1:${wire.port}`, node: name, patienceMs: 10_000 }, parts);
    let held: PromiseWithResolvers<void> | undefined;
    let slow: PromiseWithResolvers<void> | undefined;
    const follow = broker.follow.bind(broker);
    broker.follow = async (topics) => {
      await slow?.promise;
      await follow(topics);
    };
    const wrapCore = (core: Core): Core => coreWith(core, { heads: async (streams) => (await held?.promise, core.heads(streams)) });
    const server = await startTestServer({ node: name, broker, wrapCore, clock, now: () => Date.now() + later, config: { database: database.url, offlineGraceMs } });
    const holdHeads = (on: boolean): void => {
      held?.resolve();
      held = on ? Promise.withResolvers() : undefined;
    };
    const holdFollow = (on: boolean): void => {
      slow?.resolve();
      slow = on ? Promise.withResolvers() : undefined;
    };
    return { server, broker, holdHeads, holdFollow };
  };

  beforeAll(async () => {
    nats = await startNats();
    wire = await openProxy(() => nats.port);
    database = await createTestDatabase();
    rows = new pg.Client(database.url);
    await rows.connect();
    nodes = await Promise.all([start('one'), start('two'), start('three')]);
    [ann, bob, cara] = (await Promise.all(['ann', 'bob', 'cara'].map((name) => nodes[0].server.register(name)))) as [Person, Person, Person];
    await nodes[0].server.befriend(ann, bob, cara);
  });
  afterAll(async () => {
    await Promise.all(nodes.map(({ server }) => server.close()));
    await wire.close();
    await nats.close();
    await rows.end();
    await database.drop();
  });

  /** Each on a node of their own. */
  const connectAll = async (): Promise<[TestClient, TestClient, TestClient]> => {
    const clients = await Promise.all([nodes[0].server.connect(ann), nodes[1].server.connect(bob), nodes[2].server.connect(cara)]);
    onTestFinished(async () => void (await Promise.all(clients.map((client) => client.close()))));
    return clients;
  };
  const group = async (title = 'Trip'): Promise<{ id: string; stream: StreamId }> => {
    const { conversation } = await nodes[0].server.call('conversation.create', { title, memberIds: [bob.id, cara.id] }, ann.token);
    return { id: conversation.id, stream: `conversation:${conversation.id}` };
  };
  const say = (client: TestClient, conversationId: string, text: string) =>
    client.call('message.send', { conversationId, clientId: `client-${(names += 1)}`, type: 'text', text }).then(({ message }) => message);

  /** By a push, or, where one was lost or is doubted, by the heads. */
  const hears = (client: TestClient, stream: StreamId, version: number) =>
    client.next((frame) => ('stream' in frame && frame.stream === stream && frame.version === version) || ('heads' in frame && frame.heads[stream] === version));

  const onlineRows = async ({ id }: Person): Promise<number> => (await rows.query('select 1 from online where user_id = $1', [id])).rows.length;

  test('[ND1] people on different nodes get every message once, in the one order of its conversation', async () => {
    const clients = await connectAll();
    const { id, stream } = await group();
    // From here on nobody begins to follow it.
    const first = await say(clients[0], id, 'first');
    for (const client of clients) await hears(client, stream, first.version);
    // Whoever sends next has the one before: at the same time, and one after the other.
    const sent = await Promise.all(clients.flatMap((client, at) => Array.from({ length: 20 }, (_, n) => say(client, id, `${at} ${n}`))));
    for (let turn = 0; turn < 6; turn++) sent.push(await say(clients[turn % 3]!, id, `turn ${turn}`));
    const last = Math.max(...sent.map(({ version }) => version));
    for (const client of clients) {
      await client.push((push) => push.stream === stream && push.version === last);
      const pushes = pushesOf(client, stream).filter(({ version }) => version > first.version);
      expect(versions(pushes)).toEqual(Array.from({ length: pushes.length }, (_, at) => pushes[0]!.version + at));
      const got = pushes.flatMap(({ entities }) => entities.filter((entity) => entity.kind === 'message' && entity.type === 'text'));
      expect(got).toEqual([...sent].sort((a, b) => a.seq - b.seq));
    }
    expect(new Set(sent.map(({ seq }) => seq)).size).toBe(sent.length);
  });

  test('[ND1] one client id that arrives at all nodes at once is one message', async () => {
    const { id } = await group();
    const devices = await Promise.all(nodes.map(({ server }) => server.connect(ann)));
    onTestFinished(async () => void (await Promise.all(devices.map((client) => client.close()))));
    const answers = await Promise.all(
      devices.flatMap((client) => [0, 1].map(() => client.call('message.send', { conversationId: id, clientId: 'sent-everywhere', type: 'text', text: 'once' }))),
    );
    expect(new Set(answers.map(({ message }) => `${message.id} ${message.seq}`)).size).toBe(1);
  });

  test('[ND12] what is written while a node begins to follow a conversation is told there as soon as it does', async () => {
    const b = await nodes[1].server.connect(bob);
    onTestFinished(async () => void (await b.close()));
    // Word of the new conversation comes at once; that this node is interested in it takes its time.
    nodes[1].holdFollow(true);
    const { id, stream } = await group('In a hurry');
    await b.push((push) => push.stream === `user:${bob.id}` && JSON.stringify(push).includes(id));
    const { message } = await nodes[0].server.call('message.send', { conversationId: id, clientId: 'in-a-hurry', type: 'text', text: 'quick' }, ann.token);
    nodes[1].holdFollow(false);
    expect(await hears(b, stream, message.version)).toBeDefined();
  });

  test('[ND2] a session that is revoked on one node is closed on the others, within a second', async () => {
    const second = await nodes[0].server.login(ann);
    const revoked = await Promise.all(nodes.map(({ server }) => server.connect(second)));
    const kept = await nodes[1].server.connect(ann);
    await nodes[0].server.call('session.revoke', { sessionId: second.sessionId }, ann.token);
    const began = performance.now();
    for (const client of revoked) expect(await client.closed).toMatchObject({ code: closeCodes.sessionEnded.code });
    expect(performance.now() - began).toBeLessThan(1_000);
    await kept.settle();
    await kept.close();
  });

  test('[ND3] who is removed at one node gets nothing more at another', async () => {
    const [a, b, c] = await connectAll();
    const { id, stream } = await group('Without Bob');
    const before = await say(a, id, 'before');
    await hears(b, stream, before.version);
    await nodes[2].server.call('member.remove', { conversationId: id, userId: bob.id }, ann.token);
    // The one who hears of the removal last of all says something, and hears it from the others' node.
    const message = await say(c, id, 'secret');
    await hears(a, stream, message.version);
    await b.push((push) => push.stream === `user:${bob.id}` && JSON.stringify(push).includes('"joined":false'));
    await say(a, id, 'secret too');
    await b.call('user.update', { bio: 'still here' });
    await b.push((push) => JSON.stringify(push).includes('still here'));
    expect(JSON.stringify(b.frames)).not.toContain('secret');
  });

  test('[ND4] typing reaches members on other nodes, and nobody else', async () => {
    const [a, b, c] = await connectAll();
    const { conversation } = await a.call('conversation.direct', { userId: bob.id });
    const hello = await say(a, conversation.id, 'hello');
    await hears(b, `conversation:${conversation.id}`, hello.version);
    // Signals are fleeting: one that comes before NATS knows that Bob's node follows is lost, and the next is told after a while.
    const typing = () => b.frames.filter((frame) => 'signal' in frame && frame.signal === 'typing');
    await vi.waitUntil(
      async () => {
        await a.call('typing.set', { conversationId: conversation.id });
        return typing().length > 0;
      },
      { timeout: 15_000, interval: 500 },
    );
    expect(typing()[0]).toEqual({ signal: 'typing', data: { conversationId: conversation.id, userId: ann.id } });
    await c.settle();
    expect(c.frames.filter((frame) => 'signal' in frame && frame.signal === 'typing')).toEqual([]);
  });

  test('[ND5] without NATS everything is acknowledged, own followers are served at once and others within five seconds; afterwards nothing is missing', async () => {
    const [a, b] = await connectAll();
    const { id, stream } = await group('On our own');
    const beside = await nodes[0].server.connect(ann);
    onTestFinished(async () => void (await beside.close()));
    const before = await say(a, id, 'before');
    await hears(b, stream, before.version);
    wire.refuse(true);
    wire.cut();
    const began = performance.now();
    const message = await say(a, id, 'in between');
    await beside.push((push) => push.stream === stream && push.version === message.version);
    expect(performance.now() - began).toBeLessThan(1_000);
    await hears(b, stream, message.version);
    expect(performance.now() - began).toBeLessThan(5_000);
    expect((await b.call('stream.changes', { stream, since: before.version })) as object).toMatchObject({ entities: [message], version: message.version });
    wire.refuse(false);
    await expect.poll(() => nodes.map(({ broker }) => broker.reaches([]))).toEqual([true, true, true]);
    const after = await say(a, id, 'after');
    await hears(b, stream, after.version);
  });

  test('[ND6] who was removed while NATS was away gets nothing at another node when it is back, before heads are compared', async () => {
    const [a, b, c] = await connectAll();
    const { id, stream } = await group('Behind his back');
    const before = await say(a, id, 'before');
    await hears(b, stream, before.version);
    // Bob's node cannot ask the database from here on, and hears nothing.
    nodes[1].holdHeads(true);
    wire.refuse(true);
    wire.cut();
    await nodes[0].server.call('member.remove', { conversationId: id, userId: bob.id }, ann.token);
    wire.refuse(false);
    await expect.poll(() => nodes.map(({ broker }) => broker.reaches([]))).toEqual([true, true, true]);
    const secret = await say(a, id, 'secret');
    await hears(c, stream, secret.version);
    await b.settle();
    nodes[1].holdHeads(false);
    await b.next((frame) => 'heads' in frame && `user:${bob.id}` in frame.heads);
    await say(a, id, 'secret too');
    await b.settle();
    expect(JSON.stringify(b.frames)).not.toContain('secret');
  });

  // ── Who is there ──────────────────────────────────────────────────────────────────────────────────────────────────

  const beat = (at: number): Promise<string[]> => nodes[at]!.server.running.core.beat();
  /** Word that the person came, or went. What is on its way from before may be the opposite. */
  const hearsOf = (client: TestClient, person: Person, online: boolean) =>
    client.signal(({ signal, data }) => signal === 'presence' && data.userId === person.id && data.online === online);
  const isOnline = async (client: TestClient, person: Person) => (await client.call('presence.watch', { userIds: [person.id] })).presence[0]!.online;
  const toldOf = (client: TestClient, person: Person): boolean[] =>
    client.frames.flatMap((frame) => ('signal' in frame && frame.signal === 'presence' && frame.data.userId === person.id ? [frame.data.online] : []));

  test('[ND8] somebody is online from their first connection to any node to the last, and everybody who watches is told once', async () => {
    const a = await nodes[0].server.connect(ann);
    const c = await nodes[2].server.connect(cara);
    await expect.poll(async () => [await isOnline(a, bob), await isOnline(c, bob)]).toEqual([false, false]);
    const first = await nodes[1].server.connect(bob);
    for (const client of [a, c]) await hearsOf(client, bob, true);
    expect(await isOnline(a, bob)).toBe(true);
    const second = await nodes[2].server.connect(bob);
    await expect.poll(() => onlineRows(bob)).toBe(2);
    await first.close();
    await expect.poll(() => onlineRows(bob)).toBe(1);
    expect(await isOnline(a, bob)).toBe(true);
    await second.close();
    for (const client of [a, c]) {
      await hearsOf(client, bob, false);
      const told = toldOf(client, bob);
      expect(told.slice(told.indexOf(true))).toEqual([true, false]);
    }
    await Promise.all([a.close(), c.close()]);
  });

  test('[ND9] the people of a node that died go offline when it has missed six beats, the others do not, and a node that was only taken for dead enters its people anew', async () => {
    const [a, b] = await connectAll();
    await expect.poll(() => isOnline(a, bob)).toBe(true);
    // All beat but the second: the third stays, and whoever is first buries.
    await beat(1);
    for (let turn = 0; turn < 6; turn++) await Promise.all([beat(0), beat(2)]);
    expect(await isOnline(a, bob)).toBe(true);
    await Promise.all([beat(0), beat(2)]);
    await hearsOf(a, bob, false);
    expect([await isOnline(a, bob), await isOnline(a, cara)]).toEqual([false, true]);
    expect(await beat(0)).toEqual(['three']);
    await beat(1);
    await hearsOf(a, bob, true);
    expect((await beat(0)).sort()).toEqual(['three', 'two']);
    expect(toldOf(a, cara)).toEqual([]);
    await b.settle();
  });

  test('[ND9] while nobody can count, nobody dies; a node that stops in order leaves its people for a moment', async () => {
    const a = await nodes[0].server.connect(ann);
    onTestFinished(async () => void (await a.close()));
    const fourth = await start('four', 60_000);
    await expect.poll(() => isOnline(a, bob)).toBe(false);
    const b = await fourth.server.connect(bob);
    await hearsOf(a, bob, true);
    const before = toldOf(a, bob);
    await beat(0);
    await fourth.server.running.close();
    await b.closed;
    expect(await beat(0)).not.toContain('four');
    expect(await isOnline(a, bob)).toBe(true);
    // Back at another node before anybody noticed.
    const again = await nodes[1].server.connect(bob);
    await expect.poll(() => onlineRows(bob)).toBe(2);
    for (let turn = 0; turn < 4; turn++) await Promise.all([beat(0), beat(1), beat(2)]);
    expect(await onlineRows(bob)).toBe(1);
    expect(toldOf(a, bob)).toEqual(before);
    await again.close();
    await hearsOf(a, bob, false);
    await fourth.server.close();
  });

  test('[ND10] a room knows who is there on any node, and tells once of who came and who left', async () => {
    const { rooms } = await nodes[0].server.call('room.list', {}, ann.token);
    const lobby = rooms[0]!.conversation.id;
    const clients = await connectAll();
    const [a, b, c] = clients;
    await a.call('room.join', { conversationId: lobby });
    await a.call('room.online', { conversationId: lobby });
    const told = { joined: new Set<string>(), left: new Set<string>() };
    const isTold = async (which: 'joined' | 'left', ...people: Person[]): Promise<void> => {
      while (!people.every(({ id }) => told[which].has(id))) {
        const { data } = (await a.signal(({ signal }) => signal === 'room.online')) as { data: SignalOf<'room.online'> };
        for (const { id } of data.joined) told.joined.add(id);
        for (const id of data.left) told.left.add(id);
      }
    };
    for (const client of [b, c]) await client.call('room.join', { conversationId: lobby });
    await isTold('joined', bob, cara);
    expect((await a.call('room.online', { conversationId: lobby })).count).toBe(3);
    expect((await a.call('room.list', {})).rooms[0]).toMatchObject({ online: 3 });
    await b.call('conversation.leave', { conversationId: lobby });
    await c.close();
    await isTold('left', bob, cara);
    expect((await a.call('room.online', { conversationId: lobby })).users.map(({ id }) => id)).toEqual([ann.id]);
  });

  test('[SE2] who hides is gone on every node, and hears of nobody on any, and [SE1] nobody types for who hides that', async () => {
    const [a, b, c] = await connectAll();
    await a.call('presence.watch', { userIds: [bob.id, cara.id] });
    await b.call('presence.watch', { userIds: [ann.id, cara.id] });
    // Each at another node than the one where they are connected.
    await nodes[2].server.call('settings.update', { presence: 'nobody', typing: false }, bob.token);
    await b.push(({ entities }) => entities.some((entity) => entity.kind === 'settings'));
    expect((await a.signal(({ signal, data }) => signal === 'presence' && data.userId === bob.id)).data).toMatchObject({ online: false, lastSeenAt: null });
    const { id, stream } = await group('Quiet');
    const { version } = await say(a, id, 'hello');
    for (const client of [b, c]) await hears(client, stream, version);
    const before = b.frames.length;
    await c.call('typing.set', { conversationId: id });
    await a.signal(({ signal }) => signal === 'typing');
    await c.close();
    await hearsOf(a, cara, false);
    // Later than all that, by the same way.
    await hears(b, stream, (await say(a, id, 'and on')).version);
    expect(b.frames.slice(before).filter((frame) => 'signal' in frame)).toEqual([]);
    await nodes[2].server.call('settings.update', { presence: 'everyone', typing: true }, bob.token);
  });

  test('[PU13] another device of the person counts as connected, whichever node it is at', async () => {
    for (const { server } of nodes) await server.running.core.beat();
    const check = async () => (await nodes[0].server.call('push.check', {}, cara.token)).otherDeviceActive;
    // This device does not, though it is connected, too.
    const here = await nodes[0].server.connect(cara);
    await expect.poll(check).toBe(false);
    const there = await nodes[1].server.connect(await nodes[1].server.login(cara));
    await expect.poll(check).toBe(true);
    await Promise.all([here.close(), there.close()]);
    await expect.poll(check).toBe(false);
  });

  test('[ND11] a session that is connected to one node is in use for all of them, however long', async () => {
    const kept = await nodes[1].server.login(bob);
    const client = await nodes[1].server.connect(kept);
    const left = await nodes[0].server.login(bob);
    const day = 86_400_000;
    onTestFinished(() => void (later = 0));
    for (const days of [16, 32]) {
      later = days * day;
      // Its own node is the one that knows.
      await nodes[1].server.running.core.sweepSessions();
      await nodes[0].server.running.core.sweepSessions();
    }
    await client.settle();
    expect((await nodes[0].server.post('session.list', {}, kept)).status).toBe(200);
    expect((await nodes[0].server.post('session.list', {}, left)).error).toBe('unauthenticated');
    await client.close();
  });
});
