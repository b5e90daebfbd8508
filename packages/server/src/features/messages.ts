import { type FileRef, type Message, RequestError, conversationStream, isEmojiText, limits } from '@kith/protocol';
import { type Membership, readRank, requireMayWrite, requireMember, requireWriter, writerRights } from '../core/access.ts';
import { append, changedAt, onlyAppends, sentHash } from '../core/append.ts';
import { findSendable, letGo, letGoOfLink } from '../core/files.ts';
import { offerLink, relink } from '../core/links.ts';
import type { Context, Handlers } from '../core/context.ts';
import { toMessage, withinPage } from '../core/entities.ts';
import type { Commit } from '../core/streams.ts';
import type { Query } from '../db/db.ts';
import type { MessagesTable } from '../db/schema.ts';

const hourMs = 3_600_000;
const withdrawnMs = 24 * hourMs;

export const messages: Handlers<'message.send' | 'message.withdraw' | 'message.edit' | 'message.delete' | 'message.unlink' | 'message.history' | 'message.media'> = {
  async 'message.send'(context, { conversationId, clientId, type, text, fileId }) {
    const { userId } = context;
    const withFile = type === 'image' || type === 'file' || type === 'voice';
    if (withFile !== (fileId !== undefined))
      throw new RequestError('bad_request', { path: 'params.fileId', message: `params.fileId: type ${type} ${withFile ? 'takes a file' : 'takes none'}` });
    if (type === 'emoji' && !isEmojiText(text)) throw new RequestError('bad_request', { path: 'params.text', message: 'params.text: type emoji takes one to three emoji' });
    if (!withFile) requireWords(text);
    const stream = conversationStream(conversationId);
    const result = await context.commit(
      [stream],
      async (c) => {
        const file = fileId === undefined ? undefined : await findSendable(c, userId, fileId, type);
        const refused = (await mayWrite(c.q, conversationId, userId)) ?? (file instanceof RequestError ? file : undefined);
        const message = refused ? undefined : await append(c, { conversationId, senderId: userId, clientId, type, text, ...(file && { file: file as FileRef }) });
        if (message) return { message };
        // A repeated send is answered as the first was, even where the sender may no longer write.
        const first = await c.q.selectFrom('messages').selectAll().where('sender_id', '=', userId).where('client_id', '=', clientId).executeTakeFirst();
        if (!first) throw refused ?? new RequestError('too_late', { message: 'This message was taken back.' });
        if (first.conversation_id !== conversationId || (first.sent_hash !== null && first.sent_hash !== sentHash(type, text, fileId)))
          throw refused ?? new RequestError('client_id_reused');
        throw c.unchanged({ message: toMessage(first) });
      },
      { append: stream, ...(fileId === undefined && { only: onlyAppends({ conversationId, senderId: userId, clientId, type, text }, writerRights(conversationId, userId)) }) },
    );
    context.services.push.messageSent(result.message);
    offerLink(context.services, result.message);
    return result;
  },

  // Under the lock of the stream: a send that is on its way comes before this and is found, or after it and is refused.
  'message.withdraw': (context, { conversationId, clientId }) =>
    context.commit([conversationStream(conversationId)], async (c) => {
      const { userId } = context;
      await requireMember(c.q, conversationId, userId);
      const message = await c.q.selectFrom('messages').selectAll().where('sender_id', '=', userId).where('client_id', '=', clientId).executeTakeFirst();
      if (message && message.conversation_id !== conversationId) throw new RequestError('client_id_reused');
      if (message) throw c.unchanged({ message: toMessage(message) });
      await c.q
        .insertInto('withdrawn')
        .values({ sender_id: userId, client_id: clientId, at: c.now })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      await forgetWithdrawn(c, userId);
      return {};
    }),

  async 'message.edit'(context, { messageId, text }) {
    const result = await changeMessage(context, messageId, async (c, row, membership) => {
      // New words are new words: who may not write may not put them into an old message either.
      await requireMayWrite(c.q, membership, context.userId);
      if (row.sender_id !== context.userId || row.type === 'system') throw new RequestError('forbidden');
      if (row.deleted_at !== null) throw new RequestError('too_late', { message: 'The message was recalled.' });
      requireInTime(context, row);
      if (row.file_id === null) requireWords(text);
      if (row.text === text) throw c.unchanged({ message: toMessage(row) });
      return { text, type: row.type === 'emoji' && !isEmojiText(text) ? 'text' : row.type, edited_at: c.now, ...(await relink(c, row, text)) };
    });
    offerLink(context.services, result.message);
    return result;
  },

  'message.delete': (context, { messageId }) =>
    changeMessage(context, messageId, async (c, row, membership) => {
      if (row.deleted_at !== null) throw c.unchanged({ message: toMessage(row) });
      if (row.type === 'system') throw new RequestError('forbidden');
      const moderates = (await readRank(c.q, membership, context.userId)) !== 'member';
      if (row.sender_id !== context.userId && !moderates) throw new RequestError('forbidden');
      if (row.sender_id === context.userId && !moderates) requireInTime(context, row);
      await letGo(c, row);
      if (row.sender_id !== context.userId) await context.audit(c, 'message.deleted', { subject: row.sender_id, detail: { conversationId: row.conversation_id, messageId } });
      return { text: '', file: null, shared: null, link_url: null, link: null, deleted_at: c.now, deleted_by: context.userId };
    }),

  'message.unlink': (context, { messageId }) =>
    changeMessage(context, messageId, async (c, row) => {
      if (row.sender_id !== context.userId || row.type === 'system') throw new RequestError('forbidden');
      if (row.link_url === null || row.link_off === 1) throw c.unchanged({ message: toMessage(row) });
      await letGoOfLink(c, row);
      return { link: null, link_off: 1 };
    }),

  async 'message.history'(context, { conversationId, before, after, around, at, limit = 50 }) {
    if ([before, after, around, at].filter((given) => given !== undefined).length > 1)
      throw new RequestError('bad_request', { path: 'params', message: 'params: one of before, after, around, at' });
    return context.read(async (q) => {
      await requireMember(q, conversationId, context.userId);
      if (around !== undefined) return readAround(q, conversationId, around, limit);
      if (after !== undefined) return readAfter(q, conversationId, after, limit);
      if (at !== undefined) return readAround(q, conversationId, await findSeqAt(q, conversationId, at), limit);
      return readBefore(q, conversationId, before ?? Number.MAX_SAFE_INTEGER, limit);
    });
  },

  async 'message.media'(context, { conversationId, kind, before, after, limit = 50 }) {
    if (before !== undefined && after !== undefined) throw new RequestError('bad_request', { path: 'params', message: 'params: one of before, after' });
    return context.read(async (q) => {
      await requireMember(q, conversationId, context.userId);
      const rows = await q
        .selectFrom('messages')
        .selectAll()
        .where('conversation_id', '=', conversationId)
        .$if(before !== undefined, (query) => query.where('seq', '<', before!))
        .$if(after !== undefined, (query) => query.where('seq', '>', after!))
        .$if(kind === 'links', (query) => query.where('link_url', 'is not', null))
        .$if(kind !== 'links', (query) => query.where('shared', '=', kind as 'media'))
        .orderBy('seq', after === undefined ? 'desc' : 'asc')
        .limit(limit + 1)
        .execute();
      const found = withinPage(rows.slice(0, limit));
      return { messages: (after === undefined ? found : found.reverse()).map(toMessage), more: found.length < rows.length };
    });
  },
};

