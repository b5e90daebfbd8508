import type { Clock } from './clock.ts';
import { signIn } from './auth.ts';

/** Milliseconds after the connection until the first question: the first moments belong to what is on the screen. And those after which it is asked again. */
const firstMs = 30_000;
const spreadMs = 30_000;
const everyMs = 3_600_000;
/** Milliseconds after which a new token counts as arrived and on the disk; using it then ends the one before. */
const settledMs = 90_000;

interface Options {
  url: string;
  fetch: typeof fetch;
  clock: Clock;
  random: () => number;
  /** Of several tabs one asks for all: they have one cookie. */
  leads: () => boolean;
}

/**
 * Exchanges the cookie of a browser's session for a new one once a day. The server says when; this asks now and then. An answer that
 * is lost changes nothing: the cookie of before is good until the new one was used.
 */
export class Renewal {
  readonly #options: Options;
  #timer: unknown;
  #started = false;
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
  }

  /** There is a connection: from now on. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#in(firstMs + this.#options.random() * spreadMs);
  }

  /** How this person signs in was changed here: at once. */
  now(): void {
    this.#in(0);
  }

  stop(): void {
    this.#stopped = true;
    this.#options.clock.clearTimeout(this.#timer);
  }

  #in(ms: number): void {
    if (this.#stopped) return;
    this.#options.clock.clearTimeout(this.#timer);
    this.#timer = this.#options.clock.setTimeout(() => void this.#ask(), ms);
  }

  async #ask(): Promise<void> {
    const { url, fetch, leads } = this.#options;
    let next = everyMs;
    try {
      if (leads() && (await signIn(url, 'session.renew', {}, { fetch })).renewed) next = settledMs;
    } catch {
      // Not reached, or not signed in any more, which the connection says as well.
    }
    this.#in(next);
  }
}
