import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** Messages that their senders took back before it was known whether they had arrived. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('withdrawn')
    .addColumn('sender_id', 'text', required)
    .addColumn('client_id', 'text', required)
    .addColumn('at', 'bigint', required)
    .addPrimaryKeyConstraint('withdrawn_pk', ['sender_id', 'client_id'])
    .execute();
  await schema.createIndex('withdrawn_sender_at').on('withdrawn').columns(['sender_id', 'at']).execute();
}
