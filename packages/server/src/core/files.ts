import { type FileRef, RequestError, limits } from '@kith/protocol';
import type { Database, Query } from '../db/db.ts';
import type { Selectable } from 'kysely';
import type { FilesTable, MessagesTable } from '../db/schema.ts';

import type { FileToServe, MadeBytes, StoredBytes, Upload } from './core.ts';
import type { Commit } from './streams.ts';

// The rows of files. A file that no message has goes at `expires_at`; one that a message has has none. Whoever gives a
// message a file, or takes it from one, locks the row first: of two that meet, the second sees what the first did.

/** Milliseconds that a file is kept which nobody sends. */
export const keptMs = 86_400_000;
/** Rows taken up at once. */
const chunk = 500;

type FileRow = Selectable<FilesTable>;

export const toFile = ({ id, name, size, type, width, height, animated, made, preview, duration_ms, waveform }: FileRow): FileRef => ({
  id,
  name,
  // What one gets, not what was sent.
  size: madeOf({ made }).clean?.size ?? size,
  type,
  ...(width !== null && { width }),
  ...(height !== null && { height }),
  ...(animated === 1 && { animated: true }),
  ...(preview !== null && { preview }),
  ...(duration_ms !== null && { durationMs: duration_ms }),
  ...(waveform !== null && { waveform: JSON.parse(waveform) as number[] }),
});

/** What was made of a picture, by its name. */
export const madeOf = ({ made }: Pick<FileRow, 'made'>): Record<string, MadeBytes | undefined> => (made === null ? {} : (JSON.parse(made) as Record<string, MadeBytes>));

/** Of this person, and in no message: an upload can go on, be committed, or be given up. */
export const ownUnsent = (q: Query, ownerId: string, fileId: string, now: number) =>
  q.selectFrom('files').selectAll().where('id', '=', fileId).where('owner_id', '=', ownerId).where('state', 'not in', ['dropped', 'making']).where('expires_at', '>', now);

export async function findUpload(q: Query, ownerId: string, fileId: string, now: number): Promise<Upload | undefined> {
  const row = await ownUnsent(q, ownerId, fileId, now).executeTakeFirst();
  return row && { size: row.size, expiresAt: row.expires_at!, stored: row.state !== 'reserved', original: row.keep_original === 1, avatar: row.avatar === 1 };
}

/**
 * All bytes are durable, and these they are; so is what was made of a picture.
 *
 * @returns whether they are the ones that were announced, and the place is still kept
 */
export async function fileStored(db: Database, fileId: string, { sha256, type, picture }: StoredBytes): Promise<boolean> {
  const shown = picture !== undefined && !('refused' in picture) ? picture : undefined;
  return db.write(shown ? usageKeys : [], async (q) => {
    const row = await q.selectFrom('files').selectAll().where('id', '=', fileId).executeTakeFirst();
    if (!row || row.state === 'dropped' || (row.promised !== null && row.promised !== sha256)) return false;
    if (row.state !== 'reserved') return true;
    const extra = shown ? Object.values(shown.made).reduce((sum, { size }) => sum + size, 0) - (shown.originalGoes ? row.size : 0) : 0;
    await q
      .updateTable('files')
      .set({
        state: 'stored',
        sha256,
        type: picture && !shown ? unknown : (type ?? label(row.type)),
        ...(picture && 'refused' in picture && { refused: picture.refused }),
        ...(shown && { width: shown.width, height: shown.height, animated: shown.animated ? 1 : 0, preview: shown.preview, made: JSON.stringify(shown.made), extra }),
      })
      .where('id', '=', fileId)
      .execute();
    // In this commit, so that they are found again whatever happens between here and their end.
    if (shown?.originalGoes) await q.insertInto('originals').values({ id: fileId }).execute();
    // What is made of a file takes room as well; there was none to ask for before it was known how much.
    if (extra !== 0) for (const ownerId of [everybody, row.owner_id]) await use(q, ownerId, extra);
    return true;
  });
}

