import type { StreamId } from '@kith/protocol';
import type { Publication, Seen } from '../core/core.ts';

/** Streams that are remembered, at least; twice as many at most. */
const streams = 20_000;

/** What streams have come to that moved lately, as this node has told others, or been told: to be compared with a database that may know less. */
export class Recent {
  #now = new Map<StreamId, Seen>();
  #before = new Map<StreamId, Seen>();

  note(publication: Publication): void {
    if (publication.kind !== 'push') return;
    const { topic: stream, version, seq = 0 } = publication;
    const known = this.#now.get(stream);
    if (known) {
      known.version = Math.max(known.version, version);
      known.seq = Math.max(known.seq, seq);
      return;
    }
    if (this.#now.size >= streams) {
      this.#before = this.#now;
      this.#now = new Map();
    }
    this.#now.set(stream, { stream, version, seq });
  }

  /** All of it, and begins anew. */
  take(): Seen[] {
    const all = new Map([...this.#before, ...this.#now]);
    this.#now.clear();
    this.#before.clear();
    return [...all.values()];
  }
}
