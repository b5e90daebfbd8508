import { hash } from 'node:crypto';
import { type FileRef, type Message, type StreamId, conversationStream, firstLink } from '@kith/protocol';
import type { ExpressionBuilder } from 'kysely';
import type { Place, Rights } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { MessagesTable, Schema } from '../db/schema.ts';
import { newId } from './context.ts';
import { toMessage } from './entities.ts';
import { sharedAs } from './shared.ts';
import type { Commit, OnlyAppends } from './streams.ts';

export interface Draft {
  conversationId: string;
  senderId: string;
  clientId: string | null;
  type: MessagesTable['type'];
  text: string;
  event?: Message['event'];
  file?: FileRef;
}

/** In one statement, because it is asked at every message: there is no row under this client id, and none is to be. */
const insertMessage = prepare((q, row: MessagesTable) =>
  q
    .insertInto('messages')
    .columns(columnsOf(row))
    .expression(
      q
        .selectNoFrom((eb) => columnsOf(row).map((column) => eb.val(row[column]).as(column)))
        .where(({ not, exists, selectFrom }) => not(exists(selectFrom('withdrawn').select('at').where('sender_id', '=', row.sender_id).where('client_id', '=', row.client_id)))),
    )
    .onConflict((conflict) => conflict.columns(['sender_id', 'client_id']).doNothing())
    .returning('id'),
);

const columnsOf = (row: MessagesTable): (keyof MessagesTable)[] => Object.keys(row) as (keyof MessagesTable)[];

/**
 * Writes the message that this commit appends and puts it into the push.
 *
 * @returns undefined when the sender has used this client id before, or taken it back; then nothing is written and the caller rolls back
 */
export async function append(c: Commit, draft: Draft): Promise<Message | undefined> {
  const stream = conversationStream(draft.conversationId);
  const row: MessagesTable = { ...rowOf(draft), version: c.version(stream), ...c.appended() };
  if (!(await insertMessage.first(c.q, row))) return undefined;
  const message = toMessage(row);
  c.put(stream, message);
  return message;
}

/** A commit that appends a message and does nothing else, in values. */
export function onlyAppends(draft: Draft, rights: Rights): OnlyAppends<{ message: Message }> {
  let row: Omit<MessagesTable, keyof Place>;
  return {
    ...rights,
    message: () => (row ??= rowOf(draft)),
    done(place) {
      const message = toMessage({ ...row, ...place });
      return { entity: message, result: { message } };
    },
  };
}

const rowOf = (draft: Draft): Omit<MessagesTable, keyof Place> => ({
  id: newId(),
  conversation_id: draft.conversationId,
  sender_id: draft.senderId,
  client_id: draft.clientId,
  type: draft.type,
  text: draft.text,
  sent_hash: draft.clientId === null ? null : sentHash(draft.type, draft.text, draft.file?.id),
  edited_at: null,
  deleted_at: null,
  deleted_by: null,
  event: draft.event ? JSON.stringify(draft.event) : null,
  file_id: draft.file?.id ?? null,
  file: draft.file ? JSON.stringify(draft.file) : null,
  link_url: firstLink(draft.text) ?? null,
  link: null,
  link_file_id: null,
  link_off: 0,
  shared: sharedAs(draft),
  born: null,
});

/** For whoever changes messages in a commit: their new version, in a way in which `messagesSince` finds it. */
export const changedAt = (c: Commit, stream: StreamId) => (eb: ExpressionBuilder<Schema, 'messages'>) => ({ version: c.version(stream), born: eb.fn.coalesce('born', 'version') });

/** Says in the conversation what its members did: renamed, added, left … */
export async function appendLine(c: Commit, conversationId: string, senderId: string, event: NonNullable<Message['event']>): Promise<void> {
  await append(c, { conversationId, senderId, clientId: null, type: 'system', text: '', event });
}

/** What was first sent under a client id. */
export const sentHash = (type: string, text: string, fileId?: string): string =>
  hash('sha256', fileId === undefined ? `${type}\n${text}` : `${type} ${fileId}\n${text}`, 'base64url').slice(0, 22);
