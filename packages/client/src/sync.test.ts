import { type Push, type StreamId, conversationStream, userStream } from '@kith/protocol';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { FakeClock, settle } from '../test/fake-clock.ts';
import { ModelServer, never, refuse } from '../test/model-server.ts';
import { connectTo, differences, ready, setUp, texts } from '../test/setup.ts';
import { Journal } from './journal.ts';
import { Replica } from './replica.ts';
import { Store } from './store.ts';
import { memoryStorage } from './storage-memory.ts';

const c1 = conversationStream('c1');

describe('gaps', () => {
  test('[SY2] a push of head + 1 moves the head and nothing is asked', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 2 });
    await ready(client);
    server.asked.length = 0;
    server.say('c1', 'ann', 'hello');
    server.say('c1', 'ann', 'again');
    await settle();
    expect(texts(client.timeline('c1').messages)).toEqual(['old 1', 'old 2', 'hello', 'again']);
    expect(server.askedFor('stream.changes')).toEqual([]);
  });

  test('[SY2] a push above head + 1 is kept, and what is missing is asked for since the head', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 1 });
    await ready(client);
    const head = server.heads.get(c1)!;
    server.lose = () => true;
    server.say('c1', 'ann', 'lost');
    server.lose = () => false;
    server.answers.set('stream.changes', never);
    server.edit('c1', 1, 'edited');
    await settle();
    expect(client.store.get('message', 'c1-m1')?.text).toBe('edited');
    expect(server.askedFor('stream.changes')).toEqual([{ stream: c1, since: head }]);
  });

  test('[SY2] the head passes over versions only once all of them arrived, in whatever order', async () => {
    const { server, client } = setUp();
    server.found('c1');
    await ready(client);
    const late: Push[] = [];
    const socket = server.socket!;
    server.lose = (push) => late.push(push) > 0;
    for (const text of ['one', 'two', 'three', 'four']) server.say('c1', 'ann', text);
    server.lose = () => false;
    let answer = (): void => {};
    server.answers.set('stream.changes', (params, from) => new Promise((resolve) => (answer = () => resolve(server.ordinary('stream.changes', params, from)))));
    for (const at of [3, 1, 0]) socket.deliver(late[at]!);
    await settle();
    // Three is missing: four is held, and not shown.
    expect(texts(client.timeline('c1').messages)).toEqual(['one', 'two']);
    socket.deliver(late[2]!);
    await settle();
    expect(texts(client.timeline('c1').messages)).toEqual(['one', 'two', 'three', 'four']);
    answer();
    await settle();
    server.asked.length = 0;
    server.say('c1', 'ann', 'five');
    await settle();
    expect(server.askedFor('stream.changes')).toEqual([]);
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY2] what this program does not know yet moves the head all the same', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 1 });
    const poll = { kind: 'poll', id: 'p1' } as never;
    server.answers.set('stream.snapshot', (params, socket) => {
      const snapshot = server.ordinary('stream.snapshot', params, socket) as { entities: object[] };
      return { ...snapshot, entities: [poll, ...snapshot.entities] };
    });
    await ready(client);
    const version = server.heads.get(c1)! + 1;
    server.heads.set(c1, version);
    server.socket!.deliver({ stream: c1, version, entities: [poll] });
    server.say('c1', 'ann', 'hello');
    await settle();
    expect(texts(client.timeline('c1').messages)).toEqual(['old 1', 'hello']);
    expect(server.askedFor('stream.changes')).toEqual([]);
  });

  test('[SY3] changes are asked for again while there are more', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.changesPage = 3;
    server.socket!.drop();
    for (let n = 0; n < 10; n++) server.say('c1', 'ann', `m${n}`);
    await clock.advance(1_000);
    expect(server.askedFor('stream.changes').length).toBe(4);
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY3] too old: a snapshot replaces all that was held of the stream, and its interval of messages', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 5 });
    await ready(client);
    const timeline = client.timeline('c1');
    expect(timeline.messages).toHaveLength(5);
    server.resumeEntities = 20;
    server.socket!.drop();
    for (let n = 0; n < 100; n++) server.say('c1', 'ann', `m${n}`);
    await clock.advance(1_000);
    expect(texts(timeline.messages)[0]).toBe('m70');
    expect(timeline.messages).toHaveLength(30);
    expect(timeline.hasBefore).toBe(true);
    expect(client.store.get('message', 'c1-m3')).toBeUndefined();
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY4] a lost push is found by the next heads frame', async () => {
    const { server, client } = setUp();
    server.found('c1');
    await ready(client);
    server.lose = () => true;
    server.say('c1', 'ann', 'lost');
    server.inbox('c1', { pinnedAt: 7 });
    server.lose = () => false;
    server.beat();
    await settle();
    expect(differences(client, server)).toEqual([]);
    expect(client.conversations()[0]!.inbox.pinnedAt).toBe(7);
  });

  test('[SY4] a heads frame that is behind a push changes nothing', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 3 });
    await ready(client);
    const old = server.heads.get(c1)!;
    server.say('c1', 'ann', 'new');
    server.asked.length = 0;
    server.socket!.deliver({ heads: { [c1]: old } });
    await settle();
    expect(server.asked).toEqual([]);
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY4] what is missing before an own message is asked for as soon as that is confirmed', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    const timeline = client.timeline('c1');
    server.lose = () => true;
    server.say('c1', 'ann', 'lost');
    client.send('c1', { text: 'mine' });
    let shown: string[] = [];
    let emptied = false;
    timeline.onChange(() => {
      emptied ||= !texts(timeline.messages).includes('mine');
      shown = texts(timeline.messages);
    });
    await clock.advance(100);
    expect(shown).toEqual(['lost', 'mine']);
    expect(emptied).toBe(false);
    expect(client.outbox.pending()).toEqual([]);
  });
});

