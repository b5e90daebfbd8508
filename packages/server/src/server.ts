import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { openBlobs } from './blobs/open.ts';
import type { Broker } from './broker/broker.ts';
import { openLocalBroker } from './broker/local.ts';
import type { Config } from './config.ts';
import type { Core } from './core/core.ts';
import { openCore } from './core/open.ts';
import { type Clock, realClock } from './gateway/clock.ts';
import { openDatabaseWatch } from './gateway/database-watch.ts';
import { type Gateway, openGateway } from './gateway/gateway.ts';
import { Recent } from './gateway/recent.ts';
import { openDoorkeeper } from './http/origin.ts';
import { openExports } from './http/exports.ts';
import { openRouter } from './http/router.ts';
import { openSweeper } from './http/sweeper.ts';
import { type Log, openLog } from './log.ts';
import { type Metrics, openMetrics } from './metrics.ts';
import { openPictures } from './pictures/pool.ts';
import type { TestNetwork } from './previews/network.ts';
import { openPreviews } from './previews/previews.ts';

export interface RunningServer {
  /** How people reach it: the public URL, else the address it listens on. */
  url: string;
  /** The one listened on. */
  port: number;
  core: Core;
  metrics: Metrics;
  http: Server;
  /** What it answers over HTTP, as `GET /files/:id/*`. */
  routes: readonly string[];
  /**
   * Stops without losing anything: takes no more connections, answers what is in flight, tells every client to come
   * back, closes the database. Calling it again waits for the first.
   *
   * @param withinMs  Milliseconds for all of that. Default 7,000.
   */
  close(withinMs?: number): Promise<void>;
}

/** What tests put in the place of the real parts. */
export interface Overrides {
  /** What this node is called among others. Default: a new name. */
  node?: string;
  broker?: Broker;
  /** The gateway's time. */
  clock?: Clock;
  /** The core's time, milliseconds since 1970. With SQLite the core is then in this thread. */
  now?: () => number;
  /** Where the core runs. Default: beside its database. */
  engine?: 'worker' | 'direct';
  wrapCore?: (core: Core) => Core;
  log?: Log;
  /** Where the web build lies. */
  webFolder?: string;
  /** What links lead to, in place of the internet. */
  network?: TestNetwork;
  /** Of the process. Default: its own. */
  env?: Record<string, string | undefined>;
  /** The core cannot go on. Default: throws, which ends the process. */
  onFatal?: (error: Error) => void;
}

export const version = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/**
 * Builds a server out of its parts and listens. The one place that knows which database, broker and clock there are.
 *
 * @throws ConfigError, DatabaseError, BrokerError, or the error of listening (EADDRINUSE); nothing is left open then
 */
