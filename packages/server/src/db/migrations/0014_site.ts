import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** What the operators decided about the site itself. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('site')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('value', 'text', required)
    .execute();
}
