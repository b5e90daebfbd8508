import * as z from 'zod/mini';
import { limits } from './limits.ts';
import { isBodyText, isNameText } from './text.ts';

/** Who may call a method before its own rules are asked. */
export type Access = 'public' | 'session' | 'operator';

/** Which token bucket a call is taken from. */
export type RateClass = 'command' | 'send' | 'sync' | 'fleeting';

export interface Method<P extends z.ZodMiniType = z.ZodMiniType, R extends z.ZodMiniType = z.ZodMiniType> {
  summary: string;
  params: P;
  result: R;
  access: Access;
  /** Does a successful call change what is stored and synced? Then the laws are tested on it. */
  durable: boolean;
  rate: RateClass;
}

/** Declares one method. Defaults: signed-in callers, not durable, from the bucket of ordinary commands. */
export function method<P extends z.ZodMiniType, R extends z.ZodMiniType>(
  summary: string,
  params: P,
  result: R,
  options: { access?: Access; durable?: boolean; rate?: RateClass } = {},
): Method<P, R> {
  return { summary, params, result, access: 'session', durable: false, rate: 'command', ...options };
}

// ── Fields that several features use ────────────────────────────────────────────────────────────────────────────────

const matches = (pattern: RegExp) => z.regex(pattern);

/** Ids are made by the server: opaque text to everybody else. */
export const id = z.string().check(matches(/^[A-Za-z0-9-]{1,64}$/));
export const clientId = z.string().check(matches(/^[A-Za-z0-9_-]{8,64}$/));
export const streamId = z.string().check(matches(/^(?:conversation|user):[A-Za-z0-9-]{1,64}$/));
/** Position of a message in its conversation: 1, 2, 3 … */
export const seq = z.int().check(z.minimum(0));
export const version = z.int().check(z.minimum(0));
/** Milliseconds since 1970, by the server's clock. */
export const time = z.int().check(z.minimum(0));
export const handle = z.string().check(matches(/^[a-z0-9_.-]{2,32}$/));
export const password = z.string().check(z.minLength(limits.passwordMin), z.maxLength(limits.passwordMax));
/** Where a password is only compared, any length is a wrong password, not a wrong shape; the bound keeps hashing cheap. */
export const anyPassword = z.string().check(z.minLength(1), z.maxLength(limits.passwordMax));
/** What the generated picture is drawn from, or later the id of an uploaded one. Empty: drawn from the id. */
export const avatar = z.string().check(matches(/^[A-Za-z0-9:_-]{0,64}$/));

const nameOf = (max: number) => z.string().check(z.minLength(1), z.maxLength(max), z.refine(isNameText, { error: 'not a name that can be shown' }));
const bodyOf = (max: number, min = 0) => z.string().check(z.minLength(min), z.maxLength(max), z.refine(isBodyText, { error: 'contains characters that are not text' }));

export const name = nameOf(limits.name);
export const title = nameOf(limits.title);
export const bio = bodyOf(limits.bio);
export const note = bodyOf(limits.note);
export const remark = z.union([z.literal(''), nameOf(limits.remark)]);
export const device = bodyOf(limits.device);
export const draftText = bodyOf(limits.messageText);
export const messageText = bodyOf(limits.messageText, 1);
export const pageLimit = z.optional(z.int().check(z.minimum(1), z.maximum(limits.historyPage)));
export const nothing = z.strictObject({});
