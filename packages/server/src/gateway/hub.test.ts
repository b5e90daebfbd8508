import { RequestError, type ServerFrame, closeCodes } from '@kith/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Person, type TestClient, type TestServer, coreWith, engines, startTestServer } from '../../test/harness.ts';
import type { Broker } from '../broker/broker.ts';
import { openLocalBroker } from '../broker/local.ts';

const pushesOf = (client: TestClient, stream: string): ServerFrame[] => client.frames.filter((frame) => 'stream' in frame && frame.stream === stream);

describe.each(engines)('who gets what, with %s', (engine) => {
  let server: TestServer;
  let ann: Person;
  let bob: Person;
  beforeAll(async () => {
    server = await startTestServer({ engine });
    ann = await server.register('ann');
    bob = await server.register('bob');
    await server.befriend(ann, bob);
  });
  afterAll(() => server.close());

  const say = (conversationId: string, text: string, person = bob) =>
    server.call('message.send', { conversationId, clientId: `client-${text}`, type: 'text', text }, person.token).then(({ message }) => message);

  /** After a push of their own stream, one more is only one more, and nothing is asked again for fear of a loss. */
  const knowsItsHead = async (client: TestClient): Promise<void> => {
    await client.call('user.update', { bio: `${Math.random()}` });
    for (let n = 0; n < 3; n++) await client.settle();
  };

  test('[G3] every connection of every member gets a message, the sender’s own included', async () => {
    const { conversation } = await server.call('conversation.direct', { userId: ann.id }, bob.token);
    const clients = [await server.connect(ann), await server.connect(ann), await server.connect(bob)];
    const message = await say(conversation.id, 'hello');
    for (const client of clients) expect((await client.push((push) => push.version === message.version)).entities).toContainEqual(message);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('a conversation made while one is connected is followed at once', async () => {
    const client = await server.connect(ann);
    await knowsItsHead(client);
    const { conversation } = await server.call('conversation.create', { title: 'New', memberIds: [ann.id] }, bob.token);
    const message = await say(conversation.id, 'first');
    expect((await client.push((push) => push.stream === `conversation:${conversation.id}` && push.version === message.version)).entities).toContainEqual(message);
    await client.close();
  });

  test('[G5] after a removal not one more frame of the conversation is written to them', async () => {
    const { conversation } = await server.call('conversation.create', { title: 'Leaving', memberIds: [ann.id] }, bob.token);
    const stream = `conversation:${conversation.id}`;
    const client = await server.connect(ann);
    const witness = await server.connect(bob);
    await server.call('member.remove', { conversationId: conversation.id, userId: ann.id }, bob.token);
    const removedAt = pushesOf(client, stream).length;
    const message = await say(conversation.id, 'secret');
    await witness.push((push) => push.stream === stream && push.version === message.version);
    await client.settle();
    expect(JSON.stringify(client.frames)).not.toContain('secret');
    expect(pushesOf(client, stream).length).toBe(removedAt);
    await Promise.all([client.close(), witness.close()]);
  });

  test('[G6] a session that is revoked is closed 4500, and the others are not', async () => {
    const second = await server.login(ann);
    const kept = await server.connect(ann);
    const revoked = [await server.connect(second), await server.connect(second)];
    await knowsItsHead(kept);
    await kept.call('session.revoke', { sessionId: second.sessionId });
    for (const client of revoked) expect(await client.closed).toMatchObject({ code: closeCodes.sessionEnded.code });
    await kept.settle();
    const late = await server.socket();
    expect((await late.request('hello', { token: second.token })).error?.code).toBe('unauthenticated');
    await kept.close();
  });

  test('[G5] typing and the like reach members only', async () => {
    const { conversation } = await server.call('conversation.direct', { userId: ann.id }, bob.token);
    const eve = await server.guest('Eve');
    const [a, b, e] = [await server.connect(ann), await server.connect(bob), await server.connect(eve)];
    await b.call('typing.set', { conversationId: conversation.id });
    expect(await a.signal()).toEqual({ signal: 'typing', data: { conversationId: conversation.id, userId: bob.id } });
    await e.settle();
    expect(e.frames.filter((frame) => 'signal' in frame)).toEqual([]);
    await Promise.all([a.close(), b.close(), e.close()]);
  });
});

describe('what the hub follows at the broker', () => {
  const recording = (): { broker: Broker; followed: Set<string> } => {
    const inner = openLocalBroker();
    const followed = new Set<string>();
    const broker: Broker = {
      ...inner,
      follow(topics) {
        for (const topic of topics) {
          expect(followed.has(topic)).toBe(false);
          followed.add(topic);
        }
        return inner.follow(topics);
      },
      unfollow(topics) {
        for (const topic of topics) expect(followed.delete(topic)).toBe(true);
        inner.unfollow(topics);
      },
    };
    return { broker, followed };
  };

  test('is each topic once, from the first connection to the last', async () => {
    const { broker, followed } = recording();
    await using server = await startTestServer({ broker });
    const ann = await server.guest('Ann');
    const own = `user:${ann.id}`;
    expect(followed.size).toBe(0);
    const [one, two] = [await server.connect(ann), await server.connect(ann)];
    expect(followed.has(own)).toBe(true);
    await one.close();
    await two.settle();
    expect(followed.has(own)).toBe(true);
    await two.close();
    const witness = await server.connect(await server.guest('Bob'));
    await witness.settle();
    expect(followed.has(own)).toBe(false);
  });

  test('changes by a control publication, for everybody who follows its topic and without a frame', async () => {
    const broker = openLocalBroker();
    await using server = await startTestServer({ broker });
    const [ann, bob] = [await server.guest('Ann'), await server.guest('Bob')];
    const clients = [await server.connect(ann), await server.connect(bob)] as const;
    const signal = (n: number) => broker.publish({ kind: 'signal', topic: 'online:room', frame: `{"signal":"typing","data":{"n":${n}}}` });
    broker.publish({ kind: 'control', topic: `user:${ann.id}`, follow: ['online:room'] });
    signal(1);
    broker.publish({ kind: 'control', topic: 'online:room', unfollow: ['online:room'], follow: ['online:next'] });
    signal(2);
    broker.publish({ kind: 'signal', topic: 'online:next', frame: '{"signal":"typing","data":{"n":3}}' });
    for (const client of clients) await client.settle();
    const got = (client: TestClient) => client.frames.flatMap((frame) => ('signal' in frame ? [(frame.data as unknown as { n: number }).n] : []));
    expect(clients.map(got)).toEqual([[1, 3], []]);
  });

  test('a connection that watches more and more people keeps the latest', async () => {
    const { broker, followed } = recording();
    await using server = await startTestServer({
      broker,
      // A core that lets one watch anybody, as often as they like.
      wrapCore: (core) =>
        coreWith(core, { handle: async (caller, frame) => ({ ...(await core.handle(caller, frame)), ...(frame.includes('presence.watch') && { effects: watch(frame) }) }) }),
    });
    const watch = (frame: string) => {
      const { userIds } = (JSON.parse(frame) as { params: { userIds: string[] } }).params;
      return [{ do: 'follow' as const, topics: userIds.map((id) => `presence:${id}` as const) }];
    };
    const client = await server.connect(await server.guest());
    for (let n = 0; n < 5; n++) await client.request('presence.watch', { userIds: Array.from({ length: 400 }, (_, index) => `person-${n}-${index}`) });
    const watched = [...followed].filter((topic) => topic.startsWith('presence:'));
    expect(watched).toHaveLength(600);
    expect(watched).toContain('presence:person-4-399');
    expect(watched).not.toContain('presence:person-0-0');
  });
});

describe('the moment of connecting', () => {
  test('[G5] an answer that was read before a removal does not bring the conversation back', async () => {
    let tell = (): void => {};
    const asked = new Promise<void>((resolve) => (tell = resolve));
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    await using server = await startTestServer({
      wrapCore: (core) =>
        coreWith(core, {
          // The answer is read first, and arrives last.
          topics: async (who) => {
            const topics = await core.topics(who);
            tell();
            await held;
            return topics;
          },
        }),
    });
    const [ann, bob] = [await server.register('ann'), await server.register('bob')];
    await server.befriend(ann, bob);
    const { conversation } = await server.call('conversation.create', { title: 'Trip', memberIds: [ann.id] }, bob.token);
    const client = await server.socket();
    client.send({ id: 'hello', method: 'hello', params: { token: ann.token } });
    await asked;
    await server.call('member.remove', { conversationId: conversation.id, userId: ann.id }, bob.token);
    release();
    await client.reply('hello');
    await server.call('message.send', { conversationId: conversation.id, clientId: 'client-secret', type: 'text', text: 'secret' }, bob.token);
    await client.settle();
    expect(JSON.stringify(client.frames)).not.toContain('secret');
  });

  test('[ST9] a broker that takes its time is waited for, before anything is read', async () => {
    const { immediate: _, ...inner } = openLocalBroker();
    const order: string[] = [];
    await using server = await startTestServer({
      broker: {
        ...inner,
        follow: async (topics) => {
          await new Promise((resolve) => setImmediate(resolve));
          await inner.follow(topics);
          order.push(`followed ${topics[0]!.split(':')[0]}`);
        },
      },
      wrapCore: (core) =>
        coreWith(core, {
          topics: (who) => (order.push('topics'), core.topics(who)),
          handle: (caller, frame) => {
            if (frame.includes('"hello"')) order.push('hello');
            return core.handle(caller, frame);
          },
        }),
    });
    const ann = await server.guest();
    await server.call('conversation.create', { title: 'Notes', memberIds: [] }, ann.token);
    await server.connect(ann);
    expect(order).toEqual(['followed user', 'topics', 'followed conversation', 'hello']);
  });

  /** A broker that follows presence only when it is let, and until then loses what is published about it. */
  const slowBroker = () => {
    const { immediate: _, ...inner } = openLocalBroker();
    const [asked, free, lost] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let isFree = false;
    const isPresence = (topic: string): boolean => topic.startsWith('presence:');
    const broker: Broker = {
      ...inner,
      publish(publication) {
        if (isFree || !isPresence(publication.topic)) inner.publish(publication);
        else lost.resolve();
      },
      async follow(topics) {
        if (topics.some(isPresence)) {
          asked.resolve();
          await free.promise;
        }
        await inner.follow(topics);
      },
    };
    const letGo = (): void => {
      isFree = true;
      free.resolve();
    };
    return { broker, asked: asked.promise, lost: lost.promise, letGo };
  };

  /** Ann asks for her friend Bob at a node where it takes time to follow him. */
  const asking = async (server: TestServer, asked: Promise<void>) => {
    const [ann, bob] = [await server.register('ann'), await server.register('bob')];
    await server.befriend(ann, bob);
    const client = await server.connect(ann);
    client.send({ id: 'watch', method: 'presence.watch', params: { userIds: [bob.id] } });
    await asked;
    return { ann, bob, client };
  };
  const told = (client: TestClient): ServerFrame[] => client.frames.filter((frame) => 'signal' in frame && frame.signal === 'presence');

  test('[PR2] who comes while a broker takes its time to follow them is told of in the reply', async () => {
    const { broker, asked, lost, letGo } = slowBroker();
    await using server = await startTestServer({ broker });
    const { bob, client } = await asking(server, asked);
    await server.connect(bob);
    await lost;
    letGo();
    expect(await client.reply('watch')).toMatchObject({ result: { presence: [{ userId: bob.id, online: true }] } });
  });

  test('[PR2] so is who comes while the answer is on its way, where reads have no order', async () => {
    const [read, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { immediate, ...inner } = openLocalBroker();
    const missed = Promise.withResolvers<void>();
    await using server = await startTestServer({
      engine: 'postgres',
      broker: {
        ...inner,
        immediate: immediate!,
        publish(publication) {
          inner.publish(publication);
          if (publication.topic.startsWith('presence:')) missed.resolve();
        },
      },
      wrapCore: (core) =>
        coreWith(core, {
          handle: async (caller, frame) => {
            const answer = await core.handle(caller, frame);
            if (!frame.includes('presence.watch')) return answer;
            read.resolve();
            await held.promise;
            return answer;
          },
        }),
    });
    const { bob, client } = await asking(server, read.promise);
    await server.connect(bob);
    await missed.promise;
    held.resolve();
    expect(await client.reply('watch')).toMatchObject({ result: { presence: [{ userId: bob.id, online: true }] } });
  });

  test('[PR2] a second request waits for the same, and whom it asks for stays followed when the first one fails', async () => {
    const { broker, asked, letGo } = slowBroker();
    let asks = 0;
    await using server = await startTestServer({
      broker,
      wrapCore: (core) =>
        coreWith(core, {
          handle: async (caller, frame) => {
            if (frame.includes('"watch"') && ++asks === 2) throw new RequestError('busy', { retryAfterMs: 1 });
            return core.handle(caller, frame);
          },
        }),
    });
    const { bob, client } = await asking(server, asked);
    client.send({ id: 'second', method: 'presence.watch', params: { userIds: [bob.id] } });
    await client.settle();
    expect(client.frames.filter((frame) => 'id' in frame && frame.id === 'second')).toEqual([]);
    letGo();
    expect(await client.reply('watch')).toMatchObject({ error: { code: 'busy' } });
    expect(await client.reply('second')).toMatchObject({ result: { presence: [{ online: false }] } });
    await server.connect(bob);
    expect(await client.signal()).toMatchObject({ signal: 'presence', data: { userId: bob.id, online: true } });
  });

  test('[PR2] what is published meanwhile comes behind the reply, a thousand signals at most', async () => {
    const { broker, asked, letGo } = slowBroker();
    await using server = await startTestServer({ broker });
    const { ann, client } = await asking(server, asked);
    for (let n = 0; n < 1_010; n++) broker.publish({ kind: 'signal', topic: `user:${ann.id}`, frame: `{"signal":"typing","data":{"n":${n}}}` });
    await client.settle();
    const signals = () => client.frames.flatMap((frame, at) => ('signal' in frame && frame.signal === 'typing' ? [{ at, n: (frame.data as unknown as { n: number }).n }] : []));
    expect(signals()).toEqual([]);
    letGo();
    await client.reply('watch');
    await client.settle();
    const replied = client.frames.findIndex((frame) => 'id' in frame && frame.id === 'watch');
    expect(signals().map(({ n }) => n)).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
    expect(signals()[0]!.at).toBeGreaterThan(replied);
  });

  test('[PR2] an answer that always brings somebody new is asked for again three times', async () => {
    const { broker, asked, letGo } = slowBroker();
    let asks = 0;
    await using server = await startTestServer({
      broker,
      wrapCore: (core) =>
        coreWith(core, {
          handle: async (caller, frame) => {
            const answer = await core.handle(caller, frame);
            return frame.includes('presence.watch') ? { ...answer, effects: [{ do: 'follow', topics: [`presence:${asks++}`] }] } : answer;
          },
        }),
    });
    const { client } = await asking(server, asked);
    letGo();
    expect(await client.reply('watch')).toHaveProperty('result');
    expect(asks).toBe(4);
  });

  test('[PR2] who is not to be seen any more by then is not followed', async () => {
    const { broker, asked, lost, letGo } = slowBroker();
    await using server = await startTestServer({ broker });
    const { bob, client } = await asking(server, asked);
    const show = (presence: 'everyone' | 'nobody') => server.call('settings.update', { presence }, bob.token);
    await show('nobody');
    await lost;
    letGo();
    expect(await client.reply('watch')).toMatchObject({ result: { presence: [] } });
    await show('everyone');
    await show('nobody');
    await client.settle();
    expect(told(client)).toEqual([]);
  });

  test('[PR2] whom a later request gives up meanwhile stays given up', async () => {
    const { broker, asked, lost, letGo } = slowBroker();
    await using server = await startTestServer({ broker });
    const { bob, client } = await asking(server, asked);
    await client.request('presence.unwatch', { userIds: [bob.id] });
    await server.connect(bob);
    await lost;
    letGo();
    expect(await client.reply('watch')).toMatchObject({ result: { presence: [{ online: true }] } });
    await server.call('settings.update', { presence: 'nobody' }, bob.token);
    await client.settle();
    expect(told(client)).toEqual([]);
  });
});
