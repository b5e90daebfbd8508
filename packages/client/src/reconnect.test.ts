import { conversationStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { settle } from '../test/fake-clock.ts';
import { never, refuse } from '../test/model-server.ts';
import { ready, setUp } from '../test/setup.ts';
import { fullJitter } from './clock.ts';
import type { Hints } from './hints.ts';
import type { Connection } from './link.ts';
import { Reconnect } from './reconnect.ts';
import { ConnectionError } from './requests.ts';

const lost = 1006;

/** Hints that the test gives. */
function hand(): Hints & { give(hint: 'online' | 'visible'): void } {
  const listeners = new Set<(hint: 'online' | 'visible') => void>();
  return {
    subscribe(fn) {
      listeners.add(fn);
      return () => void listeners.delete(fn);
    },
    give: (hint) => listeners.forEach((fn) => fn(hint)),
  };
}

describe('when to try again', () => {
  test('[RC1] attempts wait anything from nothing to 1, 2, 4 … s, at most a minute', () => {
    const longest = new Reconnect(() => 0.999_999);
    expect(Array.from({ length: 9 }, () => Math.ceil(longest.delayAfter(lost, '', undefined)! / 1_000))).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    const shortest = new Reconnect(() => 0);
    expect(Array.from({ length: 9 }, () => shortest.delayAfter(lost, '', undefined))).toEqual(Array.from({ length: 9 }, () => 0));
    expect(fullJitter(1_000, () => 0.5)).toBe(30_000);
  });

  test('[RC1] only a connection that lasted starts the waits anew', () => {
    const reconnect = new Reconnect(() => 0.999_999);
    for (let n = 0; n < 5; n++) reconnect.delayAfter(lost, '', 100);
    expect(reconnect.delayAfter(lost, '', 100)).toBeGreaterThan(30_000);
    expect(reconnect.delayAfter(lost, '', 60_000)).toBeLessThanOrEqual(1_000);
  });

  test('[RC2] close codes from 4500 on and those of a broken protocol end it; all others, known or not, do not', () => {
    const reconnect = new Reconnect(() => 0.5);
    for (const code of [4500, 4501, 4502, 4999, 1002, 1003, 1007, 1008, 1009]) expect(reconnect.delayAfter(code, '', undefined)).toBeUndefined();
    for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1015, 4000, 4001, 4002, 4008, 4029, 4499, 3000]) expect(reconnect.delayAfter(code, '', undefined)).toBeDefined();
  });

  test('[RC2] a session that ended stays ended, says why, and can be taken up after signing in', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    server.socket!.drop(4500);
    expect(client.connection).toMatchObject({ at: 'ended', reason: 'sessionEnded' });
    await clock.advance(600_000);
    expect(server.sockets).toHaveLength(1);
    await expect(client.call('session.list', {})).rejects.toThrow(ConnectionError);
    client.retryNow();
    await settle();
    expect(client.connection.at).toBe('ready');
  });

  test('[RC2] a token that is refused ends it', async () => {
    const { server, client, clock } = setUp();
    server.answers.set('hello', refuse('unauthenticated'));
    await client.start();
    await clock.advance(600_000);
    expect(client.connection).toMatchObject({ at: 'ended', reason: 'unauthenticated' });
    expect(server.sockets).toHaveLength(1);
  });

  test('[RC2] a hello that cannot be answered now is said again later', async () => {
    const { server, client, clock } = setUp();
    server.answers.set('hello', refuse('busy', { retryAfterMs: 7_000 }));
    await client.start();
    await clock.advance(6_900);
    expect(server.sockets).toHaveLength(1);
    server.answers.delete('hello');
    await clock.advance(200);
    expect(client.connection.at).toBe('ready');
  });

  test('[RC3] a server that restarts gets its clients back spread over the time it names', () => {
    for (const random of [0, 0.25, 0.999_999]) expect(new Reconnect(() => random).delayAfter(1012, '20000', 60_000)).toBe(Math.floor(random * 20_000));
    expect(new Reconnect(() => 0.5).delayAfter(1012, 'no number', 60_000)).toBe(500);
    expect(new Reconnect(() => 0.5).delayAfter(1012, '-5', 60_000)).toBe(500);
  });

  test('[RC3] a connection that lasted as long as any may is followed by the next one at once, unless it did not last', () => {
    const reconnect = new Reconnect(() => 0.5);
    expect(reconnect.delayAfter(4002, '', 86_400_000)).toBe(0);
    expect(reconnect.delayAfter(4002, '', 100)).toBe(500);
    expect(reconnect.delayAfter(4002, '', undefined)).toBe(1_000);
  });

  test('[RC3] a server that takes no connections is not asked again within the second', () => {
    for (const code of [1013, 4029]) expect(new Reconnect(() => 0.5).delayAfter(code, '', undefined)).toBe(4_000);
  });

  test('[RC4] being online, being looked at and waking up end the wait', async () => {
    const hints = hand();
    const { server, client, clock } = setUp({ hints });
    await ready(client);
    for (const hint of ['online', 'visible', 'wake'] as const) {
      server.down = true;
      server.socket!.drop();
      await clock.advance(200_000);
      expect(client.connection.at).toBe('offline');
      expect(client.connection.retryAt).toBeGreaterThan(clock.now());
      server.down = false;
      if (hint === 'wake') await clock.sleep(21_000);
      else hints.give(hint);
      await settle();
      expect(client.connection.at).toBe('ready');
    }
  });

  test('[RC4] an attempt that hangs in a network that is gone is given up when there is a new one', async () => {
    const hints = hand();
    const { server, client, clock } = setUp({ hints });
    server.answers.set('hello', never);
    await client.start();
    await clock.advance(5_000);
    server.answers.delete('hello');
    hints.give('online');
    await settle();
    expect(client.connection.at).toBe('ready');
    expect(server.sockets).toHaveLength(2);
    expect(server.sockets[0]!.state).toBe('closed');
  });
});

