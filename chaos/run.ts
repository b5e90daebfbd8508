import { parseArgs } from 'node:util';
import { openTestPostgres } from '../packages/server/test/postgres.ts';
import { nemeses } from './nemeses.ts';
import { play } from './stage.ts';

// `npm run chaos -- <nemesis> [--seconds 60] [--seed N] [--variant sqlite|postgres]`; `all` runs every one of them.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '30' }, seed: { type: 'string' }, variant: { type: 'string', default: 'sqlite' } },
});
const names = positionals[0] === 'all' ? Object.keys(nemeses) : positionals;
const unknown = names.filter((name) => !Object.hasOwn(nemeses, name));
if (names.length === 0 || unknown.length > 0 || !['sqlite', 'postgres'].includes(values.variant)) {
  const lines = Object.entries(nemeses).map(([name, { what }]) => `  ${name.padEnd(10)} ${what}`);
  process.stderr.write(`Usage: npm run chaos -- <nemesis>… [--seconds 30] [--seed N] [--variant sqlite|postgres]\n\n${lines.join('\n')}\n  all        every one of them\n`);
  process.exit(2);
}

const variant = values.variant as 'sqlite' | 'postgres';
// Its own server, which waits for the disk at every commit as a real one does.
const postgres = variant === 'postgres' && process.env['KITH_TEST_POSTGRES'] === undefined ? await openTestPostgres({ fsync: true }) : undefined;
if (postgres) process.env['KITH_TEST_POSTGRES'] = postgres.url;
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
let broken = 0;
for (const name of names) {
  const nemesis = nemeses[name]!;
  if (nemesis.only && nemesis.only !== variant) continue;
  const missing = nemesis.missing?.();
  if (missing !== undefined) {
    console.log(`${name}: NOT RUN, it needs ${missing}`);
    continue;
  }
  const { violations, acks, messages, starts, slowestStartMs } = await play({ nemesis, seed, seconds: Number(values.seconds), variant });
  broken += violations.length;
  console.log(
    `${name}: ${violations.length === 0 ? 'nothing found' : 'BROKEN'} · ${acks} acks, ${messages} messages, ${starts} starts (slowest ${slowestStartMs} ms), seed ${seed}`,
  );
  for (const { rule, what } of violations) console.log(`  ${rule} ${what}`);
}
await postgres?.close();
process.exit(broken > 0 ? 1 : 0);
