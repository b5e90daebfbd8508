import { expect, test } from 'vitest';
import { find } from './search.ts';

test('[RE10] places are found by names, beginnings of words and initials, also of Chinese readings; the closest first', () => {
  const all = ['秋游计划', 'Noor Ali', 'Ana Noguera', 'Élodie', '王小明', 'The Knoll', 'Settings'];
  const found = (words: string): string[] => find(words, all, (one) => [one]);
  expect(found('no')).toEqual(['Noor Ali', 'Ana Noguera', 'The Knoll']);
  expect(found('na')).toEqual(['Noor Ali', 'Ana Noguera']);
  expect(found('elo')).toEqual(['Élodie']);
  expect(found('qy')).toEqual(['秋游计划']);
  expect(found('xm')).toEqual(['王小明']);
  expect(found('小明')).toEqual(['王小明']);
  expect(found('zzz')).toEqual([]);
  expect(find('@noor', [{ title: 'Cousin', also: ['Noor', 'noor'] }], ({ title, also }) => [title, ...also])).toHaveLength(1);
});
