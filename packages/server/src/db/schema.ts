import type { Security } from '@kith/protocol';
import type { Generated } from 'kysely';

/**
 * The tables, the same on both engines. House types: ids are text, times integer milliseconds, flags 0 or 1, JSON is
 * text. `version` is the version of the row's stream at its last change; only core/streams.ts makes new ones.
 */
export interface Schema {
  streams: StreamsTable;
  eras: ErasTable;
  era_servers: EraServersTable;
  era_heads: EraHeadsTable;
  losses: LossesTable;
  nodes: NodesTable;
  online: OnlineTable;
  presence: PresenceTable;
  tries: TriesTable;
  users: UsersTable;
  sessions: SessionsTable;
  session_tokens: SessionTokensTable;
  friends: FriendsTable;
  conversations: ConversationsTable;
  members: MembersTable;
  inbox: InboxTable;
  receipts: ReceiptsTable;
  messages: MessagesTable;
  withdrawn: WithdrawnTable;
  reports: ReportsTable;
  site: SiteTable;
  settings: SettingsTable;
  security: SecurityTable;
  passkeys: PasskeysTable;
  recovery_codes: RecoveryCodesTable;
  drafts: DraftsTable;
  hidden: HiddenTable;
  heard: HeardTable;
  invites: InvitesTable;
  spent_tokens: SpentTokensTable;
  push_subscriptions: PushSubscriptionsTable;
  push_told: PushToldTable;
  secrets: SecretsTable;
  files: FilesTable;
  file_usage: FileUsageTable;
  originals: OriginalsTable;
  audit: AuditTable;
  audit_head: AuditHeadTable;
  deletions: DeletionsTable;
  exports: ExportsTable;
}

type Flag = 0 | 1;

/** Times in which nothing that the database held was taken back; the one with the highest number is now: core/eras.ts. */
export interface ErasTable {
  number: number;
  id: string;
  at: number;
}

/** The server that is in this era: PostgreSQL's system identifier and timeline. None: the database is a file, or was copied here. */
export interface EraServersTable {
  era: number;
  server: string;
}

/** What every stream had come to when the newest era began: up to there it is one with the era before. */
export interface EraHeadsTable {
  stream: string;
  version: number;
  seq: number;
}

/** Writes down what every stream has come to, where an era begins. */
export const writeEraHeads = ['delete from era_heads', 'insert into era_heads (stream, version, seq) select id, version, seq from streams'];

/** What had been committed, as far as nodes know, and was not there any more when an era began. */
export interface LossesTable {
  era: number;
  stream: string;
  commits: number;
  messages: number;
}

/** One row a stream: its counters. Locking this row is locking the stream. */
export interface StreamsTable {
  id: string;
  version: number;
  /** Conversations: seq of the newest message. */
  seq: number;
  /** Time of the newest message; shown times never go back behind it. */
  at: number;
}

/** The processes on this database. */
export interface NodesTable {
  id: string;
  /** One more every five seconds; -1: it has stopped. */
  beat: number;
}

/** Who is connected to which node. */
export interface OnlineTable {
  node_id: string;
  user_id: string;
}

/** Everybody who is online, and on how many nodes. */
export interface PresenceTable {
  user_id: string;
  nodes: number;
}

/** Tries to sign in and to make accounts: `key` is a hash of what they are counted by. */
export interface TriesTable {
  key: string;
  points: number;
  waits_until: number;
  expires_at: number;
}

export interface UsersTable {
  id: string;
  version: number;
  handle: string | null;
  name: string;
  avatar: string;
  bio: string;
  password: string | null;
  guest: Flag;
  operator: Flag;
  accepts: 'friends' | 'anyone';
  /** Issuer and subject by which an outside site vouches for this person. */
  external_id: string | null;
  created_at: number;
  last_seen_at: number | null;
  disabled_at: number | null;
  deleted_at: number | null;
}

export interface SessionsTable {
  id: string;
  user_id: string;
  version: number;
  /** SHA-256 of the token, hex. */
  token_hash: string;
  device: string;
  created_at: number;
  used_at: number;
  ended_at: number | null;
  /** When its person last showed who they are: at sign-in, or since. */
  confirmed_at: number;
  /** Since when this token is in use; 0: it is to be exchanged as soon as its browser asks. */
  token_at: number;
}

/** Tokens beside the one in use. */
export interface SessionTokensTable {
  /** SHA-256 of the token, hex. */
  hash: string;
  session_id: string;
  /** next: handed out, and not used yet. before: the one that it took the place of. */
  state: 'next' | 'before';
  made_at: number;
  /** It is good for nothing from here on. */
  until: number;
}

/** How `friend_id` stands to `user_id`; the other direction is another row. */
export interface FriendsTable {
  user_id: string;
  friend_id: string;
  version: number;
  state: 'none' | 'incoming' | 'outgoing' | 'friends';
  note: string;
  remark: string;
  blocked: Flag;
  since: number;
}

