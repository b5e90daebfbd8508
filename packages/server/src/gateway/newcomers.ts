import type { Socket } from 'node:net';

/** Milliseconds after which one that says nothing has its next turn behind the others. */
const turnMs = 50;

/**
 * Of the sockets that have connected and not sent a request yet, so many are listened to at a time, all of them in turns. Node reads from all that have something to say, and parses it, before it does anything else: where ten thousand clients come back in one
 * moment that is ten thousand requests in one breath. So long their bytes stay with the system. With few of them nothing waits.
 */
export class Newcomers {
  readonly #atOnce: number;
  /** Those that are listened to, and since when. The one that is silent for the longest time comes first. */
  readonly #silent = new Map<Socket, number>();
  readonly #waiting = new Set<Socket>();
  #timer: NodeJS.Timeout | undefined;

  constructor(atOnce = 1_500) {
    this.#atOnce = atOnce;
  }

  /** How many wait for their turn. */
  get size(): number {
    return this.#waiting.size;
  }

  /** @param socket  Of an HTTP server, just connected. */
  come(socket: Socket): void {
    // Node begins to listen after it has told of a connection: what is paused before is not.
    process.nextTick(() => (socket.destroyed ? undefined : this.#come(socket)));
  }

  #come(socket: Socket): void {
    if (this.size === 0 && this.#silent.size >= this.#atOnce) this.#forget();
    if (this.size > 0 || this.#silent.size >= this.#atOnce) this.#waiting.add(socket.pause());
    else this.#silent.set(socket, performance.now());
    if (this.size > 0) this.#timer ??= setInterval(() => this.#takeTurns(), turnMs / 2);
  }

  /** It has sent a request. */
  heard(socket: Socket): void {
    if (this.#silent.delete(socket) && this.size > 0) this.#letIn();
  }

  /** Nobody says when they leave without a word. */
  #forget(): void {
    for (const socket of this.#silent.keys()) if (socket.destroyed) this.#silent.delete(socket);
  }

  #takeTurns(): void {
    const before = performance.now() - turnMs;
    for (const [socket, since] of this.#silent) {
      if (since > before) break;
      this.#silent.delete(socket);
      if (!socket.destroyed) this.#waiting.add(socket.pause());
    }
    this.#letIn();
  }

  #letIn(): void {
    const now = performance.now();
    for (const socket of this.#waiting) {
      if (this.#silent.size >= this.#atOnce) return;
      this.#waiting.delete(socket);
      if (socket.destroyed) continue;
      this.#silent.set(socket, now);
      socket.resume();
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
