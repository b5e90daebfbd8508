import { Worker } from 'node:worker_threads';
import { closeCodes } from '@kith/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Person, type TestClient, type TestServer, coreWith, startTestServer } from '../../test/harness.ts';
import { ManualClock } from '../../test/manual-clock.ts';
import { openLocalBroker } from '../broker/local.ts';
import type { Core, Publication } from '../core/core.ts';

const heartbeatMs = 1_000;

describe('pings', () => {
  let server: TestServer;
  let ann: Person;
  const clock = new ManualClock();
  const gone: string[] = [];
  const wrapCore = (core: Core): Core => coreWith(core, { disconnected: (who) => (gone.push(who.userId), core.disconnected(who)) });
  beforeAll(async () => {
    server = await startTestServer({ clock, wrapCore, config: { heartbeatMs } });
    ann = await server.guest();
  });
  afterAll(() => server.close());

  test('[CO5] a connection that answers lives on', async () => {
    const client = await server.connect(ann);
    let pings = 0;
    client.ws.on('ping', () => pings++);
    await clock.pass(10 * heartbeatMs);
    await client.settle();
    expect(pings).toBe(10);
    await client.close();
  });

  test('[CO5] one that does not answer is ended at the next ping, with 4000, and its person is no longer there', async () => {
    const client = await server.connect(ann, { autoPong: false });
    const pinged = new Promise((resolve) => client.ws.once('ping', resolve));
    await clock.pass(heartbeatMs);
    await pinged;
    expect(client.ws.readyState).toBe(client.ws.OPEN);
    const before = gone.length;
    await clock.pass(heartbeatMs);
    expect(gone.slice(before)).toEqual([ann.id]);
    expect(await client.closed).toMatchObject({ code: closeCodes.heartbeatLost.code });
  });

  test('[CO5] the pings of many connections are spread over the heartbeat', async () => {
    const clients = await Promise.all(Array.from({ length: 10 }, () => server.connect(ann)));
    const at: number[] = [];
    for (const client of clients) client.ws.on('ping', () => at.push(clock.now()));
    await clock.pass(heartbeatMs);
    await Promise.all(clients.map((client) => client.settle()));
    expect(at).toHaveLength(10);
    expect(new Set(at).size).toBeGreaterThan(5);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('[N20] after a stall of our own, who answered in time is not ended', async () => {
    const clients = await Promise.all(Array.from({ length: 25 }, () => server.connect(ann)));
    for (let n = 0; n < 25; n++) {
      await clock.pass(heartbeatMs / 25);
      await clock.stall(3 * heartbeatMs);
    }
    for (const client of clients) {
      await client.settle();
      expect(client.ws.readyState).toBe(client.ws.OPEN);
    }
    await Promise.all(clients.map((client) => client.close()));
  });
});

describe('a real stall', () => {
  test('[N20] of two heartbeats ends no connection that lives in another thread', async () => {
    await using server = await startTestServer({ config: { heartbeatMs: 250 } });
    const ann = await server.guest();
    // Clients of another thread go on answering while this one stands still.
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
       const { WebSocket } = require('ws');
       let closed = 0, ready = 0;
       for (let n = 0; n < 20; n++) {
         const socket = new WebSocket(workerData.url);
         socket.on('open', () => socket.send(JSON.stringify({ id: '1', method: 'hello', params: { token: workerData.token } })));
         socket.on('message', (data) => { if (String(data).includes('"id":"1"') && ++ready === 20) parentPort.postMessage('ready'); });
         socket.on('close', () => closed++);
       }
       parentPort.on('message', () => parentPort.postMessage({ closed }));`,
      { eval: true, workerData: { url: `ws://127.0.0.1:${server.port}/ws`, token: ann.token } },
    );
    const told = (): Promise<unknown> => new Promise((resolve) => worker.once('message', resolve));
    await told();
    const until = performance.now() + 600;
    while (performance.now() < until);
    // Two more heartbeats, in which a wrong verdict would fall.
    let beats = 0;
    const client = await server.connect(ann);
    await new Promise<void>((resolve) => client.ws.on('ping', () => ++beats === 3 && resolve()));
    const answer = told();
    worker.postMessage('how many');
    expect(await answer).toEqual({ closed: 0 });
    await worker.terminate();
  });
});

describe('heads', () => {
  const clock = new ManualClock();
  /** A broker that loses what the test tells it to. */
  const lossy = () => {
    const broker = openLocalBroker();
    const state: { lose(publication: Publication): boolean } = { lose: () => false };
    return { state, broker: { ...broker, publish: (publication: Publication) => void (state.lose(publication) || broker.publish(publication)) } };
  };
  const { state, broker } = lossy();
  let server: TestServer;
  let ann: Person;
  let bob: Person;
  let conversationId: string;
  let client: TestClient;

  beforeAll(async () => {
    server = await startTestServer({ clock, broker, config: { heartbeatMs } });
    ann = await server.register('ann');
    bob = await server.register('bob');
    await server.befriend(ann, bob);
    ({
      conversation: { id: conversationId },
    } = await server.call('conversation.direct', { userId: ann.id }, bob.token));
  });
  afterAll(() => server.close());

  /** A heartbeat, and the time that the core needs for what is asked in it. */
  const beat = async (): Promise<void> => {
    await clock.pass(heartbeatMs);
    for (let n = 0; n < 3; n++) await client.settle();
  };

  const say = async (text: string): Promise<number> =>
    (await server.call('message.send', { conversationId, clientId: `client-${text}`, type: 'text', text }, bob.token)).message.version;

  test('[CO6] what moved since the last heads frame is told with the heartbeat, and only that', async () => {
    client = await server.connect(ann);
    for (let n = 0; n < 3; n++) await beat();
    const version = await say('one');
    await client.push((push) => push.version === version);
    await beat();
    const frames = client.frames.filter((frame) => 'heads' in frame);
    expect(frames.at(-1)).toEqual({ heads: { [`conversation:${conversationId}`]: version } });
    for (let n = 0; n < 3; n++) await beat();
    expect(client.frames.filter((frame) => 'heads' in frame)).toHaveLength(frames.length);
  });

  test('[CO6] a push that was lost is found by the next heads', async () => {
    state.lose = (publication) => publication.topic === `conversation:${conversationId}`;
    const version = await say('lost');
    state.lose = () => false;
    await client.settle();
    expect(client.frames.some((frame) => 'version' in frame && frame.version === version)).toBe(false);
    for (let n = 0; n < 2; n++) await beat();
    await client.next((frame) => 'heads' in frame && frame.heads[`conversation:${conversationId}`] === version);
  });

  test('[G5] a removal whose push was lost ends the follow all the same', async () => {
    const { conversation } = await server.call('conversation.create', { title: 'Trip', memberIds: [ann.id] }, bob.token);
    const stream = `conversation:${conversation.id}`;
    await client.push((push) => push.stream === `user:${ann.id}`);
    state.lose = (publication) => publication.topic === `user:${ann.id}`;
    await server.call('member.remove', { conversationId: conversation.id, userId: ann.id }, bob.token);
    state.lose = () => false;
    for (let n = 0; n < 2; n++) await beat();
    const before = client.frames.length;
    await server.call('message.send', { conversationId: conversation.id, clientId: 'client-secret', type: 'text', text: 'secret' }, bob.token);
    await client.settle();
    expect(client.frames.slice(before).filter((frame) => 'stream' in frame && frame.stream === stream)).toEqual([]);
  });

  test('[G6] a session whose end was lost is ended all the same', async () => {
    const second = await server.login(ann);
    const other = await server.connect(second);
    state.lose = (publication) => publication.topic === `user:${ann.id}`;
    await client.call('session.revoke', { sessionId: second.sessionId });
    state.lose = () => false;
    for (let n = 0; n < 2; n++) await beat();
    expect(await other.closed).toMatchObject({ code: closeCodes.sessionEnded.code });
    await client.settle();
  });

  test('[G5] the next push of their own stream tells that one was lost, before any heartbeat', async () => {
    const { conversation } = await server.call('conversation.create', { title: 'Other trip', memberIds: [ann.id] }, bob.token);
    await client.push((push) => push.stream === `user:${ann.id}`);
    state.lose = (publication) => publication.topic === `user:${ann.id}`;
    await server.call('member.remove', { conversationId: conversation.id, userId: ann.id }, bob.token);
    state.lose = () => false;
    await client.call('user.update', { bio: 'hello' });
    for (let n = 0; n < 3; n++) await client.settle();
    const before = client.frames.length;
    await server.call('message.send', { conversationId: conversation.id, clientId: 'client-secret-2', type: 'text', text: 'secret' }, bob.token);
    await client.settle();
    expect(client.frames.slice(before).filter((frame) => 'stream' in frame && frame.stream === `conversation:${conversation.id}`)).toEqual([]);
  });

  test('[G13] when the broker was interrupted, heads are compared at once', async () => {
    let interrupted = (): void => {};
    const inner = openLocalBroker();
    const manual = new ManualClock();
    let lose = false;
    await using one = await startTestServer({
      clock: manual,
      config: { heartbeatMs },
      broker: { ...inner, publish: (publication) => void (lose || inner.publish(publication)), onInterrupted: (listener) => void (interrupted = listener) },
    });
    const eve = await one.guest('Eve');
    const { conversation } = await one.call('conversation.create', { title: 'Notes', memberIds: [] }, eve.token);
    const socket = await one.connect(eve);
    await manual.pass(2 * heartbeatMs);
    lose = true;
    const { message } = await one.call('message.send', { conversationId: conversation.id, clientId: 'client-id-1', type: 'text', text: 'hi' }, eve.token);
    lose = false;
    interrupted();
    await socket.settle();
    // No time has passed: neither a heartbeat nor the sweep of the timer has come.
    const told = await socket.next((frame) => 'heads' in frame && frame.heads[`conversation:${conversation.id}`] === message.version);
    expect(told).toBeDefined();
  });
});
