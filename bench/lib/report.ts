import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Figure, Outcome } from './bench.ts';
import { toSvg } from './plot.ts';
import { median, round, spread } from './stats.ts';

export const resultsFolder = path.resolve(import.meta.dirname, '../results');

/** One run of one scenario, as it is kept. */
interface Result {
  scenario: string;
  says: string;
  /** Day of the run. */
  on: string;
  machine: string;
  figures: (Figure & { median: number; low: number; high: number })[];
  notes: string[];
}

/**
 * Writes `<scenario>.json` and `.svg`, and `results.md` anew from all that lie there, if it is to be kept.
 *
 * @returns the lines for the terminal
 */
export function report(scenario: string, says: string, { figures, plot, notes }: Outcome, { keep }: { keep: boolean }): string[] {
  fs.mkdirSync(resultsFolder, { recursive: true });
  const result: Result = {
    scenario,
    says,
    on: new Date().toISOString().slice(0, 10),
    machine: machine(),
    figures: figures.map((figure) => {
      const [low, high] = spread(figure.values);
      return { ...figure, values: figure.values.map(round), median: round(median(figure.values)), low: round(low), high: round(high) };
    }),
    notes,
  };
  if (!keep) return lines(result);
  fs.writeFileSync(path.join(resultsFolder, `${scenario}.json`), `${JSON.stringify(result, null, 2)}\n`);
  if (plot) fs.writeFileSync(path.join(resultsFolder, `${scenario}.svg`), toSvg(plot));
  fs.writeFileSync(path.join(resultsFolder, 'results.md'), markdown());
  return lines(result);
}

export function machine(): string {
  const cpus = os.cpus();
  return `${cpus.length} × ${cpus[0]?.model.trim() ?? 'unknown CPU'}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()} ${os.release()}, Node ${process.versions.node}`;
}

function lines({ figures, notes }: Result): string[] {
  const rows = figures.map(
    ({ name, unit, median: middle, low, high, ...figure }) =>
      `  ${name.padEnd(52)} ${String(middle).padStart(9)} ${unit.padEnd(10)} ${low}–${high}  ${verdict({ ...figure, median: middle })}`,
  );
  return [...rows, ...notes.map((note) => `  · ${note}`)];
}

function verdict({ median: middle, atMost, atLeast }: { median: number; atMost?: number | undefined; atLeast?: number | undefined }): string {
  if (atMost !== undefined) return middle <= atMost ? `✓ ≤ ${atMost}` : `✗ ≤ ${atMost}`;
  if (atLeast !== undefined) return middle >= atLeast ? `✓ ≥ ${atLeast}` : `✗ ≥ ${atLeast}`;
  return '';
}

function markdown(): string {
  const results = fs
    .readdirSync(resultsFolder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => JSON.parse(fs.readFileSync(path.join(resultsFolder, name), 'utf8')) as Result);
  const sections = results.map(({ scenario, says, on, machine: where, figures, notes }) => {
    const rows = figures.map((figure) => `| ${figure.name} | ${figure.median} | ${figure.low}–${figure.high} | ${figure.values.length} | ${figure.unit} | ${verdict(figure)} |`);
    const plot = fs.existsSync(path.join(resultsFolder, `${scenario}.svg`)) ? [`![${says}](${scenario}.svg)`, ''] : [];
    return [
      `## ${scenario}`,
      '',
      `${says} Run on ${on}: ${where}.`,
      '',
      '| figure | median | spread | runs | unit | to reach |',
      '| --- | --- | --- | --- | --- | --- |',
      ...rows,
      '',
      ...notes.map((note) => `- ${note}`),
      ...(notes.length > 0 ? [''] : []),
      ...plot,
    ].join('\n');
  });
  return ['# Results', '', 'Written by `npm run bench`; what it means is in [README.md](../README.md).', '', ...sections].join('\n');
}
