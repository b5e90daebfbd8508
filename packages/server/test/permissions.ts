import type { ErrorCode, MethodName, Params } from '@kith/protocol';
import { type Person, password, unique } from './scenarios.ts';

/**
 * What a row of the matrix acts on: a group of anna, who owns it, and bert; a direct conversation of anna and the actor
 * where the role has one; and messages in the group.
 */
export interface Stage {
  actor: Person;
  anna: Person;
  bert: Person;
  /** Nobody's friend and in nothing. */
  stranger: Person;
  /** For the blocked role the direct conversation with anna, for all others the group. */
  conversationId: string;
  /** The last seq there. */
  seq: number;
  /** A message of anna's and one of the actor's own there, if they ever could write. */
  annasMessage: string;
  ownMessage: string;
  /** A file of anna's, committed and not sent. */
  annasFile: string;
}

/**
 * member: of the group, a friend of anna's. nonmember: signed in, in nothing. removed: was in the group, a friend.
 * blocked: anna's friend with a direct conversation, then blocked by her.
 */
export const roles = ['member', 'nonmember', 'removed', 'blocked', 'signed-out'] as const;
export type Role = (typeof roles)[number];

type Outcome = 'ok' | ErrorCode;

interface Row<M extends MethodName> {
  params: (stage: Stage) => Params<M>;
  /** In the order member, nonmember, removed, blocked. Signed out is `unauthenticated` unless the method is public. */
  expect: [Outcome, Outcome, Outcome, Outcome];
  /** Only where it differs. */
  signedOut?: Outcome;
}

const all = (outcome: Outcome): [Outcome, Outcome, Outcome, Outcome] => [outcome, outcome, outcome, outcome];
const everyone: [Outcome, Outcome, Outcome, Outcome] = ['ok', 'ok', 'ok', 'ok'];
const nobody: [Outcome, Outcome, Outcome, Outcome] = ['forbidden', 'forbidden', 'forbidden', 'forbidden'];
/** A blocked person keeps the conversation they had, and what is in it; they just cannot reach the other any more. */
const insiders: [Outcome, Outcome, Outcome, Outcome] = ['ok', 'not_a_member', 'not_a_member', 'ok'];