export interface ConversationsTable {
  id: string;
  version: number;
  type: 'direct' | 'group' | 'room' | 'announcements';
  title: string | null;
  avatar: string;
  created_by: string | null;
  created_at: number;
  member_count: number;
  /** Direct: both user ids in order, with a space between. One conversation per pair. */
  direct_key: string | null;
  /** Messages older than so many days go; 0: none do, unless the server says so. -1: all do, nobody can read them any more. */
  retention_days: Generated<number>;
  /** Up to here they have. */
  expired_seq: Generated<number>;
  /** The creator's own key, so that a repeated call finds the same group. */
  client_id: string | null;
}

export interface MembersTable {
  conversation_id: string;
  user_id: string;
  version: number;
  role: 'owner' | 'admin' | 'member';
  state: 'joined' | 'left';
  joined_at: number;
  /** Rooms: who was removed does not come back before. */
  barred_until: Generated<number>;
}

export interface InboxTable {
  user_id: string;
  conversation_id: string;
  version: number;
  joined: Flag;
  read_seq: number;
  muted_until: number;
  pinned_at: number;
  request: Flag;
  /** 1: to be read again, though all of it is read. */
  marked_unread: Flag;
  /** Version at the last change of `read_seq` or `marked_unread`. */
  read_version: number;
}

export interface ReceiptsTable {
  conversation_id: string;
  user_id: string;
  version: number;
  delivered_seq: number;
  read_seq: number;
}

export interface MessagesTable {
  id: string;
  conversation_id: string;
  seq: number;
  version: number;
  sender_id: string;
  client_id: string | null;
  type: 'text' | 'emoji' | 'image' | 'file' | 'voice' | 'system';
  text: string;
  /** Of what was first sent, so that a repeated client id can be told from a reused one after edits and recall. */
  sent_hash: string | null;
  at: number;
  edited_at: number | null;
  deleted_at: number | null;
  deleted_by: string | null;
  /** JSON of a system line. */
  event: string | null;
  /** The file of this message; null again once it is recalled. */
  file_id: string | null;
  /** JSON of it, as the wire shows it: a file never changes once it can be sent. */
  file: string | null;
  /** The first link of the text, whether a preview of it is shown or not. */
  link_url: string | null;
  /** JSON of its preview, as the wire shows it; null: there is none, or not yet. */
  link: string | null;
  /** The picture of the preview. */
  link_file_id: string | null;
  /** The sender does not want a preview of this link. */
  link_off: Flag;
  /** The version that it had at first, if it was changed since. It grows with `seq`. */
  born: number | null;
  /** As what its file is listed in the conversation; null again once it is recalled. */
  shared: 'media' | 'files' | 'voice' | null;
}

/** Client ids under which nothing is taken: what was sent with them was taken back while it was on its way. */
export interface WithdrawnTable {
  sender_id: string;
  client_id: string;
  at: number;
}

/** What somebody told the operators of somebody else. */
export interface ReportsTable {
  id: string;
  from_id: string;
  about_id: string;
  conversation_id: string;
  reason: 'spam' | 'abuse' | 'impersonation' | 'other';
  note: string;
  /** JSON: the latest messages of the conversation then, and the names of who wrote them, as the wire shows both. */
  messages: string;
  names: string;
  created_at: number;
  settled: Flag;
  settled_at: number | null;
  settled_by: string | null;
}

/** What the operators decided about the site itself: its `name`. */
export interface SiteTable {
  name: string;
  value: string;
}

/** Absent: the defaults of features/settings.ts. */
export interface SettingsTable {
  user_id: string;
  version: number;
  read_receipts: Flag;
  typing: Flag;
  presence: 'everyone' | 'friends' | 'nobody';
  /** Who may put the person into a group. */
  groups_from: 'friends' | 'anyone';
  /** By people who are no friends, by user name. */
  findable: Flag;
  push_content: Flag;
  link_previews: Flag;
  quiet_from: number | null;
  quiet_to: number | null;
  time_zone: string;
}

/** Absent: a person who signs in by a password alone, and never changed anything. */
export interface SecurityTable {
  user_id: string;
  version: number;
  /** Of the app that makes codes, base32; null: there is none. */
  app_secret: string | null;
  app_since: number | null;
  /** Of the last code that was used; none of it or before is taken again. */
  app_step: number;
  last_what: Security['last']['what'];
  last_at: number;
  last_session_id: string;
}

export interface PasskeysTable {
  id: string;
  user_id: string;
  /** By which the authenticator knows it, base64url; unique. */
  credential_id: string;
  /** COSE, base64url. */
  public_key: string;
  /** Of signatures, as the authenticator counts; 0: it does not. */
  counter: number;
  name: string;
  created_at: number;
  used_at: number | null;
}

/** SHA-256 of those that are left, hex. */
export interface RecoveryCodesTable {
  user_id: string;
  hash: string;
}

export interface DraftsTable {
  user_id: string;
  conversation_id: string;
  version: number;
  text: string;
  other: string | null;
  at: number;
}

export interface HiddenTable {
  user_id: string;
  message_id: string;
  conversation_id: string;
  seq: number;
  version: number;
}

/** Voice messages that a person has heard, one row a conversation. Left: `up_to` is 0 and `seqs` empty. */
export interface HeardTable {
  user_id: string;
  conversation_id: string;
  version: number;
  up_to: number;
  /** JSON: those above it, ascending. */
  seqs: string;
}

