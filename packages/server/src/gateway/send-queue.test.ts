import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { PassThrough, type Writable } from 'node:stream';
import { closeCodes, limits } from '@kith/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as ws from 'ws';
import type { Core } from '../core/core.ts';
import { type Person, type TestClient, type TestServer, coreWith, startTestServer } from '../../test/harness.ts';
import { ManualClock, loopTurn } from '../../test/manual-clock.ts';
import { SendQueue, Writer, buildFrame } from './send-queue.ts';
import { furthestBehind } from './shedding.ts';

test.each([0, 1, 125, 126, 127, 65_535, 65_536, 200_000])('a frame of %i bytes is read as that text', async (length) => {
  const text = 'é'.repeat(Math.floor(length / 2)) + 'x'.repeat(length % 2);
  // ws exports its parser, and its types do not say so.
  const { Receiver } = ws as unknown as { Receiver: new (options: { isServer: boolean }) => Writable };
  const receiver = new Receiver({ isServer: false });
  const read = once(receiver, 'message') as Promise<[Buffer, boolean]>;
  receiver.write(buildFrame(text));
  const [data, isBinary] = await read;
  expect(data.toString()).toBe(text);
  expect(isBinary).toBe(false);
});

describe('a queue towards a socket', () => {
  let near: Socket;
  let far: Socket;
  let overflows: number[];
  let queue: SendQueue;
  let writes: number;

  beforeEach(async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    far = connect((server.address() as AddressInfo).port, '127.0.0.1');
    [near] = await accepted;
    await once(far, 'connect');
    server.close();
    far.pause();
    overflows = [];
    writes = 0;
    // What reaches the system: one call for all that was corked.
    const { _writev, _write } = near as unknown as { _writev: (...args: unknown[]) => void; _write: (...args: unknown[]) => void };
    Object.assign(near, {
      _writev: (...args: unknown[]) => (writes++, _writev.apply(near, args)),
      _write: (...args: unknown[]) => (writes++, _write.apply(near, args)),
    });
    queue = new SendQueue(near, new Writer(), { onOverflow: () => void overflows.push(writes) });
  });
  afterEach(() => {
    near.destroy();
    far.destroy();
  });

  const received = async (bytes: number): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    far.on('data', (chunk: Buffer) => chunks.push(chunk));
    far.resume();
    while (Buffer.concat(chunks).length < bytes) await loopTurn();
    return Buffer.concat(chunks);
  };

  test('writes what was pushed in one turn of the loop in one call, in order', async () => {
    const frames = ['one', 'two', 'three'].map(buildFrame);
    for (const frame of frames) queue.push(frame);
    expect(writes).toBe(0);
    await loopTurn();
    expect(writes).toBe(1);
    expect(await received(Buffer.concat(frames).length)).toEqual(Buffer.concat(frames));
  });

  test('keeps what is pushed while it is held, and writes it behind the first frame', async () => {
    const [first, second, third] = ['first', 'second', 'third'].map(buildFrame) as [Buffer, Buffer, Buffer];
    queue.hold();
    queue.push(second);
    queue.push(third);
    await loopTurn();
    expect(writes).toBe(0);
    queue.release(first);
    expect(await received(first.length + second.length + third.length)).toEqual(Buffer.concat([first, second, third]));
  });

  test('[G8] holds 8 MiB, the frame about to be queued included', () => {
    const frame = buildFrame('x'.repeat(limits.outboundMost / 4 - 10));
    expect(frame.length * 4).toBe(limits.outboundMost);
    queue.hold();
    for (let n = 0; n < 4; n++) queue.push(frame);
    expect(overflows).toHaveLength(0);
    queue.push(buildFrame('x'));
    expect(overflows).toHaveLength(1);
  });

  test('[G8] counts what the socket has not been able to write', async () => {
    const frame = buildFrame('x'.repeat(100_000));
    // The far side reads nothing: the kernel takes its share, the rest stays with us.
    let pushed = 0;
    while (overflows.length === 0 && pushed < 2_000) {
      queue.push(frame);
      pushed++;
      await loopTurn();
    }
    expect(overflows).toHaveLength(1);
    expect(near.writableLength).toBeLessThanOrEqual(limits.outboundMost);
    expect(queue.bytes).toBeGreaterThan(limits.outboundMost - frame.length);
  });

  test('takes what may be lost only while there is room', () => {
    queue.hold();
    const fleeting = buildFrame('typing');
    expect(queue.pushFleeting(fleeting)).toBe(true);
    queue.push(buildFrame('x'.repeat(limits.outboundBytes / 4)));
    expect(queue.pushFleeting(fleeting)).toBe(false);
    queue.push(buildFrame('x'.repeat(100)));
    expect(overflows).toHaveLength(0);
  });

  test('does nothing after its end', async () => {
    queue.push(buildFrame('waiting'));
    queue.close();
    queue.push(buildFrame('late'));
    await loopTurn();
    expect(writes).toBe(0);
    expect(queue.bytes).toBe(0);
  });
});

