import type { ErrorCode, MethodName, Params } from '@kith/protocol';
import { type Person, password, unique } from './scenarios.ts';

// Who may do what to what: every method, every role, every thing it can be done to. permissions.test.ts tries every cell on
// a real server. The routes of HTTP that are no methods have rows of their own, in routes.ts.

/**
 * Roles are places beside one group of anna's. She owns it and is the owner here; admin and member are in it, the member a
 * friend of hers; `removed` was in it and is her friend; `blocked` is her friend with a direct conversation, then blocked by
 * her. A stranger, a guest and the operator of the server are not in it. The last four have no session: nobody never had
 * one, the others had been members when they signed out, deleted their account, or were disabled.
 */
export const roles = ['owner', 'admin', 'member', 'removed', 'blocked', 'stranger', 'guest', 'operator', 'nobody', 'signed-out', 'deleted', 'disabled'] as const;
export type Role = (typeof roles)[number];
export const gone: readonly Role[] = ['signed-out', 'deleted', 'disabled'];

/**
 * What a method can be done to, by the kind of thing that it names. In each list `missing` is what never was: whoever is to
 * learn nothing of another thing is answered about it as about that one, to the byte.
 */
export const things = {
  nothing: ['nothing'],
  /** The group; anna's direct conversation with the blocked person; a group of one's own; one that everybody was in and that was dissolved. */
  conversation: ['group', 'direct', 'own', 'dissolved', 'missing'],
  /** An open room; one from which the actor was removed; the group, which is none. */
  room: ['open', 'barred', 'group', 'missing'],
  /** anna's in the group; one's own, before one was removed or blocked; anna's to the blocked person; one's own, recalled; anna's in the dissolved group. */
  message: ['annas', 'own', 'direct', 'recalled', 'dissolved', 'missing'],
  /** Committed and not sent, anna's and one's own; sent by anna to the group and to the blocked person; sent by her to the group and recalled. */
  file: ['unsent', 'own', 'group', 'direct', 'recalled', 'dissolved', 'missing'],
  /** A place for bytes that anna reserved, and one of one's own; one's own, dropped. */
  upload: ['annas', 'own', 'dropped', 'missing'],
  /** Of anna, of the actor, and of the group: pictures. */
  avatar: ['annas', 'own', 'group', 'missing'],
  /** anna; oneself; somebody nobody knows; a friend and member who deleted the account. */
  person: ['anna', 'self', 'unknown', 'deleted', 'missing'],
  /** anna's; another device of one's own; one's own that was ended. */
  session: ['annas', 'own', 'ended', 'missing'],
} as const;
export type Kind = keyof typeof things;
export type Thing<K extends Kind> = (typeof things)[K][number];

/** What a cell is about. The fields of other kinds hold something that is there and would do. */
export interface Stage {
  actor: Person;
  anna: Person;
  conversationId: string;
  messageId: string;
  fileId: string;
  userId: string;
  /** Of that person. */
  handle: string;
  sessionId: string;
  /** A member of the group who does nothing here. */
  bystander: Person;
  /** Somebody whom nobody knows, to be added and signed in. */
  stranger: Person;
}

/** What a call is answered with. hidden: just as a thing that never was. */
export type Outcome = 'ok' | 'hidden' | ErrorCode;

type ByRole = Partial<Record<Role, Outcome>>;
/** The outcome for every role, or role by role; who is left out is answered as if the thing were not there. */
type Expected = Outcome | ByRole;

export interface Row<P, K extends Kind = Kind> {
  kind: K;
  params: (stage: Stage) => P;
  /** By the thing. One that is left out is hidden from everybody. */
  expect: Partial<Record<Exclude<Thing<K>, 'missing'>, Expected>>;
  /** What is said of a thing that never was. */
  missing: Expected;
  /** What somebody is answered who never signed in. */
  nobody: Outcome;
  /**
   * Has every call that works people of its own, because it takes something from others? That takes a while. Default: for
   * durable methods.
   */
  apart?: boolean;
}

const unknown: Record<Kind, Outcome> = {
  nothing: 'not_found',
  conversation: 'not_a_member',
  room: 'not_a_member',
  message: 'not_found',
  file: 'not_found',
  upload: 'not_found',
  avatar: 'not_found',
  person: 'not_found',
  session: 'not_found',
};

