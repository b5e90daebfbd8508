import { conversationStream, limits, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { numbers } from './rows.ts';
import { type Someone, engines, password, unique, usePlace } from './place.ts';

describe.each(engines)('people on %s', (engine) => {
  const place = usePlace({ engine });

  /** The newest entity of a kind that somebody's own stream has told them. */
  const told = (person: Someone, kind: string) =>
    person
      .pushes(userStream(person.id))
      .flatMap(({ entities }) => entities)
      .findLast((entity) => entity.kind === kind);
  const versions = async (...people: Someone[]): Promise<number[]> => Promise.all(people.map(async ({ id }) => (await place.head(userStream(id))).version));

  test('[US1] a rename reaches friends, members of shared conversations and one’s own devices, in the streams they follow', async () => {
    const { anna, bert } = await place.friends();
    const [cleo, stranger] = (await place.people('cleo', 'eve')) as [Someone, Someone];
    const { conversation } = await cleo.call('conversation.create', { title: 'Club', memberIds: [anna.id] });
    const phone = await place.device(anna);
    await stranger.settle();
    const quiet = stranger.heard().length;
    const { user } = await anna.call('user.update', { name: ' Anna  the Second ', avatar: 'salt-2' });
    expect(user).toMatchObject({ name: 'Anna the Second', avatar: 'salt-2' });
    for (const person of [bert, cleo, phone, stranger]) await person.settle();
    const shown = { name: 'Anna the Second', avatar: 'salt-2' };
    expect(told(bert, 'friend')).toMatchObject({ userId: anna.id, state: 'friends', ...shown });
    expect(cleo.pushes(conversationStream(conversation.id)).at(-1)!.entities).toMatchObject([{ kind: 'member', userId: anna.id, ...shown }]);
    expect(told(phone, 'user')).toEqual(user);
    expect(stranger.heard()).toHaveLength(quiet);
  });

  test('[US1] what only the person needs is told to nobody else', async () => {
    const { anna, bert } = await place.friends();
    const before = await versions(bert);
    const { user } = await anna.call('user.update', { bio: 'Alto,\nslow runner', accepts: 'anyone' });
    expect(user).toMatchObject({ bio: 'Alto,\nslow runner', accepts: 'anyone' });
    expect(await versions(bert)).toEqual(before);
    expect((await bert.call('user.get', { userId: anna.id })).user.bio).toBe('Alto,\nslow runner');
  });

  test('[US2] a person is shown to themselves, friends, people with a request between them and members of shared conversations', async () => {
    const { anna, bert } = await place.friends();
    const [asked, asking, member] = (await place.people('cleo', 'dora', 'emil')) as [Someone, Someone, Someone];
    await anna.call('friend.request', { userId: asked.id });
    await asking.call('friend.request', { userId: anna.id });
    const { conversation } = await member.call('conversation.create', { title: 'Club', memberIds: [anna.id] });
    for (const person of [anna, bert, asked, asking, member]) {
      expect((await person.call('user.get', { userId: anna.id })).user).toEqual({ id: anna.id, handle: anna.handle, name: 'anna', avatar: '', bio: '', guest: false });
      expect((await anna.call('user.get', { userId: person.id })).user.id).toBe(person.id);
    }
    // With the last thing that binds them it is over.
    await anna.call('conversation.leave', { conversationId: conversation.id });
    await expect(member.call('user.get', { userId: anna.id })).rejects.toMatchObject({ code: 'not_found' });
    await bert.call('friend.remove', { userId: anna.id });
    await expect(bert.call('user.get', { userId: anna.id })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[US2] what people say about themselves is for those who know them, and for whom they ask', async () => {
    const { anna, bert } = await place.friends();
    const [stranger, asking, asked] = (await place.people('eve', 'asking', 'asked')) as [Someone, Someone, Someone];
    await anna.call('user.update', { bio: 'Alto.' });
    await asking.call('friend.request', { userId: anna.id });
    await anna.call('friend.request', { userId: asked.id });
    const found = async (person: Someone) => (await person.call('user.search', { query: anna.handle! })).users.map(({ bio }) => bio);
    for (const person of [anna, bert, asked]) expect(await found(person)).toEqual(['Alto.']);
    for (const person of [stranger, asking]) expect(await found(person)).toEqual(['']);
    expect((await asked.call('user.get', { userId: anna.id })).user.bio).toBe('Alto.');
    expect((await asking.call('user.get', { userId: anna.id })).user).toMatchObject({ name: 'anna', bio: '' });
  });

  test('[US2] for strangers and the blocked a person is as nobody', async () => {
    const { anna, bert } = await place.friends();
    const stranger = await place.person('eve');
    await anna.call('block.add', { userId: bert.id });
    const answers = await Promise.all(
      [stranger, bert].flatMap((person) => [anna.id, 'nobody'].map((userId) => place.server.post('user.get', { userId }, { token: person.token }))),
    );
    for (const answer of answers) expect([answer.status, answer.text]).toEqual([404, answers[1]!.text]);
  });

  test('[US3] people are found by their exact handle, and not by its beginning', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const find = async (query: string) => (await bert.call('user.search', { query })).users.map(({ id }) => id);
    for (const query of [anna.handle!, `@${anna.handle!}`, ` ${anna.handle!.toUpperCase()} `]) expect(await find(query)).toEqual([anna.id]);
    for (const query of ['ann', `${anna.handle!}x`, '%', '_', 'a*', "' or ''='"]) expect(await find(query)).toEqual([]);
  });

  test('[US3] people who blocked you, and accounts that are gone, are not found', async () => {
    const [anna, bert, gone, off] = (await place.people('anna', 'bert', 'gone', 'off')) as [Someone, Someone, Someone, Someone];
    const find = async (person: Someone, query: string) => (await person.call('user.search', { query })).users.map(({ id }) => id);
    await anna.call('block.add', { userId: bert.id });
    expect(await find(bert, anna.handle!)).toEqual([]);
    // Who blocks still finds whom to unblock.
    expect(await find(anna, bert.handle!)).toEqual([bert.id]);
    await place.server.call('user.delete', { password }, gone.token);
    await (await place.operator()).call('admin.disable', { userId: off.id, disabled: true });
    for (const { handle } of [gone, off]) expect(await find(bert, handle!)).toEqual([]);
  });

  test('[US4] deleting an account needs its password', async () => {
    const anna = await place.person();
    for (const params of [{ password: 'not the password' }, {}]) await expect(anna.call('user.delete', params)).rejects.toMatchObject({ code: 'wrong_credentials' });
    await anna.settle();
    const guest = await place.server.guest();
    expect(await place.server.call('user.delete', {}, guest.token)).toEqual({});
  });

  test('[US4] deleting an account ends sessions, friendships and memberships, and empties the name; what they wrote stays', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const cleo = await place.person('cleo');
    const { conversation } = await cleo.call('conversation.create', { title: 'Club', memberIds: [anna.id] });
    await anna.say(conversationId, 'a word to you');
    await anna.say(conversation.id, 'a word to all');
    await place.server.call('user.delete', { password }, anna.token);
    for (const person of [bert, cleo]) await person.settle();

    expect(told(bert, 'friend')).toMatchObject({ userId: anna.id, state: 'none', name: '', handle: null });
    expect(bert.pushes(stream).at(-1)!.entities).toMatchObject([{ kind: 'member', userId: anna.id, name: '', handle: null }]);
    const { members } = await cleo.call('member.list', { conversationId: conversation.id });
    expect(members.map(({ userId }) => userId)).toEqual([cleo.id]);
    expect((await cleo.call('stream.snapshot', { stream: conversationStream(conversation.id) })).entities).toContainEqual(
      expect.objectContaining({ kind: 'conversation', memberCount: 1 }),
    );

    expect((await cleo.call('message.history', { conversationId: conversation.id })).messages.at(-1)).toMatchObject({ text: 'a word to all', senderId: anna.id });
    expect((await bert.call('message.history', { conversationId })).messages.at(-1)).toMatchObject({ text: 'a word to you', senderId: anna.id });
    expect((await bert.call('user.get', { userId: anna.id })).user).toMatchObject({ name: '', handle: null, deleted: true });
    await expect(bert.say(conversationId, 'are you there?')).rejects.toMatchObject({ code: 'not_found' });
    await expect(bert.call('friend.request', { userId: anna.id })).rejects.toMatchObject({ code: 'not_found' });

    const row = (await place.rows.run('select handle, name, avatar, bio, password, external_id from users where id = ?', anna.id))[0];
    expect(row).toEqual({ handle: null, name: '', avatar: '', bio: '', password: null, external_id: null });
  });

  test('[US4] the group of an owner who is deleted has an owner all the same', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    await anna.call('member.role', { conversationId, userId: cleo.id, role: 'admin' });
    await place.server.call('user.delete', { password }, anna.token);
    await bert.settle();
    const { members } = await bert.call('member.list', { conversationId });
    expect(members.map(({ userId, role }) => [userId, role])).toEqual(
      expect.arrayContaining([
        [cleo.id, 'owner'],
        [bert.id, 'member'],
      ]),
    );
    expect(bert.pushes(conversationStream(conversationId)).at(-1)!.entities).toContainEqual(expect.objectContaining({ kind: 'member', userId: cleo.id, role: 'owner' }));
  });

  test('[FD1] a request is outgoing on one side and incoming on the other, with the note', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const { friend } = await anna.call('friend.request', { userId: bert.id, note: 'from the choir' });
    expect(friend).toMatchObject({ kind: 'friend', userId: bert.id, state: 'outgoing', note: 'from the choir', name: 'bert', handle: bert.handle });
    await bert.settle();
    expect(told(bert, 'friend')).toMatchObject({ userId: anna.id, state: 'incoming', note: 'from the choir', name: 'anna', handle: anna.handle });
  });

  test('[FD1] asking somebody who has asked you makes you friends, also at the same moment', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    await anna.call('friend.request', { userId: bert.id });
    expect((await bert.call('friend.request', { userId: anna.id })).friend.state).toBe('friends');
    await anna.settle();
    expect(told(anna, 'friend')).toMatchObject({ userId: bert.id, state: 'friends' });

    const [cleo, dora] = (await place.people('cleo', 'dora')) as [Someone, Someone];
    await Promise.all([cleo.call('friend.request', { userId: dora.id }), dora.call('friend.request', { userId: cleo.id })]);
    for (const [person, other] of [
      [cleo, dora],
      [dora, cleo],
    ] as const) {
      await person.settle();
      expect(told(person, 'friend')).toMatchObject({ userId: other.id, state: 'friends' });
    }
  });

  test('[FD1] nobody asks themselves, or somebody who does not exist', async () => {
    const anna = await place.person();
    await expect(anna.call('friend.request', { userId: anna.id })).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.userId' } });
    await expect(anna.call('friend.request', { userId: 'nobody' })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[FD2] only the person asked can accept', async () => {
    const [anna, bert, eve] = (await place.people('anna', 'bert', 'eve')) as [Someone, Someone, Someone];
    await anna.call('friend.request', { userId: bert.id });
    const before = await versions(anna, bert, eve);
    for (const [person, userId] of [
      [anna, bert.id],
      [eve, anna.id],
      [eve, bert.id],
    ] as const) {
      await expect(person.call('friend.accept', { userId })).rejects.toMatchObject({ code: 'not_found' });
    }
    await expect(eve.call('friend.refuse', { userId: bert.id })).rejects.toMatchObject({ code: 'not_found' });
    expect(await versions(anna, bert, eve)).toEqual(before);
    expect((await bert.call('friend.accept', { userId: anna.id })).friend.state).toBe('friends');
    await anna.settle();
    expect(told(anna, 'friend')).toMatchObject({ userId: bert.id, state: 'friends' });
  });

  test('[FD2] refusing is not told to the one who asked, taking a request back is', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    await anna.call('friend.request', { userId: bert.id });
    const [before] = await versions(anna);
    expect((await bert.call('friend.refuse', { userId: anna.id })).friend.state).toBe('none');
    expect(await versions(anna)).toEqual([before]);
    const mine = async (person: Someone) => (await person.call('stream.snapshot', { stream: userStream(person.id) })).entities.filter((entity) => entity.kind === 'friend');
    expect(await mine(anna)).toMatchObject([{ userId: bert.id, state: 'outgoing' }]);
    expect(await mine(bert)).toEqual([]);
    await expect(bert.call('friend.accept', { userId: anna.id })).rejects.toMatchObject({ code: 'not_found' });

    const cleo = await place.person('cleo');
    await anna.call('friend.request', { userId: cleo.id, note: 'a mistake' });
    expect((await anna.call('friend.refuse', { userId: cleo.id })).friend.state).toBe('none');
    await cleo.settle();
    expect(told(cleo, 'friend')).toMatchObject({ userId: anna.id, state: 'none' });
    await expect(cleo.call('friend.accept', { userId: anna.id })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[FD3] removing a friend ends it on both sides', async () => {
    const { anna, bert } = await place.friends();
    expect((await bert.call('friend.remove', { userId: anna.id })).friend.state).toBe('none');
    await anna.settle();
    expect(told(anna, 'friend')).toMatchObject({ userId: bert.id, state: 'none' });
    const cleo = await place.person('cleo');
    await anna.call('friend.request', { userId: cleo.id });
    await expect(anna.call('friend.remove', { userId: cleo.id })).rejects.toMatchObject({ code: 'not_friends' });
  });

  test('[FD4] a remark is seen by nobody but its writer, on all their devices', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const phone = await place.device(anna);
    const secret = unique('the loud one');
    const { friend } = await anna.call('friend.remark', { userId: bert.id, remark: ` ${secret} ` });
    expect(friend).toMatchObject({ remark: secret, state: 'friends' });
    await phone.settle();
    expect(told(phone, 'friend')).toEqual(friend);
    await bert.say(conversationId);
    await bert.settle();
    const seen = [
      bert.client.frames,
      await bert.call('stream.snapshot', { stream }),
      await bert.call('stream.snapshot', { stream: userStream(bert.id) }),
      await bert.call('user.get', { userId: anna.id }),
    ];
    expect(JSON.stringify(seen)).not.toContain(secret);
    expect((await anna.call('friend.remark', { userId: bert.id, remark: '' })).friend.remark).toBe('');
  });

  test('[FD4] a stranger can be given a remark too', async () => {
    const { anna, cleo } = await place.group();
    expect((await anna.call('friend.remark', { userId: cleo.id, remark: 'tenor' })).friend).toMatchObject({ state: 'none', remark: 'tenor' });
    expect((await anna.call('stream.snapshot', { stream: userStream(anna.id) })).entities).toContainEqual(
      expect.objectContaining({ kind: 'friend', userId: cleo.id, remark: 'tenor' }),
    );
  });

  test('[FD5] blocking is not told, and nothing that follows tells it', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    await bert.settle();
    const [before, quiet] = [await versions(bert), bert.heard().length];
    expect((await anna.call('block.add', { userId: bert.id })).friend).toMatchObject({ blocked: true, state: 'friends' });
    await bert.settle();
    expect([await versions(bert), bert.heard().length]).toEqual([before, quiet]);
    expect((await bert.call('stream.snapshot', { stream: userStream(bert.id) })).entities).toContainEqual(
      expect.objectContaining({ kind: 'friend', userId: anna.id, state: 'friends', blocked: false }),
    );
    // What was said before is still theirs to read.
    expect((await bert.call('message.history', { conversationId })).messages).toEqual([]);
    expect((await bert.call('stream.snapshot', { stream })).entities.length).toBeGreaterThan(0);
  });

  test('[FD5] a message between the two is answered not_found in both directions, and arrives nowhere', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const { id } = await bert.say(conversationId, 'before');
    await anna.call('block.add', { userId: bert.id });
    const head = await place.head(stream);
    for (const person of [anna, bert]) {
      await expect(person.say(conversationId)).rejects.toMatchObject({ code: 'not_found' });
      await expect(person.call('typing.set', { conversationId })).rejects.toMatchObject({ code: 'not_found' });
    }
    await expect(bert.call('message.edit', { messageId: id, text: 'words all the same' })).rejects.toMatchObject({ code: 'not_found' });
    await bert.call('read.mark', { conversationId, seq: 1 });
    expect(await place.head(stream)).toEqual(head);
    await anna.call('block.remove', { userId: bert.id });
    expect((await bert.say(conversationId, 'again')).text).toBe('again');
  });

  test('[FD5] neither can open a new conversation with the other', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    await Promise.all([anna, bert].map((person) => person.call('user.update', { accepts: 'anyone' })));
    await anna.call('block.add', { userId: bert.id });
    await expect(anna.call('conversation.direct', { userId: bert.id })).rejects.toMatchObject({ code: 'not_found' });
    await expect(bert.call('conversation.direct', { userId: anna.id })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[FD5] a request to somebody who blocked you reaches nobody', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    await anna.call('block.add', { userId: bert.id });
    const before = await versions(anna);
    expect((await bert.call('friend.request', { userId: anna.id, note: 'please' })).friend).toMatchObject({ state: 'outgoing', note: 'please' });
    expect(await versions(anna)).toEqual(before);
    await expect(anna.call('friend.accept', { userId: bert.id })).rejects.toMatchObject({ code: 'not_found' });
    await expect(anna.call('friend.request', { userId: bert.id })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[FD5] neither can add the other to a group, and the others are added', async () => {
    const { anna, bert } = await place.friends();
    const cleo = await place.person('cleo');
    await anna.call('block.add', { userId: bert.id });
    for (const [person, other] of [
      [anna, bert],
      [bert, anna],
    ] as const) {
      const { conversation } = await person.call('conversation.create', { title: 'Club', memberIds: [other.id, cleo.id] });
      const conversationId = conversation.id;
      const { members } = await person.call('member.add', { conversationId, userIds: [other.id] });
      expect(members).toEqual([]);
      const list = await person.call('member.list', { conversationId });
      expect(list.members.map(({ userId }) => userId).sort()).toEqual([person.id, cleo.id].sort());
      await other.settle();
      expect(other.pushes(conversationStream(conversationId))).toEqual([]);
    }
  });

  test('[FD5] presence is silent between the two from the block on, on every connection that watched', async () => {
    const { anna, bert } = await place.friends();
    const [phone, tab] = [await place.device(anna), await place.connect(bert)];
    for (const [watcher, other] of [
      [anna, bert],
      [phone, bert],
      [bert, anna],
      [tab, anna],
    ] as const) {
      expect((await watcher.call('presence.watch', { userIds: [other.id] })).presence).toMatchObject([{ userId: other.id, online: true }]);
    }
    await anna.call('block.add', { userId: bert.id });
    for (const [watcher, other] of [
      [anna, bert],
      [bert, anna],
    ] as const)
      expect((await watcher.call('presence.watch', { userIds: [other.id] })).presence).toEqual([]);
    // A change of either that those who may hear of it do hear of.
    await anna.call('settings.update', { presence: 'everyone' });
    await bert.call('settings.update', { presence: 'everyone' });
    for (const connection of [anna, phone, bert, tab]) {
      await connection.settle();
      expect(connection.client.frames.filter((frame) => 'signal' in frame)).toEqual([]);
    }
  });

  test('[FD6] repeating a request, acceptance, removal or block changes nothing and answers as before', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const steps: [person: Someone, other: Someone, method: 'friend.request' | 'friend.accept' | 'friend.remove' | 'block.add' | 'block.remove'][] = [
      [anna, bert, 'friend.request'],
      [bert, anna, 'friend.accept'],
      [bert, anna, 'friend.remove'],
      [anna, bert, 'block.add'],
      [anna, bert, 'block.remove'],
    ];
    for (const [person, other, method] of steps) {
      const { friend } = await person.call(method, { userId: other.id });
      const before = await versions(anna, bert);
      expect(await person.call(method, { userId: other.id })).toEqual({ friend });
      expect(await versions(anna, bert)).toEqual(before);
    }
    // Who is a friend already is not asked again, and an acceptance stays one.
    const { anna: cleo, bert: dora } = await place.friends();
    const before = await versions(cleo, dora);
    for (const method of ['friend.request', 'friend.accept'] as const) expect((await cleo.call(method, { userId: dora.id })).friend.state).toBe('friends');
    expect(await versions(cleo, dora)).toEqual(before);
  });

  test('[FD6] the same step at once from many tabs is one step', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const before = await versions(anna, bert);
    await Promise.all(Array.from({ length: 6 }, () => anna.call('friend.request', { userId: bert.id, note: 'once' })));
    await Promise.all(Array.from({ length: 6 }, () => bert.call('friend.accept', { userId: anna.id })));
    expect(await versions(anna, bert)).toEqual(before.map((version) => version + 2));
  });
});

describe.each(engines)('a directory on %s', (engine) => {
  const place = usePlace({ engine, config: { directory: 'prefix' } });

  test('[US3] where the operator allows it people are found by the beginning of their handle, 20 at most', async () => {
    const anna = await place.person();
    await place.rows.run(`insert into users (id, version, handle, name, created_at) ${numbers(30)} select 'found-' || i, 1, 'zoe' || (100 + i), 'Zoe', 0 from n`);
    const find = async (query: string) => (await anna.call('user.search', { query })).users.map(({ handle }) => handle);
    expect(await find('zoe10')).toEqual(Array.from({ length: 9 }, (_, index) => `zoe10${index + 1}`));
    expect(await find('ZOE130')).toEqual(['zoe130']);
    expect(await find('zoe')).toHaveLength(limits.searchResults);
    for (const query of ['oe1', 'zoe%', 'zo_1', '*']) expect(await find(query)).toEqual([]);
    await place.rows.run("insert into friends (user_id, friend_id, version, state, blocked, since) values ('found-30', ?, 1, 'none', 1, 0)", anna.id);
    expect(await find('zoe130')).toEqual([]);
  });
});