test('so many sockets are written in one turn that others are still read in between', async () => {
  const writer = new Writer();
  let written = 0;
  for (let n = 0; n < 600; n++) {
    const socket = new PassThrough();
    socket.on('data', () => written++);
    new SendQueue(socket, writer, { onOverflow() {} }).push(buildFrame('hello'));
  }
  const turns: number[] = [];
  for (let turn = 0; turn < 3; turn++) {
    await loopTurn();
    turns.push(written);
  }
  expect(turns).toEqual([250, 500, 600]);
});

test('what comes while others are written goes out in one write with what waited, and in one piece that all share', async () => {
  const writer = new Writer();
  const sockets = Array.from({ length: 600 }, () => {
    const socket = new PassThrough();
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    return { chunks, queue: new SendQueue(socket, writer, { onOverflow() {} }) };
  });
  const [first, second] = [buildFrame('first'), buildFrame('second')];
  for (const { queue } of sockets) queue.push(first);
  await loopTurn();
  for (const { queue } of sockets) queue.push(second);
  while (sockets.some(({ chunks }) => Buffer.concat(chunks).length < first.length + second.length)) await loopTurn();
  for (const { chunks } of sockets) expect(Buffer.concat(chunks)).toEqual(Buffer.concat([first, second]));
  expect(sockets.map(({ chunks }) => chunks.length)).toEqual(sockets.map((_, index) => (index < 250 ? 2 : 1)));
  const joined = new Set(sockets.slice(250).map(({ chunks }) => chunks[0]));
  expect(joined.size).toBe(1);
});

test('[G8] beyond the bound of the process, those furthest behind go, and no more than it takes', () => {
  const connections = [10, 400, 30, 300, 20].map((backlog) => ({ backlog }));
  expect(furthestBehind(connections, 760)).toEqual([]);
  expect(furthestBehind(connections, 759).map(({ backlog }) => backlog)).toEqual([400]);
  expect(furthestBehind(connections, 100).map(({ backlog }) => backlog)).toEqual([400, 300]);
});

const largeText = '字'.repeat(limits.messageText);
const outboundHits = async ({ running }: TestServer): Promise<number> => {
  const { values } = await running.metrics.registry.getSingleMetric('kith_limit_hits_total')!.get();
  return values.find(({ labels }) => labels['limit'] === 'outbound')!.value;
};

test('[CO7] [G8] [N10] a reader that hangs is closed 4008, and nobody else waits for it', async () => {
  await using server = await startTestServer();
  const [ann, bob] = [await server.register('ann'), await server.register('bob')];
  await server.befriend(ann, bob);
  const { conversation } = await server.call('conversation.direct', { userId: ann.id }, bob.token);
  const stream = `conversation:${conversation.id}`;
  const [stalled, healthy, sender] = [await server.connect(ann), await server.connect(ann), await server.connect(bob)];
  stalled.stopReading();

  let sent = 0;
  while ((await outboundHits(server)) === 0) {
    if (sent > 2_000) throw new Error('the stalled reader was never let go');
    await Promise.all(
      Array.from({ length: 20 }, () => sender.call('message.send', { conversationId: conversation.id, clientId: `client-id-${sent++}`, type: 'text', text: largeText })),
    );
  }
  await healthy.push((push) => push.stream === stream && push.version >= sent);
  stalled.startReading();
  expect(await stalled.closed).toMatchObject({ code: closeCodes.tooSlow.code });
  // It comes back, and finds what it missed.
  const again = await server.connect(ann);
  const since = Math.max(0, ...stalled.frames.map((frame) => ('stream' in frame && frame.stream === stream ? frame.version : 0)));
  const { version } = (await again.call('stream.changes', { stream, since, limit: 500 })) as { version: number };
  expect(version).toBeGreaterThan(since);
});

