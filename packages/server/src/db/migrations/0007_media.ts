import type { Kysely } from 'kysely';

/** What of a file is shown before its bytes are there: a tiny picture, how long it plays, how loud it is. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema.alterTable('files').addColumn('preview', 'text').execute();
  await schema.alterTable('files').addColumn('duration_ms', 'bigint').execute();
  await schema.alterTable('files').addColumn('waveform', 'text').execute();
}
