import type { Bound, CloseName, ErrorCode, Signal, StreamId, SetBound } from '@kith/protocol';
import type { Note } from './audit.ts';

/**
 * The seam between the gateway (sockets, HTTP) and the core (features, SQL). With SQLite the core runs in a worker
 * thread, with PostgreSQL in the gateway's own process; neither side can tell. All that crosses is plain data, and
 * frames cross as text, so that nothing is parsed or encoded twice.
 */
export interface Core {
  /** Is whatever an answer does not know yet published after it? Where several connections read the database it may be published before. */
  readonly inOrder: boolean;

  /**
   * Answers one request frame. Never rejects for what a peer sent: that is an error reply.
   * Requests are taken up in the order of the calls.
   */
  handle(caller: Caller, frame: string): Promise<Answer>;

  /** Nothing more is asked on this connection. */
  gone(connection: number): void;

  /** Whose token is this? `undefined`: nobody's, or no longer. */
  authenticate(token: string): Promise<Identity | undefined>;

  /**
   * What a connection of this person follows besides their own `user:` stream. The gateway follows that stream first,
   * then asks this and follows the answer, and only then lets the core answer `hello`, whose reply carries the heads:
   * subscribe first, then read. `undefined`: the session ended in between.
   */
  topics(who: Identity): Promise<Topic[] | undefined>;

  /** Newest versions of these streams; unknown ones are left out. For the gateway's heartbeat, so without access check. */
  heads(streams: StreamId[]): Promise<Record<string, number>>;

  /** Those of these presence topics that this person may follow now. */
  watchable(who: Identity, topics: Topic[]): Promise<Topic[]>;

  /** Once in five seconds: says that this node is there, and takes out the people of those that are no more. @returns the other nodes */
  beat(): Promise<string[]>;

  /** Which history the database has. What is of another may never have been. */
  era(): Promise<Era>;

  /** Once in five seconds, where the database may be another server from one connection to the next: looks at the one that answers now. */
  lookAtDatabase(): Promise<Standing | undefined>;

  /** Another node works in this era. */
  heardOfEra(era: Era): void;

  /**
   * What this node had seen committed when the era began: what is not there is written down, for operators.
   *
   * @returns what nobody had written down before
   */
  compareWithEra(era: Era, seen: Seen[]): Promise<Loss>;

  /** Ends the sessions that are over by age, and with them their connections. Once in a heartbeat. */
  sweepSessions(): Promise<void>;

  /**
   * The code of the one-time link with which the operator's account is made: only while there is no operator, valid for
   * an hour, a new one at every start. `undefined`: there is one.
   */
  setupLink(): Promise<string | undefined>;

  /** What this server is called. */
  siteName(): Promise<string>;

  /** The upload of this person that may go on. `undefined`: there is none of this id, or it is somebody else's, or sent. */
  findUpload(who: Identity, fileId: string): Promise<Upload | undefined>;

  /**
   * All bytes of an upload are durable in the blob store, and these they are. Repeating it changes nothing.
   *
   * @returns false: other bytes were announced, or nobody waits for them any more; they can go
   */
  fileStored(fileId: string, bytes: StoredBytes): Promise<boolean>;

  /** Gives an upload up. @returns whether there was one */
  dropUpload(who: Identity, fileId: string): Promise<boolean>;

  /**
   * A file, if this person may read it at this moment.
   *
   * @param size  A smaller one of a picture, or of the one that is shown for a video; where there is none, the picture.
   */
  findFile(who: Identity, fileId: string, size?: 'small' | 'large'): Promise<FileToServe | undefined>;

  /** One size of the picture of a person or a group, if this person may see them. */
  findAvatar(who: Identity, fileId: string, side: string): Promise<FileToServe | undefined>;

  /** Some of the files whose bytes are to be deleted; none: there are no more now. */
  unusedFiles(): Promise<string[]>;

  /** The bytes of these are deleted. */
  forgetFiles(fileIds: string[]): Promise<void>;

  /** Bytes that are to be deleted while their file stays: the originals of pictures that were cleaned. */
  originals(): Promise<string[]>;

  /** They are deleted. */
  forgetOriginals(ids: string[]): Promise<void>;

  /** Tells the audit log that this version has started, and with which settings. */
  started(version: string): Promise<void>;

