import { type Conversation, type Message, RequestError } from '@kith/protocol';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Person, type TestServer, startTestServer } from '../../server/test/harness.ts';
import { type Proxy, openProxy } from '../../server/test/proxy.ts';
import { openRows } from '../../server/test/rules/rows.ts';
import { texts } from '../test/setup.ts';
import { Client, type ClientOptions, ConnectionError, memoryStorage, signIn } from './index.ts';

/** The client as it is used: against a real server, over real sockets, with real time. */
let server: TestServer;
let proxy: Proxy;
beforeAll(async () => {
  server = await startTestServer({ config: { heartbeatMs: 1_000, offlineGraceMs: 200 } });
  proxy = await openProxy(() => server.port);
});
afterAll(async () => {
  await proxy.close();
  await server.close();
});

async function device(person: Person, options: Partial<ClientOptions> = {}): Promise<Client> {
  // Shorter waits than in life: a lost connection is tried again within a tenth of a second.
  const client = new Client({ url: proxy.url, token: person.token, random: () => Math.random() / 10, ...options });
  onTestFinished(() => client.stop());
  await client.start();
  await until(() => expect(client.connection.at).toBe('ready'));
  return client;
}

const until = <T>(check: () => T): Promise<T> => vi.waitFor(check, { timeout: 15_000, interval: 5 });

async function twoFriends(): Promise<{ ann: Person; bob: Person; direct: Conversation }> {
  const [ann, bob] = [await server.register(), await server.register()];
  await server.befriend(ann, bob);
  const { conversation } = await server.call('conversation.direct', { userId: bob.id }, ann.token);
  return { ann, bob, direct: conversation };
}

describe('a bot', () => {
  test('[SY15] in ten lines answers whoever writes to it', async () => {
    const url = server.url;
    const { token, user } = await signIn(url, 'auth.guest', { name: 'Echo' });
    const client = new Client({ url, token: token! });
    client.on('message', (message) => {
      client.send(message.conversationId, { text: `echo ${message.text}` });
    });
    await client.start();

    onTestFinished(() => client.stop());
    await client.call('user.update', { accepts: 'anyone' });
    const ann = await device(await server.register());
    const { conversation } = await ann.call('conversation.direct', { userId: user.id });
    ann.send(conversation.id, { text: 'hello' });
    ann.send(conversation.id, { text: 'bot' });
    const timeline = ann.timeline(conversation.id);
    await until(() => expect(texts(timeline.messages).sort()).toEqual(['bot', 'echo bot', 'echo hello', 'hello']));
  });

  test('[RC2] signing in with what is wrong tells what, and without a server that there is no answer', async () => {
    await expect(signIn(server.url, 'auth.login', { handle: 'nobody', password: 'whatever else' })).rejects.toMatchObject({ name: 'RequestError', code: 'wrong_credentials' });
    await expect(signIn('http://127.0.0.1:9', 'auth.guest', { name: 'Echo' })).rejects.toThrow(ConnectionError);
    const client = new Client({ url: server.url, token: 'x'.repeat(43) });
    onTestFinished(() => client.stop());
    await client.start();
    await until(() => expect(client.connection).toMatchObject({ at: 'ended', reason: 'unauthenticated' }));
  });
});

