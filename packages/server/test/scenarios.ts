import { type FileRef, type Message, type MethodName, type Params, type RequestError, type Result, firstLink, methods } from '@kith/protocol';
import { createHmac } from 'node:crypto';
import type { Core } from '../src/core/core.ts';
import { fromBase32, totp } from '../src/core/totp.ts';
import { Authenticator } from './authenticator.ts';

/** A signed-in person in a scenario. `ask` throws the error of a refused request. */
export interface Person {
  id: string;
  handle: string | null;
  sessionId: string;
  token: string;
  ask<M extends MethodName>(method: M, params: Params<M>): Promise<Result<M>>;
}

/** What scenarios play with. */
export interface World {
  /** Makes an account and opens a device whose replica is checked at the end. */
  register(name: string): Promise<Person>;
  guest(name: string): Promise<Person>;
  exchange(jwt: string): Promise<Person>;
  /** Whoever has just signed in by some other way. */
  enter(signedIn: Result<'auth.login'>): Promise<Person>;
  /** Another device of the same person, also checked. */
  device(person: Person): Promise<Person>;
  /** Without signing in. */
  ask<M extends MethodName>(method: M, params: Params<M>): Promise<Result<M>>;
  /** The operator of this server. */
  operator(): Promise<Person>;
  /** A file of this person, committed and not sent; with `sound` something spoken. */
  upload(person: Person, name: string, sound?: Sound): Promise<FileRef>;
  /** Shows a preview with a picture under a message, as if somebody had looked at its link. */
  preview(message: Message): Promise<void>;
}

export type Sound = Required<Pick<FileRef, 'durationMs' | 'waveform'>>;

export const password = 'correct horse battery';
export const jwtSecret = 'a secret of the other site, 32+ bytes';
export const jwtAudience = 'kith';

/** Every name a scenario gives is its own, so that all of them fit on one server. */
let used = 0;
export const unique = (word: string): string => `${word}-${(used += 1)}`;

export async function befriend(a: Person, b: Person): Promise<void> {
  await a.ask('friend.request', { userId: b.id, note: 'hello' });
  await b.ask('friend.accept', { userId: a.id });
}

async function friends(w: World): Promise<[Person, Person]> {
  const pair: [Person, Person] = [await w.register('anna'), await w.register('bert')];
  await befriend(...pair);
  return pair;
}

export async function direct(w: World): Promise<{ anna: Person; bert: Person; conversationId: string }> {
  const [anna, bert] = await friends(w);
  const { conversation } = await anna.ask('conversation.direct', { userId: bert.id });
  return { anna, bert, conversationId: conversation.id };
}

export async function group(w: World): Promise<{ anna: Person; bert: Person; cleo: Person; conversationId: string }> {
  const [anna, bert, cleo] = [await w.register('anna'), await w.register('bert'), await w.register('cleo')];
  await befriend(anna, bert);
  const { conversation } = await anna.ask('conversation.create', { title: 'Club', memberIds: [bert.id, cleo.id] });
  return { anna, bert, cleo, conversationId: conversation.id };
}

export const say = (person: Person, conversationId: string, text = 'hello'): Promise<Result<'message.send'>> =>
  person.ask('message.send', { conversationId, clientId: unique('client-id'), type: 'text', text });

/** Something spoken, three seconds long. */
export async function speak(w: World, person: Person, conversationId: string): Promise<Result<'message.send'>> {
  const { id: fileId } = await w.upload(person, 'voice.ogg', { durationMs: 3_000, waveform: [0, 12, 31, 7] });
  return person.ask('message.send', { conversationId, clientId: unique('client-id'), type: 'voice', text: '', fileId });
}

/** What the core is told when somebody has looked at the link of a message. */
export async function tellPreview(core: Pick<Core, 'reserveLinkPicture' | 'fileStored' | 'linkFound'>, { id, conversationId, senderId, text }: Message): Promise<void> {
  const link = { messageId: id, conversationId, senderId, url: firstLink(text)! };
  const pictureId = await core.reserveLinkPicture(link, { size: 10, width: 192, height: 192 });
  await core.fileStored(pictureId!, { sha256: '0'.repeat(64), type: 'image/webp' });
  await core.linkFound(link, { site: new URL(link.url).host, title: 'A page', pictureId: pictureId! });
}

