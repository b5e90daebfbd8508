import type { Kysely } from 'kysely';

/** With which of the server's key pairs a device has subscribed: since they are rotated there may be several. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema.alterTable('push_subscriptions').addColumn('vapid', 'text').execute();
  await schema.createIndex('push_subscriptions_vapid').on('push_subscriptions').column('vapid').execute();
}
