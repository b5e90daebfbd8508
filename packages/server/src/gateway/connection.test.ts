import { closeCodes, limits } from '@kith/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Person, type TestServer, coreWith, startTestServer } from '../../test/harness.ts';
import { ManualClock } from '../../test/manual-clock.ts';
import { RawSocket, handMade } from '../../test/raw-socket.ts';
import type { Identity } from '../core/core.ts';
import type { LimitName } from '../metrics.ts';

const hello = (token: string, id = 'hello') => ({ id, method: 'hello', params: { token } });

const hits = async ({ running }: TestServer, limit: LimitName): Promise<number> => {
  const { values } = await running.metrics.registry.getSingleMetric('kith_limit_hits_total')!.get();
  return values.find(({ labels }) => labels['limit'] === limit)!.value;
};

describe('hello', () => {
  let server: TestServer;
  let ann: Person;
  beforeAll(async () => {
    server = await startTestServer();
    ann = await server.guest('Ann');
  });
  afterAll(() => server.close());

  test('answers with the person, the session, the heads of all they follow, and the heartbeat', async () => {
    const client = await server.socket();
    const { conversation } = await server.call('conversation.create', { title: 'Trip', memberIds: [] }, ann.token);
    const result = await client.hello({ token: ann.token, device: 'test', protocol: 1 });
    expect(result).toMatchObject({ user: { id: ann.id, name: 'Ann' }, session: ann.sessionId, heartbeatMs: server.config.heartbeatMs });
    expect(Object.keys(result.heads)).toEqual(expect.arrayContaining([`user:${ann.id}`, `conversation:${conversation.id}`]));
  });

  test.each([
    ['tampered with', (token: string) => token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A')],
    ['unknown', () => 'kith_unknown'],
    ['empty', () => ''],
  ])('[CO3] a token that is %s gets unauthenticated, and 4500', async (_, change) => {
    const client = await server.socket();
    expect((await client.request('hello', { token: change(ann.token) })).error).toMatchObject({ code: 'unauthenticated', retryable: false });
    expect(await client.closed).toMatchObject({ code: closeCodes.sessionEnded.code });
  });

  test('[CO3] no token anywhere is the same', async () => {
    const client = await server.socket();
    expect((await client.request('hello')).error?.code).toBe('unauthenticated');
    expect(await client.closed).toMatchObject({ code: 4500 });
  });

  test('[CO1] [WS3.1] any other frame before it gets unauthenticated, and 1008', async () => {
    const client = await server.socket();
    expect((await client.request('auth.guest', { name: 'Eve' })).error?.code).toBe('unauthenticated');
    expect(await client.closed).toMatchObject({ code: 1008 });
  });

  test('[CO4] [WS3.1] a second hello gets an error, and 1008', async () => {
    const client = await server.connect(ann);
    expect((await client.request('hello', { token: ann.token })).error?.code).toBe('bad_request');
    expect(await client.closed).toMatchObject({ code: 1008 });
  });

  test('[CO4] [WS3.1] a second hello that hides its name is the same', async () => {
    for (const frame of ['{"id":"x","method":"room.list","params":{},"method":"hello"}', '{"id":"x","method":"room.list","params":{},"\\u006dethod":"hello"}']) {
      const client = await server.connect(ann);
      client.send(frame);
      expect((await client.reply('x')).error?.code).toBe('bad_request');
      expect(await client.closed).toMatchObject({ code: 1008 });
    }
  });

  test('[CO4] another version of the protocol gets an error, and 4502', async () => {
    const client = await server.socket();
    expect((await client.request('hello', { token: ann.token, protocol: 2 })).error?.code).toBe('unsupported');
    expect(await client.closed).toMatchObject({ code: closeCodes.protocolVersion.code });
  });

  test('a mistake in it may be mended: the connection waits for a better one', async () => {
    const client = await server.socket();
    client.send('{"id":"1","method":"hello"');
    expect((await client.reply('')).error?.code).toBe('bad_json');
    expect((await client.request('hello', { tokn: ann.token })).error).toMatchObject({ code: 'bad_request', path: 'params.tokn' });
    expect((await client.hello({ token: ann.token })).user.id).toBe(ann.id);
  });

  test('[FR2] requests sent right behind it wait for it, and are answered in turn', async () => {
    const client = await server.socket();
    client.send(hello(ann.token));
    for (const id of ['a', 'b', 'c']) client.send({ id, method: 'stream.heads', params: { streams: [] } });
    await client.reply('c');
    expect(client.frames.map((frame) => ('id' in frame ? frame.id : ''))).toEqual(['hello', 'a', 'b', 'c']);
  });

  test('[FR1] a request has an id, a method and params, and no other key; its reply has the same id', async () => {
    const client = await server.connect(ann);
    const ask = async (frame: object, id = ''): Promise<unknown> => {
      client.send(frame);
      const { error } = (await client.next((reply) => 'id' in reply && reply.id === id)) as { error?: { code: string; path?: string } };
      return error && [error.code, error.path];
    };
    await client.settle();
    expect(await ask({ id: 'x'.repeat(64), method: 'room.list', params: {} }, 'x'.repeat(64))).toBeUndefined();
    expect(await ask({ id: 'no params', method: 'room.list' }, 'no params')).toBeUndefined();
    expect(await ask({ id: 'x'.repeat(65), method: 'room.list' })).toEqual(['bad_request', 'id']);
    expect(await ask({ id: '', method: 'room.list' })).toEqual(['bad_request', 'id']);
    expect(await ask({ id: 7, method: 'room.list' })).toEqual(['bad_request', 'id']);
    expect(await ask({ id: 'a' })).toEqual(['bad_request', 'method']);
    expect(await ask({ id: 'b', method: 'room.list', user: 'me' })).toEqual(['bad_request', 'user']);
    await client.close();
  });

  test('[ST9] what is pushed while it is answered comes after its reply', async () => {
    const bob = await server.guest('Bob');
    const { conversation } = await server.call('conversation.create', { title: 'Busy', memberIds: [] }, bob.token);
    const stream = `conversation:${conversation.id}`;
    const send = (n: number) => server.call('message.send', { conversationId: conversation.id, clientId: `client-id-${n}`, type: 'text', text: `${n}` }, bob.token);
    const sending = (async () => {
      for (let n = 0; n < 60; n++) await send(n);
    })();
    for (let n = 0; n < 10; n++) {
      const client = await server.socket();
      const { heads } = await client.hello({ token: bob.token });
      expect(client.frames[0]).toHaveProperty('result');
      // And nothing is missing between the heads of the reply and the first push.
      await send(100 + n);
      expect((await client.push((push) => push.stream === stream)).version).toBeLessThanOrEqual(heads[stream]! + 1);
      await client.close();
    }
    await sending;
  });

  test('the reply to hello comes first, whatever is pushed while it is made', async () => {
    let meanwhile = async (): Promise<void> => {};
    await using slow = await startTestServer({
      wrapCore: (core) =>
        coreWith(core, {
          handle: async (caller, frame) => {
            const answer = await core.handle(caller, frame);
            if (frame.includes('"hello"')) await meanwhile();
            return answer;
          },
        }),
    });
    const bob = await slow.guest('Bob');
    const { conversation } = await slow.call('conversation.create', { title: 'Busy', memberIds: [] }, bob.token);
    const witness = await slow.connect(bob);
    meanwhile = async () => {
      meanwhile = async () => {};
      await slow.call('message.send', { conversationId: conversation.id, clientId: 'client-id-1', type: 'text', text: 'meanwhile' }, bob.token);
      await witness.push((push) => push.stream === `conversation:${conversation.id}`);
    };
    const client = await slow.connect(bob);
    await client.settle();
    expect(client.frames[0]).toHaveProperty('result.heartbeatMs');
    expect(client.frames[1]).toMatchObject({ stream: `conversation:${conversation.id}` });
  });

  test('where it is unknown whether a request was done, there is no reply: the connection ends, and the client asks again', async () => {
    await using unsure = await startTestServer({
      wrapCore: (core) =>
        coreWith(core, {
          handle: async (caller, frame) => {
            const answer = await core.handle(caller, frame);
            return frame.includes('room.list') ? { ...answer, effects: [{ do: 'close', as: 'tryLater' }] } : answer;
          },
        }),
    });
    const client = await unsure.connect(await unsure.guest());
    client.send({ id: 'unsure', method: 'room.list', params: {} });
    expect(await client.closed).toMatchObject({ code: closeCodes.tryLater.code });
    expect(client.frames.some((frame) => 'id' in frame && frame.id === 'unsure')).toBe(false);
  });

  test('the token itself is in no frame of the reply', async () => {
    const client = await server.connect(ann);
    expect(JSON.stringify(client.frames)).not.toContain(ann.token);
  });
});

describe('time and bytes before hello', () => {
  let server: TestServer;
  const clock = new ManualClock();
  beforeAll(async () => {
    server = await startTestServer({ clock });
  });
  afterAll(() => server.close());

  test('[CO2] [WS3.1] a socket that never says hello is closed 4001 after 10 s', async () => {
    const client = await server.socket();
    await clock.pass(limits.helloMs - 2_000);
    expect(client.ws.readyState).toBe(client.ws.OPEN);
    await clock.pass(4_000);
    expect(await client.closed).toMatchObject({ code: closeCodes.helloLate.code });
    expect(await hits(server, 'hello-late')).toBe(1);
  });

  test('[N20] a hello that came while our own loop stood still is in time', async () => {
    const person = await server.guest();
    const client = await server.socket();
    await clock.stall(2 * limits.helloMs, () => client.send(hello(person.token)));
    expect((await client.reply('hello')).result).toBeDefined();
    await client.close();
  });

  test('[WS3.1] a frame dribbled byte by byte is cut after 10 s', async () => {
    const person = await server.guest();
    const raw = await RawSocket.upgraded(server.port);
    raw.write(handMade({ payload: JSON.stringify(hello(person.token)) }));
    await raw.until((bytes) => bytes.includes('"heartbeatMs"'));
    const slow = handMade({ payload: JSON.stringify({ id: '2', method: 'stream.heads', params: { streams: [] } }) });
    for (let second = 0; second < 13; second++) {
      raw.write(slow.subarray(second, second + 1));
      await clock.pass(1_000);
    }
    expect(await raw.closeCode()).toBe(1008);
    expect(await hits(server, 'incomplete-message')).toBe(1);
    raw.close();
  });

  test('[WS3.1] fragments without an end are cut the same, and a slow sender of whole messages is not', async () => {
    const person = await server.guest();
    const raw = await RawSocket.upgraded(server.port);
    const patient = await server.connect(person);
    raw.write(handMade({ payload: JSON.stringify(hello(person.token)) }));
    await raw.until((bytes) => bytes.includes('"heartbeatMs"'));
    raw.write(handMade({ fin: false, payload: '{' }));
    for (let second = 0; second < 13; second++) {
      await patient.settle();
      await clock.pass(1_000);
    }
    expect(await raw.closeCode()).toBe(1008);
    await patient.settle();
    raw.close();
  });

  test('more than 4 KiB before hello is closed 1009, in one frame or many', async () => {
    const client = await server.socket();
    client.send({ id: '1', method: 'hello', params: { token: 'x'.repeat(limits.unauthenticatedBytes) } });
    expect(await client.closed).toMatchObject({ code: 1009 });
    const raw = await RawSocket.upgraded(server.port);
    for (let n = 0; n < 50; n++) raw.write(handMade({ opcode: 9, payload: Buffer.alloc(100) }));
    expect(await raw.closeCode()).toBe(1009);
    raw.close();
  });
});

describe('limits of a connection', () => {
  let server: TestServer;
  let ann: Person;
  const clock = new ManualClock();
  beforeAll(async () => {
    server = await startTestServer({ clock, config: { rateLimits: true } });
    ann = await server.guest();
  });
  afterEach(() => clock.pass(60_000));
  afterAll(() => server.close());

  test.each([
    ['command', 60, 20, 'room.list', {}],
    ['send', 60, 10, 'message.send', { conversationId: 'none', clientId: 'client-id-1', type: 'text', text: 'hi' }],
    ['sync', 600, 100, 'stream.heads', { streams: [] }],
    ['fleeting', 60, 20, 'typing.set', { conversationId: 'none' }],
    ['search', 10, 1, 'user.search', { query: 'nobody' }],
  ] as const)('[CO8] [4.5] after a burst, a %s is refused with the time to wait, and taken again after it', async (rate, burst, perSecond, method, params) => {
    const client = await server.connect(ann);
    const replies = [];
    // In parts, since only so many may wait for their reply at once.
    for (let n = 0; n < burst; n += 30) replies.push(...(await Promise.all(Array.from({ length: Math.min(30, burst - n) }, () => client.request(method, params)))));
    expect(replies.filter((reply) => reply.error?.code === 'rate_limited')).toEqual([]);
    const before = await hits(server, rate);
    const { error } = await client.request(method, params);
    expect(error).toMatchObject({ code: 'rate_limited', retryable: true, retryAfterMs: 1_000 / perSecond });
    expect(await hits(server, rate)).toBe(before + 1);
    await clock.pass(error!.retryAfterMs!);
    expect((await client.request(method, params)).error?.code).not.toBe('rate_limited');
    await client.close();
  });

  test('[4.5] a frame that hides its method does not get another bucket', async () => {
    const client = await server.connect(ann);
    const send = (id: string): string =>
      `{"id":"${id}","method":"stream.heads","params":{"conversationId":"none","clientId":"client-id-1","type":"text","text":"hi"},"method":"message.send"}`;
    for (let n = 0; n < 61; n++) client.send(send(`${n}`));
    expect((await client.reply('59')).error?.code).not.toBe('rate_limited');
    expect((await client.reply('60')).error?.code).toBe('rate_limited');
    await client.close();
  });

  test('[CO8] [4.5] after 100 refusals in 10 s the connection is closed 4029', async () => {
    const client = await server.connect(ann);
    for (let n = 0; n < 60 + 101; n++) client.send({ id: `${n}`, method: 'room.list', params: {} });
    expect(await client.closed).toMatchObject({ code: closeCodes.tooMany.code });
    expect(client.frames.filter((frame) => 'error' in frame && frame.error?.code === 'rate_limited')).toHaveLength(101);
  });

  test('[CO8] [WS3.1] more than 10 pings a second are closed 4029', async () => {
    const client = await server.connect(ann);
    for (let n = 0; n < 10; n++) client.ws.ping();
    await client.settle();
    await clock.pass(1_000);
    for (let n = 0; n < 11; n++) client.ws.ping();
    expect(await client.closed).toMatchObject({ code: 4029 });
  });

  test('[WS3.1] so are pongs that nobody asked for', async () => {
    const client = await server.connect(ann);
    for (let n = 0; n < 12; n++) client.ws.pong();
    expect(await client.closed).toMatchObject({ code: 4029 });
  });

  test('[FR4] [3.2] the sixth frame within a minute that is not JSON is closed 1008', async () => {
    const client = await server.connect(ann);
    for (let n = 0; n < 5; n++) client.send('nonsense');
    await client.settle();
    expect(client.frames.filter((frame) => 'error' in frame && frame.error?.code === 'bad_json')).toHaveLength(5);
    client.send('nonsense');
    expect(await client.closed).toMatchObject({ code: 1008 });
  });

  test('[4.5] only so many requests wait for their reply at once', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    await using slow = await startTestServer({
      clock,
      config: { rateLimits: true },
      wrapCore: (core) => coreWith(core, { handle: async (caller, frame) => (await (frame.includes('stream.heads') ? held : undefined), core.handle(caller, frame)) }),
    });
    const client = await slow.connect(await slow.guest());
    for (let n = 0; n <= 256; n++) client.send({ id: `${n}`, method: 'stream.heads', params: { streams: [] } });
    expect((await client.reply('256')).error).toMatchObject({ code: 'rate_limited', retryAfterMs: 1_000 });
    expect(await hits(slow, 'in-flight')).toBe(1);
    release();
    for (let n = 0; n < 256; n++) expect((await client.reply(`${n}`)).result).toBeDefined();
  });

  test('a person has 20 connections, and the next is refused', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => server.connect(ann)));
    const one = await server.socket();
    expect((await one.request('hello', { token: ann.token })).error?.code).toBe('too_many');
    expect(await one.closed).toMatchObject({ code: 4029 });
    await clients[0]!.close();
    await server.connect(ann);
    await Promise.all(clients.map((client) => client.close()));
  });
});

