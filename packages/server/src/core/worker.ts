import { parentPort, workerData } from 'node:worker_threads';
import { type ErrorCode, RequestError } from '@kith/protocol';
import type { Config } from '../config.ts';
import { CommitUnknown, type Database, DatabaseError, busy } from '../db/db.ts';
import { openDatabase } from '../db/open.ts';
import type { Caller, Core } from './core.ts';
import { type Fault, startCore } from './local-core.ts';
import { type Handed, type ToGateway, type ToWorker, Unread, batched, unitsOf } from './worker-port.ts';

// The entry of the core's thread.

interface Request {
  id: number;
  frame: string;
  caller: Caller;
}

/**
 * Requests that wait until they are of use, in the order in which they came: a request that is taken up keeps some twenty times as many objects alive as one
 * that waits here, and where many wait for the disk all of them are moved around by the collector of garbage, again and again.
 */
class Queue {
  readonly #db: Database;
  readonly #take: (request: Request) => void;
  /** Those that come, and before them, in the order from last to first, those that are next: what is taken up is kept no longer. */
  #coming: Request[] = [];
  #next: Request[] = [];
  #runs = false;

  constructor(db: Database, take: (request: Request) => void) {
    this.#db = db;
    this.#take = take;
  }

  add(request: Request): void {
    if (!this.#runs && !this.#db.crowded) return this.#take(request);
    this.#coming.push(request);
    if (!this.#runs) void this.#run();
  }

  /** @returns those that were not taken up, and are not going to be */
  clear(): Request[] {
    return [...this.#next.splice(0).reverse(), ...this.#coming.splice(0)];
  }

  async #run(): Promise<void> {
    this.#runs = true;
    for (;;) {
      const room = this.#db.crowded;
      if (room) await room;
      if (this.#next.length === 0) [this.#next, this.#coming] = [this.#coming.reverse(), this.#next];
      const request = this.#next.pop();
      if (!request) break;
      this.#take(request);
    }
    this.#runs = false;
  }
}

/** A commit whose outcome nobody knows is asked for again, as one that did not come to pass. */
const codeOf = (error: unknown): ErrorCode | undefined => (error instanceof RequestError ? error.code : error instanceof CommitUnknown ? 'busy' : undefined);

async function serve(config: Config): Promise<void> {
  const port = parentPort!;
  let units = 0;
  const hand = batched((messages: ToGateway[]) => {
    port.postMessage({ messages, units } satisfies Handed);
    units = 0;
  });
  const unread = new Unread(() => send({ limit: 'coreUnread' }));
  const send = (message: ToGateway): void => {
    const more = unitsOf(message);
    unread.said(more);
    units += more;
    hand(message);
  };
  let core: Core;
  let db: Database;
  try {
    db = await openDatabase(config, () => unread.room);
    const onFault = ({ id, method, error }: Fault): void => {
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
      send({ fault: { id, method, message, ...(stack !== undefined && { stack }) } });
    };
    core = await startCore({ config, db, now: Date.now, onFault });
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    send({ refused: error.message });
    return;
  }
  const callers = new Map<number, Caller>();
  const answer = (id: number, answered: Promise<unknown>): Promise<void> =>
    answered.then(
      (value) => send({ id, value }),
      (error: unknown) => send({ id, failed: error instanceof Error ? error.message : String(error), code: codeOf(error) }),
    );
  const asked = new Queue(db, ({ id, frame, caller }) => void answer(id, core.handle(caller, frame)));
  core.onPublish((publications) => send({ publications }));
  core.onLink((link) => send({ link }));
  core.onFatal((error) => send({ fatal: error.message }));
  port.on('message', (messages: ToWorker[]) => {
    for (const message of messages) {
      if ('frame' in message) asked.add({ id: message.id, frame: message.frame, caller: callers.get(message.of)! });
      else if ('read' in message) unread.read(message.read);
      else if ('tell' in message) core[message.tell](message.who);
      else if ('of' in message) {
        if (message.caller) callers.set(message.of, message.caller);
        else callers.delete(message.of);
      } else if (message.call === 'handle') {
        const [caller, frame] = message.args as Parameters<Core['handle']>;
        asked.add({ id: message.id, frame, caller });
      } else {
        if (message.call === 'refuseWaiting') for (const { id } of asked.clear()) void answer(id, Promise.reject(busy()));
        const done = (core[message.call] as (...args: unknown[]) => Promise<unknown>)(...message.args);
        const answered = answer(message.id, done);
        // Nothing but the port keeps this thread alive then. The answer goes first: it is sent at the end of this turn. A file that may not be closed keeps it.
        if (message.call === 'close')
          void done.then(
            () => answered.then(() => setImmediate(() => port.close())),
            () => {},
          );
      }
    }
  });
  send({ opened: true });
}

await serve((workerData as { config: Config }).config);
