import * as z from 'zod/mini';
import { atMost, units } from './length.ts';
import { type Bound, limits } from './limits.ts';
import { isBodyText, isNameText, normalizeName, pilesMarks } from './text.ts';

/** Who may call a method before its own rules are asked. */
export type Access = 'public' | 'session' | 'operator';

/** Which token bucket a call is taken from. */
export type RateClass = 'command' | 'send' | 'sync' | 'fleeting' | 'search';

export interface Method<P extends z.ZodMiniType = z.ZodMiniType, R extends z.ZodMiniType = z.ZodMiniType> {
  summary: string;
  params: P;
  result: R;
  access: Access;
  /** Does a successful call change what is stored and synced? Then the laws are tested on it. */
  durable: boolean;
  rate: RateClass;
  /** Only for who has just shown who they are: else `confirm_required`, until `auth.confirm`. */
  sensitive: boolean;
}

/** Declares one method. Defaults: signed-in callers, not durable, from the bucket of ordinary commands. */
export function method<P extends z.ZodMiniType, R extends z.ZodMiniType>(
  summary: string,
  params: P,
  result: R,
  options: { access?: Access; durable?: boolean; rate?: RateClass; sensitive?: boolean } = {},
): Method<P, R> {
  return { summary, params, result, access: 'session', durable: false, rate: 'command', sensitive: false, ...options };
}

// ── Fields that several features use ────────────────────────────────────────────────────────────────────────────────

const token = (min: number | Bound, max: Bound, pattern: RegExp) => z.string().check(units(min, max), z.regex(pattern));

/** Ids are made by the server: opaque text to everybody else. */
export const id = token(1, 'id', /^[A-Za-z0-9-]+$/);
export const clientId = token('clientIdMin', 'clientIdMax', /^[A-Za-z0-9_-]+$/);
export const streamId = z.string().check(z.regex(/^(?:conversation|user):[A-Za-z0-9-]{1,64}$/));
/** Position of a message in its conversation: 1, 2, 3 … */
export const seq = z.int().check(z.minimum(0));
export const version = z.int().check(z.minimum(0));
/** Milliseconds since 1970, by the server's clock. */
export const time = z.int().check(z.minimum(0));
export const handle = token('handleMin', 'handleMax', /^[a-z0-9_.-]+$/);
export const password = z.string().check(units('passwordMin', 'passwordMax'));
/** Where a password is only compared, any length is a wrong password, not a wrong shape; the bound keeps hashing cheap. */
export const anyPassword = z.string().check(units(1, 'passwordMax'));
/** `file:<id>` of an uploaded picture, at `/avatars/<id>/<64|192|512>`; anything else is what one is drawn from. Empty: drawn from the id. */
export const avatar = token(0, 'avatar', /^[A-Za-z0-9:_-]*$/);
export const invite = z.string().check(units(0, 'invite'));

const marks = z.refine<string>((text) => !pilesMarks(text), { error: `has more than ${limits.combiningMarks} marks on one character`, params: { limit: 'combiningMarks' } });
/** Taken as it will be stored, and measured like that: normalised, a text has more or fewer units. */
const nameOf = (max: Bound, min = 1) =>
  z.string().check(
    marks,
    z.refine((text) => (min === 0 && text === '') || isNameText(text), { error: 'not a name that can be shown', abort: true }),
    z.overwrite(normalizeName),
    units(min, max),
  );
const bodyOf = (max: Bound, min = 0) => z.string().check(units(min, max), marks, z.refine(isBodyText, { error: 'contains characters that are not text' }));

export const name = nameOf('name');
export const title = nameOf('title');
export const bio = bodyOf('bio');
export const note = bodyOf('note');
export const remark = nameOf('remark', 0);
export const device = bodyOf('device');
export const draftText = bodyOf('messageText');
/** Only beside a file may it be empty. */
export const messageText = bodyOf('messageText');
export const pageLimit = z.optional(z.int().check(z.minimum(1), atMost('historyPage')));
export const nothing = z.strictObject({});
