import { createPublicKey } from 'node:crypto';
import { type MethodName, type Params, type PushPayload, RequestError, type Result, isQuiet, limits } from '@kith/protocol';
import { jwtVerify } from 'jose';
import { afterAll, describe, expect, test } from 'vitest';
import { isPushEndpoint, postPush, retryAfter } from '../../src/core/push-services.ts';
import { encryptPush } from '../../src/core/web-push.ts';
import { type Person, startTestServer } from '../harness.ts';
import { png } from '../pictures.ts';
import { type Device, PushService } from '../push-service.ts';
import { clientId, engines, usePlace } from './place.ts';

const service = await new PushService().open();
afterAll(() => service.close());

/** Milliseconds that pushes wait for a person who is connected: long enough for a request or two to come first. */
const pushDelayMs = 1_000;
const config = { pushHosts: service.url, pushIntervalMs: 1, pushDelayMs, registration: 'open' as const };

const told = (payloads: PushPayload[]): unknown[] => payloads.map((payload) => (payload.type === 'message' ? payload.seq : payload.type));

describe('a push on its way', () => {
  test('[PU1] the example of RFC 8291 becomes the very bytes of RFC 8291', () => {
    const device = { p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4', auth: 'BTBZMqHH6r4Tts7J_aSIgg' };
    const once = { salt: Buffer.from('DGv6ra1nlYgDCS1FRnbzlw', 'base64url'), privateKey: Buffer.from('yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw', 'base64url') };
    expect(encryptPush(device, 'When I grow up, I want to be a watermelon', once).toString('base64url')).toBe(
      'DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN',
    );
  });

  test.each([
    ['https://fcm.googleapis.com/fcm/send/abc', true],
    ['https://updates.push.services.mozilla.com/wpush/v2/abc', true],
    ['https://wns2-par02p.notify.windows.com/w/?token=abc', true],
    ['https://web.push.apple.com/abc', true],
    ['https://push.example.org/abc', true],
    ['http://127.0.0.1:8081/abc', true],
    ['http://fcm.googleapis.com/fcm/send/abc', false],
    ['https://fcm.googleapis.com:8443/abc', false],
    ['https://fcm.googleapis.com@127.0.0.1/abc', false],
    ['https://me@fcm.googleapis.com/abc', false],
    ['https://notfcm.googleapis.com/abc', false],
    ['https://fcm.googleapis.com.example.net/abc', false],
    ['https://example.net/fcm.googleapis.com', false],
    ['https://127.0.0.1/abc', false],
    ['https://[::1]/abc', false],
    ['http://127.0.0.1:8082/abc', false],
    ['http://127.0.0.1/abc', false],
    ['http://push.example.org/abc', false],
    ['file:///etc/passwd', false],
    ['fcm.googleapis.com', false],
  ])('[PU2] %s is an address to push to: %s', (endpoint, allowed) => {
    expect(isPushEndpoint(endpoint, 'push.example.org,http://127.0.0.1:8081')).toBe(allowed);
  });

  const post = (device: Device, withinMs: number) =>
    postPush(device.endpoint, { headers: {}, body: encryptPush(device, '{"type":"test"}') }, { signal: new AbortController().signal, withinMs });

  test('[PU2] a redirect is not followed', async () => {
    const [first, second] = [service.device(), service.device()];
    first.answers.push({ status: 307, headers: { location: second.endpoint } });
    expect(await post(first, 10_000)).toMatchObject({ status: 307, refused: true });
    expect(second.pushes).toEqual([]);
  });

  test('[PU2] a push service that says nothing is left after a time, and one that talks without end is not listened to', async () => {
    const device = service.device();
    device.answers.push('silence', 'endless');
    expect(await post(device, 50)).toMatchObject({ status: null, refused: false });
    expect(await post(device, 60_000)).toMatchObject({ status: 201, refused: false });
  });

  test('[PU12] a service that cannot be reached certainly took nothing', async () => {
    const gone = await new PushService().open();
    const device = gone.device();
    await gone.close();
    expect(await post(device, 10_000)).toMatchObject({ status: null, refused: true });
  });

  test('[PU12] Retry-After is read as seconds and as a date', () => {
    const now = Date.UTC(2026, 8, 21, 7, 28, 0);
    expect(retryAfter('120', now)).toBe(120_000);
    expect(retryAfter('Mon, 21 Sep 2026 07:29:00 GMT', now)).toBe(60_000);
    expect(retryAfter('Mon, 21 Sep 2026 07:27:00 GMT', now)).toBe(0);
    expect(retryAfter('soon', now)).toBe(undefined);
    expect(retryAfter(null, now)).toBe(undefined);
  });

  const at = (clock: string): number => Date.parse(`2026-01-15T${clock}:00Z`);
  test.each([
    ['21:59', 'UTC', 1_320, 420, false],
    ['22:00', 'UTC', 1_320, 420, true],
    ['00:00', 'UTC', 1_320, 420, true],
    ['06:59', 'UTC', 1_320, 420, true],
    ['07:00', 'UTC', 1_320, 420, false],
    ['12:59', 'UTC', 720, 780, true],
    ['13:00', 'UTC', 720, 780, false],
    ['14:30', 'Asia/Shanghai', 1_320, 420, true],
    ['23:30', 'Asia/Shanghai', 1_320, 420, false],
    ['12:00', 'UTC', 720, 720, false],
    ['12:00', 'UTC', null, 780, false],
    ['12:00', 'UTC', 720, null, false],
  ])('[PU9] at %s UTC, in %s, quiet from %s to %s: %s', (clock, timeZone, quietFrom, quietTo, quiet) => {
    expect(isQuiet({ quietFrom, quietTo, timeZone }, at(clock))).toBe(quiet);
  });
});

describe.each(engines)('pushes on %s', (engine) => {
  const place = usePlace({ engine, config });
  const { call, register, subscribe, say, friends, group } = pushing(() => place.server);

  test('[PU1] a push is signed with the server’s key and encrypted for the device', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    await say(anna, conversationId);
    const { payload, headers, bytes } = await device.next();
    expect(payload).toMatchObject({ type: 'message', conversationId, seq: 1 });
    expect(bytes).toBeLessThan(4_096);
    expect(headers).toMatchObject({ ttl: '86400', urgency: 'high', 'content-encoding': 'aes128gcm' });
    expect(headers['topic']).toMatch(/^[\w-]{32}$/);
    const { publicKey } = await call(bert, 'push.key', {});
    const [, token, k] = /^vapid t=(\S+), k=(\S+)$/.exec(headers.authorization!)!;
    expect(k).toBe(publicKey);
    const point = Buffer.from(publicKey, 'base64url');
    const key = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x: point.subarray(1, 33).toString('base64url'), y: point.subarray(33).toString('base64url') } });
    const { payload: claims } = await jwtVerify(token!, key, { algorithms: ['ES256'], audience: service.url });
    expect(claims.sub).toMatch(/^(mailto|https):/);
    expect(claims.exp! - Date.now() / 1_000).toBeLessThan(86_400);
  });

  test('[PU1] the key is the same after a restart', async () => {
    await using server = await startTestServer({ engine });
    const anna = await server.register();
    const { publicKey } = await server.call('push.key', {}, anna.token);
    expect(Buffer.from(publicKey, 'base64url')).toHaveLength(65);
    await server.restart();
    expect(await server.call('push.key', {}, anna.token)).toEqual({ publicKey });
  });

  test('[PU2] an endpoint elsewhere, and keys that are none, are refused', async () => {
    const anna = await register();
    const { subscription } = service.device();
    const refused = async (changed: object): Promise<unknown> => {
      const error: unknown = await call(anna, 'push.subscribe', { ...subscription, ...changed }).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(RequestError);
      return [(error as RequestError).code, (error as RequestError).extra.path];
    };
    expect(await refused({ endpoint: 'https://example.net/push' })).toEqual(['bad_request', 'params.endpoint']);
    expect(await refused({ endpoint: 'http://127.0.0.1:1/push' })).toEqual(['bad_request', 'params.endpoint']);
    expect(await refused({ endpoint: `https://fcm.googleapis.com/${'x'.repeat(limits.pushEndpoint)}` })).toEqual(['bad_request', 'params.endpoint']);
    expect(await refused({ p256dh: 'B'.repeat(87) })).toEqual(['bad_request', 'params.p256dh']);
    expect(await refused({ auth: 'short' })).toEqual(['bad_request', 'params.auth']);
  });

  test('[PU3] a subscription ends with its session, however that ends', async () => {
    const { anna, bert, conversationId } = await friends();
    const stays = await subscribe(bert);
    const [out, revoked, idle, old] = [await place.server.login(bert), await place.server.login(bert), await place.server.login(bert), await place.server.login(bert)];
    const ended = [];
    for (const session of [out, revoked, idle, old]) ended.push(await subscribe(session));
    await call(out, 'auth.logout', {});
    await call(bert, 'session.revoke', { sessionId: revoked.sessionId });
    await place.rows.run('update sessions set used_at = 0 where id = ?', idle.sessionId);
    await place.rows.run('update sessions set created_at = 0 where id = ?', old.sessionId);
    await say(anna, conversationId);
    await stays.next();
    await call(bert, 'user.changePassword', { password: bert.password!, newPassword: 'another good one' });
    await say(anna, conversationId);
    expect((await stays.next()).payload).toMatchObject({ seq: 2 });
    expect(ended.flatMap((device) => device.payloads)).toEqual([]);
    expect(await place.rows.run('select session_id from push_subscriptions where user_id = ?', bert.id)).toEqual([{ session_id: bert.sessionId }]);
  });

  test('[PU3] and with the account, disabled or deleted', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    const dora = await register();
    await call(anna, 'member.add', { conversationId, userIds: [dora.id] });
    const [berts, cleos, doras] = [await subscribe(bert), await subscribe(cleo), await subscribe(dora)];
    await place.server.call('admin.disable', { userId: bert.id, disabled: true }, (await place.operator()).token);
    await call(cleo, 'user.delete', { password: cleo.password! });
    await say(anna, conversationId);
    await doras.next();
    expect([...berts.payloads, ...cleos.payloads]).toEqual([]);
    expect(await place.rows.run('select session_id from push_subscriptions where user_id in (?, ?)', bert.id, cleo.id)).toEqual([]);
  });

  test('[PU3] an endpoint belongs to whoever signed in there last', async () => {
    const { anna, bert, conversationId } = await friends();
    const shared = await subscribe(bert);
    const cleo = await register();
    await call(cleo, 'push.subscribe', shared.subscription);
    const other = await subscribe(await place.server.login(bert));
    await say(anna, conversationId);
    await other.next();
    await call(cleo, 'push.test', {});
    expect(told(shared.payloads)).toEqual(['test']);
  });

  test('[PU3] a session has one subscription, and a person ten', async () => {
    const anna = await register();
    const first = await subscribe(anna);
    const second = await subscribe(anna);
    await call(anna, 'push.test', {});
    expect([first.payloads, second.payloads]).toEqual([[], [{ type: 'test' }]]);
    for (let count = 1; count < limits.pushSubscriptions; count += 1) await subscribe(await place.server.login(anna));
    const eleventh = await place.server.login(anna);
    await expect(subscribe(eleventh)).rejects.toMatchObject({ code: 'too_many' });
    await call(anna, 'push.unsubscribe', { endpoint: second.endpoint });
    await subscribe(eleventh);
    await expect(call(anna, 'push.test', {})).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[PU3] nobody takes away the subscription of somebody else', async () => {
    const [anna, bert] = [await register(), await register()];
    const device = await subscribe(anna);
    await call(bert, 'push.unsubscribe', { endpoint: device.endpoint });
    expect(await call(anna, 'push.test', {})).toEqual({ status: 201, ok: true });
  });

  test.each([404, 410])('[PU4] a subscription that is answered %i is deleted', async (status) => {
    const { anna, bert, conversationId } = await friends();
    const [device, other] = [await subscribe(bert), await subscribe(await place.server.login(bert))];
    device.answers.push({ status });
    await say(anna, conversationId);
    await device.next();
    await other.next();
    await expect.poll(() => call(bert, 'push.check', {})).toMatchObject({ subscribed: false, last: null });
    await say(anna, conversationId);
    await other.next();
    expect(device.pushes).toHaveLength(1);
  });

  test('[PU5] a message is told to the others who have not muted it, not to its sender', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    const [annas, berts, cleos] = [await subscribe(anna), await subscribe(bert), await subscribe(cleo)];
    await call(bert, 'conversation.mute', { conversationId, until: Number.MAX_SAFE_INTEGER });
    const { seq } = await say(anna, conversationId);
    expect((await cleos.next()).payload).toMatchObject({ type: 'message', conversationId, seq, count: 1, unread: 1 });
    await call(bert, 'conversation.mute', { conversationId, until: 0 });
    const answer = await say(cleo, conversationId);
    expect(told([(await annas.next()).payload, (await berts.next()).payload])).toEqual([answer.seq, answer.seq]);
    expect([annas, berts, cleos].map((device) => told(device.payloads))).toEqual([[answer.seq], [answer.seq], [seq]]);
  });

  test('[PU5] lines of the system are told to nobody', async () => {
    const { anna, bert, conversationId } = await group();
    const device = await subscribe(bert);
    await call(anna, 'conversation.update', { conversationId, title: 'Choir' });
    const { seq } = await say(anna, conversationId);
    expect((await device.next()).payload).toMatchObject({ seq, count: 2 });
    await call(anna, 'conversation.update', { conversationId, title: 'Club' });
    await call(bert, 'push.test', {});
    expect(told(device.payloads)).toEqual([seq, 'test']);
  });

  test('[PU5] an announcement is told to everybody', async () => {
    const bert = await register();
    const device = await subscribe(bert);
    const operator = await place.operator();
    const { message } = await operator.call('announcement.send', { text: 'Water is off tomorrow' });
    const { payload, headers } = await device.next();
    expect(payload).toMatchObject({ conversationId: message.conversationId, seq: message.seq });
    expect(headers['urgency']).toBe('normal');
  });

  test('[PU5] a push service that hangs delays neither the acknowledgement nor the others', async () => {
    const { anna, bert, conversationId } = await friends();
    const [hangs, other] = [await subscribe(bert), await subscribe(await place.server.login(bert))];
    hangs.answers.push('silence');
    await say(anna, conversationId);
    await hangs.next();
    await other.next();
    const second = await say(anna, conversationId);
    expect((await other.next()).payload).toMatchObject({ seq: second.seq });
  });

  test('[PU5] the counts are of what others said', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    await say(anna, conversationId);
    await device.next();
    await say(bert, conversationId);
    const { seq } = await say(anna, conversationId);
    expect((await device.next()).payload).toMatchObject({ seq, count: 2, unread: 2 });
  });

  test('[RD4] what is marked as unread counts in the badge, as one, and not twice', async () => {
    const { anna, bert, conversationId } = await friends();
    const notes = (await call(bert, 'conversation.direct', { userId: bert.id })).conversation.id;
    const device = await subscribe(bert);
    for (const id of [conversationId, notes]) await call(bert, 'read.unread', { conversationId: id, on: true, base: Number.MAX_SAFE_INTEGER });
    const { seq } = await say(anna, conversationId);
    expect((await device.next()).payload).toMatchObject({ seq, count: 1, unread: 2 });
  });

  test('[PU6] a send that is repeated is told once', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    const params: Params<'message.send'> = { conversationId, clientId: clientId(), type: 'text', text: 'hello' };
    for (let turn = 0; turn < 3; turn += 1) await call(anna, 'message.send', params);
    expect((await device.next()).payload).toMatchObject({ seq: 1 });
    await call(anna, 'message.send', params);
    await say(anna, conversationId);
    expect((await device.next()).payload).toMatchObject({ seq: 2, count: 2 });
  });

  test('[PU7] while the person is connected a push waits, and is not sent for what they read meanwhile', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    const [berts, cleos] = [await subscribe(bert), await subscribe(cleo)];
    const [, desk] = [await place.server.connect(cleo), await place.server.connect(bert)];
    const { seq } = await say(anna, conversationId);
    const sent = performance.now();
    await desk.call('read.mark', { conversationId, seq });
    const push = await cleos.next();
    expect(push.payload).toMatchObject({ seq });
    expect(push.at - sent).toBeGreaterThan(pushDelayMs / 2);
    await desk.close();
    const second = await say(anna, conversationId);
    expect((await berts.next()).payload).toMatchObject({ seq: second.seq, count: 1, unread: 1 });
    expect(berts.pushes).toHaveLength(1);
  });

  test('[PU8] who is removed before the push is sent gets none', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    const [berts, cleos] = [await subscribe(bert), await subscribe(cleo)];
    for (const person of [bert, cleo]) await place.server.connect(person);
    const { seq } = await say(anna, conversationId);
    await call(anna, 'member.remove', { conversationId, userId: bert.id });
    expect((await cleos.next()).payload).toMatchObject({ seq });
    await call(bert, 'push.test', {});
    expect(told(berts.payloads)).toEqual(['test']);
  });

  test('[PU8] nothing is told of a person who is blocked by then, between two or in a group', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    await place.server.befriend(anna, bert);
    const { conversation } = await call(anna, 'conversation.direct', { userId: bert.id });
    const [berts, cleos] = [await subscribe(bert), await subscribe(cleo)];
    const desk = await place.server.connect(bert);
    await say(anna, conversation.id);
    await say(anna, conversationId);
    await call(bert, 'block.add', { userId: anna.id });
    const first = await say(cleo, conversationId);
    expect((await berts.next()).payload).toMatchObject({ conversationId, seq: first.seq });
    await desk.close();
    await cleos.next();
    const theirs = await say(anna, conversationId);
    expect((await cleos.next()).payload).toMatchObject({ seq: theirs.seq });
    const second = await say(cleo, conversationId);
    await berts.next();
    expect(told(berts.payloads)).toEqual([first.seq, second.seq]);
  });

  test('[PU8] nor of somebody who has blocked them, between two', async () => {
    const { anna, bert, conversationId } = await friends();
    const { conversation } = await call(anna, 'conversation.create', { title: 'Club', memberIds: [bert.id] });
    const device = await subscribe(bert);
    const desk = await place.server.connect(bert);
    await say(anna, conversationId);
    await call(anna, 'block.add', { userId: bert.id });
    const { seq } = await say(anna, conversation.id);
    expect((await device.next()).payload).toMatchObject({ conversationId: conversation.id, seq });
    await desk.close();
    await call(bert, 'push.test', {});
    expect(told(device.payloads)).toEqual([seq, 'test']);
  });

  test('[PU8] a message recalled before the push is sent is not told', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    await call(bert, 'settings.update', { pushContent: true });
    await place.server.connect(bert);
    const first = await say(anna, conversationId, 'kept');
    const { id } = await say(anna, conversationId, 'regretted');
    await call(anna, 'message.delete', { messageId: id });
    expect((await device.next()).payload).toMatchObject({ seq: first.seq, body: 'kept' });
  });

  test('[PU9] in quiet hours nothing is sent, and the next push has the whole count', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    const [berts, cleos] = [await subscribe(bert), await subscribe(cleo)];
    const minute = Math.floor(Date.now() / 60_000) % 1_440;
    const around = (minutes: number): number => (minute + 1_440 + minutes) % 1_440;
    await call(bert, 'settings.update', { quietFrom: around(-60), quietTo: around(60), timeZone: 'UTC' });
    const { seq } = await say(anna, conversationId);
    await cleos.next();
    expect(await call(bert, 'push.check', {})).toMatchObject({ quietNow: true, last: null });
    await call(bert, 'settings.update', { quietFrom: null, quietTo: null });
    await say(anna, conversationId);
    expect((await berts.next()).payload).toMatchObject({ seq: seq + 1, count: 2, unread: 2 });
    expect(berts.pushes).toHaveLength(1);
  });

  test('[PU10] what was said and by whom is told only to who wants it', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    await place.server.befriend(anna, bert);
    await call(bert, 'friend.remark', { userId: anna.id, remark: 'the boss' });
    const [berts, cleos] = [await subscribe(bert), await subscribe(cleo)];
    await call(bert, 'settings.update', { pushContent: true });
    const { seq } = await say(anna, conversationId, 'see you at nine');
    const bare = { type: 'message', conversationId, seq, count: 1, unread: 1 };
    expect((await cleos.next()).payload).toEqual(bare);
    expect((await berts.next()).payload).toEqual({ ...bare, title: 'Club', body: 'the boss: see you at nine' });
    const { conversation } = await call(anna, 'conversation.direct', { userId: bert.id });
    await say(anna, conversation.id, 'just you');
    expect((await berts.next()).payload).toMatchObject({ title: 'the boss', body: 'just you', count: 1, unread: 2 });
    expect(berts.pushes[0]!.headers['topic']).not.toBe(cleos.pushes[0]!.headers['topic']);
  });

  test('[PU10] a file without a caption is told by its name', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    await call(bert, 'settings.update', { pushContent: true });
    const { id: fileId } = await place.server.upload(anna, Buffer.from('minutes'), { name: '会议记录.txt' });
    const send = (text: string) => call(anna, 'message.send', { conversationId, clientId: clientId(), type: 'file', text, fileId });
    await send('');
    expect((await device.next()).payload).toMatchObject({ body: '会议记录.txt' });
    await send('of yesterday');
    expect((await device.next()).payload).toMatchObject({ body: 'of yesterday' });
  });

  test('[PU10] a picture and a video without a caption are told as that, not by their names', async () => {
    const { anna, bert, conversationId } = await group();
    const device = await subscribe(bert);
    await call(bert, 'settings.update', { pushContent: true });
    const picture = await place.server.upload(anna, png(80, 60), { name: 'IMG_2041.png' });
    const video = await place.server.upload(anna, Buffer.from('0000001c667479706d703432000000006d70343269736f6d0000000866726565', 'hex'), { name: 'VID_7.mp4' });
    const send = (type: 'image' | 'file', fileId: string, text: string) => call(anna, 'message.send', { conversationId, clientId: clientId(), type, text, fileId });
    for (const [type, { id }, media] of [
      ['image', picture, 'picture'],
      ['file', video, 'video'],
    ] as const) {
      await send(type, id, '');
      expect((await device.next()).payload).toMatchObject({ title: 'Club', body: anna.user.name, media });
      await send(type, id, 'by the lake');
      const { payload } = await device.next();
      expect(payload).toMatchObject({ body: `${anna.user.name}: by the lake` });
      expect(payload).not.toHaveProperty('media');
    }
    // As a file it has its name.
    await send('file', picture.id, '');
    expect((await device.next()).payload).toMatchObject({ body: `${anna.user.name}: IMG_2041.png` });
  });

  test('[PU10] a voice message without words is told by its length', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    const [berts, cleos] = [await subscribe(bert), await subscribe(cleo)];
    await call(bert, 'settings.update', { pushContent: true });
    const { id: fileId } = await place.server.upload(anna, Buffer.from('OggS\0'), { name: 'voice.ogg', durationMs: 42_400, waveform: [1, 2] });
    const send = (text: string, to = conversationId) => call(anna, 'message.send', { conversationId: to, clientId: clientId(), type: 'voice', text, fileId });
    await send('');
    expect((await berts.next()).payload).toMatchObject({ title: 'Club', body: anna.user.name, voiceMs: 42_400 });
    expect((await cleos.next()).payload).toEqual({ type: 'message', conversationId, seq: expect.any(Number), count: 1, unread: 1 });
    await send('the second verse');
    const { payload } = await berts.next();
    expect(payload).toMatchObject({ body: `${anna.user.name}: the second verse` });
    expect(payload).not.toHaveProperty('voiceMs');
    await place.server.befriend(anna, bert);
    const { conversation } = await call(anna, 'conversation.direct', { userId: bert.id });
    await send('', conversation.id);
    expect((await berts.next()).payload).toEqual({ type: 'message', conversationId: conversation.id, seq: 1, count: 1, unread: 3, title: anna.user.name, voiceMs: 42_400 });
  });

  test('[PU10] the longest text is cut to fit, and a stranger’s is kept back', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    await call(bert, 'settings.update', { pushContent: true });
    await say(anna, conversationId, '歌'.repeat(299) + '👋"\n'.repeat(1_900));
    const { payload, bytes } = await device.next();
    expect(payload).toMatchObject({ body: `${'歌'.repeat(299)}…` });
    expect(bytes).toBeLessThan(limits.pushBytes);
    const { conversation } = await call(await register(), 'conversation.create', { title: 'Spam', memberIds: [bert.id] });
    const members = await call(bert, 'member.list', { conversationId: conversation.id });
    const stranger = members.members.find(({ userId }) => userId !== bert.id)!;
    await say(people.get(stranger.userId)!, conversation.id, 'buy this');
    expect((await device.next()).payload).toEqual({ type: 'message', conversationId: conversation.id, seq: 2, count: 1, unread: 2 });
  });

  test('[PU11] what is read on one device is taken back from the others that were told', async () => {
    const { anna, bert, conversationId } = await friends();
    const desk = await place.server.login(bert);
    const [desks, phone, late] = [await subscribe(desk), await subscribe(bert), service.device()];
    const { seq } = await say(anna, conversationId);
    await Promise.all([desks.next(), phone.next()]);
    await call(await place.server.login(bert), 'push.subscribe', late.subscription);
    await expect.poll(() => place.rows.run('select seq from push_told where user_id = ?', bert.id)).toHaveLength(2);
    await call(desk, 'read.mark', { conversationId, seq });
    expect((await phone.next()).payload).toEqual({ type: 'read', conversationId, unread: 0 });
    expect(phone.pushes[1]!.headers['topic']).toBe(phone.pushes[0]!.headers['topic']);
    await expect.poll(() => place.rows.run('select seq from push_told where user_id = ?', bert.id)).toEqual([]);
    await call(desk, 'push.test', {});
    expect([told(desks.payloads), told(late.payloads)]).toEqual([[seq, 'test'], []]);
  });

  test('[PU11] what is read while its push is on its way is taken back behind it', async () => {
    const { anna, bert, conversationId } = await friends();
    const desk = await place.server.login(bert);
    const phone = await subscribe(bert);
    const { promise: read, resolve: answer } = Promise.withResolvers<void>();
    phone.answers.push({ status: 201, after: read });
    const { seq } = await say(anna, conversationId);
    await phone.next();
    await call(desk, 'read.mark', { conversationId, seq });
    expect(phone.pushes).toHaveLength(1);
    answer();
    expect((await phone.next()).payload).toMatchObject({ type: 'read', conversationId });
  });

  test('[PU11] reading a part takes back nothing of what is newer', async () => {
    const { anna, bert, conversationId } = await friends();
    const desk = await place.server.login(bert);
    const phone = await subscribe(bert);
    await say(anna, conversationId);
    await phone.next();
    await say(anna, conversationId);
    await phone.next();
    await call(desk, 'read.mark', { conversationId, seq: 1 });
    await call(bert, 'push.test', {});
    await phone.next();
    await call(desk, 'read.mark', { conversationId, seq: 2 });
    await phone.next();
    expect(told(phone.payloads)).toEqual([1, 2, 'test', 'read']);
  });

  test('[PU12] a push service that is busy is asked again, when it says', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    device.answers.push({ status: 429, headers: { 'retry-after': '1' } }, { status: 503, headers: { 'retry-after': '0' } });
    await say(anna, conversationId);
    const [first, second, third] = [await device.next(), await device.next(), await device.next()];
    expect(told([first.payload, second.payload, third.payload])).toEqual([1, 1, 1]);
    expect(second.at - first.at).toBeGreaterThanOrEqual(990);
    await expect.poll(() => call(bert, 'push.check', {})).toMatchObject({ last: { status: 201 } });
    await say(anna, conversationId);
    expect((await device.next()).payload).toMatchObject({ seq: 2 });
  });

  test('[PU12] what was read while the push service was busy is not told any more', async () => {
    const { anna, bert, cleo, conversationId } = await group();
    const [berts, cleos] = [await subscribe(bert), await subscribe(cleo)];
    for (const device of [berts, cleos]) device.answers.push({ status: 503, headers: { 'retry-after': '1' } });
    const { seq } = await say(anna, conversationId);
    await Promise.all([berts.next(), cleos.next()]);
    await call(bert, 'read.mark', { conversationId, seq });
    expect((await cleos.next()).payload).toMatchObject({ seq });
    await call(bert, 'push.test', {});
    expect(told(berts.payloads)).toEqual([seq, 'test']);
  });

  test('[PU12] another refusal is not asked again', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    device.answers.push({ status: 403, headers: { 'retry-after': '0' } });
    await say(anna, conversationId);
    await device.next();
    await expect.poll(() => call(bert, 'push.check', {})).toMatchObject({ subscribed: true, last: { status: 403 } });
    await say(anna, conversationId);
    expect((await device.next()).payload).toMatchObject({ seq: 2 });
  });

  test('[PU13] a test says what the push service answered', async () => {
    const anna = await register();
    await expect(call(anna, 'push.test', {})).rejects.toMatchObject({ code: 'not_found' });
    const device = await subscribe(anna);
    device.answers.push({ status: 201 }, { status: 500 }, { status: 410 });
    expect(await call(anna, 'push.test', {})).toEqual({ status: 201, ok: true });
    expect(await call(anna, 'push.test', {})).toEqual({ status: 500, ok: false });
    expect(await call(anna, 'push.test', {})).toEqual({ status: 410, ok: false });
    expect(device.payloads).toEqual([{ type: 'test' }, { type: 'test' }, { type: 'test' }]);
    await expect(call(anna, 'push.test', {})).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[PU13] the check names each link of the chain', async () => {
    const { anna, bert, conversationId } = await friends();
    const nothing = { subscribed: false, last: null, mutedConversations: 0, quietNow: false, content: false, otherDeviceActive: false };
    expect(await call(bert, 'push.check', {})).toEqual(nothing);
    const device = await subscribe(bert);
    expect(await call(bert, 'push.check', {})).toEqual({ ...nothing, subscribed: true });
    await say(anna, conversationId);
    await device.next();
    await call(bert, 'conversation.mute', { conversationId, until: Number.MAX_SAFE_INTEGER });
    await call(bert, 'settings.update', { pushContent: true });
    await place.server.connect(bert);
    await expect
      .poll(() => call(bert, 'push.check', {}))
      .toEqual({ ...nothing, subscribed: true, last: { at: expect.any(Number), status: 201 }, mutedConversations: 1, content: true });
    await place.server.connect(await place.server.login(bert));
    expect(await call(bert, 'push.check', {})).toMatchObject({ otherDeviceActive: true });
  });
});

