import type { Inbox } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { settle } from '../test/fake-clock.ts';
import { type ModelServer, never, refuse } from '../test/model-server.ts';
import { connectTo, ready, setUp } from '../test/setup.ts';
import { memoryStorage } from './storage-memory.ts';

describe('read marks', () => {
  test('[AT1] unread is what others wrote after the mark', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 5, inbox: { readSeq: 2 } });
    await ready(client);
    expect(client.conversation('c1')!.unread).toBe(3);
    server.say('c1', 'me', 'from my other device');
    server.say('c1', 'ann', 'another');
    await settle();
    expect(client.conversation('c1')!.unread).toBe(4);
  });

  test('[AT1] messages that this device does not hold all count', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 100, inbox: { readSeq: 10 } });
    await ready(client);
    expect(client.conversation('c1')!.unread).toBe(90);
  });

  test('[AT2] a mark shows at once, goes out at most once a second, and never goes back', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 20 });
    await ready(client);
    for (let seq = 1; seq <= 10; seq++) client.markRead('c1', seq);
    expect(client.conversation('c1')!.unread).toBe(10);
    await clock.advance(100);
    for (let seq = 1; seq <= 15; seq++) client.markRead('c1', seq);
    await clock.advance(5_000);
    expect(server.askedFor('read.mark').length).toBeLessThanOrEqual(2);
    expect(server.askedFor('read.mark').at(-1)).toEqual({ conversationId: 'c1', seq: 15 });
    client.markRead('c1', 3);
    await clock.advance(5_000);
    expect(client.conversation('c1')).toMatchObject({ unread: 5, readSeq: 15 });
    expect(server.askedFor('read.mark').at(-1)!.seq).toBe(15);
    const times = server.asked.filter(({ method }) => method === 'read.mark').map(({ at }) => at);
    expect(times.slice(1).every((at, n) => at - times[n]! >= 1_000)).toBe(true);
  });

  test('[AT2] one conversation waits for no other', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 5 });
    server.found('c2', { messages: 5 });
    await ready(client);
    client.markRead('c1', 1);
    await clock.advance(10);
    client.markRead('c1', 2);
    client.markRead('c2', 5);
    await clock.advance(10);
    expect(server.askedFor('read.mark').map(({ conversationId }) => conversationId)).toEqual(['c1', 'c2']);
  });

  test('[AT2] a mark survives a lost connection and a restart', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 5 });
    await ready(client);
    server.down = true;
    server.socket!.drop();
    client.markRead('c1', 4);
    await clock.advance(1_000);
    await client.stop();
    server.down = false;
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await second.start();
    expect(second.conversation('c1')!.unread).toBe(1);
    await clock.advance(1_000);
    expect(server.rows.get('inbox/c1')).toMatchObject({ readSeq: 4 });
    await clock.advance(1_000);
    expect([...kept.keys()].filter((key) => key.startsWith('read/'))).toEqual([]);
  });

  test('[AT2] a mark that another device has passed is not sent', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 5 });
    await ready(client);
    server.down = true;
    server.socket!.drop();
    client.markRead('c1', 3);
    server.inbox('c1', { readSeq: 5 });
    server.down = false;
    server.asked.length = 0;
    server.answers.set('read.mark', never);
    await clock.advance(60_000);
    expect(client.conversation('c1')).toMatchObject({ unread: 0, readSeq: 5 });
  });

  test('[AT2] a mark is tried again after trouble, and given up where it is refused', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 5 });
    server.found('c2', { messages: 5 });
    await ready(client);
    server.answers.set('read.mark', refuse('rate_limited', { retryAfterMs: 3_000 }));
    client.markRead('c1', 5);
    await clock.advance(2_900);
    expect(server.askedFor('read.mark')).toHaveLength(1);
    server.answers.delete('read.mark');
    await clock.advance(200);
    expect(server.rows.get('inbox/c1')).toMatchObject({ readSeq: 5 });
    server.answers.set('read.mark', refuse('not_a_member'));
    client.markRead('c2', 5);
    await clock.advance(60_000);
    expect(server.askedFor('read.mark').filter(({ conversationId }) => conversationId === 'c2')).toHaveLength(1);
  });

  test('[AT3] an own message moves the mark if all before it was read, and only then', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3, inbox: { readSeq: 3 } });
    server.found('c2', { messages: 3, inbox: { readSeq: 2 } });
    await ready(client);
    client.send('c1', { text: 'one' });
    client.send('c1', { text: 'two' });
    client.send('c2', { text: 'one' });
    await clock.advance(5_000);
    expect(server.rows.get('inbox/c1')).toMatchObject({ readSeq: 5 });
    expect(server.rows.get('inbox/c2')).toMatchObject({ readSeq: 2 });
    expect(client.conversation('c2')!.unread).toBe(1);
  });
});

