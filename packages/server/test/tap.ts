import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';

/** A way to a server on which every byte is kept that came from there: frames, headers and bodies alike. */
export interface Tap {
  port: number;
  url: string;
  /** All that came so far, of all connections. */
  bytes(): Buffer;
  close(): void;
}

export async function openTap(target: () => number): Promise<Tap> {
  const chunks: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target(), '127.0.0.1');
    far.on('data', (chunk) => chunks.push(chunk));
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    bytes: () => Buffer.concat(chunks),
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
