import { type Message, RequestError, conversationStream, firstLink } from '@kith/protocol';
import { mib } from '../config.ts';
import type { Query } from '../db/db.ts';
import type { MessagesTable } from '../db/schema.ts';
import { changedAt } from './append.ts';
import { type Services, newId } from './context.ts';
import type { LinkPage, SentLink } from './core.ts';
import { toMessage } from './entities.ts';
import { everybody, letGoOfLink, toFile, usageKeys, use } from './files.ts';
import { readSettings } from './privacy.ts';
import { type Commit, commit } from './streams.ts';

// Previews of links. Whoever reads what is there is on the other side of the seam; here is who wants it, and that it is
// only shown where it still belongs.

/** Older ones are repetitions of a send, of which a preview was made at their time, if there was one to make. */
const freshMs = 60_000;
/** Milliseconds that a picture is kept for a preview that does not come. */
const pictureMs = 3_600_000;

/** After the commit of a message or of its new text. Returns at once. */
export function offerLink({ config, now, linkSent }: Services, { id, conversationId, senderId, type, text, at, editedAt, link }: Message): void {
  if (!config.linkPreviews || type !== 'text' || link !== undefined || now() - (editedAt ?? at) > freshMs) return;
  const url = firstLink(text);
  if (url !== undefined) linkSent({ messageId: id, conversationId, senderId, url });
}

/** Is a preview of this link wanted at this moment, and not there yet? */
export async function linkWanted(q: Query, { messageId, senderId, url }: SentLink): Promise<boolean> {
  const row = await q
    .selectFrom('messages')
    .select('id')
    .where('id', '=', messageId)
    .where('link_url', '=', url)
    .where('link', 'is', null)
    .where('link_off', '=', 0)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
  return row !== undefined && (await readSettings(q, [senderId])).get(senderId)!.link_previews === 1;
}

/**
 * A place for the picture of a preview, on the account of whoever sent the link. Its bytes go to the blob store, and it goes
 * by itself unless the preview comes.
 *
 * @returns undefined: nobody wants it any more, or there is no room
 */
export async function reserveLinkPicture(
  { db, now, config }: Services,
  link: SentLink,
  { size, width, height }: { size: number; width: number; height: number },
): Promise<string | undefined> {
  const id = newId();
  const at = now();
  try {
    await db.write(usageKeys, async (q) => {
      if (!(await linkWanted(q, link))) throw new RequestError('not_found');
      await q
        .insertInto('files')
        .values({
          id,
          owner_id: link.senderId,
          client_id: null,
          name: 'preview.webp',
          size,
          type: 'image/webp',
          width,
          height,
          preview: null,
          duration_ms: null,
          waveform: null,
          promised: null,
          sha256: null,
          state: 'reserved',
          created_at: at,
          expires_at: at + pictureMs,
        })
        .execute();
      if ((await use(q, everybody, size)) > config.filesTotal * mib) throw new RequestError('storage_full');
      if ((await use(q, link.senderId, size)) > config.filesPerUser * mib) throw new RequestError('quota_full');
    });
    return id;
  } catch (error) {
    if (error instanceof RequestError) return undefined;
    throw error;
  }
}

/** What is there becomes part of the message: its next version. @returns whether it still belonged there */
export async function linkFound(services: Services, sent: SentLink, { pictureId, ...page }: LinkPage): Promise<boolean> {
  const stream = conversationStream(sent.conversationId);
  const shown = commit(services, [stream], async (c) => {
    if (!(await linkWanted(c.q, sent))) throw c.unchanged(false);
    const picture = pictureId === undefined ? undefined : await takePicture(c, pictureId);
    const link: NonNullable<Message['link']> = { url: sent.url, ...page, ...(picture && { image: toFile(picture) }) };
    const row = await c.q
      .updateTable('messages')
      .set((eb) => ({ link: JSON.stringify(link), link_file_id: picture?.id ?? null, ...changedAt(c, stream)(eb) }))
      .where('id', '=', sent.messageId)
      .returningAll()
      .executeTakeFirstOrThrow();
    c.put(stream, toMessage(row));
    return true;
  });
  return shown.catch((error: unknown) => {
    if (error instanceof RequestError) return false;
    throw error;
  });
}

const takePicture = ({ q, now }: Commit, pictureId: string) =>
  q
    .updateTable('files')
    .set({ state: 'committed', expires_at: null })
    .where('id', '=', pictureId)
    .where('state', '=', 'stored')
    .where('expires_at', '>', now)
    .returningAll()
    .executeTakeFirst();

/** What of a message changes with its text: another first link, and nothing of the one before. */
export async function relink(c: Commit, row: MessagesTable, text: string): Promise<Partial<MessagesTable>> {
  const url = firstLink(text) ?? null;
  if (url === row.link_url) return {};
  await letGoOfLink(c, row);
  return { link_url: url, link: null, link_off: 0 };
}
