import { expect, test } from 'vitest';
import { type Costs, habits, marksPerMessage, simulate } from './scale.ts';

const costs: Costs = { request: 100, delivery: 3, arrival: 20, head: 3, kib: 20, comeBack: 200 };

test('[SC3] the simulation is the same for the same seed, counts what it must, and shows what the rule for large conversations is for', () => {
  const nodes = [1, 4, 16];
  const loads = simulate(20_000, nodes, 7, costs);
  expect(simulate(20_000, nodes, 7, costs)).toEqual(loads);
  expect(simulate(20_000, nodes, 8, costs)[1]!.deliveries).not.toBe(loads[1]!.deliveries);
  const [one, four, sixteen] = loads as [(typeof loads)[0], (typeof loads)[0], (typeof loads)[0]];
  // Where people are connected changes nothing of what they are sent, and one node hears from nobody.
  for (const name of ['sends', 'marks', 'deliveries', 'sockets'] as const) expect([four[name], sixteen[name]]).toEqual([one[name], one[name]]);
  expect([one.arrivals, one.presence.arrivals]).toEqual([0, 0]);
  expect(four.arrivals).toBeGreaterThan(0);
  expect(sixteen.arrivals).toBeGreaterThan(four.arrivals);
  expect(sixteen.arrivals).toBeLessThan(sixteen.deliveries);
  expect(sixteen.cores.all).toBeLessThan(one.cores.all / 4);
  expect(one.sends).toBeCloseTo((20_000 * habits.messagesPerDay * habits.busiest) / 3_600);
  // Everybody in one conversation of two, both there: two sockets, and a message is one frame to each, two marks and what they are told of.
  const [pair] = simulate(2, [1], 1, costs, { ...habits, online: 1, sockets: 1, direct: 1, groups: 0, shares: { direct: 1, group: 0, room: 0 } });
  expect(pair!.marks / pair!.sends).toBeCloseTo(1 + habits.read);
  expect(pair!.deliveries / pair!.sends).toBeCloseTo(2 * (1 + 1 + habits.read + habits.typingPerMessage));
  const { ruled, unruled } = marksPerMessage(20_000, 7, costs);
  expect(unruled).toBeGreaterThan(5 * ruled);
});
