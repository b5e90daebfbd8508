import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const number = (column: ColumnDefinitionBuilder) => column.notNull().defaultTo(0);

/** What a person has put aside to read again. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema.alterTable('inbox').addColumn('marked_unread', 'integer', number).execute();
  await schema.alterTable('inbox').addColumn('read_version', 'bigint', number).execute();
}