test('[SY2] a reply that is older than what was forgotten meanwhile brings nothing of it back', () => {
  const store = new Store();
  const replica = new Replica(store, new Journal(memoryStorage(), new FakeClock(), () => []));
  const server = new ModelServer(new FakeClock());
  server.found('c1', { messages: 300 });
  const old = server.messages('c1')[0]!;
  replica.replace(c1, server.heads.get(c1)!, server.of(c1), []);
  replica.trim('c1', 100);
  replica.merge([old, { ...server.messages('c1')[250]!, version: 900, text: 'edited' }]);
  expect(store.message('c1', 1)).toBeUndefined();
  expect(store.message('c1', 251)?.text).toBe('edited');
});

describe('the beginning of a connection', () => {
  test('[SY5] the own stream comes first, then conversations, the latest first, six at once', async () => {
    const { server, client, clock } = setUp({ storage: memoryStorage() });
    for (let n = 0; n < 10; n++) {
      await clock.advance(1_000);
      server.found(`c${n}`, { messages: 1 });
    }
    await ready(client);
    expect(server.askedFor('stream.snapshot')[0]!.stream).toBe(userStream('me'));
    server.asked.length = 0;
    server.answers.set('stream.changes', never);
    server.socket!.drop();
    // Something everywhere; c3 is the latest this device knows of, then c9.
    server.say('c9', 'ann', 'x');
    for (let n = 0; n < 10; n++) server.edit(`c${n}`, 1, 'y');
    await clock.advance(1_000);
    const asked = server.askedFor('stream.changes').map(({ stream }) => stream);
    expect(asked).toEqual(['c9', 'c8', 'c7', 'c6', 'c5', 'c4'].map(conversationStream));
    expect(client.connection.at).toBe('syncing');
  });

  test('[SY5] what did not move is not asked for', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3 });
    server.found('c2', { messages: 3 });
    await ready(client);
    server.asked.length = 0;
    server.socket!.drop();
    server.say('c2', 'ann', 'while away');
    await clock.advance(1_000);
    expect(client.connection.at).toBe('ready');
    expect(server.asked.map(({ method }) => method).filter((method) => method.startsWith('stream.'))).toEqual(['stream.changes']);
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY6] a head of hello that is below ours is a restored backup: a snapshot replaces what never was', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3 });
    await ready(client);
    const backup = { heads: new Map(server.heads), rows: new Map(server.rows) };
    server.say('c1', 'ann', 'forgotten by the backup');
    server.edit('c1', 1, 'also forgotten');
    await settle();
    server.socket!.drop();
    server.heads.clear();
    server.rows.clear();
    for (const [stream, head] of backup.heads) server.heads.set(stream, head);
    for (const [key, row] of backup.rows) server.rows.set(key, row);
    await clock.advance(1_000);
    expect(client.connection.at).toBe('ready');
    expect(texts(client.timeline('c1').messages)).toEqual(['old 1', 'old 2', 'old 3']);
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY19] another era of the database takes what was lost out of the replica, however many others came in its place, and nothing else', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    for (const id of ['c1', 'c2', 'c3']) server.found(id, { messages: 3 });
    await ready(client);
    const copy = { heads: new Map(server.heads), rows: new Map(server.rows) };
    server.say('c1', 'ann', 'lost by the server');
    // Ahead of what is in step, and nobody has yet said what comes before it.
    server.answers.set('stream.changes', never);
    server.lose = () => true;
    server.say('c3', 'ann', 'never heard of');
    server.lose = () => false;
    server.say('c3', 'ann', 'heard of, and lost');
    await settle();
    server.answers.clear();
    expect(texts(client.timeline('c1').messages)).toContain('lost by the server');
    server.socket!.drop();
    server.failOver(copy);
    server.say('c1', 'ann', 'in its place');
    server.asked.length = 0;
    await clock.advance(1_000);
    expect(client.connection.at).toBe('ready');
    expect(texts(client.timeline('c1').messages)).toEqual(['old 1', 'old 2', 'old 3', 'in its place']);
    expect(new Set(server.askedFor('stream.snapshot').map(({ stream }) => stream))).toEqual(new Set(['c1', 'c3'].map(conversationStream)));
    expect(differences(client, server)).toEqual([]);
    // What is kept on the device is of an era as well, and one that was not seen says nothing of the one before.
    server.failOver({ heads: new Map(server.heads), rows: new Map(server.rows) });
    server.failOver({ heads: new Map(server.heads), rows: new Map(server.rows) });
    server.asked.length = 0;
    await client.stop();
    const later = connectTo(server, { storage: memoryStorage(kept) });
    await ready(later);
    expect(server.askedFor('stream.snapshot').length).toBe(4);
    expect(differences(later, server)).toEqual([]);
    server.asked.length = 0;
    server.socket!.drop();
    await clock.advance(1_000);
    expect(later.connection.at).toBe('ready');
    expect(server.asked.map(({ method }) => method).filter((method) => method.startsWith('stream.'))).toEqual([]);
  });

  test('[SY19] what was kept by a program that knew of no eras is of the one in which it was found in step', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 3 });
    await ready(client);
    await client.stop();
    for (const [key, value] of kept) if (key.startsWith('stream/')) kept.set(key, { ...(value as object), era: undefined });
    const copy = { heads: new Map(server.heads), rows: new Map(server.rows) };
    server.asked.length = 0;
    const later = connectTo(server, { storage: memoryStorage(kept) });
    await ready(later);
    expect(server.asked.map(({ method }) => method).filter((method) => method.startsWith('stream.'))).toEqual([]);
    server.say('c1', 'ann', 'lost by the server');
    await settle();
    server.socket!.drop();
    server.failOver(copy);
    server.say('c1', 'ann', 'in its place');
    await clock.advance(1_000);
    expect(texts(later.timeline('c1').messages)).toEqual(['old 1', 'old 2', 'old 3', 'in its place']);
    expect(differences(later, server)).toEqual([]);
  });

  test('[SY6] a push that overtakes the reply to hello is no restored backup', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3 });
    await ready(client);
    server.socket!.drop();
    server.answers.set('hello', (params, socket) => {
      const hello = server.ordinary('hello', params, socket);
      server.say('c1', 'ann', 'quick');
      return hello;
    });
    server.asked.length = 0;
    await clock.advance(1_000);
    expect(client.connection.at).toBe('ready');
    expect(server.askedFor('stream.snapshot')).toEqual([]);
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY7] pushes that arrive while a snapshot is on its way survive it', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 3 });
    let answer = (): void => {};
    server.answers.set('stream.snapshot', ({ stream }: { stream: StreamId }, socket) => {
      const snapshot = server.ordinary('stream.snapshot', { stream }, socket);
      return stream === c1 ? new Promise((resolve) => (answer = () => resolve(snapshot))) : snapshot;
    });
    await client.start();
    await settle();
    server.say('c1', 'ann', 'meanwhile');
    server.edit('c1', 1, 'edited meanwhile');
    await settle();
    answer();
    await settle();
    server.asked.length = 0;
    server.say('c1', 'ann', 'after');
    await settle();
    expect(texts(client.timeline('c1').messages)).toEqual(['edited meanwhile', 'old 2', 'old 3', 'meanwhile', 'after']);
    expect(server.asked.filter(({ method }) => method.startsWith('stream.'))).toEqual([]);
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY8] a server that is busy or limits the rate is asked again when it says', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 1 });
    let times = 0;
    server.answers.set('stream.snapshot', (params, socket) => {
      times += 1;
      if (times === 1) refuse('rate_limited', { retryAfterMs: 5_000 })();
      if (times === 2) refuse('busy')();
      return server.ordinary('stream.snapshot', params, socket);
    });
    await client.start();
    await clock.advance(4_900);
    expect(times).toBe(1);
    await clock.advance(10_000);
    expect(client.connection.at).toBe('ready');
    expect(differences(client, server)).toEqual([]);
  });

  test('[SY8] one conversation that cannot be synced keeps no other from it', async () => {
    vi.spyOn(console, 'warn').mockReturnValue();
    const { server, client } = setUp();
    server.found('c1', { messages: 1 });
    server.found('c2', { messages: 1 });
    server.answers.set('stream.snapshot', (params: { stream: StreamId }, socket) => {
      if (params.stream === c1) refuse('forbidden')();
      return server.ordinary('stream.snapshot', params, socket);
    });
    await ready(client);
    expect(client.conversations().map(({ id }) => id)).toEqual(['c2']);
  });
});

