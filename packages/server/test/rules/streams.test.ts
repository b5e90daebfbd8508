import { type Entity, type Push, type StreamId, conversationStream, entityKey, limits, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import type { TestClient } from '../harness.ts';
import { numbers } from './rows.ts';
import { type Someone, clientId, engines, unique, usePlace } from './place.ts';

describe.each(engines)('streams on %s', (engine) => {
  const place = usePlace({ engine });

  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const versions = (pushes: Push[]): number[] => pushes.map(({ version }) => version);
  const heads = async (...streams: StreamId[]): Promise<number[]> => Promise.all(streams.map(async (stream) => (await place.head(stream)).version));

  test('[ST1] one commit takes one version of each stream it changes, and makes one push of it', async () => {
    const { anna, bert } = await place.friends();
    const before = await heads(userStream(anna.id), userStream(bert.id));
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [bert.id] });
    const stream = conversationStream(conversation.id);
    await bert.settle();
    expect(await heads(userStream(anna.id), userStream(bert.id), stream)).toEqual([before[0]! + 1, before[1]! + 1, 1]);
    const push = bert.pushes(stream);
    expect(versions(push)).toEqual([1]);
    // Both members, the conversation and the line about it, each with the version of the commit.
    expect(push[0]!.entities.map(({ kind }) => kind).sort()).toEqual(['conversation', 'member', 'member', 'message']);
    expect(push[0]!.entities.every(({ version }) => version === 1)).toBe(true);
    expect(versions(bert.pushes(userStream(bert.id)).slice(-1))).toEqual([before[1]! + 1]);
  });

  test('[ST1] versions are dense, whoever writes at once', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const { version: first } = await place.head(stream);
    await Promise.all(
      range(1, 12).flatMap((turn) => [
        anna.say(conversationId),
        bert.say(conversationId),
        cleo.call('read.mark', { conversationId, seq: turn }),
        bert.call('receipt.delivered', { conversationId, seq: turn }),
        anna.call('conversation.update', { conversationId, title: `Club ${turn}` }),
      ]),
    );
    for (const person of [anna, bert, cleo]) {
      await person.settle();
      const seen = versions(person.pushes(stream));
      expect(seen).toEqual(range(1, seen.length));
    }
    expect((await place.head(stream)).version).toBe(anna.pushes(stream).length);
    expect(anna.pushes(stream).length).toBeGreaterThan(first + 24);
  });

  test('[ST1] a refused or repeated request takes no version and makes no push', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const [stranger, added] = (await place.people('dora', 'emil')) as [Someone, Someone];
    await anna.call('member.add', { conversationId, userIds: [added.id] });
    const send = { conversationId, clientId: clientId(), type: 'text', text: 'once' } as const;
    await anna.call('message.send', send);
    await bert.call('read.mark', { conversationId, seq: 2 });
    await bert.call('conversation.mute', { conversationId, until: 5 });
    const streams = [stream, ...[anna, bert, cleo, stranger, added].map(({ id }) => userStream(id))];
    const before = await heads(...streams);
    const members = [anna, bert, cleo, added];
    for (const person of members) await person.settle();
    const told = members.map((person) => person.heard().length);
    const again = [
      anna.call('message.send', send),
      bert.call('read.mark', { conversationId, seq: 1 }),
      bert.call('receipt.delivered', { conversationId, seq: 2 }),
      bert.call('conversation.mute', { conversationId, until: 5 }),
      added.call('conversation.accept', { conversationId }).then(() => added.call('conversation.accept', { conversationId })),
      anna.call('conversation.update', { conversationId, title: 'Club' }),
      anna.call('member.add', { conversationId, userIds: [bert.id] }),
      anna.call('user.update', { name: 'anna' }),
    ];
    await Promise.all(again);
    const refused = [
      anna.call('message.send', { ...send, text: 'twice' }),
      bert.call('conversation.update', { conversationId, title: 'Mine' }),
      bert.call('member.remove', { conversationId, userId: cleo.id }),
      bert.call('member.role', { conversationId, userId: cleo.id, role: 'admin' }),
      stranger.say(conversationId),
      stranger.call('read.mark', { conversationId, seq: 1 }),
      stranger.call('conversation.direct', { userId: anna.id }),
      stranger.call('friend.accept', { userId: anna.id }),
    ];
    for (const result of await Promise.allSettled(refused)) expect(result.status).toBe('rejected');
    const after = await heads(...streams);
    // Accepting was the one change, once.
    expect(after).toEqual(before.map((version, index) => (streams[index] === userStream(added.id) ? version + 1 : version)));
    for (const person of members) await person.settle();
    expect(members.map((person) => person.heard().length)).toEqual([...told.slice(0, 3), told[3]! + 1]);
  });

  test('[ST2] when the reply or the push is there, the commit is in the database', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const stored = async (id: string) => (await place.rows.run<{ version: number }>('select version from messages where id = ?', id))[0]?.version;
    for (let turn = 0; turn < 10; turn += 1) {
      const pushed = bert.client
        .push(({ entities }) => entities[0]?.kind === 'message')
        .then(async ({ version, entities }) => expect(await stored((entities[0] as { id: string }).id)).toBe(version));
      const replied = anna.say(conversationId).then(async ({ id, version }) => expect(await stored(id)).toBe(version));
      await Promise.all([pushed, replied]);
    }
  });

  test('[ST4] changes since a version are all that changed after it, as it is now, by version', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const { version: since } = await place.head(stream);
    const first = await anna.say(conversationId, 'first');
    const second = await bert.say(conversationId, 'second');
    await anna.call('message.delete', { messageId: first.id });
    await anna.call('conversation.update', { conversationId, title: 'Choir' });
    await cleo.call('read.mark', { conversationId, seq: 2 });
    const changes = await cleo.call('stream.changes', { stream, since });
    if ('tooOld' in changes) throw new Error('too old');
    expect(changes).toMatchObject({ version: (await place.head(stream)).version, more: false });
    expect(changes.entities.map(({ version }) => version)).toEqual([...changes.entities.map(({ version }) => version)].sort((a, b) => a - b));
    const keys = changes.entities.map(entityKey);
    expect(new Set(keys).size).toBe(keys.length);
    const messages = changes.entities.filter((entity) => entity.kind === 'message');
    // The recalled one as it is now, at its later version; the text is nowhere.
    expect(messages.map(({ id, text }) => [id, text])).toEqual([
      [second.id, 'second'],
      [first.id, ''],
      [expect.any(String), ''],
    ]);
    const snapshot = await cleo.call('stream.snapshot', { stream });
    expect(snapshot.entities).toEqual(expect.arrayContaining(changes.entities));
    expect(await cleo.call('stream.changes', { stream, since: snapshot.version })).toEqual({ entities: [], version: snapshot.version, more: false });
  });

  test('[ST4] changes are cut between commits, never inside one', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const since = (await place.head(stream)).version;
    await anna.say(conversationId);
    // Two memberships, the conversation and a line: four entities in one commit.
    const [dora, emil] = await place.people('dora', 'emil');
    await anna.call('member.add', { conversationId, userIds: [dora!.id, emil!.id] });
    await bert.say(conversationId);
    const pages: Entity[][] = [];
    for (let from = since, more = true; more;) {
      const changes = await cleo.call('stream.changes', { stream, since: from, limit: 2 });
      if ('tooOld' in changes) throw new Error('too old');
      for (const { version } of changes.entities) expect(version).toBeLessThanOrEqual(changes.version);
      ({ version: from, more } = changes);
      pages.push(changes.entities);
    }
    expect(pages.map((page) => page.map(({ version }) => version - since))).toEqual([[1, 2, 2, 2, 2], [3]]);
  });

  test('[ST10] a person’s snapshot carries all that there can be', async () => {
    const anna = await place.person();
    const own = userStream(anna.id);
    const prefix = unique('crowd');
    const friends = limits.friendsPerUser + limits.incomingRequests;
    await place.rows.run(`insert into users (id, version, name, created_at) ${numbers(friends)} select '${prefix}-' || i, 1, 'One of many', 0 from n`);
    await place.rows.run(
      `insert into friends (user_id, friend_id, version, since, state) ${numbers(friends)} select ?, '${prefix}-' || i, 1, 0, case when i <= ${limits.friendsPerUser} then 'friends' else 'incoming' end from n`,
      anna.id,
    );
    // One is the announcements.
    await place.rows.run(
      `insert into inbox (user_id, conversation_id, version, joined) ${numbers(limits.conversationsPerUser - 1)} select ?, '${prefix}-' || i, 1, 1 from n`,
      anna.id,
    );
    await place.rows.run(
      `insert into drafts (user_id, conversation_id, version, text, at) ${numbers(limits.draftsPerUser)} select ?, '${prefix}-' || i, 1, 'x', 1 from n`,
      anna.id,
    );
    await place.rows.run(
      `insert into hidden (user_id, message_id, conversation_id, seq, version) ${numbers(limits.hiddenMessages)} select ?, '${prefix}-' || i, 'nowhere', i, 1 from n`,
      anna.id,
    );
    await place.rows.run(
      `insert into heard (user_id, conversation_id, version, up_to, seqs) ${numbers(limits.conversationsPerUser)} select ?, '${prefix}-' || i, 1, i, '[]' from n`,
      anna.id,
    );
    const { entities } = await place.server.call('stream.snapshot', { stream: own }, anna.token);
    const counts = Object.fromEntries(['friend', 'inbox', 'draft', 'hidden', 'heard'].map((kind) => [kind, entities.filter((entity) => entity.kind === kind).length]));
    expect(counts).toEqual({ friend: friends, inbox: limits.conversationsPerUser, draft: limits.draftsPerUser, hidden: limits.hiddenMessages, heard: limits.conversationsPerUser });
    await place.rows.run('delete from inbox where user_id = ?', anna.id);
  });

  test('[ST5] a since of 0 or beyond the newest version is too old', async () => {
    const { anna, stream } = await place.group();
    const { version } = await place.head(stream);
    expect(await anna.call('stream.changes', { stream, since: 0 })).toEqual({ tooOld: true });
    expect(await anna.call('stream.changes', { stream, since: version })).toEqual({ entities: [], version, more: false });
    for (const since of [version + 1, Number.MAX_SAFE_INTEGER]) expect(await anna.call('stream.changes', { stream, since })).toEqual({ tooOld: true });
    expect(await anna.call('stream.changes', { stream: userStream(anna.id), since: 9_999 })).toEqual({ tooOld: true });
  });

  test('[ST5] 500 changed entities are told, 501 are too old', async () => {
    const { anna, conversationId, stream } = await place.direct();
    const { version } = await place.head(stream);
    await place.fill(conversationId, anna, limits.resumeEntities + 1);
    expect(await anna.call('stream.changes', { stream, since: version })).toEqual({ tooOld: true });
    const changes = await anna.call('stream.changes', { stream, since: version + 1 });
    expect('entities' in changes && changes.entities.length).toBe(limits.resumeEntities);
  });

  test('[ST6] a push is the same bytes for everyone', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    await cleo.call('friend.remark', { userId: anna.id, remark: 'my boss' });
    const raw = [anna, bert, cleo].map((person) => {
      const texts: string[] = [];
      person.client.ws.on('message', (data: Buffer) => void (data.includes(`{"stream":"${stream}"`) && texts.push(data.toString())));
      return texts;
    });
    const { id } = await anna.say(conversationId, 'the same for all');
    await bert.call('read.mark', { conversationId, seq: 2 });
    await anna.call('message.edit', { messageId: id, text: 'the same' });
    await anna.call('conversation.update', { conversationId, title: 'Choir' });
    await anna.call('member.role', { conversationId, userId: bert.id, role: 'admin' });
    for (const person of [anna, bert, cleo]) await person.settle();
    expect(raw[0]).toHaveLength(5);
    expect(raw[1]).toEqual(raw[0]);
    expect(raw[2]).toEqual(raw[0]);
  });

  test('[ST6] a stream that a commit locked but did not change keeps its version and is silent', async () => {
    const { anna, bert } = await place.friends();
    const theirs = userStream(bert.id);
    await bert.settle();
    const before = await place.head(theirs);
    const told = bert.heard().length;
    // Each locks both people's streams, and changes only one.
    await anna.call('friend.remark', { userId: bert.id, remark: 'next door' });
    await anna.call('block.add', { userId: bert.id });
    await anna.call('block.remove', { userId: bert.id });
    await bert.settle();
    expect(await place.head(theirs)).toEqual(before);
    expect(bert.heard()).toHaveLength(told);
  });

  test('[ST7] a connection follows its person and all their conversations from hello on', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [bert.id] });
    const phone = await place.device(bert);
    await anna.say(conversationId, 'in the direct one');
    await anna.say(conversation.id, 'in the group');
    await anna.call('friend.remove', { userId: bert.id });
    await phone.settle();
    expect(phone.pushes(stream)).toHaveLength(1);
    expect(phone.pushes(conversationStream(conversation.id))).toHaveLength(1);
    expect(phone.pushes(userStream(bert.id)).at(-1)!.entities).toMatchObject([{ kind: 'friend', userId: anna.id, state: 'none' }]);
  });

  test('[ST7] every connection joins a new conversation with the commit that adds its person', async () => {
    const { anna, conversationId, stream } = await place.group();
    const dora = await place.person('dora');
    const phone = await place.device(dora);
    await anna.call('member.add', { conversationId, userIds: [dora.id] });
    const { version } = await place.head(stream);
    await anna.say(conversationId, 'welcome');
    for (const connection of [dora, phone]) {
      await connection.settle();
      // From the commit itself: the push that made them a member is already theirs.
      expect(versions(connection.pushes(stream))).toEqual([version, version + 1]);
    }
  });

  test('[ST7] after the commit that removes somebody not one frame of the conversation comes', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const phone = await place.device(cleo);
    // Pushes of messages are on their way while the removal is committed.
    const [removal] = await Promise.all([
      anna.call('member.remove', { conversationId, userId: cleo.id }),
      ...range(1, 20).map((turn) => (turn % 2 ? anna : bert).say(conversationId)),
    ]);
    await bert.call('typing.set', { conversationId });
    await bert.call('read.mark', { conversationId, seq: 5 });
    await bert.say(conversationId, 'she is out');
    for (const connection of [cleo, phone]) {
      await connection.settle();
      const frames = connection.heard();
      const out = frames.findIndex(
        (frame) => 'stream' in frame && frame.entities.some((entity) => entity.kind === 'inbox' && entity.conversationId === conversationId && !entity.joined),
      );
      expect(out).not.toBe(-1);
      expect(JSON.stringify(frames.slice(out + 1))).not.toContain(conversationId);
      // Up to there they got everything, without a hole.
      const seen = versions(connection.pushes(stream)).filter((version) => version > 1);
      expect(seen).toEqual(range(seen[0] ?? 2, (seen[0] ?? 2) + seen.length - 1));
      expect(seen.every((version) => version < removal.member.version)).toBe(true);
    }
  });

  test('[ST7] who leaves hears no more on any device, and who comes back hears again', async () => {
    const { anna, bert, conversationId, stream } = await place.group();
    const phone = await place.device(bert);
    await phone.call('conversation.leave', { conversationId });
    await anna.say(conversationId, 'without them');
    await bert.settle();
    expect(JSON.stringify(bert.pushes(stream))).not.toContain('without them');
    await anna.call('member.add', { conversationId, userIds: [bert.id] });
    await anna.say(conversationId, 'again with them');
    for (const connection of [bert, phone]) {
      await connection.settle();
      expect(connection.pushes(stream).at(-1)!.entities).toMatchObject([{ kind: 'message', text: 'again with them' }]);
    }
  });

  test('[ST8] all that happened while a person was away is there at their return, once and in order', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    await anna.say(conversationId, 'before');
    const held = { [stream]: (await place.head(stream)).version, [userStream(bert.id)]: (await place.head(userStream(bert.id))).version };
    await bert.client.close();
    const texts = range(1, 7).map((turn) => `while you were away ${turn}`);
    for (const text of texts) await anna.say(conversationId, text);
    const { conversation } = await anna.call('conversation.create', { title: 'New', memberIds: [bert.id] });
    await anna.say(conversation.id, 'in the new group');
    await anna.call('friend.remove', { userId: bert.id });
    const back = await place.server.socket();
    const { heads: now } = await back.hello({ token: bert.token });
    expect(Object.keys(now)).toEqual(expect.arrayContaining([stream, conversationStream(conversation.id), userStream(bert.id)]));
    const told: Entity[] = [];
    for (const [name, since] of Object.entries(held)) {
      const changes = await back.call('stream.changes', { stream: name, since });
      if ('tooOld' in changes) throw new Error('too old');
      expect(changes.version).toBe(now[name]);
      told.push(...changes.entities);
    }
    expect(told.flatMap((entity) => (entity.kind === 'message' ? [entity.text] : []))).toEqual(texts);
    expect(told).toContainEqual(expect.objectContaining({ kind: 'inbox', conversationId: conversation.id, joined: true }));
    expect(told).toContainEqual(expect.objectContaining({ kind: 'friend', userId: anna.id, state: 'none' }));
    const { messages } = await back.call('message.history', { conversationId: conversation.id });
    expect(messages.map(({ text }) => text)).toEqual(['', 'in the new group']);
  });

  test('[ST8] a membership that came and went while a person was away leaves no trace of the conversation but that', async () => {
    const { anna, bert } = await place.friends();
    await bert.client.close();
    const since = (await place.head(userStream(bert.id))).version;
    const { conversation } = await anna.call('conversation.create', { title: unique('Surprise'), memberIds: [bert.id] });
    await anna.call('member.remove', { conversationId: conversation.id, userId: bert.id });
    const back = await place.server.socket();
    const { heads: now } = await back.hello({ token: bert.token });
    expect(now).not.toHaveProperty([conversationStream(conversation.id)]);
    const changes = await back.call('stream.changes', { stream: userStream(bert.id), since });
    expect('entities' in changes && changes.entities.filter(({ kind }) => kind === 'inbox')).toMatchObject([{ conversationId: conversation.id, joined: false }]);
  });

  test('[ST9] nothing falls between the heads of hello and the first push', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const opened: { head: number; client: TestClient }[] = [];
    const times = 12;
    const talk = (async () => {
      while (opened.length < times) await Promise.all([anna.say(conversationId), anna.say(conversationId), anna.say(conversationId)]);
    })();
    while (opened.length < times) {
      const client = await place.server.socket();
      const { heads: found } = await client.hello({ token: bert.token });
      opened.push({ head: found[stream]!, client });
    }
    await talk;
    const last = (await anna.say(conversationId, 'the end')).version;
    for (const { head, client } of opened) {
      await client.settle();
      const seen = client.frames.flatMap((frame) => ('stream' in frame && frame.stream === stream ? [frame.version] : []));
      // A push may repeat what the heads tell; never may a version be missing after them.
      expect(seen[0]).toBeLessThanOrEqual(head + 1);
      expect(seen).toEqual(range(seen[0]!, last));
    }
  });
});

