import type { Clock } from '../src/gateway/clock.ts';

/** The gateway's time in the hands of a test: it passes when the test says so. */
export class ManualClock implements Clock {
  #now = 1_000;
  readonly #timers = new Set<{ ms: number; due: number; turn: () => void }>();

  now(): number {
    return this.#now;
  }

  every(ms: number, turn: () => void): { stop(): void } {
    const timer = { ms, due: this.#now + ms, turn };
    this.#timers.add(timer);
    return { stop: () => void this.#timers.delete(timer) };
  }

  /**
   * Lets so many milliseconds pass, with every turn of every timer in them. Between turns the event loop goes round, so
   * that what was sent can be read and answered, as it would be in that time.
   */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (let next = this.#next(); next && next.due <= end; next = this.#next()) {
      this.#now = next.due;
      next.due += next.ms;
      next.turn();
      for (let round = 0; round < 4; round++) await loopTurn();
    }
    this.#now = end;
  }

  /**
   * As `pass`, with a loop that stands still meanwhile: each timer fires once, late, and before anything is read.
   *
   * @param meanwhile  What the peers do; it arrives, and waits.
   */
  async stall(ms: number, meanwhile: () => void = () => {}): Promise<void> {
    await new Promise<void>((resolve) => {
      // In the phase of timers, as the real ones.
      setTimeout(() => {
        meanwhile();
        this.#now += ms;
        for (const timer of this.#timers) {
          if (timer.due > this.#now) continue;
          timer.due = this.#now + timer.ms;
          timer.turn();
        }
        resolve();
      }, 0);
    });
    for (let round = 0; round < 4; round++) await loopTurn();
  }

  #next(): { ms: number; due: number; turn: () => void } | undefined {
    return [...this.#timers].sort((a, b) => a.due - b.due)[0];
  }
}

/** Once round the event loop: timers, sockets, immediates. */
export const loopTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