const unknown = 'application/octet-stream';
/** What somebody called it, unless that claims to be something that we show in place and it is not. */
const label = (type: string): string => (/^(?:image|audio|video)\//.test(type) ? unknown : type);

/** Gives an upload up. @returns whether there was one */
export async function dropUpload(db: Database, ownerId: string, fileId: string, now: number): Promise<boolean> {
  return db.write([], async (q) => {
    const dropped = await q
      .updateTable('files')
      .set({ state: 'dropped', expires_at: now })
      .where('id', '=', fileId)
      .where('owner_id', '=', ownerId)
      .where('state', 'not in', ['dropped', 'making'])
      .where('expires_at', '>', now)
      .returning('id')
      .executeTakeFirst();
    return dropped !== undefined;
  });
}

/**
 * A file that this person may read now: a message of a conversation they are in has it, or it is their own and not sent
 * yet. Asked anew for every request, so that a removal or a recall counts from its commit on.
 */
export async function findFile(q: Query, userId: string, fileId: string, { now, size }: { now: number; size?: 'small' | 'large' | undefined }): Promise<FileToServe | undefined> {
  const row = (await reaches(q, userId, fileId))
    ? await q.selectFrom('files').selectAll().where('id', '=', fileId).executeTakeFirst()
    : await ownUnsent(q, userId, fileId, now).executeTakeFirst();
  if (!row || row.sha256 === null || row.state === 'dropped' || row.avatar === 1) return undefined;
  if (size === undefined) return whole(row);
  const picture = row.poster_id === null ? row : await q.selectFrom('files').selectAll().where('id', '=', row.poster_id).executeTakeFirst();
  // Of pictures alone, measured ones: no other bytes are ever shown in their place.
  return picture && picture.width !== null && picture.type.startsWith('image/') ? smaller(picture, size) : undefined;
}

function whole(row: FileRow): FileToServe {
  const { clean } = madeOf(row);
  return { blob: clean ? `${row.id}-clean` : row.id, name: row.name, size: clean?.size ?? row.size, type: row.type, sha256: clean?.sha256 ?? row.sha256! };
}

function smaller(row: FileRow, size: 'small' | 'large'): FileToServe {
  const made = madeOf(row);
  // One that fits into the small box has no other large one.
  const name = made[size] === undefined && Math.max(row.width!, row.height!) <= smallSide ? 'small' : size;
  const found = made[name];
  return found ? { blob: `${row.id}-${name}`, name: `${row.name.replace(/\.[^.]*$/, '')}.webp`, type: 'image/webp', ...found } : whole(row);
}

/** Pixels of the box that the small rendition of a picture fits into. */
const smallSide = 720;

/** As the file of a message, or as the picture of its link. */
async function reaches(q: Query, userId: string, fileId: string): Promise<boolean> {
  for (const column of ['messages.file_id', 'messages.link_file_id'] as const) {
    const row = await q
      .selectFrom('messages')
      .innerJoin('members', 'members.conversation_id', 'messages.conversation_id')
      .select('messages.id')
      .where(column, '=', fileId)
      .where('members.user_id', '=', userId)
      .where('members.state', '=', 'joined')
      .limit(1)
      .executeTakeFirst();
    if (row) return true;
  }
  return false;
}

/**
 * The file that this commit is about to send. It is kept from here on; rolled back, it is as before.
 *
 * @returns the reason for which it cannot be sent, to be thrown only once it is clear that this is no repetition
 */
export async function findSendable(c: Commit, userId: string, fileId: string, type: MessagesTable['type']): Promise<FileRef | RequestError> {
  const row = await c.q
    .updateTable('files')
    .set({ expires_at: null })
    .where('id', '=', fileId)
    .where('state', 'not in', ['dropped', 'poster'])
    .where('avatar', '=', 0)
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', c.now)]))
    .returningAll()
    .executeTakeFirst();
  if (!row || (row.owner_id !== userId && !(await reaches(c.q, userId, fileId)))) return new RequestError('not_found', { message: 'There is no such file, or not for you.' });
  if (row.state !== 'committed') return new RequestError('incomplete', { message: 'This file is not committed yet.' });
  if (type === 'image' && row.refused !== null) return new RequestError('unsupported', { message: `${refusalOf(row)} It can be sent as a file.` });
  const unfit = unfitFor(type, row);
  if (unfit !== undefined) return new RequestError('bad_request', { path: 'params.fileId', message: `params.fileId: ${unfit}` });
  return toFile(row);
}

/** Why a file is not what this type of message takes, if it is not. */
function unfitFor(type: MessagesTable['type'], file: FileRow): string | undefined {
  if (type === 'image' && !file.type.startsWith('image/')) return 'type image takes a picture that can be shown';
  if (type !== 'voice') return undefined;
  if (!file.type.startsWith('audio/')) return 'type voice takes a sound that can be played';
  if (file.duration_ms === null || file.duration_ms === 0 || file.waveform === null || file.waveform === '[]')
    return 'type voice takes a sound that was committed with durationMs and waveform';
  if (file.duration_ms > limits.voiceMs) return `a voice message has at most ${limits.voiceMs} ms`;
  return undefined;
}

/** Why this is no picture to us, in words. */
export const refusalOf = ({ refused }: Pick<FileRow, 'refused'>): string => refusals[refused ?? ''] ?? 'This is no picture that can be shown here.';

const refusals: Record<string, string | undefined> = {
  unreadable: 'This picture is damaged, or not what it says it is.',
  unsupported: 'Pictures of this format, like HEIC, cannot be shown here; as JPEG, PNG or WebP they can.',
  too_large: `A picture has at most ${limits.picturePixels / 1_000_000} megapixels, ${limits.pictureSide} pixels a side, ${limits.pictureFrames} frames and ${limits.pictureBytes / 1_048_576} MiB.`,
  too_costly: 'Showing this picture takes more time or memory than there is for one.',
  no_decoder: 'This server cannot make pictures smaller, and shows none.',
};

/** A message loses its file, and the picture of its link; the last one takes the file with it. The commit writes the rest of the message. */
export async function letGo(c: Commit, { id, file_id, link_file_id }: Pick<MessagesTable, 'id' | 'file_id' | 'link_file_id'>): Promise<void> {
  const fileIds = [file_id, link_file_id].filter((fileId) => fileId !== null);
  if (fileIds.length === 0) return;
  await c.q.updateTable('messages').set({ file_id: null, link_file_id: null }).where('id', '=', id).execute();
  await dropUnless(c, fileIds);
}

/** The same for the picture of its link alone. */
export async function letGoOfLink(c: Commit, { id, link_file_id }: Pick<MessagesTable, 'id' | 'link_file_id'>): Promise<void> {
  if (link_file_id === null) return;
  await c.q.updateTable('messages').set({ link_file_id: null }).where('id', '=', id).execute();
  await dropUnless(c, [link_file_id]);
}

/** The same for a whole conversation that nobody can read any more. */
export async function letGoOfAll(c: Commit, conversationId: string): Promise<void> {
  const named = async (column: 'file_id' | 'link_file_id'): Promise<string[]> => {
    const rows = await c.q.selectFrom('messages').select(column).distinct().where('conversation_id', '=', conversationId).where(column, 'is not', null).execute();
    return rows.map((row) => (row as Record<string, string>)[column]!);
  };
  const fileIds = [...new Set([...(await named('file_id')), ...(await named('link_file_id'))])].sort();
  await c.q.updateTable('messages').set({ file_id: null, file: null, shared: null }).where('conversation_id', '=', conversationId).where('file_id', 'is not', null).execute();
  await c.q.updateTable('messages').set({ link_file_id: null, link: null }).where('conversation_id', '=', conversationId).where('link_url', 'is not', null).execute();
  for (let from = 0; from < fileIds.length; from += chunk) await dropUnless(c, fileIds.slice(from, from + chunk));
}

/** Drops those of these files that no message has. */
async function dropUnless({ q, now }: Commit, fileIds: string[]): Promise<void> {
  // Locked in a statement of its own: the next one looks at messages as they are once whoever held the rows is done.
  await q
    .updateTable('files')
    .set((eb) => ({ expires_at: eb.ref('expires_at') }))
    .where('id', 'in', fileIds)
    .execute();
  await q
    .updateTable('files')
    .set({ state: 'dropped', expires_at: now })
    .where('id', 'in', fileIds)
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('messages').select('messages.id').whereRef('messages.file_id', '=', 'files.id'))))
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('messages').select('messages.id').whereRef('messages.link_file_id', '=', 'files.id'))))
    .execute();
}

