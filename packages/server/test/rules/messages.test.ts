import { type Message, type RequestError, type Result, limits } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { type Someone, clientId, engines, usePlace } from './place.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

describe.each(engines)('messages on %s', (engine) => {
  const place = usePlace({ engine });

  const seqs = ({ messages }: Result<'message.history'>): number[] => messages.map((message) => message.seq);
  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);

  test('[MS1] the same client id sent from two devices at once makes one message', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const phone = await place.device(anna);
    const before = await place.head(stream);
    const send = { conversationId, clientId: clientId(), type: 'text', text: '你好 👋' } as const;
    const answers = await Promise.all([anna, phone, anna, phone].map((device) => device.call('message.send', send)));
    for (const { message } of answers) expect(message).toEqual(answers[0]!.message);
    expect(await place.head(stream)).toEqual({ version: before.version + 1, seq: before.seq + 1 });
    await bert.settle();
    expect(bert.pushes(stream).filter((push) => push.entities.some((entity) => entity.kind === 'message'))).toHaveLength(1);
  });

  test('[MS1] a repeated send answers the message as it is now: edited, and recalled', async () => {
    const { anna, conversationId } = await place.direct();
    const send = { conversationId, clientId: clientId(), type: 'text', text: 'tomorow' } as const;
    const { message } = await anna.call('message.send', send);
    const { message: edited } = await anna.call('message.edit', { messageId: message.id, text: 'tomorrow' });
    expect((await anna.call('message.send', send)).message).toEqual(edited);
    const { message: recalled } = await anna.call('message.delete', { messageId: message.id });
    expect((await anna.call('message.send', send)).message).toEqual(recalled);
    expect(recalled.text).toBe('');
  });

  test('[MS1] a repeated send is answered where the sender may no longer write: the first answer may have been lost', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const send = { conversationId, clientId: clientId(), type: 'text', text: 'are you there?' } as const;
    const first = await anna.call('message.send', send);
    await bert.call('block.add', { userId: anna.id });
    expect(await anna.call('message.send', send)).toEqual(first);
    await expect(anna.call('message.send', { ...send, clientId: clientId() })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[MS1] client ids belong to their sender: two people may use the same', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const same = clientId();
    const [hers, his] = await Promise.all([anna.say(conversationId, 'from anna', same), bert.say(conversationId, 'from bert', same)]);
    expect(hers.id).not.toBe(his.id);
  });

  test('[MS1] a client id is 8 to 64 of A-Z, a-z, 0-9, _ and -', async () => {
    const anna = await place.person();
    const { conversation } = await anna.call('conversation.direct', { userId: anna.id });
    for (const id of ['8letters', 'x'.repeat(64), 'AZaz09_-']) expect((await anna.say(conversation.id, 'hello', id)).clientId).toBe(id);
    for (const id of ['short-7', 'x'.repeat(65), 'with space', 'ünïcode-id', 'semi;colon', '']) {
      await expect(anna.say(conversation.id, 'hello', id)).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.clientId' } });
    }
  });

  test('[MS2] the same client id with another text, type or conversation is refused and nothing is stored', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const { conversation: notes } = await anna.call('conversation.direct', { userId: anna.id });
    const send = { conversationId, clientId: clientId(), type: 'text', text: '🍁' } as const;
    const { message } = await anna.call('message.send', send);
    const counts = () => place.rows.run('select id, version, seq from streams where id in (?, ?) order by id', `conversation:${conversationId}`, `conversation:${notes.id}`);
    const before = await counts();
    const others = [{ text: 'something else' }, { type: 'emoji' }, { conversationId: notes.id }] as const;
    for (const other of others) await expect(anna.call('message.send', { ...send, ...other })).rejects.toMatchObject({ code: 'client_id_reused' });
    // What was first sent decides, not what an edit has made of it.
    await anna.call('message.edit', { messageId: message.id, text: 'changed' });
    await expect(anna.call('message.send', { ...send, text: 'changed' })).rejects.toMatchObject({ code: 'client_id_reused' });
    const after = await counts();
    expect(after.map(({ seq }) => seq)).toEqual(before.map(({ seq }) => seq));
    expect((await bert.call('message.history', { conversationId })).messages).toHaveLength(1);
  });

  test('[MS14] what is taken back before it was stored never is, whenever it still arrives', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const id = clientId();
    const before = await place.head(stream);
    expect(await anna.call('message.withdraw', { conversationId, clientId: id })).toEqual({});
    expect(await anna.call('message.withdraw', { conversationId, clientId: id })).toEqual({});
    expect(await place.head(stream)).toEqual(before);
    for (const person of [anna, await place.device(anna)]) await expect(person.say(conversationId, 'late', id)).rejects.toMatchObject({ code: 'too_late' });
    // Of that sender alone, and of that id.
    await bert.say(conversationId, 'mine', id);
    await anna.say(conversationId, 'another');
    const { messages } = await anna.call('message.history', { conversationId });
    expect(messages.map(({ text, seq }) => [seq, text])).toEqual([
      [1, 'mine'],
      [2, 'another'],
    ]);
  });

  test('[MS14] what is stored is answered, and stays', async () => {
    const { anna, conversationId } = await place.direct();
    const id = clientId();
    const message = await anna.say(conversationId, 'hello', id);
    expect(await anna.call('message.withdraw', { conversationId, clientId: id })).toEqual({ message });
    expect(await anna.say(conversationId, 'hello', id)).toEqual(message);
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [] });
    await expect(anna.call('message.withdraw', { conversationId: conversation.id, clientId: id })).rejects.toMatchObject({ code: 'client_id_reused' });
  });

  test('[MS14] a send and its withdrawal at the same moment end as one of the two', async () => {
    const { anna, conversationId } = await place.direct();
    const phone = await place.device(anna);
    const ids = Array.from({ length: 20 }, clientId);
    const outcomes = await Promise.all(
      ids.map(async (id, n) => {
        const send = () =>
          anna.say(conversationId, 'hello', id).then(
            ({ seq }) => seq,
            (error: RequestError) => error.code,
          );
        const withdraw = () => phone.call('message.withdraw', { conversationId, clientId: id }).then(({ message }) => message?.seq ?? 'too_late');
        return Promise.all(n % 2 ? [send(), withdraw()] : [withdraw(), send()]);
      }),
    );
    for (const [one, other] of outcomes) expect(one).toBe(other);
    const { messages } = await anna.call('message.history', { conversationId });
    expect(messages).toHaveLength(outcomes.filter(([outcome]) => outcome !== 'too_late').length);
  });

  test('[MS3] seqs are 1, 2, 3 … without holes in the order of the commits, however many send at once', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    const phone = await place.device(anna);
    const sent = await Promise.all(range(1, 60).map((turn) => [anna, bert, cleo, phone][turn % 4]!.say(conversationId, String(turn))));
    await anna.call('message.edit', { messageId: sent[10]!.id, text: 'edited' });
    await anna.settle();
    const { messages } = await anna.call('message.history', { conversationId, limit: 100 });
    expect(messages.map(({ seq }) => seq)).toEqual(range(1, 61));
    const byCommit = [...sent].sort((a, b) => a.version - b.version);
    expect(byCommit.map(({ seq }) => seq)).toEqual(range(2, 61));
    expect(messages.map(({ id, seq }) => [id, seq]).slice(1)).toEqual(byCommit.map(({ id, seq }) => [id, seq]));
  });

  test('[MS3] a refused send leaves no hole, and recall keeps the place', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const first = await anna.say(conversationId, 'one');
    await Promise.all([
      expect(anna.say(conversationId, ' ')).rejects.toMatchObject({ code: 'bad_request' }),
      expect(anna.say(conversationId, 'another', first.clientId!)).rejects.toMatchObject({ code: 'client_id_reused' }),
      bert.say(conversationId, 'two'),
    ]);
    await anna.call('message.delete', { messageId: first.id });
    await anna.say(conversationId, 'three');
    const { messages } = await anna.call('message.history', { conversationId });
    expect(messages.map(({ seq, text }) => [seq, text])).toEqual([
      [1, ''],
      [2, 'two'],
      [3, 'three'],
    ]);
  });

  test('[MS5] every connection of the sender gets the push, also the one that sent', async () => {
    const { anna, conversationId, stream } = await place.direct();
    const [tab, phone] = [await place.connect(anna), await place.device(anna)];
    const message = await anna.say(conversationId);
    for (const connection of [anna, tab, phone]) {
      await connection.settle();
      expect(connection.pushes(stream).flatMap((push) => push.entities)).toContainEqual(message);
    }
  });

  test('[MS6] a client cannot say who wrote a message, nor its id, seq, version or time', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const params = { conversationId, clientId: clientId(), type: 'text', text: 'hello' };
    for (const [key, value] of Object.entries({ senderId: bert.id, from: bert.id, userId: bert.id, id: 'mine', seq: 7, version: 7, at: 7, editedAt: 7, role: 'owner' })) {
      expect((await anna.client.request('message.send', { ...params, [key]: value })).error).toMatchObject({ code: 'bad_request', path: `params.${key}` });
    }
    expect((await place.head(stream)).seq).toBe(0);
  });

  test('[MS6] the sender is who is signed in, and id, seq, version and time are the server’s', async () => {
    const { anna, conversationId, stream } = await place.direct();
    const { version } = await place.head(stream);
    const began = Date.now();
    const message = await anna.say(conversationId);
    expect(message).toMatchObject({ senderId: anna.id, seq: 1, version: version + 1 });
    expect(message.at).toBeGreaterThanOrEqual(began);
    expect(message.at).toBeLessThanOrEqual(Date.now());
  });

  test('[MS7] text is 1 to 8,000 UTF-16 units and not only space', async () => {
    const { anna, conversationId } = await place.direct();
    for (const text of ['x', 'x'.repeat(limits.messageText), '👍'.repeat(limits.messageText / 2), ' x\n'] as const) expect((await anna.say(conversationId, text)).text).toBe(text);
    for (const text of ['', ' ', '\t\n ', '\u3000', 'x'.repeat(limits.messageText + 1)]) {
      await expect(anna.say(conversationId, text)).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.text' } });
    }
    const { id } = await anna.say(conversationId);
    await expect(anna.call('message.edit', { messageId: id, text: ' \n' })).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.text' } });
  });

  test('[MS7] type emoji is one to three emoji', async () => {
    const { anna, conversationId } = await place.direct();
    const send = (text: string) => anna.call('message.send', { conversationId, clientId: clientId(), type: 'emoji', text });
    for (const text of ['🍁', '👍🏽🎉', '👨‍👩‍👧‍👦❤️🇨🇳', '1️⃣']) expect((await send(text)).message).toMatchObject({ type: 'emoji', text });
    for (const text of ['🍁🍁🍁🍁', 'x', '1', '🍁 and more', '<b>🍁</b>']) await expect(send(text)).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.text' } });
  });

  test('[MS8] the sender edits, nobody else, and everybody sees that it was', async () => {
    const { anna, bert, cleo, conversationId, stream } = await place.group();
    const message = await bert.say(conversationId, 'tomorow');
    const { message: edited } = await bert.call('message.edit', { messageId: message.id, text: 'tomorrow' });
    expect(edited).toMatchObject({ id: message.id, seq: message.seq, at: message.at, text: 'tomorrow', version: message.version + 1 });
    expect(edited.editedAt).toBeGreaterThanOrEqual(message.at);
    // Not the owner of the group either: words are put into nobody's mouth.
    for (const other of [anna, cleo]) await expect(other.call('message.edit', { messageId: message.id, text: 'never' })).rejects.toMatchObject({ code: 'forbidden' });
    await cleo.settle();
    expect(cleo.pushes(stream).at(-1)!.entities).toEqual([edited]);
    // The same text again changes nothing.
    expect((await bert.call('message.edit', { messageId: message.id, text: 'tomorrow' })).message).toEqual(edited);
    expect((await place.head(stream)).version).toBe(edited.version);
  });

  test('[MS8] a recalled message and a line of the system cannot be edited', async () => {
    const { anna, conversationId } = await place.group();
    const { messages } = await anna.call('message.history', { conversationId });
    await expect(anna.call('message.edit', { messageId: messages[0]!.id, text: 'x' })).rejects.toMatchObject({ code: 'forbidden' });
    const { id } = await anna.say(conversationId);
    await anna.call('message.delete', { messageId: id });
    await expect(anna.call('message.edit', { messageId: id, text: 'x' })).rejects.toMatchObject({ code: 'too_late' });
  });

  test('[MS8] a message that does not exist and one of a conversation of others are answered alike', async () => {
    const { anna, conversationId } = await place.direct();
    const eve = await place.person('eve');
    const { id } = await anna.say(conversationId);
    const answers = await Promise.all(
      [id, 'no-such-message'].flatMap((messageId) => [eve.client.request('message.edit', { messageId, text: 'x' }), eve.client.request('message.delete', { messageId })]),
    );
    for (const { error } of answers) expect(error).toEqual({ ...answers[0]!.error, code: 'not_found' });
  });

  test('[MS9] the text of a recalled message is gone from every answer, and its place stays', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const secret = 'the safe is behind the picture';
    const { id, version } = await anna.say(conversationId, secret);
    await anna.say(conversationId, 'never mind');
    await bert.settle();
    const told = bert.client.frames.length;
    const { message } = await anna.call('message.delete', { messageId: id });
    expect(message).toMatchObject({ id, seq: 1, text: '', deletedBy: anna.id });
    expect(message.deletedAt).toBeGreaterThanOrEqual(message.at);
    await bert.settle();
    const answers = [
      bert.client.frames.slice(told),
      await bert.call('message.history', { conversationId }),
      await bert.call('stream.snapshot', { stream }),
      await bert.call('stream.changes', { stream, since: version - 1 }),
      await place.rows.run('select * from messages where conversation_id = ?', conversationId),
    ];
    expect(JSON.stringify(answers)).not.toContain(secret);
    expect((await bert.call('message.history', { conversationId })).messages[0]).toEqual(message);
    // Again: nothing happens, and who did it first stays.
    expect((await anna.call('message.delete', { messageId: id })).message).toEqual(message);
  });

  test('[MS9] owners and admins recall what anybody wrote, members only their own', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    const [hers, his, other] = [await anna.say(conversationId), await bert.say(conversationId), await cleo.say(conversationId)];
    for (const messageId of [hers.id, other.id]) await expect(bert.call('message.delete', { messageId })).rejects.toMatchObject({ code: 'forbidden' });
    await anna.call('member.role', { conversationId, userId: bert.id, role: 'admin' });
    expect((await bert.call('message.delete', { messageId: hers.id })).message.deletedBy).toBe(bert.id);
    expect((await anna.call('message.delete', { messageId: his.id })).message.deletedBy).toBe(anna.id);
    expect((await cleo.call('message.delete', { messageId: other.id })).message.deletedBy).toBe(cleo.id);
  });

  test('[MS9] in a direct conversation nobody recalls what the other wrote', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const { id } = await anna.say(conversationId);
    await expect(bert.call('message.delete', { messageId: id })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[MS9] lines of the system cannot be recalled', async () => {
    const { anna, conversationId } = await place.group();
    const { messages } = await anna.call('message.history', { conversationId });
    await expect(anna.call('message.delete', { messageId: messages[0]!.id })).rejects.toMatchObject({ code: 'forbidden' });
  });

  describe('history', () => {
    const count = 230;
    let anna: Someone;
    let conversationId: string;
    const open = async (): Promise<void> => {
      if (conversationId) return;
      ({ anna, conversationId } = await place.direct());
      await place.fill(conversationId, anna, count);
    };
    const history = async (where: { before?: number; after?: number; around?: number; at?: number; limit?: number }): Promise<Result<'message.history'>> => {
      await open();
      return anna.call('message.history', { conversationId, ...where });
    };

    test.each<[where: Parameters<typeof history>[0], seqs: number[], before: boolean, after: boolean]>([
      [{}, range(181, 230), true, false],
      [{ limit: 100 }, range(131, 230), true, false],
      [{ before: 131, limit: 100 }, range(31, 130), true, true],
      [{ before: 31, limit: 100 }, range(1, 30), false, true],
      [{ before: 1 }, [], false, true],
      [{ before: 0 }, [], false, true],
      [{ before: Number.MAX_SAFE_INTEGER, limit: 1 }, [230], true, false],
      [{ after: 0, limit: 2 }, [1, 2], false, true],
      [{ after: 180, limit: 100 }, range(181, 230), true, false],
      [{ after: 230 }, [], true, false],
      [{ after: 9_999 }, [], true, false],
      [{ around: 100, limit: 10 }, range(95, 104), true, true],
      [{ around: 100, limit: 1 }, [100], true, true],
      [{ around: 1, limit: 10 }, range(1, 5), false, true],
      [{ around: 230, limit: 10 }, range(225, 230), true, false],
      [{ around: 9_999, limit: 4 }, [229, 230], true, false],
    ])('[MS10] the page of %j', async (where, expected, before, after) => {
      const page = await history(where);
      expect(seqs(page)).toEqual(expected);
      expect({ before: page.before, after: page.after }).toEqual({ before, after });
    });

    test('[MS10] walking back page by page finds every message once', async () => {
      const found: number[] = [];
      for (let page = await history({ limit: 64 }); ; page = await history({ before: page.messages[0]!.seq, limit: 64 })) {
        found.unshift(...seqs(page));
        if (!page.before) break;
      }
      expect(found).toEqual(range(1, count));
    });

    test('[MS10] no page is larger than 100, and no place is before the beginning', async () => {
      for (const where of [{ limit: 101 }, { limit: 0 }, { limit: 1e9 }, { limit: -1 }, { limit: 1.5 }, { before: -1 }, { before: 0.5 }]) {
        await expect(history(where)).rejects.toMatchObject({ code: 'bad_request', extra: { path: `params.${Object.keys(where)[0]}` } });
      }
    });

    test('[MS10] before, after and around exclude each other', async () => {
      await expect(history({ before: 5, after: 1 })).rejects.toMatchObject({ code: 'bad_request' });
      await expect(history({ around: 5, after: 1 })).rejects.toMatchObject({ code: 'bad_request' });
      await expect(history({ around: 5, at: 1 })).rejects.toMatchObject({ code: 'bad_request' });
    });
  });

  test('[MS10] an empty conversation has nothing on either side', async () => {
    const { anna, conversationId } = await place.direct();
    for (const where of [{}, { before: 10 }, { after: 0 }, { after: 10 }, { around: 5 }, { at: 0 }]) {
      expect(await anna.call('message.history', { conversationId, ...where })).toEqual({ messages: [], before: false, after: false });
    }
  });

  test('[MS10] a page has at most 256 KiB of text, ends early and says that there is more', async () => {
    const { anna, conversationId } = await place.direct();
    const text = '好'.repeat(limits.messageText);
    const fit = Math.floor(limits.pageBytes / Buffer.byteLength(text));
    for (let turn = 0; turn < 2 * fit + 2; turn += 1) await anna.say(conversationId, text);
    const last = 2 * fit + 2;
    const bytes = ({ messages }: { messages: Message[] }) => messages.reduce((sum, message) => sum + Buffer.byteLength(message.text), 0);
    const newest = await anna.call('message.history', { conversationId, limit: 100 });
    expect([seqs(newest), newest.before, newest.after]).toEqual([range(last - fit + 1, last), true, false]);
    const oldest = await anna.call('message.history', { conversationId, after: 0, limit: 100 });
    expect([seqs(oldest), oldest.before, oldest.after]).toEqual([range(1, fit), false, true]);
    const around = await anna.call('message.history', { conversationId, around: fit, limit: 100 });
    expect(bytes(around)).toBeLessThanOrEqual(limits.pageBytes);
    expect(seqs(around)).toContain(fit);
    expect([around.before, around.after]).toEqual([true, true]);
  });
});

