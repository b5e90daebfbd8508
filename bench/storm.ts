import { newClientId } from '@kith/client';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { closeStage, groupsOf, openStage, sleep } from './lib/people.ts';
import { quantile } from './lib/stats.ts';
import { Wire } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'A reconnect storm: 10,000 clients dropped at once, back and in step, without jitter.',
  run: (bench) => storm(bench, bench.small ? { clients: 1_000, others: 20 } : { clients: 9_500, others: 100 }),
};

/** Clients write ten messages while the others are away, so that everybody who comes back has something to ask for. */
async function storm(bench: Bench, { clients, others }: { clients: number; others: number }): Promise<Outcome> {
  const stage = await openStage(bench, clients + others, (seed, people) => groupsOf(seed, people, 10));
  const { wires, people, program, conversations } = stage;
  const [back, stalls, busy, acks]: [number[], number[], number[], number[]] = [[], [], [], []];
  const [leaving, busyLeaving]: [number[], number[]] = [[], []];
  const heads = new Map<number, Record<string, number>>();
  for (let run = 0; run < Math.min(bench.runs, 5); run++) {
    program.watchStalls();
    for (let index = others; index < wires.length; index++) wires[index]!.destroy();
    await sleep(1_000);
    const before = await program.usage();
    const late: number[] = [];
    let n = 0;
    // Those who stayed go on writing, twenty times a second in all.
    const writing = setInterval(() => {
      const index = n++ % others;
      const at = performance.now();
      wires[index]!.callThen(
        `w${run}.${n}`,
        'message.send',
        { conversationId: conversations[Math.floor(index / 10)], clientId: newClientId(), type: 'text', text: 'still here' },
        () => late.push(performance.now() - at),
      );
    }, 50);
    const began = performance.now();
    await Promise.all(people.slice(others).map((person, at) => comeBack(program.port, person.token, others + at, wires, heads)));
    const seconds = (performance.now() - began) / 1_000;
    await sleep(500);
    clearInterval(writing);
    const after = await program.usage();
    program.watchStalls(false);
    back.push(seconds);
    stalls.push(after.stall);
    busy.push(after.busy);
    leaving.push(before.stall);
    busyLeaving.push(before.busy);
    acks.push(quantile(late, 0.99));
    bench.say(
      `  as they leave stall ${before.stall.toFixed(0)} ms (${before.busy.toFixed(0)} ms of its own work); all back and in step after ${seconds.toFixed(1)} s, stall ${after.stall.toFixed(0)} ms (${after.busy.toFixed(0)} ms of its own work), ack p99 of others ${acks.at(-1)!.toFixed(0)} ms, ${((after.cpu - before.cpu) / clients).toFixed(0)} µs CPU each`,
    );
    await sleep(1_000);
  }
  await closeStage(stage);
  return {
    figures: [
      { name: 'kith: all back and in step', unit: 's', values: back, atMost: 6, of: 'kith' },
      { name: 'kith: worst stall of the loop', unit: 'ms', values: stalls, atMost: 100, of: 'kith' },
      { name: 'kith: worst stall of the loop by its own work', unit: 'ms of CPU', values: busy, of: 'kith' },
      { name: 'kith: worst stall of the loop as they leave', unit: 'ms', values: leaving, atMost: 100, of: 'kith' },
      { name: 'kith: the same by its own work', unit: 'ms of CPU', values: busyLeaving, of: 'kith' },
      { name: 'kith: ack p99 of those who stayed', unit: 'ms', values: acks, atMost: 1_000, of: 'kith' },
    ],
    plot: {
      kind: 'bars',
      title: `Reconnect storm of ${clients}: until all are back and in step`,
      unit: 'seconds, run by run',
      bars: back.map((value, run) => ({ label: `run ${run + 1}`, value, ours: true })),
      bound: { at: 6, label: 'to reach: 6' },
    },
    notes: [
      `${clients} clients in groups of ten, all connecting in the same moment, ${others} others writing 20 messages a second all the while. In step: hello is answered, and every stream that is ahead of what the client has was asked for.`,
    ],
  };
}

/** Connects until it is taken, says hello, and asks for the changes of what moved: what the client does. */
async function comeBack(port: number, token: string, index: number, wires: Wire[], known: Map<number, Record<string, number>>): Promise<void> {
  for (;;) {
    const wire = new Wire({ port });
    try {
      const { heads } = await wire.hello(token);
      const before = known.get(index);
      const moved = Object.entries(heads).filter(([stream, head]) => (before?.[stream] ?? 1) < head);
      await Promise.all(moved.map(([stream]) => wire.call('stream.changes', { stream, since: before?.[stream] ?? 1 })));
      known.set(index, heads);
      wires[index] = wire;
      return;
    } catch {
      // The backlog of the listening socket was full, as it may be.
      wire.destroy();
      await sleep(50);
    }
  }
}