describe('two friends', () => {
  test('[SY2] see what the other writes, edits and recalls; so does the second device', async () => {
    const { ann, bob, direct } = await twoFriends();
    const [one, two, other] = [await device(ann), await device(bob), await device(await server.login(bob))];
    const clientId = one.send(direct.id, { text: '你好 👋' });
    const timelines = [one, two, other].map((client) => client.timeline(direct.id));
    for (const timeline of timelines) await until(() => expect(timeline.messages).toMatchObject([{ kind: 'message', clientId, text: '你好 👋', senderId: ann.id }]));
    const { id } = timelines[0]!.messages[0] as Message;
    await one.edit(id, 'hello');
    for (const timeline of timelines) await until(() => expect(texts(timeline.messages)).toEqual(['hello']));
    await one.recall(id);
    for (const timeline of timelines) await until(() => expect(timeline.messages).toMatchObject([{ text: '', deletedBy: ann.id }]));
    await expect(two.edit(id, 'mine now')).rejects.toThrow(RequestError);
    expect(one.conversations()[0]!.title).toBe(bob.user.name);
  });

  test('[AT2] unread and read marks agree on all devices, and the other sees what was received and read', async () => {
    const { ann, bob, direct } = await twoFriends();
    const [one, two, other] = [await device(ann), await device(bob), await device(await server.login(bob))];
    for (let n = 1; n <= 5; n++) one.send(direct.id, { text: `m${n}` });
    for (const client of [two, other]) await until(() => expect(client.conversation(direct.id)?.unread).toBe(5));
    await until(() => expect(one.store.get('receipt', direct.id, bob.id)).toMatchObject({ deliveredSeq: 5, readSeq: 0 }));
    two.markRead(direct.id, 3);
    for (const client of [two, other]) await until(() => expect(client.conversation(direct.id)?.unread).toBe(2));
    await until(() => expect(one.store.get('receipt', direct.id, bob.id)).toMatchObject({ deliveredSeq: 5, readSeq: 3 }));
    // What one has sent oneself is read.
    expect(one.conversation(direct.id)).toMatchObject({ unread: 0 });
    await until(() => expect(one.store.get('inbox', direct.id)?.readSeq).toBe(5));
  });

  test('[AT5] see each other come, type and go', async () => {
    const { ann, bob, direct } = await twoFriends();
    const one = await device(ann);
    one.presence.watch([bob.id]);
    await until(() => expect(one.presence.get(bob.id)?.online).toBe(false));
    const two = await device(bob);
    await until(() => expect(one.presence.get(bob.id)?.online).toBe(true));
    two.setTyping(direct.id);
    await until(() => expect(one.typing(direct.id)).toEqual([bob.id]));
    two.send(direct.id, { text: 'there' });
    await until(() => expect(one.typing(direct.id)).toEqual([]));
    await two.stop();
    await until(() => expect(one.presence.get(bob.id)).toMatchObject({ online: false, lastSeenAt: expect.any(Number) as number }));
  });
});

describe('a network that fails', () => {
  test('[OB3] what is written while the connection is lost again and again arrives once and in order', async () => {
    const { ann, bob, direct } = await twoFriends();
    const [one, two] = [await device(ann), await device(bob)];
    const all = Array.from({ length: 40 }, (_, n) => `m${n}`);
    for (const [n, text] of all.entries()) {
      one.send(direct.id, { text });
      if (n % 5 === 0) {
        proxy.cut();
        await vi.waitUntil(() => proxy.count > 0);
      }
    }
    const [mine, theirs] = [one.timeline(direct.id), two.timeline(direct.id)];
    await until(() => expect(one.outbox.pending()).toEqual([]));
    await until(() => expect(texts(theirs.messages)).toEqual(all));
    await until(() => expect(texts(mine.messages)).toEqual(all));
  });

  test('[OB4] what was not sent when the device died is sent in its next life', async () => {
    const { ann, bob, direct } = await twoFriends();
    const kept = new Map<string, unknown>();
    const first = await device(ann, { storage: memoryStorage(kept) });
    const two = await device(bob);
    proxy.refuse(true);
    proxy.cut();
    first.send(direct.id, { text: 'from before' });
    first.drafts.set(direct.id, 'half');
    await first.stop();
    proxy.refuse(false);
    const second = await device(ann, { storage: memoryStorage(kept) });
    expect(second.drafts.get(direct.id)).toBe('half');
    await until(() => expect(texts(two.timeline(direct.id).messages)).toEqual(['from before']));
  });

  test('[RC6] a connection on which nothing moves any more is noticed and replaced', async () => {
    const { ann, bob, direct } = await twoFriends();
    const one = await device(ann);
    const lost: string[] = [];
    one.onConnection(({ at }) => lost.push(at));
    proxy.stall(true);
    one.send(direct.id, { text: 'into the void' });
    await until(() => expect(lost).toContain('offline'));
    proxy.stall(false);
    await until(() => expect(one.outbox.pending()).toEqual([]));
    const two = await device(bob);
    await until(() => expect(texts(two.timeline(direct.id).messages)).toEqual(['into the void']));
  });

  test('[RC3] a server that restarts finds its clients back, with all they wrote meanwhile', async () => {
    const { ann, bob, direct } = await twoFriends();
    const [one, two] = [await device(ann), await device(bob)];
    const down = until(() => expect(one.connection.at).not.toBe('ready'));
    const restarted = server.restart();
    await down;
    one.send(direct.id, { text: 'while it is away' });
    await restarted;
    await until(() => expect(texts(two.timeline(direct.id).messages)).toEqual(['while it is away']));
    await until(() => expect(one.connection.at).toBe('ready'));
  });
});

