import type { Config } from '../config.ts';
import type { Query } from '../db/db.ts';

/** What this server is called: as its configuration says, or as its operator did. */
export async function readSiteName(q: Query, { siteName }: Pick<Config, 'siteName'>): Promise<string> {
  if (siteName !== undefined) return siteName;
  const row = await q.selectFrom('site').select('value').where('name', '=', 'name').executeTakeFirst();
  return row?.value ?? 'Kith';
}
