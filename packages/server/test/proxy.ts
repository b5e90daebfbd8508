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
  /** From now on everything takes so long on its way, in either direction. Milliseconds; 0: no longer than it does. */
  delay(ms: number): void;
  close(): Promise<void>;
}

/** @param target  The port on this machine, or wherever, asked anew for each connection. */
export async function openProxy(target: () => number | URL): Promise<Proxy> {
  const pairs = new Set<[Socket, Socket]>();
  let refusing = false;
  let stalled = false;
  let delayMs = 0;
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
      // In order, whatever becomes of the delay meanwhile.
      const onWay: Buffer[] = [];
      let ended = false;
      from.on('data', (chunk: Buffer) => {
        if (delayMs === 0 && onWay.length === 0) {
          to.write(chunk);
          return;
        }
        onWay.push(chunk);
        setTimeout(() => {
          to.write(onWay.shift()!);
          if (ended && onWay.length === 0) to.destroySoon();
        }, delayMs);
      });
      from.on('error', end);
      // What is on its way still arrives.
      from.on('end', () => {
        ended = true;
        if (onWay.length === 0) to.destroySoon();
      });
      from.on('close', () => {
        if (to.destroyed) pairs.delete(pair);
        else if (onWay.length === 0) to.destroySoon();
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
    delay: (ms) => void (delayMs = ms),
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
