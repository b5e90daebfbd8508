import { type Kysely, SqliteAdapter, sql } from 'kysely';

/**
 * A message changes as few pages of indexes as can be: it was three here and there, and is one, that of its place in the conversation.
 *
 * - Client ids come before senders: those that begin with the time are all put at one end of their index, whoever sends.
 * - What is changed since a version is found by the place at which it began, and only what was changed later is in an index of its own: `born` is
 *   the version that a message had at first, where it has another one.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  if (db.getExecutor().adapter instanceof SqliteAdapter) await rebuild(db);
  else {
    await sql`drop index messages_conversation_version`.execute(db);
    await sql`alter table messages add column born bigint`.execute(db);
    await sql`alter table messages drop constraint messages_client_id`.execute(db);
    await sql`alter table messages add constraint messages_client_id unique (client_id, sender_id)`.execute(db);
  }
  // Of those that were changed before nobody knows it any more. The least version from there on is never earlier than it was, and puts no message before another.
  await sql`update messages set born = known.born from (
      select id, version, min(version) over (partition by conversation_id order by seq rows between current row and unbounded following) as born from messages
    ) as known where known.id = messages.id and known.born <> known.version`.execute(db);
  await sql`create index messages_changed on messages (conversation_id, version) where born is not null`.execute(db);
}

/** SQLite has no way to change a constraint. */
async function rebuild(db: Kysely<unknown>): Promise<void> {
  await sql`create table messages_anew (
      id text primary key, conversation_id text not null, seq bigint not null, version bigint not null, sender_id text not null, client_id text,
      type text not null, text text not null, sent_hash text, at bigint not null, edited_at bigint, deleted_at bigint, deleted_by text, event text,
      file_id text, file text, link_url text, link text, link_file_id text, link_off bigint default 0 not null, shared text, born bigint,
      constraint messages_seq unique (conversation_id, seq), constraint messages_client_id unique (client_id, sender_id))`.execute(db);
  await sql`insert into messages_anew select *, null from messages order by rowid`.execute(db);
  await sql`drop table messages`.execute(db);
  await sql`alter table messages_anew rename to messages`.execute(db);
  await sql`create index messages_file on messages (file_id) where file_id is not null`.execute(db);
  await sql`create index messages_conversation_file on messages (conversation_id, seq) where file_id is not null`.execute(db);
  await sql`create index messages_conversation_link on messages (conversation_id, seq) where link_url is not null`.execute(db);
  await sql`create index messages_link_file on messages (link_file_id) where link_file_id is not null`.execute(db);
  await sql`create index messages_shared on messages (conversation_id, shared, seq) where shared is not null`.execute(db);
}
