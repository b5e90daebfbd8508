import { userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { refuse } from '../test/model-server.ts';
import { connectTo, ready, setUp } from '../test/setup.ts';
import { memoryStorage } from './storage-memory.ts';

describe('presence', () => {
  test('[AT5] people who come into view together are asked for together, and each once', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    client.presence.watch(['ann']);
    client.presence.watch(['ann', 'bob']);
    await clock.advance(100);
    expect(server.askedFor('presence.watch')).toEqual([{ userIds: ['ann', 'bob'] }]);
    client.presence.watch(['bob', 'cleo']);
    await clock.advance(100);
    expect(server.askedFor('presence.watch').slice(1)).toEqual([{ userIds: ['cleo'] }]);
    expect(client.presence.get('ann')).toEqual({ online: true, lastSeenAt: null });
    server.signal({ signal: 'presence', data: { userId: 'ann', online: false, lastSeenAt: 5 } });
    expect(client.presence.get('ann')).toEqual({ online: false, lastSeenAt: 5 });
  });

  test('[AT5] they are let go when the last one who looked does, after a while', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    const one = client.presence.watch(['ann']);
    const two = client.presence.watch(['ann']);
    await clock.advance(100);
    one();
    one();
    await clock.advance(10_000);
    expect(server.askedFor('presence.unwatch')).toEqual([]);
    two();
    client.presence.watch(['ann'])();
    await clock.advance(10_000);
    expect(server.askedFor('presence.unwatch')).toEqual([{ userIds: ['ann'] }]);
    expect(client.presence.get('ann')).toBeUndefined();
  });

  test('[AT5] after a reconnect they are asked for again', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    client.presence.watch(['ann', 'bob']);
    await clock.advance(100);
    server.socket!.drop();
    server.answers.set('presence.watch', refuse('busy'));
    await clock.advance(1_000);
    server.answers.set('presence.watch', () => ({ presence: [{ userId: 'ann', online: false, lastSeenAt: 9 }] }));
    await clock.advance(10_000);
    expect(server.askedFor('presence.watch').at(-1)).toEqual({ userIds: ['ann', 'bob'] });
    expect(client.presence.get('ann')).toEqual({ online: false, lastSeenAt: 9 });
  });

  test('[AT5] who hides from everybody knows nothing of others from then on, and asks anew when they do not any more', async () => {
    const { server, client, clock } = setUp();
    await ready(client);
    client.presence.watch(['ann']);
    await clock.advance(100);
    server.answers.set('presence.watch', () => ({ presence: [] }));
    const settings = {
      kind: 'settings',
      readReceipts: true,
      typing: true,
      groups: 'anyone',
      findable: true,
      pushContent: false,
      linkPreviews: true,
      quietFrom: null,
      quietTo: null,
      timeZone: 'UTC',
    } as const;
    const shows = (presence: 'everyone' | 'friends' | 'nobody') => server.commit(userStream('me'), { ...settings, presence });
    shows('friends');
    await clock.advance(100);
    expect(client.presence.get('ann')).toMatchObject({ online: true });
    shows('nobody');
    await clock.advance(100);
    expect(client.presence.get('ann')).toBeUndefined();
    server.answers.delete('presence.watch');
    shows('everyone');
    await clock.advance(100);
    expect(client.presence.get('ann')).toMatchObject({ online: true });
    expect(server.askedFor('presence.watch')).toHaveLength(3);
  });
});

describe('typing', () => {
  test('[AT6] own typing is told every 3 s at most, and only where somebody may hear it', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    server.found('crowd', { memberIds: ['me', ...Array.from({ length: 200 }, (_, n) => `u${n}`)] });
    await ready(client);
    for (let n = 0; n < 50; n++) {
      client.setTyping('c1');
      client.setTyping('crowd');
      await clock.advance(100);
    }
    expect(server.askedFor('typing.set')).toEqual([{ conversationId: 'c1' }, { conversationId: 'c1' }]);
  });

  test('[AT6] others are typing for 6 s after the last signal, or until their message', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    const typing = (userId: string): void => server.signal({ signal: 'typing', data: { conversationId: 'c1', userId } });
    let told = 0;
    client.onTyping(() => (told += 1));
    typing('ann');
    typing('bob');
    typing('me');
    expect(client.typing('c1')).toEqual(['ann', 'bob']);
    await clock.advance(4_000);
    typing('ann');
    await clock.advance(3_000);
    expect(client.typing('c1')).toEqual(['ann']);
    server.say('c1', 'ann', 'there');
    expect(client.typing('c1')).toEqual([]);
    expect(told).toBe(4);
  });
});

