import type { IncomingMessage } from 'node:http';
import { RequestError } from '@kith/protocol';
import type { Core, Identity } from '../core/core.ts';
import type { Doorkeeper } from './origin.ts';

/**
 * Who asks for something to be done. `undefined`: nobody signed in.
 *
 * @throws unauthenticated for a token that is not valid
 * @throws forbidden for another site that lets a browser ask
 */
export async function identifyActor(core: Core, doorkeeper: Doorkeeper, request: IncomingMessage): Promise<Identity | undefined> {
  const credential = doorkeeper.credentialOf(request.headers);
  if (credential.by === 'bearer') return requireValid(await core.authenticate(credential.token));
  // From here on a browser may be acting for somebody: signing in and out included, only our own pages may.
  const foreign = request.headers.origin === undefined ? credential.by === 'cookie' : !doorkeeper.isOwnPage(request);
  if (foreign || isCrossSite(request)) throw new RequestError('forbidden', { message: 'Only pages of this server may do this with a cookie.' });
  return credential.by === 'cookie' ? core.authenticate(credential.token) : undefined;
}

/**
 * Who asks to see something: browsers send no `Origin` for a picture or a link of one's own page.
 *
 * @throws unauthenticated
 * @throws forbidden for a page of another site that wants it in itself; a link there may be followed
 */
export async function identifyReader(core: Core, doorkeeper: Doorkeeper, request: IncomingMessage): Promise<Identity> {
  const credential = doorkeeper.credentialOf(request.headers);
  if (credential.by === 'bearer') return requireValid(await core.authenticate(credential.token));
  if (isCrossSite(request) && request.headers['sec-fetch-dest'] !== 'document') throw new RequestError('forbidden', { message: 'Only pages of this server may show this.' });
  const identity = credential.by === 'cookie' ? await core.authenticate(credential.token) : undefined;
  if (!identity) throw new RequestError('unauthenticated');
  return identity;
}

function requireValid(identity: Identity | undefined): Identity {
  if (!identity) throw new RequestError('unauthenticated', { message: 'The token is not valid.' });
  return identity;
}

/** Does a page of another site let a browser ask? */
export const isCrossSite = (request: IncomingMessage): boolean => {
  const site = request.headers['sec-fetch-site'];
  return site !== undefined && site !== 'same-origin' && site !== 'none';
};
