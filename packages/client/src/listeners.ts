/** Who wants to be told. A listener that throws is reported as uncaught, and stops neither the others nor the client. */
export class Listeners<A extends unknown[]> {
  readonly #all = new Set<{ fn: (...args: A) => void }>();

  /** @returns Ends the listening. */
  add(fn: (...args: A) => void): () => void {
    const entry = { fn };
    this.#all.add(entry);
    return () => void this.#all.delete(entry);
  }

  emit(...args: A): void {
    for (const { fn } of [...this.#all]) {
      try {
        fn(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
