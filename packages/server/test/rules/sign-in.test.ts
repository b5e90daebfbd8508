import { createHash, createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { type RequestError, isNameText, limits, userStream } from '@kith/protocol';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SignInLimits } from '../../src/core/sign-in-limits.ts';
import type { Database } from '../../src/db/db.ts';
import { openDatabase } from '../../src/db/open.ts';
import type { TestServer } from '../harness.ts';
import { createTestDatabase } from '../postgres.ts';
import { type Someone, engines, password, unique, usePlace } from './place.ts';

const hourMs = 3_600_000;

describe.each(engines)('signing in on %s', (engine) => {
  const place = usePlace({ engine });
  const register = (handle: string, given = password) => place.server.call('auth.register', { handle, password: given, name: 'Anna' });

  test('[AU1] registering makes an account and signs in', async () => {
    const handle = unique('anna');
    const { user, token, sessionId } = await place.server.call('auth.register', { handle, password, name: 'Anna', avatar: 'salt-1', device: 'her laptop' });
    expect(user).toMatchObject({ kind: 'user', handle, name: 'Anna', avatar: 'salt-1', guest: false, operator: false });
    expect(await place.server.call('session.list', {}, token)).toMatchObject({ current: sessionId, sessions: [{ id: sessionId, device: 'her laptop', endedAt: null }] });
    expect(await place.rows.run('select password, token_hash from users join sessions on user_id = users.id where users.id = ?', user.id)).toEqual([
      { password: expect.stringMatching(/^\$argon2id\$v=19\$m=64,t=1,p=1\$/), token_hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
  });

  test('[AU1] a handle is 2 to 32 of a-z, 0-9, _, . and -', async () => {
    for (const handle of ['ab', 'x'.repeat(limits.handleMax), '_.-', '0x', 'a.b-c_d']) expect((await register(handle)).user.handle).toBe(handle);
    for (const handle of [
      'a',
      '',
      'x'.repeat(limits.handleMax + 1),
      'Anna',
      'an na',
      'anna ',
      ' anna',
      'аnna',
      'anna\n',
      'änna',
      'ａｎｎａ',
      'i̇d',
      'a/b',
      'a@b',
      'a\u0000b',
      'anna\u200b',
    ]) {
      await expect(register(handle)).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.handle' } });
    }
  });

  test('[AU1] a password is 10 to 128 units, of any kind and none cut off', async () => {
    for (const given of ['8351960274', 'p'.repeat(64) + 'q'.repeat(64), 'пароль длинный', ' leading and trailing ']) {
      const handle = unique('anna');
      await register(handle, given);
      expect((await place.server.call('auth.login', { handle, password: given })).user.handle).toBe(handle);
      for (const other of [given.slice(0, -1), given.trim().slice(0, 9), given.toUpperCase() === given ? `${given}x`.slice(-11) : given.toUpperCase()]) {
        await expect(place.server.call('auth.login', { handle, password: other })).rejects.toMatchObject({ code: 'wrong_credentials' });
      }
    }
    for (const given of ['123456789', '', 'p'.repeat(limits.passwordMax + 1), 'p'.repeat(60_000)]) {
      await expect(register(unique('anna'), given)).rejects.toMatchObject({ code: 'bad_request', extra: { path: 'params.password' } });
    }
  });

  test('[AU1] a taken handle is handle_taken, also when two register it at once', async () => {
    const handle = unique('anna');
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => register(handle)));
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(refused).toHaveLength(3);
    for (const reason of refused) expect(reason).toMatchObject({ code: 'handle_taken' });
    expect(await place.rows.run('select count(*) as n from users where handle = ?', handle)).toEqual([{ n: 1 }]);
  });

  test.each(['admin', 'system', 'everyone', 'here', 'support', 'kith', 'operator', 'root'])('[AU1] %s is reserved', async (handle) => {
    await expect(register(handle)).rejects.toMatchObject({ code: 'handle_taken' });
    const guest = await place.server.guest();
    await expect(place.server.call('auth.claim', { handle, password }, guest.token)).rejects.toMatchObject({ code: 'handle_taken' });
  });

  test('[AU2] a wrong password and an unknown handle are answered alike', async () => {
    const anna = await place.server.register(unique('anna'), { password });
    const answers = await Promise.all(
      [anna.handle!, unique('nobody'), 'Not A Handle?'].slice(0, 2).map((handle) => place.server.post('auth.login', { handle, password: 'not the password' })),
    );
    expect([answers[0]!.status, answers[0]!.error]).toEqual([401, 'wrong_credentials']);
    expect([answers[1]!.status, answers[1]!.text]).toEqual([answers[0]!.status, answers[0]!.text]);
  });

  test('[AU2] a password that is too short to be one is wrong like any other', async () => {
    const anna = await place.server.register(unique('anna'), { password });
    await expect(place.server.call('auth.login', { handle: anna.handle!, password: 'x' })).rejects.toMatchObject({ code: 'wrong_credentials' });
  });

  test('[AU2] deleted and disabled accounts are answered as if there were none', async () => {
    const operator = await place.operator();
    const [gone, disabled] = await Promise.all([place.server.register(unique('gone'), { password }), place.server.register(unique('off'), { password })]);
    await place.server.call('user.delete', { password }, gone.token);
    await operator.call('admin.disable', { userId: disabled.id, disabled: true });
    await expect(place.server.call('auth.login', { handle: disabled.handle!, password })).rejects.toMatchObject({ code: 'wrong_credentials' });
    await expect(place.server.call('auth.login', { handle: gone.handle!, password: 'not the password' })).rejects.toMatchObject({ code: 'wrong_credentials' });
  });

  test('[AU4] a guest is a real user with a token and no password', async () => {
    const { anna } = await place.friends();
    const guest = await place.guest('Gast');
    expect(guest.user).toMatchObject({ handle: null, guest: true, operator: false, name: 'Gast' });
    await guest.call('friend.request', { userId: anna.id });
    await anna.call('friend.accept', { userId: guest.id });
    const { conversation } = await guest.call('conversation.direct', { userId: anna.id });
    expect((await guest.say(conversation.id)).senderId).toBe(guest.id);
    expect(await place.rows.run('select handle, password, guest from users where id = ?', guest.id)).toEqual([{ handle: null, password: null, guest: 1 }]);
    await expect(guest.call('user.changePassword', { password: '-', newPassword: password })).rejects.toMatchObject({ code: 'wrong_credentials' });
  });

  test('[AU4] guests of one name are different people: a name is no address', async () => {
    const anna = await place.person();
    const [first, second] = [await place.guest('Gast'), await place.guest('Gast')];
    for (const guest of [first, second]) await place.server.befriend(guest, anna);
    const { conversation } = await first.call('conversation.direct', { userId: anna.id });
    await anna.say(conversation.id, 'only for the first');
    await second.settle();
    expect(JSON.stringify(second.client.frames)).not.toContain(conversation.id);
    await expect(second.call('message.history', { conversationId: conversation.id })).rejects.toMatchObject({ code: 'not_a_member' });
  });

  test('[AU4] claiming gives a guest a handle and a password; id, session, friends and messages stay', async () => {
    const anna = await place.person();
    const guest = await place.guest('Gast');
    await place.server.befriend(guest, anna);
    const { conversation } = await guest.call('conversation.direct', { userId: anna.id });
    const message = await guest.say(conversation.id, 'as a guest');
    const handle = unique('claimed');
    const { user } = await guest.call('auth.claim', { handle, password });
    expect(user).toMatchObject({ id: guest.id, handle, guest: false, name: 'Gast' });
    const phone = await place.device({ handle, password });
    expect(phone.id).toBe(guest.id);
    expect((await phone.call('message.history', { conversationId: conversation.id })).messages).toEqual([message]);
    const { entities } = await phone.call('stream.snapshot', { stream: userStream(guest.id) });
    expect(entities).toContainEqual(expect.objectContaining({ kind: 'friend', userId: anna.id, state: 'friends' }));
    await guest.say(conversation.id, 'with the same session');
  });

  test('[AU4] only guests are claimed, once, and not with a handle that is taken', async () => {
    const anna = await place.person();
    const guest = await place.guest();
    await expect(guest.call('auth.claim', { handle: anna.handle!, password })).rejects.toMatchObject({ code: 'handle_taken' });
    await guest.call('auth.claim', { handle: unique('claimed'), password });
    for (const person of [guest, anna]) await expect(person.call('auth.claim', { handle: unique('again'), password })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[AU4] of two who claim one handle at once one gets it, and the other is told', async () => {
    for (let turn = 0; turn < 5; turn += 1) {
      const guests = await Promise.all([1, 2, 3].map(() => place.guest()));
      const handle = unique('wanted');
      const errors = (await Promise.all(guests.map((guest) => guest.client.request('auth.claim', { handle, password })))).flatMap(({ error }) => error?.code ?? []);
      expect(errors).toEqual(['handle_taken', 'handle_taken']);
    }
  });

  test('[AU6] a code is good for so many people, also when all come at once', async () => {
    const { code } = await (await place.operator()).call('admin.invite', { uses: 3, hours: 1 });
    const enter = () => place.server.call('auth.register', { handle: unique('invited'), password, name: 'Invited', invite: code });
    const results = await Promise.allSettled(Array.from({ length: 6 }, enter));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(results.flatMap((result) => (result.status === 'rejected' ? [(result.reason as RequestError).code] : []))).toEqual(Array.from({ length: 3 }, () => 'invite_required'));
  });

  test('[AU6] a code of somebody who is no operator any more lets nobody in', async () => {
    const second = await place.person();
    const operators = (on: boolean) => place.rows.run(`update users set operator = ${on ? 1 : 0} where id = ?`, second.id);
    await operators(true);
    const { code } = await second.call('admin.invite', { uses: 3, hours: 1 });
    const enter = () => place.server.call('auth.register', { handle: unique('invited'), password, name: 'Invited', invite: code });
    await enter();
    await operators(false);
    await expect(enter()).rejects.toMatchObject({ code: 'invite_required' });
    await operators(true);
    await (await place.operator()).call('admin.disable', { userId: second.id, disabled: true });
    await expect(enter()).rejects.toMatchObject({ code: 'invite_required' });
  });

  test('[AU1] what is too easy to guess is refused wherever a password is given', async () => {
    const anna = await place.person();
    const guest = await place.server.guest();
    const handle = unique('somebody');
    for (const given of ['aaaaaaaaaa', '\n'.repeat(10), '😀'.repeat(8), `${handle}123`]) {
      const refused = (path: string) => ({ code: 'bad_request', extra: { path: `params.${path}` } });
      await expect(place.server.call('auth.register', { handle, password: given, name: 'Anna' })).rejects.toMatchObject(refused('password'));
      await expect(place.server.call('auth.claim', { handle, password: given }, guest.token)).rejects.toMatchObject(refused('password'));
      const newPassword = given.replace(handle, anna.handle!);
      await expect(anna.call('user.changePassword', { password, newPassword })).rejects.toMatchObject(refused('newPassword'));
    }
    expect((await place.server.login(anna)).id).toBe(anna.id);
  });

  test('[AU7] changing the password needs the old one and ends all other sessions', async () => {
    const anna = await place.person();
    const [phone, tab] = [await place.device(anna), await place.connect(anna)];
    await expect(anna.call('user.changePassword', { password: 'not the password', newPassword: 'another good one' })).rejects.toMatchObject({ code: 'wrong_credentials' });
    await phone.settle();
    const { user } = await anna.call('user.changePassword', { password, newPassword: 'another good one' });
    expect(user.id).toBe(anna.id);
    expect((await phone.client.closed).code).toBe(4500);
    // The session that did it stays, in every tab.
    await Promise.all([anna.settle(), tab.settle()]);
    await expect(place.server.call('session.list', {}, phone.token)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect((await anna.call('session.list', {})).sessions.map(({ id }) => id)).toEqual([anna.sessionId]);
    await expect(place.server.login(anna)).rejects.toMatchObject({ code: 'wrong_credentials' });
    expect((await place.device({ handle: anna.handle, password: 'another good one' })).id).toBe(anna.id);
  });

  test('[AU8] signing out closes the connections of the session with 4500, and no others', async () => {
    const anna = await place.person();
    const [tab, phone] = [await place.connect(anna), await place.device(anna)];
    anna.client.send({ id: 'bye', method: 'auth.logout', params: {} });
    expect((await anna.client.closed).code).toBe(4500);
    expect((await tab.client.closed).code).toBe(4500);
    await phone.settle();
    expect(phone.pushes(userStream(anna.id)).at(-1)!.entities).toMatchObject([{ kind: 'session', id: anna.sessionId, endedAt: expect.any(Number) }]);
    await expectRefused(place.server, anna.token);
  });

  test('[AU8] a session revoked from another device is closed at once, and revoking it again changes nothing', async () => {
    const anna = await place.person();
    const phone = await place.device(anna);
    await anna.call('session.revoke', { sessionId: phone.sessionId });
    expect((await phone.client.closed).code).toBe(4500);
    await expectRefused(place.server, phone.token);
    const { version } = await place.head(userStream(anna.id));
    await anna.call('session.revoke', { sessionId: phone.sessionId });
    expect((await place.head(userStream(anna.id))).version).toBe(version);
  });

  test('[AU8] deleting the account closes all its connections with 4500', async () => {
    const anna = await place.person();
    const phone = await place.device(anna);
    await place.server.call('user.delete', { password }, anna.token);
    for (const connection of [anna, phone]) {
      expect((await connection.client.closed).code).toBe(4500);
      await expectRefused(place.server, connection.token);
    }
  });

  test('[AU8] an operator who disables an account closes its connections with 4501, and enabling it brings no session back', async () => {
    const operator = await place.operator();
    const anna = await place.person();
    const phone = await place.device(anna);
    await operator.call('admin.disable', { userId: anna.id, disabled: true });
    for (const connection of [anna, phone]) {
      expect((await connection.client.closed).code).toBe(4501);
      await expectRefused(place.server, connection.token);
    }
    await operator.call('admin.disable', { userId: anna.id, disabled: false });
    await expectRefused(place.server, anna.token);
    expect((await place.server.login(anna)).id).toBe(anna.id);
  });

  test('[AU8] an operator cannot disable themselves, and nobody else can disable anybody', async () => {
    const operator = await place.operator();
    const anna = await place.person();
    await expect(operator.call('admin.disable', { userId: operator.id, disabled: true })).rejects.toMatchObject({ code: 'bad_request' });
    await expect(anna.call('admin.disable', { userId: operator.id, disabled: true })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(operator.call('admin.disable', { userId: 'nobody', disabled: true })).rejects.toMatchObject({ code: 'not_found' });
  });

  test.each([
    ['unused for 30 days', 'used_at', 30],
    ['180 days old', 'created_at', 180],
  ] as const)('[AU9] a session %s is over', async (_what, column, days) => {
    const anna = await place.server.register(unique('anna'), { password });
    const since = (ago: number) => place.rows.run(`update sessions set ${column} = ${Date.now() - ago} where id = '${anna.sessionId}'`);
    await since(days * 24 * hourMs - hourMs);
    expect((await place.server.post('session.list', {}, { token: anna.token })).status).toBe(200);
    await since(days * 24 * hourMs + 1);
    await expectRefused(place.server, anna.token);
  });

  test('[AU9] using a session keeps it, and tells the other devices at most once an hour', async () => {
    const anna = await place.person();
    const phone = await place.server.login(anna);
    const stream = userStream(anna.id);
    await place.rows.run(`update sessions set used_at = ${Date.now() - 29 * 24 * hourMs} where id = '${phone.sessionId}'`);
    const { version } = await place.head(stream);
    for (let turn = 0; turn < 3; turn += 1) await place.server.call('session.list', {}, phone.token);
    await anna.settle();
    expect((await place.head(stream)).version).toBe(version + 1);
    const used = anna.pushes(stream).at(-1)!.entities[0]!;
    expect(used).toMatchObject({ kind: 'session', id: phone.sessionId });
    expect('usedAt' in used && used.usedAt).toBeGreaterThan(Date.now() - hourMs);
  });

  test('[AU9] the 21st session ends the one longest unused', async () => {
    const anna = await place.person();
    const phone = await place.device(anna);
    const sessions = [anna, phone];
    for (let turn = 3; turn <= limits.sessionsPerUser; turn += 1) sessions.push((await place.server.login(anna)) as Someone);
    // Not the oldest, but the one that nobody has used for the longest time.
    await place.rows.run(`update sessions set used_at = used_at - 60000 where id = '${phone.sessionId}'`);
    const newest = await place.server.login(anna);
    expect((await phone.client.closed).code).toBe(4500);
    await expectRefused(place.server, phone.token);
    await anna.settle();
    const { sessions: listed } = await anna.call('session.list', {});
    expect(listed).toHaveLength(limits.sessionsPerUser);
    expect(new Set(listed.map(({ id }) => id))).toEqual(new Set([...sessions.filter(({ sessionId }) => sessionId !== phone.sessionId), newest].map(({ sessionId }) => sessionId)));
  });

  test('[AU10] sessions are shown to their person and to nobody else', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const phone = await place.device(anna);
    expect((await anna.call('session.list', {})).sessions.map(({ id }) => id).sort()).toEqual([anna.sessionId, phone.sessionId].sort());
    expect((await bert.call('session.list', {})).sessions.map(({ id }) => id)).toEqual([bert.sessionId]);
    await phone.call('auth.logout', {}).catch(() => {});
    await anna.say(conversationId);
    await bert.settle();
    await anna.settle();
    const sessionsIn = (person: Someone): string[] => JSON.stringify(person.client.frames).match(/"kind":"session","id":"[^"]+"/g) ?? [];
    expect(sessionsIn(bert).filter((found) => !found.includes(bert.sessionId))).toEqual([]);
    expect(sessionsIn(anna).some((found) => found.includes(phone.sessionId))).toBe(true);
    await expect(bert.call('session.revoke', { sessionId: anna.sessionId })).rejects.toMatchObject({ code: 'not_found' });
    await expect(bert.call('session.revoke', { sessionId: 'no-such-session' })).rejects.toMatchObject({ code: 'not_found' });
    await anna.settle();
  });
});

/** The code with which a call is refused; undefined if it is not. */
const codeOf = (call: Promise<unknown>): Promise<string | undefined> =>
  call.then(
    () => undefined,
    (error: RequestError) => error.code,
  );

async function expectRefused(server: TestServer, token: string): Promise<void> {
  const answer = await server.post('session.list', {}, { token });
  expect([answer.status, answer.error]).toEqual([401, 'unauthenticated']);
  const socket = await server.socket();
  expect((await socket.request('hello', { token })).error!.code).toBe('unauthenticated');
  expect((await socket.closed).code).toBe(4500);
}

describe.each(engines)('guessing passwords on %s', (engine) => {
  const place = usePlace({ engine, config: { rateLimits: true, registrationsPerHour: 20 } });
  let anna: Someone;
  beforeAll(async () => {
    anna = await place.person();
  });

  test('[AU3] after 5 failures the account waits, even with the right password, and nobody else does', async () => {
    const bert = await place.server.register(unique('bert'), { password });
    const attempt = (handle: string, given: string) => place.server.post('auth.login', { handle, password: given });
    for (let turn = 1; turn <= 6; turn += 1) expect((await attempt(anna.handle!, 'a wrong guess')).error).toBe('wrong_credentials');
    for (const given of ['a wrong guess', password]) {
      const answer = await attempt(anna.handle!, given);
      expect([answer.status, answer.error, answer.headers['retry-after']]).toEqual([429, 'rate_limited', '1']);
      expect(answer.json<{ error: { retryAfterMs: number } }>().error.retryAfterMs).toBeLessThanOrEqual(1_000);
    }
    expect((await attempt(bert.handle!, password)).status).toBe(200);
    // Who is signed in stays so.
    await anna.settle();
  });

  test('[AU3] a name that does not exist waits like one that does', async () => {
    const handle = unique('nobody');
    const answers = [];
    for (let turn = 1; turn <= 7; turn += 1) answers.push((await place.server.post('auth.login', { handle, password: 'a wrong guess' })).error);
    expect(answers).toEqual([...Array.from({ length: 6 }, () => 'wrong_credentials'), 'rate_limited']);
  });

  test('[AU3] many guesses at once are no way around it', async () => {
    const bert = await place.server.register(unique('bert'), { password });
    const answers = await Promise.all(Array.from({ length: 30 }, () => place.server.post('auth.login', { handle: bert.handle!, password: 'a wrong guess' })));
    expect(answers.filter(({ error }) => error === 'wrong_credentials').length).toBeLessThanOrEqual(6);
    expect(answers.filter(({ error }) => error === 'rate_limited').length).toBeGreaterThanOrEqual(24);
  });

  test('[AU3] the old password is guessed as slowly where it is asked for again', async () => {
    const cleo = await place.person('cleo');
    for (let turn = 1; turn <= 6; turn += 1)
      await expect(cleo.call('user.changePassword', { password: 'a wrong guess', newPassword: password })).rejects.toMatchObject({ code: 'wrong_credentials' });
    await expect(cleo.call('user.delete', { password })).rejects.toMatchObject({ code: 'rate_limited' });
  });

  test('[AU52] what cannot be counted is refused, with the right password too; who is signed in writes on', async () => {
    const { anna: dora, conversationId } = await place.direct();
    const tries = (from: string, to: string) => place.rows.run(`alter table ${from} rename to ${to}`);
    const refused = async (method: string, params: object): Promise<boolean> => (await place.server.post(method, params)).status >= 500;
    await tries('tries', 'tries_away');
    try {
      expect(await refused('auth.login', { handle: dora.handle, password })).toBe(true);
      expect(await refused('auth.guest', { name: 'Gast' })).toBe(true);
      expect(await refused('auth.register', { handle: unique('emil'), name: 'Emil', password })).toBe(true);
      await expect(dora.call('auth.confirm', { password })).rejects.toMatchObject({ code: 'internal' });
      expect((await dora.say(conversationId)).seq).toBeGreaterThan(0);
    } finally {
      await tries('tries_away', 'tries');
    }
    expect((await place.server.login(dora)).user.id).toBe(dora.id);
  });

  test('[AU3] an address makes only so many accounts an hour', async () => {
    const made: (string | undefined)[] = [];
    for (let turn = 1; turn <= 21; turn += 1) made.push((await place.server.post('auth.guest', { name: 'Gast' })).error);
    expect(made).toContain(undefined);
    expect(made.at(-1)).toBe('rate_limited');
    expect((await place.server.post('auth.register', { handle: unique('late'), password, name: 'Late' })).error).toBe('rate_limited');
  });
});

describe.each(engines)('the wait, counted in %s', (engine) => {
  let db: Database;
  let release: () => Promise<void>;
  /** Two nodes, on one clock. */
  let nodes: [SignInLimits, SignInLimits];
  let now = 1_000_000;
  beforeAll(async () => {
    const data = await mkdtemp(join(tmpdir(), 'kith-tries-'));
    const server = engine === 'postgres' ? await createTestDatabase() : undefined;
    db = await openDatabase({ database: server?.url ?? 'sqlite', data });
    nodes = [0, 1].map(() => new SignInLimits({ db, now: () => now, on: true, registrationsPerHour: 3 })) as typeof nodes;
    release = async () => {
      await db.close();
      await rm(data, { recursive: true });
      await server?.drop();
    };
  });
  afterAll(() => release());
  // Nothing of before counts a day later.
  beforeEach(() => void (now += 90_000_000));

  let turns = 0;
  /** At one node after the other. */
  const node = (): SignInLimits => nodes[(turns += 1) % 2]!;

  test('[AU3] doubles with each failure, up to 15 minutes, and a success ends it', async () => {
    let addresses = 0;
    // Each from an address of its own, as those do it who own many machines.
    const attempt = () => node().requireMayTry('anna', `203.0.113.${(addresses += 1)}`);
    for (let turn = 1; turn <= 5; turn += 1) await attempt();
    for (const seconds of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]) {
      await attempt();
      await expect(attempt()).rejects.toMatchObject({ code: 'rate_limited', extra: { retryAfterMs: seconds * 1_000 } });
      await node().requireMayTry('bert', '192.0.2.1');
      await node().succeeded('bert', '192.0.2.1');
      now += seconds * 1_000;
    }
    await attempt();
    await node().succeeded('anna', '192.0.2.1');
    for (let turn = 1; turn <= 5; turn += 1) await attempt();
  });

  test('[AU3] is the same for many tries at once, at whichever node, as for one after the other', async () => {
    const tries = await Promise.allSettled(Array.from({ length: 30 }, () => node().requireMayTry('anna', '192.0.2.1')));
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(6);
  });

  test('[AU3] of an address comes after 30 failures, whatever names it tries, and counts no successes', async () => {
    for (let turn = 1; turn <= 40; turn += 1) {
      await node().requireMayTry(`right-${turn}`, '192.0.2.1');
      await node().succeeded(`right-${turn}`, '192.0.2.1');
    }
    for (let turn = 1; turn <= 30; turn += 1) await node().requireMayTry(`name-${turn}`, '192.0.2.1');
    await expect(node().requireMayTry('another-name', '192.0.2.1')).rejects.toMatchObject({ code: 'rate_limited' });
    await node().requireMayTry('another-name', '192.0.2.2');
    now += 15 * 60_000;
    await node().requireMayTry('another-name', '192.0.2.1');
  });

  test('[AU3] of an address for new accounts is the same at every node', async () => {
    const made = await Promise.allSettled(Array.from({ length: 8 }, () => node().requireMayRegister('192.0.2.1')));
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
  });

  test('[AU3] is kept without names and addresses, and no longer than it counts', async () => {
    await node().requireMayTry('carla-the-first', '198.51.100.7');
    const rows = () => db.read((q) => q.selectFrom('tries').selectAll().execute());
    expect((await rows()).length).toBeGreaterThan(0);
    expect(JSON.stringify(await rows())).not.toMatch(/carla|198\.51/);
    now += 90_000_000;
    await node().sweep();
    expect(await rows()).toEqual([]);
  });
});

const jwtKey = 'a secret of the other site, 32+ bytes';
const jwtKeyBefore = 'the secret that it had before, 32+ bytes';
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const inAnHour = (): number => Math.floor(Date.now() / 1_000) + 3_600;
type Claims = Record<string, unknown>;

function hmacJwt(claims: Claims, { alg = 'HS256', key = jwtKey, hash = 'sha256' } = {}): string {
  const body = `${part({ alg, typ: 'JWT' })}.${part({ aud: 'kith', exp: inAnHour(), ...claims })}`;
  return `${body}.${createHmac(hash, key).update(body).digest('base64url')}`;
}

describe.each(engines)('tokens of another site on %s', (engine) => {
  const place = usePlace({ engine, config: { registration: 'closed', jwtAlg: 'HS256', jwtKey, jwtKeyBefore, jwtAudience: 'kith', jwtIssuer: 'https://site.example' } });
  const iss = 'https://site.example';
  const exchange = (jwt: string) => place.server.call('auth.exchange', { jwt });

  test('[AU5] a JWT of the operator’s own site makes a user and signs in', async () => {
    const { user, token } = await exchange(hmacJwt({ iss, sub: 'anna@site', name: '  Anna   Site ' }));
    expect(user).toMatchObject({ handle: null, guest: false, operator: false, name: 'Anna Site' });
    expect((await place.server.call('session.list', {}, token)).sessions).toHaveLength(1);
  });

  test('[AU5] the same subject is the same user, another is another', async () => {
    const sub = unique('subject');
    const [first, again, other] = [
      await exchange(hmacJwt({ iss, sub })),
      await exchange(hmacJwt({ iss, sub, jti: '2' })),
      await exchange(hmacJwt({ iss, sub: unique('subject') })),
    ];
    expect(again.user.id).toBe(first.user.id);
    expect(again.token).not.toBe(first.token);
    expect(other.user.id).not.toBe(first.user.id);
  });

  test('[AU5] the same subject is one user also when it first comes twice at once', async () => {
    const sub = unique('subject');
    const both = await Promise.all([1, 2, 3].map((jti) => exchange(hmacJwt({ iss, sub, jti }))));
    expect(new Set(both.map(({ user }) => user.id)).size).toBe(1);
    expect(new Set(both.map(({ sessionId }) => sessionId)).size).toBe(3);
  });

  test('[AU5] while the other site changes its key, both are good; with the claims and for the one session that any is', async () => {
    const sub = unique('subject');
    const old = (claims: Claims) => hmacJwt({ iss, sub, ...claims }, { key: jwtKeyBefore });
    const jwt = old({});
    expect((await exchange(jwt)).user.id).toBe((await exchange(hmacJwt({ iss, sub, jti: '2' }))).user.id);
    for (const no of [
      jwt,
      old({ jti: '3', aud: 'another' }),
      old({ jti: '4', exp: 1 }),
      old({ jti: '5', iss: 'https://evil.test' }),
      hmacJwt({ iss, sub }, { key: `${jwtKeyBefore}!` }),
    ])
      await expect(exchange(no)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('[AU5] a JWT is good for one session, also when it comes twice at once', async () => {
    const jwt = hmacJwt({ iss, sub: unique('subject') });
    const results = await Promise.allSettled([exchange(jwt), exchange(jwt), exchange(jwt)]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await expect(exchange(jwt)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('[AU5] the algorithm is fixed, and exp, aud, iss and a subject are required', async () => {
    const sub = unique('subject');
    const none = `${part({ alg: 'none' })}.${part({ iss, aud: 'kith', exp: inAnHour(), sub })}.`;
    const good = hmacJwt({ iss, sub });
    const past = Math.floor(Date.now() / 1_000) - 60;
    const bad: Record<string, string> = {
      'no algorithm': none,
      'another algorithm': hmacJwt({ iss, sub }, { alg: 'HS512', hash: 'sha512' }),
      'another key': hmacJwt({ iss, sub }, { key: 'not the secret of the other site, at all' }),
      'no exp': hmacJwt({ iss, sub, exp: undefined }),
      'exp as text': hmacJwt({ iss, sub, exp: String(inAnHour()) }),
      expired: hmacJwt({ iss, sub, exp: past }),
      'not yet': hmacJwt({ iss, sub, nbf: inAnHour() }),
      'no aud': hmacJwt({ iss, sub, aud: undefined }),
      'another aud': hmacJwt({ iss, sub, aud: 'other' }),
      'no iss': hmacJwt({ sub }),
      'another iss': hmacJwt({ sub, iss: 'https://evil.example' }),
      'no subject': hmacJwt({ iss }),
      'a changed claim': good.replace(/\.[^.]+\./, `.${part({ iss, aud: 'kith', exp: inAnHour(), sub: 'somebody else' })}.`),
      'no JWT': 'hello',
      empty: '',
      'parts of one': 'a.b.c',
    };
    for (const [what, jwt] of Object.entries(bad)) expect({ what, code: await codeOf(exchange(jwt)) }).toEqual({ what, code: 'unauthenticated' });
    expect(await place.rows.run('select id from users where external_id = ?', `${iss}|${sub}`)).toEqual([]);
    await exchange(good);
  });

  test('[AU5] a name that cannot be shown does not keep a person out', async () => {
    for (const name of ['a\u0000b', '\u202eevil', '   ', '', 7, { first: 'Anna' }, '👍'.repeat(40), `${'x'.repeat(63)}👍`]) {
      const { user } = await exchange(hmacJwt({ iss, sub: unique('subject'), name }));
      expect(user.name).not.toBe('');
      expect(user.name.isWellFormed()).toBe(true);
      expect(isNameText(user.name)).toBe(true);
    }
  });

  test('[AU5] an account that was disabled is not opened by another JWT', async () => {
    const sub = unique('subject');
    const { user } = await exchange(hmacJwt({ iss, sub }));
    const operator = await place.operator();
    await operator.call('admin.disable', { userId: user.id, disabled: true });
    await expect(exchange(hmacJwt({ iss, sub, jti: '2' }))).rejects.toMatchObject({ code: 'wrong_credentials' });
  });
});

describe.each(engines)('tokens signed with a private key on %s', (engine) => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const place = usePlace({ engine, config: { jwtAlg: 'EdDSA', jwtKey: pem, jwtAudience: 'kith' } });

  test('[AU5] the public key opens no door as if it were a secret', async () => {
    const body = `${part({ alg: 'EdDSA' })}.${part({ aud: 'kith', exp: inAnHour(), sub: 'anna' })}`;
    const jwt = `${body}.${sign(null, Buffer.from(body), privateKey).toString('base64url')}`;
    const forged = hmacJwt({ sub: 'anna' }, { key: pem });
    await expect(place.server.call('auth.exchange', { jwt: forged })).rejects.toMatchObject({ code: 'unauthenticated' });
    expect((await place.server.call('auth.exchange', { jwt })).user.name).toBe('anna');
  });
});

describe.each(engines)('invitations on %s', (engine) => {
  const place = usePlace({ engine, config: { registration: 'invite' } });
  const register = (invite?: string) => place.server.call('auth.register', { handle: unique('anna'), password, name: 'Anna', ...(invite !== undefined && { invite }) });

  test('[AU6] the set-up link makes the operator’s account, once, within an hour, while there is none', async () => {
    const { core } = place.server.running;
    const earlier = (await core.setupLink())!;
    const link = (await core.setupLink())!;
    expect(earlier).not.toBe(link);
    // A new one ends the one before.
    await expect(register(earlier)).rejects.toMatchObject({ code: 'invite_required' });
    const [{ expires_at: expiresAt }] = (await place.rows.run<{ expires_at: number }>('select expires_at from invites where operator = 1')) as [{ expires_at: number }];
    expect(Math.abs(expiresAt - Date.now() - hourMs)).toBeLessThan(60_000);
    await place.rows.run(`update invites set expires_at = ${Date.now() - 1}`);
    await expect(register(link)).rejects.toMatchObject({ code: 'invite_required' });
    await place.rows.run(`update invites set expires_at = ${expiresAt}`);
    // Two who have it at the same moment.
    const results = await Promise.allSettled([register(link), register(link)]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const made = results.find((result) => result.status === 'fulfilled')!.value;
    expect(made.user.operator).toBe(true);
    await expect(register(link)).rejects.toMatchObject({ code: 'invite_required' });
    expect(await core.setupLink()).toBeUndefined();

    // And what an operator is for.
    const { code, expiresAt: until } = await place.server.call('admin.invite', { uses: 2, hours: 1 }, made.token);
    expect(until).toBeGreaterThan(Date.now());
    expect((await register(code)).user.operator).toBe(false);
    expect((await place.server.call('auth.guest', { name: 'Gast', invite: code })).user.guest).toBe(true);
    await expect(register(code)).rejects.toMatchObject({ code: 'invite_required' });
  });

  test('[AU6] without a code, with a wrong one or one too old nobody registers', async () => {
    const before = await place.rows.run('select count(*) as n from users');
    for (const invite of [undefined, '', 'guessed', 'x'.repeat(64)]) await expect(register(invite)).rejects.toMatchObject({ code: 'invite_required' });
    await expect(place.server.call('auth.guest', { name: 'Gast' })).rejects.toMatchObject({ code: 'invite_required' });
    expect(await place.rows.run('select count(*) as n from users')).toEqual(before);
  });
});

describe.each(engines)('sessions that are over by age on %s', (engine) => {
  const place = usePlace({ engine, config: { heartbeatMs: 1_000 } });
  const dayMs = 24 * hourMs;
  const age = (column: 'used_at' | 'created_at', days: number, { sessionId }: { sessionId: string }) =>
    place.rows.run(`update sessions set ${column} = ${Date.now() - days * dayMs} where id = ?`, sessionId);

  test('[AU11] they end at the next heartbeat: connections close with 4500, the other devices are told, and they are listed no more', async () => {
    const anna = await place.person();
    const [old, unused] = [await place.device(anna), await place.server.login(anna)];
    await age('created_at', 181, old);
    await age('used_at', 31, unused);
    expect((await old.client.closed).code).toBe(4500);
    await expect.poll(async () => (await anna.call('session.list', {})).sessions.map(({ id }) => id)).toEqual([anna.sessionId]);
    const told = anna.pushes(userStream(anna.id)).flatMap(({ entities }) => entities);
    for (const { sessionId } of [old, unused])
      expect(told.findLast((entity) => entity.kind === 'session' && entity.id === sessionId)).toMatchObject({ endedAt: expect.any(Number) });
    await expectRefused(place.server, old.token);
  });

  test('[AU11] a session with a connection is in use', async () => {
    const anna = await place.person();
    await age('used_at', 31, anna);
    const { entities } = await anna.client.push((push) =>
      push.entities.some((entity) => entity.kind === 'session' && entity.id === anna.sessionId && entity.usedAt > Date.now() - hourMs),
    );
    expect(entities).toMatchObject([{ kind: 'session', endedAt: null }]);
    await anna.settle();
  });
});

describe.each(engines)('a server that takes no JWTs on %s', (engine) => {
  const place = usePlace({ engine, config: { registration: 'closed' } });

  test('[AU5] says so, whatever is sent', async () => {
    await expect(place.server.call('auth.exchange', { jwt: hmacJwt({ sub: 'anna' }) })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[AU6] and that is closed makes nobody’s account but the operator’s', async () => {
    const refused = async (invite?: string): Promise<void> => {
      await expect(place.server.call('auth.register', { handle: 'anna', password, name: 'Anna', invite })).rejects.toMatchObject({ code: 'forbidden' });
      await expect(place.server.call('auth.guest', { name: 'Gast', invite })).rejects.toMatchObject({ code: 'forbidden' });
    };
    await refused();
    const operator = await place.operator();
    expect(operator.user.operator).toBe(true);
    // Not by a code of the time before it was closed either, and there are no new ones.
    await place.rows.run(
      'insert into invites (code_hash, operator, uses_left, expires_at) values (?, 0, 5, ?)',
      createHash('sha256').update('a code').digest('hex'),
      Date.now() + hourMs,
    );
    await refused('a code');
    await expect(operator.call('admin.invite', {})).rejects.toMatchObject({ code: 'forbidden' });
  });
});