type More = Partial<Pick<Row<unknown>, 'missing' | 'nobody' | 'apart'>>;

const to =
  <K extends Kind>(kind: K) =>
  <P>(params: (stage: Stage) => P, expect: Row<P, K>['expect'], more: More = {}): Row<P, K> => ({
    kind,
    params,
    expect,
    missing: unknown[kind],
    nobody: 'unauthenticated',
    ...more,
  });

const toConversation = to('conversation');
const toRoom = to('room');
const toMessage = to('message');
const toFile = to('file');
const toPerson = to('person');
const toSession = to('session');
/** A method that names nothing: only who calls it counts. */
const anyway = <P>(params: (stage: Stage) => P, expected: Expected, more: More = {}): Row<P, 'nothing'> => to('nothing')(params, { nothing: expected }, more);

const inGroup = (outcome: Outcome): ByRole => ({ owner: outcome, admin: outcome, member: outcome });
/** A blocked person keeps the conversation they had, and what is in it; they just cannot reach the other any more. */
const bothSides = (outcome: Outcome): ByRole => ({ owner: outcome, blocked: outcome });
/** Who is in a conversation, and nobody else. */
const insiders = { group: inGroup('ok'), direct: bothSides('ok'), own: 'ok' } as const;
const operators = (outcome: Outcome): ByRole => Object.fromEntries(roles.map((role) => [role, role === 'operator' ? outcome : 'forbidden']));
const except = (usual: Outcome, others: ByRole): ByRole => ({ ...Object.fromEntries(roles.map((role) => [role, usual])), ...others });

const everybody = (outcome: Outcome): ByRole => except(outcome, {});
/** What people do to each other: not to themselves, and not to whom deleted the account. */
const toOther = (anna: ByRole, more: Row<unknown, 'person'>['expect'] = {}): Row<unknown, 'person'>['expect'] => ({
  anna: { ...anna, owner: 'bad_request' },
  self: 'bad_request',
  ...more,
});
const friends = (outcome: Outcome): ByRole => ({ member: outcome, removed: outcome, blocked: outcome });
/** One's own, but where one was removed. */
const stillIn = except('ok', { removed: 'hidden' });
/** What it changes is in nobody's way, and it can be repeated. */
const mild = { apart: false };

/**
 * Every method there is: one without a row does not compile. Add yours: what it names (or `anyway`), parameters that would
 * do, and who may. `expect` is by thing, then by role; whoever is left out learns nothing, not even that it is there.
 */
