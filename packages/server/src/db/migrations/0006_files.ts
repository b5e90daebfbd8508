import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** Files: whose they are, how far they have come, and which messages have them. Their bytes are in the blob store. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('files')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('owner_id', 'text', required)
    .addColumn('client_id', 'text')
    .addColumn('name', 'text', required)
    .addColumn('size', 'bigint', required)
    .addColumn('type', 'text', required)
    .addColumn('width', 'bigint')
    .addColumn('height', 'bigint')
    .addColumn('promised', 'text')
    .addColumn('sha256', 'text')
    .addColumn('state', 'text', required)
    .addColumn('created_at', 'bigint', required)
    .addColumn('expires_at', 'bigint')
    .addUniqueConstraint('files_client_id', ['owner_id', 'client_id'])
    .execute();
  await schema.createIndex('files_owner_state').on('files').columns(['owner_id', 'state']).execute();
  await schema.createIndex('files_expires').on('files').column('expires_at').execute();

  await schema
    .createTable('file_usage')
    .addColumn('owner_id', 'text', (c) => c.primaryKey())
    .addColumn('bytes', 'bigint', required)
    .execute();

  await schema.alterTable('messages').addColumn('file_id', 'text').execute();
  await schema.alterTable('messages').addColumn('file', 'text').execute();
  // Most messages have none, and take no room in these.
  await schema
    .createIndex('messages_file')
    .on('messages')
    .column('file_id')
    .where('file_id' as never, 'is not', null)
    .execute();
  await schema
    .createIndex('messages_conversation_file')
    .on('messages')
    .columns(['conversation_id', 'seq'])
    .where('file_id' as never, 'is not', null)
    .execute();
}
