import { expect, test } from 'vitest';
import { Few } from './few.ts';

test('a few is a set, however many there are', () => {
  const [few, set] = [new Few<string>(), new Set<string>()];
  const names = 'abcdefghijklmnx'.split('');
  // There and back over the size at which it becomes one.
  const steps = ['+abcdbefghijklaklmn', '-xabnmlkjihgfedcb', '+aba'].flatMap(([sign, ...each]) => each.map((name) => [sign, name] as const));
  for (const [sign, name] of steps) {
    const did = [few, set].map((one) => (sign === '+' ? void one.add(name) : one.delete(name)));
    expect(did[0]).toBe(did[1]);
    expect({ size: few.size, all: [...few], has: names.filter((other) => few.has(other)) }).toEqual({
      size: set.size,
      all: [...set],
      has: names.filter((other) => set.has(other)),
    });
  }
});

test('who walks over a few may take the one that is there out of it', () => {
  for (const names of ['a', 'abc', 'abcdefghijkl']) {
    const few = new Few<string>();
    for (const name of names) few.add(name);
    let walked = '';
    for (const name of few) {
      walked += name;
      few.delete(name);
    }
    expect(walked).toBe(names);
    expect(few.size).toBe(0);
  }
});
