import { newClientId } from '@kith/client';
import fs from 'node:fs';
import { openPgbench } from './floors/pgbench.ts';
import type { Bench, Figure, Outcome, Scenario } from './lib/bench.ts';
import { watchIdle } from './lib/idle.ts';
import { sleep } from './lib/people.ts';
import { type BenchPostgres, moveTo, openBenchPostgres } from './lib/postgres.ts';
import { type Program, startKith } from './lib/programs.ts';
import { type Person, Seed } from './lib/seed.ts';
import { median, spread } from './lib/stats.ts';
import { Wire, openAll } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'Durable messages by engine, in one hot conversation and over 200, beside pgbench with the same statements.',
  run: (bench) => engines(bench, bench.small ? { conversations: 20, seconds: 2 } : { conversations: 200, seconds: 8 }),
};

const text = 'x'.repeat(120);
/** People of the hot conversation: few, since what it costs to hand a message to many is measured elsewhere. */
const hotPeople = 8;
/** Unanswered messages of all people together, in either shape. */
const inFlight = 400;

/** Messages of one conversation that Kith writes in one transaction, at most: `appendsAtOnce`. */
const atOnce = 128;

type Engine = 'sqlite' | 'postgres';
type Shape = 'hot' | 'over';

interface Load {
  /** Whose connection writes where. */
  writers: { wire: Wire; conversationId: string }[];
}

interface Side {
  program: Program;
  loads: Record<Shape, Load>;
}

interface Measured {
  rate: number;
  /** Microseconds a message. */
  cpu: number;
  serverCpu: number | undefined;
}

