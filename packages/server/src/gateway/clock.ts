/** The gateway's time: monotonic, so that a corrected wall clock ends nobody's connection. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number;
  /** Calls `turn` every so many milliseconds until stopped, and never more often to make up for a late turn. */
  every(ms: number, turn: () => void): { stop(): void };
}

export const realClock: Clock = {
  now: () => performance.now(),
  every(ms, turn) {
    const timer = setInterval(turn, ms);
    return { stop: () => clearInterval(timer) };
  },
};
