import type { Kysely } from 'kysely';

/** Until when somebody who was removed from a room stays out. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .alterTable('members')
    .addColumn('barred_until', 'bigint', (c) => c.notNull().defaultTo(0))
    .execute();
}