export const matrix: { [M in MethodName]: Row<Params<M>> } = {
  // Connections say hello; over HTTP there is nobody to greet.
  hello: anyway(() => ({}), 'unsupported', { nobody: 'unsupported' }),
  'stream.heads': toConversation(({ conversationId }) => ({ streams: [`conversation:${conversationId}`] }), insiders),
  'stream.changes': toConversation(({ conversationId }) => ({ stream: `conversation:${conversationId}`, since: 1 }), insiders),
  'stream.snapshot': toConversation(({ conversationId }) => ({ stream: `conversation:${conversationId}` }), insiders),

  'auth.register': anyway(() => ({ handle: unique('new'), password, name: 'New' }), 'ok', { nobody: 'ok', apart: false }),
  'auth.login': anyway(({ stranger }) => ({ handle: stranger.handle!, password }), 'ok', { nobody: 'ok', apart: false }),
  'auth.guest': anyway(() => ({ name: 'New' }), 'ok', { nobody: 'ok', apart: false }),
  'auth.exchange': anyway(() => ({ jwt: 'not.a.jwt' }), 'unauthenticated', { nobody: 'unauthenticated' }),
  'auth.restore': anyway(() => ({ handle: unique('nobody'), password }), 'wrong_credentials', { nobody: 'wrong_credentials' }),
  'auth.claim': anyway(() => ({ handle: unique('claimed'), password }), except('forbidden', { guest: 'ok' })),
  'auth.confirm': anyway(() => ({ password }), except('ok', { guest: 'wrong_credentials' })),
  'auth.reset': anyway(() => ({ handle: unique('nobody'), ticket: 'guessed', password: 'another good one' }), 'wrong_credentials', { nobody: 'wrong_credentials' }),
  'auth.factor': anyway(() => ({ handle: unique('nobody'), ticket: 'guessed', code: '000000' }), 'wrong_credentials', { nobody: 'wrong_credentials' }),
  'app.begin': anyway(() => ({}), except('ok', { guest: 'forbidden' })),
  'app.add': anyway(() => ({ secret: 'A'.repeat(32), ticket: 'guessed', code: '000000' }), except('too_late', { guest: 'forbidden' })),
  'app.remove': anyway(() => ({}), 'not_found'),
  'recovery.renew': anyway(() => ({}), 'not_found'),
  // There are none at an address without a name, as this server has.
  'passkey.begin': anyway(() => ({}), 'forbidden'),
  'passkey.add': anyway(() => ({ name: 'Key', id: 'a', clientDataJSON: 'a', attestationObject: 'a' }), 'forbidden'),
  'passkey.rename': anyway(() => ({ passkeyId: 'anothers', name: 'Mine' }), 'not_found'),
  'passkey.remove': anyway(() => ({ passkeyId: 'anothers' }), 'not_found'),
  'passkey.challenge': anyway(() => ({}), 'forbidden', { nobody: 'forbidden' }),
  'passkey.login': anyway(() => ({ passkey: { id: 'a', clientDataJSON: 'a', authenticatorData: 'a', signature: 'a' } }), 'forbidden', { nobody: 'forbidden' }),
  'auth.logout': anyway(() => ({}), 'ok'),
  'session.list': anyway(() => ({}), 'ok'),
  'session.revoke': toSession(({ sessionId }) => ({ sessionId }), { annas: { owner: 'ok' }, own: 'ok', ended: except('ok', { guest: 'hidden' }) }),

  'user.get': toPerson(({ userId }) => ({ userId }), { anna: { ...inGroup('ok'), removed: 'ok' }, self: 'ok' }),
  'user.search': toPerson(
    ({ handle }) => ({ query: handle }),
    { anna: except('ok', { blocked: 'hidden' }), self: except('ok', { guest: 'hidden' }), unknown: 'ok' },
    { missing: 'ok' },
  ),
  'user.update': anyway(() => ({ name: unique('Renamed') }), 'ok', mild),
  'user.changePassword': anyway(() => ({ password: 'not the password', newPassword: 'another good one' }), 'wrong_credentials'),
  'user.delete': anyway(() => ({ password: 'not the password' }), except('wrong_credentials', { guest: 'ok' })),

  'friend.request': toPerson(({ userId }) => ({ userId }), toOther(everybody('ok'), { unknown: 'ok' })),
  'friend.accept': toPerson(({ userId }) => ({ userId }), toOther({ ...friends('ok'), admin: 'ok' }), mild),
  'friend.refuse': toPerson(({ userId }) => ({ userId }), toOther({})),
  'friend.remove': toPerson(({ userId }) => ({ userId }), toOther({ ...friends('ok'), admin: 'ok' }, { deleted: { owner: 'ok' } })),
  'friend.remark': toPerson(({ userId }) => ({ userId, remark: 'them' }), toOther(everybody('ok'), { unknown: 'ok' })),
  'block.add': toPerson(({ userId }) => ({ userId }), toOther(everybody('ok'), { unknown: 'ok' })),
  'block.remove': toPerson(({ userId }) => ({ userId }), toOther({ ...friends('ok'), admin: 'ok' }, { deleted: { owner: 'ok' } }), mild),

  'conversation.direct': toPerson(
    ({ userId }) => ({ userId }),
    { anna: { ...everybody('not_friends'), ...friends('ok'), owner: 'ok', admin: 'ok' }, self: 'ok', unknown: 'not_friends' },
    mild,
  ),
  'conversation.create': toPerson(({ userId }) => ({ title: 'Theirs', memberIds: [userId] }), { anna: 'ok', self: 'ok', unknown: 'ok', deleted: 'ok' }, { missing: 'ok' }),
  'conversation.update': toConversation(
    ({ conversationId }) => ({ conversationId, title: 'Mine now' }),
    {
      group: { owner: 'ok', admin: 'ok', member: 'forbidden' },
      direct: bothSides('forbidden'),
      own: 'ok',
    },
    mild,
  ),
  'conversation.retention': toConversation(({ conversationId }) => ({ conversationId, days: 30 }), {
    group: { owner: 'ok', admin: 'ok', member: 'forbidden' },
    direct: bothSides('forbidden'),
    own: 'ok',
  }),
  'conversation.leave': toConversation(({ conversationId }) => ({ conversationId }), { group: inGroup('ok'), direct: bothSides('forbidden'), own: 'ok' }),
  'conversation.dissolve': toConversation(({ conversationId }) => ({ conversationId }), {
    group: { owner: 'ok', admin: 'forbidden', member: 'forbidden' },
    direct: bothSides('forbidden'),
    own: 'ok',
  }),
  'conversation.accept': toConversation(({ conversationId }) => ({ conversationId }), insiders, mild),
  'conversation.mute': toConversation(({ conversationId }) => ({ conversationId, until: 1 }), insiders, mild),
  'conversation.pin': toConversation(({ conversationId }) => ({ conversationId, on: true }), insiders, mild),

  'member.list': toConversation(({ conversationId }) => ({ conversationId }), insiders),
  'member.add': toConversation(({ conversationId, stranger }) => ({ conversationId, userIds: [stranger.id] }), { ...insiders, direct: bothSides('forbidden') }, mild),
  'member.remove': toConversation(({ conversationId, bystander }) => ({ conversationId, userId: bystander.id }), {
    group: { owner: 'ok', admin: 'ok', member: 'forbidden' },
    direct: bothSides('forbidden'),
    own: 'not_found',
  }),
  'member.role': toConversation(({ conversationId, bystander }) => ({ conversationId, userId: bystander.id, role: 'admin' }), {
    group: { owner: 'ok', admin: 'forbidden', member: 'forbidden' },
    direct: bothSides('forbidden'),
    own: 'not_found',
  }),

  'room.list': anyway(() => ({}), 'ok'),
  'room.create': anyway(() => ({ title: 'Mine' }), operators('ok'), mild),
  'room.join': toRoom(({ conversationId }) => ({ conversationId }), { open: 'ok', barred: except('forbidden', { operator: 'ok' }) }),
  'room.online': toRoom(({ conversationId }) => ({ conversationId }), { open: { operator: 'ok' }, barred: { operator: 'ok' }, group: inGroup('forbidden') }),

  'message.send': toConversation(
    ({ conversationId }) => ({ conversationId, clientId: unique('client-id'), type: 'text', text: 'hi' }),
    {
      group: inGroup('ok'),
      direct: bothSides('not_found'),
      own: 'ok',
    },
    mild,
  ),
  'message.withdraw': toConversation(({ conversationId }) => ({ conversationId, clientId: unique('client-id') }), insiders, mild),
  'message.edit': toMessage(
    ({ messageId }) => ({ messageId, text: 'changed' }),
    {
      annas: { ...inGroup('forbidden'), owner: 'ok' },
      own: except('ok', { removed: 'hidden', blocked: 'hidden' }),
      recalled: except('too_late', { removed: 'hidden', blocked: 'hidden' }),
    },
    mild,
  ),
  'message.unlink': toMessage(
    ({ messageId }) => ({ messageId }),
    {
      annas: { ...inGroup('forbidden'), owner: 'ok' },
      own: stillIn,
      direct: { owner: 'ok', blocked: 'forbidden' },
      recalled: stillIn,
    },
    mild,
  ),
  'message.delete': toMessage(({ messageId }) => ({ messageId }), {
    annas: { owner: 'ok', admin: 'ok', member: 'forbidden' },
    own: stillIn,
    direct: { owner: 'ok', blocked: 'forbidden' },
    recalled: stillIn,
  }),
  'message.hide': toMessage(({ messageId }) => ({ messageId }), { annas: inGroup('ok'), own: stillIn, direct: bothSides('ok'), recalled: stillIn }, mild),
  'message.history': toConversation(({ conversationId }) => ({ conversationId }), insiders),
  'message.media': toConversation(({ conversationId }) => ({ conversationId, kind: 'media' }), insiders),

  'file.reserve': toConversation(({ conversationId }) => ({ conversationId, name: 'notes.txt', size: 10 }), {
    group: inGroup('ok'),
    direct: bothSides('not_found'),
    own: 'ok',
  }),
  'file.commit': toFile(({ fileId }) => ({ fileId, sha256: '0'.repeat(64) }), {
    unsent: { owner: 'checksum_mismatch' },
    own: 'checksum_mismatch',
    group: { owner: 'checksum_mismatch' },
    direct: { owner: 'checksum_mismatch' },
  }),
  'export.start': anyway(() => ({}), 'ok'),
  'export.get': anyway(() => ({}), 'ok'),
  'file.usage': anyway(() => ({}), 'ok'),

  'draft.set': toConversation(({ conversationId }) => ({ conversationId, text: 'half a', base: 0 }), insiders, mild),
  'read.mark': toConversation(({ conversationId }) => ({ conversationId, seq: 1 }), insiders, mild),
  'read.unread': toConversation(({ conversationId }) => ({ conversationId, on: true, base: 99 }), insiders, mild),
  // Which conversation a message is in, only its members learn; to them it is no voice message.
  'voice.heard': toMessage(({ messageId }) => ({ messageId }), {
    annas: inGroup('bad_request'),
    own: except('bad_request', { removed: 'hidden' }),
    direct: bothSides('bad_request'),
    recalled: except('bad_request', { removed: 'hidden' }),
  }),
  'receipt.delivered': toConversation(({ conversationId }) => ({ conversationId, seq: 1 }), insiders, mild),
  'typing.set': toConversation(({ conversationId }) => ({ conversationId }), { ...insiders, direct: bothSides('not_found') }),
  'presence.watch': toPerson(({ userId }) => ({ userIds: [userId] }), { anna: { ...inGroup('ok'), removed: 'ok' }, self: 'ok' }, { missing: 'ok' }),
  'presence.unwatch': toPerson(({ userId }) => ({ userIds: [userId] }), {}, { missing: 'ok' }),

  'session.renew': anyway(() => ({}), 'ok'),
  'push.key': anyway(() => ({}), 'ok'),
  'push.subscribe': anyway(
    // A host that is allowed and does not exist; the keys are those of RFC 8291.
    () => ({
      endpoint: `https://nobody.invalid.push.services.mozilla.com/${unique('device')}`,
      p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
      auth: 'BTBZMqHH6r4Tts7J_aSIgg',
    }),
    'ok',
    { apart: true },
  ),
  'push.unsubscribe': anyway(() => ({ endpoint: 'https://fcm.googleapis.com/fcm/send/nobody' }), 'ok'),
  'push.test': anyway(() => ({}), 'not_found'),
  'push.check': anyway(() => ({}), 'ok'),

  'settings.update': anyway(() => ({ typing: false }), 'ok', mild),
  'report.send': toConversation(({ conversationId, bystander }) => ({ conversationId, userId: bystander.id, reason: 'spam' }), {
    group: inGroup('ok'),
    direct: bothSides('not_found'),
    own: 'not_found',
  }),
  'report.waiting': anyway(() => ({}), operators('ok')),
  'admin.reports': anyway(() => ({}), operators('ok')),
  'admin.settle': anyway(() => ({ reportId: 'none' }), operators('not_found')),
  'site.rename': anyway(() => ({ name: unique('Site') }), operators('ok')),
  'site.database': anyway(() => ({}), operators('ok'), mild),
  'announcement.send': anyway(() => ({ text: 'Hear me' }), operators('ok'), mild),
  'admin.invite': anyway(() => ({}), operators('ok')),
  'admin.audit': anyway(() => ({}), operators('ok')),
  'admin.reset': toPerson(
    ({ userId }) => ({ userId }),
    { anna: operators('ok'), self: operators('ok'), unknown: operators('ok'), deleted: operators('not_found') },
    { missing: operators('not_found') },
  ),
  'admin.disable': toPerson(
    ({ userId }) => ({ userId, disabled: true }),
    {
      anna: operators('ok'),
      self: operators('bad_request'),
      unknown: operators('ok'),
      deleted: operators('ok'),
    },
    { missing: operators('not_found') },
  ),
};
