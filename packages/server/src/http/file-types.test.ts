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

/** What recorders write: the beginning of speech from Chromium in both containers, and films of the same form. */
const ebmlHead = '1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581021853806701ffffffffffffff1549a966992ad7b1830f42404d80864368726f6d655741864368726f6d65';
const opusTrack = 'aebdd7810173c587345170e9de3f4c8381028686415f4f50555363a2934f707573486561640101000080bb0000000000e18db584473b80009f810162648120';
const webm = (...tracks: string[]): string => ebmlHead + `1654ae6b${(0x80 + tracks.join('').length / 2).toString(16)}` + tracks.join('') + '1f43b67501ffffffffffffffe78100';
const box = (type: string, ...content: Buffer[]): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(8 + content.reduce((sum, { length }) => sum + length, 0));
  return Buffer.concat([size, Buffer.from(type, 'latin1'), ...content]);
};
const trak = (handler: string): Buffer =>
  box('trak', box('tkhd', Buffer.alloc(84)), box('mdia', box('mdhd', Buffer.alloc(24)), box('hdlr', Buffer.from(`\0\0\0\0\0\0\0\0${handler}`, 'latin1'), Buffer.alloc(13))));
const mp4 = (...handlers: string[]): Buffer =>
  Buffer.concat([box('ftyp', Buffer.from('iso5\0\0\x02\0iso6mp41', 'latin1')), box('moov', box('mvhd', Buffer.alloc(100)), ...handlers.map(trak)), box('moof', Buffer.alloc(500))]);
const film = 'ae86d78102838101';

test.each([
  ['speech in WebM', Buffer.from(webm(opusTrack), 'hex'), 'audio/webm'],
  ['a film in WebM', Buffer.from(webm(film, opusTrack), 'hex'), 'video/webm'],
  ['a film whose sound comes first in WebM', Buffer.from(webm(opusTrack, film), 'hex'), 'video/webm'],
  ['speech in WebM whose tracks are not all in the beginning', Buffer.from(webm(opusTrack), 'hex').subarray(0, 110), 'video/webm'],
  ['a WebM without tracks', Buffer.from(webm(), 'hex'), 'video/webm'],
  ['speech in MP4', mp4('soun'), 'audio/mp4'],
  ['a film in MP4', mp4('soun', 'vide'), 'video/mp4'],
  ['an MP4 that has something else beside its sound', mp4('soun', 'text'), 'video/mp4'],
  ['speech in MP4 whose tracks are not all in the beginning', mp4('soun').subarray(0, 120), 'video/mp4'],
  ['an MP4 without tracks', mp4(), 'video/mp4'],
])('[FI12] %s is told by its tracks', (_, bytes, type) => {
  expect(shownType(bytes)).toBe(type);
  // However much of it is there, it is read to the end and no further.
  for (let length = 0; length < bytes.length; length += 1)
    expect([undefined, 'audio/webm', 'video/webm', 'audio/mp4', 'video/mp4']).toContain(shownType(bytes.subarray(0, length)));
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
