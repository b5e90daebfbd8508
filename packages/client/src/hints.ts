import type { Clock } from './clock.ts';

/** What the surroundings know about the network before a socket notices. */
export interface Hints {
  /** `online`: there is a network again. `visible`: somebody looks. @returns Ends the listening. */
  subscribe(fn: (hint: 'online' | 'visible') => void): () => void;
}

/** The browser's, where there is one. */
export function browserHints(): Hints {
  return {
    subscribe(fn) {
      if (typeof addEventListener !== 'function' || typeof document === 'undefined') return () => {};
      const onOnline = (): void => fn('online');
      const onVisible = (): void => {
        if (document.visibilityState === 'visible') fn('visible');
      };
      addEventListener('online', onOnline);
      // Safari brings a page back from its cache with sockets that are dead and do not know it.
      addEventListener('pageshow', onVisible);
      document.addEventListener('visibilitychange', onVisible);
      return () => {
        removeEventListener('online', onOnline);
        removeEventListener('pageshow', onVisible);
        document.removeEventListener('visibilitychange', onVisible);
      };
    },
  };
}

/** Milliseconds between two looks at the clock. */
const tickMs = 10_000;

/** Calls `fn` when a timer comes so late that the machine must have slept. @returns Ends the watching. */
export function onWake(clock: Clock, fn: () => void): () => void {
  let last = clock.now();
  let timer: unknown;
  const tick = (): void => {
    const now = clock.now();
    const slept = now - last > 2 * tickMs;
    last = now;
    timer = clock.setTimeout(tick, tickMs);
    if (slept) fn();
  };
  timer = clock.setTimeout(tick, tickMs);
  return () => clock.clearTimeout(timer);
}
