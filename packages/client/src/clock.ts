/** Time as the client sees it; tests pass their own and never sleep. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  setTimeout(fn: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

export const wait = (clock: Clock, ms: number): Promise<void> => new Promise((resolve) => void clock.setTimeout(resolve, ms));

/** Full jitter: anything between nothing and 1, 2, 4 … seconds, up to a minute. `attempt` counts from 0. */
export const fullJitter = (attempt: number, random: () => number, capMs = 60_000): number => Math.floor(random() * Math.min(capMs, 1_000 * 2 ** Math.min(attempt, 20)));
