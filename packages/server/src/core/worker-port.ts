import type { ErrorCode } from '@kith/protocol';
import type { Identity, Publication, SentLink } from './core.ts';

// What crosses between the gateway's thread and the core's. What one turn of either loop has to say goes over in one
// message; replies and publications share one queue, so that their order survives the crossing.

export type AsyncCall =
  | 'handle'
  | 'authenticate'
  | 'topics'
  | 'watchable'
  | 'heads'
  | 'beat'
  | 'era'
  | 'lookAtDatabase'
  | 'compareWithEra'
  | 'sweepSessions'
  | 'setupLink'
  | 'siteName'
  | 'findUpload'
  | 'fileStored'
  | 'dropUpload'
  | 'findFile'
  | 'findAvatar'
  | 'unusedFiles'
  | 'forgetFiles'
  | 'originals'
  | 'forgetOriginals'
  | 'started'
  | 'note'
  | 'blocked'
  | 'tidy'
  | 'nextExport'
  | 'exportPart'
  | 'exportDone'
  | 'linkWanted'
  | 'reserveLinkPicture'
  | 'linkFound'
  | 'close';
type Told = 'connected' | 'disconnected';

export type ToWorker = { call: AsyncCall; id: number; args: unknown[] } | { tell: Told; who: Identity };
export type ToGateway =
  | { opened: true }
  | { refused: string }
  | { id: number; value: unknown }
  | { id: number; failed: string; code: ErrorCode | undefined }
  | { publications: Publication[] }
  | { link: SentLink }
  | { fault: { id: string; method: string; message: string; stack?: string } }
  | { fatal: string };

/** Collects what is said during one turn of the loop and hands it over at its end, in order. */
export function batched<T>(flush: (items: T[]) => void): (item: T) => void {
  let items: T[] = [];
  return (item) => {
    if (items.length === 0) {
      setImmediate(() => {
        const full = items;
        items = [];
        flush(full);
      });
    }
    items.push(item);
  };
}