/** Every method there is: one without a row does not compile. */
export const matrix: { [M in MethodName]: Row<M> } = {
  // Connections say hello; over HTTP there is nobody to greet.
  hello: { params: () => ({}), expect: ['unsupported', 'unsupported', 'unsupported', 'unsupported'] },
  'stream.heads': { params: ({ conversationId }) => ({ streams: [`conversation:${conversationId}`] }), expect: insiders },
  'stream.changes': { params: ({ conversationId }) => ({ stream: `conversation:${conversationId}`, since: 1 }), expect: insiders },
  'stream.snapshot': { params: ({ conversationId }) => ({ stream: `conversation:${conversationId}` }), expect: insiders },

  'auth.register': { params: () => ({ handle: unique('new'), password, name: 'New' }), expect: everyone, signedOut: 'ok' },
  'auth.login': { params: ({ anna }) => ({ handle: anna.handle!, password }), expect: everyone, signedOut: 'ok' },
  'auth.guest': { params: () => ({ name: 'New' }), expect: everyone, signedOut: 'ok' },
  'auth.exchange': { params: () => ({ jwt: 'not.a.jwt' }), expect: ['unauthenticated', 'unauthenticated', 'unauthenticated', 'unauthenticated'] },
  'auth.restore': {
    params: ({ anna }) => ({ handle: anna.handle!, password }),
    expect: ['wrong_credentials', 'wrong_credentials', 'wrong_credentials', 'wrong_credentials'],
  },
  'auth.claim': { params: () => ({ handle: unique('claimed'), password }), expect: nobody },
  'auth.confirm': { params: () => ({ password }), expect: everyone },
  'auth.factor': { params: ({ anna }) => ({ handle: anna.handle!, ticket: 'guessed', code: '000000' }), expect: all('wrong_credentials') },
  'app.begin': { params: () => ({}), expect: everyone },
  'app.add': { params: () => ({ secret: 'A'.repeat(32), ticket: 'guessed', code: '000000' }), expect: all('too_late') },
  'app.remove': { params: () => ({}), expect: all('not_found') },
  'recovery.renew': { params: () => ({}), expect: all('not_found') },
  // There are none at an address without a name, as this server has.
  'passkey.begin': { params: () => ({}), expect: nobody },
  'passkey.add': { params: () => ({ name: 'Key', id: 'a', clientDataJSON: 'a', attestationObject: 'a' }), expect: nobody },
  'passkey.rename': { params: () => ({ passkeyId: 'anothers', name: 'Mine' }), expect: all('not_found') },
  'passkey.remove': { params: () => ({ passkeyId: 'anothers' }), expect: all('not_found') },
  'passkey.challenge': { params: () => ({}), expect: nobody },
  'passkey.login': { params: () => ({ passkey: { id: 'a', clientDataJSON: 'a', authenticatorData: 'a', signature: 'a' } }), expect: nobody },
  'auth.logout': { params: () => ({}), expect: everyone },
  'session.list': { params: () => ({}), expect: everyone },
  'session.revoke': { params: ({ anna }) => ({ sessionId: anna.sessionId }), expect: ['not_found', 'not_found', 'not_found', 'not_found'] },

  'user.get': { params: ({ anna }) => ({ userId: anna.id }), expect: ['ok', 'not_found', 'ok', 'not_found'] },
  'user.search': { params: ({ anna }) => ({ query: anna.handle! }), expect: everyone },
  'user.update': { params: () => ({ name: unique('Renamed') }), expect: everyone },
  'user.changePassword': { params: () => ({ password, newPassword: 'another good one' }), expect: everyone },
  'user.delete': { params: () => ({ password: 'not the password' }), expect: ['wrong_credentials', 'wrong_credentials', 'wrong_credentials', 'wrong_credentials'] },

  'friend.request': { params: ({ stranger }) => ({ userId: stranger.id }), expect: everyone },
  'friend.accept': { params: ({ stranger }) => ({ userId: stranger.id }), expect: ['not_found', 'not_found', 'not_found', 'not_found'] },
  'friend.refuse': { params: ({ stranger }) => ({ userId: stranger.id }), expect: ['not_found', 'not_found', 'not_found', 'not_found'] },
  'friend.remove': { params: ({ stranger }) => ({ userId: stranger.id }), expect: ['not_found', 'not_found', 'not_found', 'not_found'] },
  'friend.remark': { params: ({ anna }) => ({ userId: anna.id, remark: 'her' }), expect: everyone },
  'block.add': { params: ({ anna }) => ({ userId: anna.id }), expect: everyone },
  'block.remove': { params: ({ stranger }) => ({ userId: stranger.id }), expect: ['not_found', 'not_found', 'not_found', 'not_found'] },

  'conversation.direct': { params: ({ stranger }) => ({ userId: stranger.id }), expect: ['not_friends', 'not_friends', 'not_friends', 'not_friends'] },
  'conversation.create': { params: ({ anna }) => ({ title: 'Theirs', memberIds: [anna.id] }), expect: everyone },
  'conversation.update': { params: ({ conversationId }) => ({ conversationId, title: 'Mine now' }), expect: ['forbidden', 'not_a_member', 'not_a_member', 'forbidden'] },
  'conversation.leave': { params: ({ conversationId }) => ({ conversationId }), expect: ['ok', 'not_a_member', 'not_a_member', 'forbidden'] },
  'conversation.dissolve': { params: ({ conversationId }) => ({ conversationId }), expect: ['forbidden', 'not_a_member', 'not_a_member', 'forbidden'] },
  'conversation.accept': { params: ({ conversationId }) => ({ conversationId }), expect: insiders },
  'conversation.mute': { params: ({ conversationId }) => ({ conversationId, until: 1 }), expect: insiders },
  'conversation.pin': { params: ({ conversationId }) => ({ conversationId, on: true }), expect: insiders },

  'member.list': { params: ({ conversationId }) => ({ conversationId }), expect: insiders },
  'member.add': { params: ({ conversationId, stranger }) => ({ conversationId, userIds: [stranger.id] }), expect: ['ok', 'not_a_member', 'not_a_member', 'forbidden'] },
  'member.remove': { params: ({ conversationId, bert }) => ({ conversationId, userId: bert.id }), expect: ['forbidden', 'not_a_member', 'not_a_member', 'forbidden'] },
  'member.role': {
    params: ({ conversationId, actor }) => ({ conversationId, userId: actor.id, role: 'owner' }),
    expect: ['forbidden', 'not_a_member', 'not_a_member', 'forbidden'],
  },

  'room.list': { params: () => ({}), expect: everyone },
  'room.create': { params: () => ({ title: 'Mine' }), expect: nobody },
  'room.join': { params: ({ conversationId }) => ({ conversationId }), expect: ['not_a_member', 'not_a_member', 'not_a_member', 'not_a_member'] },
  'room.online': { params: ({ conversationId }) => ({ conversationId }), expect: ['forbidden', 'not_a_member', 'not_a_member', 'forbidden'] },

  'message.send': {
    params: ({ conversationId }) => ({ conversationId, clientId: unique('client-id'), type: 'text', text: 'hi' }),
    expect: ['ok', 'not_a_member', 'not_a_member', 'not_found'],
  },
  'message.edit': { params: ({ ownMessage }) => ({ messageId: ownMessage, text: 'changed' }), expect: ['ok', 'not_found', 'not_found', 'not_found'] },
  'message.unlink': { params: ({ annasMessage }) => ({ messageId: annasMessage }), expect: ['forbidden', 'not_found', 'not_found', 'forbidden'] },
  'message.delete': { params: ({ annasMessage }) => ({ messageId: annasMessage }), expect: ['forbidden', 'not_found', 'not_found', 'forbidden'] },
  'message.hide': { params: ({ annasMessage }) => ({ messageId: annasMessage }), expect: ['ok', 'not_found', 'not_found', 'ok'] },
  'message.history': { params: ({ conversationId }) => ({ conversationId }), expect: insiders },
  'message.media': { params: ({ conversationId }) => ({ conversationId, kind: 'media' }), expect: insiders },

  'file.reserve': {
    params: ({ conversationId }) => ({ conversationId, name: 'notes.txt', size: 10 }),
    expect: ['ok', 'not_a_member', 'not_a_member', 'not_found'],
  },
  'file.commit': { params: ({ annasFile }) => ({ fileId: annasFile, sha256: '0'.repeat(64) }), expect: ['not_found', 'not_found', 'not_found', 'not_found'] },
  'export.start': { params: () => ({}), expect: everyone },
  'export.get': { params: () => ({}), expect: everyone },
  'file.usage': { params: () => ({}), expect: everyone },

  'draft.set': { params: ({ conversationId }) => ({ conversationId, text: 'half a', base: 0 }), expect: insiders },
  'read.mark': { params: ({ conversationId, seq }) => ({ conversationId, seq }), expect: insiders },
  'read.unread': { params: ({ conversationId }) => ({ conversationId, on: true, base: 99 }), expect: insiders },
  // Which conversation a message is in, only its members learn; to them it is no voice message.
  'voice.heard': { params: ({ annasMessage }) => ({ messageId: annasMessage }), expect: ['bad_request', 'not_found', 'not_found', 'bad_request'] },
  'receipt.delivered': { params: ({ conversationId, seq }) => ({ conversationId, seq }), expect: insiders },
  'typing.set': { params: ({ conversationId }) => ({ conversationId }), expect: ['ok', 'not_a_member', 'not_a_member', 'not_found'] },
  'presence.watch': { params: ({ anna }) => ({ userIds: [anna.id] }), expect: everyone },
  'presence.unwatch': { params: ({ anna }) => ({ userIds: [anna.id] }), expect: everyone },

  'push.key': { params: () => ({}), expect: everyone },
  'push.subscribe': {
    // A host that is allowed and does not exist; the keys are those of RFC 8291.
    params: () => ({
      endpoint: `https://nobody.invalid.push.services.mozilla.com/${unique('device')}`,
      p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
      auth: 'BTBZMqHH6r4Tts7J_aSIgg',
    }),
    expect: everyone,
  },
  'push.unsubscribe': { params: () => ({ endpoint: 'https://fcm.googleapis.com/fcm/send/nobody' }), expect: everyone },
  'push.test': { params: () => ({}), expect: ['not_found', 'not_found', 'not_found', 'not_found'] },
  'push.check': { params: () => ({}), expect: everyone },

  'settings.update': { params: () => ({ typing: false }), expect: everyone },
  'announcement.send': { params: () => ({ text: 'Hear me' }), expect: nobody },
  'admin.invite': { params: () => ({}), expect: nobody },
  'admin.audit': { params: () => ({}), expect: nobody },
  'admin.disable': { params: ({ anna }) => ({ userId: anna.id, disabled: true }), expect: nobody },
};

/** Methods whose `ok` for these roles must carry nothing of anna's: they are answered as if she were not there. */
export const silentFor: Partial<Record<MethodName, Role[]>> = { 'user.search': ['blocked'], 'presence.watch': ['nonmember', 'blocked'] };
