import { type MethodName, type Params, type Reply, RequestError, type Result } from '@kith/protocol';
import type { Clock } from './clock.ts';

/** No answer: the connection was lost or too slow. If `sent`, nobody knows whether the request was carried out. */
export class ConnectionError extends Error {
  readonly sent: boolean;
  constructor(message: string, sent: boolean) {
    super(message);
    this.name = 'ConnectionError';
    this.sent = sent;
  }
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
  timer: unknown;
}

/** The requests of one connection that wait for their replies. */
export class Requests {
  readonly #clock: Clock;
  readonly #send: (text: string) => void;
  readonly #waiting = new Map<string, Waiting>();
  #last = 0;
  #closed = false;

  constructor(clock: Clock, send: (text: string) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /** @throws RequestError the server refused; ConnectionError nobody knows. */
  call<M extends MethodName>(method: M, params: Params<M>, timeoutMs: number): Promise<Result<M>> {
    if (this.#closed) return Promise.reject(new ConnectionError('The connection is closed.', false));
    const id = String(++this.#last);
    return new Promise<Result<M>>((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => {
        this.#waiting.delete(id);
        reject(new ConnectionError(`${method}: no answer within ${timeoutMs} ms.`, true));
      }, timeoutMs);
      this.#waiting.set(id, { resolve: resolve, reject, timer });
      this.#send(JSON.stringify({ id, method, params }));
    });
  }

  onReply(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id);
    if (!waiting) return;
    this.#waiting.delete(reply.id);
    this.#clock.clearTimeout(waiting.timer);
    if (reply.error) {
      const { code, message, retryable: _, ...extra } = reply.error;
      waiting.reject(new RequestError(code, { message, ...extra }));
    } else waiting.resolve(reply.result);
  }

  /** The connection is gone: every answer that was due will never come. */
  close(): void {
    this.#closed = true;
    for (const { reject, timer } of this.#waiting.values()) {
      this.#clock.clearTimeout(timer);
      reject(new ConnectionError('The connection was lost.', true));
    }
    this.#waiting.clear();
  }
}
