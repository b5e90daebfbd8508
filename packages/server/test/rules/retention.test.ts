import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../manual-clock.ts';
import { clientId, engines, usePlace } from './place.ts';

const dayMs = 86_400_000;

describe.each(engines)('retention on %s', (engine) => {
  const clock = new ManualClock();
  let time = Date.now();
  const place = usePlace({ engine: engine === 'sqlite' ? 'sqlite-direct' : engine, clock, now: () => time, config: { retentionDays: 20 } });
  const tidyAll = async (): Promise<number> => {
    for (let rounds = 0; ; rounds += 1) if (!(await place.server.running.core.tidy())) return rounds;
  };
  const texts = async (conversationId: string) =>
    (await place.rows.run<{ text: string }>(`select text from messages where conversation_id = ? and type <> 'system' order by seq`, conversationId)).map(({ text }) => text);

  test('[RT1] who runs a group says how long its messages are kept, its members are told, and the shorter of group and server counts', async () => {
    const { anna, bert, conversationId, stream } = await place.group();
    await expect(bert.call('conversation.retention', { conversationId, days: 7 })).rejects.toMatchObject({ code: 'forbidden' });
    expect((await anna.call('conversation.retention', { conversationId, days: 7 })).conversation).toMatchObject({ retentionDays: 7 });
    await bert.settle();
    const told = bert.pushes(stream).at(-1)!.entities;
    expect(told).toContainEqual(expect.objectContaining({ kind: 'conversation', retentionDays: 7 }));
    expect(told).toContainEqual(expect.objectContaining({ kind: 'message', type: 'system', senderId: anna.id, event: { type: 'retention', days: 7 } }));
    const direct = (await anna.call('conversation.direct', { userId: anna.id })).conversation;
    await anna.say(direct.id, 'a note');
    await anna.say(conversationId, 'old');
    time += 6 * dayMs;
    await anna.say(conversationId, 'new');
    await tidyAll();
    expect(await texts(conversationId)).toEqual(['old', 'new']);
    time += 1 * dayMs + 1;
    await tidyAll();
    expect(await texts(conversationId)).toEqual(['', 'new']);
    // Longer than the server keeps anything: that counts for it, as for everything.
    await anna.call('conversation.retention', { conversationId, days: 300 });
    time += 20 * dayMs;
    await tidyAll();
    expect(await texts(conversationId)).toEqual(['', '']);
    expect(await texts(direct.id)).toEqual(['']);
    const after = await place.device({ handle: anna.handle, password: anna.password });
    expect((await after.call('conversation.retention', { conversationId, days: 0 })).conversation).not.toHaveProperty('retentionDays');
    await after.say(conversationId, 'later');
    time += 19 * dayMs;
    await tidyAll();
    expect((await texts(conversationId)).at(-1)).toBe('later');
  });

  test('[RT2] what is over is emptied for everybody, files with it, in slices between which others write', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const file = await place.server.upload(anna, Buffer.from('to be gone'));
    const { message } = await anna.call('message.send', { conversationId, clientId: clientId(), type: 'file', text: 'look', fileId: file.id });
    await place.fill(conversationId, bert, 450);
    await place.rows.run('update messages set at = ? where conversation_id = ?', time, conversationId);
    await place.rows.run('update streams set at = ? where id = ?', time, stream);
    time += 20 * dayMs + 1;
    let rounds = 0;
    while (await place.server.running.core.tidy()) {
      rounds += 1;
      await bert.call('draft.set', { conversationId, base: 0, text: `round ${rounds}` });
    }
    expect(rounds).toBeGreaterThan(3);
    await anna.settle();
    const emptied = anna.pushes(stream).map(({ entities }) => entities.filter((entity) => entity.kind === 'message' && entity.deletedAt !== undefined).length);
    expect(Math.max(...emptied)).toBe(100);
    expect(emptied.reduce((sum, count) => sum + count, 0)).toBe(451);
    const { messages } = await anna.call('message.history', { conversationId, around: message.seq, limit: 2 });
    const gone = messages.find(({ id }) => id === message.id)!;
    expect(gone).toMatchObject({ text: '', deletedAt: time });
    expect([gone.deletedBy, gone.file]).toEqual([undefined, undefined]);
    expect((await place.server.download(bert, file.id)).status).toBe(404);
    const folder = join(place.server.config.data, 'files');
    await vi.waitUntil(
      async () => {
        await clock.pass(60_000);
        return !existsSync(folder) || !readdirSync(folder, { recursive: true }).some((name) => String(name).includes(file.id));
      },
      { timeout: 20_000 },
    );
    // Sent again by a device that never heard of it: still the same one.
    const again = await anna.call('message.send', { conversationId, clientId: message.clientId!, type: 'file', text: 'look', fileId: file.id });
    expect(again.message.id).toBe(message.id);
  });

  test('[RT3] what was said in a group that nobody is in any more goes', async () => {
    const { anna, conversationId } = await place.group();
    await anna.say(conversationId, 'among us');
    await anna.call('conversation.dissolve', { conversationId });
    await tidyAll();
    expect(await texts(conversationId)).toEqual(['']);
  });
});
