import type { Readable } from 'node:stream';

/**
 * Where the bytes of files are. It knows ids and bytes; names, owners and who may read are in the database.
 *
 * By id, and not by what is inside: two people with the same bytes have two files. So nobody can find out by an upload
 * that somebody has a file already, and deleting one is no question of who else may be about to use it. Messages that
 * share a file share its row.
 *
 * Ids are the server's own, `[A-Za-z0-9-]`. Of one id, `append`, `cut`, `finish` and `remove` are called one at a time;
 * `read` at any time, also by many at once.
 */
export interface Blobs {
  /** How many bytes have come; 0 for an id never heard of. */
  offset(id: string): Promise<number>;

  /**
   * Adds bytes at the end, which must be at `at`. What had come when the source broke stays, so that the upload can go on
   * there, also at another node, where nodes share a store; nothing of it can be read before `finish`.
   *
   * @returns the new end
   * @throws what the source threw
   * @throws incomplete when the end is elsewhere
   * @throws storage_full; what fitted stays, and the rest of the machine has the room that is kept free for it
   * @throws busy; the store does not answer just now. From any method that asks it
   */
  append(id: string, at: number, source: AsyncIterable<Uint8Array>): Promise<number>;

  /** Takes off all bytes of an unfinished upload from `at` on. */
  cut(id: string, at: number): Promise<void>;

  /**
   * Nothing more will come: makes the bytes readable. When it resolves they are durable, all of them and under their name;
   * killed at any point in it, they are as before or finished. Again: the same answer.
   */
  finish(id: string): Promise<Finished>;

  /**
   * Bytes of a finished file, from `start` to `end`, both included; by default all. Who has begun to read reads to the end,
   * even if it is removed meanwhile.
   *
   * @returns undefined: there is no finished file of this id
   */
  read(id: string, range?: { start: number; end: number }): Promise<Readable | undefined>;

  /** The bytes are gone, finished or not. Again, or of an id never heard of: nothing happens. */
  remove(id: string): Promise<void>;

  /**
   * Removes what there is of unfinished uploads that got nothing more since then: of ones that were given up just while
   * the process ended. By age alone, whatever the database says, so that one started on the wrong database harms nothing.
   *
   * @param before  Milliseconds since 1970, longer ago than any upload may take.
   */
  sweep(before: number): Promise<void>;
}

/** Bytes of a beginning: enough for what a film says of its tracks. */
export const headBytes = 4_096;

export interface Finished {
  size: number;
  /** Of the bytes as they were read back, hex. */
  sha256: string;
  /** The first bytes, up to `headBytes`, by which the type is told. */
  head: Uint8Array;
}