/** Files whose time is over, as many as are taken up at once: from here on nobody can send or read them. */
export async function unusedFiles(db: Database, now: number): Promise<string[]> {
  // Looked for before: a minute in which nothing is over costs no write.
  const over = await db.read((q) => q.selectFrom('files').select('id').where('expires_at', '<=', now).orderBy('expires_at').limit(chunk).execute());
  if (over.length === 0) return [];
  const ids = over.map((row) => row.id);
  return db.write([], async (q) => {
    const dropped = await q.updateTable('files').set({ state: 'dropped' }).where('id', 'in', ids).where('expires_at', '<=', now).returning('id').execute();
    return dropped.map((row) => row.id);
  });
}

/** Their bytes are gone: their rows go, and their owners have the room again. */
export async function forgetFiles(db: Database, fileIds: string[], now: number): Promise<void> {
  await db.write(usageKeys, async (q) => {
    const gone = await q.deleteFrom('files').where('id', 'in', fileIds).where('state', '=', 'dropped').returning(['owner_id', 'size', 'extra', 'poster_id']).execute();
    const bytes = new Map<string, number>();
    for (const { owner_id, size, extra } of gone) bytes.set(owner_id, (bytes.get(owner_id) ?? 0) + size + extra);
    const all = gone.reduce((sum, { size, extra }) => sum + size + extra, 0);
    const posters = gone.flatMap(({ poster_id }) => poster_id ?? []);
    if (posters.length > 0) await q.updateTable('files').set({ state: 'dropped', expires_at: now }).where('id', 'in', posters).execute();
    for (const [ownerId, freed] of [[everybody, all] as const, ...[...bytes].sort(([a], [b]) => (a < b ? -1 : 1))]) await use(q, ownerId, -freed);
  });
}