describe('conversations that come and go', () => {
  test('[SY9] of a conversation left nothing stays: not in memory, not in storage; what was not sent fails', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 3 });
    await ready(client);
    client.drafts.set('c1', 'half a thought');
    client.markRead('c1', 2);
    let answer = (): void => {};
    server.answers.set('message.send', (params, socket) => {
      server.answers.delete('message.send');
      return new Promise((resolve) => (answer = () => resolve(server.ordinary('message.send', params, socket))));
    });
    server.answers.set('read.mark', never);
    const stored = client.send('c1', { text: 'just in time' });
    const clientId = client.send('c1', { text: 'too late' });
    const timeline = client.timeline('c1');
    await settle();
    server.lose = () => true;
    server.say('c1', 'me', 'just in time', stored);
    server.lose = () => false;
    server.removeMe('c1');
    await settle();
    answer();
    await clock.advance(1_000);
    expect(client.conversations()).toEqual([]);
    expect(timeline.messages.filter((item) => 'kind' in item)).toEqual([]);
    expect(client.drafts.get('c1')).toBe('');
    expect(client.outbox.pending('c1')).toMatchObject([{ clientId, state: 'failed', error: { code: 'not_a_member' } }]);
    const left = [...kept.keys()].filter((key) => !key.startsWith('outbox/') && key.includes('c1') && key !== 'entity/inbox/c1');
    expect(left).toEqual([]);
    expect(JSON.stringify([...kept])).not.toContain('old 1');
  });

  test('[SY9] late news of a conversation left is not taken in', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 3 });
    await ready(client);
    const push = server.say('c1', 'ann', 'last');
    await settle();
    server.removeMe('c1');
    await settle();
    server.socket!.deliver({ stream: c1, version: push.version, entities: [push] });
    server.socket!.deliver({ stream: c1, version: push.version + 5, entities: [{ ...push, version: push.version + 5 }] });
    await settle();
    expect(client.store.list('message')).toEqual([]);
  });

  test('[SY9] a conversation that is not there any more after a sync is erased', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3 });
    server.found('c2', { messages: 3 });
    await ready(client);
    server.socket!.drop();
    server.removeMe('c1');
    server.resumeEntities = 0;
    await clock.advance(1_000);
    expect(client.store.list('message').every((message) => message.conversationId === 'c2')).toBe(true);
    expect(client.conversations().map(({ id }) => id)).toEqual(['c2']);
  });

  test('[SY9] an answer that we are not in it is as good as the word in our own stream', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 3 });
    await ready(client);
    const own = server.heads.get(userStream('me'))!;
    server.lose = () => true;
    server.removeMe('c1');
    server.lose = () => false;
    server.socket!.deliver({ heads: { [c1]: server.heads.get(c1), [userStream('me')]: own } });
    await settle();
    expect(client.store.list('message')).toEqual([]);
  });

  test('[SY9] who comes back to a conversation gets it anew', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 3 });
    await ready(client);
    server.removeMe('c1');
    await settle();
    server.say('c1', 'ann', 'in between');
    server.inbox('c1', { joined: true });
    server.say('c1', 'ann', 'welcome back');
    await settle();
    expect(differences(client, server)).toEqual([]);
    expect(texts(client.timeline('c1').messages).slice(-2)).toEqual(['in between', 'welcome back']);
  });

  test('[SY10] a conversation joined is there with the push that says so, and followed from then on', async () => {
    const { server, client } = setUp();
    await ready(client);
    server.found('c1', { messages: 2 });
    server.say('c1', 'ann', 'hi');
    await settle();
    expect(differences(client, server)).toEqual([]);
    server.say('c1', 'ann', 'you');
    await settle();
    expect(differences(client, server)).toEqual([]);
  });
});

