import { RequestError, limits } from '@kith/protocol';
import { isOperator, requireWriter } from '../core/access.ts';
import { mib } from '../config.ts';
import { type Context, type Handlers, newId } from '../core/context.ts';
import { cleanFileName } from '../core/file-name.ts';
import type { Query } from '../db/db.ts';
import { everybody, keptMs, ownUnsent, refusalOf, toFile, usageKeys, use, usedBy } from '../core/files.ts';
import { requireQuota } from '../core/quotas.ts';

export const files: Handlers<'file.reserve' | 'file.commit' | 'file.usage'> = {
  async 'file.reserve'(context, { conversationId, clientId, name, size, type = 'application/octet-stream', sha256, original = false, avatar = false }) {
    const { userId, config } = context;
    if (size > config.fileSize * mib) throw new RequestError('too_large', { limit: 'fileBytes', message: `A file has at most ${config.fileSize} MiB.` });
    if (avatar && size > limits.avatarBytes)
      throw new RequestError('too_large', { limit: 'avatarBytes', message: `The picture of a person or a group has at most ${limits.avatarBytes / mib} MiB.` });
    return context.services.db.write(usageKeys, async (q) => {
      if (conversationId !== undefined) await requireWriter(q, conversationId, userId);
      const now = context.now();
      const id = newId();
      // A place whose time is over, or whose messages were recalled, is none: its key is free again.
      if (clientId !== undefined) {
        await q
          .updateTable('files')
          .set({ state: 'dropped', client_id: null })
          .where('owner_id', '=', userId)
          .where('client_id', '=', clientId)
          .where('expires_at', '<=', now)
          .execute();
      }
      const made = await q
        .insertInto('files')
        .values({
          id,
          owner_id: userId,
          client_id: clientId ?? null,
          name: cleanFileName(name),
          size,
          type: type.toLowerCase(),
          width: null,
          height: null,
          preview: null,
          duration_ms: null,
          waveform: null,
          promised: sha256 ?? null,
          sha256: null,
          state: 'reserved',
          created_at: now,
          expires_at: now + keptMs,
          keep_original: original ? 1 : 0,
          avatar: avatar ? 1 : 0,
        })
        .onConflict((conflict) => conflict.columns(['owner_id', 'client_id']).doNothing())
        .returning('id')
        .executeTakeFirst();
      if (!made) {
        const first = await q.selectFrom('files').selectAll().where('owner_id', '=', userId).where('client_id', '=', clientId!).executeTakeFirstOrThrow();
        if (first.size !== size || first.name !== cleanFileName(name) || first.promised !== (sha256 ?? null)) throw new RequestError('client_id_reused');
        return place(first.id, first.expires_at ?? now + keptMs);
      }
      await requireQuota(context, q, 'uploadsPerHour');
      await requireQuota(context, q, 'uploadKibPerDay', Math.ceil(size / 1_024));
      const open = await q
        .selectFrom('files')
        .select('id')
        .where('owner_id', '=', userId)
        .where('state', '=', 'reserved')
        .limit(limits.openUploads + 1)
        .execute();
      if (open.length > limits.openUploads) throw new RequestError('too_many', { limit: 'openUploads', message: `At most ${limits.openUploads} uploads can be open.` });
      if ((await use(q, everybody, size)) > config.filesTotal * mib) throw new RequestError('storage_full', { limit: 'filesTotal' });
      if ((await use(q, userId, size)) > config.filesPerUser * mib)
        throw new RequestError('quota_full', { limit: 'filesPerUser', message: `The files of one person have at most ${config.filesPerUser} MiB.` });
      return place(id, now + keptMs);
    });
  },

  async 'file.commit'(context, { fileId, sha256, width, height, durationMs, waveform, posterId }) {
    const { userId } = context;
    return context.services.db.write([], async (q) => {
      const row =
        (await ownUnsent(q, userId, fileId, context.now()).executeTakeFirst()) ??
        // Asked again after it was sent: answered as the first time.
        (await q.selectFrom('files').selectAll().where('id', '=', fileId).where('owner_id', '=', userId).where('state', '=', 'committed').executeTakeFirst());
      if (!row) throw new RequestError('not_found');
      if (row.sha256 === null) throw new RequestError('incomplete');
      if (row.sha256 !== sha256) throw new RequestError('checksum_mismatch');
      if (row.avatar === 1 && row.width === null) throw new RequestError('unsupported', { message: refusalOf(row) });
      // Committed once, it is as it was committed: messages show it so.
      if (row.state !== 'stored') return { file: toFile(row) };
      const poster = posterId === undefined ? undefined : await takePoster(q, context, row, posterId);
      const plays = /^(?:audio|video)\//.test(row.type);
      const committed = await q
        .updateTable('files')
        .set({
          state: 'committed',
          ...(row.type.startsWith('video/') && width !== undefined && height !== undefined && { width, height }),
          ...(poster && { poster_id: poster.id, preview: poster.preview }),
          ...(plays && durationMs !== undefined && { duration_ms: durationMs }),
          ...(plays && waveform !== undefined && { waveform: JSON.stringify(waveform) }),
        })
        .where('id', '=', fileId)
        .returningAll()
        .executeTakeFirstOrThrow();
      return { file: toFile(committed) };
    });
  },

  'file.usage': ({ userId, config, services }) =>
    services.db.read(async (q) => ({
      own: { bytes: await usedBy(q, userId), limit: config.filesPerUser * mib },
      fileLimit: config.fileSize * mib,
      ...((await isOperator(q, userId)) && { server: { bytes: await usedBy(q, everybody), limit: config.filesTotal * mib } }),
    })),
};

/** A picture of one's own becomes what is shown for a video: it goes with it, and is nothing else from here on. */
async function takePoster(q: Query, context: Context, video: { type: string }, posterId: string) {
  if (!video.type.startsWith('video/')) throw new RequestError('bad_request', { path: 'params.posterId', message: 'params.posterId: only a video has one' });
  const poster = await ownUnsent(q, context.userId, posterId, context.now())
    .where('width', 'is not', null)
    .where('type', 'like', 'image/%')
    .where('avatar', '=', 0)
    .executeTakeFirst();
  if (!poster) throw new RequestError('not_found', { message: 'There is no such picture of yours that could be the poster.' });
  await q.updateTable('files').set({ state: 'poster', expires_at: null }).where('id', '=', posterId).execute();
  return poster;
}

const place = (fileId: string, expiresAt: number) => ({ fileId, url: `/files/${fileId}`, expiresAt });
