import { newClientId } from '@kith/client';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { closeStage, openStage, sleep } from './lib/people.ts';
import { type Program, startFloor } from './lib/programs.ts';
import { median, spread } from './lib/stats.ts';
import { Tally, Wire, openAll } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'One message to one conversation of 10,000 who are all online: how long it takes, and how long the loop stands still.',
  run: (bench) => large(bench, bench.small ? 1_000 : 9_900),
};

interface Side {
  program: Program;
  tally: Tally;
  send: () => void;
  close: () => Promise<void>;
}

async function large(bench: Bench, count: number): Promise<Outcome> {
  const sides = { kith: await openKith(bench, count), ws: await openFloor(count) };
  const done: Record<string, number[]> = { kith: [], ws: [] };
  const stall: Record<string, number[]> = { kith: [], ws: [] };
  for (const side of Object.values(sides)) side.program.watchStalls();
  for (let run = -1; run < Math.max(5, bench.runs); run++) {
    for (const [name, { program, tally, send }] of Object.entries(sides)) {
      await sleep(300);
      await program.usage();
      const until = tally.count + count;
      const began = performance.now();
      await new Promise<void>((resolve) => {
        tally.onCount = () => {
          if (tally.count === until) resolve();
        };
        send();
      });
      const ms = performance.now() - began;
      tally.onCount = undefined;
      const usage = await program.usage();
      if (run === -1) continue;
      done[name]!.push(ms);
      stall[name]!.push(usage.stall);
      bench.say(`  ${name.padEnd(5)} done after ${ms.toFixed(0)} ms, stall ${usage.stall.toFixed(0)} ms`);
    }
  }
  for (const side of Object.values(sides)) await side.close();
  const names = Object.keys(sides);
  return {
    figures: names.flatMap((name) => [
      {
        name: `${name}: until the last has it`,
        unit: 'ms',
        values: done[name]!,
        of: name === 'kith' ? ('kith' as const) : ('floor' as const),
        ...(name === 'kith' && { atMost: 250 }),
      },
      {
        name: `${name}: worst stall of the loop`,
        unit: 'ms',
        values: stall[name]!,
        of: name === 'kith' ? ('kith' as const) : ('floor' as const),
        ...(name === 'kith' && { atMost: 20 }),
      },
    ]),
    plot: {
      kind: 'bars',
      title: `One message to ${count}: how long the loop stands still`,
      unit: 'milliseconds; median, with the least and the most of all runs',
      bars: names.map((name) => ({ label: name, value: median(stall[name]!), low: spread(stall[name]!)[0], high: spread(stall[name]!)[1], ours: name === 'kith' })),
      bound: { at: 20, label: 'to reach: 20' },
    },
    notes: [`${count} connections. The stall is by how much a timer of 2 ms was late at most, so what else runs on the machine is in it.`],
  };
}

async function openKith(bench: Bench, count: number): Promise<Side> {
  const tally = new Tally();
  const stage = await openStage(bench, count, (seed, people) => [seed.conversation(people, { type: 'room' })], { tally });
  const { program, wires, conversations } = stage;
  return {
    program,
    tally,
    send: () => void wires[0]!.call('message.send', { conversationId: conversations[0], clientId: newClientId(), type: 'text', text: 'x'.repeat(120) }),
    close: () => closeStage(stage),
  };
}

async function openFloor(count: number): Promise<Side> {
  const tally = new Tally();
  const program = await startFloor('ws');
  const wires: Wire[] = [];
  await openAll(Array.from({ length: count }), 100, async (_, index) => {
    wires[index] = new Wire({ port: program.port, tally });
    await wires[index].hello('');
  });
  return {
    program,
    tally,
    send: () => void wires[0]!.call('message.send', { conversationId: 'all', clientId: newClientId(), text: 'x'.repeat(120) }),
    async close() {
      for (const wire of wires) wire.destroy();
      await program.stop();
    },
  };
}
