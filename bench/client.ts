import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Message, type Push, conversationStream, decodeServerFrame } from '@kith/protocol';
import { systemClock } from '../packages/client/src/clock.ts';
import { Journal } from '../packages/client/src/journal.ts';
import { Replica } from '../packages/client/src/replica.ts';
import { memoryStorage } from '../packages/client/src/storage-memory.ts';
import { Store } from '../packages/client/src/store.ts';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { sleep } from './lib/people.ts';

export const scenario: Scenario = {
  says: 'Client: what the SDK takes to decode and apply 10,000 pushes, to look something up, and to keep a message.',
  run: client,
};

const count = 10_000;
const lookUps = 200_000;
const conversationId = randomUUID();
const stream = conversationStream(conversationId);

/** In Node, without a screen: what is left of a frame of 50 ms is the page's. */
async function client(bench: Bench): Promise<Outcome> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const [each, worst, bytes, few, many]: number[][] = [[], [], [], [], []];
  for (let run = -1; run < bench.runs; run++) {
    const frames = Array.from({ length: count }, (_, n) => JSON.stringify({ stream, version: n + 2, entities: [messageAt(n + 1)] }));
    const replica = openReplica();
    // What the last run had to write is written, and nothing holds it any more.
    await sleep(300);
    collect();
    const before = process.memoryUsage().heapUsed;
    const began = performance.now();
    let longest = 0;
    let after1k = 0;
    for (let n = 0; n < count; n++) {
      const start = performance.now();
      if (replica.receive(decodeServerFrame(frames[n]!) as Push) !== 'current') throw new Error('a push was not taken');
      longest = Math.max(longest, performance.now() - start);
      if (n === 1_000) after1k = lookUp(replica.store, 1_000);
      // A browser hands over a hundred in one go where they come together; what watches the store runs after them.
      if (n % 100 === 99) {
        await new Promise((resolve) => setImmediate(resolve));
        longest = Math.max(longest, performance.now() - start);
      }
    }
    const ms = performance.now() - began;
    await sleep(300);
    collect();
    const kept = process.memoryUsage().heapUsed - before;
    // Also there to keep the frames in memory until here.
    if (frames.length !== count || run < 0) continue;
    each!.push((ms / count) * 1_000);
    worst!.push(longest);
    bytes!.push(kept / count);
    few!.push(after1k);
    many!.push(lookUp(replica.store, count));
    bench.say(
      `  ${((ms / count) * 1_000).toFixed(1)} µs a push, longest ${longest.toFixed(1)} ms, ${Math.round(kept / count)} bytes a message, look-up ${few!.at(-1)!.toFixed(0)} ns of 1,000, ${many!.at(-1)!.toFixed(0)} ns of ${count}`,
    );
  }
  return {
    figures: [
      { name: 'decode and apply one push', unit: 'µs', values: each! },
      { name: 'longest step while 10,000 came', unit: 'ms', values: worst!, atMost: 50 },
      { name: 'memory per cached message', unit: 'bytes', values: bytes! },
      { name: 'look-up among 1,000 messages', unit: 'ns', values: few! },
      { name: 'look-up among 10,000 messages', unit: 'ns', values: many! },
    ],
    plot: {
      kind: 'bars',
      title: 'Client: longest step while 10,000 pushes come',
      unit: 'milliseconds, run by run',
      bars: worst!.map((value, run) => ({ label: `run ${run + 1}`, value, ours: true })),
      bound: { at: 50, label: 'to stay below: 50' },
    },
    notes: ['Decoding, checking, the replica, the store and what is written behind to storage in memory; with IndexedDB the same batches are written by the browser.'],
  };
}

function openReplica(): Replica {
  const store = new Store();
  const journal = new Journal(memoryStorage(), systemClock, () => []);
  const replica = new Replica(store, journal);
  const conversation = { kind: 'conversation', id: conversationId, version: 1, type: 'group', title: 'Bench', avatar: '', createdBy: null, createdAt: 0, memberCount: 2 } as const;
  replica.replace(stream, 1, [conversation], []);
  return replica;
}

const messageAt = (seq: number): Message => ({
  kind: 'message',
  id: randomUUID(),
  conversationId,
  seq,
  version: seq + 1,
  senderId: '019ab000-0000-7000-8000-000000000001',
  clientId: randomUUID(),
  type: 'text',
  text: `${seq} ${'x'.repeat(115)}`,
  at: 1_700_000_000_000 + seq,
});

/** @returns nanoseconds of one look-up, by place */
function lookUp(store: Store, among: number): number {
  const began = performance.now();
  let found = 0;
  for (let n = 0; n < lookUps; n++) if (store.message(conversationId, 1 + ((n * 7_919) % among))) found++;
  if (found !== lookUps) throw new Error(`${lookUps - found} messages were not found`);
  return ((performance.now() - began) / lookUps) * 1e6;
}
