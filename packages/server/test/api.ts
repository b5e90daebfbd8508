import type { ErrorBody, Message, MethodName, Params, Result } from '@kith/protocol';
import { setTimeout as pause } from 'node:timers/promises';

/** Answered, and with an error. */
export class Refused extends Error {
  readonly code: string;

  constructor(method: string, code: string) {
    super(`${method}: ${code}`);
    this.code = code;
  }
}

/** Calls a method over HTTP. @throws Refused; or whatever says that there was no answer */
export async function post<M extends MethodName>(url: string, method: M, params: Params<M>, token?: string): Promise<Result<M>> {
  const headers = { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const response = await fetch(`${url}/api/${method}`, { method: 'POST', headers, body: JSON.stringify(params) });
  const body = (await response.json()) as Result<M> & { error?: ErrorBody };
  if (!response.ok) throw new Refused(method, body.error?.code ?? String(response.status));
  return body;
}

/** A conversation from its first message to its last, as a fresh reader gets it. */
export async function readAll(url: string, conversationId: string, token: string): Promise<Message[]> {
  const found: Message[] = [];
  for (;;) {
    const { messages, after } = await post(url, 'message.history', { conversationId, after: found.at(-1)?.seq ?? 0, limit: 100 }, token);
    found.push(...messages);
    if (!after || messages.length === 0) return found;
  }
}

/** Asked again until it is answered: the server is away now and then. @throws Refused, for good */
export async function insist<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Refused && !['busy', 'storage_full', 'internal', 'rate_limited'].includes(error.code)) throw error;
      await pause(50);
    }
  }
}
