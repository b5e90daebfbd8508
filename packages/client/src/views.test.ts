import { userStream } from '@kith/protocol';
import { expect, test } from 'vitest';
import { settle } from '../test/fake-clock.ts';
import { never } from '../test/model-server.ts';
import { ready, setUp } from '../test/setup.ts';

const ids = (client: ReturnType<typeof setUp>['client']): string[] => client.conversations().map(({ id }) => id);

test('[TL8] pinned conversations come first, then the others by the last thing that happened', async () => {
  const { server, client, clock } = setUp();
  for (const id of ['c1', 'c2', 'c3', 'c4']) {
    server.found(id, { messages: 1 });
    await clock.advance(1_000);
  }
  await ready(client);
  expect(ids(client)).toEqual(['c4', 'c3', 'c2', 'c1']);
  server.inbox('c1', { pinnedAt: 5 });
  server.say('c2', 'ann', 'up');
  expect(ids(client)).toEqual(['c1', 'c2', 'c4', 'c3']);
  server.inbox('c3', { pinnedAt: 9 });
  expect(ids(client)).toEqual(['c3', 'c1', 'c2', 'c4']);
  await clock.advance(1_000);
  server.answers.set('message.send', never);
  client.send('c4', { text: 'waiting' });
  expect(ids(client)).toEqual(['c3', 'c1', 'c4', 'c2']);
});

test('[TL8] a direct conversation is called what you call the other, a group what it is called', async () => {
  const { server, client } = setUp();
  server.found('d1', { type: 'direct', title: null });
  server.found('g1', { title: 'Club' });
  server.found('n1', { type: 'direct', title: null, memberIds: ['me'] });
  await ready(client);
  const title = (id: string): string => client.conversation(id)!.title;
  expect([title('d1'), title('g1'), title('n1')]).toEqual(['ann', 'Club', 'me']);
  expect(client.conversation('d1')!.peer).toMatchObject({ kind: 'member', userId: 'ann' });
  server.commit(userStream('me'), {
    kind: 'friend',
    userId: 'ann',
    state: 'friends',
    note: '',
    remark: 'Annie',
    blocked: false,
    since: 1,
    name: 'Ann',
    avatar: '',
    handle: 'ann',
  });
  await settle();
  expect(title('d1')).toBe('Annie');
  expect(client.conversation('d1')!.peer).toMatchObject({ kind: 'friend', remark: 'Annie' });
});

test('[TL8] a line is the same object until something in it changed', async () => {
  const { server, client } = setUp();
  server.found('c1', { messages: 1 });
  server.found('c2', { messages: 1 });
  await ready(client);
  const [one, two] = [client.conversation('c1'), client.conversation('c2')];
  const list = client.conversations();
  expect(client.conversations()).toBe(list);
  server.say('c2', 'ann', 'new');
  expect(client.conversation('c1')).toBe(one);
  expect(client.conversation('c2')).not.toBe(two);
  expect(client.conversation('c2')).toMatchObject({ unread: 2, lastSeq: 2, lastMessage: { text: 'new' } });
});

test('[SY15] listeners hear each message of others once and in order, and nothing of what was there before', async () => {
  const { server, client, clock } = setUp();
  server.found('c1', { messages: 3 });
  const heard: [string, boolean][] = [];
  client.on('message', (message, isNew) => heard.push([message.text, isNew]));
  await ready(client);
  server.say('c1', 'ann', 'one');
  server.say('c1', 'me', 'mine');
  server.edit('c1', 4, 'one, edited');
  server.lose = () => true;
  server.say('c1', 'ann', 'two');
  server.lose = () => false;
  server.say('c1', 'ann', 'three');
  await settle();
  server.socket!.drop();
  server.say('c1', 'ann', 'four, while away');
  await clock.advance(1_000);
  // Somebody begins a conversation: its first message counts.
  server.found('c2', { messages: 1 });
  await settle();
  expect(heard).toEqual([
    ['one', true],
    ['two', true],
    ['three', true],
    ['four, while away', false],
    ['old 1', true],
  ]);
});

test('[SY15] a listener that throws is reported, and disturbs nothing', async () => {
  const { server, client } = setUp();
  server.found('c1');
  await ready(client);
  const uncaught: unknown[] = [];
  const catcher = (error: unknown): unknown => uncaught.push(error);
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException').on('uncaughtException', catcher);
  client.on('message', () => {
    throw new Error('a bug in a bot');
  });
  const heard: string[] = [];
  client.on('message', (message) => heard.push(message.text));
  server.say('c1', 'ann', 'hello');
  await settle();
  process.removeListener('uncaughtException', catcher);
  for (const other of others) process.on('uncaughtException', other);
  expect(heard).toEqual(['hello']);
  expect(String(uncaught)).toContain('a bug in a bot');
});
