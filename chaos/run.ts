import { parseArgs } from 'node:util';
import { openTestPostgres } from '../packages/server/test/postgres.ts';
import { clusterNemeses, missingForCluster, playCluster } from './cluster.ts';
import { fuzz, inWords } from './fuzz.ts';
import { nemeses } from './nemeses.ts';
import { type Report, play } from './stage.ts';

// `npm run chaos -- <nemesis> [--seconds 60] [--seed N] [--variant sqlite|postgres]`; `all` runs every one of them on one server, and
// `nodes-all` every one on three nodes.
// `npm run chaos -- fuzz [--inputs 1000000] [--seed N]` sends what hostile peers send.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '30' }, seed: { type: 'string' }, variant: { type: 'string', default: 'sqlite' }, inputs: { type: 'string', default: '100000' } },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
if (positionals[0] === 'fuzz') {
  const report = await fuzz({ inputs: Number(values.inputs), seed, say: (line) => console.log(line) });
  console.log(`fuzz: ${report.wrong.length === 0 ? 'nothing found' : 'BROKEN'} · ${inWords(report)}, seed ${seed}`);
  for (const what of report.wrong) console.log(`  ${what}`);
  process.exit(report.wrong.length > 0 ? 1 : 0);
}
const known = { ...nemeses, ...clusterNemeses };
const names = positionals.flatMap((name) => (name === 'all' ? Object.keys(nemeses) : name === 'nodes-all' ? Object.keys(clusterNemeses) : [name]));
const unknown = names.filter((name) => !Object.hasOwn(known, name));
if (names.length === 0 || unknown.length > 0 || !['sqlite', 'postgres'].includes(values.variant)) {
  const lines = Object.entries(known).map(([name, { what }]) => `  ${name.padEnd(16)} ${what}`);
  process.stderr.write(
    `Usage: npm run chaos -- <nemesis>… [--seconds 30] [--seed N] [--variant sqlite|postgres]\n\n${lines.join('\n')}\n  all              every one of them on one server\n  nodes-all        every one of them on three nodes, which have PostgreSQL\n  fuzz             hostile input without end: [--inputs 1000000] [--seed N]\n`,
  );
  process.exit(2);
}

const variant = values.variant as 'sqlite' | 'postgres';
// Its own server, which waits for the disk at every commit as a real one does.
const postgres =
  (variant === 'postgres' || names.some((name) => Object.hasOwn(clusterNemeses, name))) && process.env['KITH_TEST_POSTGRES'] === undefined
    ? await openTestPostgres({ fsync: true })
    : undefined;
if (postgres) process.env['KITH_TEST_POSTGRES'] = postgres.url;
let broken = 0;
for (const name of names) {
  const seconds = Number(values.seconds);
  if (Object.hasOwn(clusterNemeses, name)) {
    const lacking = missingForCluster();
    if (lacking === undefined) tell(name, await playCluster({ nemesis: clusterNemeses[name]!, seed, seconds }));
    else console.log(`${name}: NOT RUN, it needs ${lacking}`);
    continue;
  }
  const nemesis = nemeses[name]!;
  if (nemesis.only && nemesis.only !== variant) continue;
  const missing = nemesis.missing?.();
  if (missing !== undefined) {
    console.log(`${name}: NOT RUN, it needs ${missing}`);
    continue;
  }
  tell(name, await play({ nemesis, seed, seconds, variant }));
}
await postgres?.close();
process.exit(broken > 0 ? 1 : 0);

function tell(name: string, { violations, acks, messages, starts, slowestStartMs }: Report): void {
  broken += violations.length;
  console.log(
    `${name}: ${violations.length === 0 ? 'nothing found' : 'BROKEN'} · ${acks} acks, ${messages} messages, ${starts} starts (slowest ${slowestStartMs} ms), seed ${seed}`,
  );
  for (const { rule, what } of violations) console.log(`  ${rule} ${what}`);
}