describe('a group', () => {
  test('[SY10] who is added sees it at once, with its history page by page', async () => {
    const { ann, bob } = await twoFriends();
    const one = await device(ann);
    const { conversation } = await one.call('conversation.create', { title: 'Club', memberIds: [] });
    for (let n = 1; n <= 120; n++) one.send(conversation.id, { text: `m${n}` });
    const two = await device(bob);
    await until(() => expect(one.outbox.pending()).toEqual([]));
    await one.call('member.add', { conversationId: conversation.id, userIds: [bob.id] });
    await until(() => expect(two.conversation(conversation.id)).toMatchObject({ title: 'Club' }));
    const timeline = two.timeline(conversation.id);
    await until(() => expect(timeline.loading).toBe(false));
    while (timeline.hasBefore) await timeline.loadBefore();
    const seqs = timeline.messages.map((item) => (item as Message).seq);
    expect(seqs).toEqual(Array.from({ length: 122 }, (_, n) => n + 1));
    const around = one.timeline(conversation.id);
    await around.loadAround(10);
    expect(texts(around.messages)).toContain('m9');
  });

  test('[SY9] who is removed keeps nothing of it, on any device', async () => {
    const { ann, bob } = await twoFriends();
    const kept = new Map<string, unknown>();
    const [one, two] = [await device(ann), await device(bob, { storage: memoryStorage(kept) })];
    const { conversation } = await one.call('conversation.create', { title: 'Club', memberIds: [bob.id] });
    one.send(conversation.id, { text: 'canary' });
    await until(() => expect(two.conversation(conversation.id)?.lastMessage?.text).toBe('canary'));
    await until(() => expect(JSON.stringify([...kept])).toContain('canary'));
    await one.call('member.remove', { conversationId: conversation.id, userId: bob.id });
    await until(() => expect(two.conversation(conversation.id)).toBeUndefined());
    await until(() => expect(JSON.stringify([...kept])).not.toContain('canary'));
    expect(JSON.stringify(two.store.list('message'))).not.toContain('canary');
    const clientId = two.send(conversation.id, { text: 'still here?' });
    await until(() => expect(two.outbox.pending()).toMatchObject([{ clientId, state: 'failed', error: { code: 'not_a_member' } }]));
  });
});

describe('a session', () => {
  test('[RC2] that is revoked ends the connection at once; signing out leaves nothing on the device', async () => {
    const person = await server.register();
    const kept = new Map<string, unknown>();
    const [one, two] = [await device(person), await device(await server.login(person), { storage: memoryStorage(kept) })];
    const { sessions, current } = await one.call('session.list', {});
    const other = sessions.find((session) => session.id !== current)!;
    await one.call('session.revoke', { sessionId: other.id });
    await until(() => expect(two.connection).toMatchObject({ at: 'ended', reason: 'sessionEnded' }));
    await two.wipe();
    expect(kept.size).toBe(0);
    expect(one.connection.at).toBe('ready');
  });
});

describe('what is sensitive', () => {
  /** A device whose person signed in long ago. */
  async function stale(confirm?: (client: Client) => Promise<boolean>): Promise<Client> {
    const anna = await server.register();
    const rows = await openRows(server.config);
    await rows.run('update sessions set confirmed_at = 0 where id = ?', anna.sessionId);
    await rows.close();
    const client: Client = await device(anna, confirm && { confirm: () => confirm(client) });
    return client;
  }
  const remove = (client: Client) => client.call('user.delete', { password: 'correct horse' });

  test('[AU22] the program is asked who is there, and the call is repeated once', async () => {
    let asked = 0;
    const client = await stale(async (it) => {
      asked += 1;
      await it.call('auth.confirm', { password: 'correct horse' });
      return true;
    });
    // The answer and the end of the session are on their way together.
    await Promise.allSettled([remove(client)]);
    await until(() => expect(client.connection.at).toBe('ended'));
    expect(asked).toBe(1);
  });

  test('[AU22] where it cannot say, or nobody asks it, the call fails, and is not repeated for ever', async () => {
    let asked = 0;
    for (const client of [await stale(), await stale(async () => false), await stale(async () => (asked += 1) > 0)])
      await expect(remove(client)).rejects.toMatchObject({ code: 'confirm_required' });
    expect(asked).toBe(1);
  });
});
