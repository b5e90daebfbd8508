import * as z from 'zod/mini';
import { session } from './auth.ts';
import { conversation, inbox } from './conversations.ts';
import { draft } from './drafts.ts';
import { friend } from './friends.ts';
import { hidden } from './hidden.ts';
import { member } from './members.ts';
import { message } from './messages.ts';
import { receipt } from './reads.ts';
import { security } from './factors.ts';
import { settings } from './settings.ts';
import { user } from './users.ts';
import { heard } from './voice.ts';

/** What streams carry. `key` names an entity within its kind; `stream` says which streams carry it. */
export const entities = {
  user: { schema: user, stream: 'user', key: ['id'] },
  session: { schema: session, stream: 'user', key: ['id'] },
  friend: { schema: friend, stream: 'user', key: ['userId'] },
  inbox: { schema: inbox, stream: 'user', key: ['conversationId'] },
  draft: { schema: draft, stream: 'user', key: ['conversationId'] },
  hidden: { schema: hidden, stream: 'user', key: ['messageId'] },
  heard: { schema: heard, stream: 'user', key: ['conversationId'] },
  settings: { schema: settings, stream: 'user', key: [] },
  security: { schema: security, stream: 'user', key: [] },
  conversation: { schema: conversation, stream: 'conversation', key: ['id'] },
  member: { schema: member, stream: 'conversation', key: ['conversationId', 'userId'] },
  receipt: { schema: receipt, stream: 'conversation', key: ['conversationId', 'userId'] },
  message: { schema: message, stream: 'conversation', key: ['id'] },
} as const;

export type EntityKind = keyof typeof entities;
export type EntityOf<K extends EntityKind> = z.infer<(typeof entities)[K]['schema']>;
export type Entity = { [K in EntityKind]: EntityOf<K> }[EntityKind];

export const entity = z.discriminatedUnion('kind', [user, session, friend, inbox, draft, hidden, heard, settings, security, conversation, member, receipt, message]);

/** `member/01J…/01K…`: unique over all kinds, and stable. */
export function entityKey(value: Entity): string {
  const fields = entities[value.kind].key as readonly string[];
  return [value.kind, ...fields.map((field) => (value as unknown as Record<string, string>)[field])].join('/');
}