describe('marked as unread', () => {
  test('[AT8] it counts as one message, shows at once, and goes to the server with what was known here', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3, inbox: { readSeq: 3 } });
    await ready(client);
    const base = client.store.get('inbox', 'c1')!.version;
    client.markUnread('c1');
    expect(client.conversation('c1')).toMatchObject({ unread: 1, marked: true, readSeq: 3 });
    await clock.advance(1_000);
    expect(server.askedFor('read.unread')).toEqual([{ conversationId: 'c1', on: true, base }]);
    expect(server.rows.get('inbox/c1')).toMatchObject({ markedUnread: true, readSeq: 3 });
    // What really is unread is not counted once more.
    server.say('c1', 'ann', 'one');
    server.say('c1', 'ann', 'two');
    await settle();
    expect(client.conversation('c1')).toMatchObject({ unread: 2, marked: false });
    client.markRead('c1', 4);
    expect(client.conversation('c1')).toMatchObject({ unread: 1, marked: false });
    await clock.advance(5_000);
    expect(server.rows.get('inbox/c1')).toMatchObject({ markedUnread: false, readSeq: 4 });
    expect(server.askedFor('read.unread')).toHaveLength(1);
  });

  test('[AT8] what was read before it was marked is told first, and undoes nothing', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3 });
    await ready(client);
    server.socket!.drop();
    client.markRead('c1', 3);
    client.markUnread('c1');
    expect(client.conversation('c1')).toMatchObject({ unread: 1, marked: true });
    await clock.advance(5_000);
    expect(server.rows.get('inbox/c1')).toMatchObject({ markedUnread: true, readSeq: 3 });
    expect(client.conversation('c1')).toMatchObject({ unread: 1, marked: true });
  });

  test.each([
    ['was read on elsewhere', (server: ModelServer) => (server.say('c1', 'ann', 'new'), server.ordinary('read.mark', { conversationId: 'c1', seq: 4 }, server.socket!)), true, 0],
    ['was marked anew elsewhere', (server: ModelServer) => server.ordinary('read.unread', { conversationId: 'c1', on: true, base: 99 }, server.socket!), false, 1],
  ])('[AT8] of a conversation that %s meanwhile, that is the newest word', async (_, elsewhere, on, unread) => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', { messages: 3, inbox: { readSeq: 3, markedUnread: !on } });
    await ready(client);
    server.down = true;
    server.socket!.drop();
    client.markUnread('c1', on);
    expect(client.conversation('c1')!.unread).toBe(on ? 1 : 0);
    await clock.advance(1_000);
    await client.stop();
    // On another device it was taken back, and then this.
    server.ordinary('read.unread', { conversationId: 'c1', on: false, base: 99 }, server.socket!);
    elsewhere(server);
    server.down = false;
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await second.start();
    expect(second.conversation('c1')!.unread).toBe(on ? 1 : 0);
    await ready(second);
    await clock.advance(2_000);
    expect(server.askedFor('read.unread').at(-1)!.on).toBe(on);
    expect(second.conversation('c1')!.unread).toBe(unread);
    expect(server.rows.get('inbox/c1')).toMatchObject({ markedUnread: unread === 1 });
    expect([...kept.keys()].filter((key) => key.startsWith('unread/'))).toEqual([]);
  });

  test('[AT9] everything shows as read and nothing is told, until it is kept', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 5, inbox: { readSeq: 2 } });
    server.found('c2', { messages: 3, inbox: { readSeq: 3, markedUnread: true } });
    server.found('c3', { messages: 2, inbox: { readSeq: 2 } });
    await ready(client);
    const counts = () => client.conversations().map(({ id, unread, readSeq, marked }) => [id, unread, readSeq, marked].join(' '));
    const before = counts();
    const first = client.markAllRead();
    expect(first.count).toBe(2);
    expect(client.conversations().every(({ unread }) => unread === 0)).toBe(true);
    await clock.advance(5_000);
    expect(server.asked.filter(({ method }) => method.startsWith('read.'))).toEqual([]);
    first.undo();
    first.keep();
    expect(counts()).toEqual(before);
    const second = client.markAllRead();
    server.say('c1', 'ann', 'after that');
    await settle();
    expect(client.conversation('c1')!.unread).toBe(1);
    second.keep();
    second.undo();
    await clock.advance(5_000);
    expect(server.rows.get('inbox/c1')).toMatchObject({ readSeq: 5 });
    expect(server.rows.get('inbox/c2')).toMatchObject({ markedUnread: false });
    expect(server.askedFor('read.mark')).toEqual([{ conversationId: 'c1', seq: 5 }]);
    expect(client.conversations().map(({ unread }) => unread)).toEqual([1, 0, 0]);
  });

  test('[AT9] what was read or marked meanwhile stays so when the rest is undone', async () => {
    const { server, client, clock } = setUp();
    for (const id of ['c1', 'c2', 'c3']) server.found(id, { messages: 5 });
    await ready(client);
    const held = client.markAllRead();
    client.markRead('c1', 4);
    client.markUnread('c2');
    expect(client.conversation('c2')).toMatchObject({ unread: 1, marked: true });
    held.undo();
    await clock.advance(5_000);
    expect(['c1', 'c2', 'c3'].map((id) => client.conversation(id)!.unread)).toEqual([1, 1, 5]);
    expect(['c1', 'c2', 'c3'].map((id) => (server.rows.get(`inbox/${id}`) as Inbox).readSeq)).toEqual([4, 5, 0]);
  });
});

