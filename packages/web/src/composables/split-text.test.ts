import fc from 'fast-check';
import { expect, test } from 'vitest';
import { splitText } from './split-text.ts';

const family = '👨‍👩‍👧‍👦';

test('[CP30] a long text is parted where it pauses: between paragraphs, lines, sentences, words', () => {
  expect(splitText('short', 100)).toEqual(['short']);
  expect(splitText(`${'a'.repeat(60)}\n\n${'b'.repeat(30)}\nc`, 80)).toEqual(['a'.repeat(60), `${'b'.repeat(30)}\nc`]);
  expect(splitText('one two. three four five', 16)).toEqual(['one two. three', 'four five']);
  expect(splitText(`${'第一句话很长。'.repeat(3)}第二句`, 16)).toEqual(['第一句话很长。第一句话很长。', '第一句话很长。第二句']);
});

test('[CP30] nothing but space is lost, no part is too long or empty, and no character is cut in two', () => {
  const words = fc.array(fc.constantFrom('a', 'word', '字', family, ' ', '\n', '\n\n', '. ', '。', 'é'), { maxLength: 200 }).map((all) => all.join(''));
  fc.assert(
    fc.property(words, fc.integer({ min: 30, max: 60 }), (text, limit) => {
      const parts = splitText(text, limit);
      expect(parts.join('').replace(/\s/g, '')).toBe(text.replace(/\s/g, ''));
      for (const part of parts) {
        expect(part.length).toBeLessThanOrEqual(limit);
        expect(part.trim()).not.toBe('');
        expect(part.replaceAll(family, '')).not.toMatch(/\u200d/);
      }
    }),
  );
});
