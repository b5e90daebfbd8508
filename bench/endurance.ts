import { newClientId } from '@kith/client';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { closeStage, groupsOf, openStage } from './lib/people.ts';
import { quantile } from './lib/stats.ts';
import { Wire } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'Endurance: 500 messages a second while 5,000 sockets come and go, for --minutes 60.',
  run: (bench) => endurance(bench, Number(bench.options['minutes'] ?? (bench.small ? 0.5 : 60)), bench.small ? 200 : 5_000),
};

/** Milliseconds between two looks. */
const lookMs = 5_000;
const perSecond = 500;
/** Sockets that go and come back each second. */
const churn = 20;

async function endurance(bench: Bench, minutes: number, sockets: number): Promise<Outcome> {
  const stage = await openStage(bench, sockets, (seed, people) => groupsOf(seed, people, 10));
  const { wires, people, conversations, program } = stage;
  const memory: [number, number][] = [];
  const handles: [number, number][] = [];
  const late: [number, number][] = [];
  let acks: number[] = [];
  const began = performance.now();
  const minute = (): number => (performance.now() - began) / 60_000;
  let n = 0;
  let sent = 0;
  let failed = 0;
  const writing = setInterval(() => {
    for (const due = ((performance.now() - began) / 1_000) * perSecond; sent < due; sent++) {
      const index = n++ % sockets;
      const wire = wires[index]!;
      if (!wire.isOpen) continue;
      const at = performance.now();
      const params = { conversationId: conversations[Math.floor(index / 10)], clientId: newClientId(), type: 'text', text: 'x'.repeat(120) };
      wire.callThen(`e${n}`, 'message.send', params, () => acks.push(performance.now() - at));
    }
  }, 2);
  let next = 0;
  const coming = setInterval(() => {
    for (let count = 0; count < churn / 10; count++) {
      const index = (next += 37) % sockets;
      wires[index]!.destroy();
      const wire = new Wire({ port: program.port });
      wires[index] = wire;
      wire.hello(people[index]!.token).catch(() => failed++);
    }
  }, 100);
  const first = await program.usage(true);
  while (minute() < minutes) {
    await new Promise((resolve) => setTimeout(resolve, lookMs));
    const usage = await program.usage();
    memory.push([minute(), usage.rss / 2 ** 20]);
    handles.push([minute(), usage.handles]);
    late.push([minute(), quantile(acks, 0.99)]);
    acks = [];
    if (memory.length % 12 === 0)
      bench.say(`  ${minute().toFixed(1)} min: ${memory.at(-1)![1].toFixed(0)} MiB, ${usage.handles} handles, ack p99 ${late.at(-1)![1].toFixed(1)} ms`);
  }
  clearInterval(writing);
  clearInterval(coming);
  const last = await program.usage(true);
  const ran = minute();
  await closeStage(stage);
  const second = (all: [number, number][]): number[] => all.slice(Math.floor(all.length / 2)).map(([, value]) => value);
  const early = (all: [number, number][]): number[] => all.slice(Math.floor(all.length / 4), Math.floor(all.length / 2)).map(([, value]) => value);
  return {
    figures: [
      { name: 'resident memory, second half over second quarter', unit: '×', values: [quantile(second(memory), 0.5) / quantile(early(memory), 0.5)], of: 'kith' },
      { name: 'heap after a collection, end minus beginning', unit: 'MiB', values: [(last.heap - first.heap) / 2 ** 20], of: 'kith' },
      { name: 'handles, end minus beginning', unit: '', values: [handles.at(-1)![1] - handles[0]![1]], of: 'kith' },
      { name: 'ack p99, second half', unit: 'ms', values: second(late), of: 'kith' },
    ],
    plot: {
      kind: 'lines',
      title: `Endurance: ${perSecond} messages/s, ${sockets} sockets coming and going`,
      x: 'minutes',
      unit: 'MiB resident; ack p99 in ms',
      lines: [
        { label: 'memory', points: memory },
        { label: 'ack p99', points: late },
      ],
    },
    notes: [`Ran for ${ran.toFixed(1)} minutes: ${sent} messages, ${churn} sockets a second gone and come back, ${failed} of them refused.`],
  };
}
