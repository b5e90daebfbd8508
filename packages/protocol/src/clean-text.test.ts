import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cleanBodyText, isBodyText } from './index.ts';

test('[CP31] any text can be made into one that the server takes, and that is then left as it is', () => {
  const hostile = fc.array(fc.constantFrom('a', '\u0000', '\u001b', '\r\n', '\r', '\t', '\n', '\u200b', '\ufeff', '\ud800', '\udc00', '\u0301', '字', '🏽'), { maxLength: 60 });
  fc.assert(
    fc.property(
      hostile.map((all) => all.join('')),
      (text) => {
        const clean = cleanBodyText(text);
        expect(isBodyText(clean)).toBe(true);
        expect(cleanBodyText(clean)).toBe(clean);
      },
    ),
  );
});

test('[CP31] words, emoji and scripts that need joiners stay as they are', () => {
  for (const text of ['two\nlines\tand a tab', '👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈', 'می‌خواهم', 'क्‍ष', '\u200fשלום', 'Zoë']) expect(cleanBodyText(text)).toBe(text);
  expect(cleanBodyText('a\r\nb\rc')).toBe('a\nb\nc');
  expect(cleanBodyText('pass\u200bword\ufeff\u0007')).toBe('password');
});
