import { newClientId } from '@kith/client';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { watchIdle } from './lib/idle.ts';
import { pace } from './lib/pace.ts';
import { closeStage, groupsOf, openStage } from './lib/people.ts';
import { quantile } from './lib/stats.ts';

export const scenario: Scenario = {
  says: 'From send to receive: 1,000 messages a second, each to 20 connections.',
  run: (bench) => latency(bench, { perSecond: bench.small ? 200 : 1_000, seconds: bench.small ? 2 : 8 }),
};

const members = 20;
const groups = 50;

async function latency(bench: Bench, { perSecond, seconds }: { perSecond: number; seconds: number }): Promise<Outcome> {
  const stage = await openStage(bench, members * groups, (seed, people) => groupsOf(seed, people, members));
  const { wires, conversations, program } = stage;
  let late: number[] = [];
  const mark = Buffer.from('"text":"@');
  for (const wire of wires) {
    wire.onText = (payload) => {
      const at = payload.indexOf(mark);
      if (at === -1) return;
      // Everybody gets the same bytes; the time of sending stands in the text.
      const from = at + mark.length;
      late.push(performance.now() - Number(payload.toString('latin1', from, payload.indexOf(0x20, from))));
    };
  }
  const figures: Record<'p50' | 'p99', number[]> = { p50: [], p99: [] };
  const cpu: number[] = [];
  const idle: number[] = [];
  let n = 0;
  for (let run = -1; run < bench.runs; run++) {
    late = [];
    const before = await program.usage();
    const idleOf = watchIdle();
    const total = perSecond * (run === -1 ? 2 : seconds);
    const began = performance.now();
    const send = (): void => {
      const group = n++ % groups;
      const conversationId = conversations[group];
      const sender = wires[group * members + (n % members)]!;
      sender.callThen(`s${n}`, 'message.send', { conversationId, clientId: newClientId(), type: 'text', text: `@${performance.now()} ${'x'.repeat(100)}` }, () => {});
    };
    await pace({ perSecond, total }, send, () => late.length >= total * members);
    if (run === -1) continue;
    const after = await program.usage();
    figures.p50.push(quantile(late, 0.5));
    figures.p99.push(quantile(late, 0.99));
    cpu.push((after.cpu - before.cpu) / 1e4 / ((performance.now() - began) / 1_000));
    idle.push(idleOf());
    bench.say(
      `  p50 ${figures.p50.at(-1)!.toFixed(2)} ms, p99 ${figures.p99.at(-1)!.toFixed(2)} ms, server ${cpu.at(-1)!.toFixed(0)} % of a core, load idle ${Math.round(idle.at(-1)! * 100)} %`,
    );
  }
  await closeStage(stage);
  return {
    figures: [
      { name: 'kith: send to receive, p50', unit: 'ms', values: figures.p50, atMost: 2, of: 'kith' },
      { name: 'kith: send to receive, p99', unit: 'ms', values: figures.p99, atMost: 15, of: 'kith' },
      { name: 'kith: CPU at this load', unit: '% of a core', values: cpu, of: 'kith' },
    ],
    plot: {
      kind: 'lines',
      title: `Send to receive at ${perSecond} messages/s to ${members} each`,
      x: 'run',
      unit: 'milliseconds',
      lines: (['p50', 'p99'] as const).map((name) => ({ label: name, points: figures[name].map((value, run) => [run + 1, value]) })),
      bound: { at: 15, label: 'p99 to reach: 15' },
    },
    notes: [`${perSecond * seconds} messages a run, acknowledged and delivered after the sync. The load was idle ${Math.round(Math.min(...idle) * 100)} % of the time at least.`],
  };
}