describe('streams on postgres, with the commit in our hands', () => {
  const place = usePlace({ engine: 'postgres' });

  test('[ST2] neither the reply nor the push comes before the commit', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    // A commit that writes a message first waits for a lock that we hold.
    const { rows } = place;
    await rows.run('create function wait_for_us() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(7); return null; end $$');
    await rows.run('create constraint trigger wait_for_us after insert on messages deferrable initially deferred for each row execute function wait_for_us()');
    await rows.run('select pg_advisory_lock(7)');
    const message = { conversationId, clientId: clientId(), type: 'text', text: 'on its way' } as const;
    const reply = anna.client.request('message.send', message, 'the-send');
    const waiting = () => rows.run<{ n: number }>("select count(*) as n from pg_locks where locktype = 'advisory' and not granted");
    await expect.poll(waiting).toEqual([{ n: 1 }]);
    // All that was sent until now is read, and none of it is about the message.
    for (const person of [anna, bert]) {
      await person.settle();
      expect(JSON.stringify(person.client.frames)).not.toContain('on its way');
    }
    expect(anna.client.frames.filter((frame) => 'id' in frame && frame.id === 'the-send')).toEqual([]);
    await rows.run('select pg_advisory_unlock(7)');
    expect((await reply).result).toMatchObject({ message: { text: 'on its way' } });
    expect((await bert.client.push((push) => push.stream === stream && push.version > 1)).entities).toMatchObject([{ text: 'on its way' }]);
  });
});
