import type { Kysely } from 'kysely';

/** Who may put a person into groups, and whether strangers find them by their user name. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .alterTable('settings')
    .addColumn('groups_from', 'text', (c) => c.notNull().defaultTo('anyone'))
    .execute();
  await schema
    .alterTable('settings')
    .addColumn('findable', 'bigint', (c) => c.notNull().defaultTo(1))
    .execute();
}
