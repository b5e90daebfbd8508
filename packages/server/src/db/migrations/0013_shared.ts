import { type Kysely, sql } from 'kysely';

/** As what the file of a message is listed in its conversation. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('messages').addColumn('shared', 'text').execute();
  // A name in this JSON cannot hold a quotation mark that is not escaped.
  await sql`update messages set shared = case
    when type = 'image' or file like '%"type":"video/%' then 'media'
    when type = 'voice' then 'voice'
    else 'files' end where file_id is not null`.execute(db);
  // Most messages have none, and take no room in it.
  await db.schema
    .createIndex('messages_shared')
    .on('messages')
    .columns(['conversation_id', 'shared', 'seq'])
    .where('shared' as never, 'is not', null)
    .execute();
}
