import { type FileRef, RequestError } from '@kith/protocol';
import type { Clock } from './clock.ts';
import { refusalIn } from './refusal.ts';
import { ConnectionError } from './requests.ts';

/** Milliseconds that one request may take: what is sent in one is so small that more means trouble. */
const requestMs = 30_000;

export interface FileRequest {
  method: 'GET' | 'HEAD' | 'PATCH' | 'DELETE';
  headers?: Record<string, string>;
  body?: Blob;
  signal?: AbortSignal | undefined;
}

/** Where files go up and come down: `/files` of the server, with the credentials of this client. */
export class FileDoor {
  readonly #url: string;
  readonly #token: string | undefined;
  readonly #fetch: typeof fetch;
  readonly #clock: Clock;

  constructor(options: { url: string; token: string | undefined; fetch: typeof fetch; clock: Clock }) {
    this.#url = options.url.replace(/\/+$/, '');
    this.#token = options.token;
    this.#fetch = options.fetch;
    this.#clock = options.clock;
  }

  urlOf({ id, name }: Pick<FileRef, 'id' | 'name'>, size?: string): string {
    return `${this.#url}/files/${id}/${encodeURIComponent(name)}${size === undefined ? '' : `?size=${size}`}`;
  }

  /** @throws RequestError the server refused; ConnectionError no answer; the reason of the signal */
  async get(url: string, signal: AbortSignal | undefined): Promise<Response> {
    return answered(await this.#ask(url, { method: 'GET', signal }));
  }

  /** One step of an upload by the tus protocol. `url` is that of its place. */
  async upload(url: string, { headers, signal, ...request }: FileRequest): Promise<Response> {
    const timeout = new AbortController();
    const timer = this.#clock.setTimeout(() => timeout.abort(new ConnectionError(`${request.method}: no answer within ${requestMs} ms.`, true)), requestMs);
    const onAbort = (): void => timeout.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort);
    try {
      signal?.throwIfAborted();
      const response = await this.#ask(this.#url + url, { ...request, headers: { 'tus-resumable': '1.0.0', ...headers }, signal: timeout.signal });
      return await answered(response);
    } finally {
      this.#clock.clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async #ask(url: string, { headers, ...request }: FileRequest): Promise<Response> {
    try {
      return await this.#fetch(url, {
        ...request,
        headers: { ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }), ...headers },
        credentials: 'same-origin',
      });
    } catch (error) {
      if (request.signal?.aborted) throw request.signal.reason;
      throw new ConnectionError(`${request.method} ${url}: ${error instanceof Error ? error.message : String(error)}`, true);
    }
  }
}

/** Somebody on the way, and not the server, takes no request of this size. */
export class TooLargeOnTheWay extends ConnectionError {}

async function answered(response: Response): Promise<Response> {
  if (response.ok) return response;
  const refusal = refusalIn(await response.json().catch(() => undefined));
  if (refusal) throw refusal;
  // Answers to HEAD have no body, and their status has to do.
  if (response.status === 404) throw new RequestError('not_found');
  if (response.status === 401) throw new RequestError('unauthenticated');
  const message = `The server answered ${response.status}.`;
  throw response.status === 413 ? new TooLargeOnTheWay(message, true) : new ConnectionError(message, true);
}
