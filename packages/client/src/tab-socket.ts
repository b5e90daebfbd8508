import type { Clock } from './clock.ts';
import type { WebSocketLike } from './socket.ts';

/** What a line needs of its tab. */
export interface Way {
  /** @returns The name of the line. */
  open(socket: TabSocket): string;
  send(line: string, term: string, text: string): void;
  close(line: string, code: number): void;
}

/** One connection of one tab, over the socket of the one that leads. */
export class TabSocket implements WebSocketLike {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly url: string;
  /** Of the leader that has answered; empty until one has. */
  term = '';
  /** Hello was answered: frames for all are for this one too. */
  live = false;
  readonly #id: string;
  readonly #way: Way;
  #endWaiting: () => void = () => {};

  constructor(url: string, way: Way) {
    this.url = url;
    this.#way = way;
    this.#id = way.open(this);
  }

  send(text: string): void {
    this.#way.send(this.#id, this.term, text);
  }

  close(code = 1000): void {
    this.#endWaiting();
    this.#way.close(this.#id, code);
  }

  awaitAnswer(clock: Clock, ms: number, onDeaf: () => void): void {
    this.#endWaiting();
    const timer = clock.setTimeout(onDeaf, ms);
    this.#endWaiting = () => clock.clearTimeout(timer);
  }

  heard(term: string): void {
    this.#endWaiting();
    this.term = term;
  }

  opened(term: string): void {
    if (term === this.term) this.onopen?.();
  }

  frame(term: string, text: string, live: boolean): void {
    if (term !== this.term) return;
    this.live ||= live;
    this.onmessage?.({ data: text });
  }

  /** The leader is another one now. */
  lose(): void {
    this.closed(1006, '');
  }

  closed(code: number, reason: string): void {
    this.#endWaiting();
    // As a real socket: not within the call that caused it.
    queueMicrotask(() => this.onclose?.({ code, reason }));
  }
}
