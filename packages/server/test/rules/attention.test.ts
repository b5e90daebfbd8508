import { type Inbox, type Receipt, type Signal, type SignalOf, type StreamId, limits, typingEveryMs, userStream } from '@kith/protocol';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { configWith } from '../../src/config.ts';
import { Online } from '../../src/core/online.ts';
import { type Someone, engines, usePlace } from './place.ts';

const signals = (person: Someone): Signal[] => person.client.frames.filter((frame): frame is Signal => 'signal' in frame);

describe.each(engines)('attention on %s', (engine) => {
  const place = usePlace({ engine, config: { offlineGraceMs: 0 } });

  const receipts = (person: Someone, stream: StreamId): Receipt[] =>
    person
      .pushes(stream)
      .flatMap(({ entities }) => entities)
      .filter((entity) => entity.kind === 'receipt');
  const membersCount = (conversationId: string, count: number) => place.rows.run(`update conversations set member_count = ${count} where id = ?`, conversationId);

  test('[RD1] the mark moves up to a seq, never back and never beyond the end', async () => {
    const { anna, bert, conversationId } = await place.direct();
    for (const text of ['one', 'two', 'three', 'four']) await anna.say(conversationId, text);
    const mark = async (seq: number) => (await bert.call('read.mark', { conversationId, seq })).inbox.readSeq;
    expect([await mark(2), await mark(1), await mark(0), await mark(2), await mark(99), await mark(Number.MAX_SAFE_INTEGER), await mark(3)]).toEqual([2, 2, 2, 2, 4, 4, 4]);
    await anna.say(conversationId, 'five');
    expect(await mark(5)).toBe(5);
    // One version for each step forward, none for the others.
    const { version } = await place.head(userStream(bert.id));
    await mark(5);
    expect((await place.head(userStream(bert.id))).version).toBe(version);
  });

  test('[RD1] it reaches all one’s devices, and nobody else', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const phone = await place.device(bert);
    await anna.say(conversationId);
    const { inbox } = await bert.call('read.mark', { conversationId, seq: 1 });
    expect(inbox).toMatchObject({ kind: 'inbox', conversationId, readSeq: 1 } satisfies Partial<Inbox>);
    await phone.settle();
    expect(phone.pushes(userStream(bert.id)).at(-1)!.entities).toEqual([inbox]);
    await anna.settle();
    expect(anna.pushes(userStream(anna.id)).flatMap(({ entities }) => entities)).not.toContainEqual(expect.objectContaining({ kind: 'inbox', readSeq: 1 }));
  });

  test('[RD1] devices that mark at once end at the furthest', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const phone = await place.device(bert);
    await place.fill(conversationId, anna, 40);
    await Promise.all(Array.from({ length: 20 }, (_, index) => [bert, phone][index % 2]!.call('read.mark', { conversationId, seq: index % 2 ? index : 40 - index })));
    expect((await bert.call('read.mark', { conversationId, seq: 0 })).inbox.readSeq).toBe(40);
  });

  test('[RD2] unread is the newest seq minus the mark, also for who was added later', async () => {
    const { anna, bert, conversationId } = await place.direct();
    for (const text of ['one', 'two']) await anna.say(conversationId, text);
    await bert.call('read.mark', { conversationId, seq: 1 });
    const { entities } = await bert.call('stream.snapshot', { stream: userStream(bert.id) });
    const { messages } = await bert.call('message.history', { conversationId, limit: 1 });
    expect(entities).toContainEqual(expect.objectContaining({ kind: 'inbox', conversationId, readSeq: messages[0]!.seq - 1 }));
    const cleo = await place.person('cleo');
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [] });
    await anna.say(conversation.id);
    await anna.call('member.add', { conversationId: conversation.id, userIds: [cleo.id] });
    await cleo.settle();
    // The line that says so is the newest, and nothing is unread.
    expect(cleo.pushes(userStream(cleo.id)).at(-1)!.entities).toContainEqual(expect.objectContaining({ kind: 'inbox', conversationId: conversation.id, readSeq: 3 }));
  });

  test('[RD4] a conversation marked as unread is so on all one’s devices, for nobody else, and no mark goes back', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const phone = await place.device(bert);
    await anna.say(conversationId);
    const { inbox: read } = await bert.call('read.mark', { conversationId, seq: 1 });
    const told = await place.head(stream);
    const { inbox } = await bert.call('read.unread', { conversationId, on: true, base: read.version });
    expect(inbox).toMatchObject({ markedUnread: true, readSeq: 1, version: read.version + 1 });
    await phone.settle();
    expect(phone.pushes(userStream(bert.id)).at(-1)!.entities).toEqual([inbox]);
    // Nobody sees it in the conversation: no version of its stream, no receipt that goes back.
    expect(await place.head(stream)).toEqual(told);
    // The same again, and a mark that reads nothing new, change nothing.
    expect((await phone.call('read.unread', { conversationId, on: true, base: inbox.version })).inbox).toEqual(inbox);
    expect((await phone.call('read.mark', { conversationId, seq: 1 })).inbox).toEqual(inbox);
    expect((await phone.call('conversation.pin', { conversationId, on: true })).inbox).toMatchObject({ markedUnread: true });
    expect((await phone.call('read.unread', { conversationId, on: false, base: inbox.version })).inbox).toMatchObject({ markedUnread: false, readSeq: 1 });
  });

  test('[RD4] reading on takes it back, and so does leaving', async () => {
    const { anna, bert, conversationId } = await place.group();
    const mark = async () => (await bert.call('read.unread', { conversationId, on: true, base: Number.MAX_SAFE_INTEGER })).inbox.markedUnread;
    expect(await mark()).toBe(true);
    const { seq } = await anna.say(conversationId);
    expect((await bert.call('read.mark', { conversationId, seq })).inbox).toMatchObject({ markedUnread: false, readSeq: seq });
    expect(await mark()).toBe(true);
    await bert.call('conversation.leave', { conversationId });
    await anna.call('member.add', { conversationId, userIds: [bert.id] });
    const { entities } = await bert.call('stream.snapshot', { stream: userStream(bert.id) });
    expect(entities).toContainEqual(expect.objectContaining({ kind: 'inbox', conversationId, markedUnread: false }));
  });

  test('[RD4] what was decided before the newest word on it changes nothing', async () => {
    const { anna, bert, conversationId } = await place.direct();
    await anna.say(conversationId);
    const { version: seen } = (await bert.call('conversation.pin', { conversationId, on: true })).inbox;
    const { inbox: read } = await bert.call('read.mark', { conversationId, seq: 1 });
    const call = async (on: boolean, base: number) => (await bert.call('read.unread', { conversationId, on, base })).inbox;
    // Marked on a device that did not know it was read on another.
    expect(await call(true, seen)).toEqual(read);
    const first = await call(true, read.version);
    await call(false, first.version);
    const second = await call(true, first.version + 1);
    // Opened on a device that knew of the first time only.
    expect(await call(false, first.version)).toEqual(second);
    const pinned = await bert.call('conversation.pin', { conversationId, on: false });
    expect(pinned.inbox).toMatchObject({ markedUnread: true });
    expect(await call(false, second.version)).toMatchObject({ markedUnread: false });
  });

  test('[RD3] the others see how far somebody has received and read', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    for (const text of ['one', 'two', 'three']) await anna.say(conversationId, text);
    await bert.call('receipt.delivered', { conversationId, seq: 3 });
    await bert.call('read.mark', { conversationId, seq: 2 });
    // Nothing goes back, nothing goes beyond the end, and what changes nothing is not told.
    await bert.call('receipt.delivered', { conversationId, seq: 1 });
    await bert.call('receipt.delivered', { conversationId, seq: 99 });
    await bert.call('read.mark', { conversationId, seq: 99 });
    for (const person of [anna, cleo]) {
      await person.settle();
      expect(receipts(person, stream).map(({ userId, deliveredSeq, readSeq }) => [userId, deliveredSeq, readSeq])).toEqual([
        [bert.id, 3, 0],
        [bert.id, 3, 2],
        [bert.id, 4, 2],
        [bert.id, 4, 4],
      ]);
    }
    expect((await cleo.call('stream.snapshot', { stream })).entities).toContainEqual(receipts(cleo, stream).at(-1));
  });

  test('[RD3] read is never further than received', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    for (const text of ['one', 'two']) await anna.say(conversationId, text);
    await bert.call('read.mark', { conversationId, seq: 2 });
    await anna.settle();
    expect(receipts(anna, stream)).toMatchObject([{ deliveredSeq: 2, readSeq: 2 }]);
  });

  test('[RD3] in conversations of more than 200 the mark is one’s own', async () => {
    const { anna, bert, conversationId, stream } = await place.group();
    await anna.say(conversationId);
    await membersCount(conversationId, limits.attentionMembers + 1);
    const before = await place.head(stream);
    expect((await bert.call('read.mark', { conversationId, seq: 1 })).inbox.readSeq).toBe(1);
    await bert.call('receipt.delivered', { conversationId, seq: 2 });
    expect(await place.head(stream)).toEqual(before);
    await membersCount(conversationId, limits.attentionMembers);
    await bert.call('read.mark', { conversationId, seq: 2 });
    await anna.settle();
    expect(receipts(anna, stream)).toMatchObject([{ userId: bert.id, readSeq: 2 }]);
  });

  test('[TY1] the others are told once, however often somebody says that they type', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const before = await place.head(stream);
    for (let turn = 0; turn < 5; turn += 1) await bert.call('typing.set', { conversationId });
    await cleo.call('typing.set', { conversationId });
    await anna.settle();
    expect(signals(anna)).toEqual([
      { signal: 'typing', data: { conversationId, userId: bert.id } },
      { signal: 'typing', data: { conversationId, userId: cleo.id } },
    ]);
    expect(await place.head(stream)).toEqual(before);
  });

  test('[TY1] one’s own other devices are not told', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const [phone, tab] = [await place.device(bert), await place.connect(bert)];
    await bert.call('typing.set', { conversationId });
    for (const device of [anna, bert, phone, tab]) await device.settle();
    expect(signals(anna)).toHaveLength(1);
    for (const device of [bert, phone, tab]) expect(signals(device)).toEqual([]);
  });

  test('[TY1] one who types in two conversations is seen in both, and only there', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const eve = await place.person('eve');
    const { conversation } = await bert.call('conversation.create', { title: 'Club', memberIds: [anna.id] });
    for (const id of [conversationId, conversation.id]) await bert.call('typing.set', { conversationId: id });
    await anna.settle();
    expect(signals(anna).map(({ data }) => (data as SignalOf<'typing'>).conversationId)).toEqual([conversationId, conversation.id]);
    await eve.settle();
    expect(signals(eve)).toEqual([]);
  });

  test('[TY1] nobody is told in conversations of more than 200, and of announcements', async () => {
    const { anna, bert, conversationId } = await place.group();
    await membersCount(conversationId, limits.attentionMembers + 1);
    expect(await bert.call('typing.set', { conversationId })).toEqual({});
    const operator = await place.operator();
    const { message } = await operator.call('announcement.send', { text: 'Listen' });
    expect(await operator.call('typing.set', { conversationId: message.conversationId })).toEqual({});
    await anna.settle();
    expect(signals(anna)).toEqual([]);
    await membersCount(conversationId, limits.attentionMembers);
    await bert.call('typing.set', { conversationId });
    await anna.settle();
    expect(signals(anna)).toHaveLength(1);
  });

  test('[TY1] only who may write there is seen typing', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const eve = await place.person('eve');
    await expect(eve.call('typing.set', { conversationId })).rejects.toMatchObject({ code: 'not_a_member' });
    await anna.call('friend.remove', { userId: bert.id });
    await expect(bert.call('typing.set', { conversationId })).rejects.toMatchObject({ code: 'not_friends' });
    await anna.settle();
    expect(signals(anna)).toEqual([]);
  });

  const watched = (person: Someone): SignalOf<'presence'>[] => signals(person).flatMap(({ signal, data }) => (signal === 'presence' ? [data] : []));
  const presence = async (person: Someone): Promise<SignalOf<'presence'>> => (await person.client.signal(({ signal }) => signal === 'presence')).data as SignalOf<'presence'>;

  test('[PR1] friends and people of shared conversations are answered, nobody else', async () => {
    const { anna, bert } = await place.friends();
    const [cleo, asked, asking, stranger] = (await place.people('cleo', 'asked', 'asking', 'eve')) as [Someone, Someone, Someone, Someone];
    await cleo.call('conversation.create', { title: 'Club', memberIds: [anna.id] });
    await anna.call('friend.request', { userId: asked.id });
    await asking.call('friend.request', { userId: anna.id });
    const { presence: answered } = await anna.call('presence.watch', { userIds: [bert.id, cleo.id, asked.id, asking.id, stranger.id, 'nobody', bert.id, anna.id] });
    expect(answered.map(({ userId, online }) => [userId, online]).sort()).toEqual(
      [
        [anna.id, true],
        [bert.id, true],
        [cleo.id, true],
      ].sort(),
    );
    // A request alone opens no window in the other direction either.
    expect((await asking.call('presence.watch', { userIds: [anna.id] })).presence).toEqual([]);
    expect((await asked.call('presence.watch', { userIds: [anna.id] })).presence).toEqual([]);
  });

  test('[PR1] coming and going is signalled to those who watch, with the time, and kept', async () => {
    const { anna, bert } = await place.friends();
    const cleo = await place.person('cleo');
    const began = Date.now();
    await anna.call('presence.watch', { userIds: [bert.id] });
    await bert.client.close();
    const gone = await presence(anna);
    expect(gone).toMatchObject({ userId: bert.id, online: false });
    expect(gone.lastSeenAt).toBeGreaterThanOrEqual(began);
    const back = await place.connect(bert);
    expect(await presence(anna)).toMatchObject({ userId: bert.id, online: true });
    await back.client.close();
    const again = await presence(anna);

    await expect.poll(async () => (await anna.call('presence.watch', { userIds: [bert.id] })).presence).toEqual([{ userId: bert.id, online: false, lastSeenAt: again.lastSeenAt }]);
    await cleo.settle();
    expect(watched(cleo)).toEqual([]);
  });

  test('[PR1] a person is there as long as one connection is: a second tab that closes changes nothing', async () => {
    const { anna, bert } = await place.friends();
    const [tab, phone] = [await place.connect(bert), await place.device(bert)];
    await anna.call('presence.watch', { userIds: [bert.id] });
    await bert.client.close();
    await tab.client.close();
    const other = await place.connect(bert);
    // Ordered after the closing of the others: the same person's last connection goes, and that is the one signal.
    await other.client.close();
    expect((await anna.call('presence.watch', { userIds: [bert.id] })).presence).toMatchObject([{ online: true }]);
    await phone.client.close();
    expect(await presence(anna)).toMatchObject({ online: false });
    expect(watched(anna)).toHaveLength(1);
  });

  test('[PR1] who no longer watches hears no more', async () => {
    const { anna, bert } = await place.friends();
    const cleo = await place.person('cleo');
    await place.server.befriend(anna, cleo);
    await anna.call('presence.watch', { userIds: [bert.id, cleo.id] });
    await anna.call('presence.unwatch', { userIds: [bert.id] });
    await bert.client.close();
    await cleo.client.close();
    expect((await presence(anna)).userId).toBe(cleo.id);
    // Of bert nothing comes, before or after.
    await place.connect(cleo);
    expect(await presence(anna)).toMatchObject({ userId: cleo.id, online: true });
    expect(watched(anna).map(({ userId }) => userId)).toEqual([cleo.id, cleo.id]);
  });

  test('[PR1] who is no longer a friend, and shares nothing, is not seen any more', async () => {
    const { anna, bert } = await place.friends();
    const cleo = await place.person('cleo');
    await place.server.befriend(anna, cleo);
    await anna.call('presence.watch', { userIds: [bert.id, cleo.id] });
    await bert.call('friend.remove', { userId: anna.id });
    await bert.client.close();
    await cleo.client.close();
    expect((await presence(anna)).userId).toBe(cleo.id);
    expect((await anna.call('presence.watch', { userIds: [bert.id] })).presence).toEqual([]);
    expect(watched(anna).map(({ userId }) => userId)).toEqual([cleo.id]);
  });

  /** Two who share two conversations and no friendship; both know cleo. */
  const sharing = async () => {
    const [anna, bert, cleo] = (await place.people('anna', 'bert', 'cleo')) as [Someone, Someone, Someone];
    await place.server.befriend(anna, cleo);
    await place.server.befriend(bert, cleo);
    const make = async () => (await cleo.call('conversation.create', { title: 'Club', memberIds: [anna.id, bert.id] })).conversation.id;
    return { anna, bert, cleo, groups: [await make(), await make()] as const };
  };

  test('[PR1] who leaves is seen as long as one conversation is shared, and no more after the last', async () => {
    const { anna, bert, cleo, groups } = await sharing();
    await anna.call('presence.watch', { userIds: [bert.id, cleo.id] });
    await bert.call('conversation.leave', { conversationId: groups[0] });
    await bert.client.close();
    // Followed again as soon as the core has said so.
    await expect
      .poll(async () => {
        await (await place.connect(bert)).client.close();
        return watched(anna).length;
      })
      .toBeGreaterThan(0);
    const again = await place.connect(bert);
    await again.call('conversation.leave', { conversationId: groups[1] });
    await anna.settle();
    const before = watched(anna).length;
    await again.client.close();
    await cleo.client.close();
    await anna.client.signal(({ signal, data }) => signal === 'presence' && data.userId === cleo.id);
    expect(
      watched(anna)
        .slice(before)
        .map(({ userId }) => userId),
    ).toEqual([cleo.id]);
  });

  test.each(['leaves', 'is removed from', 'sees the end of'] as const)('[PR1] who %s the last shared conversation sees the others no more', async (how) => {
    const { anna, bert, cleo, groups } = await sharing();
    await bert.call('conversation.leave', { conversationId: groups[0] });
    await bert.call('presence.watch', { userIds: [anna.id, cleo.id] });
    const conversationId = groups[1];
    if (how === 'leaves') await bert.call('conversation.leave', { conversationId });
    else if (how === 'is removed from') await cleo.call('member.remove', { conversationId, userId: bert.id });
    else await cleo.call('conversation.dissolve', { conversationId });
    await bert.settle();
    await anna.client.close();
    await cleo.client.close();
    await bert.client.signal(({ signal, data }) => signal === 'presence' && data.userId === cleo.id);
    expect(watched(bert).map(({ userId }) => userId)).toEqual([cleo.id]);
  });
});