describe('strangers', () => {
  const behindProxy = { rateLimits: true, trustProxy: '127.0.0.1' };

  test('[HO9] [WS3.1] an address has 10 sockets that have not said hello; another address is not touched', async () => {
    await using server = await startTestServer({ clock: new ManualClock(), config: behindProxy });
    const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });
    const ten = await Promise.all(Array.from({ length: 10 }, () => server.socket(from('203.0.113.7'))));
    await expect(server.socket(from('203.0.113.7'))).rejects.toMatchObject({ status: 429, headers: { 'retry-after': '2' } });
    await server.socket(from('203.0.113.8'));
    const ann = await server.guest();
    await ten[0]!.hello({ token: ann.token });
    await server.socket(from('203.0.113.7'));
    expect(await hits(server, 'pending-address')).toBe(1);
  });

  test('[HO9] [WS3.1] there are 1,000 of them in all', async () => {
    await using server = await startTestServer({ clock: new ManualClock(), config: { rateLimits: true } });
    for (let n = 0; n < 10; n++) await Promise.all(Array.from({ length: 100 }, () => server.socket()));
    await expect(server.socket()).rejects.toMatchObject({ status: 503 });
    expect(await hits(server, 'pending-total')).toBe(1);
  });

  test('[HO9] an address opens 30 at once, then 5 a second', async () => {
    const clock = new ManualClock();
    await using server = await startTestServer({ clock, config: behindProxy });
    const options = { headers: { 'x-forwarded-for': '2001:db8::1' } };
    for (let n = 0; n < 30; n++) await (await server.socket(options)).close();
    // The neighbour in the same /64 is the same customer.
    await expect(server.socket({ headers: { 'x-forwarded-for': '2001:db8::2' } })).rejects.toMatchObject({ status: 429 });
    await clock.pass(1_000);
    for (let n = 0; n < 5; n++) await (await server.socket(options)).close();
    await expect(server.socket(options)).rejects.toMatchObject({ status: 429 });
  });

  test('[HO5] [3.3 X-Forwarded-For] from a peer that is not trusted is not believed', async () => {
    await using server = await startTestServer({ clock: new ManualClock(), config: { rateLimits: true, registrationsPerHour: 1 } });
    const as = (address: string) => server.post('auth.guest', { name: 'Ann' }, { headers: { 'x-forwarded-for': address } });
    expect((await as('203.0.113.1')).status).toBe(200);
    expect((await as('203.0.113.2')).status).toBe(429);
  });

  test('[HO9] a server has as many connections as its operator allows', async () => {
    await using server = await startTestServer({ config: { maxConnections: 2 } });
    const first = await server.socket();
    await server.socket();
    await expect(server.socket()).rejects.toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    await first.close();
    await server.socket();
  });
});

test('[CO15] peers that go at once, each closing its own side, are all let go', async () => {
  const left: string[] = [];
  const disconnected = ({ sessionId }: Identity): void => void left.push(sessionId);
  await using server = await startTestServer({ wrapCore: (core) => coreWith(core, { disconnected }) });
  const people = await Promise.all(Array.from({ length: 30 }, () => server.guest()));
  const sockets = await Promise.all(people.map(() => RawSocket.upgraded(server.running.port)));
  for (const [at, socket] of sockets.entries()) socket.write(handMade({ payload: JSON.stringify(hello(people[at]!.token)) }));
  for (const socket of sockets) await socket.until((received) => received.includes('"result"'));
  for (const { socket } of sockets) socket.end();
  // The other side of each closes only when they are.
  await Promise.all(sockets.map(({ ended }) => ended));
  expect(left.toSorted()).toEqual(people.map(({ sessionId }) => sessionId).toSorted());
  expect((await server.running.metrics.connections.get()).values).toMatchObject([{ value: 0 }]);
});
