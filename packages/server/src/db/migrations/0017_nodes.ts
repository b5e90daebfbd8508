import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** What nodes have to know of each other: that they are there, who is online where, and who has tried to sign in how often. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('nodes')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('beat', 'bigint', required)
    .execute();
  await schema
    .createTable('online')
    .addColumn('node_id', 'text', required)
    .addColumn('user_id', 'text', required)
    .addPrimaryKeyConstraint('online_pk', ['node_id', 'user_id'])
    .execute();
  await schema
    .createTable('presence')
    .addColumn('user_id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('nodes', 'bigint', required)
    .execute();
  await schema
    .createTable('tries')
    .addColumn('key', 'text', (column) => column.primaryKey().notNull())
    .addColumn('points', 'bigint', required)
    .addColumn('waits_until', 'bigint', required)
    .addColumn('expires_at', 'bigint', required)
    .execute();
  await schema.createIndex('tries_expires').on('tries').column('expires_at').execute();
}
