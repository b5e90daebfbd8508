import type { Bound } from '@kith/protocol';
import type { Config } from '../config.ts';
import { openDatabase } from '../db/open.ts';
import { bounded } from './bounded.ts';
import type { Core } from './core.ts';
import { openWorkerCore } from './core-worker.ts';
import { type Fault, startCore } from './local-core.ts';

export interface OpenOptions {
  config: Config;
  /** worker: beside the gateway, the default with SQLite. direct: in this thread, the default with PostgreSQL. */
  engine?: 'worker' | 'direct';
  /** Milliseconds since 1970. Only in this thread; a worker has its own clock. */
  clock?: () => number;
  onFault?: (fault: Fault) => void;
  /** One of the core's own limits was hit. */
  onLimit?: (limit: Bound) => void;
  /** What this node is called among others. Only in this thread. */
  node?: string;
}

/**
 * Opens the database and the core beside it.
 *
 * @throws DatabaseError
 */
export async function openCore({ config, engine, clock, onFault = () => {}, onLimit = () => {}, node }: OpenOptions): Promise<Core> {
  const beside = engine ?? (config.database === 'sqlite' && !clock ? 'worker' : 'direct');
  if (beside === 'worker') return bounded(await openWorkerCore(config, { onFault, onLimit }), onLimit);
  const db = await openDatabase(config);
  return bounded(await startCore({ config, db, now: clock ?? Date.now, onFault, ...(node !== undefined && { node }) }), onLimit);
}
