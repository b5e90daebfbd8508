import type { ColumnDefinitionBuilder, Kysely } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** Pushes to devices: where they go, what was told, and the key they are signed with. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('push_subscriptions')
    .addColumn('session_id', 'text', (c) => c.primaryKey())
    .addColumn('user_id', 'text', required)
    // One browser: whoever signs in there last gets its pushes.
    .addColumn('endpoint', 'text', (c) => c.notNull().unique())
    .addColumn('p256dh', 'text', required)
    .addColumn('auth', 'text', required)
    .addColumn('created_at', 'bigint', required)
    .addColumn('last_at', 'bigint')
    .addColumn('last_status', 'bigint')
    .execute();
  await schema.createIndex('push_subscriptions_user').on('push_subscriptions').columns(['user_id']).execute();

  await schema
    .createTable('push_told')
    .addColumn('session_id', 'text', required)
    .addColumn('conversation_id', 'text', required)
    .addColumn('user_id', 'text', required)
    .addColumn('seq', 'bigint', required)
    .addPrimaryKeyConstraint('push_told_pk', ['session_id', 'conversation_id'])
    .execute();
  await schema.createIndex('push_told_user').on('push_told').columns(['user_id', 'conversation_id']).execute();

  await schema
    .createTable('secrets')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('value', 'text', required)
    .execute();
}
