import { RequestError } from '@kith/protocol';
import type { Handlers } from '../core/context.ts';
import { readLoss } from '../core/losses.ts';
import { readSiteName } from '../core/site-name.ts';

/** Milliseconds for which operators are shown what was lost. */
const lossShownMs = 30 * 86_400_000;

export const site: Handlers<'site.rename' | 'site.database'> = {
  async 'site.rename'(context, { name }) {
    if (context.config.siteName !== undefined) throw new RequestError('forbidden', { message: 'KITH_SITE_NAME gives this server its name.' });
    await context.services.db.write([], async (q) => {
      const before = await readSiteName(q, context.config);
      if (name === before) return;
      await q
        .insertInto('site')
        .values({ name: 'name', value: name })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: name }))
        .execute();
      await context.audit({ q, now: context.now() }, 'settings.changed', { detail: { siteName: `${before} → ${name}` } });
    });
    return { name };
  },

  async 'site.database'(context) {
    const { primary } = context.services.db;
    // One that does not answer is told of by everything else.
    const standing = await primary?.look().catch(() => undefined);
    const lost = await context.read((q) => readLoss(q, context.now() - lossShownMs));
    return { ...(standing && { standing }), ...(lost && { lost }) };
  },
};
