import { type IncomingHttpHeaders, type RequestListener, createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, type Server, createServer as createListener } from 'node:net';
import type { TestNetwork } from '../src/previews/network.ts';

/** A piece of the web on this machine: sites under public addresses, and a listener that nobody may come to. */
export interface Web {
  /** For the server under test: its whole internet. */
  network: TestNetwork;
  /** What was asked for, in order. */
  asked: { url: string; headers: IncomingHttpHeaders }[];
  /** What a site answers, by host and path; anything else is 404. A text is a page. */
  pages: Record<string, string | RequestListener>;
  /** Where every address leads that is none of the sites'. `reached` counts connections. */
  canary: { reached: number };
  close(): Promise<void>;
}

/** Addresses that are somebody's, and here nobody's but ours. */
export const plainSite = '8.8.8.1';
export const otherSite = '8.8.8.2';
export const secureSite = '8.8.8.3';
export const farSite = '2a00:1450::1';

export async function openWeb(): Promise<Web> {
  const asked: Web['asked'] = [];
  const pages: Web['pages'] = {};
  const answer =
    (scheme: string): RequestListener =>
    (request, response) => {
      const url = `${scheme}//${request.headers.host}${request.url}`;
      asked.push({ url, headers: request.headers });
      const page = pages[`${request.headers.host}${request.url}`];
      if (typeof page === 'function') page(request, response);
      else if (page === undefined) response.writeHead(404).end();
      else response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
    };
  // One for each address: by its port it is known.
  const plain = [plainSite, otherSite, farSite].map(() => createServer(answer('http:')));
  const secure = createSecureServer({ key, cert }, answer('https:'));
  const canary = { reached: 0 };
  const listener = createListener((socket) => {
    canary.reached += 1;
    socket.on('error', () => {}).end('HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<title>secret</title>');
  });
  const servers: Server[] = [...plain, secure, listener];
  const [plainPort, otherPort, farPort] = await Promise.all(plain.map((server) => listen(server)));
  const securePort = await listen(secure);
  const canaryPort = await listen(listener);
  return {
    network: {
      names: {
        'site.test': [[plainSite]],
        'other.test': [[otherSite]],
        'secure.test': [[secureSite]],
        'far.test': [[farSite]],
        localhost: [['127.0.0.1']],
      },
      listening: { [plainSite]: plainPort!, [otherSite]: otherPort!, [farSite]: farPort!, [secureSite]: securePort },
      elsewhere: canaryPort,
      astray: {},
      ca: cert,
    },
    asked,
    pages,
    canary,
    async close() {
      for (const server of [...plain, secure]) server.closeAllConnections();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** For secure.test and 8.8.8.3, until 2120; nothing but these tests knows or believes it. */
const cert = `-----BEGIN CERTIFICATE-----
MIIBfDCCASKgAwIBAgIUA7WbI3qEPRasV11OVpcV9ke+4PowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJa2l0aC10ZXN0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlraXRoLXRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQq/jn9eUWbeJNWzQEsfonMOAbG81r3UCr9Dsz2dzVTVvhHEdeloPsr
/oJ9tOBSgNFE3XPwPlg1zGSd9YNCwfUYo1AwTjAcBgNVHREEFTATggtzZWN1cmUu
dGVzdIcECAgIAzAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBTHMmvgnwUy8T/J
DWqn8gUmIPjPQTAKBggqhkjOPQQDAgNIADBFAiBz0futDjVMVQCl0Nb+g2+zQ8yq
cWlKMAcTc2SY9QgVnwIhAI3bTAD1xXL/sMiMSqeX2DtUvV/Rf3c8XZOX/orSBwqb
-----END CERTIFICATE-----`;
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLBaObNBtzpNLr8Hc
vdWGz9NpEjFl8nHV08U0IIUso02hRANCAAQq/jn9eUWbeJNWzQEsfonMOAbG81r3
UCr9Dsz2dzVTVvhHEdeloPsr/oJ9tOBSgNFE3XPwPlg1zGSd9YNCwfUY
-----END PRIVATE KEY-----`;
