import type { FileRef } from '@kith/protocol';
import type { MessagesTable } from '../db/schema.ts';

/** As what the file of a message is listed in its conversation. */
export function sharedAs({ type, file }: { type: MessagesTable['type']; file?: Pick<FileRef, 'type'> }): MessagesTable['shared'] {
  if (!file) return null;
  return type === 'voice' ? 'voice' : type === 'image' || file.type.startsWith('video/') ? 'media' : 'files';
}