describe('drafts', () => {
  test('[AT7] a draft stays on this device until it is sent or emptied', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1');
    await ready(client);
    const changed: string[] = [];
    client.drafts.onChange((id) => changed.push(id));
    client.drafts.set('c1', 'half');
    client.drafts.set('c1', 'half');
    client.drafts.set('c1', 'half a thought');
    expect(changed).toEqual(['c1', 'c1']);
    expect(client.conversation('c1')!.draft).toBe('half a thought');
    await clock.advance(100);
    await client.stop();
    expect(server.askedFor('draft.set')).toEqual([]);
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await second.start();
    expect(second.drafts.get('c1')).toBe('half a thought');
    second.drafts.set('c1', '');
    await clock.advance(1_000);
    expect([...kept.keys()].filter((key) => key.startsWith('draft/'))).toEqual([]);
  });

  test('[DR1] a draft reaches the other devices after a pause, and at once when it was sent', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    for (let n = 1; n <= 10; n++) {
      client.drafts.set('c1', 'x'.repeat(n));
      await clock.advance(1_000);
    }
    expect(server.askedFor('draft.set')).toEqual([]);
    await clock.advance(1_000);
    expect(server.askedFor('draft.set')).toEqual([{ conversationId: 'c1', text: 'xxxxxxxxxx', base: 0 }]);
    client.drafts.set('c1', '');
    await clock.advance(1_000);
    expect(server.askedFor('draft.set')).toHaveLength(2);
    expect(client.drafts.get('c1')).toBe('');
    await clock.advance(60_000);
    expect(server.askedFor('draft.set')).toHaveLength(2);
  });

  test('[DR1] what another device writes shows here, unless this one is writing; then both are kept', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    const changed: string[] = [];
    client.drafts.onChange((id) => changed.push(client.drafts.get(id)));
    const elsewhere = (text: string): void => void server.commit(userStream('me'), { kind: 'draft', conversationId: 'c1', text, other: null, at: 1 });
    elsewhere('from the phone');
    expect(changed).toEqual(['from the phone']);
    expect(client.conversation('c1')!.draft).toBe('from the phone');
    server.inbox('left', { joined: false });
    server.commit(userStream('me'), { kind: 'draft', conversationId: 'left', text: 'to nobody', other: null, at: 1 });
    expect(client.drafts.get('left')).toBe('');
    changed.pop();
    client.drafts.set('c1', 'from the phone, and here');
    elsewhere('from the phone, and there');
    expect(client.drafts.get('c1')).toBe('from the phone, and here');
    await clock.advance(2_000);
    expect(client.drafts.get('c1')).toBe('from the phone, and here');
    expect(client.drafts.other('c1')).toBe('from the phone, and there');
    expect([...new Set(changed)]).toEqual(['from the phone', 'from the phone, and here']);
  });

  test('[DR2] while two texts wait for a choice neither goes, however much is written on', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    const { drafts } = client;
    expect(drafts.show('c1')).toBe('');
    drafts.set('c1', 'here');
    server.commit(userStream('me'), { kind: 'draft', conversationId: 'c1', text: 'there', other: null, at: 1 });
    await clock.advance(2_000);
    expect(drafts.others('c1', 'here')).toEqual(['there']);
    const asked = server.askedFor('draft.set').length;
    drafts.set('c1', 'here, and on');
    await clock.advance(60_000);
    expect(server.askedFor('draft.set')).toHaveLength(asked);
    expect(server.rows.get('draft/c1')).toMatchObject({ text: 'here', other: 'there' });
    expect(drafts.others('c1', 'here, and on')).toEqual(['there']);
    drafts.settle('c1', 'here, and on');
    drafts.set('c1', 'here, and on.');
    await clock.advance(2_000);
    expect(server.rows.get('draft/c1')).toMatchObject({ text: 'here, and on.', other: null });
    expect(drafts.others('c1', 'here, and on.')).toEqual([]);
  });

  test('[DR2] a field that shows an older draft is written over that one, not over what came meanwhile', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    const elsewhere = (text: string): void => void server.commit(userStream('me'), { kind: 'draft', conversationId: 'c1', text, other: null, at: 1 });
    await ready(client);
    const { drafts } = client;
    elsewhere('one');
    expect(drafts.show('c1')).toBe('one');
    elsewhere('two');
    // Nothing was written into the field: it has nothing to say.
    drafts.set('c1', 'one');
    await clock.advance(2_000);
    expect(server.askedFor('draft.set')).toEqual([]);
    expect(drafts.others('c1', 'one')).toEqual(['two']);
    drafts.set('c1', 'one, here');
    await clock.advance(2_000);
    expect(server.rows.get('draft/c1')).toMatchObject({ text: 'one, here', other: 'two' });
    expect(drafts.others('c1', 'one, here')).toEqual(['two']);
  });

  test('[DR2] a choice on another device lets what waited here go', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    const { drafts } = client;
    drafts.show('c1');
    server.commit(userStream('me'), { kind: 'draft', conversationId: 'c1', text: 'phone', other: 'tablet', at: 1 });
    drafts.set('c1', 'desk');
    await clock.advance(2_000);
    expect(drafts.others('c1', 'desk')).toEqual(['phone', 'tablet']);
    expect(server.askedFor('draft.set')).toEqual([]);
    server.commit(userStream('me'), { kind: 'draft', conversationId: 'c1', text: 'tablet', other: null, at: 1 });
    await clock.advance(2_000);
    expect(server.rows.get('draft/c1')).toMatchObject({ text: 'desk', other: 'tablet' });
    expect(drafts.others('c1', 'desk')).toEqual(['tablet']);
  });

  test('[DR1] what was written without a connection goes out with the next, over the version it knew', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    client.drafts.set('c1', 'one');
    await clock.advance(2_000);
    const { version } = server.rows.get('draft/c1')!;
    server.down = true;
    server.socket!.drop();
    client.drafts.set('c1', 'two');
    await clock.advance(60_000);
    server.down = false;
    await clock.advance(60_000);
    expect(server.askedFor('draft.set').at(-1)).toEqual({ conversationId: 'c1', text: 'two', base: version });
    server.answers.set('draft.set', refuse('bad_request'));
    client.drafts.set('c1', 'refused');
    await clock.advance(60_000);
    expect(client.drafts.get('c1')).toBe('refused');
    expect(server.askedFor('draft.set')).toHaveLength(3);
  });
});
