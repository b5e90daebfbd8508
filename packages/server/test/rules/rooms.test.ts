import { type Signal, type SignalOf, conversationStream, limits, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { type Someone, clientId, engines, unique, usePlace } from './place.ts';

describe.each(engines)('rooms on %s', (engine) => {
  const place = usePlace({ engine, config: { offlineGraceMs: 0 } });

  /** A room of its own for a test. */
  const room = async (): Promise<string> => (await (await place.operator()).call('room.create', { title: unique('Garden') })).conversation.id;
  const online = async (person: Someone): Promise<SignalOf<'room.online'>> =>
    (await person.client.signal(({ signal }: Signal) => signal === 'room.online')).data as SignalOf<'room.online'>;

  test('[RM1] every server has a Lobby, and it is the first of the rooms', async () => {
    const guest = await place.guest();
    await room();
    const { rooms } = await guest.call('room.list', {});
    expect(rooms[0]).toMatchObject({ joined: false, conversation: { type: 'room', title: 'Lobby', createdBy: null } });
    expect(rooms.length).toBeGreaterThan(1);
    // One, however often the server starts.
    expect(await place.rows.run("select count(*) as n from conversations where title = 'Lobby'")).toEqual([{ n: 1 }]);
  });

  test('[RM1] anyone may join and leave, strangers and guests, and there are no lines about it', async () => {
    const people = [await place.person(), await place.guest()];
    const conversationId = await room();
    for (const person of people) {
      expect((await person.call('room.join', { conversationId })).conversation.id).toBe(conversationId);
      // Once more changes nothing.
      const before = await place.head(conversationStream(conversationId));
      await person.call('room.join', { conversationId });
      expect(await place.head(conversationStream(conversationId))).toEqual(before);
    }
    const [anna, guest] = people as [Someone, Someone];
    await guest.say(conversationId, 'hello everyone');
    await guest.call('conversation.leave', { conversationId });
    await expect(guest.say(conversationId)).rejects.toMatchObject({ code: 'not_a_member' });
    await guest.call('room.join', { conversationId });
    await guest.say(conversationId, 'back again');
    const { messages } = await anna.call('message.history', { conversationId });
    expect(messages.map(({ seq, type, text }) => [seq, type, text])).toEqual([
      [1, 'text', 'hello everyone'],
      [2, 'text', 'back again'],
    ]);
    expect((await anna.call('room.list', {})).rooms.find(({ conversation }) => conversation.id === conversationId)).toMatchObject({
      joined: true,
      conversation: { memberCount: 3 },
    });
  });

  test('[RM3] operators recall what others said in the Lobby, at any time; members do not', async () => {
    const operator = await place.operator();
    const [anna, guest] = [await place.person(), await place.guest()];
    const { rooms } = await anna.call('room.list', {});
    const lobby = rooms[0]!.conversation.id;
    for (const person of [operator, anna, guest]) await person.call('room.join', { conversationId: lobby });
    const { id } = await guest.say(lobby, 'buy my things');
    await place.rows.run('update messages set at = 1 where id = ?', id);
    await expect(anna.call('message.delete', { messageId: id })).rejects.toMatchObject({ code: 'forbidden' });
    expect((await operator.call('message.delete', { messageId: id })).message).toMatchObject({ text: '', deletedBy: operator.id });
    // Only where they are in it, and in no group.
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [operator.id, guest.id] });
    const said = await guest.say(conversation.id, 'among us');
    await expect(operator.call('message.delete', { messageId: said.id })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(operator.call('member.remove', { conversationId: conversation.id, userId: guest.id })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[RM3] whom an operator removes from a room is out for a day, without a line, and not beyond', async () => {
    const operator = await place.operator();
    const [anna, guest] = [await place.person(), await place.guest()];
    const lobby = (await anna.call('room.list', {})).rooms[0]!.conversation.id;
    const stream = conversationStream(lobby);
    for (const person of [operator, anna, guest]) await person.call('room.join', { conversationId: lobby });
    await expect(anna.call('member.remove', { conversationId: lobby, userId: guest.id })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(anna.call('member.remove', { conversationId: lobby, userId: operator.id })).rejects.toMatchObject({ code: 'forbidden' });
    const { seq } = await place.head(stream);
    expect((await operator.call('member.remove', { conversationId: lobby, userId: guest.id })).member).toMatchObject({ userId: guest.id, state: 'left' });
    expect((await place.head(stream)).seq).toBe(seq);
    await expect(guest.say(lobby)).rejects.toMatchObject({ code: 'not_a_member' });
    await expect(guest.call('room.join', { conversationId: lobby })).rejects.toMatchObject({ code: 'forbidden' });
    // Other rooms are open to them.
    await guest.call('room.join', { conversationId: await room() });
    const [{ until }] = (await place.rows.run<{ until: number }>('select barred_until as until from members where conversation_id = ? and user_id = ?', lobby, guest.id)) as [
      { until: number | string },
    ];
    expect(Math.abs(Number(until) - Date.now() - limits.roomBarMs)).toBeLessThan(60_000);
    await place.rows.run(`update members set barred_until = ${Date.now() - 1} where conversation_id = ? and user_id = ?`, lobby, guest.id);
    await guest.call('room.join', { conversationId: lobby });
    // Who goes by themselves comes back when they like.
    await guest.call('conversation.leave', { conversationId: lobby });
    await guest.call('room.join', { conversationId: lobby });
  });

  test('[RM1] a room is entered by oneself: nobody is added, and groups are no rooms', async () => {
    const { anna, conversationId: group } = await place.group();
    const guest = await place.guest();
    const conversationId = await room();
    await anna.call('room.join', { conversationId });
    await expect(anna.call('member.add', { conversationId, userIds: [guest.id] })).rejects.toMatchObject({ code: 'forbidden' });
    for (const id of [group, 'no-such-room']) await expect(guest.call('room.join', { conversationId: id })).rejects.toMatchObject({ code: 'not_a_member' });
    await expect(guest.call('message.history', { conversationId })).rejects.toMatchObject({ code: 'not_a_member' });
    await expect(anna.call('room.create', { title: 'Mine' })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[RM1] many who join at once are all in it', async () => {
    const conversationId = await room();
    const guests = await Promise.all(Array.from({ length: 8 }, () => place.guest()));
    await Promise.all(guests.map((guest) => guest.call('room.join', { conversationId })));
    const { members } = await guests[0]!.call('member.list', { conversationId });
    expect(members).toHaveLength(9);
    expect((await guests[0]!.call('room.list', {})).rooms.find(({ conversation }) => conversation.id === conversationId)!.conversation.memberCount).toBe(9);
  });

  test('[RM2] room.online counts people, not tabs, and only members who are there', async () => {
    const conversationId = await room();
    const [anna, bert, away] = [await place.person(), await place.guest('Bert'), await place.server.guest('Away')];
    const tab = await place.connect(bert);
    for (const person of [anna, bert]) await person.call('room.join', { conversationId });
    await place.server.call('room.join', { conversationId }, away.token);
    const operator = await place.operator();
    const { count, users } = await anna.call('room.online', { conversationId });
    expect(count).toBe(3);
    expect(users.map(({ id }) => id).sort()).toEqual([anna.id, bert.id, operator.id].sort());
    expect(users.find(({ id }) => id === bert.id)).toEqual({ id: bert.id, handle: null, name: 'Bert', avatar: '', bio: '', guest: true });
    await tab.client.close();
    expect((await anna.call('room.online', { conversationId })).count).toBe(3);
    await bert.call('conversation.leave', { conversationId });
    expect((await anna.call('room.online', { conversationId })).count).toBe(2);
    await expect(bert.call('room.online', { conversationId })).rejects.toMatchObject({ code: 'not_a_member' });
  });

  test('[RM2] changes are signalled together, at most once a second, to those who asked', async () => {
    const conversationId = await room();
    const [anna, ...others] = (await place.people('anna', 'bert', 'cleo', 'dora', 'emil', 'fred')) as [Someone, ...Someone[]];
    await anna.call('room.join', { conversationId });
    const phone = await place.device(anna);
    await anna.call('room.online', { conversationId });
    const began = performance.now();
    /** Follows what is told until everybody is. */
    const follow = async (told: (data: SignalOf<'room.online'>) => string[]): Promise<SignalOf<'room.online'>> => {
      const waiting = new Set(others.map(({ id }) => id));
      for (;;) {
        const data = await online(anna);
        for (const id of told(data)) waiting.delete(id);
        if (waiting.size === 0) return data;
      }
    };
    for (const person of others) await person.call('room.join', { conversationId });
    expect((await follow(({ joined }) => joined.map(({ id }) => id))).count).toBe(7);
    // Two go in one way, three in another.
    for (const person of others.slice(0, 2)) await person.client.close();
    for (const person of others.slice(2)) await person.call('conversation.leave', { conversationId });
    expect((await follow(({ left }) => left)).count).toBe(2);
    const signals = (person: Someone) => person.client.frames.filter((frame) => 'signal' in frame);
    expect(signals(anna).length).toBeLessThanOrEqual(Math.floor((performance.now() - began) / 1_000) + 1);
    for (const other of [phone, others[3]!]) {
      await other.settle();
      expect(signals(other)).toEqual([]);
    }
  });

  test('[RM2] who is gone and back at once is signalled to those who asked in between', async () => {
    const conversationId = await room();
    const [anna, bert] = [await place.person(), await place.person()];
    await anna.call('room.join', { conversationId });
    await anna.call('room.online', { conversationId });
    await bert.call('room.join', { conversationId });
    expect((await online(anna)).count).toBe(3);
    await bert.client.close();
    await expect.poll(async () => (await anna.call('room.online', { conversationId })).count).toBe(2);
    await place.connect(bert);
    const here = async (): Promise<SignalOf<'room.online'>> => {
      const data = await online(anna);
      return data.joined.some(({ id }) => id === bert.id) ? data : here();
    };
    expect((await here()).count).toBe(3);
  });

  test('[RM2] only rooms have an online list', async () => {
    const { anna, conversationId } = await place.direct();
    await expect(anna.call('room.online', { conversationId })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[AN1] an announcement reaches everybody: who is there, who was away, and who comes later', async () => {
    const operator = await place.operator();
    const [anna, guest] = [await place.person(), await place.guest()];
    const away = await place.person('away');
    await away.client.close();
    const text = unique('Water is off tomorrow');
    const { message } = await operator.call('announcement.send', { text });
    const stream = conversationStream(message.conversationId);
    expect(message).toMatchObject({ senderId: operator.id, type: 'text', text });
    for (const person of [anna, guest, operator]) {
      await person.settle();
      expect(person.pushes(stream).at(-1)!.entities).toEqual([message]);
    }
    const back = await place.connect(away);
    const later = await place.guest('Later');
    for (const person of [back, later]) {
      expect((await person.call('message.history', { conversationId: message.conversationId })).messages.at(-1)).toEqual(message);
      expect((await person.call('stream.snapshot', { stream })).entities).toContainEqual(message);
    }
    const inbox = (await later.call('stream.snapshot', { stream: userStream(later.id) })).entities;
    expect(inbox).toContainEqual(expect.objectContaining({ kind: 'inbox', conversationId: message.conversationId, joined: true, readSeq: message.seq }));
    await operator.call('announcement.send', { text: 'And the day after' });
    await later.settle();
    expect(later.pushes(stream)).toHaveLength(1);
  });

  test('[AN1] only operators write there, and nobody is listed, leaves or renames', async () => {
    const operator = await place.operator();
    const anna = await place.person();
    const { message } = await operator.call('announcement.send', { text: 'Hear me' });
    const { conversationId } = message;
    await expect(anna.call('announcement.send', { text: 'Hear me too' })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(anna.say(conversationId)).rejects.toMatchObject({ code: 'forbidden' });
    await expect(anna.call('typing.set', { conversationId })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(anna.call('message.edit', { messageId: message.id, text: 'x' })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(anna.call('message.delete', { messageId: message.id })).rejects.toMatchObject({ code: 'forbidden' });
    for (const person of [anna, operator]) {
      await expect(person.call('conversation.leave', { conversationId })).rejects.toMatchObject({ code: 'forbidden' });
      await expect(person.call('conversation.update', { conversationId, title: 'x' })).rejects.toMatchObject({ code: 'forbidden' });
      expect(await person.call('member.list', { conversationId })).toEqual({ members: [], more: false });
      expect((await person.call('stream.snapshot', { stream: conversationStream(conversationId) })).entities.filter(({ kind }) => kind === 'member')).toEqual([]);
    }
    // Who shares nothing else with the others does not see them for it.
    await expect(anna.call('user.get', { userId: operator.id })).rejects.toMatchObject({ code: 'not_found' });
    expect((await operator.say(conversationId, 'by message.send too')).conversationId).toBe(conversationId);
  });

  test('[AN1] the same announcement again is one, and an empty one is none', async () => {
    const operator = await place.operator();
    const id = clientId();
    const first = await operator.call('announcement.send', { text: 'Once', clientId: id });
    expect(await operator.call('announcement.send', { text: 'Once', clientId: id })).toEqual(first);
    await expect(operator.call('announcement.send', { text: 'Twice', clientId: id })).rejects.toMatchObject({ code: 'client_id_reused' });
    for (const text of ['', ' \n ']) await expect(operator.call('announcement.send', { text })).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.text' } });
  });

  test('[AN1] who registers is told to nobody', async () => {
    const anna = await place.person();
    const { message } = await (await place.operator()).call('announcement.send', { text: 'Quiet, please' });
    await anna.settle();
    const quiet = anna.heard().length;
    const before = await place.head(conversationStream(message.conversationId));
    await Promise.all([place.person(), place.guest(), place.guest()]);
    await anna.settle();
    expect(anna.heard()).toHaveLength(quiet);
    expect(await place.head(conversationStream(message.conversationId))).toEqual(before);
  });
});
