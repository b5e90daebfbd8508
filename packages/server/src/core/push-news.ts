import { type FileRef, type PushPayload, conversationStream, isQuiet } from '@kith/protocol';
import { type Selectable, sql } from 'kysely';
import type { Query } from '../db/db.ts';
import type { ConversationsTable, InboxTable, MessagesTable, PushSubscriptionsTable } from '../db/schema.ts';
import { peerOf, readPair } from './access.ts';
import { quietHoursOf, readSettings } from './privacy.ts';

/** UTF-16 units of a text that a notification can show. */
const shownText = 300;
/** Above this many unread messages a badge says "99+", and one's own among them are not told apart. */
const countedOneByOne = 100;

export interface News {
  payload: PushPayload;
  seq: number;
  urgency: 'normal' | 'high';
}

/**
 * What is to be told to a device of a conversation, by all that holds at this moment: membership, blocks, mute, quiet
 * hours, what was read, recalled or told already.
 *
 * @param from  Messages before this one are old news, whatever was not told of them.
 * @returns undefined: nothing
 */
export async function findNews(q: Query, device: PushSubscriptionsTable, conversationId: string, from: number, now: number): Promise<News | undefined> {
  const userId = device.user_id;
  const inbox = await findInbox(q, userId, conversationId);
  if (!inbox || inbox.muted_until > now) return undefined;
  const settings = (await readSettings(q, [userId])).get(userId)!;
  if (isQuiet(quietHoursOf(settings), now)) return undefined;
  const told = await q.selectFrom('push_told').select('seq').where('session_id', '=', device.session_id).where('conversation_id', '=', conversationId).executeTakeFirst();
  const message = await newestOfOthers(q, userId, conversationId, Math.max(inbox.read_seq, told?.seq ?? 0, from - 1));
  if (!message) return undefined;
  const conversation = await q.selectFrom('conversations').selectAll().where('id', '=', conversationId).executeTakeFirstOrThrow();
  const direct = conversation.type === 'direct';
  if (direct && (await readPair(q, userId, peerOf(conversation.direct_key!, userId))).blocked) return undefined;
  const unread = await readUnread(q, userId, now);
  // A stranger's words wait until they are let in.
  const content = settings.push_content === 1 && inbox.request === 0 ? await contentOf(q, userId, conversation, message) : {};
  const payload: PushPayload = { type: 'message', conversationId, seq: message.seq, count: unread.of.get(conversationId) ?? 1, unread: unread.total, ...content };
  return { payload, seq: message.seq, urgency: direct ? 'high' : 'normal' };
}

/**
 * The notification of a conversation is to go from this device.
 *
 * @returns undefined: it is not, or not now
 */
export async function findWithdrawal(
  q: Query,
  device: PushSubscriptionsTable,
  conversationId: string,
  now: number,
): Promise<{ payload: PushPayload; readSeq: number } | undefined> {
  const userId = device.user_id;
  const inbox = await findInbox(q, userId, conversationId);
  if (!inbox || isQuiet(quietHoursOf((await readSettings(q, [userId])).get(userId)!), now)) return undefined;
  const told = await q.selectFrom('push_told').select('seq').where('session_id', '=', device.session_id).where('conversation_id', '=', conversationId).executeTakeFirst();
  if (!told || told.seq > inbox.read_seq) return undefined;
  const { total } = await readUnread(q, userId, now);
  return { payload: { type: 'read', conversationId, unread: total }, readSeq: inbox.read_seq };
}

/** The person's row of a conversation that they are a member of. */
async function findInbox(q: Query, userId: string, conversationId: string): Promise<InboxTable | undefined> {
  return q.selectFrom('inbox').selectAll().where('user_id', '=', userId).where('conversation_id', '=', conversationId).where('joined', '=', 1).executeTakeFirst();
}

type Told = { seq: number; sender_id: string; type: MessagesTable['type']; text: string; file: string | null };
type Content = { title: string; body?: string; voiceMs?: number; media?: 'picture' | 'video' };