  /** Writes into the audit log what happened outside of requests. */
  note(notes: Note[]): Promise<void>;

  /** Told to the audit log, once a minute for each: an address runs into a limit. */
  blocked(limit: string, ip: string): Promise<void>;

  /** Takes away some of what is too old. Once a minute. @returns whether there may be more */
  tidy(): Promise<boolean>;

  /** A copy of an account that somebody waits for; it is the caller's to make. */
  nextExport(): Promise<ExportJob | undefined>;

  /** The part of it at a place, the first at ''. `undefined`: the account is gone. */
  exportPart(job: ExportJob, place: string): Promise<ExportPart | undefined>;

  /** All of it is durable in the blob store; without `made` it could not be made. */
  exportDone(job: ExportJob, made: { size: number; sha256: string } | undefined): Promise<void>;

  /** Is a preview of this link wanted at this moment, and not there yet? */
  linkWanted(link: SentLink): Promise<boolean>;

  /**
   * A place for the picture of a preview; it goes by itself unless the preview comes.
   *
   * @returns its id in the blob store; undefined: nobody wants it any more, or there is no room
   */
  reserveLinkPicture(link: SentLink, picture: { size: number; width: number; height: number }): Promise<string | undefined>;

  /** What is at a link that was sent. @returns whether it is shown: the message may have changed, or gone */
  linkFound(link: SentLink, page: LinkPage): Promise<boolean>;

  /** A connection of this person is ready, or gone. Drives presence. */
  connected(who: Identity): void;
  disconnected(who: Identity): void;

  /** Called with what was committed, in the order of the commits of each stream, and with signals. One listener. */
  onPublish(listener: (publications: Publication[]) => void): void;

  /** Another era has begun, or a database of an earlier one was refused. One listener. */
  onDatabase(listener: (news: PrimaryNews) => void): void;

  /** Called with the link of a message that was committed, where a preview may be made of it. One listener. */
  onLink(listener: (link: SentLink) => void): void;

  /**
   * The core cannot go on: a commit ended in an error, so whether it is on disk is unknown. The process must stop, and
   * clients will ask again with the same client ids. One listener.
   */
  onFatal(listener: (error: Error) => void): void;

  /** There is no time left for what was asked for and has not begun: it is busy. What is asked for later is done. */
  refuseWaiting(): Promise<void>;

  /** Answers what is in flight, then closes the database. */
  close(): Promise<void>;
}

/** A time in which nothing that the database held was taken back. Another begins where a standby takes over, and with a restored backup. */
export interface Era {
  /** 1, 2, 3 … */
  number: number;
  /** Two that began on two servers at once have one number, and are not the same. */
  id: string;
}

/** On how many machines is what was acknowledged? `missing`: it waits for a standby that is not there. */
export type Standing = 'alone' | 'asynchronous' | 'synchronous' | 'missing';

/** Of two with one number, which began on two servers at once, all nodes have to take the same for the later. */
export const isBefore = (one: Era, other: Era): boolean => one.number < other.number || (one.number === other.number && one.id < other.id);

export type PrimaryNews = { era: Era } | { refused: string };

/** What a stream had come to. */
export interface Seen {
  stream: StreamId;
  version: number;
  seq: number;
}

/** What had been committed, and is gone. */
export interface Loss {
  streams: number;
  commits: number;
  messages: number;
}

export interface Identity {
  userId: string;
  sessionId: string;
}

/** A copy of somebody's account, to be written into this file. */
export interface ExportJob {
  userId: string;
  fileId: string;
}

export interface ExportPart {
  texts: { name: string; text: string }[];
  /** Ids of files that the person sent. */
  files: string[];
  /** The picture of the person. */
  avatar?: string;
  /** Where to go on; absent: that was all. */
  next?: string;
}

export interface Upload {
  /** Bytes it will have. */
  size: number;
  /** Milliseconds since 1970: when it is deleted unless it is sent. */
  expiresAt: number;
  /** All bytes have come and are durable. */
  stored: boolean;
  /** A picture stays as it is, with all that it tells. */
  original: boolean;
  /** It is to be the picture of a person or a group. */
  avatar: boolean;
}

