import { newClientId } from '@kith/client';
import { startNats } from '../packages/server/test/nats.ts';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { watchIdle } from './lib/idle.ts';
import { pace } from './lib/pace.ts';
import { moveTo, openBenchPostgres } from './lib/postgres.ts';
import { startKith } from './lib/programs.ts';
import { Seed } from './lib/seed.ts';
import { quantile } from './lib/stats.ts';
import { Wire, openAll } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'From send to receive across three nodes, with PostgreSQL and NATS: 200 messages a second (--rate), each to people on all three.',
  run: (bench) => nodes(bench, { perSecond: Number(bench.options['rate'] ?? 200), seconds: bench.small ? 2 : 10 }),
};

const nodeCount = 3;
/** On each node one of them. */
const members = nodeCount;
const groups = 100;

async function nodes(bench: Bench, { perSecond, seconds }: { perSecond: number; seconds: number }): Promise<Outcome> {
  const folder = bench.folder('seed');
  const seed = await Seed.open(folder);
  const people = Array.from({ length: groups }, () => seed.people(members));
  const conversations = people.map((group) => seed.conversation(group));
  seed.close();
  const [server, nats] = [await openBenchPostgres(), await startNats()];
  await moveTo(server.url, folder, bench.folder('files'));
  const env = { KITH_DATABASE: server.url, KITH_NATS: nats.url };
  const programs = await Promise.all(Array.from({ length: nodeCount }, (_, at) => startKith(bench, bench.folder(`node-${at}`), { env, name: `node ${at + 1}` })));

  let late: Record<'same' | 'other', number[]> = { same: [], other: [] };
  let acks: number[] = [];
  const mark = Buffer.from('"text":"@');
  const wires: Wire[][] = people.map(() => []);
  const all = people.flatMap((group, conversation) => group.map(({ token }, at) => ({ token, conversation, at })));
  await openAll(all, 50, async ({ token, conversation, at }) => {
    const wire = new Wire({ port: programs[at]!.port });
    wires[conversation]![at] = wire;
    wire.onText = (payload) => {
      const found = payload.indexOf(mark);
      if (found === -1) return;
      const from = found + mark.length;
      const [sent, node] = payload.toString('latin1', from, payload.indexOf(0x22, from)).split(' ', 2) as [string, string];
      late[Number(node) === at ? 'same' : 'other'].push(performance.now() - Number(sent));
    };
    await wire.hello(token);
  });
  const figures: Record<'same50' | 'same99' | 'other50' | 'other99' | 'ack50' | 'ack99', number[]> = { same50: [], same99: [], other50: [], other99: [], ack50: [], ack99: [] };
  const cpu: number[] = [];
  const databaseCpu: number[] = [];
  const idle: number[] = [];
  let n = 0;
  for (let run = -1; run < bench.runs; run++) {
    [late, acks] = [{ same: [], other: [] }, []];
    const total = perSecond * (run === -1 ? 3 : seconds);
    const before = await Promise.all(programs.map((program) => program.usage()));
    const databaseBefore = server.cpu();
    const idleOf = watchIdle();
    const send = (): void => {
      const conversation = n++ % groups;
      const from = Math.floor(n / groups) % members;
      const at = performance.now();
      const params = { conversationId: conversations[conversation], clientId: newClientId(), type: 'text', text: `@${at} ${from} ${'x'.repeat(100)}` };
      wires[conversation]![from]!.callThen(`s${n}`, 'message.send', params, (reply) => {
        if (reply.includes('"error"')) throw new Error(reply.toString());
        acks.push(performance.now() - at);
      });
    };
    await pace({ perSecond, total }, send, () => acks.length >= total && late.same.length >= total && late.other.length >= total * (members - 1));
    if (run === -1) continue;
    const after = await Promise.all(programs.map((program) => program.usage()));
    const database = server.cpu();
    for (const [name, values, share] of [
      ['same50', late.same, 0.5],
      ['same99', late.same, 0.99],
      ['other50', late.other, 0.5],
      ['other99', late.other, 0.99],
      ['ack50', acks, 0.5],
      ['ack99', acks, 0.99],
    ] as const)
      figures[name].push(quantile(values, share));
    cpu.push(after.reduce((sum, usage, at) => sum + usage.cpu - before[at]!.cpu, 0) / total);
    if (database !== undefined) databaseCpu.push((database - databaseBefore!) / total);
    idle.push(idleOf());
    const last = (name: keyof typeof figures): string => figures[name].at(-1)!.toFixed(1);
    bench.say(
      `  other node p50 ${last('other50')} ms, p99 ${last('other99')} ms; same node ${last('same50')} and ${last('same99')} ms; ack ${last('ack50')} and ${last('ack99')} ms; ${cpu.at(-1)!.toFixed(0)} µs CPU a message, load idle ${Math.round(idle.at(-1)! * 100)} %`,
    );
  }
  for (const wire of wires.flat()) wire.destroy();
  await Promise.all(programs.map((program) => program.stop()));
  await nats.close();
  await server.close();
  return {
    figures: [
      { name: 'to another node, p50', unit: 'ms', values: figures.other50, of: 'kith' },
      { name: 'to another node, p99', unit: 'ms', values: figures.other99, of: 'kith' },
      { name: 'to the same node, p50', unit: 'ms', values: figures.same50, of: 'kith' },
      { name: 'to the same node, p99', unit: 'ms', values: figures.same99, of: 'kith' },
      { name: 'acknowledged, p50', unit: 'ms', values: figures.ack50, of: 'kith' },
      { name: 'acknowledged, p99', unit: 'ms', values: figures.ack99, of: 'kith' },
      { name: 'CPU of all three nodes per message', unit: 'µs', values: cpu, of: 'kith' },
      ...(databaseCpu.length > 0 ? [{ name: 'CPU of PostgreSQL per message', unit: 'µs', values: databaseCpu, of: 'kith' as const }] : []),
    ],
    plot: {
      kind: 'lines',
      title: `Send to receive at ${perSecond} messages/s, across three nodes`,
      x: 'run',
      unit: 'milliseconds',
      lines: (
        [
          ['another node, p50', 'other50'],
          ['another node, p99', 'other99'],
          ['same node, p50', 'same50'],
          ['same node, p99', 'same99'],
        ] as const
      ).map(([label, name]) => ({ label, points: figures[name].map((value, run) => [run + 1, value]) })),
    },
    notes: [
      `Three nodes, PostgreSQL ${server.version} with fsync and NATS on one machine; ${groups} groups with one person on each node; ${perSecond * seconds} messages a run, stored and synced before anybody gets them.`,
      `The load was idle ${Math.round(Math.min(...idle) * 100)} % of the time at least.`,
    ],
  };
}
