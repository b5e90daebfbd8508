import * as z from 'zod/mini';
import { type Bound, limits } from './limits.ts';

// Bounds of fields, by the name of their limit, which the error then knows.

/** How a check says in its message which limit it is; `frame.ts` reads it. */
export const namedLimit = /^limit:(\w+)$/;
const named = (bound: Bound): string => `limit:${bound}`;

/**
 * Bounds the length of a text in UTF-16 units, what `string.length` counts. The checks of zod count code points: an emoji
 * is one of those, and two to a dozen units.
 */
export function units(least: number | Bound, most: Bound): z.core.$ZodCheck<string> {
  const min = typeof least === 'number' ? least : limits[least];
  const max = limits[most];
  const check = z.check<string>(({ value, issues }) => {
    if (value.length > max) issues.push({ code: 'too_big', origin: 'string', maximum: max, inclusive: true, input: value, message: named(most) });
    else if (value.length < min)
      issues.push({ code: 'too_small', origin: 'string', minimum: min, inclusive: true, input: value, ...(typeof least === 'string' && { message: named(least) }) });
  });
  // For the generated reference, as the checks of zod do it.
  const { _zod: inside } = check;
  inside.onattach.push(({ _zod: { bag } }) => Object.assign(bag, { ...(min > 0 && { minimum: min }), maximum: max }));
  return check;
}

export const atMost = (bound: Bound) => z.maximum(limits[bound], named(bound));
export const entriesUpTo = (bound: Bound) => z.maxLength(limits[bound], named(bound));
