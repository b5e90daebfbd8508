import { Migrator } from 'kysely/migration';
import { DatabaseError, type Query } from './db.ts';
import * as init from './migrations/0001_init.ts';
import * as personal from './migrations/0002_personal.ts';
import * as push from './migrations/0003_push.ts';
import * as ends from './migrations/0004_ends.ts';
import * as barred from './migrations/0005_barred.ts';
import * as files from './migrations/0006_files.ts';
import * as media from './migrations/0007_media.ts';
import * as pictures from './migrations/0008_pictures.ts';
import * as heard from './migrations/0009_heard.ts';
import * as links from './migrations/0010_links.ts';
import * as shared from './migrations/0013_shared.ts';
import * as markedUnread from './migrations/0014_marked_unread.ts';
import * as reports from './migrations/0014_reports.ts';
import * as site from './migrations/0014_site.ts';
import * as withdrawn from './migrations/0014_withdrawn.ts';
import * as factors from './migrations/0015_factors.ts';
import * as ledger from './migrations/0016_ledger.ts';
import * as nodes from './migrations/0017_nodes.ts';
import * as keys from './migrations/0020_keys.ts';
import * as tokens from './migrations/0020_tokens.ts';
import * as reach from './migrations/0021_reach.ts';
import * as eras from './migrations/0023_eras.ts';
import * as messages from './migrations/0024_messages.ts';
import * as deletions from './migrations/0025_deletions.ts';

/** In the order they run. A released one is never changed. */
const migrations = {
  '0001_init': init,
  '0002_personal': personal,
  '0003_push': push,
  '0004_ends': ends,
  '0005_barred': barred,
  '0006_files': files,
  '0007_media': media,
  '0008_pictures': pictures,
  '0009_heard': heard,
  '0010_links': links,
  '0013_shared': shared,
  '0014_marked_unread': markedUnread,
  '0014_reports': reports,
  '0014_site': site,
  '0014_withdrawn': withdrawn,
  '0015_factors': factors,
  '0016_ledger': ledger,
  '0017_nodes': nodes,
  '0020_keys': keys,
  '0020_tokens': tokens,
  '0021_reach': reach,
  '0023_eras': eras,
  '0024_messages': messages,
  '0025_deletions': deletions,
};

/** @throws DatabaseError when a migration fails, or the database was made by a newer program */
export async function migrate(db: Query): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve(migrations) } });
  const { error, results } = await migrator.migrateToLatest();
  if (!error) return;
  const failed = results?.find((result) => result.status === 'Error')?.migrationName;
  const reason = error instanceof Error ? error.message : 'unknown';
  throw new DatabaseError(
    failed
      ? `Migration ${failed} failed: ${reason}. Nothing of it was kept.`
      : `The database was made by a newer Kith (${reason}). Start that version, or restore an older backup.`,
    { cause: error },
  );
}
