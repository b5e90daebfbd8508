import { type Bound, type ErrorCode, limits } from '@kith/protocol';
import type { Answer, Caller, Identity, Publication, SentLink } from './core.ts';

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
  | 'refuseWaiting'
  | 'close';
type Told = 'connected' | 'disconnected';

/** A request, and of which connection: who that is was said before. */
export interface Asked {
  id: number;
  of: number;
  frame: string;
}

export type ToWorker =
  | Asked
  | { call: AsyncCall; id: number; args: unknown[] }
  | { tell: Told; who: Identity }
  /** Who asks on a connection, from here on; nobody: it is gone. */
  | { of: number; caller: Caller | undefined }
  | { read: number };
export type ToGateway =
  | { opened: true }
  | { refused: string }
  | { id: number; value: unknown }
  | { id: number; failed: string; code: ErrorCode | undefined }
  | { publications: Publication[] }
  | { link: SentLink }
  | { fault: { id: string; method: string; message: string; stack?: string } }
  | { limit: Bound }
  | { fatal: string };

/** What one turn of the core's loop has to say, and the units of it. */
export interface Handed {
  messages: ToGateway[];
  units: number;
}

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

/** Units after which the gateway says that it has read them: not at every turn, because that wakes the core. */
export const tellReadEvery = limits.coreUnread / 16;

/** Beside the text of each. */
const unitsOfEach = 100;

/** UTF-16 units, or about as many: answers and publications are what there is much of. */
export function unitsOf(message: ToGateway): number {
  if ('publications' in message) return message.publications.reduce((sum, publication) => sum + unitsOfEach + ('frame' in publication ? publication.frame.length : 0), 0);
  return unitsOfEach + ('value' in message ? ((message.value as Partial<Answer> | undefined)?.text?.length ?? 0) : 0);
}

/**
 * What the core has said and the gateway has not read yet. A port takes whatever it is given, so with a gateway that cannot keep up all of
 * it would wait there. Nothing that is durable may be dropped on the way; so the core waits instead, between two batches of its
 * database, and with it all that would make more of it.
 */
export class Unread {
  readonly #onFull: () => void;
  #units = 0;
  #room: PromiseWithResolvers<void> | undefined;

  /** @param onFull  Each time that the core begins to wait. */
  constructor(onFull: () => void) {
    this.#onFull = onFull;
  }

  said(units: number): void {
    this.#units += units;
  }

  read(units: number): void {
    this.#units -= units;
    if (this.#units > limits.coreUnread / 2) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** Comes to pass when half of it is read; undefined: there is room. */
  get room(): Promise<void> | undefined {
    if (!this.#room && this.#units > limits.coreUnread) {
      this.#room = Promise.withResolvers();
      this.#onFull();
    }
    return this.#room?.promise;
  }
}