export interface StoredBytes {
  /** Of what was sent, hex. */
  sha256: string;
  /** By the bytes; undefined where they tell of nothing that is shown in place. */
  type: string | undefined;
  /** What became of it, if the type is one of a picture. */
  picture?: StoredPicture;
}

export type StoredPicture =
  | { refused: string }
  | {
      width: number;
      height: number;
      animated: boolean;
      preview: string;
      /** Durable, and named in the blob store `<file>-<name>`: smaller ones, and `clean`, which then stands for the original. */
      made: Record<string, MadeBytes>;
      /** The bytes that were sent are not needed any more. */
      originalGoes: boolean;
    };

export interface MadeBytes {
  size: number;
  /** Hex. */
  sha256: string;
}

export interface FileToServe {
  /** Its id in the blob store. */
  blob: string;
  name: string;
  size: number;
  type: string;
  /** Hex. */
  sha256: string;
}

/** The first link of a message, at the moment of its commit. */
export interface SentLink {
  messageId: string;
  conversationId: string;
  senderId: string;
  url: string;
}

/** What is at a link: text that can be shown as it is. */
export interface LinkPage {
  site: string;
  title: string;
  description?: string;
  /** From `reserveLinkPicture`, stored. */
  pictureId?: string;
}

export interface Caller {
  /** Absent before sign-in. */
  identity?: Identity;
  /** Tells the connections of this process apart. Absent over HTTP, where each request stands for itself. */
  connection?: number;
  /** Came as a request of HTTP, with whose answer a cookie can be set. */
  overHttp?: true;
  /** Address of the peer, for limits on sign-in. */
  ip: string;
  /** Scheme and host by which the peer called us, checked to be ours. */
  origin?: string;
  /** What the peer calls its device, or its User-Agent; shown in the list of sessions. */
  device?: string;
}

export interface Answer {
  /** The reply frame, encoded. */
  text: string;
  /** Set when the reply is an error. */
  error?: ErrorCode;
  /** The limit that it was, if it was one. */
  limit?: Bound | SetBound;
  /** What the connection that asked has to do, in this order, before the reply is written. */
  effects?: Effect[];
}

export type Effect =
  /** Sign-in worked: over HTTP a cookie may be set with the token. */
  | { do: 'signed-in'; identity: Identity; token: string }
  /** Another token for the session: over HTTP a cookie is set with it. */
  | { do: 'renewed'; token: string }
  /** Sign-out: over HTTP the cookie goes. */
  | { do: 'signed-out' }
  /** Follow these topics from now on, until `unfollow` or the end of the connection. */
  | { do: 'follow'; topics: Topic[] }
  | { do: 'unfollow'; topics: Topic[] }
  | { do: 'close'; as: CloseName };

/**
 * What connections follow. Streams carry pushes and signals; the other topics only signals: `presence:<userId>` for the
 * person's friends, `presence:<userId>/shared` for those who only share a conversation with them, and
 * `online:<conversationId>`.
 */
export type Topic = StreamId | `presence:${string}` | `online:${string}`;

/** To be unfollowed: whatever a connection follows of others being there, people and rooms. Nobody has this id. */
export const everyPresence: Topic = 'presence:*';

export type Publication =
  /** A commit: `frame` is the encoded push, the same bytes for every recipient. */
  | {
      kind: 'push';
      topic: StreamId;
      version: number;
      /** Of the newest message of a conversation. */
      seq?: number;
      frame: string;
      /** For pushes of `user:` streams: what every connection of that person follows, or no longer, before anything later is delivered. */
      follow?: Topic[];
      unfollow?: Topic[];
      /** Who follows these may have lost the right to: they are followed no more until the core was asked (`watchable`). */
      doubt?: Topic[];
      /** Sessions that ended: their connections are closed at once. */
      end?: { sessionIds: string[]; as: CloseName };
    }
  /** For every connection that follows the topic, without a frame: what it follows from here on, or no longer. */
  | { kind: 'control'; topic: Topic; follow?: Topic[]; unfollow?: Topic[] }
  /** Fleeting: may be dropped under pressure. Connections of the people whose streams are `notTo` are passed over. */
  | { kind: 'signal'; topic: Topic; frame: string; notTo?: StreamId | StreamId[] };

export const encodeSignal = (signal: Signal): string => JSON.stringify(signal);
