import { type MethodName, methods } from '@kith/protocol';
import { handMade } from '../packages/server/test/raw-socket.ts';

// What hostile peers send, by chance and without end: parameters made from the schema of their method, then bent, then
// broken; and bytes that are no request at all. The same seed makes the same inputs.

/** What a zod schema says of itself. */
interface Described {
  def: { type: string; shape?: Record<string, Described>; innerType?: Described; options?: Described[]; element?: Described; entries?: Record<string, string> };
  _zod: { bag: { maximum?: number; minimum?: number } };
}

/** Ids that lead somewhere, by the name of the field they go into. */
export type Known = Record<string, string[]>;

export interface Luck {
  random(): number;
  below(n: number): number;
  chance(p: number): boolean;
  pick<T>(from: readonly T[]): T;
}

export function luckFrom(random: () => number): Luck {
  const below = (n: number): number => Math.floor(random() * n);
  return { random, below, chance: (p) => random() < p, pick: (from) => from[below(from.length)]! };
}

/** Not `hello`: a second one ends the connection, and that is tried by those who have not said it yet. */
const callable = (Object.keys(methods) as MethodName[]).filter((method) => method !== 'hello');

const letters = [
  'a',
  'Z',
  '0',
  '-',
  '_',
  '.',
  ' ',
  '\n',
  '\t',
  'é',
  'e\u0301',
  '字',
  'ע',
  '🍁',
  '👩‍👩‍👧',
  '\u202e',
  '\u200b',
  '\u0000',
  '\u0085',
  '\uffff',
  '"',
  '\\',
  "'",
  '%',
  '<',
  '&',
  '`',
  '*',
  '|',
  '=',
];
const hostile: ((luck: Luck) => unknown)[] = [
  () => null,
  ({ chance }) => chance(0.5),
  ({ below }) => below(10) - 5,
  ({ pick }) => pick([0, -0, 1.5, -1, 1e308, 2 ** 53, -(2 ** 53), 2 ** 31, 2 ** 32, Number.MIN_VALUE]),
  () => '',
  () => [],
  () => ({}),
  ({ pick }) => pick(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', 'null', 'undefined', 'NaN', 'true']),
  ({ pick }) =>
    pick([
      "'; drop table users; --",
      '" or ""="',
      '../../etc/passwd',
      '..\\..\\x',
      '%00',
      '%2e%2e%2f',
      '${7*7}',
      '{{7*7}}',
      '$ne',
      '\u001b[31m',
      'a\r\nSet-Cookie: x=1',
      '*',
      'a AND',
      'col:x',
      '-x',
    ]),
  ({ pick }) => ({ [pick(['$ne', '$gt', 'length', '__proto__', 'then', 'toJSON'])]: 1 }),
  (luck) => textOf(luck, luck.below(60)),
  ({ pick, below }) => pick(['a', '字', '🍁', 'e\u0301', '\u0301', '<b>', '[', '`', '>', '\ufdfa']).repeat(1 + below(4_000)),
  ({ below, pick }) => Array.from({ length: below(300) }, () => pick([null, 1, 'x', [], {}])),
  ({ below }) => nest(below(40)),
];

function nest(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

const textOf = ({ pick }: Luck, units: number): string => Array.from({ length: units }, () => pick(letters)).join('');
const idOf = ({ below }: Luck): string => Array.from({ length: 1 + below(30) }, () => 'abcdefghijklmnopqrstuvwxyz0123456789-'[below(37)]).join('');

/** A value that the schema may take; by the name of its field, one that leads somewhere. */
function valid(schema: Described, key: string, known: Known, luck: Luck): unknown {
  const {
    def: { type, shape, innerType, options, element, entries },
    _zod: {
      bag: { maximum = 20, minimum = 0 },
    },
  } = schema;
  switch (type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(shape!).flatMap(([name, field]) => (field.def.type === 'optional' && luck.chance(0.6) ? [] : [[name, valid(field, name, known, luck)]])),
      );
    case 'optional':
      return valid(innerType!, key, known, luck);
    case 'nullable':
      return luck.chance(0.2) ? null : valid(innerType!, key, known, luck);
    case 'array':
      return Array.from({ length: luck.pick([0, 1, 1, 1, 2, 3, 10]) }, () => valid(element!, key, known, luck));
    case 'union':
      return valid(luck.pick(options!), key, known, luck);
    case 'enum':
      return luck.pick(Object.values(entries!));
    case 'boolean':
      return luck.chance(0.5);
    case 'number':
    case 'int':
      return luck.chance(0.3) ? luck.pick([minimum, Math.min(maximum, Number.MAX_SAFE_INTEGER)]) : minimum + luck.below(Math.min(maximum - minimum, 60) + 1);
    case 'string': {
      const there = known[key];
      if (there && luck.chance(0.9)) return luck.pick(there);
      return luck.chance(0.7) ? idOf(luck) : textOf(luck, luck.below(Math.min(maximum, 300)));
    }
    default:
      return null;
  }
}

/** One place of a value is something else than it was. */
function bend(value: unknown, luck: Luck): unknown {
  if (typeof value !== 'object' || value === null || luck.chance(0.05)) return luck.pick(hostile)(luck);
  if (Array.isArray(value)) return value.length === 0 || luck.chance(0.2) ? luck.pick(hostile)(luck) : value.map((one, at) => (at === 0 ? bend(one, luck) : (one as unknown)));
  const entries = Object.entries(value);
  const at = luck.below(entries.length + 1);
  if (at === entries.length) return { ...value, [luck.pick(['senderId', 'role', 'version', 'seq', 'constructor', '', 'x'])]: luck.pick(hostile)(luck) };
  if (luck.chance(0.15)) return Object.fromEntries(entries.filter((_, index) => index !== at));
  return Object.fromEntries(entries.map(([key, one], index) => [key, index === at ? bend(one, luck) : (one as unknown)]));
}

/** Text that was JSON, with a piece taken out, put in, doubled or turned. */
function garble(text: string, luck: Luck): string {
  let given = text;
  for (let times = 1 + luck.below(3); times > 0; times -= 1) {
    const at = luck.below(given.length + 1);
    const [before, after] = [given.slice(0, at), given.slice(at)];
    given = luck.pick([
      () => before,
      () => before + after.slice(1 + luck.below(8)),
      () =>
        before +
        luck.pick([
          '"',
          '{',
          '}',
          '[',
          ']',
          ',',
          ':',
          '\\',
          '\\ud800',
          '\\u0000',
          '1e999',
          '9'.repeat(400),
          '-',
          'NaN',
          '//',
          '\u0000',
          '\ufeff',
          'null',
          '{"a":'.repeat(2_000),
          '['.repeat(9_000),
        ]) +
        after,
      () => before + after.slice(0, 40) + after,
      () => after + before,
      () => before.toUpperCase() + after,
    ])();
  }
  // An empty frame is none of JSON, and ends the connection.
  return given.slice(0, 60_000) || '{';
}

export interface Input {
  method: string;
  /** What goes into a frame, or into the body of `POST /api`. */
  params: string;
  /** The frame, where it is not just those two and an id. */
  frame?: string;
}

/** @param id  Of the request, where one can be read. */
export function inputFrom(luck: Luck, known: Known, id: string): Input & { frame: string } {
  const method = luck.pick(callable);
  const good = valid(methods[method].params, '', known, luck);
  const params = JSON.stringify(luck.chance(0.45) ? bend(luck.chance(0.2) ? bend(good, luck) : good, luck) : good);
  const name = luck.chance(0.02) ? String(luck.pick(hostile)(luck)) : method;
  const frame = `{"id":"${id}","method":${JSON.stringify(name)},"params":${params}}`;
  if (frame.length > 60_000) return inputFrom(luck, known, id);
  return { method: name, params, frame: luck.chance(0.12) ? garble(frame, luck) : frame };
}

/** Bytes behind a handshake that no client library would send: frames that are none, none that are whole, none at all. */
export function bytesFrom(luck: Luck, known: Known): Buffer {
  const text = inputFrom(luck, known, 'raw').frame;
  const frame = (): Buffer =>
    handMade({
      fin: luck.chance(0.8),
      rsv: luck.chance(0.8) ? 0 : luck.below(8),
      opcode: luck.chance(0.6) ? 1 : luck.below(16),
      payload: luck.chance(0.7) ? text.slice(0, luck.pick([0, 20, 125, 126, 4_000])) : Buffer.from(Array.from({ length: luck.below(200) }, () => luck.below(256))),
      masked: luck.chance(0.9),
      ...(luck.chance(0.1) && { declared: luck.pick([0n, 1n, 65_536n, 65_537n, 2n ** 53n, 2n ** 63n]), lengthBytes: 8 as const }),
    });
  const bytes = Buffer.concat(Array.from({ length: 1 + luck.below(4) }, frame));
  return luck.chance(0.2) ? bytes.subarray(0, luck.below(bytes.length + 1)) : bytes;
}

/** A request of HTTP that is none of ours, or nearly one. Always whole, so that an answer is due. */
export function httpFrom(luck: Luck, host: string): string {
  const path = luck.pick([
    '/',
    '/api/',
    '/api/session.list',
    '/api/%',
    '/files/x/y',
    '/files/%2e%2e%2f',
    '/avatars/x/64',
    '/ws',
    '/assets/',
    '/.git/config',
    '/healthz',
    '//',
    '/api/__proto__',
    `/${'a'.repeat(luck.below(9_000))}`,
  ]);
  const line = `${luck.pick(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'BREW', 'get'])} ${path} HTTP/${luck.pick(['1.1', '1.1', '1.1', '1.0', '2.0', '9'])}`;
  const headers = [
    `Host: ${luck.pick([host, host, host, 'evil.example', '', 'a'.repeat(300)])}`,
    ...Array.from({ length: luck.below(6) }, () =>
      luck.pick([
        'Content-Length: 2',
        'Content-Length: -1',
        'Content-Length: 99999999999999999999',
        'Transfer-Encoding: chunked',
        'Transfer-Encoding: xchunked',
        'Content-Type: application/json',
        'Content-Encoding: gzip',
        'Upgrade: websocket',
        'Upgrade: h2c',
        'Expect: 100-continue',
        'Range: bytes=0-,1-,2-',
        'Authorization: Bearer x',
        `Cookie: kith=${'x'.repeat(luck.below(4_000))}`,
        'Origin: null',
        'Sec-Fetch-Site: cross-site',
        'X-Forwarded-For: 127.0.0.1',
        'X: \u0001',
        ' folded: yes',
        `Y: ${'y'.repeat(luck.below(20_000))}`,
      ]),
    ),
    'Connection: close',
  ];
  return `${[line, ...headers].join('\r\n')}\r\n\r\n${luck.pick(['', '{}', '2\r\n{}\r\n0\r\n\r\n', '{}GET / HTTP/1.1\r\n\r\n'])}`;
}