async function newestOfOthers(q: Query, userId: string, conversationId: string, after: number): Promise<Told | undefined> {
  return q
    .selectFrom('messages')
    .select(['seq', 'sender_id', 'type', 'text', 'file'])
    .where('conversation_id', '=', conversationId)
    .where('seq', '>', after)
    .where('sender_id', '!=', userId)
    .where('type', '!=', 'system')
    .where('deleted_at', 'is', null)
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom('friends').select('friend_id').where('user_id', '=', userId).whereRef('friend_id', '=', 'messages.sender_id').where('blocked', '=', 1))),
    )
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst();
}

/** Messages of others above the read marks, in conversations that are not muted; one, at least, where it is marked as unread. */
async function readUnread(q: Query, userId: string, now: number): Promise<{ total: number; of: Map<string, number> }> {
  const behind = await q
    .selectFrom('inbox')
    .innerJoin('streams', (on) => on.on('streams.id', '=', sql<string>`${conversationStream('')} || inbox.conversation_id`))
    .select(['inbox.conversation_id as id', 'inbox.marked_unread as marked', (eb) => eb('streams.seq', '-', eb.ref('inbox.read_seq')).as('count')])
    .where('inbox.user_id', '=', userId)
    .where('inbox.joined', '=', 1)
    .where('inbox.muted_until', '<=', now)
    .where((eb) => eb.or([eb('streams.seq', '>', eb.ref('inbox.read_seq')), eb('inbox.marked_unread', '=', 1)]))
    .execute();
  const of = new Map(behind.map(({ id, count }) => [id, Number(count)]));
  const few = [...of].filter(([, count]) => count <= countedOneByOne).map(([id]) => id);
  for (const { id, count } of await ownUnread(q, userId, few)) of.set(id, of.get(id)! - Number(count));
  for (const { id, marked } of behind) if (marked === 1) of.set(id, Math.max(1, of.get(id)!));
  return { total: [...of.values()].reduce((sum, count) => sum + count, 0), of };
}

async function ownUnread(q: Query, userId: string, conversationIds: string[]): Promise<{ id: string; count: number }[]> {
  if (conversationIds.length === 0) return [];
  return q
    .selectFrom('inbox')
    .innerJoin('messages', (on) => on.onRef('messages.conversation_id', '=', 'inbox.conversation_id').onRef('messages.seq', '>', 'inbox.read_seq'))
    .select((eb) => ['inbox.conversation_id as id', eb.fn.countAll<number>().as('count')])
    .where('inbox.user_id', '=', userId)
    .where('inbox.conversation_id', 'in', conversationIds)
    .where('messages.sender_id', '=', userId)
    .groupBy('inbox.conversation_id')
    .execute();
}

/** Between two, the name of the other; elsewhere the title, and the name before the text. */
async function contentOf(q: Query, userId: string, conversation: Selectable<ConversationsTable>, { sender_id, type, text: words, file }: Told): Promise<Content> {
  const { name: fileName, type: mediaType, durationMs } = file === null ? { name: '', type: '' } : (JSON.parse(file) as FileRef);
  // Without a caption a picture or a video is told as that, what is spoken by its length, and any other file by its name. For all
  // but names the device has the words.
  const media = type === 'image' ? 'picture' : type === 'file' && mediaType.startsWith('video/') ? 'video' : undefined;
  const shown: Pick<Content, 'voiceMs' | 'media'> = words !== '' ? {} : type === 'voice' && durationMs !== undefined ? { voiceMs: durationMs } : media ? { media } : {};
  const text = words === '' && type !== 'voice' && media === undefined ? fileName : words;
  const { name } = await q.selectFrom('users').select('name').where('id', '=', sender_id).executeTakeFirstOrThrow();
  const friend = await q.selectFrom('friends').select('remark').where('user_id', '=', userId).where('friend_id', '=', sender_id).executeTakeFirst();
  const sender = friend?.remark || name;
  const said = text.length <= shownText ? text : `${text.slice(0, shownText).replace(/[\uD800-\uDBFF]$/, '')}…`;
  if (conversation.type === 'direct') return { title: sender, ...(said !== '' && { body: said }), ...shown };
  return { title: conversation.title ?? sender, body: said === '' ? sender : `${sender}: ${said}`, ...shown };
}
