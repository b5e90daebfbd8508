import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';

/** A network between clients and a server, with the faults that networks have. */
export interface Proxy {
  /** Where clients connect to, whatever server is behind it. */
  url: string;
  port: number;
  /** Connections under way. */
  readonly count: number;
  /** Ends connections as a lost network does: without a word. All, or those chosen. */
  cut(choose?: (index: number) => boolean): void;
  /** Takes connections no more, or again. */
  refuse(on: boolean): void;
  /** Swallows everything in both directions while the connections stay open, or goes on where it stopped. */
  stall(on: boolean): void;
  close(): Promise<void>;
}

/** @param target  The port on this machine, or wherever, asked anew for each connection. */
export async function openProxy(target: () => number | URL): Promise<Proxy> {
  const pairs = new Set<[Socket, Socket]>();
  let refusing = false;
  let stalled = false;
  const server = createServer((near) => {
    if (refusing) {
      near.destroy();
      return;
    }
    const there = target();
    const far = typeof there === 'number' ? connect(there, '127.0.0.1') : connect(Number(there.port), there.hostname);
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const [from, to] of [pair, [far, near]] as const) {
      from.setNoDelay(true);
      from.on('data', (chunk) => to.write(chunk));
      from.on('error', end);
      // What is on its way still arrives.
      from.on('end', () => to.destroySoon());
      from.on('close', () => {
        if (to.destroyed) pairs.delete(pair);
        else to.destroySoon();
      });
      if (stalled) from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const cut = (choose: (index: number) => boolean = () => true): void => {
    for (const [index, [near, far]] of [...pairs].entries()) {
      if (!choose(index)) continue;
      near.destroy();
      far.destroy();
    }
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get count() {
      return pairs.size;
    },
    cut,
    refuse: (on) => void (refusing = on),
    stall(on) {
      stalled = on;
      for (const socket of [...pairs].flat()) {
        if (on) socket.pause();
        else socket.resume();
      }
    },
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
