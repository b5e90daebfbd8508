import type { Kysely } from 'kysely';

/** When the person of a session last showed who they are. Sessions of before did long ago. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('sessions')
    .addColumn('confirmed_at', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute();
}
