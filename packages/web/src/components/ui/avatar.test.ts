import { expect, test } from 'vitest';
import { avatarLook, cutouts, initialOf, pictureOf, pictureSeed, randomSeeds } from './avatar.ts';

test('[WB32] a generated picture is the same on every device, for ever', () => {
  expect(Object.fromEntries(['lin', 'ada', 'noor', '妈妈', 'trip'].map((seed) => [seed, Object.values(avatarLook(seed)).join(' ')]))).toEqual({
    lin: '6 3 0',
    ada: '5 0 135',
    noor: '8 3 45',
    妈妈: '6 7 225',
    trip: '3 7 315',
  });
});

test('[WB33] pictures spread over all hues and cut-outs', () => {
  const looks = Array.from({ length: 2_000 }, (_, n) => avatarLook(`person-${n}`));
  for (let hue = 0; hue < 10; hue++) expect(looks.filter((look) => look.hue === hue).length).toBeGreaterThan(120);
  for (let cut = 0; cut < cutouts.length; cut++) expect(looks.filter((look) => look.cut === cut).length).toBeGreaterThan(160);
});

test('[WB34] the initial is the first letter of the name, whatever it is written in', () => {
  expect(['ada', ' 妈妈', '🎉 party', 'été', '👩‍👩‍👧', '3 号楼', ''].map(initialOf)).toEqual(['A', '妈', 'P', 'É', '', '3', '']);
});

test('[WB35] the six faces to choose from are ones that the server takes', () => {
  const seeds = randomSeeds();
  expect(new Set(seeds).size).toBe(6);
  for (const seed of seeds) expect(seed).toMatch(/^[A-Za-z0-9:_-]{8,64}$/);
});

test('[PG32] a seed may name an emoji, which the server takes; nothing but an emoji is drawn', () => {
  for (const emoji of ['🦊', '⚽', '🏡']) {
    expect(pictureSeed(emoji)).toMatch(/^[A-Za-z0-9:_-]{8,64}$/);
    expect(pictureOf(pictureSeed(emoji))).toBe(emoji);
  }
  for (const seed of ['emoji:41', 'emoji:202e', 'emoji:ffffff', 'emoji:', 'a1b2c3d4', '']) expect([seed, pictureOf(seed)]).toEqual([seed, undefined]);
});
