import { isMethod, methods, type RateClass } from '@kith/protocol';

/** What the gateway must know of a request frame that only the core decodes. */
export interface Peeked {
  /** Empty when the frame has none that can be read. */
  id: string;
  method: string | undefined;
}

// How encoders write it and people type it: id and method first, in either order, without escapes.
const text = '"([^"\\\\\\u0000-\\u001f]{1,64})"';
const idFirst = new RegExp(`^\\s*\\{\\s*"id"\\s*:\\s*${text}\\s*,\\s*"method"\\s*:\\s*${text}\\s*[,}]`);
const methodFirst = new RegExp(`^\\s*\\{\\s*"method"\\s*:\\s*${text}\\s*,\\s*"id"\\s*:\\s*${text}\\s*[,}]`);
// An escaped ASCII letter: no encoder writes that, and it could spell a second key "method", which would win.
const escapedLetter = /\\u00[4-7]/i;

/**
 * Reads id and method without parsing the frame, so that nothing is parsed twice. It is exact: where a second look could
 * find another method, it does parse. Used to choose a bucket and to answer a refusal, never to decide who may do what.
 */
export function peek(frame: string): Peeked {
  const forward = idFirst.exec(frame);
  if (forward && isOnly(frame, forward[0].length)) return { id: forward[1]!, method: forward[2]! };
  const backward = methodFirst.exec(frame);
  if (backward && isOnly(frame, backward[0].length)) return { id: backward[2]!, method: backward[1]! };
  return parsed(frame);
}

/** Which bucket a method is taken from; what does not exist costs as much as an ordinary command. */
export const rateOf = (method: string | undefined): RateClass => (method !== undefined && isMethod(method) ? methods[method].rate : 'command');

// Inside a string a quote is escaped, so `"method"` with bare quotes is a key, or a value of its own.
const isOnly = (frame: string, from: number): boolean => !frame.includes('"method"', from) && !frame.includes('"id"', from) && !escapedLetter.test(frame);

function parsed(frame: string): Peeked {
  try {
    const value = JSON.parse(frame) as { id?: unknown; method?: unknown } | null;
    if (typeof value !== 'object' || value === null) return { id: '', method: undefined };
    const id = typeof value.id === 'string' && value.id.length <= 64 && value.id.isWellFormed() ? value.id : '';
    return { id, method: typeof value.method === 'string' ? value.method : undefined };
  } catch {
    return { id: '', method: undefined };
  }
}
