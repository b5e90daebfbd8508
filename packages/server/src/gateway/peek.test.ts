import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { peek, rateOf } from './peek.ts';

describe('reading id and method without parsing', () => {
  test.each([
    ['{"id":"1","method":"message.send","params":{}}', '1', 'message.send'],
    ['{"method":"message.send","id":"1","params":{}}', '1', 'message.send'],
    ['  { "id" : "1" , "method" : "hello" }', '1', 'hello'],
    ['{"params":{},"id":"1","method":"hello"}', '1', 'hello'],
    ['{"id":"1","method":"a","params":{"text":"\\"method\\":\\"b\\""}}', '1', 'a'],
    ['{"id":"1","method":"a","params":{"method":"b"}}', '1', 'a'],
    ['{"id":"1","method":"a","method":"b"}', '1', 'b'],
    ['{"id":"1","method":"a","\\u006dethod":"b"}', '1', 'b'],
    ['{"id":"1","method":"a","id":"2"}', '2', 'a'],
    ['{"id":"1","\\u006dethod":"b"}', '1', 'b'],
    ['{"id":"\\n","method":"a"}', '\n', 'a'],
    ['{"id":1,"method":"a"}', '', 'a'],
    ['{"id":"1"}', '1', undefined],
    ['{"id":"1","method":["a"]}', '1', undefined],
    ['null', '', undefined],
    ['[]', '', undefined],
    ['nonsense', '', undefined],
    ['{"id":"1","method":"a"', '', undefined],
  ])('%s', (frame, id, method) => {
    expect(peek(frame)).toEqual({ id, method });
  });

  test('finds what parsing finds, in whatever order the keys come and however often', () => {
    const key = fc.constantFrom('id', 'method', 'params', 'x');
    const value = fc.constantFrom('"a"', '"b"', '1', '{}', '{"method":"c"}', '"\\"method\\":\\"d\\""', '"\\u006dethod"', '"é"', '["method"]');
    const spelled = (name: string): fc.Arbitrary<string> => fc.constantFrom(`"${name}"`, `"${name.replace('m', '\\u006d').replace('i', '\\u0069')}"`);
    const pair = key.chain((name) => fc.tuple(spelled(name), value).map(([left, right]) => `${left}:${right}`));
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 6 }), fc.constantFrom('', ' '), (pairs, space) => {
        const frame = `{${pairs.join(`${space},${space}`)}}`;
        const parsed = JSON.parse(frame) as { id?: unknown; method?: unknown };
        expect(peek(frame)).toEqual({
          id: typeof parsed.id === 'string' ? parsed.id : '',
          method: typeof parsed.method === 'string' ? parsed.method : undefined,
        });
      }),
      { numRuns: 5_000 },
    );
  });

  test('a method that does not exist costs as much as an ordinary command, whatever its name', () => {
    expect(rateOf('message.send')).toBe('send');
    expect(rateOf('stream.changes')).toBe('sync');
    for (const name of ['nothing', 'toString', '__proto__', 'constructor', '', undefined]) expect(rateOf(name)).toBe('command');
  });
});
