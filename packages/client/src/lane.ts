import { RequestError } from '@kith/protocol';
import { type Clock, fullJitter } from './clock.ts';

/** Milliseconds between two words about one conversation. */
const everyMs = 1_000;

/** Conversations that have something to say: one request at a time, each at most once a second, tried again until it worked. */
export class Lane {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #send: (conversationId: string) => Promise<void>;
  readonly #waiting = new Set<string>();
  readonly #notBefore = new Map<string, number>();
  #timer: unknown;
  #running = false;
  #open = false;
  #attempt = 0;
  #troubled = false;

  constructor(clock: Clock, random: () => number, send: (conversationId: string) => Promise<void>) {
    this.#clock = clock;
    this.#random = random;
    this.#send = send;
  }

  add(conversationId: string): void {
    this.#waiting.add(conversationId);
    // The pause after trouble is for all; that between two words about one conversation is for no other.
    if (!this.#troubled) this.#cancel();
    void this.#run();
  }

  resume(): void {
    this.#open = true;
    void this.#run();
  }

  pause(): void {
    this.#open = false;
    this.#attempt = 0;
    this.#troubled = false;
    this.#cancel();
  }

  #cancel(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #run(): Promise<void> {
    if (this.#running || !this.#open || this.#timer !== undefined) return;
    this.#running = true;
    let pauseMs: number | undefined;
    while (this.#open && this.#waiting.size > 0 && pauseMs === undefined) {
      const now = this.#clock.now();
      const due = [...this.#waiting].map((id) => ({ id, at: this.#notBefore.get(id) ?? 0 })).sort((a, b) => a.at - b.at)[0]!;
      // A clock that was set back must not silence a conversation for longer than the pause it asked for.
      if (due.at > now && due.at - now <= everyMs) {
        pauseMs = due.at - now;
        break;
      }
      this.#waiting.delete(due.id);
      this.#notBefore.set(due.id, now + everyMs);
      try {
        await this.#send(due.id);
        this.#attempt = 0;
        this.#troubled = false;
      } catch (error) {
        this.#waiting.add(due.id);
        this.#troubled = true;
        pauseMs = Math.max(everyMs, error instanceof RequestError ? (error.extra.retryAfterMs ?? 0) : 0, fullJitter(this.#attempt++, this.#random));
      }
    }
    this.#running = false;
    if (!this.#open || pauseMs === undefined) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined;
      void this.#run();
    }, pauseMs);
  }
}
