import { expect, test } from 'vitest';
import { completionAt } from './emoji-completion.ts';

const at = (text: string) => completionAt(text, text.length)?.query;

test('[CP5] a colon and two letters, or one Chinese one, begin an emoji', () => {
  expect(at(':smi')).toBe('smi');
  expect(at('so nice :hea')).toBe('hea');
  expect(at('（:smile')).toBe('smile');
  expect(at('好的:smile')).toBe('smile');
  expect(at('好 :笑')).toBe('笑');
  expect(at(':+1')).toBe('+1');
  expect(completionAt('a :smi b', 6)).toEqual({ from: 2, query: 'smi' });
});

test('[CP5] times, addresses, smileys of old and words behind a colon do not', () => {
  for (const text of ['12:30', 'https:', 'https://ki', 'note:this', '注意：笑', '时间:上午', ':p', ':D', ': smile', 'a::std', ':smile more', ':', ''])
    expect([text, at(text)]).toEqual([text, undefined]);
  expect(completionAt(':smile', 4)).toBeUndefined();
});