describe('pushes with a pause between them', () => {
  const place = usePlace({ config: { ...config, pushIntervalMs: 500 } });
  const { call, subscribe, say, friends } = pushing(() => place.server);

  test('[PU6] a burst becomes one push at a time, with the count of all', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    await say(anna, conversationId);
    const first = await device.next();
    for (let count = 0; count < 5; count += 1) await say(anna, conversationId);
    const second = await device.next();
    expect(second.payload).toMatchObject({ seq: 6, count: 6, unread: 6 });
    expect(second.at - first.at).toBeGreaterThanOrEqual(490);
    expect(second.headers['topic']).toBe(first.headers['topic']);
    await call(bert, 'push.test', {});
    expect(told(device.payloads)).toEqual([1, 6, 'test']);
  });

  test('[PU6] the pause is of one conversation: another is told at once', async () => {
    const { anna, bert, conversationId } = await friends();
    const device = await subscribe(bert);
    await say(anna, conversationId);
    await device.next();
    await say(anna, conversationId);
    const { conversation } = await call(anna, 'conversation.create', { title: 'Club', memberIds: [bert.id] });
    const { seq } = await say(anna, conversation.id);
    expect((await device.next()).payload).toMatchObject({ conversationId: conversation.id, seq });
    expect((await device.next()).payload).toMatchObject({ conversationId, seq: 2 });
  });
});