test('[SY10] who wrote something is known, also where a snapshot does not carry all members', async () => {
  const { server, client, clock } = setUp();
  server.found('c1', { memberIds: ['me', 'ann', 'bob', 'cleo'] });
  server.say('c1', 'ann', 'old');
  server.snapshotMembers = ['me'];
  server.answers.set('member.list', ({ userIds }: { userIds: string[] }) => ({
    members: userIds.filter((id) => id !== 'cleo').map((id) => server.rows.get(`member/c1/${id}`)),
    more: false,
  }));
  await ready(client);
  server.say('c1', 'bob', 'new');
  server.say('c1', 'cleo', 'a stranger by now');
  await clock.advance(1_000);
  expect(client.store.members('c1').map(({ name }) => name)).toEqual(['me', 'ann', 'bob']);
  server.say('c1', 'cleo', 'again');
  await clock.advance(1_000);
  expect(server.askedFor('member.list').flatMap(({ userIds }) => userIds)).toEqual(['ann', 'bob', 'cleo']);
});

describe('whose device it is', () => {
  test('[SY11] another person on the same storage sees and sends nothing of the one before', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 3 });
    await ready(client);
    client.drafts.set('c1', 'secret');
    server.answers.set('message.send', never);
    client.send('c1', { text: 'unsent' });
    await client.stop();

    const other = new ModelServer(clock);
    (other as { userId: string }).userId = 'bob';
    other.commit(userStream('bob'), other.user());
    const second = connectTo(other, { storage: memoryStorage(kept) });
    await ready(second);
    await clock.advance(1_000);
    expect(second.me?.id).toBe('bob');
    expect(second.conversations()).toEqual([]);
    expect(second.outbox.pending()).toEqual([]);
    expect(JSON.stringify([...kept])).not.toMatch(/old 1|secret|unsent/);
    expect(other.askedFor('message.send')).toEqual([]);
  });
});

