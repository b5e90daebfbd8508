/** Who is online on this node, by person, not by connection: a second tab changes nothing. */
export class Online {
  readonly #connections = new Map<string, number>();
  readonly #leaving = new Map<string, NodeJS.Timeout>();
  readonly #graceMs: number;
  #listener: (userId: string, online: boolean) => void = () => {};

  /** @param graceMs  After the last connection is gone, so that a reconnect is not seen. */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** One listener, told once per change of a person. */
  onChange(listener: (userId: string, online: boolean) => void): void {
    this.#listener = listener;
  }

  isOnline(userId: string): boolean {
    return this.#connections.has(userId);
  }

  all(): string[] {
    return [...this.#connections.keys()];
  }

  connected(userId: string): void {
    clearTimeout(this.#leaving.get(userId));
    this.#leaving.delete(userId);
    const before = this.#connections.get(userId);
    this.#connections.set(userId, (before ?? 0) + 1);
    if (before === undefined) this.#listener(userId, true);
  }

  disconnected(userId: string): void {
    const left = (this.#connections.get(userId) ?? 0) - 1;
    this.#connections.set(userId, Math.max(0, left));
    if (left > 0) return;
    clearTimeout(this.#leaving.get(userId));
    this.#leaving.set(
      userId,
      setTimeout(() => this.#gone(userId), this.#graceMs),
    );
  }

  #gone(userId: string): void {
    this.#leaving.delete(userId);
    if ((this.#connections.get(userId) ?? 0) > 0) return;
    this.#connections.delete(userId);
    this.#listener(userId, false);
  }

  close(): void {
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    this.#leaving.clear();
  }
}