describe('one connection', () => {
  test('[RC5] there are never two sockets, and an old one is not listened to', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    const first = server.socket!;
    first.dead = true;
    await clock.advance(60_000);
    expect(client.connection.at).toBe('ready');
    const second = server.socket!;
    expect(second).not.toBe(first);
    expect(server.sockets.filter((socket) => socket.state !== 'closed')).toEqual([second]);
    // What it still delivers, late: a push, a close.
    first.dead = false;
    first.state = 'open';
    server.lose = () => true;
    const message = server.say('c1', 'ann', 'from the grave');
    first.deliver({ stream: conversationStream('c1'), version: message.version, entities: [message] });
    first.drop(4500);
    await settle();
    expect(client.store.list('message')).toEqual([]);
    expect(client.connection.at).toBe('ready');
    client.retryNow();
    await settle();
    expect(server.socket).toBe(second);
  });

  test('[RC5] a hello that is not answered is given up', async () => {
    const { server, client, clock } = setUp();
    server.answers.set('hello', never);
    await client.start();
    await clock.advance(14_000);
    expect(client.connection.at).toBe('connecting');
    await clock.advance(2_000);
    expect(server.sockets.length).toBe(2);
    expect(server.sockets[0]!.state).toBe('closed');
  });

  test('[RC6] silence is broken with a cheap question, and an answer keeps the connection', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    server.asked.length = 0;
    await clock.advance(24_000);
    expect(server.asked).toEqual([]);
    await clock.advance(2_000);
    expect(server.asked).toMatchObject([{ method: 'stream.heads', params: { streams: [] } }]);
    await clock.advance(600_000);
    expect(server.sockets).toHaveLength(1);
    expect(client.connection.at).toBe('ready');
  });

  test('[RC6] any frame is a sign of life: who hears something asks nothing', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.asked.length = 0;
    for (let n = 0; n < 10; n++) {
      await clock.advance(20_000);
      server.signal({ signal: 'typing', data: { conversationId: 'c1', userId: 'ann' } });
    }
    expect(server.asked).toEqual([]);
  });

  test('[RC6] a connection without a sign of life for one and a half heartbeats is dropped', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    const first = server.socket!;
    first.dead = true;
    await clock.advance(34_000);
    expect(client.connection.at).toBe('ready');
    await clock.advance(3_500);
    expect(first.state).toBe('closed');
    expect(client.connection.at).toBe('ready');
    expect(server.socket).not.toBe(first);
  });

  test('[RC6] after a sleep or with a new network a dead connection is found within seconds', async () => {
    const hints = hand();
    const { server, client, clock } = setUp({ hints });
    await ready(client);
    server.socket!.dead = true;
    await clock.sleep(60_000);
    await clock.advance(4_000);
    expect(server.sockets).toHaveLength(2);
    server.socket!.dead = true;
    hints.give('online');
    await clock.advance(4_000);
    expect(server.sockets).toHaveLength(3);
    expect(client.connection.at).toBe('ready');
  });

  test('[RC7] what was asked on a connection that is lost fails at once, and says that nobody knows', async () => {
    const { server, client } = setUp();
    await ready(client);
    server.answers.set('session.list', never);
    const answer = client.call('session.list', {});
    const failure = answer.catch((error: unknown) => error);
    await settle();
    server.socket!.drop();
    expect(await failure).toMatchObject({ name: 'ConnectionError', sent: true });
  });

  test('[RC7] what is asked without a connection waits for one, as long as the caller does', async () => {
    const { server, client, clock } = setUp();
    server.down = true;
    await client.start();
    const early = client.call('session.list', {}, { timeoutMs: 1_000 }).catch((error: unknown) => error);
    await clock.advance(1_500);
    expect(await early).toMatchObject({ name: 'ConnectionError', sent: false });
    const patient = client.call('stream.heads', { streams: [] }, { timeoutMs: 100_000 });
    server.down = false;
    await clock.advance(60_000);
    expect(await patient).toEqual({ era: 'first', heads: {} });
  });

  test('[RC8] since tells how long there has been no connection, attempts included', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    const seen: Connection[] = [];
    client.onConnection((connection) => seen.push(connection));
    server.down = true;
    const at = clock.now();
    server.socket!.drop();
    await clock.advance(30_000);
    expect(seen.length).toBeGreaterThan(5);
    expect(new Set(seen.map(({ since }) => since))).toEqual(new Set([at]));
    await client.stop();
    expect(client.connection).toMatchObject({ at: 'ended', reason: 'stopped' });
    await clock.advance(100_000);
    expect(clock.next).toBeUndefined();
  });
});
