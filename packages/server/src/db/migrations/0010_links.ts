import { linksIn } from '@kith/protocol';
import { type Kysely, sql } from 'kysely';

/** Rows taken up at once. */
const chunk = 500;

/** The first link of a message, and what is shown of where it leads. Whether previews are made of one's links. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema.alterTable('messages').addColumn('link_url', 'text').execute();
  await schema.alterTable('messages').addColumn('link', 'text').execute();
  await schema.alterTable('messages').addColumn('link_file_id', 'text').execute();
  await schema
    .alterTable('messages')
    .addColumn('link_off', 'bigint', (c) => c.notNull().defaultTo(0))
    .execute();
  await schema
    .alterTable('settings')
    .addColumn('link_previews', 'bigint', (c) => c.notNull().defaultTo(1))
    .execute();
  await nameOldLinks(db);
  // Most messages have none, and take no room in these.
  await schema
    .createIndex('messages_conversation_link')
    .on('messages')
    .columns(['conversation_id', 'seq'])
    .where(sql`link_url`, 'is not', null)
    .execute();
  await schema
    .createIndex('messages_link_file')
    .on('messages')
    .columns(['link_file_id'])
    .where(sql`link_file_id`, 'is not', null)
    .execute();
}

/** Of what was said before: a list of links begins with the first of them, not with this version. */
export async function nameOldLinks(db: Kysely<{ messages: { id: string; text: string; link_url: string | null } }>): Promise<void> {
  for (let last = ''; ;) {
    const rows = await db.selectFrom('messages').select(['id', 'text']).where('id', '>', last).where('text', 'like', '%://%').orderBy('id').limit(chunk).execute();
    for (const { id, text } of rows) {
      const link_url = linksIn(text).find((href) => /^https?:/i.test(href) && href.length <= 2_048);
      if (link_url !== undefined) await db.updateTable('messages').set({ link_url }).where('id', '=', id).execute();
    }
    if (rows.length < chunk) return;
    last = rows.at(-1)!.id;
  }
}
