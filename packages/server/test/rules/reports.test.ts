import { limits } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { PushService } from '../push-service.ts';
import { Place, type Someone, engines, usePlace } from './place.ts';

describe.each(engines)('reports on %s', (engine) => {
  const place = usePlace({ engine });

  test('[RP1] a report has who, whom, why and the latest messages, as they were when it was made', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    for (let n = 1; n <= limits.reportedMessages; n++) await anna.say(conversationId, `line ${n}`);
    const bad = await bert.say(conversationId, `${'x'.repeat(limits.reportedText - 1)}🍁 and on`);
    await cleo.call('report.send', { conversationId, userId: bert.id, reason: 'abuse', note: 'He goes on and on.' });
    await bert.call('message.delete', { messageId: bad.id });
    const operator = await place.operator();
    const { reports, open } = await operator.call('admin.reports', {});
    expect(open).toBeGreaterThan(0);
    const report = reports.find(({ about }) => about.id === bert.id)!;
    expect(report).toMatchObject({
      from: { id: cleo.id },
      about: { id: bert.id },
      conversation: { id: conversationId, type: 'group', title: 'Club' },
      reason: 'abuse',
      note: 'He goes on and on.',
      settledAt: null,
      names: { [anna.id]: anna.user.name, [bert.id]: bert.user.name },
    });
    expect(report.messages).toHaveLength(limits.reportedMessages);
    expect(report.messages[0]!.text).toBe('line 2');
    expect(report.messages.at(-1)).toMatchObject({ senderId: bert.id, text: `${'x'.repeat(limits.reportedText - 1)}…` });
  });

  test('[RP1] it is there after a restart, and while it is open the same report is not made twice', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const send = () => anna.call('report.send', { conversationId, userId: bert.id, reason: 'spam' });
    await Promise.all([send(), send()]);
    await send();
    const operator = await place.operator();
    const about = async (settled: boolean) => {
      const { reports } = await place.server.call('admin.reports', { settled }, operator.token);
      return reports.filter((report) => report.about.id === bert.id);
    };
    expect(await about(false)).toHaveLength(1);
    await place.server.restart();
    const [report] = await about(false);
    await place.server.call('admin.settle', { reportId: report!.id }, operator.token);
    await place.server.call('admin.settle', { reportId: report!.id }, operator.token);
    expect(await about(false)).toEqual([]);
    expect(await about(true)).toMatchObject([{ id: report!.id, settledBy: operator.id, settledAt: expect.any(Number) }]);
    // Settled is over: the next time is another.
    await place.server.call('report.send', { conversationId, userId: bert.id, reason: 'spam' }, anna.token);
    expect(await about(false)).toHaveLength(1);
  });

  test('[RP2] only of people of a conversation one is in, and nobody else hears of it', async () => {
    const [anna, bert, eve] = (await place.people('anna', 'bert', 'eve')) as [Someone, Someone, Someone];
    await place.server.befriend(anna, bert);
    const { conversation } = await anna.call('conversation.direct', { userId: bert.id });
    const report = (userId: string) => anna.call('report.send', { conversationId: conversation.id, userId, reason: 'other' });
    await expect(report(eve.id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(report('nobody')).rejects.toMatchObject({ code: 'not_found' });
    await expect(report(anna.id)).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.userId' } });
    await bert.settle();
    const heard = bert.heard().length;
    await report(bert.id);
    await bert.settle();
    expect(bert.heard()).toHaveLength(heard);
  });
});

test(
  '[RP4] operators are told how many reports are open when one comes and goes ([PU14] their devices, too, while they are away), and nobody else is',
  { timeout: 30_000 },
  async () => {
    const pushes = await new PushService().open();
    const one = new Place({ config: { pushHosts: pushes.url, pushIntervalMs: 1, pushDelayMs: 0, offlineGraceMs: 0 } });
    await one.open();
    try {
      const operator = await one.operator();
      const { anna, bert, cleo, conversationId } = await one.group();
      const [away, bystander] = [pushes.device(), pushes.device()];
      await operator.call('push.subscribe', away.subscription);
      await cleo.call('push.subscribe', bystander.subscription);
      const waiting = async () => (await one.server.call('report.waiting', {}, operator.token)).open;
      const told = async () => (await operator.client.signal(({ signal }) => signal === 'reports')).data;
      const report = (about: Someone) => anna.call('report.send', { conversationId, userId: about.id, reason: 'spam', note: 'a secret' });
      expect(await waiting()).toBe(0);
      await report(bert);
      expect(await told()).toEqual({ open: 1 });
      // Again it is the same, of which nobody hears.
      await report(bert);
      await report(cleo);
      expect(await told()).toEqual({ open: 2 });
      const { reports } = await operator.call('admin.reports', {});
      await operator.call('admin.settle', { reportId: reports[0]!.id });
      expect(await told()).toEqual({ open: 1 });
      expect(await waiting()).toBe(1);
      await expect(anna.call('report.waiting', {})).rejects.toMatchObject({ code: 'forbidden' });
      // Who is there is told there.
      await operator.settle();
      expect(away.pushes).toEqual([]);
      await operator.client.close();
      await expect.poll(() => one.rows.run('select user_id from presence where user_id = ?', operator.id)).toEqual([]);
      await bert.call('report.send', { conversationId, userId: anna.id, reason: 'abuse', note: 'a secret' });
      expect((await away.next()).payload).toEqual({ type: 'report', open: 2 });
      for (const person of [anna, bert, cleo]) {
        await person.settle();
        expect(person.heard().filter((frame) => 'signal' in frame)).toEqual([]);
      }
      expect([away.pushes.length, bystander.pushes.length]).toEqual([1, 0]);
    } finally {
      await one.close();
      await pushes.close();
    }
  },
);

test('[RP3] reports come by pages, the latest first', { timeout: 30_000 }, async () => {
  const one = new Place({});
  await one.open();
  try {
    const { anna, bert, cleo, conversationId } = await one.group();
    for (const [from, about] of [
      [anna, bert],
      [anna, cleo],
      [bert, cleo],
    ] as const)
      await from.call('report.send', { conversationId, userId: about.id, reason: 'spam' });
    const operator = await one.operator();
    const first = await operator.call('admin.reports', { limit: 2 });
    expect([first.reports.map(({ from }) => from.id), first.more, first.open]).toEqual([[bert.id, anna.id], true, 3]);
    const rest = await operator.call('admin.reports', { limit: 2, before: first.reports[1]!.id });
    expect([rest.reports.map(({ about }) => about.id), rest.more]).toEqual([[bert.id], false]);
  } finally {
    await one.close();
  }
});
