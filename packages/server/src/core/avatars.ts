import { type StreamId, RequestError, parseStream } from '@kith/protocol';
import type { Query } from '../db/db.ts';
import { readPair } from './access.ts';
import type { FileToServe } from './core.ts';
import { madeOf } from './files.ts';
import type { Commit } from './streams.ts';

// Uploaded pictures of people and groups. Their `avatar` says `file:<id>`; any other text is what a picture is drawn from.
// One file is the picture of one person or one group, said by `used_by`, and goes when it is replaced.

/** The file of an avatar that is an uploaded picture. */
export const avatarFile = (avatar: string): string | undefined => /^file:(.*)$/.exec(avatar)?.[1];

/**
 * A person or a group, named by its stream, gets another picture in this commit: one of this person's own that is nobody's
 * yet is taken, the one before goes. The commit writes the rest.
 *
 * @throws not_found
 */
export async function changeAvatar(c: Commit, userId: string, usedBy: StreamId, before: string, after: string): Promise<void> {
  if (before === after) return;
  const fileId = avatarFile(after);
  if (fileId !== undefined) {
    const taken = await c.q
      .updateTable('files')
      .set({ expires_at: null, used_by: usedBy })
      .where('id', '=', fileId)
      .where('owner_id', '=', userId)
      .where('avatar', '=', 1)
      .where('state', '=', 'committed')
      .where('expires_at', '>', c.now)
      .returning('id')
      .executeTakeFirst();
    if (!taken) throw new RequestError('not_found', { message: 'There is no such picture of yours that is not used yet.' });
  }
  const old = avatarFile(before);
  if (old !== undefined) await c.q.updateTable('files').set({ state: 'dropped', expires_at: c.now }).where('id', '=', old).where('used_by', '=', usedBy).execute();
}

/** Who has no files yet has no picture of theirs either. @throws bad_request */
export function requireDrawn(avatar: string | undefined): void {
  if (avatar !== undefined && avatarFile(avatar) !== undefined)
    throw new RequestError('bad_request', { path: 'params.avatar', message: 'params.avatar: a picture can be uploaded once there is an account' });
}

/**
 * One size of an avatar: of one that is nobody's yet, to who uploaded it. Of a group to its members; of a room to everybody; of a person to everybody but
 * those with a block between them. That is more than who sees the profile (strangers find each other by their handle, and
 * old messages show who left), but the id is told with the profile alone, cannot be guessed, and is another for every picture.
 */
export async function findAvatar(q: Query, userId: string, fileId: string, side: string): Promise<FileToServe | undefined> {
  const row = await q
    .selectFrom('files')
    .select(['id', 'owner_id', 'made', 'used_by'])
    .where('id', '=', fileId)
    .where('avatar', '=', 1)
    .where('state', '=', 'committed')
    .executeTakeFirst();
  // What stands in an address is no name to look up in an object: `__proto__` would be there.
  const made = row && Object.entries(madeOf(row)).find(([name]) => name === side)?.[1];
  if (!made || !(row.used_by === null ? row.owner_id === userId : await maySee(q, userId, row.used_by))) return undefined;
  return { blob: `${row.id}-${side}`, name: 'avatar.webp', type: 'image/webp', ...made };
}

async function maySee(q: Query, userId: string, usedBy: string): Promise<boolean> {
  const { kind, id } = parseStream(usedBy)!;
  if (kind === 'user') return !(await readPair(q, userId, id)).blocked;
  const row = await q
    .selectFrom('conversations')
    .leftJoin('members', (join) => join.onRef('members.conversation_id', '=', 'conversations.id').on('members.user_id', '=', userId).on('members.state', '=', 'joined'))
    .select(['conversations.type', 'members.user_id'])
    .where('conversations.id', '=', id)
    .executeTakeFirst();
  return row !== undefined && (row.type !== 'group' || row.user_id !== null);
}