describe('a server that stops', () => {
  test.each(engines)('[PU12] on %s does not wait for push services', async (engine) => {
    const server = await startTestServer({ engine, config });
    const { subscribe, say, friends } = pushing(() => server);
    const { anna, bert, conversationId } = await friends();
    const [hangs, tested] = [await subscribe(bert), await subscribe(await server.login(bert))];
    hangs.answers.push('silence');
    tested.answers.push({ status: 503, headers: { 'retry-after': '3600' } });
    await say(anna, conversationId);
    await hangs.next();
    await tested.next();
    const from = performance.now();
    await server.close();
    expect(performance.now() - from).toBeLessThan(5_000);
  });
});

const people = new Map<string, Person>();

/** What people do here: over HTTP, so that nobody is connected who is not meant to be. */
function pushing(server: () => Awaited<ReturnType<typeof startTestServer>>) {
  const call: CallAs = (person, method, params) => server().call(method, params, person.token);
  const register = async (): Promise<Person> => {
    const person = await server().register();
    people.set(person.id, person);
    return person;
  };
  return {
    call,
    register,
    async subscribe(person: Person): Promise<Device> {
      const device = service.device();
      await call(person, 'push.subscribe', device.subscription);
      return device;
    },
    say: async (person: Person, conversationId: string, text = 'hello') =>
      (await call(person, 'message.send', { conversationId, clientId: clientId(), type: 'text', text })).message,
    async friends(): Promise<{ anna: Person; bert: Person; conversationId: string }> {
      const [anna, bert] = [await register(), await register()];
      await server().befriend(anna, bert);
      const { conversation } = await call(anna, 'conversation.direct', { userId: bert.id });
      return { anna, bert, conversationId: conversation.id };
    },
    /** Anna's, with bert and cleo, who know nobody but have let the group in. */
    async group(): Promise<{ anna: Person; bert: Person; cleo: Person; conversationId: string }> {
      const [anna, bert, cleo] = [await register(), await register(), await register()];
      const { conversation } = await call(anna, 'conversation.create', { title: 'Club', memberIds: [bert.id, cleo.id] });
      for (const person of [bert, cleo]) {
        await call(person, 'conversation.accept', { conversationId: conversation.id });
        await call(person, 'read.mark', { conversationId: conversation.id, seq: 1 });
      }
      await call(anna, 'read.mark', { conversationId: conversation.id, seq: 1 });
      return { anna, bert, cleo, conversationId: conversation.id };
    },
  };
}

type CallAs = <M extends MethodName>(person: { token: string }, method: M, params: Params<M>) => Promise<Result<M>>;
