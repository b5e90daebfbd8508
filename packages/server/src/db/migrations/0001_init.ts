import { type ColumnDefinitionBuilder, type Kysely, sql } from 'kysely';

const required = (column: ColumnDefinitionBuilder) => column.notNull();
const zero = (column: ColumnDefinitionBuilder) => column.notNull().defaultTo(0);
const empty = (column: ColumnDefinitionBuilder) => column.notNull().defaultTo('');

/** The first tables. `bigint` is an integer on both engines. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;

  await schema
    .createTable('streams')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('version', 'bigint', required)
    .addColumn('seq', 'bigint', zero)
    .addColumn('at', 'bigint', zero)
    .execute();

  await schema
    .createTable('users')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('version', 'bigint', required)
    .addColumn('handle', 'text', (c) => c.unique())
    .addColumn('name', 'text', required)
    .addColumn('avatar', 'text', empty)
    .addColumn('bio', 'text', empty)
    .addColumn('password', 'text')
    .addColumn('guest', 'bigint', zero)
    .addColumn('operator', 'bigint', zero)
    .addColumn('accepts', 'text', (c) => c.notNull().defaultTo('friends'))
    .addColumn('external_id', 'text', (c) => c.unique())
    .addColumn('created_at', 'bigint', required)
    .addColumn('last_seen_at', 'bigint')
    .addColumn('disabled_at', 'bigint')
    .addColumn('deleted_at', 'bigint')
    .execute();
  // For the question whether there is an operator yet.
  await sql`create index users_operator on users (operator) where operator = 1`.execute(db);

  await schema
    .createTable('sessions')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('user_id', 'text', required)
    .addColumn('version', 'bigint', required)
    .addColumn('token_hash', 'text', (c) => c.notNull().unique())
    .addColumn('device', 'text', empty)
    .addColumn('created_at', 'bigint', required)
    .addColumn('used_at', 'bigint', required)
    .addColumn('ended_at', 'bigint')
    .execute();
  await schema.createIndex('sessions_user_version').on('sessions').columns(['user_id', 'version']).execute();

  await schema
    .createTable('friends')
    .addColumn('user_id', 'text', required)
    .addColumn('friend_id', 'text', required)
    .addColumn('version', 'bigint', required)
    .addColumn('state', 'text', required)
    .addColumn('note', 'text', empty)
    .addColumn('remark', 'text', empty)
    .addColumn('blocked', 'bigint', zero)
    .addColumn('since', 'bigint', required)
    .addPrimaryKeyConstraint('friends_pk', ['user_id', 'friend_id'])
    .execute();
  await schema.createIndex('friends_user_version').on('friends').columns(['user_id', 'version']).execute();
  await schema.createIndex('friends_friend').on('friends').columns(['friend_id']).execute();

  await schema
    .createTable('conversations')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('version', 'bigint', required)
    .addColumn('type', 'text', required)
    .addColumn('title', 'text')
    .addColumn('avatar', 'text', empty)
    .addColumn('created_by', 'text')
    .addColumn('created_at', 'bigint', required)
    .addColumn('member_count', 'bigint', zero)
    .addColumn('direct_key', 'text', (c) => c.unique())
    .addColumn('client_id', 'text')
    .addUniqueConstraint('conversations_client_id', ['created_by', 'client_id'])
    .execute();
  await schema.createIndex('conversations_type').on('conversations').columns(['type', 'created_at']).execute();

  await schema
    .createTable('members')
    .addColumn('conversation_id', 'text', required)
    .addColumn('user_id', 'text', required)
    .addColumn('version', 'bigint', required)
    .addColumn('role', 'text', required)
    .addColumn('state', 'text', required)
    .addColumn('joined_at', 'bigint', required)
    .addPrimaryKeyConstraint('members_pk', ['conversation_id', 'user_id'])
    .execute();
  await schema.createIndex('members_conversation_version').on('members').columns(['conversation_id', 'version']).execute();
  await schema.createIndex('members_user').on('members').columns(['user_id']).execute();

  await schema
    .createTable('inbox')
    .addColumn('user_id', 'text', required)
    .addColumn('conversation_id', 'text', required)
    .addColumn('version', 'bigint', required)
    .addColumn('joined', 'bigint', required)
    .addColumn('read_seq', 'bigint', zero)
    .addColumn('muted_until', 'bigint', zero)
    .addColumn('pinned_at', 'bigint', zero)
    .addColumn('request', 'bigint', zero)
    .addPrimaryKeyConstraint('inbox_pk', ['user_id', 'conversation_id'])
    .execute();
  await schema.createIndex('inbox_user_version').on('inbox').columns(['user_id', 'version']).execute();

  await schema
    .createTable('receipts')
    .addColumn('conversation_id', 'text', required)
    .addColumn('user_id', 'text', required)
    .addColumn('version', 'bigint', required)
    .addColumn('delivered_seq', 'bigint', zero)
    .addColumn('read_seq', 'bigint', zero)
    .addPrimaryKeyConstraint('receipts_pk', ['conversation_id', 'user_id'])
    .execute();
  await schema.createIndex('receipts_conversation_version').on('receipts').columns(['conversation_id', 'version']).execute();

  await schema
    .createTable('messages')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('conversation_id', 'text', required)
    .addColumn('seq', 'bigint', required)
    .addColumn('version', 'bigint', required)
    .addColumn('sender_id', 'text', required)
    .addColumn('client_id', 'text')
    .addColumn('type', 'text', required)
    .addColumn('text', 'text', required)
    .addColumn('sent_hash', 'text')
    .addColumn('at', 'bigint', required)
    .addColumn('edited_at', 'bigint')
    .addColumn('deleted_at', 'bigint')
    .addColumn('deleted_by', 'text')
    .addColumn('event', 'text')
    .addUniqueConstraint('messages_seq', ['conversation_id', 'seq'])
    // For ever: a client id names one message, whenever it is sent again.
    .addUniqueConstraint('messages_client_id', ['sender_id', 'client_id'])
    .execute();
  await schema.createIndex('messages_conversation_version').on('messages').columns(['conversation_id', 'version']).execute();

  await schema
    .createTable('invites')
    .addColumn('code_hash', 'text', (c) => c.primaryKey())
    .addColumn('operator', 'bigint', zero)
    .addColumn('uses_left', 'bigint', required)
    .addColumn('expires_at', 'bigint', required)
    .addColumn('created_by', 'text')
    .execute();

  await schema
    .createTable('spent_tokens')
    .addColumn('hash', 'text', (c) => c.primaryKey())
    .addColumn('expires_at', 'bigint', required)
    .execute();
}
