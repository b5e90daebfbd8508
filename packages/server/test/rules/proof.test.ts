import { type ErrorBody, type MethodName, type Security, limits, methods, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { Passwords } from '../../src/core/passwords.ts';
import { fromBase32, stepOf, toBase32, totp } from '../../src/core/totp.ts';
import { Authenticator } from '../authenticator.ts';
import { type Stage, matrix } from '../permissions.ts';
import { scenarioUrl } from '../scenarios.ts';
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
    const params = matrix[method].params({ anna: bert, bystander: bert, stranger: bert, userId: bert.id, actor, conversationId } as unknown as Stage);
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

describe('codes of an app', () => {
  const secret = Buffer.from('12345678901234567890');

  test.each([
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ])('[AU23] are those of RFC 6238 at second %i', (second, code) => {
    expect(totp(secret, Math.floor(second / 30), 8)).toBe(code);
    expect(totp(secret, Math.floor(second / 30))).toBe(code.slice(2));
  });

  test('[AU23] are taken for one step more on each side, each step once, however they are spaced', () => {
    const step = 40_000_000;
    const now = step * 30_000 + 12_345;
    for (const [distance, fits] of [
      [-2, undefined],
      [-1, step - 1],
      [0, step],
      [1, step + 1],
      [2, undefined],
    ] as const)
      expect(stepOf(secret, totp(secret, step + distance), now, 0)).toBe(fits);
    expect(stepOf(secret, totp(secret, step), now, step)).toBeUndefined();
    expect(stepOf(secret, totp(secret, step), now, step + 1)).toBeUndefined();
    expect(stepOf(secret, totp(secret, step + 1), now, step)).toBe(step + 1);
    const code = totp(secret, step);
    expect(stepOf(secret, ` ${code.slice(0, 3)} ${code.slice(3)}`, now, 0)).toBe(step);
    for (const wrong of ['', ' ', code.slice(1), `${code}0`, `0${code}`, code.replace(/./, 'x'), 'ⅹ'.repeat(6)]) expect(stepOf(secret, wrong, now, 0)).toBeUndefined();
  });

  test('[AU23] their secret is written in base32', () => {
    expect(toBase32(Buffer.from('foobar'))).toBe('MZXW6YTBOI');
    for (let length = 1; length <= 20; length += 1) expect(fromBase32(toBase32(secret.subarray(0, length)))).toEqual(secret.subarray(0, length));
  });
});

/** An account with an app: a code of this step, and one of the next; there is no third. */
async function withApp(anna: Someone, step = stepNow(), site = 'Kith'): Promise<{ secret: Buffer; recoveryCodes: string[]; security: Security }> {
  const { secret, ticket, uri } = await anna.call('app.begin', {});
  expect(uri).toBe(`otpauth://totp/${site}:${anna.handle}?secret=${secret}&issuer=${site}`);
  const { recoveryCodes, security } = await anna.call('app.add', { secret, ticket, code: totp(fromBase32(secret), step) });
  return { secret: fromBase32(secret), recoveryCodes: recoveryCodes!, security };
}

const stepNow = (): number => Math.floor(Date.now() / 30_000);

const login = async (place: Place, handle: string, given = password): Promise<ErrorBody> =>
  (await place.server.post('auth.login', { handle, password: given })).json<{ error?: ErrorBody }>().error ?? { code: 'internal', message: 'signed in', retryable: false };

describe.each(engines)('a second factor on %s', (engine) => {
  const place = usePlace({ engine });
  const factor = (handle: string, ticket: string, code: string) => place.server.call('auth.factor', { handle, ticket, code, device: 'her phone' });
  const wrong = { code: 'wrong_credentials' };

  test('[AU24] is asked for after the password, and signs in with it', async () => {
    const anna = await place.person();
    const { secret } = await withApp(anna);
    const { code, ticket } = await login(place, anna.handle!);
    expect(code).toBe('factor_required');
    const { user, token } = await factor(anna.handle!, ticket!, totp(secret, stepNow() + 1));
    expect(user.id).toBe(anna.id);
    expect((await place.server.call('session.list', {}, token)).sessions.map(({ device }) => device)).toContain('her phone');
  });

  test('[AU24] who does not have it does not learn whether the password was right', async () => {
    const anna = await place.person();
    const { secret } = await withApp(anna);
    const [right, guessed] = [await login(place, anna.handle!), await login(place, anna.handle!, 'not the password')];
    expect({ ...guessed, ticket: '' }).toEqual({ ...right, ticket: '' });
    expect(guessed.ticket).toHaveLength(right.ticket!.length);
    // A good code is no use with the ticket of a wrong password, and is not used up by that either.
    const code = totp(secret, stepNow() + 1);
    const answers = [
      await place.server.post('auth.factor', { handle: anna.handle, ticket: guessed.ticket, code }),
      await place.server.post('auth.factor', { handle: anna.handle, ticket: right.ticket, code: '000000' }),
    ];
    expect(answers[0]!.text).toBe(answers[1]!.text);
    expect(answers[0]!.error).toBe('wrong_credentials');
    expect((await factor(anna.handle!, (await login(place, anna.handle!)).ticket!, code)).user.id).toBe(anna.id);
  });

  test('[AU24] and some names that nobody has are answered like the ones that have it, always the same ones', async () => {
    await withApp(await place.person());
    const answers = new Map<string, string>();
    while (new Set(answers.values()).size < 2) {
      const name = unique('nobody');
      answers.set(name, (await login(place, name)).code);
    }
    expect(new Set(answers.values())).toEqual(new Set(['wrong_credentials', 'factor_required']));
    for (const [name, code] of answers) expect((await login(place, name)).code).toBe(code);
    const [name] = [...answers].find(([, code]) => code === 'factor_required')!;
    const { ticket } = await login(place, name);
    await expect(factor(name, ticket!, '000000')).rejects.toMatchObject(wrong);
  });

  test('[AU25] a ticket is good once, for its person, and not after the password changed', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const { recoveryCodes } = await withApp(anna);
    const { recoveryCodes: berts } = await withApp(bert);
    const ticket = (await login(place, anna.handle!)).ticket!;
    await expect(factor(bert.handle!, ticket, berts[0]!)).rejects.toMatchObject(wrong);
    expect((await factor(anna.handle!, ticket, recoveryCodes[0]!)).user.id).toBe(anna.id);
    await expect(factor(anna.handle!, ticket, recoveryCodes[1]!)).rejects.toMatchObject(wrong);
    const early = (await login(place, anna.handle!)).ticket!;
    await anna.call('user.changePassword', { password, newPassword: 'another good one' });
    await expect(factor(anna.handle!, early, recoveryCodes[2]!)).rejects.toMatchObject(wrong);
    for (const bent of ['x', `${early.slice(0, -1)}${early.endsWith('A') ? 'B' : 'A'}`, `${early}A`, early.slice(1)])
      await expect(factor(anna.handle!, bent, recoveryCodes[2]!)).rejects.toMatchObject(wrong);
  });

  test('[AU23] a code that was used is refused, also when it comes twice at once, and the app counts from its first code on', async () => {
    const anna = await place.person();
    const { secret, ticket } = await anna.call('app.begin', {});
    await expect(anna.call('app.add', { secret, ticket, code: '000000' })).rejects.toMatchObject(wrong);
    await expect(anna.call('app.add', { secret: secret.toLowerCase(), ticket, code: totp(fromBase32(secret), stepNow()) })).rejects.toMatchObject({ code: 'too_late' });
    expect((await place.server.login(anna)).id).toBe(anna.id);
    const first = totp(fromBase32(secret), stepNow());
    await anna.call('app.add', { secret, ticket, code: first });
    await expect(factor(anna.handle!, (await login(place, anna.handle!)).ticket!, first)).rejects.toMatchObject(wrong);
    const next = totp(fromBase32(secret), stepNow() + 1);
    const tickets = await Promise.all([1, 2, 3].map(async () => (await login(place, anna.handle!)).ticket!));
    const results = await Promise.allSettled(tickets.map((one) => factor(anna.handle!, one, next)));
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected']);
  });

  test('[AU26] ten recovery codes come with the first factor, are kept as hashes, and each is good once', async () => {
    const anna = await place.person();
    const { recoveryCodes, security } = await withApp(anna);
    expect(recoveryCodes).toHaveLength(limits.recoveryCodes);
    expect(new Set(recoveryCodes).size).toBe(limits.recoveryCodes);
    expect(security.recoveryCodes).toBe(limits.recoveryCodes);
    const kept = JSON.stringify(await place.rows.run('select * from recovery_codes where user_id = ?', anna.id));
    for (const code of recoveryCodes) {
      expect(code).toMatch(/^[a-z2-7]{4}(-[a-z2-7]{4}){3}$/);
      expect(kept).not.toContain(code);
    }
    const enter = async (code: string) => factor(anna.handle!, (await login(place, anna.handle!)).ticket!, code);
    // As it may be typed.
    expect((await enter(recoveryCodes[0]!.toUpperCase().replaceAll('-', ' '))).user.id).toBe(anna.id);
    await expect(enter(recoveryCodes[0]!)).rejects.toMatchObject(wrong);
    await anna.settle();
    expect(seen(anna)).toMatchObject({ recoveryCodes: 9, last: { what: 'recovery-used' } });
    const { recoveryCodes: renewed, security: after } = await anna.call('recovery.renew', {});
    expect(after).toMatchObject({ recoveryCodes: 10, last: { what: 'recovery-renewed', sessionId: anna.sessionId } });
    await expect(enter(recoveryCodes[1]!)).rejects.toMatchObject(wrong);
    expect((await enter(renewed[1]!)).user.id).toBe(anna.id);
    // Without an app there is nothing that a code could stand for.
    expect((await anna.call('app.remove', {})).security).toMatchObject({ appSince: null, recoveryCodes: 0, last: { what: 'app-removed' } });
    expect((await place.server.login(anna)).id).toBe(anna.id);
    await expect(anna.call('recovery.renew', {})).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[AU28] what changes is told to every device of the person, and to nobody else', async () => {
    const { anna, bert } = await place.direct();
    const phone = await place.device(anna);
    const { security } = await withApp(anna);
    for (const one of [anna, phone]) await one.settle();
    expect(seen(phone)).toEqual(security);
    expect(security).toMatchObject({ appSince: expect.any(Number), passkeys: [], last: { what: 'app-added', sessionId: anna.sessionId } });
    expect((await phone.call('stream.snapshot', { stream: userStream(anna.id) })).entities).toContainEqual(security);
    await bert.settle();
    expect(JSON.stringify(bert.client.frames)).not.toContain('"security"');
    const { user } = await anna.call('user.changePassword', { password, newPassword: 'another good one' });
    expect(user.id).toBe(anna.id);
    await anna.settle();
    expect(seen(anna)).toMatchObject({ last: { what: 'password' } });
  });

  test('[AU29] showing once more who one is takes what signing in takes', async () => {
    const anna = await place.person();
    const { secret, recoveryCodes } = await withApp(anna);
    await age(place, anna);
    await expect(anna.call('app.remove', {})).rejects.toMatchObject(refused);
    await expect(anna.call('auth.confirm', { password })).rejects.toMatchObject({ code: 'factor_required' });
    await expect(anna.call('auth.confirm', { password: 'not the password' })).rejects.toMatchObject({ code: 'factor_required' });
    for (const proof of [{ code: recoveryCodes[0]! }, { password: 'not the password', code: recoveryCodes[0]! }, { password, code: '000000' }])
      await expect(anna.call('auth.confirm', proof)).rejects.toMatchObject(wrong);
    await expect(anna.call('app.remove', {})).rejects.toMatchObject(refused);
    const code = totp(secret, stepNow() + 1);
    await anna.call('auth.confirm', { password, code });
    await expect(anna.call('auth.confirm', { password, code })).rejects.toMatchObject(wrong);
    expect((await anna.call('app.remove', {})).security.appSince).toBeNull();
  });

  test('[AU24] guests, and people whom another site vouches for, have none', async () => {
    const guest = await place.guest();
    for (const method of ['app.begin', 'passkey.begin'] as const) await expect(guest.call(method, {})).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('[AU34] a password that was hashed at another cost is hashed anew when it is used', async () => {
    const anna = await place.person();
    const hash = async () => (await place.rows.run<{ password: string }>('select password from users where id = ?', anna.id))[0]!.password;
    const before = await hash();
    // Of the same password, with another cost; taken from a server that is set so.
    const old = await new Passwords({ memory: 32, passes: 2 }).hash(password);
    await place.rows.run('update users set password = ? where id = ?', old, anna.id);
    await expect(place.server.call('auth.login', { handle: anna.handle!, password: 'not the password' })).rejects.toMatchObject(wrong);
    expect(await hash()).toBe(old);
    await place.server.login(anna);
    const after = await hash();
    expect(after.slice(0, 26)).toBe(before.slice(0, 26));
    await place.server.login(anna);
    expect(await hash()).toBe(after);
  });
});

/** How the person signs in, as this device was last told. */
const seen = (person: Someone): Security | undefined =>
  person
    .pushes(userStream(person.id))
    .flatMap(({ entities }) => entities)
    .findLast((entity) => entity.kind === 'security');

describe.each(engines)('new passwords on %s', (engine) => {
  const place = usePlace({ engine, config: { siteName: 'Gartenweg Sieben' } });

  test('[AU35] what many people choose, and little more than a name of the person or the site, is refused wherever one is chosen', async () => {
    const anna = await place.server.register(unique('anna'), { password, name: 'Wilhelmine Zhang' });
    const tooEasy = { code: 'bad_request' };
    for (const given of [
      'qwertyuiop',
      'QwertyUiop',
      'password123',
      'iloveyou123',
      '1q2w3e4r5t',
      'Wilhelmine1',
      'zhang-wilhelmine-99',
      'gartenweg7777',
      'Sieben!Gartenweg!',
      `${anna.handle}2026`,
    ]) {
      await expect(place.server.call('user.changePassword', { password, newPassword: given }, anna.token)).rejects.toMatchObject({
        ...tooEasy,
        extra: { path: 'params.newPassword' },
      });
      await expect(place.server.call('auth.register', { handle: anna.handle!, password: given, name: 'Wilhelmine Zhang' })).rejects.toMatchObject({
        ...tooEasy,
        extra: { path: 'params.password' },
      });
    }
    for (const given of ['wilhelmine likes pears', 'gartenweg und pflaumen', 'correct horse staple']) {
      expect((await place.server.call('auth.register', { handle: unique('anna'), password: given, name: 'Wilhelmine' })).user.name).toBe('Wilhelmine');
    }
  });

  test('[AU37] an operator makes a link with which somebody chooses one, once; sessions end, and a second factor is still needed', async () => {
    const operator = await place.operator();
    const anna = await place.person();
    const { recoveryCodes } = await withApp(anna, stepNow(), 'Gartenweg%20Sieben');
    const { handle, ticket, expiresAt } = await operator.call('admin.reset', { userId: anna.id });
    expect(Math.abs(expiresAt - Date.now() - 1_800_000)).toBeLessThan(60_000);
    const other = await operator.call('admin.reset', { userId: anna.id });
    const reset = (given: string, by = ticket, name = handle) => place.server.call('auth.reset', { handle: name, ticket: by, password: given });
    await expect(reset('qwertyuiop')).rejects.toMatchObject({ code: 'bad_request' });
    for (const [by, name] of [
      ['guessed', handle],
      [ticket, operator.handle!],
      [ticket, 'nobody'],
    ] as const)
      await expect(reset('another good one', by, name)).rejects.toMatchObject({ code: 'wrong_credentials' });
    const results = await Promise.allSettled([reset('another good one'), reset('another good one')]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect((await anna.client.closed).code).toBe(4500);
    for (const by of [ticket, other.ticket]) await expect(reset('a third good one', by)).rejects.toMatchObject({ code: 'wrong_credentials' });
    const { code, ticket: first } = await login(place, handle, 'another good one');
    expect(code).toBe('factor_required');
    expect((await place.server.call('auth.factor', { handle, ticket: first!, code: recoveryCodes[0]! })).user.id).toBe(anna.id);
    const guest = await place.guest();
    await expect(operator.call('admin.reset', { userId: guest.id })).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('a server that demands it', () => {
  const place = usePlace({ config: { operatorFactor: true } });

  test('[AU36] lets operators do what only they may when they have a second factor', async () => {
    const operator = await place.operator();
    for (const [method, params] of [
      ['admin.invite', {}],
      ['announcement.send', { text: 'Hear me' }],
    ] as const)
      await expect(operator.call(method, params as never)).rejects.toMatchObject({ code: 'factor_missing' });
    await withApp(operator);
    expect((await operator.call('admin.invite', {})).code).not.toBe('');
    const anna = await place.person();
    await expect(anna.call('admin.invite', {})).rejects.toMatchObject({ code: 'forbidden' });
  });
});

describe('guessing codes', () => {
  const place = usePlace({ engine: 'sqlite', config: { rateLimits: true, publicUrl: scenarioUrl } });

  test('[AU27] counts as guessing the password does, and signing in with both ends that', async () => {
    const anna = await place.person();
    const { recoveryCodes } = await withApp(anna);
    const step = async (code: string) => {
      const { code: error, ticket } = await login(place, anna.handle!);
      return ticket === undefined ? error : ((await place.server.post('auth.factor', { handle: anna.handle, ticket, code })).error ?? 'in');
    };
    for (const code of [recoveryCodes[0]!, recoveryCodes[1]!]) expect([await step('000000'), await step(code)]).toEqual(['wrong_credentials', 'in']);
    expect([await step('000000'), await step('000000'), await step('000000')]).toEqual(['wrong_credentials', 'wrong_credentials', 'wrong_credentials']);
    expect(await step(recoveryCodes[2]!)).toBe('rate_limited');
  });

  test('[AU27] guesses at a passkey wait, too', async () => {
    const passkey = { id: 'guessed', clientDataJSON: 'AAAA', authenticatorData: 'AAAA', signature: 'AAAA' };
    const answers: (string | undefined)[] = [];
    for (let turn = 1; turn <= 7; turn += 1) answers.push((await place.server.post('passkey.login', { passkey })).error);
    expect(answers).toEqual([...Array.from({ length: 6 }, () => 'wrong_credentials'), 'rate_limited']);
  });
});

describe('the time for it', () => {
  let now = Date.now();
  const place = usePlace({ config: { publicUrl: scenarioUrl }, now: () => now });

  test('[AU25] a ticket, and [AU31] a challenge, is good for five minutes', async () => {
    const anna = await place.person();
    const { recoveryCodes } = await withApp(anna, Math.floor(now / 30_000));
    const authenticator = new Authenticator();
    const { options } = await anna.call('passkey.begin', {});
    await anna.call('passkey.add', { name: 'Key', ...authenticator.make(options.challenge, { origin: scenarioUrl }) });
    for (const [ms, answer] of [
      [limits.ticketMs - 1_000, undefined],
      [limits.ticketMs + 1, 'wrong_credentials'],
    ] as const) {
      const { ticket } = await login(place, anna.handle!);
      const { challenge } = (await place.server.call('passkey.challenge', {})).options;
      now += ms;
      const answers = [
        await place.server.post('auth.factor', { handle: anna.handle, ticket, code: recoveryCodes.pop() }),
        await place.server.post('passkey.login', { passkey: authenticator.show(challenge, { origin: scenarioUrl }) }),
      ];
      expect(answers.map(({ error }) => error)).toEqual([answer, answer]);
    }
  });
});
