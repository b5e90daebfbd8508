import { RequestError } from '@kith/protocol';
import { type Handlers, newId } from '../core/context.ts';
import { type Export, exportMs, findExport } from '../core/exports.ts';

export const accountExports: Handlers<'export.start' | 'export.get'> = {
  async 'export.start'(context) {
    const { userId } = context;
    const made = await context.services.db.write([], async (q): Promise<Export> => {
      const now = context.now();
      const last = await findExport(q, userId, now);
      if (last) return last;
      const { handle } = await q.selectFrom('users').select('handle').where('id', '=', userId).executeTakeFirstOrThrow();
      const id = newId();
      const row = { user_id: userId, file_id: id, at: now, claimed_at: 0 };
      await q
        .insertInto('exports')
        .values(row)
        .onConflict((conflict) => conflict.column('user_id').doUpdateSet(row))
        .execute();
      const day = new Date(now).toISOString().slice(0, 10);
      const empty = { client_id: null, width: null, height: null, preview: null, duration_ms: null, waveform: null, promised: null, sha256: null };
      await q
        .insertInto('files')
        .values({
          ...empty,
          id,
          owner_id: userId,
          name: `kith-${handle ?? 'guest'}-${day}.tar`,
          size: 0,
          type: 'application/x-tar',
          state: 'making',
          created_at: now,
          expires_at: now + exportMs,
        })
        .execute();
      await context.audit({ q, now }, 'account.exported');
      const found = await findExport(q, userId, now);
      if (!found) throw new RequestError('internal');
      return found;
    });
    return { export: made };
  },

  async 'export.get'(context) {
    const found = await context.read((q) => findExport(q, context.userId, context.now()));
    return found ? { export: found } : {};
  },
};