describe.each(engines)('messages on %s, with time in our hands', (engine) => {
  let now = 1_790_000_000_000;
  const place = usePlace({ engine: engine === 'sqlite' ? 'sqlite-direct' : engine, now: () => now, config: { recallHours: 48 } });

  test('[MS1] a client id still names its message years later', async () => {
    const { anna, conversationId } = await place.direct();
    const first = await anna.say(conversationId, 'see you', 'the-same-for-ever');
    now += 3_650 * dayMs;
    expect(await anna.say(conversationId, 'see you', 'the-same-for-ever')).toEqual(first);
    await expect(anna.say(conversationId, 'hello again', 'the-same-for-ever')).rejects.toMatchObject({ code: 'client_id_reused' });
  });

  test('[MS12] a page around a time has the first message at or after it, and the newest where all are older', async () => {
    const { anna, conversationId } = await place.direct();
    const start = now;
    for (let n = 0; n < 20; n += 1) {
      await anna.say(conversationId, `n${n}`);
      // Two of each time: it is the first of them that is found.
      if (n % 2 === 1) now += dayMs;
    }
    const found = async (at: number) => (await anna.call('message.history', { conversationId, at, limit: 2 })).messages.at(-1)?.seq;
    expect(await found(0)).toBe(1);
    expect(await found(start)).toBe(1);
    expect(await found(start + 1)).toBe(3);
    expect(await found(start + 4 * dayMs)).toBe(9);
    expect(await found(start + 4 * dayMs - 1)).toBe(9);
    expect(await found(start + 9 * dayMs)).toBe(19);
    expect(await found(start + 9 * dayMs + 1)).toBe(20);
  });

  test('[MS4] the time of a message is never before that of the message ahead of it', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const at: number[] = [];
    for (const step of [0, 5, -hourMs, 10, -10 * dayMs, 11 * dayMs]) {
      now += step;
      at.push((await (at.length % 2 ? anna : bert).say(conversationId)).at);
    }
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect(at.at(-1)).toBe(now);
    const { messages } = await anna.call('message.history', { conversationId });
    expect(messages.map((message) => message.at)).toEqual(at);
  });

  test('[MS8] after 48 hours it is too late to edit', async () => {
    const { anna, conversationId } = await place.direct();
    const { id } = await anna.say(conversationId);
    now += 48 * hourMs;
    expect((await anna.call('message.edit', { messageId: id, text: 'just in time' })).message.editedAt).toBe(now);
    now += 1;
    await expect(anna.call('message.edit', { messageId: id, text: 'too late' })).rejects.toMatchObject({ code: 'too_late' });
  });

  test('[MS9] after 48 hours it is too late for members to recall, never for owners and admins', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    await anna.call('member.role', { conversationId, userId: cleo.id, role: 'admin' });
    const [hers, his, another] = [await anna.say(conversationId), await bert.say(conversationId), await bert.say(conversationId)];
    now += 48 * hourMs;
    expect((await bert.call('message.delete', { messageId: another.id })).message.deletedAt).toBe(now);
    now += 1;
    await expect(bert.call('message.delete', { messageId: his.id })).rejects.toMatchObject({ code: 'too_late' });
    now += 3_650 * dayMs;
    expect((await cleo.call('message.delete', { messageId: his.id })).message.deletedBy).toBe(cleo.id);
    expect((await anna.call('message.delete', { messageId: hers.id })).message.deletedBy).toBe(anna.id);
  });
});