export async function originals(q: Query): Promise<string[]> {
  return (await q.selectFrom('originals').select('id').limit(chunk).execute()).map(({ id }) => id);
}

export async function forgetOriginals(db: Database, ids: string[]): Promise<void> {
  await db.write([], (q) => q.deleteFrom('originals').where('id', 'in', ids).execute());
}

/** The row of `file_usage` that counts for the whole server. */
export const everybody = '';
/** Writers of `file_usage` wait for each other by this, not at its rows. */
export const usageKeys = ['file_usage'];

/** Counts bytes in or out. @returns how many there are then */
export async function use(q: Query, ownerId: string, bytes: number): Promise<number> {
  const row = await q
    .insertInto('file_usage')
    .values({ owner_id: ownerId, bytes })
    .onConflict((conflict) => conflict.column('owner_id').doUpdateSet((eb) => ({ bytes: eb('file_usage.bytes', '+', bytes) })))
    .returning('bytes')
    .executeTakeFirstOrThrow();
  return row.bytes;
}

/** Bytes that are counted for this person, or for `everybody`. */
export async function usedBy(q: Query, ownerId: string): Promise<number> {
  const row = await q.selectFrom('file_usage').select('bytes').where('owner_id', '=', ownerId).executeTakeFirst();
  return row?.bytes ?? 0;
}
