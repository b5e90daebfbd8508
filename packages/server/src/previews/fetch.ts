import { type IncomingMessage, request } from 'node:http';
import { type Socket, isIP } from 'node:net';
import { Transform, pipeline } from 'node:stream';
import { connect as secure } from 'node:tls';
import { createGunzip } from 'node:zlib';
import { isPublicAddress, isSameAddress } from './addresses.ts';
import type { Network } from './network.ts';

/** The whole of what a stranger's server is asked: no cookie, no referrer, nothing of whoever reads it. */
const headers = {
  accept: 'text/html,application/xhtml+xml,image/avif,image/webp,image/png,image/jpeg,image/gif',
  'accept-encoding': 'gzip',
  'user-agent': 'Mozilla/5.0 (compatible; KithPreview/1; bot)',
  connection: 'close',
};
/** Redirects that are followed. */
const redirects = 3;
/** Bytes of a body that are read, of those that come and of those that are in them. */
const mostBytes = 1_048_576;
/** Addresses of one name that are tried. */
const attempts = 3;
/** Milliseconds for one of them where there is another. */
const attemptMs = 1_500;

export interface Fetching {
  network: Network;
  /** Names of this server itself. */
  ownHosts: string[];
  signal: AbortSignal;
}

/** It is not to be asked for, or not as we take it. People are never told why: it would be a way to look around in a network. */
export class Refused extends Error {}

export interface Found {
  /** Where it was in the end. */
  url: URL;
  /** `text/html` or `image/…`, small letters, without parameters. */
  type: string;
  /** As the header has it; may be empty. */
  charset: string;
  /** Unpacked; ends in an error where there are more than a mebibyte. */
  body: AsyncIterable<Buffer> & { destroy(): void };
}

/** Asks for what is there and goes where it is sent, with each of the looks that the first address gets. @throws */
export async function get(start: URL, types: RegExp, fetching: Fetching): Promise<Found> {
  let url = start;
  for (let left = redirects; ; left -= 1) {
    const response = await ask(url, fetching);
    const { statusCode = 0, headers: got } = response;
    try {
      if (statusCode === 200) return found(url, response, types);
      if (![301, 302, 303, 307, 308].includes(statusCode) || got.location === undefined) throw new Refused(`answered ${statusCode}`);
      if (left === 0) throw new Refused('redirected too often');
      const next = URL.parse(got.location, url.href);
      if (!next) throw new Refused('redirected to nowhere');
      if (url.protocol === 'https:' && next.protocol === 'http:') throw new Refused('redirected out of TLS');
      url = next;
    } catch (error) {
      response.destroy();
      throw error;
    }
    response.destroy();
  }
}

async function ask(url: URL, fetching: Fetching): Promise<IncomingMessage> {
  const socket = await open(url, fetching);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const asking = request({
    createConnection: () => socket,
    path: `${url.pathname}${url.search}`,
    headers: { host: url.host, ...headers },
    maxHeaderSize: 16_384,
    signal: fetching.signal,
  });
  asking.on('response', resolve).on('error', reject);
  // Nobody asked for that; it comes with the connection, which is ours to close then.
  asking.on('upgrade', () => {
    socket.destroy();
    reject(new Refused('answered with another protocol'));
  });
  asking.end();
  return within(fetching.signal, promise);
}

/** A connection to an address that was looked at, and to no other. */
async function open(url: URL, { network, ownHosts, signal }: Fetching): Promise<Socket> {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Refused('not of the web');
  if (url.username !== '' || url.password !== '') throw new Refused('names a user');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (!network.ports.includes(port)) throw new Refused('at an unusual port');
  const name = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (ownHosts.includes(name)) throw new Refused('this server itself');
  // Numbers are looked at like names: nobody is asked to look them up, so a guard that sits there never sees them.
  const addresses = isIP(name) === 0 ? await within(signal, network.resolve(name)) : [name];
  if (addresses.length === 0) throw new Refused('nobody');
  if (!addresses.every(isPublicAddress)) throw new Refused('not for everybody');
  const tried = addresses.slice(0, attempts);
  let problem: unknown;
  for (const [index, address] of tried.entries()) {
    try {
      const socket = await connected(network, address, port, signal, index < tried.length - 1);
      return url.protocol === 'https:' ? await secured(socket, name, network.ca) : socket;
    } catch (error) {
      if (signal.aborted || error instanceof Refused) throw error;
      problem = error;
    }
  }
  throw problem;
}

/** A name that is not answered holds a thread of the system; nobody waits for it. */
function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  return Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', stop));
}

function connected(network: Network, address: string, port: number, signal: AbortSignal, others: boolean): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = network.connect(address, port);
  const stop = (): void => void socket.destroy(signal.reason as Error);
  const late = others ? setTimeout(() => socket.destroy(new Error('no answer')), attemptMs) : undefined;
  signal.addEventListener('abort', stop, { once: true });
  // For as long as it is open: what is secured or read later ends with it.
  socket.on('error', reject);
  socket.once('close', () => {
    signal.removeEventListener('abort', stop);
    clearTimeout(late);
  });
  socket.once('connect', () => {
    clearTimeout(late);
    // Whatever is between here and there: it has not been asked for anything yet.
    const remote = network.remoteOf(socket);
    if (remote !== undefined && isSameAddress(remote, address)) resolve(socket);
    else socket.destroy(new Refused('connected to another address'));
  });
  return promise;
}

function secured(socket: Socket, name: string, ca: string | undefined): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  // A number is no name to ask for, but it is what the certificate has to be for.
  const over = secure({ socket, host: name, ...(isIP(name) === 0 && { servername: name }), ...(ca !== undefined && { ca }), ALPNProtocols: ['http/1.1'] }, () => resolve(over));
  over.on('error', reject);
  socket.once('close', () => over.destroy());
  return promise;
}

function found(url: URL, response: IncomingMessage, types: RegExp): Found {
  const { 'content-type': declared = '', 'content-encoding': encoding = 'identity' } = response.headers;
  const type = declared.split(';', 1)[0]!.trim().toLowerCase();
  if (!types.test(type)) throw new Refused('neither a page nor a picture');
  const charset = /;\s*charset\s*=\s*"?([^\s";]{1,40})/i.exec(declared)?.[1] ?? '';
  if (encoding.toLowerCase() === 'identity') return { url, type, charset, body: pipeline(response, bounded(), ended) };
  if (encoding.toLowerCase() !== 'gzip') throw new Refused('packed in an unknown way');
  return { url, type, charset, body: pipeline(response, bounded(), createGunzip({ chunkSize: 16_384 }), bounded(), ended) };
}

/** Whoever reads sees the error. */
const ended = (): void => {};

function bounded(): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > mostBytes) done(new Refused('too much'));
      else done(null, chunk);
    },
  });
}
