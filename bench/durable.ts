import { newClientId } from '@kith/client';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { watchIdle } from './lib/idle.ts';
import { pace } from './lib/pace.ts';
import { type Program, startKith, startProgram } from './lib/programs.ts';
import { Seed } from './lib/seed.ts';
import { median, quantile, spread } from './lib/stats.ts';
import { Wire, openAll } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'Durable one-to-one messages, acknowledged after the sync: 1,000 connections in pairs.',
  run: (bench) => durable(bench, bench.small ? { connections: 100, messages: 5_000 } : { connections: 1_000, messages: 60_000 }),
};

const text = 'x'.repeat(120);

interface Size {
  connections: number;
  messages: number;
}

interface Side {
  program: Program;
  wires: Wire[];
  /** Where each connection writes. */
  conversations: string[];
}

/** Each connection has so many unanswered messages: enough that there is always a batch to commit. */
const inFlight = 2;

/** @param latency  Also how long acknowledgements take, at half the load. */
export async function durable(bench: Bench, size: Size, { latency = true } = {}): Promise<Outcome> {
  const sides: Record<string, Side> = {};
  const only = bench.options['only'];
  if (only !== 'spike') sides['kith'] = await openKith(bench, size.connections);
  if (only !== 'kith') sides['spike'] = await openSpike(bench, size.connections);
  const cpu: Record<string, number[]> = { kith: [], spike: [] };
  const rate: Record<string, number[]> = { kith: [], spike: [] };
  const late: Record<string, number[]> = { kith: [], spike: [] };
  const idle: number[] = [];
  for (let run = -1; run < bench.runs; run++) {
    for (const [name, side] of Object.entries(sides)) {
      const measured = await flood(side, run === -1 ? Math.ceil(size.messages / 3) : size.messages);
      if (run === -1) continue;
      cpu[name]!.push(measured.cpu);
      rate[name]!.push(measured.rate);
      idle.push(measured.idle);
      bench.say(`  ${name.padEnd(8)} ${Math.round(measured.rate)}/s, ${measured.cpu.toFixed(1)} µs CPU, load idle ${Math.round(measured.idle * 100)} %`);
    }
  }
  const kith = sides['kith'];
  if (kith && latency) {
    // Half of what it must reach, and not of what it reaches: that differs from run to run.
    const half = bench.small ? median(rate['kith']!) / 2 : 7_500;
    for (let run = 0; run < bench.runs; run++) {
      for (const [name, side] of Object.entries(sides)) {
        const acks = await steady(side, half, bench.small ? 1 : 4);
        late[name]!.push(quantile(acks, 0.99));
        bench.say(`  ${name.padEnd(8)} at ${Math.round(half)}/s: ack p50 ${quantile(acks, 0.5).toFixed(1)} ms, p99 ${late[name]!.at(-1)!.toFixed(1)} ms`);
      }
    }
  }
  for (const { program, wires } of Object.values(sides)) {
    for (const wire of wires) wire.destroy();
    await program.stop();
  }
  const names = Object.keys(sides);
  const ratio =
    kith && sides['spike']
      ? [{ name: 'kith over the spike, CPU, run by run', unit: '×', values: cpu['kith']!.map((value, run) => value / cpu['spike']![run]!), of: 'kith' as const }]
      : [];
  return {
    figures: [
      ...names.flatMap((name) => [
        {
          name: `${name}: durable messages`,
          unit: '/s',
          values: rate[name]!,
          of: name === 'kith' ? ('kith' as const) : ('floor' as const),
          ...(name === 'kith' && { atLeast: 15_000 }),
        },
        { name: `${name}: CPU per message`, unit: 'µs', values: cpu[name]!, of: name === 'kith' ? ('kith' as const) : ('floor' as const), ...(name === 'kith' && { atMost: 65 }) },
      ]),
      ...ratio,
      ...(kith && latency ? names : []).map((name) => ({
        name: `${name}: ack p99 at half the load that is asked`,
        unit: 'ms',
        values: late[name]!,
        of: name === 'kith' ? ('kith' as const) : ('floor' as const),
        ...(name === 'kith' && { atMost: 15 }),
      })),
    ],
    plot: {
      kind: 'bars',
      title: 'Durable one-to-one messages: CPU per message',
      unit: 'µs of CPU, user and system, all threads; median, with the least and the most of all runs',
      bars: names.map((name) => {
        const [low, high] = spread(cpu[name]!);
        return { label: name, value: median(cpu[name]!), low, high, ours: name === 'kith' };
      }),
      bound: { at: 65, label: 'to reach: 65' },
    },
    notes: [
      `${size.connections} connections, each with ${inFlight} messages unanswered; ${size.messages} messages a run. The load was idle ${Math.round(median(idle) * 100)} % of the time.`,
      'The spike is `ws`, a worker and SQLite with `synchronous=FULL`: it stores, acknowledges and hands over, and knows neither people nor rights.',
    ],
  };
}

