import { parseArgs } from 'node:util';
import { openTestPostgres } from '../packages/server/test/postgres.ts';
import { clusterNemeses, missingForCluster, playCluster } from './cluster.ts';
import type { Bounds } from './checker.ts';
import { fuzz, inWords } from './fuzz.ts';
import { now } from './history.ts';
import type { LoadOptions } from './load.ts';
import { nemeses } from './nemeses.ts';
import { type Report, type Turn, play } from './stage.ts';

// `npm run chaos -- <nemesis>… [--seconds 30] [--acks 100000] [--people 40] [--rate 1000] [--seed N] [--variant sqlite|postgres]`; `all` runs every one of them on one
// server, and `nodes-all` every one on three nodes. `kill+power` runs both on the same server, one after the other.
// `npm run chaos -- fuzz [--inputs 1000000] [--seed N]` sends what hostile peers send.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    acks: { type: 'string' },
    people: { type: 'string' },
    rate: { type: 'string' },
    seed: { type: 'string' },
    variant: { type: 'string', default: 'sqlite' },
    inputs: { type: 'string', default: '100000' },
    // Nodes in network namespaces, whether their nemesis needs them or not.
    apart: { type: 'boolean', default: false },
    // For planted mistakes: there is no need to go on once these words are given away.
    'until-found': { type: 'string' },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
if (positionals[0] === 'fuzz') {
  const report = await fuzz({ inputs: Number(values.inputs), seed, say: (line) => console.log(line) });
  console.log(`fuzz: ${report.wrong.length === 0 ? 'nothing found' : 'BROKEN'} · ${inWords(report)}, seed ${seed}`);
  for (const what of report.wrong) console.log(`  ${what}`);
  process.exit(report.wrong.length > 0 ? 1 : 0);
}
const known = { ...nemeses, ...clusterNemeses };
const rows = positionals.flatMap((name) => (name === 'all' ? Object.keys(nemeses) : name === 'nodes-all' ? Object.keys(clusterNemeses) : [name])).map((name) => name.split('+'));
const isOfNodes = (row: string[]): boolean => row.some((name) => Object.hasOwn(clusterNemeses, name));
const isKnown = (row: string[]): boolean => row.every((name) => Object.hasOwn(isOfNodes(row) ? clusterNemeses : nemeses, name));
if (rows.length === 0 || !rows.every(isKnown) || !['sqlite', 'postgres'].includes(values.variant)) {
  const lines = Object.entries(known).map(([name, { what }]) => `  ${name.padEnd(16)} ${what}`);
  process.stderr.write(
    `Usage: npm run chaos -- <nemesis>… [--seconds 30] [--acks 100000] [--people N] [--rate N] [--seed N] [--variant sqlite|postgres]

${lines.join('\n')}
  all              every one of them on one server
  nodes-all        every one of them on three nodes, which have PostgreSQL
  fuzz             hostile input without end: [--inputs 1000000] [--seed N]

Several joined by + come one after the other on the same server. With --acks each goes on until so many sends are acknowledged and its fault has
come as often as it has to: with 40 people and 1,000 messages a second, three times as many in one second of ten, unless --people and --rate say
otherwise. --seconds (then 3600) only bounds it.
`,
  );
  process.exit(2);
}

const variant = values.variant as 'sqlite' | 'postgres';
const acks = values.acks === undefined ? undefined : Number(values.acks);
const seconds = Number(values.seconds ?? (acks === undefined ? 30 : 3_600));
/** Beyond what is usual: so that many acks take minutes. */
const load = (many: Partial<LoadOptions>): Partial<LoadOptions> => ({
  ...(acks !== undefined && many),
  ...(values.people !== undefined && { people: Number(values.people) }),
  ...(values.rate !== undefined && { rate: Number(values.rate) }),
});
/** So many read late what came in time, after a fault above all. That no push comes behind the word of a removal is looked at whenever it is read. */
const bounds = (row: string[]): Partial<Bounds> => (acks === undefined ? {} : { growthMiB: 500, lagMs: 100, ...(!row.includes('members') && { leakMs: 15_000 }) });
// Its own server, which waits for the disk at every commit as a real one does.
const postgres = (variant === 'postgres' || rows.some(isOfNodes)) && process.env['KITH_TEST_POSTGRES'] === undefined ? await openTestPostgres({ fsync: true }) : undefined;
if (postgres) process.env['KITH_TEST_POSTGRES'] = postgres.url;
process.env['KITH_CHAOS_FSYNC'] = 'on';
let broken = 0;
let began = 0;
for (const row of rows) {
  began = now();
  const name = row.join('+');
  if (isOfNodes(row)) {
    const lacking = missingForCluster(row);
    const many = load({ people: 12, rate: 600 });
    if (lacking === undefined) tell(name, await playCluster({ turns: row.map((one) => [one, seconds]), seed, load: many, acks }, values.apart || undefined));
    else console.log(`${name}: NOT RUN, it needs ${lacking}`);
    continue;
  }
  if (row.some((one) => nemeses[one]!.only && nemeses[one]!.only !== variant)) continue;
  const missing = row.map((one) => nemeses[one]!.missing?.()).find((one) => one !== undefined);
  if (missing !== undefined) {
    console.log(`${name}: NOT RUN, it needs ${missing}`);
    continue;
  }
  const turns: Turn[] = row.map((one) => [nemeses[one]!, seconds]);
  tell(
    name,
    await play({
      turns,
      seed,
      variant,
      load: load({ people: 40, rate: 1_000, bursts: 3 }),
      bounds: bounds(row),
      ...(values['until-found'] !== undefined && { untilFound: new RegExp(values['until-found']) }),
      ...(acks !== undefined && { acks }),
    }),
  );
}
await postgres?.close();
process.exit(broken > 0 ? 1 : 0);

function tell(name: string, { violations, acks: acked, messages, starts, slowestStartMs, slowestStopMs }: Report): void {
  broken += violations.length;
  console.log(
    `${name}: ${violations.length === 0 ? 'nothing found' : 'BROKEN'} · ${acked} acks, ${messages} messages, ${starts} starts (slowest ${slowestStartMs} ms, slowest stop in order ${slowestStopMs} ms), ${Math.round((now() - began) / 1_000)} s, seed ${seed}`,
  );
  for (const { rule, what } of violations) console.log(`  ${rule} ${what}`);
}
