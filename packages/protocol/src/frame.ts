import * as z from 'zod/mini';
import { type ErrorBody, RequestError } from './codes.ts';
import type { Entity } from './entities.ts';
import { parseJson } from './json.ts';
import { namedLimit, units } from './length.ts';
import { type Bound, limits } from './limits.ts';
import { type MethodName, type Params, type SignalName, type SignalOf, methods } from './registry.ts';
import type { StreamId } from './streams.ts';

/** The envelopes of the wire. Client to server: `Request`. Server to client: the rest. */
export interface Request {
  id: string;
  method: string;
  params: unknown;
}
export interface Reply {
  id: string;
  result?: unknown;
  error?: ErrorBody;
}
export interface Push {
  stream: StreamId;
  version: number;
  entities: Entity[];
}
export type Signal = { [S in SignalName]: { signal: S; data: SignalOf<S> } }[SignalName];
export interface Heads {
  heads: Record<string, number>;
}
export type ServerFrame = Reply | Push | Signal | Heads;

const request = z.strictObject({
  id: z.string().check(units(1, 'requestId')),
  method: z.string().check(units(0, 'requestId')),
  params: z.optional(z.unknown()),
});

/** @throws bad_json, bad_request */
export function decodeRequest(text: string): Request {
  const { id, method, params } = parse(request, parseJson(text), '');
  return { id, method, params: params ?? {} };
}

/** @throws bad_request, with the path of the first offending field */
export function decodeParams<M extends MethodName>(method: M, params: unknown): Params<M> {
  return parse(methods[method].params, params, 'params') as Params<M>;
}

function parse<T extends z.ZodMiniType>(schema: T, value: unknown, root: string): z.infer<T> {
  const result = z.safeParse(schema, value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const at = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]!] : issue.path;
  const path = [root, ...at.map(String)].filter((part) => part !== '').join('.');
  const what = describe(issue);
  throw new RequestError('bad_request', { path: path.slice(0, 200), message: `${path.slice(0, 200) || 'The frame'}: ${what}`.slice(0, 300), limit: limitOf(issue) });
}

/** Which of our limits it is, if it is one. */
function limitOf(issue: z.core.$ZodIssue): Bound | undefined {
  const name: unknown = issue.code === 'custom' ? issue.params?.['limit'] : namedLimit.exec(issue.message)?.[1];
  return typeof name === 'string' && Object.hasOwn(limits, name) ? (name as Bound) : undefined;
}

/** In words, and without the offending value: it may be a password. */
function describe(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return 'unknown key';
    case 'invalid_type':
      return `must be ${issue.expected}`;
    case 'too_big':
      return `must be at most ${issue.maximum}${unit(issue.origin)}`;
    case 'too_small':
      return `must be at least ${issue.minimum}${unit(issue.origin)}`;
    case 'invalid_format':
      return 'has characters that are not allowed';
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'custom':
      return issue.message ?? 'is not allowed';
    default:
      return 'has the wrong shape';
  }
}

const unit = (origin: string): string => (origin === 'string' ? ' UTF-16 units' : origin === 'array' ? ' entries' : '');

/** What a client reads. The server is trusted to keep the shape; anything else is undefined. */
export function decodeServerFrame(text: string): ServerFrame | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}
