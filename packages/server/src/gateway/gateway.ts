import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { limits } from '@kith/protocol';
import { WebSocketServer } from 'ws';
import type { Broker } from '../broker/broker.ts';
import type { Config } from '../config.ts';
import type { Core, Identity } from '../core/core.ts';
import type { Doorkeeper } from '../http/origin.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Clock } from './clock.ts';
import { type Around, Connection, type Peer } from './connection.ts';
import { Hub } from './hub.ts';
import { Line } from './line.ts';
import { Newcomers } from './newcomers.ts';
import { Writer } from './send-queue.ts';
import { furthestBehind } from './shedding.ts';
import type { Recent } from './recent.ts';
import { Slices } from './slices.ts';
import { Strangers } from './strangers.ts';

export interface Gateway {
  /** Says goodbye to everybody, who then come back: what they hold may not be so any more. From then on nothing of before is followed. */
  sendAway(): void;
  /** Takes no more connections, answers what is in flight, says goodbye to everybody; those who do not go are let go. */
  drain(withinMs: number): Promise<void>;
  /** Ends everything at once. */
  close(): void;
}

interface Parts {
  server: Server;
  core: Core;
  broker: Broker;
  config: Pick<Config, 'heartbeatMs' | 'maxConnections' | 'rateLimits'>;
  doorkeeper: Doorkeeper;
  clock: Clock;
  metrics: Metrics;
  log: Log;
  /** Is told of what others have published, too. */
  recent?: Recent;
}

/** Turns of the timer in one heartbeat: each pings its share of the connections, so that they do not all answer at once. */
const turnsPerHeartbeat = 25;
/** Milliseconds between looks at deadlines and at the memory of all queues. */
const lookMs = 1_000;
/** Milliseconds between two words to the database that this node is there. */
const beatMs = 5_000;
/** Milliseconds between two comparisons of heads while not everything that other nodes publish comes here. */
const pollMs = 3_000;
/** Connections looked at in one turn of the loop, or little more. */
const looksPerTurn = 500;
/** Bytes queued towards all connections together; beyond, those who are furthest behind go. */
const outboundBytesOfAll = 256 * 1_048_576;
/** Milliseconds that a peer gets to answer a close frame. */
const closeMs = 2_000;
/** Milliseconds over which the clients of a stopping server are asked to come back, for each connection, and at most. */
const spread = { perConnectionMs: 2, leastMs: 500, mostMs: 20_000 };

/** Multiples of it fill 0 to 1 evenly, however many there are: those who came in one second do not all have to come again in one. */
const goldenRatio = (Math.sqrt(5) - 1) / 2;

