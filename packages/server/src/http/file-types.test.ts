import { expect, test } from 'vitest';
import { disposition } from './disposition.ts';
import { isShown, shownType } from './file-types.ts';

const head = (text: string): Uint8Array => Buffer.from(text.padEnd(64, '\0'), 'latin1');

test.each([
  ['\x89PNG\r\n\x1a\n', 'image/png'],
  ['\xff\xd8\xff\xe0..JFIF', 'image/jpeg'],
  ['GIF89a', 'image/gif'],
  ['GIF87a', 'image/gif'],
  ['RIFF\x24\0\0\0WEBPVP8 ', 'image/webp'],
  ['RIFF\x24\0\0\0WAVEfmt ', 'audio/wav'],
  ['\0\0\0\x1cftypavif', 'image/avif'],
  ['\0\0\0\x20ftypisom', 'video/mp4'],
  ['\0\0\0\x20ftypmp42', 'video/mp4'],
  ['\0\0\0\x20ftypM4A ', 'audio/mp4'],
  ['\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm', 'video/webm'],
  ['OggS\0', 'audio/ogg'],
  ['ID3\x04', 'audio/mpeg'],
  ['\xff\xfb\x90\x64', 'audio/mpeg'],
])('[FI12] what begins with %j is %s', (bytes, type) => {
  expect(shownType(head(bytes))).toBe(type);
  expect(isShown(type)).toBe(true);
});

test.each([
  ['<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">'],
  ['<?xml version="1.0"?><svg/>'],
  ['<!doctype html><script>'],
  ['%PDF-1.7'],
  ['PK\x03\x04'],
  ['CWS\x09'],
  ['\x1f\x8b\x08'],
  ['MZ\x90'],
  ['\xff\xfeh\0t\0m\0l\0'],
  ['\0\0\0\x20ftypheic'],
  ['\0\0\0\x20ftypqt  '],
  ['\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska'],
  ['BM\x36'],
  [' \x89PNG\r\n\x1a\n'],
  ['GIF88a'],
  [''],
])('[FI12] what begins with %j is shown nowhere', (bytes) => {
  expect(shownType(head(bytes))).toBeUndefined();
  expect(shownType(Buffer.from(bytes, 'latin1'))).toBeUndefined();
});

test.each([
  ['plain.txt', `attachment; filename="plain.txt"; filename*=UTF-8''plain.txt`],
  ['会议.pdf', `attachment; filename="__.pdf"; filename*=UTF-8''%E4%BC%9A%E8%AE%AE.pdf`],
  ['a"; filename=evil.exe; x="', `attachment; filename="a__ filename=evil.exe_ x=_"; filename*=UTF-8''a%22%3B%20filename%3Devil.exe%3B%20x%3D%22`],
  ["it's (1)*.txt", `attachment; filename="it's (1)*.txt"; filename*=UTF-8''it%27s%20%281%29%2A.txt`],
  ['cr\r\nlf', `attachment; filename="cr__lf"; filename*=UTF-8''cr%0D%0Alf`],
  ['half \ud800', `attachment; filename="half _"; filename*=UTF-8''half%20%EF%BF%BD`],
])('[FI13] %j is named in a header without a way out of it', (name, header) => {
  expect(disposition('attachment', name)).toBe(header);
  // oxlint-disable-next-line no-control-regex
  expect(header).not.toMatch(/[^\x20-\x7e]/);
});
