import { type Assertion, limits, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { relyingParty } from '../../src/config.ts';
import { Authenticator, type Says } from '../authenticator.ts';
import { type Someone, engines, password, usePlace } from './place.ts';

const origin = 'http://localhost:3000';
const wrong = { code: 'wrong_credentials' };

describe.each(engines)('passkeys on %s', (engine) => {
  const place = usePlace({ engine, config: { publicUrl: origin } });

  const add = async (person: Someone, name = 'Her phone', authenticator = new Authenticator(), says: Says = { origin }) => {
    const { options } = await person.call('passkey.begin', {});
    return { authenticator, options, ...(await person.call('passkey.add', { name, ...authenticator.make(options.challenge, says) })) };
  };
  const challenge = async () => (await place.server.call('passkey.challenge', {})).options.challenge;
  const enter = (passkey: Assertion) => place.server.call('passkey.login', { passkey, device: 'her phone' });

  test('[AU30] a person has several, by name; each signs in alone, and none that was removed', async () => {
    const anna = await place.person();
    const phone = await place.device(anna);
    const first = await add(anna, 'Her phone');
    expect(first.options).toMatchObject({
      rp: { id: 'localhost', name: 'Kith' },
      user: { name: anna.handle, id: Buffer.from(anna.id).toString('base64url') },
      pubKeyCredParams: [-8, -7, -257].map((alg) => ({ type: 'public-key', alg })),
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    });
    expect(first.recoveryCodes).toHaveLength(10);
    const second = await add(anna, 'A key');
    expect(second.options).toMatchObject({ excludeCredentials: [{ id: first.authenticator.id }] });
    expect(second.recoveryCodes).toBeUndefined();
    expect(second.security).toMatchObject({ passkeys: [{ name: 'Her phone' }, { name: 'A key', usedAt: null }], recoveryCodes: 10, last: { what: 'passkey-added' } });
    for (const { authenticator } of [first, second]) {
      const { user, sessionId, token } = await enter(authenticator.show(await challenge(), { origin, userId: anna.id }));
      expect(user.id).toBe(anna.id);
      expect((await place.server.call('session.list', {}, token)).current).toBe(sessionId);
    }
    const passkeyId = second.security.passkeys[1]!.id;
    const { security } = await anna.call('passkey.rename', { passkeyId, name: 'The blue key' });
    expect(security.passkeys).toMatchObject([{ name: 'Her phone' }, { name: 'The blue key', usedAt: expect.any(Number) }]);
    expect((await anna.call('passkey.remove', { passkeyId })).security).toMatchObject({ passkeys: [{ name: 'Her phone' }], recoveryCodes: 10 });
    await expect(enter(second.authenticator.show(await challenge(), { origin }))).rejects.toMatchObject(wrong);
    await phone.settle();
    expect(phone.pushes(userStream(anna.id)).at(-1)!.entities).toMatchObject([{ kind: 'security', last: { what: 'passkey-removed', sessionId: anna.sessionId } }]);
  });

  test('[AU30] the password needs one beside it then, and so does showing once more who one is', async () => {
    const anna = await place.person();
    const { authenticator } = await add(anna);
    const { error } = (await place.server.post('auth.login', { handle: anna.handle, password })).json<{ error: { code: string; ticket: string } }>();
    expect(error.code).toBe('factor_required');
    const passkey = authenticator.show(await challenge(), { origin });
    expect((await place.server.call('auth.factor', { handle: anna.handle!, ticket: error.ticket, passkey })).user.id).toBe(anna.id);
    await place.rows.run('update sessions set confirmed_at = 0 where id = ?', anna.sessionId);
    await expect(anna.call('passkey.begin', {})).rejects.toMatchObject({ code: 'confirm_required' });
    const { options } = await anna.call('passkey.challenge', {});
    await anna.call('auth.confirm', { passkey: authenticator.show(options.challenge, { origin }) });
    expect((await anna.call('passkey.begin', {})).options.challenge).not.toBe('');
  });

  test('[AU31] a challenge is good once, and for the session that asked', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const { authenticator } = await add(anna);
    const used = await challenge();
    await enter(authenticator.show(used, { origin }));
    await expect(enter(authenticator.show(used, { origin }))).rejects.toMatchObject(wrong);
    const twice = await challenge();
    const both = [authenticator.show(twice, { origin }), authenticator.show(twice, { origin })];
    expect((await Promise.allSettled(both.map(enter))).map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    // One that somebody else was given, one to make a passkey with, and one of nobody's.
    const others = [
      (await bert.call('passkey.challenge', {})).options.challenge,
      (await anna.call('passkey.begin', {})).options.challenge,
      Buffer.alloc(34, 7).toString('base64url'),
      'x',
    ];
    for (const other of others) {
      await expect(enter(authenticator.show(other, { origin }))).rejects.toMatchObject(wrong);
      await expect(anna.call('auth.confirm', { passkey: authenticator.show(other, { origin }) })).rejects.toMatchObject(wrong);
    }
    // And the other way round: what was asked for to sign in makes no passkey.
    await expect(bert.call('passkey.add', { name: 'Key', ...new Authenticator().make(await challenge(), { origin }) })).rejects.toMatchObject({ code: 'bad_request' });
    const made = (await bert.call('passkey.begin', {})).options.challenge;
    await bert.call('passkey.add', { name: 'Key', ...new Authenticator().make(made, { origin }) });
    await expect(bert.call('passkey.add', { name: 'Key', ...new Authenticator().make(made, { origin }) })).rejects.toMatchObject({ code: 'bad_request' });
  });

  const forgeries: Record<string, (good: Authenticator, other: Authenticator, given: string) => Assertion> = {
    'from a page of another site': (good, _, given) => good.show(given, { origin: 'https://evil.example', rpId: 'localhost' }),
    'from another port': (good, _, given) => good.show(given, { origin: 'http://localhost:3001' }),
    'from a page by another scheme': (good, _, given) => good.show(given, { origin: 'https://localhost:3000' }),
    'from a site below this one': (good, _, given) => good.show(given, { origin: 'http://evil.localhost:3000', rpId: 'localhost' }),
    'made for another site': (good, _, given) => good.show(given, { origin, rpId: 'evil.example' }),
    'without a finger, a face or a PIN': (good, _, given) => good.show(given, { origin, verified: false }),
    'of another kind': (good, _, given) => good.show(given, { origin, type: 'webauthn.create' }),
    'by a copy that counts less': (good, _, given) => good.show(given, { origin, counter: 1 }),
    'by a copy that counts the same': (good, _, given) => good.show(given, { origin, counter: good.counter }),
    'by a copy that does not count': (good, _, given) => good.show(given, { origin, counter: 0 }),
    'signed by another key': (good, other, given) => ({ ...other.show(given, { origin, counter: 9 }), id: good.id }),
    'for another person': (good, _, given) => good.show(given, { origin, userId: 'somebody-else' }),
    'of a passkey that nobody has': (_, other, given) => other.show(given, { origin }),
    'with a signature of something else': (good, _, given) => {
      const shown = good.show(given, { origin });
      return { ...shown, clientDataJSON: Buffer.from(`${Buffer.from(shown.clientDataJSON, 'base64url').toString()} `).toString('base64url') };
    },
    'that is no signature': (good, _, given) => ({ ...good.show(given, { origin }), signature: 'AAAA' }),
    'that is nothing': (good) => ({ id: good.id, clientDataJSON: 'AAAA', authenticatorData: 'AAAA', signature: 'AAAA' }),
  };

  test('[AU32] what was forged, copied or made for somebody else is refused, and the passkey goes on', async () => {
    const anna = await place.person();
    const { authenticator } = await add(anna);
    for (let turn = 1; turn <= 3; turn += 1) await enter(authenticator.show(await challenge(), { origin }));
    const answers: Record<string, string> = {};
    for (const [what, forge] of Object.entries(forgeries)) {
      const passkey = forge(authenticator, new Authenticator(), await challenge());
      const { status, error } = await place.server.post('passkey.login', { passkey });
      answers[what] = `${status} ${error}`;
      authenticator.counter = 3;
    }
    expect(answers).toEqual(Object.fromEntries(Object.keys(forgeries).map((what) => [what, '401 wrong_credentials'])));
    expect((await enter(authenticator.show(await challenge(), { origin }))).user.id).toBe(anna.id);
  });

  test('[AU32] one of another person stands for them alone', async () => {
    const [anna, bert] = (await place.people('anna', 'bert')) as [Someone, Someone];
    const [annas, berts] = [await add(anna), await add(bert)];
    const { options } = await anna.call('passkey.challenge', {});
    await expect(anna.call('auth.confirm', { passkey: berts.authenticator.show(options.challenge, { origin }) })).rejects.toMatchObject(wrong);
    const { error } = (await place.server.post('auth.login', { handle: anna.handle, password })).json<{ error: { ticket: string } }>();
    const passkey = berts.authenticator.show(await challenge(), { origin });
    await expect(place.server.call('auth.factor', { handle: anna.handle!, ticket: error.ticket, passkey })).rejects.toMatchObject(wrong);
    const passkeyId = annas.security.passkeys[0]!.id;
    await expect(bert.call('passkey.remove', { passkeyId })).rejects.toMatchObject({ code: 'not_found' });
    await expect(bert.call('passkey.rename', { passkeyId, name: 'Mine' })).rejects.toMatchObject({ code: 'not_found' });
    // The same authenticator cannot be two people's.
    const { options: bertsOptions } = await bert.call('passkey.begin', {});
    await expect(bert.call('passkey.add', { name: 'Key', ...annas.authenticator.make(bertsOptions.challenge, { origin }) })).rejects.toMatchObject({ code: 'bad_request' });
  });

  test('[AU32] nor is a new one made for another site, or without asking for a finger, a face or a PIN', async () => {
    const anna = await place.person();
    for (const says of [{ origin: 'https://evil.example' }, { origin, rpId: 'evil.example' }, { origin, verified: false }, { origin, type: 'webauthn.get' }]) {
      await expect(add(anna, 'Key', new Authenticator(), says)).rejects.toMatchObject({ code: 'bad_request' });
    }
    expect((await add(anna)).security.passkeys).toHaveLength(1);
  });

  test('[LI1] a person has so many, and no more', async () => {
    const anna = await place.person();
    for (let turn = 1; turn <= limits.passkeysPerUser; turn += 1) await add(anna);
    await expect(add(anna)).rejects.toMatchObject({ code: 'too_many' });
  });

  test('[AU32] who is disabled does not come in by one', async () => {
    const operator = await place.operator();
    const anna = await place.person();
    const { authenticator } = await add(anna);
    await operator.call('admin.disable', { userId: anna.id, disabled: true });
    await expect(enter(authenticator.show(await challenge(), { origin }))).rejects.toMatchObject(wrong);
  });
});

describe('where passkeys are', () => {
  test.each([
    ['https://chat.example.org', 'http://127.0.0.1:3000', 'chat.example.org'],
    ['https://chat.example.org:8443', undefined, 'chat.example.org'],
    ['http://localhost:3000', 'http://127.0.0.1:3000', 'localhost'],
    [undefined, 'http://localhost:3000', 'localhost'],
    [undefined, 'http://chat.localhost:3000', 'chat.localhost'],
    [undefined, 'http://127.0.0.1:3000', undefined],
    [undefined, 'http://[::1]:3000', undefined],
    [undefined, 'http://192.168.1.7:3000', undefined],
    [undefined, undefined, undefined],
    ['http://chat.lan', 'http://localhost:3000', undefined],
    ['https://192.168.1.7', undefined, undefined],
  ])('[AU33] at %s, called by %s, they are made for %s', (publicUrl, calledBy, id) => {
    expect(relyingParty({ publicUrl }, calledBy)?.id).toBe(id);
  });
});
