import { closeCodes, mayReconnect } from '@kith/protocol';
import { fullJitter } from './clock.ts';

/** Milliseconds a connection has to last before it counts as a good one, and the next loss starts from the shortest wait. */
const goodAfterMs = 10_000;

/** How long to wait before the next attempt. Full jitter: those who lost the same server must not come back in step. */
export class Reconnect {
  readonly #random: () => number;
  #attempt = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /**
   * @param code    The close code; 1006 if there was none.
   * @param reason  The close reason. A server that restarts gives the milliseconds over which its clients should spread.
   * @param upMs    How long the connection was ready; undefined: it never was.
   * @returns Milliseconds to wait; undefined: do not come back, the reason must change first.
   */
  delayAfter(code: number, reason: string, upMs: number | undefined): number | undefined {
    if (!mayReconnect(code)) return undefined;
    const wasGood = upMs !== undefined && upMs >= goodAfterMs;
    if (wasGood) this.#attempt = 0;
    // Nothing is wrong, and the server ends its connections one by one: nobody needs to see anything of it.
    if (wasGood && code === closeCodes.aged.code) return 0;
    // A server that is full is not helped by asking again within the second.
    if (code === closeCodes.tryLater.code || code === closeCodes.tooMany.code) this.#attempt = Math.max(this.#attempt, 3);
    const jitter = fullJitter(this.#attempt++, this.#random);
    const spread = code === closeCodes.restarting.code ? Number(reason) : NaN;
    return spread > 0 && spread <= 600_000 ? Math.floor(this.#random() * spread) : jitter;
  }
}

/** The name of a close code, `sessionEnded`; its number where it has none. */
export const closeName = (code: number): string => Object.entries(closeCodes).find(([, known]) => known.code === code)?.[0] ?? String(code);
