/**
 * Other clients of the same person on the same storage: the tabs of a browser. What one of them writes, the others show
 * at once, and one of them, the one that leads, says it to the server for all.
 */
export interface Peers {
  /** Is it this one that speaks for all? Whoever closes hands that on to another. */
  readonly leads: boolean;
  /** Told when this one begins to lead. */
  onLead(fn: () => void): () => void;
  /** Tells all others; a plain value. Words of one teller arrive in their order. */
  tell(topic: string, word: unknown): void;
  onTold(topic: string, fn: (word: never) => void): () => void;
}
