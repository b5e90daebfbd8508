import { type Inbox, type Message, conversationStream, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { type Someone, clientId, engines, unique, usePlace } from './place.ts';

describe.each(engines)('conversations on %s', (engine) => {
  const place = usePlace({ engine });

  const inboxOf = async (person: Someone, conversationId: string): Promise<Inbox | undefined> =>
    (await person.call('stream.snapshot', { stream: userStream(person.id) })).entities.find(
      (entity): entity is Inbox => entity.kind === 'inbox' && entity.conversationId === conversationId,
    );
  const roles = async (person: Someone, conversationId: string): Promise<Record<string, string>> =>
    Object.fromEntries((await person.call('member.list', { conversationId })).members.map(({ userId, role }) => [userId, role]));
  const lines = async (person: Someone, conversationId: string): Promise<Message[]> =>
    (await person.call('message.history', { conversationId })).messages.filter(({ type }) => type === 'system');

  test('[CV1] two people have one conversation, whoever asks and however many at once', async () => {
    const { anna, bert } = await place.friends();
    const [tab, phone] = [await place.connect(anna), await place.device(bert)];
    const made = await Promise.all([
      anna.call('conversation.direct', { userId: bert.id }),
      bert.call('conversation.direct', { userId: anna.id }),
      tab.call('conversation.direct', { userId: bert.id }),
      phone.call('conversation.direct', { userId: anna.id }),
    ]);
    expect(new Set(made.map(({ conversation }) => conversation.id)).size).toBe(1);
    expect(made[0].conversation).toMatchObject({ kind: 'conversation', type: 'direct', title: null, memberCount: 2 });
    const again = await bert.call('conversation.direct', { userId: anna.id });
    expect(again.conversation.id).toBe(made[0].conversation.id);
    expect(await place.rows.run("select count(*) as n from conversations where direct_key like '%' || ? || '%'", anna.id)).toEqual([{ n: 1 }]);
    // One commit made it: one version, and every device has heard of it once.
    const stream = conversationStream(again.conversation.id);
    for (const person of [anna, bert, tab, phone]) {
      await person.settle();
      expect(person.pushes(stream).map(({ version }) => version)).toEqual([1]);
    }
  });

  test('[CV1] with yourself it is your notes', async () => {
    const anna = await place.person();
    const [{ conversation }, again] = await Promise.all([anna.call('conversation.direct', { userId: anna.id }), anna.call('conversation.direct', { userId: anna.id })]);
    expect(again.conversation.id).toBe(conversation.id);
    expect(conversation).toMatchObject({ type: 'direct', memberCount: 1 });
    expect((await anna.say(conversation.id, 'milk')).text).toBe('milk');
    expect(await inboxOf(anna, conversation.id)).toMatchObject({ joined: true, request: false });
  });

  test('[CV2] it needs friendship, or that the other accepts anyone', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    await expect(anna.call('conversation.direct', { userId: bert.id })).rejects.toMatchObject({ code: 'not_friends' });
    await bert.call('friend.request', { userId: anna.id });
    await expect(anna.call('conversation.direct', { userId: bert.id })).rejects.toMatchObject({ code: 'not_friends' });
    await bert.call('user.update', { accepts: 'anyone' });
    expect((await anna.call('conversation.direct', { userId: bert.id })).conversation.memberCount).toBe(2);
    await expect(anna.call('conversation.direct', { userId: 'nobody' })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[CV2] when a friendship ends so does writing, and what was said stays', async () => {
    const { anna, bert, conversationId } = await place.direct();
    await anna.say(conversationId, 'while we were friends');
    await bert.call('friend.remove', { userId: anna.id });
    for (const person of [anna, bert]) {
      await expect(person.say(conversationId)).rejects.toMatchObject({ code: 'not_friends' });
      expect((await person.call('message.history', { conversationId })).messages).toHaveLength(1);
    }
  });

  test('[CV2] who is written to by a stranger may answer, whatever the stranger accepts', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    await bert.call('user.update', { accepts: 'anyone' });
    const { conversation } = await anna.call('conversation.direct', { userId: bert.id });
    await anna.say(conversation.id, 'is the room still free?');
    expect((await bert.say(conversation.id, 'it is')).text).toBe('it is');
  });

  test('[CV3] conversations from strangers wait as requests until they are accepted, on all devices', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    await bert.call('user.update', { accepts: 'anyone' });
    const phone = await place.device(bert);
    const { conversation } = await anna.call('conversation.direct', { userId: bert.id });
    const { conversation: group } = await anna.call('conversation.create', { title: 'Flats', memberIds: [(await place.person('cleo')).id] });
    expect(await inboxOf(anna, conversation.id)).toMatchObject({ request: false });
    expect(await inboxOf(anna, group.id)).toMatchObject({ request: false });
    expect(await inboxOf(bert, conversation.id)).toMatchObject({ joined: true, request: true });
    const { inbox } = await bert.call('conversation.accept', { conversationId: conversation.id });
    expect(inbox.request).toBe(false);
    await phone.settle();
    expect(phone.pushes(userStream(bert.id)).at(-1)!.entities).toEqual([inbox]);
    expect(await bert.call('conversation.accept', { conversationId: conversation.id })).toEqual({ inbox });
  });

  test('[CV3] a group from a stranger waits, one from a friend does not', async () => {
    const { anna, bert } = await place.friends();
    const [stranger, open, added] = (await place.people('cleo', 'dora', 'emil')) as [Someone, Someone, Someone];
    for (const person of [open, added]) await person.call('user.update', { accepts: 'anyone' });
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [bert.id, stranger.id, open.id] });
    await anna.call('member.add', { conversationId: conversation.id, userIds: [added.id] });
    expect(await inboxOf(bert, conversation.id)).toMatchObject({ request: false });
    // As between two: accepting anyone is no friendship.
    for (const person of [stranger, open, added]) expect(await inboxOf(person, conversation.id)).toMatchObject({ request: true });
    const direct = await anna.call('conversation.direct', { userId: open.id });
    expect(await inboxOf(open, direct.conversation.id)).toMatchObject({ request: true });
  });

  test('[CV4] a group has its creator as owner and the named as members', async () => {
    const { anna, bert } = await place.friends();
    const cleo = await place.person('cleo');
    const memberIds = [bert.id, cleo.id, bert.id, anna.id];
    const { conversation } = await anna.call('conversation.create', { title: '  The   Club ', avatar: 'salt-1', memberIds });
    expect(conversation).toMatchObject({ type: 'group', title: 'The Club', avatar: 'salt-1', createdBy: anna.id, memberCount: 3 });
    expect(await roles(bert, conversation.id)).toEqual({ [anna.id]: 'owner', [bert.id]: 'member', [cleo.id]: 'member' });
  });

  test('[CV4] the same client id again answers the same group, also at once', async () => {
    const { anna, bert } = await place.friends();
    const [phone, id] = [await place.device(anna), clientId()];
    const create = { title: 'Club', memberIds: [bert.id], clientId: id };
    const made = await Promise.all([anna, phone, anna, phone].map((device) => device.call('conversation.create', create)));
    expect(new Set(made.map(({ conversation }) => conversation.id)).size).toBe(1);
    expect((await anna.call('conversation.create', { title: 'Another', memberIds: [], clientId: id })).conversation).toMatchObject({ id: made[0]!.conversation.id, title: 'Club' });
    await bert.settle();
    expect(await inboxOf(bert, made[0]!.conversation.id)).toMatchObject({ joined: true });
    // Of another creator it is another group.
    expect((await bert.call('conversation.create', create)).conversation.id).not.toBe(made[0]!.conversation.id);
    const without = await Promise.all([1, 2].map(() => anna.call('conversation.create', { title: 'Twins', memberIds: [] })));
    expect(without[0]!.conversation.id).not.toBe(without[1]!.conversation.id);
  });

  test('[CV4] people who are gone, and ids of nobody, are passed over', async () => {
    const { anna, bert } = await place.friends();
    const gone = await place.server.guest();
    await place.server.call('user.delete', {}, gone.token);
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [bert.id, gone.id, 'nobody'] });
    expect(conversation.memberCount).toBe(2);
    expect((await anna.call('member.add', { conversationId: conversation.id, userIds: [gone.id, 'nobody', bert.id] })).members.map(({ userId }) => userId)).toEqual([bert.id]);
  });

  test('[CV5] owners and admins rename, members do not', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    await anna.call('member.role', { conversationId, userId: bert.id, role: 'admin' });
    for (const [person, title] of [
      [anna, 'Choir'],
      [bert, 'Big Choir'],
    ] as const) {
      expect((await person.call('conversation.update', { conversationId, title })).conversation.title).toBe(title);
    }
    await expect(cleo.call('conversation.update', { conversationId, title: 'Mine' })).rejects.toMatchObject({ code: 'forbidden' });
    expect((await bert.call('conversation.update', { conversationId, avatar: 'salt-9' })).conversation).toMatchObject({ title: 'Big Choir', avatar: 'salt-9' });
    await cleo.settle();
    expect(cleo.pushes(conversationStream(conversationId)).at(-1)!.entities).toContainEqual(
      expect.objectContaining({ kind: 'conversation', title: 'Big Choir', avatar: 'salt-9' }),
    );
  });

  test('[CV5] every member may add', async () => {
    const { cleo, conversationId } = await place.group();
    const dora = await place.person('dora');
    const { members } = await cleo.call('member.add', { conversationId, userIds: [dora.id, dora.id] });
    expect(members).toMatchObject([{ kind: 'member', userId: dora.id, role: 'member', state: 'joined', name: 'dora' }]);
    expect((await dora.say(conversationId, 'thank you')).senderId).toBe(dora.id);
  });

  test('[CV5] owners and admins remove those below them, and nobody at their side or above', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    const [dora, emil] = (await place.people('dora', 'emil')) as [Someone, Someone];
    await anna.call('member.add', { conversationId, userIds: [dora.id, emil.id] });
    for (const admin of [bert, cleo]) await anna.call('member.role', { conversationId, userId: admin.id, role: 'admin' });
    const remove = (person: Someone, userId: string) => person.call('member.remove', { conversationId, userId });
    for (const [person, target] of [
      [dora, emil],
      [dora, bert],
      [dora, anna],
      [bert, cleo],
      [bert, anna],
    ] as const) {
      await expect(remove(person, target.id)).rejects.toMatchObject({ code: 'forbidden' });
    }
    expect((await remove(bert, emil.id)).member).toMatchObject({ userId: emil.id, state: 'left' });
    expect((await remove(anna, bert.id)).member).toMatchObject({ userId: bert.id, state: 'left', role: 'member' });
    await expect(remove(anna, emil.id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(remove(anna, anna.id)).rejects.toMatchObject({ code: 'bad_request' });
    expect(await roles(anna, conversationId)).toEqual({ [anna.id]: 'owner', [cleo.id]: 'admin', [dora.id]: 'member' });
  });

  test('[CV5] only the owner changes roles or hands over, and nobody their own', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    const change = (person: Someone, userId: string, role: 'owner' | 'admin' | 'member') => person.call('member.role', { conversationId, userId, role });
    for (const [person, target, role] of [
      [bert, bert, 'admin'],
      [bert, cleo, 'admin'],
      [bert, bert, 'owner'],
      [anna, anna, 'member'],
    ] as const) {
      await expect(change(person, target.id, role)).rejects.toMatchObject({ code: 'forbidden' });
    }
    expect((await change(anna, bert.id, 'admin')).member.role).toBe('admin');
    for (const [target, role] of [
      [cleo, 'admin'],
      [bert, 'owner'],
      [bert, 'member'],
      [anna, 'member'],
    ] as const) {
      await expect(change(bert, target.id, role)).rejects.toMatchObject({ code: 'forbidden' });
    }
    expect((await change(anna, cleo.id, 'owner')).member.role).toBe('owner');
    expect(await roles(bert, conversationId)).toEqual({ [anna.id]: 'admin', [bert.id]: 'admin', [cleo.id]: 'owner' });
    await expect(change(anna, bert.id, 'member')).rejects.toMatchObject({ code: 'forbidden' });
    await expect(change(cleo, (await place.person('eve')).id, 'admin')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[CV5] who is removed comes back as a member like any other', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    await anna.call('member.role', { conversationId, userId: bert.id, role: 'admin' });
    await anna.call('member.remove', { conversationId, userId: bert.id });
    await expect(bert.call('member.add', { conversationId, userIds: [bert.id] })).rejects.toMatchObject({ code: 'not_a_member' });
    await cleo.call('member.add', { conversationId, userIds: [bert.id] });
    expect((await roles(anna, conversationId))[bert.id]).toBe('member');
  });

  test('[CV5] direct conversations have no title, members to add or roles to give, and cannot be left', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const cleo = await place.person('cleo');
    const refused = await Promise.all([
      anna.client.request('conversation.update', { conversationId, title: 'Us' }),
      anna.client.request('member.add', { conversationId, userIds: [cleo.id] }),
      anna.client.request('member.remove', { conversationId, userId: bert.id }),
      anna.client.request('member.role', { conversationId, userId: bert.id, role: 'admin' }),
      anna.client.request('conversation.leave', { conversationId }),
      anna.client.request('conversation.dissolve', { conversationId }),
    ]);
    expect(refused.map(({ error }) => error?.code)).toEqual(refused.map(() => 'forbidden'));
  });

  test('[CV6] a conversation of others is answered as one that does not exist', async () => {
    const { conversationId, stream } = await place.group();
    const eve = await place.person('eve');
    const answersFor = (id: string, name: string) =>
      Promise.all([
        place.server.post('message.history', { conversationId: id }, { token: eve.token }),
        place.server.post('message.send', { conversationId: id, clientId: clientId(), type: 'text', text: 'let me in' }, { token: eve.token }),
        place.server.post('member.list', { conversationId: id }, { token: eve.token }),
        place.server.post('member.add', { conversationId: id, userIds: [eve.id] }, { token: eve.token }),
        place.server.post('room.join', { conversationId: id }, { token: eve.token }),
        place.server.post('room.online', { conversationId: id }, { token: eve.token }),
        place.server.post('typing.set', { conversationId: id }, { token: eve.token }),
        place.server.post('conversation.leave', { conversationId: id }, { token: eve.token }),
        place.server.post('stream.snapshot', { stream: name }, { token: eve.token }),
        place.server.post('stream.changes', { stream: name, since: 1 }, { token: eve.token }),
        place.server.post('stream.heads', { streams: [name] }, { token: eve.token }),
      ]);
    const [theirs, nobodys] = await Promise.all([
      answersFor(conversationId, stream),
      answersFor('01a1fcd9-0000-7000-8000-000000000000', 'conversation:01a1fcd9-0000-7000-8000-000000000000'),
    ]);
    expect(theirs.map(({ status, text }) => [status, text])).toEqual(nobodys.map(({ status, text }) => [status, text]));
    expect(new Set(theirs.map(({ error }) => error))).toEqual(new Set(['not_a_member']));
  });

  test('[CV8] who comes later sees the whole history, also of before', async () => {
    const { anna, conversationId, stream } = await place.group();
    await anna.say(conversationId, 'long before you came');
    const dora = await place.person('dora');
    await anna.call('member.add', { conversationId, userIds: [dora.id] });
    const [hers, annas] = await Promise.all([dora, anna].map((person) => person.call('message.history', { conversationId })));
    expect(hers).toEqual(annas);
    expect(hers!.messages.map(({ text }) => text)).toContain('long before you came');
    const [snapshot, other] = await Promise.all([dora, anna].map((person) => person.call('stream.snapshot', { stream })));
    expect(snapshot).toEqual(other);
    // And is not greeted by unread messages.
    expect((await inboxOf(dora, conversationId))!.readSeq).toBe((await place.head(stream)).seq);
  });

  test('[CV9] when the owner leaves, the longest-standing admin becomes owner, else the longest-standing member', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const [dora, emil] = (await place.people('dora', 'emil')) as [Someone, Someone];
    await anna.call('member.add', { conversationId, userIds: [dora.id, emil.id] });
    const joined = async (person: Someone, at: number) =>
      place.rows.run(`update members set joined_at = ${at} where user_id = '${person.id}' and conversation_id = '${conversationId}'`);
    await Promise.all([joined(bert, 400), joined(cleo, 300), joined(dora, 100), joined(emil, 200)]);
    for (const admin of [bert, cleo]) await anna.call('member.role', { conversationId, userId: admin.id, role: 'admin' });
    const heirs = [
      [anna, cleo],
      [cleo, bert],
      [bert, dora],
      [dora, emil],
    ] as const;
    for (const [owner, heir] of heirs) {
      await owner.call('conversation.leave', { conversationId });
      expect(Object.entries(await roles(emil, conversationId)).filter(([, role]) => role === 'owner')).toEqual([[heir.id, 'owner']]);
      await emil.settle();
      expect(emil.pushes(stream).at(-1)!.entities).toContainEqual(expect.objectContaining({ kind: 'member', userId: heir.id, role: 'owner' }));
    }
    await emil.call('conversation.leave', { conversationId });
    await expect(emil.say(conversationId)).rejects.toMatchObject({ code: 'not_a_member' });
  });

  test('[CV9] when a member leaves, the owner stays', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    await bert.call('conversation.leave', { conversationId });
    expect(await roles(cleo, conversationId)).toEqual({ [anna.id]: 'owner', [cleo.id]: 'member' });
    await expect(bert.call('conversation.leave', { conversationId })).rejects.toMatchObject({ code: 'not_a_member' });
  });

  test('[CV10] mute and pin are one’s own and reach all one’s devices', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const phone = await place.device(anna);
    const { version } = await place.head(stream);
    const muted = await anna.call('conversation.mute', { conversationId, until: Number.MAX_SAFE_INTEGER });
    const pinned = await anna.call('conversation.pin', { conversationId, on: true });
    expect(muted.inbox.mutedUntil).toBe(Number.MAX_SAFE_INTEGER);
    expect(pinned.inbox.pinnedAt).toBeGreaterThan(0);
    await phone.settle();
    expect(
      phone
        .pushes(userStream(anna.id))
        .slice(-2)
        .map(({ entities }) => entities),
    ).toEqual([[muted.inbox], [pinned.inbox]]);
    // Pinned once more it keeps its place in the order.
    expect((await phone.call('conversation.pin', { conversationId, on: true })).inbox).toEqual(pinned.inbox);
    const off = await phone.call('conversation.pin', { conversationId, on: false });
    expect(off.inbox).toMatchObject({ pinnedAt: 0, mutedUntil: Number.MAX_SAFE_INTEGER });
    expect((await phone.call('conversation.mute', { conversationId, until: 0 })).inbox.mutedUntil).toBe(0);
    expect((await place.head(stream)).version).toBe(version);
    await bert.settle();
    expect(JSON.stringify(bert.heard())).not.toContain(`"mutedUntil":${Number.MAX_SAFE_INTEGER}`);
    expect(await inboxOf(bert, conversationId)).toMatchObject({ mutedUntil: 0, pinnedAt: 0 });
  });

  test('[CV10] who leaves and comes back finds neither pin nor mute', async () => {
    const { anna, bert, conversationId } = await place.group();
    await bert.call('conversation.pin', { conversationId, on: true });
    await bert.call('conversation.mute', { conversationId, until: 99 });
    await bert.call('conversation.leave', { conversationId });
    await anna.call('member.add', { conversationId, userIds: [bert.id] });
    expect(await inboxOf(bert, conversationId)).toMatchObject({ joined: true, pinnedAt: 0, mutedUntil: 0 });
  });

  test('[CV11] a group says what happened in it, in lines of their own', async () => {
    const { anna, bert } = await place.friends();
    const [cleo, dora] = (await place.people('cleo', 'dora')) as [Someone, Someone];
    const title = unique('Club');
    const { conversation } = await anna.call('conversation.create', { title, memberIds: [bert.id] });
    const conversationId = conversation.id;
    await bert.call('member.add', { conversationId, userIds: [cleo.id, dora.id] });
    await anna.call('conversation.update', { conversationId, title: 'Choir', avatar: 'salt-1' });
    await anna.call('conversation.update', { conversationId, title: 'Choir', avatar: 'salt-2' });
    await anna.call('member.role', { conversationId, userId: bert.id, role: 'admin' });
    await bert.call('member.remove', { conversationId, userId: cleo.id });
    await dora.call('conversation.leave', { conversationId });
    const said = await lines(anna, conversationId);
    expect(said.map(({ senderId, seq, event }) => ({ senderId, seq, ...event, userIds: event?.userIds?.toSorted() }))).toEqual([
      { senderId: anna.id, seq: 1, type: 'created', title, userIds: [bert.id] },
      { senderId: bert.id, seq: 2, type: 'added', userIds: [cleo.id, dora.id].toSorted() },
      { senderId: anna.id, seq: 3, type: 'renamed', title: 'Choir' },
      { senderId: anna.id, seq: 4, type: 'picture' },
      { senderId: anna.id, seq: 5, type: 'role', role: 'admin', userIds: [bert.id] },
      { senderId: bert.id, seq: 6, type: 'removed', userIds: [cleo.id] },
      { senderId: dora.id, seq: 7, type: 'left' },
    ]);
    for (const line of said) expect(line).toMatchObject({ type: 'system', text: '', clientId: null });
  });

  test('[CV11] nobody writes such a line, and there is none in direct conversations', async () => {
    const { anna, conversationId } = await place.direct();
    const forged = { conversationId, clientId: clientId(), type: 'system', text: '', event: { type: 'left' } };
    expect((await anna.client.request('message.send', forged)).error).toMatchObject({ code: 'bad_request', path: 'params.type' });
    expect(await lines(anna, conversationId)).toEqual([]);
  });
});
