import { type ColumnDefinitionBuilder, type Kysely, sql } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** Tokens of sessions are exchanged: since when the one in use is used, and those that are good beside it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('sessions')
    .addColumn('token_at', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute();
  await sql`update sessions set token_at = created_at`.execute(db);
  await db.schema
    .createTable('session_tokens')
    .addColumn('hash', 'text', (column) => column.primaryKey().notNull())
    .addColumn('session_id', 'text', required)
    .addColumn('state', 'text', required)
    .addColumn('made_at', 'bigint', required)
    .addColumn('until', 'bigint', required)
    .execute();
  await db.schema.createIndex('session_tokens_session').on('session_tokens').column('session_id').execute();
  await db.schema.createIndex('session_tokens_until').on('session_tokens').column('until').execute();
}
