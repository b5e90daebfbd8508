import { type MethodName, limits, methods } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { type Stage, matrix } from '../permissions.ts';
import { type Place, type Someone, engines, password, unique, usePlace } from './place.ts';

const sensitive = (Object.keys(methods) as MethodName[]).filter((method) => methods[method].sensitive);

/** As if the person of this session had shown who they are so long ago. */
const age = (place: Place, { sessionId }: { sessionId: string }, ms = limits.confirmedMs + 1) =>
  place.rows.run(`update sessions set confirmed_at = ${Date.now() - ms} where id = ?`, sessionId);

const refused = { code: 'confirm_required' };

describe.each(engines)('what is sensitive on %s', (engine) => {
  const place = usePlace({ engine });

  test('[AU20] is what changes how one signs in, ends an account, or is an operator’s', () => {
    expect(sensitive).toEqual(expect.arrayContaining(['user.changePassword', 'user.delete', ...Object.keys(methods).filter((method) => method.startsWith('admin.'))]));
  });

  test.each(sensitive)('[AU20] %s waits for who shows once more who they are, and has done nothing', async (method) => {
    const operator = await place.operator();
    const { anna, bert, conversationId } = await place.group();
    const actor = methods[method].access === 'operator' ? operator : anna;
    const params = matrix[method].params({ anna: bert, bert, stranger: bert, actor, conversationId } as unknown as Stage);
    await age(place, actor);
    const before = await place.head(`user:${bert.id}`);
    await expect(actor.call(method, params as never)).rejects.toMatchObject(refused);
    await expect(place.server.call(method, params as never, actor.token)).rejects.toMatchObject(refused);
    expect(await place.head(`user:${bert.id}`)).toEqual(before);
    await actor.call('auth.confirm', { password: actor.password! });
    // Now it is the method's own to answer.
    expect((await actor.client.request(method, params)).error?.code).not.toBe('confirm_required');
  });

  test('[AU20] it counts for ten minutes, from sign-in and from each time on, for one session alone', async () => {
    const anna = await place.person();
    const phone = await place.device(anna);
    const change = (person: Someone) => person.call('user.changePassword', { password: 'not the password', newPassword: 'another good one' });
    for (const [ms, code] of [
      [0, 'wrong_credentials'],
      [limits.confirmedMs - 60_000, 'wrong_credentials'],
      [limits.confirmedMs + 1, 'confirm_required'],
    ] as const) {
      await age(place, anna, ms);
      await expect(change(anna)).rejects.toMatchObject({ code });
    }
    await age(place, phone);
    const { until } = await anna.call('auth.confirm', { password });
    expect(Math.abs(until - Date.now() - limits.confirmedMs)).toBeLessThan(60_000);
    await expect(change(anna)).rejects.toMatchObject({ code: 'wrong_credentials' });
    await expect(change(phone)).rejects.toMatchObject(refused);
  });

  test('[AU20] who has nothing to show is not asked', async () => {
    const guest = await place.guest();
    await age(place, guest);
    expect(await place.server.call('user.delete', {}, guest.token)).toEqual({});
  });

  test('[AU21] a wrong password, or none, shows nothing', async () => {
    const anna = await place.person();
    await age(place, anna);
    for (const given of [{ password: 'not the password' }, {}]) await expect(anna.call('auth.confirm', given)).rejects.toMatchObject({ code: 'wrong_credentials' });
    await expect(anna.call('user.delete', { password })).rejects.toMatchObject(refused);
  });
});

describe('guessing who one is', () => {
  const place = usePlace({ engine: 'sqlite', config: { rateLimits: true } });

  test('[AU21] is limited as at sign-in', async () => {
    const anna = await place.person(unique('anna'));
    for (let turn = 1; turn <= 6; turn += 1) await expect(anna.call('auth.confirm', { password: 'a wrong guess' })).rejects.toMatchObject({ code: 'wrong_credentials' });
    await expect(anna.call('auth.confirm', { password })).rejects.toMatchObject({ code: 'rate_limited' });
    await expect(place.server.login(anna)).rejects.toMatchObject({ code: 'rate_limited' });
  });
});
