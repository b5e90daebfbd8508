import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** What people tell the operators of others. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('reports')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('from_id', 'text', required)
    .addColumn('about_id', 'text', required)
    .addColumn('conversation_id', 'text', required)
    .addColumn('reason', 'text', required)
    .addColumn('note', 'text', required)
    .addColumn('messages', 'text', required)
    .addColumn('names', 'text', required)
    .addColumn('created_at', 'bigint', required)
    .addColumn('settled', 'integer', required)
    .addColumn('settled_at', 'bigint')
    .addColumn('settled_by', 'text')
    .execute();
  await schema.createIndex('reports_settled').on('reports').columns(['settled', 'id']).execute();
  await schema.createIndex('reports_from').on('reports').columns(['from_id', 'settled']).execute();
}
