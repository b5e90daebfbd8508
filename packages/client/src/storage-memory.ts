import { type Storage, isReplicaKey } from './storage.ts';

/** Keeps nothing longer than the process; for bots and tests. Pass a map to look inside, or to keep it over restarts. */
export function memoryStorage(kept: Map<string, unknown> = new Map()): Storage {
  return {
    load: () => Promise.resolve(new Map([...kept].filter(([key]) => !key.startsWith(bytesPrefix)))),
    write({ changes, replica, whole }) {
      if (whole) for (const key of [...kept.keys()]) if (isReplicaKey(key)) kept.delete(key);
      for (const [key, value] of [...changes, ...replica]) {
        if (value === undefined) kept.delete(key);
        else kept.set(key, value);
      }
      return Promise.resolve('written');
    },
    writeBytes(key, bytes) {
      if (bytes) kept.set(bytesPrefix + key, bytes);
      else kept.delete(bytesPrefix + key);
      return Promise.resolve();
    },
    loadBytes: () => Promise.resolve(new Map([...kept].flatMap(([key, value]) => (key.startsWith(bytesPrefix) ? [[key.slice(bytesPrefix.length), value as Blob]] : [])))),
    erase() {
      kept.clear();
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
}

const bytesPrefix = 'bytes/';
