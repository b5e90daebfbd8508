import { type Result, conversationStream, limits } from '@kith/protocol';
import { sql } from 'kysely';
import type { Query } from '../db/db.ts';
import { requireMember } from './access.ts';
import type { ExportJob, ExportPart } from './core.ts';
import { memberRows, readUserSnapshot, toConversation, toMember, toMessage, withinPage } from './entities.ts';
import { readJoined } from './membership.ts';
import type { Log } from './streams.ts';

// A copy of what is a person's own. Here is said what is in it, part by part, each on a view of its own and of a size that
// is bounded; http/exports.ts writes them into a file as they come. Who may read what is asked with each part.

/** Milliseconds that a copy is kept, and until there may be another. */
export const exportMs = 86_400_000;
/** Milliseconds after which a process that makes one and has said nothing is taken for dead. */
const leaseMs = 600_000;

export type Export = Result<'export.start'>['export'];

export async function findExport(q: Query, userId: string, now: number): Promise<Export | undefined> {
  const row = await q
    .selectFrom('exports')
    .innerJoin('files', 'files.id', 'exports.file_id')
    .select(['exports.at', 'files.id', 'files.name', 'files.size', 'files.state', 'files.expires_at'])
    .where('exports.user_id', '=', userId)
    .where('exports.at', '>', now - exportMs)
    .where('files.state', 'in', ['making', 'committed'])
    .executeTakeFirst();
  if (!row) return undefined;
  const { at, id, name, size, state } = row;
  return state === 'making' ? { state: 'making', at } : { state: 'ready', at, file: { id, name, size }, until: at + exportMs };
}

/** One that waits to be made, or whose maker is gone. It is the caller's then. */
export async function nextExport({ db, now }: Log): Promise<ExportJob | undefined> {
  const at = now();
  const waiting = (q: Query) =>
    q
      .selectFrom('files')
      .innerJoin('exports', 'exports.file_id', 'files.id')
      .select(['files.id as fileId', 'exports.user_id as userId'])
      .where(sql<boolean>`files.state = 'making'`)
      .where('files.expires_at', '>', at)
      .where('exports.claimed_at', '<', at - leaseMs)
      .orderBy('files.expires_at')
      .limit(1)
      .executeTakeFirst();
  if (!(await db.read(waiting))) return undefined;
  return db.write(['exports'], async (q) => {
    const job = await waiting(q);
    if (job) await q.updateTable('exports').set({ claimed_at: at }).where('user_id', '=', job.userId).execute();
    return job;
  });
}

/**
 * The part at a place; the first at ''.
 *
 * @returns undefined: there is nobody any more whose it could be
 */
export async function exportPart({ db, now }: Log, { userId, fileId }: ExportJob, place: string): Promise<ExportPart | undefined> {
  const part = await db.read(async (q) => {
    const user = await q.selectFrom('users').select('id').where('id', '=', userId).where('deleted_at', 'is', null).executeTakeFirst();
    return user && readPart(q, userId, place);
  });
  // Still at it.
  if (part) await db.write(['exports'], (q) => q.updateTable('exports').set({ claimed_at: now() }).where('file_id', '=', fileId).execute());
  return part;
}

async function readPart(q: Query, userId: string, place: string): Promise<ExportPart> {
  if (place === '') {
    const account = await readUserSnapshot(q, userId);
    const { avatar } = await q.selectFrom('users').select('avatar').where('id', '=', userId).executeTakeFirstOrThrow();
    const next = (await readJoined(q, userId)).sort()[0];
    return { texts: [json('account.json', account)], files: [], ...(avatar.startsWith('file:') && { avatar: avatar.slice(5) }), ...(next !== undefined && { next: `${next} 0` }) };
  }
  const [conversationId, from] = place.split(' ') as [string, string];
  const joined = (await readJoined(q, userId)).sort();
  // By their order, so that one that was left meanwhile ends nothing.
  const after = joined.find((id) => id > conversationId);
  const next = after !== undefined && { next: `${after} 0` };
  if (!joined.includes(conversationId)) return { texts: [], files: [], ...next };
  const texts = from === '0' ? [json(`conversations/${conversationId}/conversation.json`, await readPlace(q, conversationId, userId))] : [];
  const rows = await q
    .selectFrom('messages')
    .selectAll()
    .where('conversation_id', '=', conversationId)
    .where('seq', '>', Number(from))
    .orderBy('seq')
    .limit(limits.resumeEntities)
    .execute();
  const page = withinPage(rows);
  const last = page.at(-1);
  if (!last) return { texts, files: [], ...next };
  texts.push(json(`conversations/${conversationId}/messages-${String(page[0]!.seq).padStart(9, '0')}.json`, page.map(toMessage)));
  const files = page.flatMap(({ sender_id, file_id }) => (sender_id === userId && file_id !== null ? [file_id] : []));
  const { seq } = await q.selectFrom('streams').select('seq').where('id', '=', conversationStream(conversationId)).executeTakeFirstOrThrow();
  return last.seq < seq ? { texts, files, next: `${conversationId} ${last.seq}` } : { texts, files, ...next };
}

/** The conversation, and who is in it where that is told to its members. */
async function readPlace(q: Query, conversationId: string, userId: string): Promise<unknown> {
  const { type } = await requireMember(q, conversationId, userId);
  const conversation = toConversation(await q.selectFrom('conversations').selectAll().where('id', '=', conversationId).executeTakeFirstOrThrow());
  if (type !== 'direct' && type !== 'group') return { conversation };
  const members = await memberRows(q).where('conversation_id', '=', conversationId).where('members.version', '>', 0).limit(limits.groupMembers).execute();
  return { conversation, members: members.map(toMember) };
}

const json = (name: string, value: unknown) => ({ name, text: `${JSON.stringify(value, undefined, 1)}\n` });

/** All of it is durable; or it could not be made, and can be asked for again. */
export async function exportDone({ db, now }: Log, { fileId, userId }: ExportJob, made: { size: number; sha256: string } | undefined): Promise<void> {
  await db.write(['exports'], async (q) => {
    // It takes none of the person's room: nobody could send a file for a day.
    const values = made ? ({ state: 'committed', size: made.size, extra: -made.size, sha256: made.sha256 } as const) : ({ state: 'dropped', expires_at: now() } as const);
    await q.updateTable('files').set(values).where('id', '=', fileId).where('state', '=', 'making').execute();
    if (!made) await q.deleteFrom('exports').where('user_id', '=', userId).where('file_id', '=', fileId).execute();
  });
}
