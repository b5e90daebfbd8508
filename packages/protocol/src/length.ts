import * as z from 'zod/mini';

/**
 * Bounds the length of a text in UTF-16 units, what `string.length` counts. The checks of zod count code points: an emoji
 * is one of those, and two to a dozen units.
 */
export function units(min: number, max: number): z.core.$ZodCheck<string> {
  const check = z.check<string>(({ value, issues }) => {
    if (value.length > max) issues.push({ code: 'too_big', origin: 'string', maximum: max, inclusive: true, input: value });
    else if (value.length < min) issues.push({ code: 'too_small', origin: 'string', minimum: min, inclusive: true, input: value });
  });
  // For the generated reference, as the checks of zod do it.
  const { _zod: inside } = check;
  inside.onattach.push(({ _zod: { bag } }) => Object.assign(bag, { ...(min > 0 && { minimum: min }), maximum: max }));
  return check;
}
