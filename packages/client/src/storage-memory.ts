import { type Storage, isReplicaKey } from './storage.ts';

/** Keeps nothing longer than the process; for bots and tests. Pass a map to look inside, or to keep it over restarts. */
export function memoryStorage(kept: Map<string, unknown> = new Map()): Storage {
  return {
    load: () => Promise.resolve(new Map(kept)),
    write({ changes, replica, whole }) {
      if (whole) for (const key of [...kept.keys()]) if (isReplicaKey(key)) kept.delete(key);
      for (const [key, value] of [...changes, ...replica]) {
        if (value === undefined) kept.delete(key);
        else kept.set(key, value);
      }
      return Promise.resolve('written');
    },
    erase() {
      kept.clear();
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
}
