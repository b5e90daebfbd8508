import { RequestError } from '@kith/protocol';
import type { Handlers } from '../core/context.ts';
import { readSiteName } from '../core/site-name.ts';

export const site: Handlers<'site.rename'> = {
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
};
