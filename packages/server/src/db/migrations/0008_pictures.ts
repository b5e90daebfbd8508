import type { Kysely } from 'kysely';

/** What was made of pictures, what is to be done with them, and bytes that are to go while their file stays. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  for (const flag of ['keep_original', 'avatar', 'animated', 'extra'])
    await schema
      .alterTable('files')
      .addColumn(flag, 'bigint', (c) => c.notNull().defaultTo(0))
      .execute();
  for (const text of ['made', 'refused', 'poster_id', 'used_by']) await schema.alterTable('files').addColumn(text, 'text').execute();
  await schema
    .createTable('originals')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .execute();
}
