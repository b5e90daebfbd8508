import { expect, test } from 'vitest';
import { cleanFileName } from './file-name.ts';

test.each([
  ['../../etc/passwd', 'passwd'],
  ['..\\..\\windows\\win.ini', 'win.ini'],
  ['/absolute/name.txt', 'name.txt'],
  ['..', 'file'],
  ['/', 'file'],
  ['   ', 'file'],
  ['a\r\nSet-Cookie: x=1', 'a Set-Cookie_ x=1'],
  ['nul\0l.txt', 'null.txt'],
  ['photo\u202egnp.exe', 'photognp.exe'],
  ['zero\u200bwidth\u{e0041}.txt', 'zerowidth.txt'],
  ['-rf .txt', 'rf .txt'],
  ['.bashrc', 'bashrc'],
  ['trailing. . .', 'trailing'],
  ['CON', '_CON'],
  ['con.txt', '_con.txt'],
  ['COM1.log', '_COM1.log'],
  ['console.txt', 'console.txt'],
  ['a<b>:"c|?*%41.txt', 'a_b___c____41.txt'],
  ['half \ud800 pair', 'half \ufffd pair'],
  ['会议记录（终稿）.docx', '会议记录（终稿）.docx'],
  ['e\u0301te\u0301.pdf', 'été.pdf'],
  ['👩‍👩‍👧 family.jpg', '👩👩👧 family.jpg'],
  [`${'文'.repeat(100)}.pdf`, `${'文'.repeat(100)}.pdf`],
])('[FI13] %j becomes %j', (given, name) => {
  expect(cleanFileName(given)).toBe(name);
  expect(cleanFileName(name)).toBe(name);
});
