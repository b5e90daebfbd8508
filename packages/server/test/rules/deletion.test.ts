import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { userStream } from '@kith/protocol';
import { describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../manual-clock.ts';
import { photo } from '../pictures.ts';
import { type Place, type Someone, clientId, engines, password, unique, usePlace } from './place.ts';

const dayMs = 86_400_000;

/** Every byte that this server keeps: database, its log, files. */
function onDisk({ server }: Place): Map<string, Buffer> {
  const files = readdirSync(server.config.data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(files.map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name))]));
}

/** Names of the files in which one of these texts stands. */
const whereIs = (place: Place, ...texts: string[]): string[] =>
  [...onDisk(place)].filter(([name, bytes]) => texts.some((text) => name.includes(text) || bytes.includes(text))).map(([name]) => name);

describe.each(engines)('deleted accounts on %s', (engine) => {
  const clock = new ManualClock();
  let time = Date.now();
  const place = usePlace({ engine: engine === 'sqlite' ? 'sqlite-direct' : engine, clock, now: () => time, config: { offlineGraceMs: 0 } });

  const tidyAll = async (): Promise<void> => {
    while (await place.server.running.core.tidy());
  };
  const remove = (person: Someone, messages?: 'keep' | 'erase') => place.server.call('user.delete', { password, ...(messages && { messages }) }, person.token);
  const login = ({ handle }: Someone) => place.server.call('auth.login', { handle: handle!, password });

  test('[DE1] a deletion can be undone for 14 days, by who knows the password', async () => {
    const { anna, bert, conversationId } = await place.direct();
    await anna.call('user.update', { bio: 'Sings.', accepts: 'anyone' });
    await bert.call('friend.remark', { userId: anna.id, remark: 'the alto' });
    await anna.say(conversationId, 'a word to you');
    expect(await remove(anna)).toEqual({ until: time + 14 * dayMs });
    expect((await anna.client.closed).code).toBe(4500);
    expect((await bert.call('user.get', { userId: anna.id })).user).toMatchObject({ name: '', handle: null, deleted: true });
    await expect(place.server.call('auth.register', { handle: anna.handle!, password, name: 'Another' })).rejects.toMatchObject({ code: 'handle_taken' });

    time += 13 * dayMs;
    await tidyAll();
    await expect(login(anna)).rejects.toMatchObject({ code: 'account_deleted' });
    for (const method of ['auth.login', 'auth.restore'] as const)
      await expect(place.server.call(method, { handle: anna.handle!, password: 'not the password' })).rejects.toMatchObject({ code: 'wrong_credentials' });
    await place.server.call('auth.restore', { handle: anna.handle!, password });
    const { user, token } = await login(anna);
    expect(user).toMatchObject({ id: anna.id, handle: anna.handle, name: anna.user.name, bio: 'Sings.', accepts: 'anyone' });
    const bertAgain = await place.device({ handle: bert.handle, password });
    expect((await bertAgain.call('user.get', { userId: anna.id })).user).toMatchObject({ name: anna.user.name, handle: anna.handle });
    const { entities } = await bertAgain.call('stream.snapshot', { stream: userStream(bert.id) });
    expect(entities).toContainEqual(expect.objectContaining({ kind: 'friend', userId: anna.id, state: 'friends', remark: 'the alto', name: anna.user.name }));
    const { message } = await place.server.call('message.send', { conversationId, clientId: clientId(), type: 'text', text: 'back again' }, token);
    expect((await bertAgain.call('message.history', { conversationId })).messages.map(({ text }) => text)).toEqual(['a word to you', message.text]);
    await expect(place.server.call('auth.restore', { handle: anna.handle!, password })).rejects.toMatchObject({ code: 'wrong_credentials' });

    time += 2 * dayMs;
    await tidyAll();
    expect((await login(anna)).user.name).toBe(anna.user.name);
  });

  test('[DE1] a friend who left meanwhile is none any more when the account is back', async () => {
    const { anna, bert } = await place.direct();
    for (const person of [anna, bert]) await remove(person);
    await place.server.call('auth.restore', { handle: anna.handle!, password });
    const { entities } = await (await place.device(anna)).call('stream.snapshot', { stream: userStream(anna.id) });
    expect(entities.filter((entity) => entity.kind === 'friend')).toEqual([]);
  });

  test('[DE2] after 14 days it cannot be undone, the user name is free, and what they wrote stays or goes as they chose', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const [kept, erased] = [await bert.say(conversationId, 'bert is keeping this'), await cleo.say(conversationId, 'cleo is erasing this')];
    const file = await place.server.upload(cleo, Buffer.from('bytes of cleo'), { name: 'cleo.txt' });
    await cleo.call('message.send', { conversationId, clientId: clientId(), type: 'file', text: 'a file', fileId: file.id });
    const edited = await cleo.say(conversationId, 'before');
    await cleo.call('message.edit', { messageId: edited.id, text: 'after' });
    await remove(bert, 'keep');
    await remove(cleo, 'erase');
    time += 14 * dayMs;
    for (const person of [bert, cleo]) await expect(login(person)).rejects.toMatchObject({ code: 'wrong_credentials' });
    for (const { handle } of [bert, cleo]) await expect(place.server.call('auth.restore', { handle: handle!, password })).rejects.toMatchObject({ code: 'wrong_credentials' });
    await tidyAll();
    await anna.settle();
    const { messages } = await anna.call('message.history', { conversationId });
    expect(messages.find(({ id }) => id === kept.id)).toMatchObject({ text: 'bert is keeping this', senderId: bert.id });
    const gone = messages.filter(({ senderId, type }) => senderId === cleo.id && type !== 'system');
    expect(gone.map(({ id }) => id)).toContain(erased.id);
    expect(gone).toHaveLength(3);
    for (const message of gone) expect(message).toMatchObject({ text: '', deletedAt: time, deletedBy: cleo.id, clientId: null });
    expect(gone.every((message) => message.file === undefined)).toBe(true);
    // Told as it happened, as the snapshot has it.
    const told = anna.pushes(stream).flatMap(({ entities }) => entities);
    for (const message of gone) expect(told).toContainEqual(message);
    expect((await place.server.download(anna, file.id)).status).toBe(404);
    for (const { handle } of [bert, cleo]) expect((await place.server.call('auth.register', { handle: handle!, password, name: 'Another' })).user.handle).toBe(handle);
  });

  test('[DE3] after that no byte of it is on the disk: names, texts and their earlier versions, drafts, files and what was made of them', { timeout: 60_000 }, async () => {
    const canary = unique('CANARY');
    const [anna, bert] = [await place.connect(await place.server.register(canary.toLowerCase(), { name: canary, password })), await place.person('bert')];
    await anna.call('friend.request', { userId: bert.id, note: `${canary} asks` });
    await bert.call('friend.accept', { userId: anna.id });
    const { conversation } = await anna.call('conversation.direct', { userId: bert.id });
    const notes = (await anna.call('conversation.direct', { userId: anna.id })).conversation;
    const avatar = await place.server.upload(anna, await photo().jpeg().toBuffer(), { name: `${canary}.jpg`, avatar: true });
    await anna.call('user.update', { avatar: `file:${avatar.id}`, bio: `${canary} sings` });
    for (const { id } of [conversation, notes]) {
      // Long ones lie on pages of their own, and one that grows is moved.
      const long = (word: string) => `${canary} ${word} `.repeat(260);
      const sent = [await anna.say(id, `${canary} first`), await anna.say(id, long('first')), await anna.say(id, `${canary} third`)];
      await anna.call('message.edit', { messageId: sent[0]!.id, text: `${canary} edited` });
      await anna.call('message.edit', { messageId: sent[1]!.id, text: `${canary} shorter` });
      await anna.call('message.edit', { messageId: sent[2]!.id, text: long('edited') });
      for (let count = 0; count < 40; count++) {
        await anna.say(id, `${canary} number ${count} ${'x'.repeat(count * 20)}`);
        if (id === conversation.id) await bert.say(id, `an answer to number ${count}`);
      }
      await anna.call('draft.set', { conversationId: id, base: 0, text: `${canary} half a thought` });
    }
    // What somebody else reported of somebody else, where they spoke.
    const cleo = await place.person('cleo');
    const { conversation: club } = await bert.call('conversation.create', { title: 'Club', memberIds: [anna.id, cleo.id] });
    await anna.say(club.id, `${canary} is here`);
    await bert.call('report.send', { conversationId: club.id, userId: cleo.id, reason: 'abuse' });
    const picture = await place.server.upload(anna, await photo().jpeg().toBuffer(), { name: `${canary}.jpg` });
    const file = await place.server.upload(anna, Buffer.from(`${canary} inside`), { name: `${canary}.txt` });
    for (const [type, fileId] of [['image', picture.id] as const, ['file', file.id] as const])
      await anna.call('message.send', { conversationId: conversation.id, clientId: clientId(), type, text: canary, fileId });
    const unsent = await place.server.upload(anna, Buffer.from(`${canary} never sent`), { name: `${canary}.txt` });
    await anna.call('push.subscribe', {
      endpoint: `https://nobody.invalid.push.services.mozilla.com/${canary}`,
      p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
      auth: 'BTBZMqHH6r4Tts7J_aSIgg',
    });
    await place.server.call('auth.login', { handle: anna.handle!, password, device: canary });
    const blobs = [avatar.id, picture.id, file.id, unsent.id];
    expect(whereIs(place, canary, ...blobs).length).toBeGreaterThan(3);

    await remove(anna, 'erase');
    time += 14 * dayMs;
    await tidyAll();
    await vi.waitUntil(
      async () => {
        await clock.pass(60_000);
        return (
          whereIs(place, ...blobs.slice(0, 3)).filter((name) => !name.startsWith('kith.db')).length === 0 &&
          (await place.rows.run(`select id from files where owner_id = ?`, anna.id)).length === 0
        );
      },
      { timeout: 20_000 },
    );
    time += 3_600_000;
    await tidyAll();
    const lost = [canary, canary.toLowerCase(), 'BCVxsr7N_eNgVRqvHtD0zTZsEc6', ...blobs];
    expect(whereIs(place, ...lost)).toEqual([]);
    const tables = await place.rows.run<{ name: string }>(
      engine === 'postgres'
        ? `select table_name as name from information_schema.tables where table_schema = 'public'`
        : `select name from sqlite_master where type = 'table' and name not like 'sqlite_%'`,
    );
    expect(tables.length).toBeGreaterThan(20);
    const telling: string[] = [];
    for (const { name } of tables)
      if (
        JSON.stringify(await place.rows.run(`select * from ${name}`))
          .toLowerCase()
          .includes(canary.toLowerCase())
      )
        telling.push(name);
    expect(telling).toEqual([]);
  });

  test('[DE4] what is left of a person is an empty row, where they were a member, and the log of what was done', async () => {
    const { anna, bert, conversationId } = await place.direct();
    await anna.say(conversationId, 'a word');
    await bert.call('friend.remark', { userId: anna.id, remark: 'the alto' });
    await anna.call('settings.update', { typing: false });
    await anna.call('read.mark', { conversationId, seq: 1 });
    await anna.call('message.withdraw', { conversationId, clientId: clientId() });
    for (const [from, about] of [[anna, bert] as const, [bert, anna] as const]) await from.call('report.send', { conversationId, userId: about.id, reason: 'spam' });
    await remove(anna, 'erase');
    // Who is gone is offline; that they are is told beside all this.
    for (const table of ['online', 'presence']) await expect.poll(() => place.rows.run(`select user_id from ${table} where user_id = ?`, anna.id)).toEqual([]);
    time += 14 * dayMs;
    await tidyAll();
    const columns = await place.rows.run<{ table: string; column: string }>(
      engine === 'postgres'
        ? `select table_name as table, column_name as column from information_schema.columns where table_schema = 'public' and data_type = 'text'`
        : `select m.name as "table", c.name as "column" from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' and m.name not like 'sqlite_%' and lower(c.type) = 'text'`,
    );
    const found: string[] = [];
    for (const { table, column } of columns) if ((await place.rows.run(`select 1 from ${table} where ${column} = ? limit 1`, anna.id)).length > 0) found.push(`${table}.${column}`);
    expect(found.sort()).toEqual([
      'audit.actor',
      'audit.subject',
      'conversations.created_by',
      // What the other one calls them is the other one's.
      'friends.friend_id',
      'members.user_id',
      'messages.deleted_by',
      'messages.sender_id',
      'receipts.user_id',
      'users.id',
    ]);
    const row = (await place.rows.run('select handle, name, avatar, bio, password, external_id, last_seen_at from users where id = ?', anna.id))[0];
    expect(row).toEqual({ handle: null, name: '', avatar: '', bio: '', password: null, external_id: null, last_seen_at: null });
  });

  test('[DE5] what they wrote goes in slices, between which others write', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    await place.fill(conversationId, anna, 950);
    await place.rows.run(`update messages set client_id = id where conversation_id = ?`, conversationId);
    await remove(anna, 'erase');
    time += 14 * dayMs;
    let rounds = 0;
    while (await place.server.running.core.tidy()) {
      rounds += 1;
      await bert.call('draft.set', { conversationId, base: 0, text: `round ${rounds}` });
    }
    expect(rounds).toBeGreaterThan(9);
    await bert.settle();
    const sizes = bert.pushes(stream).map(({ entities }) => entities.filter((entity) => entity.kind === 'message').length);
    expect(Math.max(...sizes)).toBe(100);
    expect(await place.rows.run(`select id from messages where conversation_id = ? and text <> ''`, conversationId)).toEqual([]);
  });

  test('[DE6] a guest, and who has no password, is gone with the next round', async () => {
    const guest = await place.guest('Gast');
    expect(await place.server.call('user.delete', {}, guest.token)).toEqual({});
    await tidyAll();
    expect(await place.rows.run('select * from sessions where user_id = ?', guest.id)).toEqual([]);
    expect(await place.rows.run('select * from deletions where user_id = ?', guest.id)).toEqual([]);
  });

  test('[DE7] what was recalled, changed, or deleted from a draft is gone from the disk within a day', async () => {
    const { anna, conversationId } = await place.direct();
    const canary = unique('RECALLED');
    const long = `${canary} `.repeat(500);
    const sent = [await anna.say(conversationId, canary), await anna.say(conversationId, long)];
    const edited = await anna.say(conversationId, canary);
    const file = await place.server.upload(anna, Buffer.from(canary), { name: `${canary}.txt` });
    sent.push((await anna.call('message.send', { conversationId, clientId: clientId(), type: 'file', text: canary, fileId: file.id })).message);
    const { draft } = await anna.call('draft.set', { conversationId, base: 0, text: canary });
    expect(whereIs(place, canary)).not.toEqual([]);
    for (const { id } of sent) await anna.call('message.delete', { messageId: id });
    await anna.call('message.edit', { messageId: edited.id, text: 'something else' });
    await anna.call('draft.set', { conversationId, base: draft.version, text: '' });
    time += dayMs;
    await vi.waitUntil(
      async () => {
        await clock.pass(60_000);
        return (await place.rows.run(`select id from files where id = ?`, file.id)).length === 0;
      },
      { timeout: 20_000 },
    );
    time += 3_600_000;
    await tidyAll();
    expect(whereIs(place, canary, file.id)).toEqual([]);
  });
});
