/**
 * Work that can come from everybody in one moment, done a few milliseconds in each turn of the loop, in the order in which it came. Node
 * hears all sockets that have something to say before it does anything else: thousands of handshakes in one breath would hold
 * up everybody who is there already. With little to do nothing waits.
 */
export class Slices {
  readonly #perTurnMs: number;
  #waiting: (() => void)[] = [];
  #next = 0;
  /** Spent in this turn. */
  #spentMs = 0;
  #scheduled = false;

  /** @param perTurnMs  Milliseconds of such work in one turn of the loop: less where each of it brings more with it, in the turns to come. */
  constructor(perTurnMs = 5) {
    this.#perTurnMs = perTurnMs;
  }

  /** How much waits. */
  get size(): number {
    return this.#waiting.length - this.#next;
  }

  do(work: () => void): void {
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.#turn());
    }
    if (this.size > 0 || this.#spentMs >= this.#perTurnMs) this.#waiting.push(work);
    else this.#run(work);
  }

  #turn(): void {
    this.#scheduled = false;
    this.#spentMs = 0;
    while (this.size > 0 && this.#spentMs < this.#perTurnMs) this.#run(this.#waiting[this.#next++]!);
    if (this.size === 0) {
      this.#waiting = [];
      this.#next = 0;
    } else {
      this.#scheduled = true;
      setImmediate(() => this.#turn());
    }
  }

  #run(work: () => void): void {
    const began = performance.now();
    work();
    this.#spentMs += performance.now() - began;
  }
}
