import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { loopTurn } from '../../test/manual-clock.ts';
import { Newcomers } from './newcomers.ts';

const request = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** An HTTP server, and in which turn of the loop it heard each request. */
async function listen(newcomers: Newcomers): Promise<{ server: Server; port: number; turns: number[] }> {
  const turns: number[] = [];
  let turn = 0;
  const over = new AbortController();
  const count = async (): Promise<void> => {
    for (; !over.signal.aborted; turn++) await loopTurn();
  };
  const server = createServer((_, response) => response.end('heard'));
  server.on('connection', (socket) => newcomers.come(socket));
  server.on('request', ({ socket }) => {
    newcomers.heard(socket);
    turns.push(turn);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  void count();
  onTestFinished(async () => {
    over.abort();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { server, port: (server.address() as AddressInfo).port, turns };
}

/** Clients that have connected and say nothing yet. */
async function comeTo(server: Server, port: number, count: number): Promise<Socket[]> {
  const there = Promise.withResolvers<void>();
  let left = count;
  const onConnection = (): void => (--left === 0 ? there.resolve() : undefined);
  server.on('connection', onConnection);
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'));
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
  await there.promise;
  server.off('connection', onConnection);
  return sockets;
}

const answered = async (socket: Socket): Promise<string> => String((await once(socket, 'data'))[0]);

test('[CO16] of many who ask in the same moment a few are heard in each turn of the loop, and all of them are', async () => {
  const newcomers = new Newcomers(5);
  const { server, port, turns } = await listen(newcomers);
  const sockets = await comeTo(server, port, 40);
  expect(newcomers.size).toBe(35);
  const answers = Promise.all(sockets.map(answered));
  // In one breath: this turn of the loop hears none of them.
  for (const socket of sockets) socket.write(request);
  for (const answer of await answers) expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  const inOneTurn = Map.groupBy(turns, (turn) => turn);
  expect(Math.max(...[...inOneTurn.values()].map((those) => those.length))).toBeLessThanOrEqual(10);
  expect(newcomers.size).toBe(0);
  // Whoever has asked once is known.
  for (const socket of sockets.slice(0, 3)) {
    const again = answered(socket);
    socket.write(request);
    expect(await again).toMatch(/^HTTP\/1\.1 200 /);
  }
});

test('[CO16] those who say nothing, or leave without a word, keep nobody out', async () => {
  const newcomers = new Newcomers(5);
  const { server, port } = await listen(newcomers);
  const silent = await comeTo(server, port, 23);
  const [last] = (await comeTo(server, port, 1)) as [Socket];
  const answer = answered(last);
  last.write(request);
  expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
  const late = answered(silent[20]!);
  silent.splice(0, 20).forEach((socket) => socket.destroy());
  silent[0]!.write(request);
  expect(await late).toMatch(/^HTTP\/1\.1 200 /);
  await expect.poll(() => newcomers.size).toBe(0);
});
