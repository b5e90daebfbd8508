import { type IDBPDatabase, type OpenDBCallbacks, openDB } from 'idb';
import { type Batch, type Storage, type Written, isReplicaKey } from './storage.ts';
import { openUnwritten } from './unwritten.ts';

/** Who writes the replica, and until when that holds without another word. */
interface Lease {
  writer: string;
  until: number;
}

/** Milliseconds after which a tab that said nothing more is taken for closed. */
const leaseMs = 30_000;
/** Keys of our own among those that are kept. */
const leaseKey = 'idb/lease';
const erasedKey = 'idb/erased';

/**
 * IndexedDB, for browsers. All tabs of one name share what is kept; the replica is written by one of them at a time.
 *
 * @param name  One per person, server and browser profile.
 */
export function idbStorage(name: string): Storage {
  const writer = randomName();
  const unwritten = openUnwritten(name, writer);
  let database: Promise<IDBPDatabase> | undefined;
  /** Changes when everything was erased: what this tab knows is of a life before that. */
  let life: unknown;
  let bytesLife: unknown;
  /** The open database, and whether the right to write the replica was ours when we last looked. */
  let current: IDBPDatabase | undefined;
  let mine = false;
  let release: (() => void) | undefined;
  const open = (): Promise<IDBPDatabase> => {
    const lost = (): void => void (database = current = undefined);
    database ??= openDatabase(name, lost).then(
      (db) => (current = db),
      (error: unknown) => {
        lost();
        throw error;
      },
    );
    return database;
  };
  // A page that is loaded anew would find its own right taken by the page it was, until that lapsed. No promise of a
  // page that is hidden is kept, so all is said in one turn.
  const onPageHide = (): void => {
    if (!mine || !current) return;
    mine = false;
    const transaction = begin(current);
    transaction.store.delete(leaseKey).catch(() => {});
    transaction.commit();
  };

  const write = async (db: IDBPDatabase, { changes, replica, whole }: Batch): Promise<Written> => {
    const living = mine || replica.length === 0 ? undefined : await livingLocks();
    const transaction = begin(db);
    const { store, done } = transaction;
    const [lease, erased] = (await Promise.all([store.get(leaseKey), store.get(erasedKey)])) as [Lease | undefined, unknown];
    let written: Written = 'elsewhere';
    if (erased === life) {
      // A request that fails aborts the transaction; `done` reports it, and each request alone need not.
      const run = (request: Promise<unknown>): void => void request.catch(() => {});
      const put = ([key, value]: [string, unknown]): void => run(value === undefined ? store.delete(key) : store.put(value, key));
      changes.forEach(put);
      if (replica.length === 0 || lease?.writer === writer || (whole && !isHeld(lease, name, living))) written = 'written';
      else if (!isHeld(lease, name, living)) written = 'lapsed';
      if (written === 'written' && replica.length > 0) {
        if (whole) for (const key of await store.getAllKeys()) if (isReplicaKey(String(key))) run(store.delete(key));
        replica.forEach(put);
        run(store.put(newLease(writer), leaseKey));
      }
    }
    await done;
    if (replica.length > 0) mine = written === 'written';
    return written;
  };

  return {
    async load() {
      const db = await open();
      release ??= await live(lockOf(name, writer));
      const living = await livingLocks();
      globalThis.addEventListener?.('pagehide', onPageHide);
      const transaction = begin(db);
      const [keys, values] = await Promise.all([transaction.store.getAllKeys(), transaction.store.getAll()]);
      const kept = new Map(keys.map((key, i) => [String(key), values[i] as unknown]));
      life = kept.get(erasedKey);
      const free = !isHeld(kept.get(leaseKey) as Lease | undefined, name, living);
      if (free) await transaction.store.put(newLease(writer), leaseKey);
      const left = unwritten.left();
      for (const [key, value] of left.changes) {
        kept.set(key, value);
        await transaction.store.put(value, key);
      }
      await transaction.done;
      left.clear();
      mine = free;
      kept.delete(leaseKey);
      kept.delete(erasedKey);
      return kept;
    },

    note: unwritten.note,

    async write(batch: Batch): Promise<Written> {
      const written = await write(await open(), batch);
      unwritten.written(batch.changes);
      return written;
    },

    async writeBytes(key: string, bytes: Blob | undefined) {
      const transaction = begin(await open(), 'bytes');
      const { store, done } = transaction;
      if ((await store.get(erasedKey)) === bytesLife) (bytes ? store.put(bytes, `bytes/${key}`) : store.delete(`bytes/${key}`)).catch(() => {});
      await done;
    },

    async loadBytes() {
      const transaction = begin(await open(), 'bytes');
      const [keys, values] = await Promise.all([transaction.store.getAllKeys(), transaction.store.getAll()]);
      const kept = new Map(keys.map((key, i) => [String(key), values[i] as unknown]));
      bytesLife = kept.get(erasedKey);
      kept.delete(erasedKey);
      return new Map([...kept].map(([key, value]) => [key.slice('bytes/'.length), value as Blob]));
    },

    async erase() {
      const db = await open();
      unwritten.clear();
      life = bytesLife = randomName();
      const transaction = db.transaction(['kept', 'bytes'], 'readwrite');
      const stores = [transaction.objectStore('kept'), transaction.objectStore('bytes')];
      await Promise.all([...stores.flatMap((store) => [store.clear(), store.put(life, erasedKey)]), transaction.done]);
    },

    async close() {
      if (!database) return;
      globalThis.removeEventListener?.('pagehide', onPageHide);
      const db = await database;
      database = current = undefined;
      const transaction = begin(db);
      const lease = (await transaction.store.get(leaseKey)) as Lease | undefined;
      if (lease?.writer === writer) await transaction.store.delete(leaseKey);
      await transaction.done;
      db.close();
      release?.();
    },
  };
}

