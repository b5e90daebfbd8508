/** It was a sync that failed. */
const SQLITE_IOERR_FSYNC = 1_034;

/**
 * A sync that failed is told of once: the system takes what it could not write for written, and goes on showing it to whoever reads. So nobody knows what the
 * disk has, and asking again would prove nothing.
 */
export const isUnsynced = (error: unknown): error is Error => error instanceof Error && (error as { errcode?: unknown }).errcode === SQLITE_IOERR_FSYNC;
