import { type ErrorBody, RequestError, errorCodes } from '@kith/protocol';

/** What an answer over HTTP refused. @param body  As it was parsed. @returns undefined where it does not come from a Kith server */
export function refusalIn(body: unknown): RequestError | undefined {
  const error = (body as { error?: ErrorBody } | null | undefined)?.error;
  if (!error || !(error.code in errorCodes)) return undefined;
  const { code, message, retryable: _, ...extra } = error;
  return new RequestError(code, { message, ...extra });
}
