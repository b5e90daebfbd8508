import { expect, test } from 'vitest';
import { mixesScripts } from './mixed-scripts.ts';

test('[PG31] a word of letters of several alphabets that look alike is marked, a name in two languages is not', () => {
  for (const name of ['Аda Okafor', 'Nоor', 'Ροse', 'Lin Аdmin']) expect([name, mixesScripts(name)]).toEqual([name, true]);
  for (const name of ['Ada Okafor', 'Ада', 'Ада Ada', 'Mei 美', 'Yukiゆき', 'Élan', 'Ρόδα', 'A1-б', '']) expect([name, mixesScripts(name)]).toEqual([name, false]);
});
