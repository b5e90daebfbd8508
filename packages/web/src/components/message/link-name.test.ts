import { linksIn, parseMarkup, plainText } from '@kith/protocol';
import { expect, test } from 'vitest';
import { destinationOf, disguisedDestination } from './link-name.ts';

test('[WB30] addresses become links without the punctuation around them', () => {
  expect(parseMarkup('see https://kith.example/a?b=1#c.')).toMatchObject([{ text: 'see ' }, { type: 'link', href: 'https://kith.example/a?b=1#c' }, { text: '.' }]);
  expect(linksIn('(https://kith.example/x)')).toEqual(['https://kith.example/x']);
  expect(linksIn('https://kith.example/wiki/A_(b)')).toEqual(['https://kith.example/wiki/A_(b)']);
  expect(linksIn('链接https://kith.example/路径，好的')).toEqual(['https://kith.example/路径']);
});

test('[WB31] nothing but http, https and mailto is ever a link, and no character is lost', () => {
  for (const text of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', '//kith.example', 'https://', 'plain']) expect([text, linksIn(text)]).toEqual([text, []]);
  for (const text of ['a https://x.example, b http://y.example) c', 'https://x.example', '<https://x.example>"https://y.example"']) expect(plainText(text)).toBe(text);
});

test('[CP1] a link says where it leads, and says so beside words that look like another address', () => {
  expect(destinationOf('https://kith.example:8443/a')).toBe('kith.example:8443');
  expect(destinationOf('mailto:ada@kith.example?subject=x')).toBe('ada@kith.example');
  // The first letter is Cyrillic.
  expect(destinationOf('https://аpple.example')).toBe('xn--pple-43d.example');
  expect(disguisedDestination('https://evil.example/x', 'https://bank.example')).toBe('evil.example');
  expect(disguisedDestination('https://evil.example/x', 'bank.example/login')).toBe('evil.example');
  expect(disguisedDestination('https://kith.example/x', 'www.kith.example/y')).toBeUndefined();
  expect(disguisedDestination('https://kith.example/x', 'our plan. Or not')).toBeUndefined();
});