describe('the 10 seconds', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('[PR1] a person is offline 10 s after their last connection is gone, and a reconnect before is not seen', () => {
    const told: [string, boolean][] = [];
    const online = new Online(configWith({}).offlineGraceMs);
    online.onChange((userId, isOnline) => void told.push([userId, isOnline]));
    online.connected('anna');
    online.connected('anna');
    online.disconnected('anna');
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual([['anna', true]]);
    online.disconnected('anna');
    vi.advanceTimersByTime(9_999);
    expect(online.isOnline('anna')).toBe(true);
    online.connected('anna');
    vi.advanceTimersByTime(60_000);
    online.disconnected('anna');
    vi.advanceTimersByTime(9_999);
    expect(told).toEqual([['anna', true]]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual([
      ['anna', true],
      ['anna', false],
    ]);
    expect(online.isOnline('anna')).toBe(false);
  });
});

describe.each(['sqlite-direct', 'postgres'] as const)('typing on %s, with time in our hands', (engine) => {
  const place = usePlace({ engine });
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => void vi.useRealTimers());

  test('[TY1] after 3 s it is told again', async () => {
    const { anna, bert, conversationId } = await place.direct();
    for (const ms of [0, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]) {
      vi.advanceTimersByTime(ms);
      await bert.call('typing.set', { conversationId });
    }
    await anna.settle();
    // At 0, 3 and 6 s.
    expect(signals(anna)).toHaveLength(1 + 6_000 / typingEveryMs);
  });
});