describe('storage', () => {
  test('[SY12] content is there before the network', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 40 });
    await ready(client);
    client.drafts.set('c1', 'half a thought');
    await client.stop();
    server.down = true;
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await second.start();
    expect(second.me?.name).toBe('Me');
    expect(second.conversations()).toMatchObject([{ id: 'c1', lastSeq: 40, draft: 'half a thought' }]);
    expect(second.timeline('c1').messages).toHaveLength(30);
    await clock.advance(0);
    expect(second.connection.at).toBe('offline');
  });

  test('[SY12] storage keeps the latest hundred messages of a conversation', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 10 });
    await ready(client);
    for (let n = 0; n < 150; n++) server.say('c1', 'ann', `m${n}`);
    await clock.advance(100);
    expect([...kept.keys()].filter((key) => key.startsWith('entity/message/'))).toHaveLength(100);
    await client.timeline('c1').loadBefore();
    await clock.advance(100);
    expect([...kept.keys()].filter((key) => key.startsWith('entity/message/'))).toHaveLength(100);
  });

  test('[SY16] a newer program, which knows more, takes the replica anew and keeps what was not sent', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 3 });
    await ready(client);
    server.down = true;
    server.socket!.drop();
    client.send('c1', { text: 'unsent' });
    await clock.advance(1_000);
    await client.stop();
    server.down = false;
    kept.set('format', 'of an older program');
    server.asked.length = 0;
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await second.start();
    expect(second.conversations()).toEqual([]);
    await clock.advance(1_000);
    expect(server.askedFor('stream.snapshot').map(({ stream }) => stream)).toEqual([userStream('me'), c1]);
    expect(texts(second.timeline('c1').messages)).toEqual(['old 1', 'old 2', 'old 3', 'unsent']);
  });

  test('[SY13] whenever the device dies, what it kept comes in step with changes alone', async () => {
    vi.spyOn(console, 'warn').mockReturnValue();
    await fc.assert(
      fc.asyncProperty(fc.array(staying, { minLength: 1, maxLength: 40 }), fc.infiniteStream(fc.nat(3)), async (steps, luck) => {
        const clock = new FakeClock();
        const server = new ModelServer(clock);
        server.found('c1', { messages: 3 });
        server.found('c2', { messages: 3 });
        const kept = new Map<string, unknown>();
        const states: Map<string, unknown>[] = [];
        const storage = memoryStorage(kept);
        const client = connectTo(server, {
          storage: {
            ...storage,
            async write(batch) {
              const written = await storage.write(batch);
              states.push(new Map(kept));
              return written;
            },
          },
        });
        await ready(client);
        for (const step of steps) {
          await play(server, step, luck.next().value);
          await clock.advance(20);
        }
        await client.stop();
        server.lose = () => false;
        // A state from before the first sync has no stream to go on from.
        server.answers.set('stream.snapshot', refuse('forbidden'));
        for (const state of states.filter((each) => each.has(`stream/${c1}`) && each.has('stream/conversation:c2'))) {
          const second = connectTo(server, { storage: memoryStorage(new Map(state)) });
          await ready(second);
          expect(differences(second, server)).toEqual([]);
          await second.stop();
        }
      }),
      { numRuns: 30 },
    );
  });
});

