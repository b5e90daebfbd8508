import fs from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nemeses } from './nemeses.ts';
import { type Turn, play } from './stage.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env['KITH_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** It mostly waits; on a machine that is busy with other things it waits for long. Milliseconds. */
const longest = 600_000;

/** The short set, on one server each: a few seconds of every fault. All of them, for longer, by `npm run chaos -- all`. */
const short: [variant: 'sqlite' | 'postgres', rules: string, turns: [name: string, seconds: number][]][] = [
  [
    'sqlite',
    '[CH1] [ST2] [MS3] [FR2] [CO9]',
    [
      ['kill', 4],
      ['power', 4],
      ['stop', 3],
      ['sync', 1],
      ['locked', 3],
      ['readers', 3],
      ['network', 4],
      ['members', 3],
      ['full', 3],
    ],
  ],
  [
    'postgres',
    '[CH1] [ST2] [MS3] [FR2]',
    [
      ['retries', 3],
      ['postgres', 3],
      ['kill', 3],
      ['mixed', 5],
    ],
  ],
];

test('[CH4] the page that says how Kith is attacked has a row for each nemesis on one server, and for no other', () => {
  const page = fs.readFileSync(new URL('../docs/trust.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `([a-z-]+)` +\| [A-Za-z]/gm)].map(([, name]) => name!).filter((name) => !name.startsWith('nodes-'));
  expect(rows.toSorted()).toEqual(
    Object.keys(nemeses)
      .filter((name) => name !== 'none')
      .toSorted(),
  );
});

// What needs root, or a program that is not there, is told and not run: CI has both.
describe.skipIf(process.platform === 'win32')(`faults, seed ${seed}`, () => {
  for (const [variant, rules, all] of short) {
    const turns: Turn[] = [];
    for (const [name, seconds] of all) {
      const nemesis = nemeses[name]!;
      const missing = nemesis.missing?.();
      if (missing === undefined) turns.push([nemesis, seconds]);
      else console.warn(`NOT RUN: ${name} (${nemesis.what}) needs ${missing}`);
    }
    const names = turns.map(([{ what }]) => what.split(':')[0]).join(', ');
    test(`${rules} ${names}, on ${variant}: nothing acked is lost, doubled, moved, or shown to the wrong person`, { timeout: longest }, async () => {
      const { violations, acks, ends, starts, slowestStartMs } = await play({ turns, seed, variant });
      console.log(`seed ${seed}, ${variant}: ${acks} acks, ${starts} starts, slowest ${slowestStartMs} ms, ended ${ends.join()}`);
      expect(violations).toEqual([]);
      expect(acks).toBeGreaterThan(300);
    });
  }
});
