import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { fastifyCookie } from '@fastify/cookie';
import { type Config, isLoopback } from '../config.ts';

/** What both doors, `/ws` and HTTP, ask of a request before anything else: for us? from our own pages? from whom? */
export interface Doorkeeper {
  /**
   * Scheme and host by which the peer called us; undefined when that is no name of ours (DNS rebinding, a wrong proxy):
   * answer 421. Ours are the host of the public URL, names of the machine itself, and without a public URL any address.
   */
  originOf(request: IncomingMessage): string | undefined;

  /** Does this request come from a page of ours, by its `Origin`? A missing one does not count. */
  isOwnPage(request: IncomingMessage): boolean;

  /** `Authorization: Bearer` wins over the cookie; whoever sends it is not a browser acting for somebody. */
  credentialOf(headers: IncomingHttpHeaders): Credential;

  /** The peer's address; what a trusted proxy says, where there is one. */
  addressOf(request: IncomingMessage): string;

  /** Are pages and cookies only ever sent over TLS? */
  secure: boolean;
  /** And those of every name below ours? */
  secureBelow: boolean;
  cookieName: string;
}

export type Credential =
  | { by: 'none' }
  /** Empty: the header is there, and is not a Bearer token. */
  | { by: 'bearer'; token: string }
  | { by: 'cookie'; token: string };

export function openDoorkeeper(config: Pick<Config, 'publicUrl' | 'trustProxy' | 'hstsSubdomains'>): Doorkeeper {
  const publicUrl = config.publicUrl === undefined ? undefined : new URL(config.publicUrl);
  const trusted = trustedProxies(config.trustProxy);
  const secure = publicUrl?.protocol === 'https:';
  const cookieName = secure ? '__Host-kith' : 'kith';

  const originOf = (request: IncomingMessage): string | undefined => {
    // Node keeps the first of two; the proxy before us may have believed the second.
    const [host, second] = request.headersDistinct['host'] ?? [];
    if (second !== undefined) return undefined;
    const url = host !== undefined && /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d{1,5})?$/i.test(host) ? URL.parse(`http://${host}`) : null;
    // The parser reads 0x7f.1 and 2130706433 as addresses. Whoever writes them so hides something.
    if (!url || !host!.toLowerCase().startsWith(url.hostname)) return undefined;
    if (publicUrl && URL.parse(`${publicUrl.protocol}//${host}`)?.host === publicUrl.host) return publicUrl.origin;
    if (isLoopback(url.hostname)) return url.origin;
    return publicUrl === undefined && isIP(url.hostname.replace(/^\[|\]$/g, '')) !== 0 ? url.origin : undefined;
  };

  return {
    originOf,
    isOwnPage(request) {
      const { origin } = request.headers;
      return origin !== undefined && (origin === originOf(request) || origin === publicUrl?.origin);
    },
    credentialOf(headers) {
      const { authorization, cookie } = headers;
      if (authorization !== undefined) return { by: 'bearer', token: /^Bearer ([A-Za-z0-9._~+/=-]{1,512})$/i.exec(authorization)?.[1] ?? '' };
      const token = cookie === undefined ? undefined : fastifyCookie.parse(cookie)[cookieName];
      return token === undefined || token === '' ? { by: 'none' } : { by: 'cookie', token };
    },
    addressOf(request) {
      const peer = plain(request.socket.remoteAddress ?? '');
      const forwarded = request.headers['x-forwarded-for'];
      if (!trusted || forwarded === undefined || !contains(trusted, peer)) return peer;
      // From the right: each proxy adds whom it saw, so the first that is no proxy of ours is the one to believe.
      const hops = String(forwarded)
        .split(',')
        .map((hop) => plain(hop.trim()));
      return hops.findLast((hop) => isIP(hop) !== 0 && !contains(trusted, hop)) ?? peer;
    },
    secure,
    secureBelow: secure && config.hstsSubdomains,
    cookieName,
  };
}

/** IPv4 as IPv4, also where the socket listens on both. */
const plain = (address: string): string => (address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address);

const contains = (list: BlockList, address: string): boolean => isIP(address) !== 0 && list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

function trustedProxies(given: string | undefined): BlockList | undefined {
  if (given === undefined) return undefined;
  const list = new BlockList();
  for (const part of given.split(',')) {
    const [address = '', bits] = part.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}