/** Opens `GET /ws` on the server. */
export function openGateway({ server, core, broker, config, doorkeeper, clock, metrics, log, recent }: Parts): Gateway {
  const hub = new Hub(broker, metrics, log, (streams) => core.heads(streams), recent);
  const writer = new Writer();
  const strangers = new Strangers(clock.now());
  /** Handshakes that came at once. */
  const arrivals = new Slices();
  /** Connections whose peers left at once. */
  const departures = new Slices(1);
  const unknown = new Set<Connection>();
  /** All connections, each in one of these. */
  const slots = Array.from({ length: turnsPerHeartbeat }, () => new Set<Connection>());
  let connected = 0;
  /** Those that are saying goodbye, too. */
  const lines = new Set<Line>();
  let onLastClosed = (): void => {};
  let nextSlot = 0;
  let draining = false;

  // Every limit has its name here: the defaults of ws are 100 MiB a message, 16,384 fragments and 30 s for a goodbye.
  const options = {
    noServer: true,
    // `lines` does the same without a listener of its own for each; and pings are answered where they are counted.
    clientTracking: false,
    autoPong: false,
    WebSocket: Line,
    perMessageDeflate: false,
    maxPayload: limits.frameBytes,
    maxFragments: 64,
    maxBufferedChunks: 1_024,
    closeTimeout: closeMs,
  };
  const sockets = new WebSocketServer(options);

  const around: Around = {
    core,
    hub,
    writer,
    departures,
    clock,
    metrics,
    log,
    limited: config.rateLimits,
    onKnown(connection) {
      if (unknown.delete(connection)) strangers.leave(connection.ip);
    },
    onGone(connection) {
      around.onKnown(connection);
      if (!connection.slot?.delete(connection)) return;
      connection.slot = undefined;
      metrics.connections.set(--connected);
    },
    onClosed(line) {
      if (lines.delete(line) && lines.size === 0) onLastClosed();
    },
  };

  function* connections(): Iterable<Connection> {
    for (const slot of slots) yield* slot;
  }

  const newcomers = new Newcomers();
  const onConnection = (socket: Socket): void => newcomers.come(socket);
  const onRequest = ({ socket }: IncomingMessage): void => newcomers.heard(socket);

  // ── The handshake ─────────────────────────────────────────────────────────────────────────────────────────────────

  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    onRequest(request);
    // From here on nobody but us listens: a reset during the handshake would otherwise end the process.
    socket.on('error', destroy);
    // Those that wait count, so that they cannot be more than there may be connections.
    if (connected + arrivals.size >= config.maxConnections) {
      metrics.limitHit('connections-total');
      return refuse(socket, { status: 503, says: 'No more connections.', retryAfterS: 5 });
    }
    arrivals.do(() => {
      if (socket.destroyed) return;
      if (draining) return refuse(socket, stopping);
      shakeHands(request, socket, head);
    });
  };

  const shakeHands = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const refusal = refusalOf(request);
    if (refusal) return refuse(socket, refusal);
    const ip = doorkeeper.addressOf(request);
    const credential = doorkeeper.credentialOf(request.headers);
    if (credential.by === 'cookie' && !doorkeeper.isOwnPage(request)) return refuse(socket, { status: 403, says: 'Connections with a cookie come from our own pages only.' });
    const over = config.rateLimits ? strangers.enter(ip, clock.now()) : undefined;
    if (over) {
      metrics.limitHit(over);
      return refuse(socket, { status: over.endsWith('address') ? 429 : 503, says: 'Too many new connections.', retryAfterS: 2 });
    }
    let entered = config.rateLimits;
    const leave = (): void => {
      if (entered) strangers.leave(ip);
      entered = false;
    };
    const accept = (identity: Identity | undefined): void => {
      // While the token was looked up, they may have gone, or we may have begun to.
      if (socket.destroyed || draining) {
        leave();
        return draining ? refuse(socket, stopping) : undefined;
      }
      const peer: Peer = { ip, origin: doorkeeper.originOf(request), device: deviceOf(request), identity, cookie: credential.by === 'cookie' ? credential.token : undefined };
      let upgraded = false;
      sockets.handleUpgrade(request, socket, head, (ws) => {
        upgraded = true;
        // From here on ws listens for errors of the socket.
        socket.off('error', destroy);
        const connection = new Connection(ws, socket, peer, around, (nextSlot * goldenRatio) % 1);
        lines.add(ws);
        if (entered) unknown.add(connection);
        connection.slot = slots[nextSlot++ % turnsPerHeartbeat]!;
        connection.slot.add(connection);
        metrics.connections.set(++connected);
      });
      if (!upgraded) leave();
    };
    if (credential.by !== 'bearer') return accept(undefined);
    core.authenticate(credential.token).then(
      (identity) => {
        if (identity) return accept(identity);
        leave();
        refuse(socket, { status: 401, says: 'The token is not valid.' });
      },
      (error: unknown) => {
        leave();
        log.error({ err: error }, 'could not check a token');
        refuse(socket, { status: 503, says: 'Try again.', retryAfterS: 2 });
      },
    );
  };

  const refusalOf = (request: IncomingMessage): Refusal | undefined => {
    const { url = '', headers, method } = request;
    // Addresses end in logs and histories, of ours and of every proxy: a token there is refused even if it is valid.
    if (url.startsWith('/ws?')) return { status: 400, says: 'No query here: send the token in a header or in the hello frame.' };
    if (url !== '/ws') return { status: 404, says: 'Connect to /ws.' };
    if (method !== 'GET') return { status: 405, says: 'Connect with GET.' };
    if (request.httpVersion !== '1.1' || headers.upgrade?.toLowerCase() !== 'websocket') return { status: 400, says: 'This is no WebSocket handshake.' };
    if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) return { status: 400, says: 'A handshake has no body.' };
    if (headers['sec-websocket-version'] !== '13') return { status: 426, says: 'Only version 13.' };
    if (doorkeeper.originOf(request) === undefined) return { status: 421, says: 'This server does not go by that name.' };
    return undefined;
  };

  const refuse = (socket: Duplex, { status, says, retryAfterS }: Refusal): void => {
    metrics.handshakesRefused.inc({ status });
    if (!socket.writable) return void socket.destroy();
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'Connection: close',
      'Content-Type: text/plain',
      'X-Content-Type-Options: nosniff',
      `Content-Length: ${says.length}`,
    ];
    if (status === 426) head.push('Upgrade: websocket', 'Sec-WebSocket-Version: 13');
    if (retryAfterS !== undefined) head.push(`Retry-After: ${retryAfterS}`);
    socket.once('finish', () => socket.destroy());
    socket.end(`${head.join('\r\n')}\r\n\r\n${says}`);
  };

  // ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  const turnMs = config.heartbeatMs / turnsPerHeartbeat;
  let turns = 0;
  let expected = clock.now() + turnMs;
  let lookedAt = clock.now();
  let sweeping = false;
  let sweepAgain = false;
  let others: string[] = [];
  let beating = false;
  let sweptAt = clock.now();

  const turn = (): void => {
    const late = clock.now() - expected;
    expected = clock.now() + turnMs;
    if (late > 50) metrics.stallSeconds.inc(late / 1_000);
    // Slots are counted in turns, not in time: between a ping and its verdict this loop has always been round as often,
    // and has read the pong, however long it stood still.
    for (const connection of slots[turns % turnsPerHeartbeat]!) connection.beat();
    if (++turns % turnsPerHeartbeat === 0) sweep();
    const now = clock.now();
    if (now - lookedAt < lookMs) return;
    lookedAt = now;
    if (now - sweptAt >= pollMs && (hub.isDoubtful || !broker.reaches(others))) sweep(true);
    // Deadlines are in time, and timers run before sockets are read. After a stall of our own, what came meanwhile would
    // be read one moment too late for its sender; so the verdict waits until the loop has been round.
    setImmediate(() => look(now, 0, 0));
  };

  /** Looks at all connections, some in each turn of the loop: together they would take longer than others should wait. */
  const look = (now: number, slot: number, queued: number): void => {
    let looked = 0;
    for (; slot < slots.length && looked < looksPerTurn; slot++) {
      for (const connection of slots[slot]!) {
        connection.checkDeadlines(now);
        queued += connection.backlog;
        looked++;
      }
    }
    if (slot < slots.length) setImmediate(() => look(now, slot, queued));
    else if (queued > outboundBytesOfAll) shed();
  };

  const sweep = (lossy?: boolean): void => {
    if (sweeping || draining) return;
    sweeping = true;
    sweepAgain = false;
    sweptAt = clock.now();
    hub
      .sweep(lossy)
      .catch((error: unknown) => log.warn({ err: error }, 'could not compare heads'))
      .then(() => core.sweepSessions())
      .catch((error: unknown) => log.warn({ err: error }, 'could not end sessions that are over'))
      .finally(() => {
        sweeping = false;
        if (sweepAgain) sweep(true);
      });
  };

  const onInterrupted = (): void => {
    hub.distrust();
    // One that is under way may have been past what was lost.
    if (sweeping) sweepAgain = true;
    else sweep(true);
  };

  const shed = (): void => {
    for (const connection of furthestBehind([...connections()], outboundBytesOfAll)) {
      metrics.limitHit('outbound-total');
      connection.close('tooSlow');
    }
  };

  const allClosed = (withinMs: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(deadline);
        resolve();
      };
      const deadline = setTimeout(done, withinMs);
      onLastClosed = () => setImmediate(done);
      if (lines.size === 0) done();
    });

  const beat = (): void => {
    if (beating || draining) return;
    beating = true;
    core
      .beat()
      .then((nodes) => (others = nodes))
      .catch((error: unknown) => log.warn({ err: error }, 'could not say that this node is there'))
      .finally(() => (beating = false));
  };

  const timer = clock.every(turnMs, turn);
  const pulse = clock.every(beatMs, beat);
  beat();
  broker.onInterrupted(onInterrupted);
  server.on('upgrade', onUpgrade);
  server.on('connection', onConnection);
  server.on('request', onRequest);

  const close = (): void => {
    draining = true;
    timer.stop();
    pulse.stop();
    for (const connection of [...connections()]) connection.terminate();
    for (const line of lines) line.terminate();
  };

  const spreadMs = (): string => String(Math.min(spread.mostMs, Math.max(spread.leastMs, connected * spread.perConnectionMs)));

  return {
    sendAway() {
      const ms = spreadMs();
      for (const connection of [...connections()]) connection.close('restarting', ms);
    },
    async drain(withinMs) {
      draining = true;
      const ms = spreadMs();
      for (const connection of [...connections()]) connection.drain('restarting', ms);
      await allClosed(withinMs);
      close();
    },
    close,
  };
}

interface Refusal {
  status: number;
  says: string;
  retryAfterS?: number;
}

const stopping: Refusal = { status: 503, says: 'This server is stopping.', retryAfterS: 1 };

/** For all sockets: a closure would keep the request for as long as the connection lasts. */
function destroy(this: Duplex): void {
  this.destroy();
}

/** What a browser or program says it is: a name for the list of devices, where nobody gave a better one. */
function deviceOf(request: IncomingMessage): string | undefined {
  return request.headers['user-agent']?.slice(0, limits.device);
}
