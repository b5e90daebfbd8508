import { describe, expect, test } from 'vitest';
import { clusterNemeses, missingForCluster, playCluster } from './cluster.ts';
import { nemeses } from './nemeses.ts';
import { play } from './stage.ts';

/** Set it to the one a failed run printed, to see that run's random choices again. */
const seed = Number(process.env['KITH_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** The short set: each for a few seconds. All of them, for longer, by `npm run chaos -- all`. */
const short: [name: string, variant: 'sqlite' | 'postgres', seconds: number][] = [
  ['power', 'sqlite', 5],
  ['stop', 'sqlite', 4],
  ['full', 'sqlite', 4],
  ['locked', 'sqlite', 3],
  ['readers', 'sqlite', 3],
  ['network', 'sqlite', 4],
  ['members', 'sqlite', 3],
  ['retries', 'postgres', 3],
  ['mixed', 'postgres', 6],
];

// What needs root, or a program that is not there, is told and not run: CI has both.
describe.skipIf(process.platform === 'win32')(`faults, seed ${seed}`, () => {
  for (const [name, variant, seconds] of short) {
    const nemesis = nemeses[name]!;
    const missing = nemesis.missing?.();
    if (missing !== undefined) console.warn(`NOT RUN: ${name} (${nemesis.what}) needs ${missing}`);
    test.skipIf(missing !== undefined)(`[CH1] ${nemesis.what}, on ${variant}: nothing acked is lost, doubled, moved, or shown to the wrong person`, async () => {
      const { violations, acks, ends, starts, slowestStartMs } = await play({ nemesis, seed, seconds, variant });
      console.log(`seed ${seed}, ${name}: ${acks} acks, ${starts} starts, slowest ${slowestStartMs} ms, ended ${ends.join()}`);
      expect(violations).toEqual([]);
      expect(acks).toBeGreaterThan(50);
    });
  }

  const lacking = missingForCluster();
  if (lacking !== undefined) console.warn(`NOT RUN: everything with three nodes needs ${lacking}`);
  test.skipIf(lacking !== undefined).each([
    ['nodes-mixed', 6],
    ['nodes-rolling', 2],
  ])('[CH3] three nodes, %s: nothing acked is lost, doubled, moved, or shown to the wrong person, and nobody is thrown out for nothing', async (name, atLeast) => {
    const { violations, acks, ends, starts, slowestStartMs } = await playCluster({ nemesis: clusterNemeses[name]!, seed, seconds: atLeast });
    console.log(`seed ${seed}, ${name}: ${acks} acks, ${starts} starts, slowest ${slowestStartMs} ms, ended ${ends.join()}`);
    expect(violations).toEqual([]);
    expect(acks).toBeGreaterThan(50);
  });
});
