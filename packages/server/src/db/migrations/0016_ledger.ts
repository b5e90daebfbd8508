import { type ColumnDefinitionBuilder, type Kysely, sql } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** The audit log: a chain of rows, and a row with its two ends. Deletions of accounts, while they can be undone. Copies of accounts. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema
    .createTable('audit')
    .addColumn('seq', 'bigint', (c) => c.primaryKey())
    .addColumn('at', 'bigint', required)
    .addColumn('event', 'text', required)
    .addColumn('actor', 'text')
    .addColumn('subject', 'text')
    .addColumn('detail', 'text', required)
    .addColumn('ip', 'text')
    .addColumn('salt', 'text')
    .addColumn('ip_seal', 'text', required)
    .addColumn('prev', 'text', required)
    .addColumn('hash', 'text', required)
    .execute();
  // Addresses go long before the rows.
  await sql`create index audit_ip on audit (at) where ip is not null`.execute(db);
  await schema
    .createTable('audit_head')
    .addColumn('id', 'bigint', (c) => c.primaryKey())
    .addColumn('seq', 'bigint', required)
    .addColumn('hash', 'text', required)
    .addColumn('pruned_seq', 'bigint', required)
    .addColumn('pruned_hash', 'text', required)
    .addColumn('settings', 'text', required)
    .execute();
  await sql`insert into audit_head (id, seq, hash, pruned_seq, pruned_hash, settings) values (1, 0, '', 0, '', '{}')`.execute(db);

  await schema
    .createTable('deletions')
    .addColumn('user_id', 'text', (c) => c.primaryKey())
    .addColumn('at', 'bigint', required)
    .addColumn('purge_at', 'bigint', required)
    .addColumn('erase', 'bigint', required)
    .addColumn('handle', 'text', (c) => c.unique())
    .addColumn('name', 'text', required)
    .addColumn('bio', 'text', required)
    .addColumn('password', 'text')
    .addColumn('accepts', 'text', required)
    .addColumn('operator', 'bigint', required)
    .addColumn('friends', 'text', required)
    .execute();
  await schema
    .createTable('exports')
    .addColumn('user_id', 'text', (c) => c.primaryKey())
    .addColumn('file_id', 'text', (c) => c.notNull().unique())
    .addColumn('at', 'bigint', required)
    .addColumn('claimed_at', 'bigint', required)
    .execute();
  await sql`create index files_making on files (expires_at) where state = 'making'`.execute(db);

  await schema
    .alterTable('conversations')
    .addColumn('retention_days', 'bigint', (c) => c.notNull().defaultTo(0))
    .execute();
  await schema
    .alterTable('conversations')
    .addColumn('expired_seq', 'bigint', (c) => c.notNull().defaultTo(0))
    .execute();
  await sql`create index conversations_retention on conversations (id) where retention_days <> 0`.execute(db);

  await schema.createIndex('deletions_purge').on('deletions').column('purge_at').execute();
  await sql`create index invites_created_by on invites (created_by) where created_by is not null`.execute(db);
}