async function openKith(bench: Bench, connections: number): Promise<Side> {
  const folder = bench.folder('durable');
  const seed = await Seed.open(folder);
  const people = seed.people(connections);
  const conversations = people.map(() => '');
  for (let index = 0; index < connections; index += 2) {
    const id = seed.conversation([people[index]!, people[index + 1]!], { type: 'direct' });
    conversations[index] = id;
    conversations[index + 1] = id;
  }
  seed.close();
  const program = await startKith(bench, folder);
  const wires: Wire[] = [];
  await openAll(people, 100, async ({ token }, index) => {
    wires[index] = new Wire({ port: program.port });
    await wires[index].hello(token);
  });
  return { program, wires, conversations };
}

async function openSpike(bench: Bench, connections: number): Promise<Side> {
  const program = await startProgram('bench/floors/spike.ts', [bench.folder('spike')]);
  const wires: Wire[] = [];
  const conversations: string[] = [];
  await openAll(Array.from({ length: connections }), 100, async (_, index) => {
    wires[index] = new Wire({ port: program.port });
    conversations[index] = String(Math.floor(index / 2));
    await wires[index].opened;
    await wires[index].call('hello', { conversationId: conversations[index] });
  });
  return { program, wires, conversations };
}

let sends = 0;

async function flood({ program, wires, conversations }: Side, messages: number): Promise<{ cpu: number; rate: number; idle: number }> {
  const before = await program.usage();
  const idle = watchIdle();
  const began = performance.now();
  let sent = 0;
  let acked = 0;
  await new Promise<void>((resolve, reject) => {
    const send = (index: number): void => {
      if (sent === messages) return;
      sent++;
      wires[index]!.callThen(`s${sends++}`, 'message.send', { conversationId: conversations[index], clientId: newClientId(), type: 'text', text }, (reply) => {
        if (reply.includes('"error"')) return reject(new Error(reply.toString()));
        if (++acked === messages) return resolve();
        send(index);
      });
    };
    for (let n = 0; n < inFlight; n++) for (let index = 0; index < wires.length; index++) send(index);
  });
  const seconds = (performance.now() - began) / 1_000;
  const after = await program.usage();
  return { cpu: (after.cpu - before.cpu) / messages, rate: messages / seconds, idle: idle() };
}

/** Sends at a steady rate, whatever comes back. @returns milliseconds from each send to its reply */
export async function steady({ wires, conversations }: Pick<Side, 'wires' | 'conversations'>, perSecond: number, seconds: number): Promise<number[]> {
  const acks: number[] = [];
  const total = Math.round(perSecond * seconds);
  let sent = 0;
  const send = (): void => {
    const index = (sent++ * 7) % wires.length;
    const at = performance.now();
    const params = { conversationId: conversations[index], clientId: newClientId(), type: 'text', text };
    wires[index]!.callThen(`s${sends++}`, 'message.send', params, () => acks.push(performance.now() - at));
  };
  await pace({ perSecond, total }, send, () => acks.length === total);
  return acks;
}