test('[AT3] so it does when the answer was lost, and the message is found by itself', async () => {
  const { server, client, clock } = setUp();
  server.found('c1', { messages: 3, inbox: { readSeq: 3 } });
  await ready(client);
  server.answers.set('message.send', ({ text, clientId }: { text: string; clientId: string }) => {
    server.say('c1', 'me', text, clientId);
    return never();
  });
  client.send('c1', { text: 'one' });
  await clock.advance(5_000);
  expect(server.rows.get('inbox/c1')).toMatchObject({ readSeq: 4 });
});

describe('receipts', () => {
  test('[AT4] what others wrote is confirmed as received, at most once a second per conversation', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    for (let n = 0; n < 30; n++) {
      server.say('c1', 'ann', `m${n}`);
      await clock.advance(100);
    }
    await clock.advance(2_000);
    const asked = server.askedFor('receipt.delivered');
    expect(asked.length).toBeLessThanOrEqual(5);
    expect(asked.at(-1)).toEqual({ conversationId: 'c1', seq: 30 });
  });

  test('[AT4] what came while away is confirmed after the return; what was confirmed is not again', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 3 });
    server.found('c2', { messages: 3 });
    server.commit('conversation:c2', { kind: 'receipt', conversationId: 'c2', userId: 'me', deliveredSeq: 3, readSeq: 0 });
    await ready(client);
    await clock.advance(1_000);
    expect(server.askedFor('receipt.delivered')).toEqual([{ conversationId: 'c1', seq: 3 }]);
    server.socket!.drop();
    server.say('c1', 'ann', 'while away');
    await clock.advance(10_000);
    expect(server.askedFor('receipt.delivered').slice(1)).toEqual([{ conversationId: 'c1', seq: 4 }]);
  });

  test('[AT4] nothing is confirmed of own messages, nor in crowds and announcements', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    server.found('crowd', { memberIds: ['me', ...Array.from({ length: 200 }, (_, n) => `u${n}`)] });
    server.found('news', { type: 'announcements' });
    await ready(client);
    server.say('c1', 'me', 'mine');
    server.say('crowd', 'u1', 'hi');
    server.say('news', 'ann', 'hear');
    await clock.advance(5_000);
    expect(server.askedFor('receipt.delivered')).toEqual([]);
  });
});
