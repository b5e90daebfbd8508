/** From here on the table of a Set is worth its memory. */
const many = 9;

/**
 * A set that mostly has one member, or a few: most streams are followed by one connection, and most connections follow little. A `Set`
 * takes 150 bytes before anything is in it. Members are objects or strings. Whoever walks over it may change it meanwhile.
 */
export class Few<T extends object | string> {
  #held: T | readonly T[] | Set<T> | undefined;

  get size(): number {
    const held = this.#held;
    return held === undefined ? 0 : held instanceof Set ? held.size : Array.isArray(held) ? held.length : 1;
  }

  has(member: T): boolean {
    const held = this.#held;
    return held === member || (held instanceof Set ? held.has(member) : Array.isArray(held) && held.includes(member));
  }

  add(member: T): void {
    const held = this.#held;
    if (held instanceof Set) held.add(member);
    else if (held === undefined) this.#held = member;
    else if (this.has(member)) return;
    else {
      // Arrays are made as long as they are: one that grows has room for seventeen.
      const members = Array.isArray(held) ? [...(held as T[]), member] : [held as T, member];
      this.#held = members.length < many ? members : new Set(members);
    }
  }

  /** @returns whether it was one */
  delete(member: T): boolean {
    const held = this.#held;
    if (held instanceof Set) return held.delete(member);
    if (!this.has(member)) return false;
    const left = Array.isArray(held) ? (held as T[]).filter((other) => other !== member) : [];
    this.#held = left.length > 1 ? left : left[0];
    return true;
  }

  [Symbol.iterator](): Iterator<T> {
    const held = this.#held;
    if (held instanceof Set) return held.values();
    return (held === undefined ? [] : Array.isArray(held) ? (held as T[]) : [held as T]).values();
  }
}
