import type { Kysely } from 'kysely';

/** How far the messages of a deleted person have been gone through: the conversation, and the place in it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('deletions')
    .addColumn('erased_conversation', 'text', (column) => column.notNull().defaultTo(''))
    .execute();
  await db.schema
    .alterTable('deletions')
    .addColumn('erased_seq', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute();
}
