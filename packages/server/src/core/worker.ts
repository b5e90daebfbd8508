import { parentPort, workerData } from 'node:worker_threads';
import { type ErrorCode, RequestError } from '@kith/protocol';
import type { Config } from '../config.ts';
import { CommitUnknown, DatabaseError } from '../db/db.ts';
import { openDatabase } from '../db/open.ts';
import type { Core } from './core.ts';
import { type Fault, startCore } from './local-core.ts';
import { type Handed, type ToGateway, type ToWorker, Unread, batched, unitsOf } from './worker-port.ts';

// The entry of the core's thread.

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
  try {
    const db = await openDatabase(config, () => unread.room);
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
  core.onPublish((publications) => send({ publications }));
  core.onLink((link) => send({ link }));
  core.onFatal((error) => send({ fatal: error.message }));
  port.on('message', (messages: ToWorker[]) => {
    for (const message of messages) {
      if ('read' in message) unread.read(message.read);
      else if ('tell' in message) core[message.tell](message.who);
      else {
        const { id } = message;
        const answered = (core[message.call] as (...args: unknown[]) => Promise<unknown>)(...message.args).then(
          (value) => send({ id, value }),
          (error: unknown) => send({ id, failed: error instanceof Error ? error.message : String(error), code: codeOf(error) }),
        );
        // Nothing but the port keeps this thread alive then. The answer goes first: it is sent at the end of this turn.
        if (message.call === 'close') void answered.then(() => setImmediate(() => port.close()));
      }
    }
  });
  send({ opened: true });
}

await serve((workerData as { config: Config }).config);
