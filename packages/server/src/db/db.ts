import { RequestError } from '@kith/protocol';
import type { Kysely } from 'kysely';
import type { Era, PrimaryNews, Standing } from '../core/core.ts';
import type { Statement } from './prepare.ts';
import type { MessagesTable, Schema, StreamsTable } from './schema.ts';

/** What work runs its queries on: inside `read` a consistent view, inside `write` a transaction. */
export type Query = Kysely<Schema>;

/**
 * One database, whichever engine. Work must await nothing but its own queries: on SQLite everything else waits for it.
 */
export interface Database {
  /** Runs queries that change nothing, all on one consistent view of what is committed. */
  read<T>(work: (q: Query) => Promise<T>): Promise<T>;

  /**
   * Runs queries as one transaction. Resolves only when it is durable; rejects with what `work` threw, rolled back.
   * Writes that share a key are taken up, committed and resolved in the order of the calls.
   *
   * May run `work` again from the start after a conflict with another writer.
   *
   * @param append  The same work in values, where it can be said so.
   * @throws storage_full, busy
   * @throws CommitUnknown when nobody can say whether the transaction is committed
   */
  write<T>(keys: readonly string[], work: (q: Query) => Promise<T>, append?: Append<T>): Promise<T>;

  /**
   * What was deleted is gone from the disk, too, as far as this program decides that: what it overwrote is overwritten, and no
   * log keeps it.
   *
   * @returns false: somebody else reads the file just now; again later
   */
  scrub(): Promise<boolean>;

  /** More writes wait than share a commit: what is asked for now gains nothing by it. Comes to pass when there are fewer. undefined: there are. */
  readonly crowded?: Promise<void> | undefined;

  /** Only where it may be another server from one connection to the next. */
  readonly primary?: Primary;

  /** What was asked for and has not begun is busy: there is no time left for it. */
  refuseWaiting(): void;

  close(): Promise<void>;
}

/** The server that is written to, as a node sees it: one of an earlier era is refused, whatever name leads to it. */
export interface Primary {
  /** Opens a connection to whatever server is behind the name now. @throws when there is none, or it is refused */
  look(): Promise<Standing>;

  /** Another node works in this era: servers of an earlier one are not written to from here on. */
  heard(era: Era): void;

  /** Told of another era before anything of it is read or written; and, once, that a server of an earlier one was refused. One listener. */
  onNews(listener: (news: PrimaryNews) => void): void;
}

/**
 * A work that does nothing but put one message at the end of one conversation, said in values. Where each query is a round trip, an
 * engine does it in place of the work, in one go with others that wait for the same conversation. That may only ever come out as the work
 * would have: whatever is not as expected, an engine undoes and runs the work, which alone knows refusals and repetitions.
 */
export interface Append<T> {
  /** The stream whose next version and seq the message takes: the only key of the write. */
  stream: string;
  message: () => Omit<MessagesTable, keyof Place>;
  /** Locks the stream and takes so many versions and seqs, or gives them back. Finds `version`, `seq` and `at` of the last of them, in this order. */
  advance: (q: Query, count: number) => Statement;
  /** The same for the same question of rights. */
  asks: string;
  /** What this finds, once the stream is locked, … */
  rights: (q: Query) => Statement;
  /** … decides whether the message may be written: nothing else may, so that the same rows are always the same answer. */
  allows: (rows: readonly unknown[]) => boolean;
  /** What the work would have resolved with. Called once, when it is durable. */
  done: (place: Place) => T;
}

/** The part of it that says who may. */
export type Rights = Pick<Append<unknown>, 'asks' | 'rights' | 'allows'>;

/** For an engine whose answers somebody has to take away: what it waits for before it goes on. undefined: there is room for more. */
export type Room = () => Promise<void> | undefined;

export type Place = Pick<StreamsTable, 'version' | 'seq' | 'at'>;

/** Milliseconds after which to ask again what a database could not do. */
export const retryAfterMs = 1_000;

export const busy = (): RequestError => new RequestError('busy', { retryAfterMs });

/** The commit itself failed half-way: the work may be durable or not. Neither ack nor nack may follow. */
export class CommitUnknown extends Error {
  /** Must this process stop, because its own database file is in doubt? */
  readonly fatal: boolean;
  constructor(cause: unknown, fatal: boolean) {
    super(`commit outcome unknown: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'CommitUnknown';
    this.fatal = fatal;
  }
}

/** Everything was moved away while this process served it: nothing may be written here any more. */
export class DataMoved extends CommitUnknown {
  constructor(to: string) {
    super(undefined, true);
    this.message = movedWords(to);
  }
}

export const movedWords = (to: string): string => `Everything was moved to ${to} by kith migrate. Start Kith on that: KITH_DATABASE and KITH_DATA say where.`;

/** The data cannot be used: shown to the operator as it is, and the process does not start. */
export class DatabaseError extends Error {
  override name = 'DatabaseError';
}