async function engines(bench: Bench, { conversations, seconds }: { conversations: number; seconds: number }): Promise<Outcome> {
  const folder = bench.folder('seed');
  const seed = await Seed.open(folder);
  const hot = seed.people(hotPeople);
  const hotId = seed.conversation(hot);
  const pairs = Array.from({ length: conversations }, () => seed.people(2));
  const pairIds = pairs.map((people) => seed.conversation(people));
  seed.close();
  // From where everything was moved away nothing serves any more: SQLite gets a copy.
  const own = bench.folder('sqlite');
  fs.cpSync(folder, own, { recursive: true });
  const server = await openBenchPostgres();
  const files = bench.folder('files');
  await moveTo(server.url, folder, files);
  // So that what pgbench is told of one conversation is true of each.
  await server.query('update conversations set created_by = null');
  await server.query('analyze');
  const open = async (env: Record<string, string>, data: string): Promise<Side> => {
    const program = await startKith(bench, data, { env });
    const connect = async (people: { person: Person; conversationId: string }[]): Promise<Load> => {
      const writers: Load['writers'] = [];
      await openAll(people, 50, async ({ person, conversationId }, index) => {
        const wire = new Wire({ port: program.port });
        await wire.hello(person.token);
        writers[index] = { wire, conversationId };
      });
      return { writers };
    };
    return {
      program,
      loads: {
        hot: await connect(hot.map((person) => ({ person, conversationId: hotId }))),
        over: await connect(pairs.flatMap((people, at) => people.map((person) => ({ person, conversationId: pairIds[at]! })))),
      },
    };
  };
  const sides: Record<Engine, Side> = { sqlite: await open({}, own), postgres: await open({ KITH_DATABASE: server.url }, files) };
  const pgbench = await openPgbench(server, bench.folder('pgbench'), { conversationId: pairIds[0]!, senderId: pairs[0]![0]!.id }, { conversations, most: atOnce });
  if (!pgbench) bench.say('  There is no pgbench on this machine, so this is without its floor.');

  const figures: Record<string, Measured[]> = {};
  const ratios: Record<Shape | 'together', number[]> = { hot: [], together: [], over: [] };
  const idle: number[] = [];
  const keep = (name: string, measured: Measured): void => {
    (figures[name] ??= []).push(measured);
    const costs = [
      Number.isNaN(measured.cpu) ? [] : [`${measured.cpu.toFixed(0)} µs CPU`],
      measured.serverCpu === undefined ? [] : [`${measured.serverCpu.toFixed(0)} µs of PostgreSQL`],
    ];
    bench.say(`  ${name.padEnd(20)} ${Math.round(measured.rate)}/s, ${costs.flat().join(', ')}`);
  };
  for (let run = -1; run < bench.runs; run++) {
    for (const shape of ['hot', 'over'] as const) {
      const rates: Record<string, number> = {};
      for (const engine of ['sqlite', 'postgres'] as const) {
        const idleOf = watchIdle();
        const measured = await flood(sides[engine], shape, run === -1 ? 2 : seconds, engine === 'postgres' ? server : undefined);
        if (run === -1) continue;
        idle.push(idleOf());
        rates[engine] = measured.rate;
        keep(`${engine} ${shape}`, measured);
      }
      for (const together of pgbench ? (shape === 'hot' ? [1, atOnce] : [1]) : []) {
        const before = server.cpu();
        const { rate, messages } = await pgbench!.run(shape === 'hot' ? 1 : conversations, together, run === -1 ? 2 : seconds);
        if (run === -1) continue;
        // Until its connections are gone, and what they took is counted.
        await sleep(1_000);
        const name = together === 1 ? shape : 'together';
        keep(`pgbench ${name}`, { rate, cpu: Number.NaN, serverCpu: perMessage(before, server.cpu(), messages) });
        ratios[name].push(rates['postgres']! / rate);
      }
    }
  }
  for (const { program, loads } of Object.values(sides)) {
    for (const { wire } of [...loads.hot.writers, ...loads.over.writers]) wire.destroy();
    await program.stop();
  }
  const [{ fsync, synchronous_commit: commit }] = (await server.query(`select current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit`)) as [
    { fsync: string; synchronous_commit: string },
  ];
  await server.close();

  const where: Record<Shape | 'together', string> = {
    hot: 'one conversation',
    together: `one conversation, ${atOnce} in a transaction`,
    over: `over ${conversations} conversations`,
  };
  const rows = Object.entries(figures).map(([name, measured]) => {
    const [engine, shape] = name.split(' ') as [Engine | 'pgbench', Shape | 'together'];
    return { engine, label: `${{ sqlite: 'SQLite', postgres: 'PostgreSQL', pgbench: 'pgbench' }[engine]}, ${where[shape]}`, measured };
  });
  const of = (engine: string): 'kith' | 'floor' => (engine === 'pgbench' ? 'floor' : 'kith');
  return {
    figures: [
      ...rows.map(({ engine, label, measured }): Figure => ({ name: `${label}: durable messages`, unit: '/s', values: measured.map(({ rate }) => rate), of: of(engine) })),
      ...rows.flatMap(({ engine, label, measured }): Figure[] => [
        ...(engine === 'pgbench' ? [] : [{ name: `${label}: CPU of Kith per message`, unit: 'µs', values: measured.map(({ cpu }) => cpu), of: of(engine) }]),
        ...(measured[0]!.serverCpu === undefined
          ? []
          : [{ name: `${label}: CPU of PostgreSQL per message`, unit: 'µs', values: measured.map(({ serverCpu }) => serverCpu!), of: of(engine) }]),
      ]),
      ...(pgbench
        ? (['hot', 'together', 'over'] as const).map((shape): Figure => ({
            name: `PostgreSQL over pgbench, ${where[shape]}, run by run`,
            unit: '×',
            values: ratios[shape],
            of: 'kith',
          }))
        : []),
    ],
    plot: {
      kind: 'bars',
      title: 'Durable messages by engine',
      unit: 'messages a second; median, with the least and the most of all runs',
      bars: rows.map(({ engine, label, measured }) => {
        const values = measured.map(({ rate }) => rate);
        const [low, high] = spread(values);
        return { label, value: median(values), low, high, ours: engine !== 'pgbench' };
      }),
    },
    notes: [
      `PostgreSQL ${server.version} on the same machine, fsync=${fsync}, synchronous_commit=${commit}. ${inFlight} messages unanswered at any time: of ${hotPeople} people in one conversation, or of ${2 * conversations} in pairs.`,
      pgbench
        ? `pgbench ${pgbench.version}: the statements of one message as Kith sends them, one transaction a round trip, from 10 connections, which is what Kith has; with one message in each, and with as many as Kith puts into one at most. It knows no people, sockets or pushes.`
        : 'There is no pgbench on this machine.',
      `${seconds} seconds a run. The load was idle ${Math.round(median(idle) * 100)} % of the time.`,
    ],
  };
}

const perMessage = (before: number | undefined, after: number | undefined, messages: number): number | undefined =>
  before === undefined || after === undefined ? undefined : (after - before) / messages;

let sends = 0;

async function flood({ program, loads }: Side, shape: Shape, seconds: number, server: BenchPostgres | undefined): Promise<Measured> {
  const { writers } = loads[shape];
  const each = Math.ceil(inFlight / writers.length);
  const [before, serverBefore] = [await program.usage(), server?.cpu()];
  const began = performance.now();
  let acked = 0;
  let waiting = 0;
  let over = false;
  await new Promise<void>((resolve, reject) => {
    const send = ({ wire, conversationId }: Load['writers'][number]): void => {
      waiting++;
      wire.callThen(`s${sends++}`, 'message.send', { conversationId, clientId: newClientId(), type: 'text', text }, (reply) => {
        if (reply.includes('"error"')) return reject(new Error(reply.toString()));
        acked++;
        waiting--;
        over ||= performance.now() - began > seconds * 1_000;
        if (!over) send({ wire, conversationId });
        else if (waiting === 0) resolve();
      });
    };
    for (let n = 0; n < each; n++) for (const writer of writers) send(writer);
  });
  const took = (performance.now() - began) / 1_000;
  const after = await program.usage();
  return { rate: acked / took, cpu: (after.cpu - before.cpu) / acked, serverCpu: perMessage(serverBefore, server?.cpu(), acked) };
}