export function jwtFor(subject: string, claims: Record<string, unknown> = {}): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: subject, aud: jwtAudience, exp: Math.floor(Date.now() / 1_000) + 600, name: subject, ...claims })}`;
  return `${body}.${createHmac('sha256', jwtSecret).update(body).digest('base64url')}`;
}

/** The server that scenarios run on, as browsers see it. */
export const scenarioUrl = 'http://localhost:3000';

/** An account with an app: codes of the coming steps, each good once. */
export async function withApp(w: World): Promise<{ anna: Person; code: () => string; recoveryCodes: string[] }> {
  const anna = await w.register('anna');
  const { secret, ticket } = await anna.ask('app.begin', {});
  // This one and the next: right also when a step ends on the way. There is no third.
  let step = Math.floor(Date.now() / 30_000) - 1;
  const code = (): string => totp(fromBase32(secret), (step += 1));
  const { recoveryCodes } = await anna.ask('app.add', { secret, ticket, code: code() });
  return { anna, code, recoveryCodes: recoveryCodes! };
}

export async function addPasskey(person: Person, authenticator = new Authenticator(), name = 'A key'): Promise<{ authenticator: Authenticator } & Result<'passkey.add'>> {
  const { options } = await person.ask('passkey.begin', {});
  return { authenticator, ...(await person.ask('passkey.add', { name, ...authenticator.make(options.challenge, { origin: scenarioUrl }) })) };
}

async function withPasskey(w: World): Promise<{ anna: Person; authenticator: Authenticator; passkeyId: string }> {
  const anna = await w.register('anna');
  const { authenticator, security } = await addPasskey(anna);
  return { anna, authenticator, passkeyId: security.passkeys[0]!.id };
}

/** The ticket of the first step. */
export const firstStep = (w: Pick<World, 'ask'>, handle: string, given = password): Promise<string> =>
  w.ask('auth.login', { handle, password: given }).then(
    () => '',
    (error: RequestError) => error.extra.ticket ?? '',
  );

export const durableMethods = (Object.keys(methods) as MethodName[]).filter((method) => methods[method].durable);

/**
 * For every durable method a little play in which it changes something that somebody else, or another device, sees.
 * A new durable method without one fails the laws.
 */
export const scenarios: Partial<Record<MethodName, (w: World) => Promise<unknown>>> = {
  'auth.register': (w) => w.register('anna'),
  'auth.guest': (w) => w.guest('Gast'),
  async 'auth.factor'(w) {
    const { anna, code, recoveryCodes } = await withApp(w);
    for (const given of [code(), recoveryCodes[0]!]) await w.enter(await w.ask('auth.factor', { handle: anna.handle!, ticket: await firstStep(w, anna.handle!), code: given }));
  },
  async 'auth.reset'(w) {
    const operator = await w.operator();
    const { anna } = await withApp(w);
    const { handle, ticket } = await operator.ask('admin.reset', { userId: anna.id });
    await w.ask('auth.reset', { handle, ticket, password: 'another good one' });
  },
  'app.add': (w) => withApp(w),
  async 'app.remove'(w) {
    const { anna } = await withApp(w);
    await w.ask('auth.guest', { name: 'Gast' });
    await anna.ask('app.remove', {});
    await w.device(anna);
  },
  async 'recovery.renew'(w) {
    const { anna } = await withApp(w);
    await anna.ask('recovery.renew', {});
  },
  'passkey.add': (w) => withPasskey(w),
  async 'passkey.rename'(w) {
    const { anna, passkeyId } = await withPasskey(w);
    await anna.ask('passkey.rename', { passkeyId, name: 'The blue one' });
  },
  async 'passkey.remove'(w) {
    const { anna, passkeyId } = await withPasskey(w);
    await addPasskey(anna);
    await anna.ask('passkey.remove', { passkeyId });
  },
  async 'passkey.login'(w) {
    const { anna, authenticator } = await withPasskey(w);
    const { options } = await w.ask('passkey.challenge', {});
    await w.enter(await w.ask('passkey.login', { passkey: authenticator.show(options.challenge, { origin: scenarioUrl, userId: anna.id }) }));
  },
  async 'auth.login'(w) {
    const anna = await w.register('anna');
    await w.device(anna);
    await w.ask('auth.login', { handle: anna.handle!, password });
  },
  async 'auth.exchange'(w) {
    const subject = unique('subject');
    await w.exchange(jwtFor(subject));
    await w.exchange(jwtFor(subject, { jti: 'again' }));
  },
  async 'auth.claim'(w) {
    const guest = await w.guest('Gast');
    const bert = await w.register('bert');
    await befriend(guest, bert);
    await guest.ask('auth.claim', { handle: unique('claimed'), password });
  },
  async 'auth.logout'(w) {
    const anna = await w.register('anna');
    const second = await w.device(anna);
    await second.ask('auth.logout', {});
  },
  async 'session.revoke'(w) {
    const anna = await w.register('anna');
    const second = await w.device(anna);
    await anna.ask('session.revoke', { sessionId: second.sessionId });
  },
  async 'user.update'(w) {
    const { anna, bert, conversationId } = await group(w);
    await w.device(anna);
    await bert.ask('friend.remark', { userId: anna.id, remark: 'the boss' });
    await anna.ask('user.update', { name: 'Anna the Second', avatar: 'salt-2' });
    await anna.ask('user.update', { bio: 'Alto, slow runner', accepts: 'anyone' });
    await say(bert, conversationId);
  },
  async 'user.changePassword'(w) {
    const anna = await w.register('anna');
    await w.device(anna);
    await anna.ask('user.changePassword', { password, newPassword: 'another good one' });
  },
  async 'conversation.retention'(w) {
    const { anna, conversationId } = await group(w);
    await say(anna, conversationId);
    for (const days of [30, 30, 7, 0]) await anna.ask('conversation.retention', { conversationId, days });
  },
  async 'auth.restore'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await bert.ask('friend.remark', { userId: anna.id, remark: 'from the choir' });
    await say(anna, conversationId);
    await anna.ask('user.delete', { password });
    await w.ask('auth.restore', { handle: anna.handle!, password });
    await w.device(anna);
    await say(anna, conversationId).catch(() => undefined);
  },
  async 'user.delete'(w) {
    const { anna, bert, conversationId } = await group(w);
    const { conversation } = await bert.ask('conversation.direct', { userId: anna.id });
    await say(anna, conversationId, 'goodbye');
    await say(anna, conversation.id, 'goodbye');
    await anna.ask('user.delete', { password });
  },
  async 'friend.request'(w) {
    const [anna, bert] = [await w.register('anna'), await w.register('bert')];
    await w.device(bert);
    await anna.ask('friend.request', { userId: bert.id, note: 'from the choir' });
  },
  'friend.accept': (w) => friends(w),
  async 'friend.refuse'(w) {
    const [anna, bert] = [await w.register('anna'), await w.register('bert')];
    await anna.ask('friend.request', { userId: bert.id });
    await w.device(bert);
    await bert.ask('friend.refuse', { userId: anna.id });
    await bert.ask('friend.request', { userId: anna.id });
    await anna.ask('friend.refuse', { userId: bert.id });
  },
  async 'friend.remove'(w) {
    const { anna, bert } = await direct(w);
    await bert.ask('friend.remove', { userId: anna.id });
  },
  async 'friend.remark'(w) {
    const [anna, bert] = await friends(w);
    await w.device(anna);
    await anna.ask('friend.remark', { userId: bert.id, remark: 'next door' });
    await anna.ask('friend.remark', { userId: bert.id, remark: '' });
  },
  async 'block.add'(w) {
    const { anna, bert } = await direct(w);
    await w.device(anna);
    await anna.ask('block.add', { userId: bert.id });
    await bert.ask('user.update', { name: 'Bert again' });
  },
  async 'block.remove'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await anna.ask('block.add', { userId: bert.id });
    await w.device(anna);
    await anna.ask('block.remove', { userId: bert.id });
    await say(bert, conversationId);
  },
  'conversation.direct': (w) => direct(w),
  'conversation.create': (w) => group(w),
  async 'conversation.update'(w) {
    const { anna, conversationId } = await group(w);
    await anna.ask('conversation.update', { conversationId, title: 'Choir', avatar: 'salt-7' });
  },
  async 'conversation.leave'(w) {
    const { anna, bert, conversationId } = await group(w);
    await w.device(anna);
    await anna.ask('conversation.leave', { conversationId });
    await say(bert, conversationId, 'she left');
  },
  async 'conversation.dissolve'(w) {
    const { anna, cleo, conversationId } = await group(w);
    await w.device(cleo);
    const { id: fileId } = await w.upload(anna, 'minutes.txt');
    await anna.ask('message.send', { conversationId, clientId: unique('client-id'), type: 'file', text: 'the last ones', fileId });
    await anna.ask('conversation.dissolve', { conversationId });
  },
  async 'conversation.accept'(w) {
    const { cleo, conversationId } = await group(w);
    await w.device(cleo);
    await cleo.ask('conversation.accept', { conversationId });
  },
  async 'conversation.mute'(w) {
    const { bert, conversationId } = await group(w);
    await w.device(bert);
    await bert.ask('conversation.mute', { conversationId, until: Number.MAX_SAFE_INTEGER });
  },
  async 'conversation.pin'(w) {
    const { bert, conversationId } = await group(w);
    await w.device(bert);
    await bert.ask('conversation.pin', { conversationId, on: true });
    await bert.ask('conversation.pin', { conversationId, on: false });
  },
  async 'member.add'(w) {
    const { anna, cleo, conversationId } = await group(w);
    const dora = await w.register('dora');
    await anna.ask('member.remove', { conversationId, userId: cleo.id });
    await say(anna, conversationId, 'without her');
    await anna.ask('member.add', { conversationId, userIds: [cleo.id, dora.id] });
    await say(dora, conversationId, 'thank you');
  },
  async 'member.remove'(w) {
    const { anna, bert, cleo, conversationId } = await group(w);
    await w.device(cleo);
    await anna.ask('member.remove', { conversationId, userId: cleo.id });
    await say(bert, conversationId, 'she is out');
    const operator = await w.operator();
    const { conversation } = await operator.ask('room.create', { title: unique('Garden') });
    await cleo.ask('room.join', { conversationId: conversation.id });
    await operator.ask('member.remove', { conversationId: conversation.id, userId: cleo.id });
  },
  async 'member.role'(w) {
    const { anna, bert, cleo, conversationId } = await group(w);
    await anna.ask('member.role', { conversationId, userId: bert.id, role: 'admin' });
    await anna.ask('member.role', { conversationId, userId: cleo.id, role: 'owner' });
  },
  async 'room.create'(w) {
    const operator = await w.operator();
    const anna = await w.register('anna');
    const { conversation } = await operator.ask('room.create', { title: unique('Garden') });
    await anna.ask('room.join', { conversationId: conversation.id });
  },
  async 'room.join'(w) {
    const [anna, bert] = [await w.register('anna'), await w.guest('Gast')];
    const { rooms } = await anna.ask('room.list', {});
    const conversationId = rooms[0]!.conversation.id;
    await anna.ask('room.join', { conversationId });
    await bert.ask('room.join', { conversationId });
    await say(bert, conversationId, 'hello everyone');
    await bert.ask('conversation.leave', { conversationId });
    await bert.ask('room.join', { conversationId });
    await bert.ask('conversation.leave', { conversationId });
    await anna.ask('conversation.leave', { conversationId });
  },
  async 'message.send'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await w.device(anna);
    const again = { conversationId, clientId: unique('client-id'), type: 'text', text: '你好 👋' } as const;
    await Promise.all([anna.ask('message.send', again), anna.ask('message.send', again), say(bert, conversationId), say(anna, conversationId)]);
    await anna.ask('message.send', { ...again, clientId: unique('client-id'), type: 'emoji', text: '🍁' });
    const { id: fileId } = await w.upload(anna, '报告.pdf');
    const withFile = { ...again, clientId: unique('client-id'), type: 'file', text: '', fileId } as const;
    for (const _ of [1, 2]) await anna.ask('message.send', withFile);
    const { message } = await bert.ask('message.send', { ...withFile, clientId: unique('client-id'), text: 'forwarded' });
    await bert.ask('message.delete', { messageId: message.id });
  },
  async 'message.edit'(w) {
    const { anna, conversationId } = await group(w);
    const { message } = await say(anna, conversationId, 'tomorow');
    await anna.ask('message.edit', { messageId: message.id, text: 'tomorrow' });
  },
  async 'message.delete'(w) {
    const { anna, bert, conversationId } = await group(w);
    const [mine, theirs] = [await say(anna, conversationId), await say(bert, conversationId)];
    await anna.ask('message.delete', { messageId: mine.message.id });
    await anna.ask('message.delete', { messageId: theirs.message.id });
  },
  async 'message.unlink'(w) {
    const { anna, conversationId } = await group(w);
    const link = async (): Promise<Message> => (await say(anna, conversationId, 'see https://example.org/')).message;
    const [unlinked, edited, recalled] = [await link(), await link(), await link()];
    for (const message of [unlinked, edited, recalled]) await w.preview(message);
    await anna.ask('message.unlink', { messageId: unlinked.id });
    await anna.ask('message.unlink', { messageId: unlinked.id });
    await anna.ask('message.edit', { messageId: edited.id, text: 'never mind' });
    await anna.ask('message.delete', { messageId: recalled.id });
  },
  async 'message.hide'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await w.device(bert);
    const { message } = await say(anna, conversationId);
    await bert.ask('message.hide', { messageId: message.id });
    await bert.ask('message.hide', { messageId: message.id });
  },
  async 'draft.set'(w) {
    const { anna, conversationId } = await group(w);
    const second = await w.device(anna);
    const { draft } = await anna.ask('draft.set', { conversationId, text: 'Shall we', base: 0 });
    await second.ask('draft.set', { conversationId, text: 'I think', base: 0 });
    await anna.ask('draft.set', { conversationId, text: '', base: draft.version });
    await anna.ask('draft.set', { conversationId, text: '', base: Number.MAX_SAFE_INTEGER });
  },
  async 'settings.update'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await w.device(anna);
    await anna.ask('settings.update', { readReceipts: false, presence: 'nobody', quietFrom: 1_320, quietTo: 420, timeZone: 'Asia/Shanghai' });
    await say(bert, conversationId);
    await anna.ask('read.mark', { conversationId, seq: 1 });
  },
  async 'read.mark'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await w.device(bert);
    for (const text of ['one', 'two', 'three']) await say(anna, conversationId, text);
    await bert.ask('read.mark', { conversationId, seq: 2 });
    await bert.ask('read.mark', { conversationId, seq: 1 });
    await bert.ask('read.mark', { conversationId, seq: 99 });
  },
  async 'read.unread'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await w.device(bert);
    await say(anna, conversationId);
    const { inbox } = await bert.ask('read.mark', { conversationId, seq: 1 });
    const marked = await bert.ask('read.unread', { conversationId, on: true, base: inbox.version });
    await bert.ask('read.unread', { conversationId, on: false, base: inbox.version });
    await bert.ask('read.unread', { conversationId, on: false, base: marked.inbox.version });
    await bert.ask('read.unread', { conversationId, on: true, base: Number.MAX_SAFE_INTEGER });
    await say(anna, conversationId);
    await bert.ask('read.mark', { conversationId, seq: 2 });
  },
  async 'voice.heard'(w) {
    const { anna, bert, conversationId } = await group(w);
    await w.device(bert);
    const spoken = [await speak(w, anna, conversationId), await speak(w, anna, conversationId)];
    for (const { message } of [...spoken.reverse(), spoken[0]!]) await bert.ask('voice.heard', { messageId: message.id });
    await anna.ask('voice.heard', { messageId: spoken[0]!.message.id });
    await bert.ask('conversation.leave', { conversationId });
    await anna.ask('member.add', { conversationId, userIds: [bert.id] });
    await bert.ask('voice.heard', { messageId: spoken[0]!.message.id });
  },
  async 'receipt.delivered'(w) {
    const { anna, bert, conversationId } = await direct(w);
    await say(anna, conversationId);
    await bert.ask('receipt.delivered', { conversationId, seq: 1 });
    await bert.ask('read.mark', { conversationId, seq: 1 });
    await bert.ask('receipt.delivered', { conversationId, seq: 1 });
  },
  async 'announcement.send'(w) {
    const operator = await w.operator();
    await w.guest('Gast');
    await operator.ask('announcement.send', { text: 'Water is off tomorrow from nine' });
  },
  async 'admin.disable'(w) {
    const operator = await w.operator();
    const { anna, bert, conversationId } = await direct(w);
    await operator.ask('admin.disable', { userId: anna.id, disabled: true });
    await operator.ask('admin.disable', { userId: anna.id, disabled: false });
    await say(bert, conversationId);
  },
};
