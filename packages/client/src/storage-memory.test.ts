import { storageContract } from './storage.contract.ts';
import { memoryStorage } from './storage-memory.ts';

const places = new Map<string, Map<string, unknown>>();

storageContract(
  'memory',
  (place) => {
    if (!places.has(place)) places.set(place, new Map());
    return memoryStorage(places.get(place));
  },
  false,
);
