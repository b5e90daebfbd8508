import type { Publication, Topic } from '../core/core.ts';

/**
 * Milliseconds that a push waits for those before it. Two nodes that commit to one stream one right after the other may be heard
 * the other way round; what has not come by then was lost, and clients ask for it.
 */
const usualPatienceMs = 250;
/** Pushes of one stream that wait, at most. */
const waitingOfOne = 256;

interface Line {
  /** The newest version that was let through. */
  last: number;
  waiting: Map<number, Publication & { kind: 'push' }>;
  timer: NodeJS.Timeout | undefined;
}

/** Lets pushes of one stream through in the order of their versions, whichever nodes they come from. */
export class Order {
  readonly #deliver: (publication: Publication) => void;
  readonly #patienceMs: number;
  readonly #lines = new Map<Topic, Line>();

  constructor(deliver: (publication: Publication) => void, patienceMs = usualPatienceMs) {
    this.#deliver = deliver;
    this.#patienceMs = patienceMs;
  }

  take(publication: Publication): void {
    if (publication.kind !== 'push') return this.#deliver(publication);
    const line = this.#lines.get(publication.topic);
    if (!line) {
      this.#lines.set(publication.topic, { last: publication.version, waiting: new Map(), timer: undefined });
      return this.#deliver(publication);
    }
    const { version } = publication;
    // The end of a membership or a session waits for nothing.
    if (version <= line.last + 1 || publication.unfollow || publication.end || publication.doubt || line.waiting.size >= waitingOfOne) {
      this.#through(line, publication);
      this.#follow(publication.topic, line);
    } else {
      line.waiting.set(version, publication);
      if (!line.timer) this.#wait(publication.topic, line);
    }
  }

  /** Nothing was let through yet, but so much is known from elsewhere: the first one may overtake others, too. */
  begin(topic: Topic, version: number): void {
    if (!this.#lines.has(topic)) this.#lines.set(topic, { last: version, waiting: new Map(), timer: undefined });
  }

  /** Nothing of this topic is followed any more. */
  forget(topic: Topic): void {
    const line = this.#lines.get(topic);
    clearTimeout(line?.timer);
    this.#lines.delete(topic);
  }

  close(): void {
    for (const topic of [...this.#lines.keys()]) this.forget(topic);
  }

  #through(line: Line, publication: Publication & { kind: 'push' }): void {
    line.last = Math.max(line.last, publication.version);
    line.waiting.delete(publication.version);
    this.#deliver(publication);
  }

  /** What waited for this one only. */
  #follow(topic: Topic, line: Line): void {
    // Delivering may end that the topic is followed.
    for (let next = line.waiting.get(line.last + 1); next && this.#lines.get(topic) === line; next = line.waiting.get(line.last + 1)) this.#through(line, next);
    clearTimeout(line.timer);
    line.timer = undefined;
    // What still waits does so for another one.
    if (line.waiting.size > 0 && this.#lines.get(topic) === line) this.#wait(topic, line);
  }

  #wait(topic: Topic, line: Line): void {
    const { last } = line;
    line.timer = setTimeout(() => {
      // Timers run before sockets are read: after a stall of our own, what they wait for may lie there.
      setImmediate(() => {
        if (line.last === last && this.#lines.get(topic) === line) this.#give(topic, line);
      });
    }, this.#patienceMs);
  }

  /** What they waited for does not come. */
  #give(topic: Topic, line: Line): void {
    line.timer = undefined;
    for (const version of [...line.waiting.keys()].sort((a, b) => a - b)) {
      const push = line.waiting.get(version);
      if (push && this.#lines.get(topic) === line) this.#through(line, push);
    }
  }
}
