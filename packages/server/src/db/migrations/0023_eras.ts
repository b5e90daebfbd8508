import { randomUUID } from 'node:crypto';
import { type ColumnDefinitionBuilder, type Kysely, sql } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();

/** Which history this database is a part of, and what was lost where another began: core/eras.ts. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('eras')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('id', 'text', required)
    .addColumn('at', 'bigint', required)
    .execute();
  await db.schema
    .createTable('era_servers')
    .addColumn('era', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('server', 'text', required)
    .execute();
  await db.schema
    .createTable('era_heads')
    .addColumn('stream', 'text', (column) => column.primaryKey().notNull())
    .addColumn('version', 'bigint', required)
    .addColumn('seq', 'bigint', required)
    .execute();
  await db.schema
    .createTable('losses')
    .addColumn('era', 'bigint', required)
    .addColumn('stream', 'text', required)
    .addColumn('commits', 'bigint', required)
    .addColumn('messages', 'bigint', required)
    .addPrimaryKeyConstraint('losses_key', ['era', 'stream'])
    .execute();
  await sql`insert into eras (number, id, at) values (1, ${randomUUID()}, ${Date.now()})`.execute(db);
}
