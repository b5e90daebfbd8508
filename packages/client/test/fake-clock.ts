import type { Clock } from '../src/clock.ts';

/** Lets everything that waits for nothing but other promises run to its end. */
export const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Time that moves when told to. */
export class FakeClock implements Clock {
  #now = 1_790_000_000_000;
  #timers: { at: number; fn: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  setTimeout(fn: () => void, ms: number): unknown {
    const timer = { at: this.#now + Math.max(0, ms), fn };
    this.#timers.push(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#timers = this.#timers.filter((other) => other !== timer);
  }

  /** Milliseconds until the next timer. */
  get next(): number | undefined {
    return this.#timers.length > 0 ? Math.min(...this.#timers.map((timer) => timer.at)) - this.#now : undefined;
  }

  /** Lets time pass: every timer at its moment, and what follows from it before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#now = Math.max(this.#now, due.at);
      this.clearTimeout(due);
      due.fn();
      await settle();
    }
    this.#now = end;
  }

  /** The machine sleeps: time passes, nothing runs; then what is due runs late. */
  async sleep(ms: number): Promise<void> {
    this.#now += ms;
    await this.advance(0);
  }
}
