import { limits, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { fromBase32, totp } from '../../src/core/totp.ts';
import type { HttpAnswer, Person } from '../harness.ts';
import { unique, usePlace } from './place.ts';

// A session keeps its id and changes its token: packages/server/src/core/session-tokens.ts.

const hourMs = 3_600_000;
let time = Date.UTC(2026, 10, 1);

describe.each(['sqlite-direct', 'postgres'] as const)('tokens of a session on %s', (engine) => {
  const place = usePlace({ engine, now: () => time, config: { heartbeatMs: 120_000 } });

  /** As a page of ours asks. @param cookie  Of its browser. */
  const renew = (cookie: string): Promise<HttpAnswer> => place.server.post('session.renew', {}, { headers: { origin: place.server.url, cookie: `kith=${cookie}` } });
  const cookieIn = ({ headers }: HttpAnswer): string => /^kith=([^;]+); Max-Age=15552000; Path=\/; HttpOnly; SameSite=Lax$/.exec(headers['set-cookie']![0]!)![1]!;
  /** Asks for a new one, which comes. */
  const renewed = async (cookie: string): Promise<string> => {
    const answer = await renew(cookie);
    expect([answer.status, answer.text]).toEqual([200, '{"renewed":true}']);
    return cookieIn(answer);
  };
  const isGood = async (token: string): Promise<boolean> => {
    const answer = await place.server.post('session.list', {}, { token });
    expect([200, 401]).toContain(answer.status);
    return answer.status === 200;
  };
  const person = (): Promise<Person> => place.server.register(unique('anna'));
  const pass = (ms: number): void => void (time += ms);

  test('[AU45] a browser has its cookie exchanged after a day, and no sooner; the session stays the same one', async () => {
    const { token, sessionId } = await person();
    pass(limits.tokenMs - 1);
    const early = await renew(token);
    expect([early.status, early.text, early.headers['set-cookie']]).toEqual([200, '{"renewed":false}', undefined]);
    pass(1);
    const next = await renewed(token);
    expect(next).not.toBe(token);
    const { current, sessions } = (await place.server.post('session.list', {}, { token: next })).json<{ current: string; sessions: unknown[] }>();
    expect([current, sessions.length]).toEqual([sessionId, 1]);
    // Only a hash of it is kept, as of every other.
    expect(JSON.stringify(await place.rows.run('select * from session_tokens'))).not.toContain(next);
    pass(limits.tokenOverlapMs);
    expect(await isGood(next)).toBe(true);
    pass(limits.tokenMs - 1);
    expect((await renew(next)).text).toBe('{"renewed":false}');
  });

  test('[AU46] the one before is good until the new one was used, and a minute longer', async () => {
    const { token } = await person();
    pass(limits.tokenMs);
    const next = await renewed(token);
    // Used at once, it may not be on the disk yet of a machine that stops now.
    expect(await isGood(next)).toBe(true);
    pass(20 * hourMs);
    expect(await isGood(token)).toBe(true);
    const socket = await place.server.connect({ token });
    expect(await isGood(next)).toBe(true);
    pass(limits.tokenOverlapMs - 1);
    expect(await isGood(token)).toBe(true);
    pass(1);
    expect(await isGood(token)).toBe(false);
    // Connections are of the session, not of the token.
    await socket.call('session.list', {});
    expect(await isGood(next)).toBe(true);
  });

  test('[AU46] an answer that is lost signs nobody out, however many are, and in whatever order they come', async () => {
    const { token } = await person();
    pass(limits.tokenMs);
    const lost: string[] = [];
    for (let times = 0; times < 8; times += 1) {
      lost.push(await renewed(token));
      // Two tabs at once: the second is told to wait.
      expect((await renew(token)).text).toBe('{"renewed":false}');
      pass(limits.tokenOverlapMs);
    }
    expect(await isGood(token)).toBe(true);
    // The latest came first, was used, and was then written over by an older one.
    expect(await isGood(lost.at(-1)!)).toBe(true);
    pass(hourMs);
    expect(await isGood(token)).toBe(false);
    expect(await isGood(lost.at(-3)!)).toBe(true);
    expect(await Promise.all([1, 2, 3].map(() => isGood(lost.at(-3)!)))).toEqual([true, true, true]);
    // No more than five wait.
    expect(await isGood(lost[0]!)).toBe(false);
    pass(limits.tokenMs);
    await place.server.running.core.sweepSessions();
    expect(await isGood(lost.at(-2)!)).toBe(false);
    expect(await isGood(lost.at(-3)!)).toBe(true);
  });

  test('[AU46] none of them outlives the session', async () => {
    const anna = await person();
    pass(limits.tokenMs);
    const next = await renewed(anna.token);
    pass(limits.tokenOverlapMs);
    expect(await isGood(next)).toBe(true);
    await place.server.call('auth.logout', {}, anna.token);
    expect([await isGood(anna.token), await isGood(next)]).toEqual([false, false]);
    pass(2 * limits.tokenMs);
    await place.server.running.core.sweepSessions();
    expect(await place.rows.run('select hash from session_tokens')).toEqual([]);
  });

  test('[AU47] over a socket no token is told, because a page would get it; a program may ask over HTTP, and one that never does keeps its own', async () => {
    const anna = await person();
    const client = await place.server.connect(anna);
    pass(limits.tokenMs);
    expect(await client.call('session.renew', {})).toEqual({ renewed: false });
    const answer = await place.server.post('session.renew', {}, { token: anna.token });
    expect(answer.json()).toEqual({ renewed: true, token: expect.stringMatching(/^kith_/) });
    expect(answer.headers['set-cookie']).toBeUndefined();
    const keeper = await person();
    for (let days = 0; days < 160; days += 20) {
      pass(20 * 24 * hourMs);
      expect(await isGood(keeper.token)).toBe(true);
    }
  });

  test('[AU48] after another password or factor the session that did it gets another token at once, and all others are over after a password', async () => {
    const anna = await place.person();
    const other = await place.server.login(anna);
    await anna.call('user.changePassword', { password: anna.password!, newPassword: 'another horse battery' });
    expect(await isGood(other.token)).toBe(false);
    const next = await renewed(anna.token);
    pass(limits.tokenOverlapMs);
    expect(await isGood(next)).toBe(true);
    pass(limits.tokenOverlapMs);
    expect(await isGood(anna.token)).toBe(false);
    expect((await renew(next)).text).toBe('{"renewed":false}');
    const { secret, ticket } = await place.server.call('app.begin', {}, next);
    await place.server.call('app.add', { secret, ticket, code: totp(fromBase32(secret), Math.floor(time / 30_000)) }, next);
    expect(cookieIn(await renew(next))).not.toBe(next);
  });

  test('[AU49] an operator’s session unused for 12 hours is over, with everything that hangs on it; those of others are not', async () => {
    const operator = await place.operator();
    const phone = await place.server.login(operator);
    const anna = await person();
    // With a connection it is in use.
    pass(11 * hourMs);
    await place.server.running.core.sweepSessions();
    // Other nodes know nothing of that connection: for them it is written down in time.
    const used = await place.rows.run<{ used_at: number | string }>('select used_at from sessions where id = ?', operator.sessionId);
    expect(Number(used[0]!.used_at)).toBe(time);
    pass(2 * hourMs);
    await place.server.running.core.sweepSessions();
    expect(await isGood(operator.token)).toBe(true);
    expect(await isGood(phone.token)).toBe(false);
    expect(await isGood(anna.token)).toBe(true);
    await operator.settle();
    expect(operator.pushes(userStream(operator.id)).flatMap(({ entities }) => entities)).toContainEqual(
      expect.objectContaining({ kind: 'session', id: phone.sessionId, endedAt: time }),
    );
    // Refused the moment it is over, before anybody has swept.
    const again = await place.server.login(operator);
    pass(12 * hourMs + 1);
    expect(await isGood(again.token)).toBe(false);
  });
});
