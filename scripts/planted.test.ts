import { describe, expect, test } from 'vitest';
import { planted as ofChaos } from '../chaos/planted.ts';
import { timesInPlace } from '../packages/server/test/mutations.ts';
import { planted as ofTheServer } from '../packages/server/test/planted.ts';

// They are run later and for long; where the code has changed, this says at once that one has to be planted anew.
describe('planted mistakes', () => {
  test.each([...ofTheServer, ...ofChaos])('[R10] the place for $mistake is there once', ({ changes }) => {
    for (const change of changes) expect(timesInPlace(change), `${change.file}: ${change.from}`).toBe(1);
  });
});
