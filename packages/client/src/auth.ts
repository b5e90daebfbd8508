import type { Params, Result } from '@kith/protocol';
import { refusalIn } from './refusal.ts';
import { ConnectionError } from './requests.ts';

export type SignInMethod =
  | 'auth.register'
  | 'auth.login'
  | 'auth.factor'
  | 'passkey.challenge'
  | 'passkey.login'
  | 'auth.guest'
  | 'auth.exchange'
  | 'auth.restore'
  | 'auth.reset'
  | 'session.renew';

/**
 * Signs in over HTTP. Where `auth.login` is refused with `factor_required`, `auth.factor` takes the `extra.ticket` of that error.
 *
 * A browser on the server's own origin gets its session as a cookie; programs get a `token` for `new Client`.
 *
 * @param url  `http://host:port` of the server.
 * @throws RequestError what the server refused; ConnectionError no answer.
 */
export function signIn<M extends SignInMethod>(url: string, method: M, params: Params<M>, options: { fetch?: typeof fetch } = {}): Promise<Result<M>> {
  return post(url, method, params, options) as Promise<Result<M>>;
}

async function post(url: string, method: string, params: unknown, options: { fetch?: typeof fetch }): Promise<unknown> {
  let status: number;
  let body: unknown;
  try {
    const response = await (options.fetch ?? fetch)(`${url.replace(/\/+$/, '')}/api/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(params),
      credentials: 'same-origin',
    });
    status = response.status;
    body = await response.json();
  } catch (error) {
    throw new ConnectionError(`${method}: ${error instanceof Error ? error.message : String(error)}`, true);
  }
  if (status === 200) return body;
  throw refusalIn(body) ?? new ConnectionError(`${method}: answered ${status}`, true);
}
