import { expect, test } from 'vitest';
import { byLetter, initialsOf, isMeant, letterOf } from './letters.ts';

test('[WB36] Chinese names stand under the letter of their reading, others under their own', () => {
  expect(['周航', '陈思远', '妈妈', '林医生', '阿明', '王阿姨', '张', '谢', '楼', '吕', '若', '他', '麦', 'Ada', 'élan', '7 号', '🎉', ''].map(letterOf)).toEqual(
    ['Z', 'C', 'M', 'L', 'A', 'W', 'Z', 'X', 'L', 'L', 'R', 'T', 'M', 'A', 'E', '#', '#', ''].map((letter) => letter || '#'),
  );
});

test('[WB37] letters come in order, with # at the end', () => {
  expect(byLetter(['周航', 'Ada', '7', 'Zoe', '阿明'], (name) => name)).toEqual([
    { letter: 'A', all: expect.arrayContaining(['Ada', '阿明']) as string[] },
    { letter: 'Z', all: expect.arrayContaining(['周航', 'Zoe']) as string[] },
    { letter: '#', all: ['7'] },
  ]);
});

test('[PG30] people are found by any part of their names and by the first letters in a row', () => {
  expect(['周航', '陈思远', 'Ada Okafor', 'Élan 王', '7 号楼', '🎉'].map(initialsOf)).toEqual(['zh', 'csy', 'ao', 'ew', '7hl', '']);
  const noor = ['Upstairs', 'Noor Haddad', 'noor7'];
  for (const typed of ['ups', 'HADD', 'nh', '@noor', ' noor7 ', '']) expect([typed, isMeant(typed, noor)]).toEqual([typed, true]);
  for (const typed of ['hn', 'noah', 'zz']) expect([typed, isMeant(typed, noor)]).toEqual([typed, false]);
  expect(isMeant('csy', ['陈思远', null])).toBe(true);
});
