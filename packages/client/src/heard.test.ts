import { type Message, conversationStream, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { settle } from '../test/fake-clock.ts';
import { type ModelServer, never, refuse } from '../test/model-server.ts';
import { connectTo, ready, setUp } from '../test/setup.ts';
import { memoryStorage } from './storage-memory.ts';

/** Something that was said, by default a moment after everybody came. */
function speak(server: ModelServer, senderId = 'ann', at = 10): Message {
  const { version: _, ...message } = server.say('c1', senderId, '');
  return server.commit(conversationStream('c1'), { ...message, type: 'voice', at }).entities[0] as Message;
}

describe('what was heard', () => {
  test('[VO10] one’s own and what was said before one came counts as heard, and so does all below the mark', async () => {
    const { server, client } = setUp();
    server.found('c1', {});
    server.commit(conversationStream('c1'), { ...server.member('c1', 'me'), joinedAt: 5 });
    const [before, after, own] = [speak(server, 'ann', 4), speak(server, 'ann', 5), speak(server, 'me')];
    const [below, one, other] = [speak(server), speak(server), speak(server)];
    await ready(client);
    expect([before, after, own, below, one, other].map((message) => client.isHeard(message))).toEqual([true, false, true, false, false, false]);
    server.commit(userStream('me'), { kind: 'heard', conversationId: 'c1', upTo: below.seq, seqs: [other.seq] });
    await settle();
    expect([after, below, one, other].map((message) => client.isHeard(message))).toEqual([true, true, false, true]);
  });

  test('[VO11] a mark shows at once, survives a lost connection and a restart, and is told once', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', {});
    const [first, second] = [speak(server), speak(server)];
    await ready(client);
    const told: string[] = [];
    client.store.watch(({ kinds }) => kinds.has('heard') && told.push('heard'));
    server.down = true;
    server.socket!.drop();
    client.markHeard(first);
    client.markHeard(first);
    client.markHeard(second);
    await settle();
    expect([client.isHeard(first), told.length]).toEqual([true, 1]);
    await clock.advance(1_000);
    await client.stop();
    server.down = false;
    const again = connectTo(server, { storage: memoryStorage(kept) });
    await again.start();
    expect(again.isHeard(first)).toBe(true);
    await clock.advance(3_000);
    expect(server.askedFor('voice.heard')).toEqual([{ messageId: first.id }, { messageId: second.id }]);
    expect(server.rows.get('heard/c1')).toMatchObject({ seqs: [first.seq, second.seq] });
    await clock.advance(1_000);
    expect([...kept.keys()].filter((key) => key.startsWith('heard/'))).toEqual([]);
    expect(again.isHeard(second)).toBe(true);
  });

  test('[VO11] what was heard elsewhere meanwhile, is refused, or is of a conversation that was left, is told no longer', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1', {});
    const [elsewhere, recalled, left] = [speak(server), speak(server), speak(server)];
    await ready(client);
    server.answers.set('voice.heard', never);
    client.markHeard(elsewhere);
    await settle();
    server.commit(userStream('me'), { kind: 'heard', conversationId: 'c1', upTo: 0, seqs: [elsewhere.seq] });
    await clock.advance(20_000);
    server.answers.set('voice.heard', refuse('bad_request'));
    client.markHeard(recalled);
    await clock.advance(5_000);
    expect(client.isHeard(recalled)).toBe(false);
    server.down = true;
    server.socket?.drop();
    client.markHeard(left);
    await clock.advance(500);
    server.inbox('c1', { joined: false });
    server.down = false;
    await clock.advance(60_000);
    await clock.advance(1_000);
    expect([...kept.keys()].filter((key) => key.startsWith('heard/'))).toEqual([]);
    const asked = server.askedFor('voice.heard').length;
    await clock.advance(60_000);
    expect(server.askedFor('voice.heard')).toHaveLength(asked);
  });
});
