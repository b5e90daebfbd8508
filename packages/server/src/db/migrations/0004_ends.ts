import { type Kysely, sql } from 'kysely';

/** What ends by itself is found by when it does. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema.createIndex('invites_expires').on('invites').columns(['expires_at']).execute();
  await schema.createIndex('spent_tokens_expires').on('spent_tokens').columns(['expires_at']).execute();
  await schema
    .createIndex('sessions_used')
    .on('sessions')
    .columns(['used_at'])
    .where(sql`ended_at`, 'is', null)
    .execute();
  await schema
    .createIndex('sessions_created')
    .on('sessions')
    .columns(['created_at'])
    .where(sql`ended_at`, 'is', null)
    .execute();
}
