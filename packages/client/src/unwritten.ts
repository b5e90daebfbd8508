import type { Change } from './storage.ts';

/**
 * A write to IndexedDB takes a while, and one that is under way when the page goes is lost with it. What nobody else has,
 * unsent messages and drafts, therefore stands in `localStorage`, which is written at once, until it is on disk.
 */
export interface Unwritten {
  note(change: Change): void;
  /** These are on disk. */
  written(changes: readonly Change[]): void;
  /** What pages that are gone have left, and how to take it out. */
  left(): { changes: Change[]; clear(): void };
  clear(): void;
}

export function openUnwritten(name: string, writer: string): Unwritten {
  const prefix = `${name}/unwritten/`;
  const own = prefix + writer;
  const noted = new Map<string, unknown>();
  const save = (): void => {
    try {
      if (noted.size === 0) localStorage.removeItem(own);
      else localStorage.setItem(own, JSON.stringify([...noted]));
    } catch {
      // Closed to us or full: then a page that goes in the wrong moment loses what it wrote last.
    }
  };
  return {
    note([key, value]) {
      // A deletion may come with what takes its place in the replica, and must not be ahead of that: one that is lost leaves
      // something that is sent once more, which does no harm.
      if (value === undefined) noted.delete(key);
      else noted.set(key, value);
      save();
    },
    written(changes) {
      const before = noted.size;
      for (const [key, value] of changes) if (noted.has(key) && noted.get(key) === value) noted.delete(key);
      if (noted.size !== before) save();
    },
    left() {
      try {
        const keys = Object.keys(localStorage).filter((key) => key.startsWith(prefix) && key !== own);
        return { changes: keys.flatMap((key) => JSON.parse(localStorage.getItem(key)!) as Change[]), clear: () => keys.forEach((key) => localStorage.removeItem(key)) };
      } catch {
        return { changes: [], clear: () => {} };
      }
    },
    clear() {
      noted.clear();
      save();
    },
  };
}