/** The server's ends of its connections, in the order in which they came. */
function serverSockets({ running }: TestServer): Socket[] {
  const sockets: Socket[] = [];
  running.http.on('connection', (socket: Socket) => sockets.push(socket));
  return sockets;
}

test('[CO7] a reader that is 1 MiB behind is closed 4008 after 10 s, not before', async () => {
  const clock = new ManualClock();
  await using server = await startTestServer({ clock });
  const [ann, bob] = [await server.register('ann'), await server.register('bob')];
  await server.befriend(ann, bob);
  const { conversation } = await server.call('conversation.direct', { userId: ann.id }, bob.token);
  const sender = await server.connect(bob);
  const sockets = serverSockets(server);
  const stalled = await server.connect(ann);
  stalled.stopReading();
  for (let sent = 0; sockets[0]!.writableLength <= limits.outboundBytes * 1.5; sent++)
    await sender.call('message.send', { conversationId: conversation.id, clientId: `client-id-${sent}`, type: 'text', text: largeText });
  // The first look finds it behind.
  await clock.pass(limits.outboundMs);
  expect(await outboundHits(server)).toBe(0);
  await clock.pass(1_000);
  expect(await outboundHits(server)).toBe(1);
  stalled.startReading();
  expect(await stalled.closed).toMatchObject({ code: closeCodes.tooSlow.code });
});

describe('a client that asks for much in one breath', () => {
  let server: TestServer;
  let person: Person;
  let conversationId: string;
  let most = 0;
  let sockets: Socket[];
  beforeEach(async () => {
    // What waits in the socket whenever another request is taken up.
    const wrapCore = (core: Core): Core =>
      coreWith(core, {
        handle: (caller, frame) => {
          for (const socket of sockets) most = Math.max(most, socket.writableLength);
          return core.handle(caller, frame);
        },
      });
    sockets = [];
    server = await startTestServer({ wrapCore });
    person = await server.guest();
    ({ id: conversationId } = (await server.call('conversation.create', { title: 'Much', memberIds: [] }, person.token)).conversation);
    for (let n = 0; n < 12; n++) await server.call('message.send', { conversationId, clientId: `client-id-${n}`, type: 'text', text: largeText }, person.token);
    sockets = serverSockets(server);
    most = 0;
  });
  afterEach(() => server.close());

  const pages = 100;
  const ask = (client: TestClient): void => {
    for (let n = 0; n < pages; n++) client.send({ id: `page-${n}`, method: 'message.history', params: { conversationId } });
  };
  /** Bytes of all the pages: far more than may ever wait. */
  const received = async (client: TestClient): Promise<number> => {
    const replies = await Promise.all(Array.from({ length: pages }, (_, n) => client.reply(`page-${n}`)));
    return replies.filter(({ error }) => !error).reduce((sum, reply) => sum + Buffer.byteLength(JSON.stringify(reply)), 0);
  };
  const expected = pages * (limits.pageBytes - 3 * limits.messageText);

  test('[CO12] gets every reply as fast as it reads', async () => {
    const client = await server.connect(person);
    ask(client);
    expect(await received(client)).toBeGreaterThan(expected);
  });

  test('[CO12] is asked no more of while it does not read, and gets every reply when it does', async () => {
    const client = await server.connect(person);
    client.stopReading();
    ask(client);
    await expect.poll(() => sockets[0]!.writableLength).toBeGreaterThan(limits.outboundBytes / 2);
    client.startReading();
    expect(await received(client)).toBeGreaterThan(expected);
    expect(most).toBeLessThan(limits.outboundBytes + limits.pageBytes);
  });

  test('[CO12] is refused what would make its waiting requests too large', async () => {
    const client = await server.connect(person);
    client.stopReading();
    ask(client);
    for (let n = 0; n < 40; n++) client.send(JSON.stringify({ id: `large-${n}`, method: 'message.history', params: { conversationId } }).padEnd(limits.frameBytes));
    client.startReading();
    expect((await client.reply('large-39')).error).toMatchObject({ code: 'rate_limited', retryAfterMs: expect.any(Number) });
    expect(await received(client)).toBeGreaterThan(expected);
  });
});
