import { describe, expect, test } from 'vitest';
import { timesInPlace } from '../chaos/mutations.ts';
import { planted } from '../chaos/planted.ts';

// They are run later and for long; where the code has changed, this says at once that one has to be planted anew.
describe('planted mistakes', () => {
  test.each(planted)('[R10] the place for $mistake is there once', ({ changes }) => {
    for (const change of changes) expect(timesInPlace(change), `${change.file}: ${change.from}`).toBe(1);
  });
});