// ── Whatever happens ──────────────────────────────────────────────────────────────────────────────────────────────────

type Step = { do: 'say' | 'edit' | 'pin' | 'leave' | 'join' | 'beat' | 'drop'; where: 'c1' | 'c2'; push: 'arrives' | 'lost' | 'late' | 'twice' };

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom('say' as const, 'edit' as const) },
    { weight: 3, arbitrary: fc.constantFrom('pin' as const, 'beat' as const) },
    { weight: 1, arbitrary: fc.constantFrom('leave' as const, 'join' as const, 'drop' as const) },
  ),
  where: fc.constantFrom('c1' as const, 'c2' as const),
  push: fc.constantFrom('arrives' as const, 'arrives' as const, 'lost' as const, 'late' as const, 'twice' as const),
});
const staying = step.filter((each) => each.do !== 'leave' && each.do !== 'join');
const history = fc.array(step, { minLength: 1, maxLength: 40 });

const lateOnes = new WeakMap<ModelServer, Push[]>();

async function play(server: ModelServer, { do: what, where, push: fate }: Step, luck: number): Promise<void> {
  const late = lateOnes.get(server) ?? [];
  lateOnes.set(server, late);
  server.lose = (push) => {
    if (fate === 'late') late.push(push);
    if (fate === 'twice') server.socket?.deliver(push);
    return fate === 'lost' || fate === 'late';
  };
  if (what === 'say') server.say(where, 'ann', `m${luck}`);
  else if (what === 'edit') server.edit(where, Math.max(1, server.lastSeq(where) - luck), `e${luck}`);
  else if (what === 'pin') server.inbox(where, { pinnedAt: luck });
  else if (what === 'leave') server.inbox(where, { joined: false });
  else if (what === 'join') server.inbox(where, { joined: true });
  else if (what === 'beat') server.beat();
  else server.socket?.drop();
  for (let n = 0; n < luck; n++) {
    const push = late.splice(Math.floor(late.length / 2), 1)[0];
    if (push) server.socket?.deliver(push);
  }
  await settle();
}

test('[SY14] after any history of lost, late, repeated and reordered pushes and of lost connections, one heads frame brings everything in step', async () => {
  await fc.assert(
    fc.asyncProperty(history, fc.infiniteStream(fc.nat(3)), fc.constantFrom(3, 500), async (steps, luck, resumeEntities) => {
      const clock = new FakeClock();
      const server = new ModelServer(clock);
      server.resumeEntities = resumeEntities;
      server.found('c1', { messages: 3 });
      server.found('c2', { messages: 3 });
      const client = connectTo(server);
      await ready(client);
      for (const each of steps) {
        await play(server, each, luck.next().value);
        if (luck.next().value === 0) await clock.advance(1_000);
      }
      server.lose = () => false;
      await clock.advance(100_000);
      server.beat();
      await clock.advance(5_000);
      const joined = ['c1', 'c2'].filter((id) => client.store.get('inbox', id)?.joined);
      for (const id of ['c1', 'c2']) expect(client.store.get('inbox', id)?.joined).toBe((server.rows.get(`inbox/${id}`) as { joined: boolean }).joined);
      expect(differences(client, server, [userStream('me'), ...joined.map(conversationStream)])).toEqual([]);
      expect(client.store.list('message').every((message) => joined.includes(message.conversationId))).toBe(true);
      for (const id of joined) {
        const seqs = client.timeline(id).messages.map((item) => ('seq' in item ? item.seq : 0));
        expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, n) => server.lastSeq(id) - seqs.length + 1 + n));
      }
      await client.stop();
    }),
    { numRuns: 60 },
  );
});
