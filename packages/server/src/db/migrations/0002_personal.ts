import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** What is private to a person: settings, drafts, messages deleted for themselves. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('settings')
    .addColumn('user_id', 'text', (c) => c.primaryKey())
    .addColumn('version', 'bigint', required)
    .addColumn('read_receipts', 'bigint', required)
    .addColumn('typing', 'bigint', required)
    .addColumn('presence', 'text', required)
    .addColumn('push_content', 'bigint', required)
    .addColumn('quiet_from', 'bigint')
    .addColumn('quiet_to', 'bigint')
    .addColumn('time_zone', 'text', required)
    .execute();

  await schema
    .createTable('drafts')
    .addColumn('user_id', 'text', required)
    .addColumn('conversation_id', 'text', required)
    .addColumn('version', 'bigint', required)
    .addColumn('text', 'text', required)
    .addColumn('other', 'text')
    .addColumn('at', 'bigint', required)
    .addPrimaryKeyConstraint('drafts_pk', ['user_id', 'conversation_id'])
    .execute();
  await schema.createIndex('drafts_user_version').on('drafts').columns(['user_id', 'version']).execute();

  await schema
    .createTable('hidden')
    .addColumn('user_id', 'text', required)
    .addColumn('message_id', 'text', required)
    .addColumn('conversation_id', 'text', required)
    .addColumn('seq', 'bigint', required)
    .addColumn('version', 'bigint', required)
    .addPrimaryKeyConstraint('hidden_pk', ['user_id', 'message_id'])
    .execute();
  await schema.createIndex('hidden_user_version').on('hidden').columns(['user_id', 'version']).execute();
}
