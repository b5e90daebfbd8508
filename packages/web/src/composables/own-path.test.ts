import { expect, test } from 'vitest';
import { ownPath } from './own-path.ts';

const ours = 'https://kith.test';

test('[SC8] a link that says where to go leads to a path of ours and nowhere else', () => {
  for (const path of ['/', '/c/01J', '/settings/devices?a=b#c', '/c/01J?next=//evil.test']) expect(ownPath(path, ours)).toBe(path);
  const lures = [
    '//evil.test/',
    '///evil.test',
    String.raw`/\evil.test`,
    String.raw`\evil.test`,
    '/\t/evil.test',
    '\t//evil.test',
    'javascript:alert(1)',
    'data:text/html,x',
    'https://evil.test/',
    'evil.test',
    '//kith.test:8443/',
    '',
    undefined,
    ['/c/01J', '//evil.test'],
  ];
  for (const lure of lures) expect([lure, ownPath(lure, ours)]).toEqual([lure, '/']);
  // A path that could be read as a host by the next one who resolves it is none.
  expect(ownPath('/.//evil.test', ours)).toBe('/evil.test');
});
