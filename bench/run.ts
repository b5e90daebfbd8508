import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Bench, Scenario } from './lib/bench.ts';
import { drawFlames } from './lib/flame.ts';
import { report, resultsFolder } from './lib/report.ts';

// `npm run bench -- <scenario>… [--runs 5] [--small] [--profile folder]`: runs scenarios and keeps what they measured in
// bench/results; with profiles, whose taking costs, flame graphs of them instead. A scenario is a file beside this one that
// exports `scenario`; whatever other flags there are, are its own.

const names = fs
  .readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'run.ts')
  .map((name) => name.slice(0, -3))
  .sort();
const load = async (name: string): Promise<Scenario> => ((await import(pathToFileURL(path.join(import.meta.dirname, `${name}.ts`)).href)) as { scenario: Scenario }).scenario;

const chosen: string[] = [];
const options: Record<string, string | undefined> = {};
const args = process.argv.slice(2);
for (let at = 0; at < args.length; at++) {
  const arg = args[at]!;
  if (!arg.startsWith('--')) chosen.push(arg);
  else if (args[at + 1] === undefined || args[at + 1]!.startsWith('--')) options[arg.slice(2)] = 'on';
  else options[arg.slice(2)] = args[++at];
}

if (chosen.length === 0 || chosen.some((name) => !names.includes(name))) {
  const list = await Promise.all(names.map(async (name) => `  ${name.padEnd(12)} ${(await load(name)).says}`));
  process.stderr.write(`Usage: npm run bench -- <scenario>… [--runs 5] [--small] [--keep] [--profile folder]\n\n${list.join('\n')}\n`);
  process.exit(2);
}

const temporary = fs.mkdtempSync(path.join(options['folder'] ?? os.tmpdir(), 'kith-bench-'));
process.on('exit', () => fs.rmSync(temporary, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

let folders = 0;
for (const name of chosen) {
  const scenario = await load(name);
  const bench: Bench = {
    runs: Number(options['runs'] ?? 5),
    small: options['small'] !== undefined,
    options,
    profile: options['profile'] === undefined ? undefined : path.resolve(options['profile']),
    folder(label) {
      const folder = path.join(temporary, `${label}-${folders++}`);
      fs.mkdirSync(folder);
      return folder;
    },
    say: (line) => void process.stdout.write(`${line}\n`),
  };
  bench.say(`${name}: ${scenario.says}`);
  const outcome = await scenario.run(bench);
  for (const line of report(name, scenario.says, outcome, { keep: bench.profile === undefined })) bench.say(line);
  if (bench.profile !== undefined) for (const file of drawFlames(bench.profile, resultsFolder, name)) bench.say(`  ${path.relative(process.cwd(), file)}`);
}
process.exit(0);