export interface InvitesTable {
  code_hash: string;
  /** 1: makes the operator's account. */
  operator: Flag;
  uses_left: number;
  expires_at: number;
  created_by: string | null;
}

/** JWTs that were exchanged, until they expire by themselves. */
export interface SpentTokensTable {
  hash: string;
  expires_at: number;
}

/** Where a session's device gets pushes. */
export interface PushSubscriptionsTable {
  session_id: string;
  user_id: string;
  endpoint: string;
  p256dh: string;
  auth: string;
  /** The public key of the pair that it subscribed with; null: one of before there were several. */
  vapid: string | null;
  created_at: number;
  /** The last push that was tried … */
  last_at: number | null;
  /** … and the HTTP status it was answered with; 0: none. */
  last_status: number | null;
}

/** Up to where a device was told of a conversation by push, as long as that notification stands. */
export interface PushToldTable {
  session_id: string;
  conversation_id: string;
  user_id: string;
  seq: number;
}

/** Keys of the server itself. */
export interface SecretsTable {
  name: string;
  value: string;
}

/** A file whose bytes are to come, have come, or are to go. */
export interface FilesTable {
  id: string;
  owner_id: string;
  /** The owner's own key, so that a repeated call finds the same place. */
  client_id: string | null;
  name: string;
  /** Bytes, as announced; more are not taken, and with fewer it is not stored. */
  size: number;
  type: string;
  width: number | null;
  height: number | null;
  /** A tiny WebP, base64. */
  preview: string | null;
  /** Milliseconds. */
  duration_ms: number | null;
  /** JSON: loudness from 0 to 31, from beginning to end. */
  waveform: string | null;
  /** SHA-256 that was announced, hex. */
  promised: string | null;
  /** Of the bytes that came, once they are all durable. */
  sha256: string | null;
  /**
   * making: the server writes it. reserved: bytes are missing. stored: all are durable. committed: it can be sent. poster: it is shown for a video and
   * goes with it. dropped: bytes and row are to go.
   */
  state: 'making' | 'reserved' | 'stored' | 'committed' | 'poster' | 'dropped';
  created_at: number;
  /** When it goes unless a message has it; null: one has. */
  expires_at: number | null;
  /** 1: what a picture tells about place and device stays in it. */
  keep_original: Generated<Flag>;
  /** 1: it is to be the picture of a person or a group, and can be nothing else. */
  avatar: Generated<Flag>;
  /** 1: a picture that moves. */
  animated: Generated<Flag>;
  /** JSON: what was made of a picture, by its name: `{size, sha256}`. */
  made: Generated<string | null>;
  /** Why it is no picture, though its first bytes say so. */
  refused: Generated<string | null>;
  /** Of an avatar: the stream of the person or the group whose picture it is. */
  used_by: Generated<string | null>;
  /** Of a video: the picture that is shown for it. */
  poster_id: Generated<string | null>;
  /** Bytes kept beyond `size`, or fewer: what was made of it, without what was taken away. */
  extra: Generated<number>;
}

/** Bytes that are to go, and whose file goes on without them. */
export interface OriginalsTable {
  id: string;
}

/** Bytes that the files of a person take, reserved ones with all they will; of everybody in the row with no name. */
export interface FileUsageTable {
  owner_id: string;
  bytes: number;
}

/** What was done that matters for security, each row sealed with the hash of the one before: core/audit.ts. */
export interface AuditTable {
  seq: number;
  at: number;
  event: string;
  actor: string | null;
  subject: string | null;
  /** JSON: ids, names of settings, counts. */
  detail: string;
  /** The address, and what it is sealed with; both go after 30 days … */
  ip: string | null;
  salt: string | null;
  /** … and this stays: SHA-256 of salt and address; empty: there was none. */
  ip_seal: string;
  /** `hash` of the row before. */
  prev: string;
  /** SHA-256 of all that does not go, hex. */
  hash: string;
}

/** One row: the end of the chain, and its beginning, up to which rows are gone by age. */
export interface AuditHeadTable {
  id: 1;
  seq: number;
  hash: string;
  pruned_seq: number;
  pruned_hash: string;
  /** JSON: what was set at the last start, to be compared with at the next. */
  settings: string;
}

/** An account that is deleted, and what it takes to bring it back. */
export interface DeletionsTable extends Pick<UsersTable, 'handle' | 'name' | 'bio' | 'password' | 'accepts' | 'operator'> {
  user_id: string;
  at: number;
  /** When all of it goes for good. */
  purge_at: number;
  /** 1: so does what the person wrote. */
  erase: Flag;
  /** JSON: `{id, since}` of each. */
  friends: string;
  /** How far what they wrote has been gone through: the conversation, and the last seq of it; -1: all of it. */
  erased_conversation: Generated<string>;
  erased_seq: Generated<number>;
}

/** The last copy of their account that somebody asked for; its file says whether it is there. */
export interface ExportsTable {
  user_id: string;
  file_id: string;
  at: number;
  /** When whoever makes it last said so; 0: nobody yet. */
  claimed_at: number;
}
