/** The push services of the browsers there are: Chrome and its kin, Firefox, Edge, Safari. */
const known = ['fcm.googleapis.com', 'push.services.mozilla.com', 'notify.windows.com', 'push.apple.com'];

/**
 * May this server send to that address? A browser names it, so a person can name any: only these services, or what the
 * operator added, are ever called, and never an address inside the operator's own network.
 *
 * @param more  `KITH_PUSH_HOSTS`.
 */
export function isPushEndpoint(endpoint: string, more = ''): boolean {
  const url = URL.parse(endpoint);
  if (!url || url.username !== '' || url.password !== '') return false;
  const given = more === '' ? [] : more.split(',');
  if (given.includes(url.origin)) return true;
  if (url.protocol !== 'https:' || url.port !== '') return false;
  return [...known, ...given].some((host) => url.hostname === host || url.hostname.endsWith(`.${host}`));
}

export interface PushAnswer {
  /** HTTP status; null: none came. */
  status: number | null;
  /** Certainly not taken: it may be sent again without being seen twice. */
  refused: boolean;
  /** Milliseconds after which it may be tried again, as far as the service said. */
  retryAfterMs: number | undefined;
}

/** Of a connection that never was. */
const unreachable = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

/** Sends one push. Follows no redirect and reads nothing of the body: the status says all. Never rejects. */
export async function postPush(
  endpoint: string,
  { headers, body }: { headers: Record<string, string>; body: Buffer },
  { signal, withinMs }: { signal: AbortSignal; withinMs: number },
): Promise<PushAnswer> {
  try {
    const until = AbortSignal.any([signal, AbortSignal.timeout(withinMs)]);
    const response = await fetch(endpoint, { method: 'POST', headers, body: new Uint8Array(body), redirect: 'manual', signal: until });
    await response.body?.cancel();
    return { status: response.status, refused: !response.ok, retryAfterMs: retryAfter(response.headers.get('retry-after'), Date.now()) };
  } catch (error) {
    const code = ((error as Error).cause as { code?: string } | undefined)?.code ?? '';
    return { status: null, refused: unreachable.has(code), retryAfterMs: undefined };
  }
}

/** `Retry-After`: seconds, or a date. */
export function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1_000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
