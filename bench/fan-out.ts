import { newClientId } from '@kith/client';
import { randomUUID } from 'node:crypto';
import type { Bench, Figure, Outcome, Scenario } from './lib/bench.ts';
import { watchIdle } from './lib/idle.ts';
import { type Program, startFloor, startKith } from './lib/programs.ts';
import { Seed } from './lib/seed.ts';
import { median, spread } from './lib/stats.ts';
import { Tally, Wire, openAll } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'CPU per delivered message: one sender, 2,000 sockets in one conversation, 120 characters, four in flight.',
  run: (bench) => fanOut(bench, bench.small ? { sockets: 200, messages: 100 } : { sockets: 2_000, messages: 400 }),
};

const inFlight = 4;
const text = 'x'.repeat(120);

export interface Size {
  sockets: number;
  /** In one run. */
  messages: number;
}

/** A server with all its sockets open. */
interface Side {
  program: Program;
  tally: Tally;
  wires: Wire[];
  send: (n: number) => void;
}

export async function fanOut(bench: Bench, size: Size, all = ['kith', 'ws', 'ws-batched', 'socket-io']): Promise<Outcome> {
  const only = bench.options['only'];
  const wanted = all.filter((name) => only === undefined || only.split(',').includes(name));
  const sides = new Map<string, Side>();
  for (const name of wanted) sides.set(name, await open(bench, name, size.sockets));
  const cpu = new Map(wanted.map((name) => [name, [] as number[]]));
  const rate = new Map(wanted.map((name) => [name, [] as number[]]));
  const idle: number[] = [];
  // Run by run, one server after the other: whatever disturbs the machine disturbs all of them alike.
  for (let run = -1; run < bench.runs; run++) {
    for (const [name, side] of sides) {
      const measured = await measure(side, size, run === -1 ? Math.ceil(size.messages / 4) : size.messages);
      // The first is to get warm.
      if (run === -1) continue;
      cpu.get(name)!.push(measured.cpu);
      rate.get(name)!.push(measured.rate);
      idle.push(measured.idle);
      bench.say(
        `  ${name.padEnd(12)} ${measured.cpu.toFixed(2)} µs CPU, ${Math.round(measured.rate)}/s, ${measured.together.toFixed(1)} frames a read, load idle ${Math.round(measured.idle * 100)} %`,
      );
    }
  }
  for (const { program, wires } of sides.values()) {
    for (const wire of wires) wire.destroy();
    await program.stop();
  }
  const figures: Figure[] = wanted.map((name) => ({
    name: `${name}: CPU per delivery`,
    unit: 'µs',
    values: cpu.get(name)!,
    of: name === 'kith' ? 'kith' : name === 'socket-io' ? 'peer' : 'floor',
    ...(name === 'kith' && { atMost: 2.2 }),
  }));
  const [ours, floor] = [cpu.get('kith'), cpu.get('ws-batched')];
  if (ours && floor) figures.push({ name: 'kith over ws-batched, run by run', unit: '×', values: ours.map((value, run) => value / floor[run]!), atMost: 1.4, of: 'kith' });
  for (const name of wanted) figures.push({ name: `${name}: deliveries`, unit: '/s', values: rate.get(name)!, of: name === 'kith' ? 'kith' : 'floor' });
  return {
    figures,
    plot: {
      kind: 'bars',
      title: `Fan-out to ${size.sockets} sockets: CPU per delivered message`,
      unit: 'µs of CPU, user and system, all threads; median, with the least and the most of all runs',
      bars: wanted.map((name) => {
        const [low, high] = spread(cpu.get(name)!);
        return { label: name, value: median(cpu.get(name)!), low, high, ours: name === 'kith' };
      }),
      bound: { at: 2.2, label: 'to reach: 2.2' },
    },
    notes: [
      `${size.messages} messages a run, ${size.messages * size.sockets} deliveries. The load was idle ${Math.round(median(idle) * 100)} % of the time (least ${Math.round(Math.min(...idle) * 100)} %).`,
    ],
  };
}

async function open(bench: Bench, name: string, sockets: number): Promise<Side> {
  const tally = new Tally();
  const wires: Wire[] = [];
  if (name === 'kith') {
    const folder = bench.folder('fan-out');
    const seed = await Seed.open(folder);
    const people = seed.people(sockets);
    const conversationId = seed.conversation(people);
    seed.close();
    const program = await startKith(bench, folder);
    await openAll(people, 100, async ({ token }, index) => {
      const wire = new Wire({ port: program.port, tally });
      wires[index] = wire;
      await wire.hello(token);
    });
    return { program, tally, wires, send: (n) => wires[0]!.callThen(`s${n}`, 'message.send', { conversationId, clientId: newClientId(), type: 'text', text }, () => {}) };
  }
  const program = await startFloor(name as 'ws' | 'ws-batched' | 'socket-io');
  const conversationId = randomUUID();
  await openAll(Array.from({ length: sockets }), 100, async (_, index) => {
    const options = name === 'socket-io' ? { port: program.port, tally, path: '/socket.io/?EIO=4&transport=websocket', counted: '[' } : { port: program.port, tally };
    const wire = new Wire(options);
    wires[index] = wire;
    if (name === 'socket-io') await helloSocketIo(wire);
    else await wire.hello('');
  });
  const params = (): object => ({ conversationId, clientId: newClientId(), type: 'text', text });
  const send = (n: number): void => {
    if (name === 'socket-io') wires[0]!.send(`42${JSON.stringify(['send', params()])}`);
    else wires[0]!.callThen(`s${n}`, 'message.send', params(), () => {});
  };
  return { program, tally, wires, send };
}

/** Engine.IO 4: `0…` opens, `40` joins, and from then on `2` is a ping and `3` its answer. */
export async function helloSocketIo(wire: Wire): Promise<void> {
  const joined = Promise.withResolvers<void>();
  const [zero, two, four] = [0x30, 0x32, 0x34];
  wire.onText = (payload) => {
    if (payload[0] === zero) wire.send('40');
    else if (payload[0] === two && payload.length === 1) wire.send('3');
    else if (payload[0] === four && payload[1] === zero) joined.resolve();
  };
  await wire.opened;
  await joined.promise;
}

async function measure({ program, tally, send }: Side, { sockets }: Size, messages: number): Promise<{ cpu: number; rate: number; idle: number; together: number }> {
  const before = await program.usage();
  const idle = watchIdle();
  const began = performance.now();
  const from = tally.count;
  const reads = tally.reads;
  let sent = 0;
  await new Promise<void>((resolve) => {
    const refill = (): void => {
      const arrived = Math.floor((tally.count - from) / sockets);
      if (arrived === messages) return resolve();
      while (sent < messages && sent < arrived + inFlight) send(sent++);
    };
    // Not at every delivery: when a whole message is through.
    tally.onCount = () => {
      if ((tally.count - from) % sockets === 0) refill();
    };
    refill();
  });
  tally.onCount = undefined;
  const seconds = (performance.now() - began) / 1_000;
  const after = await program.usage();
  return { cpu: (after.cpu - before.cpu) / (messages * sockets), rate: (messages * sockets) / seconds, idle: idle(), together: (tally.count - from) / (tally.reads - reads) };
}
