import type { FileRef } from '@kith/protocol';

/** Pictures and videos are kept in two sizes besides their own: `small` fits 720 × 720 pixels, `large` 1920 × 1920. */
export type FileSize = 'small' | 'large';

/**
 * Where the bytes of a file are, below the server's address.
 *
 * @param size  A smaller picture of it, where there is one. Left out: the file as it was sent.
 */
export const fileUrl = ({ id, name }: Pick<FileRef, 'id' | 'name'>, size?: FileSize): string =>
  `/files/${id}/${encodeURIComponent(name.toWellFormed())}${size === undefined ? '' : `?size=${size}`}`;
