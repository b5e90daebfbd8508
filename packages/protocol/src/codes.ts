import type { Bound, SetBound } from './limits.ts';

/**
 * Error codes: lower_snake words with one fixed meaning. `retryable` says that the same request may succeed later
 * without the caller changing anything. `status` is what `POST /api` answers with.
 */
export const errorCodes = {
  bad_request: { status: 400, retryable: false, message: 'The request does not have the documented shape.' },
  bad_json: { status: 400, retryable: false, message: 'This is not the JSON we can read.' },
  unknown_method: { status: 404, retryable: false, message: 'There is no such method.' },
  unsupported: { status: 415, retryable: false, message: 'This kind of input is not supported.' },
  too_large: { status: 413, retryable: false, message: 'This is larger than allowed.' },
  too_many: { status: 409, retryable: false, message: 'A limit on the number of such things is reached.' },
  too_late: { status: 409, retryable: false, message: 'The time in which this could be done is over.' },
  unauthenticated: { status: 401, retryable: false, message: 'Sign in first.' },
  wrong_credentials: { status: 401, retryable: false, message: 'The name or the password is wrong.' },
  factor_missing: { status: 403, retryable: false, message: 'Operators of this server need a second factor for this.' },
  factor_required: { status: 401, retryable: false, message: 'The password alone is not enough: auth.factor, with this ticket.' },
  confirm_required: { status: 403, retryable: false, message: 'Show once more that it is you: auth.confirm.' },
  account_deleted: { status: 403, retryable: false, message: 'This account is deleted. It can be brought back.' },
  invite_required: { status: 403, retryable: false, message: 'This server is joined by invitation.' },
  forbidden: { status: 403, retryable: false, message: 'You may not do this.' },
  not_found: { status: 404, retryable: false, message: 'There is no such thing, or not for you.' },
  not_a_member: { status: 404, retryable: false, message: 'You are not in this conversation.' },
  not_friends: { status: 403, retryable: false, message: 'You two are not friends.' },
  handle_taken: { status: 409, retryable: false, message: 'Somebody has this user name already.' },
  name_taken: { status: 409, retryable: false, message: 'This name looks like that of an operator or of somebody who governs a group, or like the voice of the server.' },
  client_id_reused: { status: 409, retryable: false, message: 'This client id names another message.' },
  incomplete: { status: 409, retryable: false, message: 'The bytes are not all there, or not up to this place. HEAD says where to go on.' },
  checksum_mismatch: { status: 460, retryable: false, message: 'These are not the bytes of this SHA-256.' },
  quota_full: { status: 507, retryable: false, message: 'Your files take all the room that one person has here.' },
  rate_limited: { status: 429, retryable: true, message: 'Too many requests. Try again later.' },
  storage_full: { status: 507, retryable: true, message: 'The server has no room left.' },
  busy: { status: 503, retryable: true, message: 'The server is busy. Try again.' },
  internal: { status: 500, retryable: true, message: 'Something went wrong on our side.' },
} as const satisfies Record<string, { status: number; retryable: boolean; message: string }>;

export type ErrorCode = keyof typeof errorCodes;

/** Close codes. 4000 to 4499: reconnect. 4500 to 4999: do not, the reason must change first. */
export const closeCodes = {
  normal: { code: 1000, reconnect: false, meaning: 'The client said goodbye.' },
  protocol: { code: 1002, reconnect: false, meaning: 'The frames break RFC 6455.' },
  unsupported: { code: 1003, reconnect: false, meaning: 'Binary or empty frames are not part of this protocol.' },
  badText: { code: 1007, reconnect: false, meaning: 'A text frame is not UTF-8.' },
  policy: { code: 1008, reconnect: false, meaning: 'The connection kept breaking the rules of this page.' },
  tooLarge: { code: 1009, reconnect: false, meaning: 'A frame is larger than allowed.' },
  restarting: { code: 1012, reconnect: true, meaning: 'The server restarts; the reason gives a spread in milliseconds.' },
  tryLater: { code: 1013, reconnect: true, meaning: 'The server takes no connections now.' },
  heartbeatLost: { code: 4000, reconnect: true, meaning: 'A ping was not answered before the next one.' },
  helloLate: { code: 4001, reconnect: true, meaning: 'No hello within the deadline.' },
  aged: { code: 4002, reconnect: true, meaning: 'The connection lasted as long as any may: connect again at once.' },
  tooSlow: { code: 4008, reconnect: true, meaning: 'The connection did not keep up with what was sent to it.' },
  tooMany: { code: 4029, reconnect: true, meaning: 'Too many requests, pings or connections.' },
  sessionEnded: { code: 4500, reconnect: false, meaning: 'The session is over: sign in again.' },
  accountDisabled: { code: 4501, reconnect: false, meaning: 'An operator disabled the account.' },
  protocolVersion: { code: 4502, reconnect: false, meaning: 'This protocol version is not supported.' },
} as const satisfies Record<string, { code: number; reconnect: boolean; meaning: string }>;

export type CloseName = keyof typeof closeCodes;

/** What goes wrong with one request, as it stands in the `error` of a reply. */
export interface ErrorBody {
  code: ErrorCode;
  /** For people who debug; clients show their own text by `code`. */
  message: string;
  retryable: boolean;
  /** `bad_request`: the first offending field, `params.text` or `params.members.3`. */
  path?: string;
  /** `rate_limited`, `busy`: milliseconds to wait. */
  retryAfterMs?: number;
  /** `internal`: quote this to the operator. */
  id?: string;
  /** `factor_required`: what `auth.factor` needs. */
  ticket?: string;
}

/** The request cannot be done. Thrown by handlers, answered as an error reply; the connection lives. */
export class RequestError extends Error {
  readonly code: ErrorCode;
  /** The limit that was hit, if it was one: for the operator's counters; the answer says it in words. */
  readonly limit: Bound | SetBound | undefined;
  readonly extra: Partial<Pick<ErrorBody, 'path' | 'retryAfterMs' | 'id' | 'ticket'>>;
  constructor(code: ErrorCode, extra: { message?: string; limit?: Bound | SetBound | undefined } & RequestError['extra'] = {}) {
    const { message, limit, ...rest } = extra;
    super(message ?? errorCodes[code].message);
    this.name = 'RequestError';
    this.code = code;
    this.limit = limit;
    this.extra = rest;
  }
  get retryable(): boolean {
    return errorCodes[this.code].retryable;
  }
  toBody(): ErrorBody {
    return { code: this.code, message: this.message, retryable: this.retryable, ...this.extra };
  }
}

/** May a client connect again by itself after this close code? Unknown codes (a proxy's, the network's): yes. */
export function mayReconnect(code: number): boolean {
  if (code >= 4500 && code <= 4999) return false;
  for (const known of Object.values(closeCodes)) if (known.code === code) return known.reconnect;
  return true;
}
