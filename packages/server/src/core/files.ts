import { type FileRef, RequestError, limits } from '@kith/protocol';
import type { Database, Query } from '../db/db.ts';
import type { FilesTable, MessagesTable } from '../db/schema.ts';
import type { FileToServe, Upload } from './core.ts';
import type { Commit } from './streams.ts';

// The rows of files. A file that no message has goes at `expires_at`; one that a message has has none. Whoever gives a
// message a file, or takes it from one, locks the row first: of two that meet, the second sees what the first did.

/** Milliseconds that a file is kept which nobody sends. */
export const keptMs = 86_400_000;
/** Rows taken up at once. */
const chunk = 500;

export const toFile = ({ id, name, size, type, width, height, preview, duration_ms, waveform }: FilesTable): FileRef => ({
  id,
  name,
  size,
  type,
  ...(width !== null && { width }),
  ...(height !== null && { height }),
  ...(preview !== null && { preview }),
  ...(duration_ms !== null && { durationMs: duration_ms }),
  ...(waveform !== null && { waveform: JSON.parse(waveform) as number[] }),
});

/** Of this person, and in no message: an upload can go on, be committed, or be given up. */
export const ownUnsent = (q: Query, ownerId: string, fileId: string, now: number) =>
  q.selectFrom('files').selectAll().where('id', '=', fileId).where('owner_id', '=', ownerId).where('state', '!=', 'dropped').where('expires_at', '>', now);

export async function findUpload(q: Query, ownerId: string, fileId: string, now: number): Promise<Upload | undefined> {
  const row = await ownUnsent(q, ownerId, fileId, now).executeTakeFirst();
  return row && { size: row.size, expiresAt: row.expires_at!, stored: row.state !== 'reserved' };
}

/**
 * All bytes are durable, and these they are.
 *
 * @param type  By the bytes; undefined where they tell of nothing that is shown in place.
 * @returns whether they are the ones that were announced, and the place is still kept
 */
export async function fileStored(db: Database, fileId: string, { sha256, type }: { sha256: string; type: string | undefined }): Promise<boolean> {
  return db.write([], async (q) => {
    const row = await q.selectFrom('files').selectAll().where('id', '=', fileId).executeTakeFirst();
    if (!row || row.state === 'dropped' || (row.promised !== null && row.promised !== sha256)) return false;
    await q
      .updateTable('files')
      .set({ state: 'stored', sha256, type: type ?? label(row.type) })
      .where('id', '=', fileId)
      .where('state', '=', 'reserved')
      .execute();
    return true;
  });
}

/** What somebody called it, unless that claims to be something that we show in place and it is not. */
const label = (type: string): string => (/^(?:image|audio|video)\//.test(type) ? 'application/octet-stream' : type);

/** Gives an upload up. @returns whether there was one */
export async function dropUpload(db: Database, ownerId: string, fileId: string, now: number): Promise<boolean> {
  return db.write([], async (q) => {
    const dropped = await q
      .updateTable('files')
      .set({ state: 'dropped', expires_at: now })
      .where('id', '=', fileId)
      .where('owner_id', '=', ownerId)
      .where('state', '!=', 'dropped')
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
export async function findFile(q: Query, userId: string, fileId: string, now: number): Promise<FileToServe | undefined> {
  const row = (await reaches(q, userId, fileId))
    ? await q.selectFrom('files').selectAll().where('id', '=', fileId).executeTakeFirst()
    : await ownUnsent(q, userId, fileId, now).executeTakeFirst();
  if (!row || row.sha256 === null || row.state === 'dropped') return undefined;
  return { name: row.name, size: row.size, type: row.type, sha256: row.sha256 };
}

async function reaches(q: Query, userId: string, fileId: string): Promise<boolean> {
  const row = await q
    .selectFrom('messages')
    .innerJoin('members', 'members.conversation_id', 'messages.conversation_id')
    .select('messages.id')
    .where('messages.file_id', '=', fileId)
    .where('members.user_id', '=', userId)
    .where('members.state', '=', 'joined')
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
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
    .where('state', '!=', 'dropped')
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', c.now)]))
    .returningAll()
    .executeTakeFirst();
  if (!row || (row.owner_id !== userId && !(await reaches(c.q, userId, fileId)))) return new RequestError('not_found', { message: 'There is no such file, or not for you.' });
  if (row.state !== 'committed') return new RequestError('incomplete', { message: 'This file is not committed yet.' });
  const unfit = unfitFor(type, row);
  if (unfit !== undefined) return new RequestError('bad_request', { path: 'params.fileId', message: `params.fileId: ${unfit}` });
  return toFile(row);
}

/** Why a file is not what this type of message takes, if it is not. */
function unfitFor(type: MessagesTable['type'], file: FilesTable): string | undefined {
  if (type === 'image' && !file.type.startsWith('image/')) return 'type image takes a picture that can be shown';
  if (type !== 'voice') return undefined;
  if (!file.type.startsWith('audio/')) return 'type voice takes a sound that can be played';
  if (file.duration_ms === null || file.duration_ms === 0 || file.waveform === null || file.waveform === '[]')
    return 'type voice takes a sound that was committed with durationMs and waveform';
  if (file.duration_ms > limits.voiceMs) return `a voice message has at most ${limits.voiceMs} ms`;
  return undefined;
}

/** A message loses its file; the last one takes the file with it. The commit writes the rest of the message. */
export async function letGo(c: Commit, { id, file_id }: Pick<MessagesTable, 'id' | 'file_id'>): Promise<void> {
  if (file_id === null) return;
  await c.q.updateTable('messages').set({ file_id: null }).where('id', '=', id).execute();
  await dropUnless(c, [file_id]);
}

/** The same for a whole conversation that nobody can read any more. */
export async function letGoOfAll(c: Commit, conversationId: string): Promise<void> {
  const rows = await c.q
    .selectFrom('messages')
    .select('file_id')
    .distinct()
    .where('conversation_id', '=', conversationId)
    .where('file_id', 'is not', null)
    .orderBy('file_id')
    .execute();
  await c.q.updateTable('messages').set({ file_id: null, file: null, shared: null }).where('conversation_id', '=', conversationId).where('file_id', 'is not', null).execute();
  for (let from = 0; from < rows.length; from += chunk)
    await dropUnless(
      c,
      rows.slice(from, from + chunk).map((row) => row.file_id!),
    );
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
export async function forgetFiles(db: Database, fileIds: string[]): Promise<void> {
  await db.write(usageKeys, async (q) => {
    const gone = await q.deleteFrom('files').where('id', 'in', fileIds).where('state', '=', 'dropped').returning(['owner_id', 'size']).execute();
    const bytes = new Map<string, number>();
    for (const { owner_id, size } of gone) bytes.set(owner_id, (bytes.get(owner_id) ?? 0) + size);
    const all = gone.reduce((sum, { size }) => sum + size, 0);
    for (const [ownerId, freed] of [[everybody, all] as const, ...[...bytes].sort(([a], [b]) => (a < b ? -1 : 1))]) await use(q, ownerId, -freed);
  });
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