/** A transaction that is aborted tells all its requests and its end; whoever waits for one of them has heard of it. */
function begin(db: IDBPDatabase, name: 'kept' | 'bytes' = 'kept') {
  const transaction = db.transaction(name, 'readwrite');
  transaction.done.catch(() => {});
  return transaction;
}

const newLease = (writer: string): Lease => ({ writer, until: Date.now() + leaseMs });

/** Where there are locks, they tell of a page that is gone at once; where not, its lease runs out. */
function isHeld(lease: Lease | undefined, name: string, living: Set<string> | undefined): boolean {
  if (lease === undefined || (living && !living.has(lockOf(name, lease.writer)))) return false;
  // A clock that was set back must not keep a dead tab's right for longer than it ever asked for.
  return lease.until > Date.now() && lease.until <= Date.now() + leaseMs;
}

const lockOf = (name: string, writer: string): string => `${name}/writer/${writer}`;
const locks = (): LockManager | undefined => (typeof navigator === 'object' ? navigator.locks : undefined);

/** Holds a lock for as long as this page lives. @returns Lets go of it. */
function live(lock: string): Promise<() => void> {
  return new Promise((held) => {
    if (!locks()) return held(() => {});
    void locks()!.request(lock, () => new Promise<void>((release) => held(release)));
  });
}

/** @returns undefined where there are no locks. */
async function livingLocks(): Promise<Set<string> | undefined> {
  const all = await locks()?.query();
  return all && new Set(all.held?.map((lock) => lock.name ?? ''));
}

const randomName = (): string => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');

function openDatabase(name: string, onLost: () => void): Promise<IDBPDatabase> {
  const callbacks: OpenDBCallbacks<unknown> = {
    upgrade(db, from) {
      if (from < 1) db.createObjectStore('kept');
      // Of their own, so that a transaction which writes a large file holds up nothing.
      db.createObjectStore('bytes');
    },
    // A newer version of the app in another tab, or the user clears the site's data: step aside.
    blocking(_current, _blocked, event) {
      (event.target as IDBDatabase).close();
      onLost();
    },
    terminated: onLost,
  };
  return openDB(name, 2, callbacks);
}
