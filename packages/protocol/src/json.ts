import { limits } from './limits.ts';
import { RequestError } from './codes.ts';

/**
 * Reads JSON from a stranger: at most `limits.jsonDepth` deep, every string well-formed Unicode.
 *
 * `JSON.parse` itself accepts nesting of any depth and lone surrogates written as escapes; both break later, in
 * `JSON.stringify` and in databases. The walk is iterative, so depth cannot exhaust the stack here.
 *
 * @throws bad_json
 */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestError('bad_json');
  }
  // Only what is written as an escape can be half of a pair in a text that is none, and who opens so few brackets cannot nest them deeper.
  if (!text.includes('\\') && text.isWellFormed() && opens(text) <= limits.jsonDepth) return value;
  const todo: { value: unknown; depth: number }[] = [{ value, depth: 1 }];
  for (let next = todo.pop(); next; next = todo.pop()) {
    if (typeof next.value === 'string') requireWellFormed(next.value);
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (next.depth > limits.jsonDepth) throw new RequestError('bad_json', { message: `JSON is nested more than ${limits.jsonDepth} deep.`, limit: 'jsonDepth' });
    for (const [key, inner] of Object.entries(next.value)) {
      requireWellFormed(key);
      if (typeof inner === 'string') requireWellFormed(inner);
      else if (typeof inner === 'object' && inner !== null) todo.push({ value: inner, depth: next.depth + 1 });
    }
  }
  return value;
}

/** Brackets of both kinds that are opened, those in strings too; no more are counted than matter. */
function opens(text: string): number {
  let count = 0;
  for (const bracket of '{[') for (let at = text.indexOf(bracket); at !== -1 && count <= limits.jsonDepth; at = text.indexOf(bracket, at + 1)) count++;
  return count;
}

function requireWellFormed(text: string): void {
  if (!text.isWellFormed()) throw new RequestError('bad_json', { message: 'Text contains half of a surrogate pair.' });
}
