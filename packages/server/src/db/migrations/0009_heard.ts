import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** Which voice messages a person has heard. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('heard')
    .addColumn('user_id', 'text', required)
    .addColumn('conversation_id', 'text', required)
    .addColumn('version', 'bigint', required)
    .addColumn('up_to', 'bigint', required)
    .addColumn('seqs', 'text', required)
    .addPrimaryKeyConstraint('heard_pk', ['user_id', 'conversation_id'])
    .execute();
  await schema.createIndex('heard_user_version').on('heard').columns(['user_id', 'version']).execute();
}