/** What was on its way a day ago has arrived or never will; of one person no more are kept than a program in order ever takes back. */
async function forgetWithdrawn(c: Commit, userId: string): Promise<void> {
  const nth = await c.q.selectFrom('withdrawn').select('at').where('sender_id', '=', userId).orderBy('at', 'desc').offset(limits.withdrawn).limit(1).executeTakeFirst();
  await c.q
    .deleteFrom('withdrawn')
    .where('sender_id', '=', userId)
    .where('at', '<=', Math.max(nth?.at ?? 0, c.now - withdrawnMs))
    .execute();
}

/** The reason for which this person may not write here, if any: thrown only once it is clear that this is no repetition. */
async function mayWrite(q: Query, conversationId: string, userId: string): Promise<RequestError | undefined> {
  try {
    await requireWriter(q, conversationId, userId);
    return undefined;
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
}

/**
 * Changes a message in place, in its conversation's stream.
 *
 * @throws not_found, the same for a message in a conversation of others
 */
async function changeMessage(
  context: Context,
  messageId: string,
  change: (c: Commit, row: MessagesTable, membership: Membership) => Promise<Partial<MessagesTable>>,
): Promise<{ message: Message }> {
  const where = await context.read((q) => q.selectFrom('messages').select('conversation_id').where('id', '=', messageId).executeTakeFirst());
  if (!where) throw new RequestError('not_found');
  const stream = conversationStream(where.conversation_id);
  return context.commit([stream], async (c) => {
    const membership = await requireMember(c.q, where.conversation_id, context.userId).catch((error: unknown) => {
      throw error instanceof RequestError ? new RequestError('not_found') : error;
    });
    const row = await c.q.selectFrom('messages').selectAll().where('id', '=', messageId).executeTakeFirstOrThrow();
    const values = await change(c, row, membership);
    const changed = await c.q
      .updateTable('messages')
      .set((eb) => ({ ...values, ...changedAt(c, stream)(eb) }))
      .where('id', '=', messageId)
      .returningAll()
      .executeTakeFirstOrThrow();
    const message = toMessage(changed);
    c.put(stream, message);
    return { message };
  });
}

function requireWords(text: string): void {
  if (text.trim() === '') throw new RequestError('bad_request', { path: 'params.text', message: 'params.text: empty' });
}

function requireInTime(context: Context, row: MessagesTable): void {
  if (context.now() - row.at > context.config.recallHours * hourMs)
    throw new RequestError('too_late', { message: `Messages can be changed for ${context.config.recallHours} hours.` });
}

interface Page {
  messages: Message[];
  before: boolean;
  after: boolean;
}

async function readBefore(q: Query, conversationId: string, seq: number, limit: number, bytes?: number): Promise<Page> {
  const rows = await q.selectFrom('messages').selectAll().where('conversation_id', '=', conversationId).where('seq', '<', seq).orderBy('seq', 'desc').limit(limit).execute();
  return page(q, conversationId, withinPage(rows, bytes).reverse().map(toMessage), seq - 1);
}

async function readAfter(q: Query, conversationId: string, seq: number, limit: number, bytes?: number): Promise<Page> {
  const rows = await q.selectFrom('messages').selectAll().where('conversation_id', '=', conversationId).where('seq', '>', seq).orderBy('seq').limit(limit).execute();
  return page(q, conversationId, withinPage(rows, bytes).map(toMessage), seq);
}

/** Half before, half from the given one on. */
async function readAround(q: Query, conversationId: string, seq: number, limit: number): Promise<Page> {
  const half = Math.floor(limit / 2);
  const earlier = await readBefore(q, conversationId, seq, half, limits.pageBytes / 2);
  const later = await readAfter(q, conversationId, Math.max(0, seq - 1), limit - half, limits.pageBytes / 2);
  return page(q, conversationId, [...earlier.messages, ...later.messages], seq - 1);
}

/**
 * The first message at or after a time; where all are older, the newest.
 *
 * Times never go back within a conversation, so the place is found by halves: some twenty rows by their seq, in place of
 * another index on the largest table.
 */
async function findSeqAt(q: Query, conversationId: string, at: number): Promise<number> {
  const { seq: last } = await q.selectFrom('streams').select('seq').where('id', '=', conversationStream(conversationId)).executeTakeFirstOrThrow();
  let [low, high] = [1, last];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const row = await q.selectFrom('messages').select('at').where('conversation_id', '=', conversationId).where('seq', '=', middle).executeTakeFirstOrThrow();
    if (row.at >= at) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Seqs are dense from 1, so what lies beyond a page follows from its ends.
 *
 * @param place  The seq behind which an empty page lies.
 */
async function page(q: Query, conversationId: string, found: Message[], place: number): Promise<Page> {
  const { seq: last } = await q.selectFrom('streams').select('seq').where('id', '=', conversationStream(conversationId)).executeTakeFirstOrThrow();
  const end = Math.min(Math.max(0, place), last);
  return { messages: found, before: (found[0]?.seq ?? end + 1) > 1, after: (found.at(-1)?.seq ?? end) < last };
}
