/**
 * Where a device keeps what it knows and what it has not sent yet. A flat table of plain values; `undefined` deletes.
 * Small on purpose: everything is loaded at start, and written in batches that are on disk as a whole or not at all.
 */
export interface Storage {
  /** Everything that is kept. Also claims the right to write the replica, if nobody else has it. */
  load(): Promise<Map<string, unknown>>;

  /**
   * Writes a batch in one transaction.
   *
   * Several tabs share one storage. `changes` (unsent messages, drafts, read marks) are written by whoever made them.
   * The `replica` is written by one of them at a time: two that interleave would leave a head with another's older rows.
   */
  write(batch: Batch): Promise<Written>;

  /** Told of each change at once, ahead of its batch: keeps what is new for the next `load`, should this page go before it is written. */
  note?(change: Change): void;

  /**
   * Keeps the bytes of a file until it is sent, or deletes them: `undefined`. Apart from the table: they are large, nothing
   * that is written waits for them, and where there is no room for them there may be room for all else.
   */
  writeBytes(key: string, bytes: Blob | undefined): Promise<void>;

  /** All bytes that are kept. What they were read from may have changed since, or be gone. */
  loadBytes(): Promise<Map<string, Blob>>;

  /** Deletes everything. */
  erase(): Promise<void>;

  /** Gives the right to write the replica back. */
  close(): Promise<void>;
}

export type Change = [key: string, value: unknown];

export interface Batch {
  changes: Change[];
  replica: Change[];
  /** `replica` is all there is of it: what else is kept under `replicaPrefixes` goes. */
  whole?: boolean;
}

/**
 * What became of the replica's part; the changes were written in any case. `elsewhere`: somebody else keeps the replica,
 * yours was dropped. `lapsed`: nobody keeps it any more; dropped, but write it as a whole and it is yours.
 */
export type Written = 'written' | 'elsewhere' | 'lapsed';

/** Keys of the replica: entities and stream heads. All other keys belong to `changes`. */
export const replicaPrefixes = ['entity/', 'stream/'] as const;
export const isReplicaKey = (key: string): boolean => replicaPrefixes.some((prefix) => key.startsWith(prefix));
