import { limits } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { type Quota } from '../../src/core/quotas.ts';
import { keyOf } from '../../src/core/tries.ts';
import { type Someone, clientId, engines, unique, usePlace } from './place.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

describe.each(engines)('what one person does within a time, on %s', (engine) => {
  let time = Date.now();
  const place = usePlace({ engine, now: () => time, config: { rateLimits: true } });

  const somebody = async () => (await place.server.guest()).id;
  const create = (anna: Someone) => anna.call('conversation.create', { title: 'Club', memberIds: [] });
  /** Of each: how often, within what time, and the act itself, which begins with a person of its own. */
  const quotas: Record<Quota, { most: number; within: number; act: (anna: Someone) => (() => Promise<unknown>) | Promise<() => Promise<unknown>> }> = {
    groupsPerHour: { most: limits.groupsPerHour, within: hour, act: (anna) => () => create(anna) },
    groupsPerDay: { most: limits.groupsPerDay, within: day, act: (anna) => () => create(anna) },
    addedPerHour: {
      most: limits.addedPerHour,
      within: hour,
      async act(anna) {
        const conversationId = (await create(anna)).conversation.id;
        return async () => anna.call('member.add', { conversationId, userIds: [await somebody()] });
      },
    },
    strangersPerHour: { most: limits.strangersPerHour, within: hour, act: (anna) => async () => anna.call('friend.request', { userId: await somebody() }) },
    uploadsPerHour: { most: limits.uploadsPerHour, within: hour, act: (anna) => () => anna.call('file.reserve', { name: 'a.txt', size: 1 }) },
    uploadKibPerDay: { most: limits.uploadKibPerDay, within: day, act: (anna) => () => anna.call('file.reserve', { name: 'a.txt', size: 1_024 }) },
    renamesPerMinute: { most: limits.renamesPerMinute, within: minute, act: (anna) => () => anna.call('user.update', { name: unique('Anna') }) },
    comingsPerMinute: {
      most: limits.comingsPerMinute,
      within: minute,
      async act(anna) {
        const { conversation } = await (await place.operator()).call('room.create', { title: 'Stadium' });
        let inside = false;
        return async () => {
          await anna.call(inside ? 'conversation.leave' : 'room.join', { conversationId: conversation.id });
          inside = !inside;
        };
      },
    },
  };
  const names = Object.keys(quotas) as Quota[];

  const points = async (quota: Quota, anna: Someone) =>
    Number((await place.rows.run<{ points: number }>('select points from tries where key = ?', keyOf(quota, anna.id)))[0]?.points ?? 0);
  const hits = async (quota: Quota) => {
    const { values } = await place.server.running.metrics.registry.getSingleMetric('kith_limit_hits_total')!.get();
    return values.find(({ labels }) => labels['limit'] === quota)!.value;
  };

  test.each(names)('[LI4] %s is refused beyond its number, with the time to wait, and goes on after it', async (quota) => {
    const { most, within, act } = quotas[quota];
    const anna = await place.person();
    const again = await act(anna);
    await again();
    await place.rows.run(`update tries set points = ${most - 1} where key = ?`, keyOf(quota, anna.id));
    await again();
    const before = await hits(quota);
    const refusal = await again().then(undefined, (error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'rate_limited', message: expect.stringContaining(String(most)), extra: { retryAfterMs: expect.any(Number) } });
    const { retryAfterMs } = (refusal as { extra: { retryAfterMs: number } }).extra;
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(within);
    expect(await hits(quota)).toBe(before + 1);
    // What is refused does not count, and is not there either.
    expect(await points(quota, anna)).toBe(most);
    // Others are not held up by it.
    await (
      await act(await place.person())
    )();
    time += within;
    await again();
    expect(await points(quota, anna)).toBe(1);
  });

  test('[LI4] what is asked for again, fails for another reason, or changes nothing costs nothing', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const group = { title: 'Club', memberIds: [bert.id], clientId: clientId() };
    const first = await anna.call('conversation.create', group);
    expect(await anna.call('conversation.create', group)).toEqual(first);
    await anna.call('member.add', { conversationId: first.conversation.id, userIds: [bert.id] });
    await expect(anna.call('conversation.direct', { userId: bert.id })).rejects.toMatchObject({ code: 'not_friends' });
    await anna.call('friend.request', { userId: bert.id });
    await anna.call('friend.request', { userId: bert.id });
    await anna.call('user.update', { bio: 'Hello' });
    expect(await Promise.all((['groupsPerHour', 'addedPerHour', 'strangersPerHour', 'renamesPerMinute'] as const).map((quota) => points(quota, anna)))).toEqual([1, 1, 1, 0]);
  });

  test('[LI4] whoever is here for three days writes to as many strangers as they like', async () => {
    const anna = await place.person();
    const bert = await place.person();
    await bert.call('user.update', { accepts: 'anyone' });
    await anna.call('conversation.direct', { userId: bert.id });
    expect(await points('strangersPerHour', anna)).toBe(1);
    // Those whom one knows are no strangers, nor is one oneself.
    await place.server.befriend(anna, bert);
    await anna.call('conversation.direct', { userId: anna.id });
    expect(await points('strangersPerHour', anna)).toBe(2);
    time += limits.newAccountMs;
    await anna.call('friend.request', { userId: await somebody() });
    expect(await points('strangersPerHour', anna)).toBe(2);
  });
});
