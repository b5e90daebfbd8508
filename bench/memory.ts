import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { closeStage, groupsOf, openStage, sleep } from './lib/people.ts';
import { type Program, startFloor } from './lib/programs.ts';
import { median, spread } from './lib/stats.ts';
import { Wire, openAll } from './lib/wire.ts';
import { helloSocketIo } from './fan-out.ts';

export const scenario: Scenario = {
  says: 'Memory of the server per idle signed-in connection, at 10,000.',
  run: (bench) => memory(bench, bench.small ? { kith: 1_000, peer: 500 } : { kith: 9_000, peer: 2_000 }),
};

/** Signed in, everybody in a group of ten, and nothing happens. */
async function memory(bench: Bench, sizes: { kith: number; peer: number }): Promise<Outcome> {
  const figures: Record<string, number[]> = { kith: [], ws: [], 'socket-io': [] };
  const runs = Math.min(bench.runs, 5);
  for (let run = 0; run < runs; run++) {
    const empty = await openStage(bench, sizes.kith, (seed, people) => groupsOf(seed, people, 10), { connected: 200 });
    // The first connections bring the code for all the others.
    const before = await settled(empty.program);
    const wires: Wire[] = [];
    await openAll(empty.people.slice(200), 100, async ({ token }, index) => {
      wires[index] = new Wire({ port: empty.program.port });
      await wires[index].hello(token);
    });
    const after = await settled(empty.program);
    figures['kith']!.push((after - before) / wires.length / 1_024);
    for (const wire of wires) wire.destroy();
    await closeStage(empty);
    for (const floor of ['ws', 'socket-io'] as const) figures[floor]!.push(await ofFloor(floor, floor === 'ws' ? sizes.kith : sizes.peer));
    bench.say(
      `  ${Object.entries(figures)
        .map(([name, values]) => `${name} ${values.at(-1)!.toFixed(1)} KiB`)
        .join(', ')}`,
    );
  }
  return {
    figures: Object.entries(figures).map(([name, values]) => ({
      name: `${name}: resident memory per connection`,
      unit: 'KiB',
      values,
      of: name === 'kith' ? 'kith' : name === 'ws' ? 'floor' : 'peer',
      ...(name === 'kith' && { atMost: 10 }),
    })),
    plot: {
      kind: 'bars',
      title: 'Memory per idle connection',
      unit: 'KiB of resident memory of the process, after a collection',
      bars: Object.entries(figures).map(([name, values]) => ({ label: name, value: median(values), low: spread(values)[0], high: spread(values)[1], ours: name === 'kith' })),
      bound: { at: 10, label: 'to reach: 10' },
    },
    notes: [`Kith and ws with ${sizes.kith} connections, Socket.IO with ${sizes.peer}; each signed-in person is in a group of ten.`],
  };
}

/** Resident bytes, once nothing moves any more and the garbage is gone. */
async function settled(program: Program): Promise<number> {
  await sleep(1_500);
  await program.usage(true);
  await sleep(500);
  return (await program.usage(true)).rss;
}

async function ofFloor(name: 'ws' | 'socket-io', count: number): Promise<number> {
  const program = await startFloor(name);
  const open = async (some: number): Promise<Wire[]> => {
    const wires: Wire[] = [];
    await openAll(Array.from({ length: some }), 100, async (_, index) => {
      const wire = new Wire(name === 'ws' ? { port: program.port } : { port: program.port, path: '/socket.io/?EIO=4&transport=websocket', counted: '[' });
      wires[index] = wire;
      if (name === 'ws') await wire.hello('');
      else await helloSocketIo(wire);
    });
    return wires;
  };
  const first = await open(200);
  const before = await settled(program);
  const wires = await open(count - 200);
  const after = await settled(program);
  for (const wire of [...first, ...wires]) wire.destroy();
  await program.stop();
  return (after - before) / wires.length / 1_024;
}