export async function startServer(given: Config, overrides: Overrides = {}): Promise<RunningServer> {
  const { clock = realClock } = overrides;
  const log = overrides.log ?? openLog(given);
  const config = withoutPreviewsBehindProxy(given, overrides.env ?? process.env, log);
  const metrics = openMetrics({ process: config.metricsPort !== 0 });
  if (config.database === 'sqlite') metrics.databaseLog(() => statSync(join(config.data, 'kith.db-wal'), { throwIfNoEntry: false })?.size ?? 0);
  const blobs = await openBlobs(config, { log, metrics });
  const node = overrides.node ?? randomUUID();
  const opened = await openCore({
    config,
    node,
    ...(overrides.engine && { engine: overrides.engine }),
    ...(overrides.now && { clock: overrides.now }),
    onLimit: (limit) => metrics.limitHit(limit),
    onFault: ({ id, method, error }) => log.error({ err: error, id, method }, 'a request failed'),
  });
  const core = overrides.wrapCore?.(opened) ?? opened;
  const broker = overrides.broker ?? (await openBroker(config, { node, core }, { log, metrics }).catch(closeAndThrow(opened)));
  let closing: Promise<void> | undefined;
  const doorkeeper = openDoorkeeper(config);
  const pictures = openPictures({ log });
  const router = await openRouter({
    core,
    blobs,
    pictures,
    config,
    doorkeeper,
    clock,
    metrics,
    log,
    version,
    stopping: () => closing !== undefined,
    ...(overrides.webFolder !== undefined && { webFolder: overrides.webFolder }),
  });
  const recent = config.database === 'sqlite' ? undefined : new Recent();
  core.onPublish((publications) => {
    for (const publication of publications) {
      recent?.note(publication);
      broker.publish(publication);
    }
  });
  core.onFatal(
    overrides.onFatal ??
      ((error) => {
        throw error;
      }),
  );
  const gateway: Gateway = openGateway({ server: router.server, core, broker, config, doorkeeper, clock, metrics, log, ...(recent && { recent }) });
  const watch = recent && openDatabaseWatch({ core, broker, gateway, recent, clock, metrics, log });
  const sweeper = openSweeper({ core, blobs, clock, log, ...(overrides.now && { now: overrides.now }) });
  const exports = openExports({ core, blobs, clock, log, ...(overrides.now && { now: overrides.now }) });
  const previews = config.linkPreviews ? openPreviews({ core, blobs, config, clock, log, pictures, ...(overrides.network && { test: overrides.network }) }) : undefined;
  let closeMetrics: () => void;
  try {
    closeMetrics = await serveMetrics(config.metricsPort, metrics);
    await router.listen({ port: config.port, host: config.host });
  } catch (error) {
    gateway.close();
    watch?.close();
    await previews?.close();
    await exports.close();
    await sweeper.close();
    await router.close(0);
    await pictures.close();
    await broker.close();
    await core.close();
    throw error;
  }
  const { port } = router.server.address() as AddressInfo;
  // A full disk keeps nobody from reading what is there.
  const unsaid = (error: unknown): void => log.error({ err: error }, 'the audit log could not be written');
  await core.started(version).catch(unsaid);

  const stop = async (withinMs: number): Promise<void> => {
    log.info('stopping');
    const deadline = performance.now() + withinMs;
    watch?.close();
    // Those who would wait for longer ask again, where they connect next; what has begun has the rest of the time.
    const hurry = setTimeout(() => void core.refuseWaiting().catch(() => {}), withinMs / 2);
    await gateway.drain(withinMs);
    await router.close(Math.max(0, deadline - performance.now()));
    clearTimeout(hurry);
    // Nobody is there any more to hear of it.
    void core.refuseWaiting().catch(() => {});
    await exports.close();
    await previews?.close();
    await pictures.close();
    closeMetrics();
    await broker.close();
    await sweeper.close();
    await core.note([{ event: 'server.stopped', detail: { version } }]).catch(unsaid);
    await core.close();
    log.info('stopped');
  };

  return {
    url: config.publicUrl ?? `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`,
    port,
    core,
    metrics,
    http: router.server,
    routes: router.routes,
    close: (withinMs = 7_000) => (closing ??= stop(withinMs)),
  };
}

/** @throws BrokerError: NATS refuses us. Only the one in use is loaded. */
async function openBroker({ nats, natsCa, natsCreds }: Config, { node, core }: { node: string; core: Core }, parts: { log: Log; metrics: Metrics }): Promise<Broker> {
  if (nats === undefined) return openLocalBroker();
  const { openNats } = await import('./broker/nats.ts');
  return openNats({ url: nats, ca: natsCa, creds: natsCreds, node, era: await core.era() }, parts);
}

const closeAndThrow =
  (core: Core) =>
  async (error: unknown): Promise<never> => {
    await core.close();
    throw error;
  };

/**
 * Whoever sets a proxy wants no connection around it, and behind one nobody here sees which address it is that is connected
 * to: the guard would look at names alone.
 */
function withoutPreviewsBehindProxy(config: Config, env: Record<string, string | undefined>, log: Log): Config {
  const proxy = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].flatMap((name) => [name, name.toLowerCase()]).find((name) => (env[name] ?? '') !== '');
  if (!config.linkPreviews || proxy === undefined) return config;
  log.warn(`link previews are off: ${proxy} is set, and they are not made by way of a proxy. KITH_LINK_PREVIEWS=off says so without this line.`);
  return { ...config, linkPreviews: false };
}

/** Numbers are for the operator: on loopback, on a port of their own, so that no proxy rule can make them public. */
async function serveMetrics(port: number, metrics: Metrics): Promise<() => void> {
  if (port === 0) return () => {};
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') response.writeHead(404).end();
    else
      metrics.registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return () => {
    server.close();
    server.closeAllConnections();
  };
}
