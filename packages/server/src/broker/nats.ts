import { readFileSync } from 'node:fs';
import { type Authenticator, type ConnectionOptions, type Msg, type NatsConnection, type Subscription, connect, credsAuthenticator, errors } from '@nats-io/transport-node';
import { type Era, type Publication, type Topic, isBefore } from '../core/core.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type Broker, BrokerError } from './broker.ts';
import { Order } from './order.ts';

/** Milliseconds between two words of each node that it is there, and of silence after which one counts as cut off. */
const aliveMs = 1_000;
const silentMs = 2_500;
/** Milliseconds that a server gets for a first connection, and between attempts. */
const connectMs = 4_000;
const againMs = 500;
/** Milliseconds to wait for the server to say that it knows what is followed. Beyond that, heads are compared. */
const followMs = 1_000;
/** Bytes on their way to a server that has not confirmed them. Beyond, publications are dropped. */
const unconfirmedBytes = 16 * 1_048_576;

export interface NatsOptions {
  /** `nats://` or `tls://`, several separated by commas, with user and password, or a token, in front of the first host. */
  url: string;
  /** File with the certificate authority of the servers. */
  ca?: string | undefined;
  /** File with a user's JWT and key, as `nsc` writes it. */
  creds?: string | undefined;
  /** Which node this is. */
  node: string;
  /** In which it works at first. Default: one that all have of whom nothing is said. */
  era?: Era;
  /** Milliseconds that a push waits for those before it. */
  patienceMs?: number;
}

/** Here every node says in which era it works: all others hear it. */
const eraSubject = 'kith.era';
/** What is published in one era is not heard in another: it would be taken for the continuation of what never was. */
const within = (era: Era): string => `kith.${era.number}-${era.id}`;
/** Beside the subject of each topic: here every node says that it is there, and when others should compare heads. */
const aliveSubject = (era: Era): string => `${within(era)}.alive`;
const subjectOf = (era: Era, topic: Topic): string => `${within(era)}.t.${/^[\w:/-]+$/.test(topic) ? topic : `=${Buffer.from(topic).toString('base64url')}`}`;

/**
 * The broker of several nodes. What a node publishes reaches its own followers at once and by itself, so that they do not notice
 * when NATS is away; the others get it by way of NATS, if somebody there follows the topic.
 *
 * @throws BrokerError when the servers refuse us; one that is not there is waited for
 */
export async function openNats(options: NatsOptions, parts: { log: Log; metrics: Metrics }): Promise<Broker> {
  const broker = new NatsBroker(options, parts);
  await broker.begin();
  return broker;
}

class NatsBroker implements Broker {
  readonly #options: ConnectionOptions;
  readonly #node: string;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #followed = new Map<Topic, Subscription | undefined>();
  readonly #order: Order;
  /** When each of the other nodes was last heard, by `performance.now()`. */
  readonly #heard = new Map<string, number>();
  #nats: NatsConnection | undefined;
  #up = false;
  #closed = false;
  #unconfirmed = 0;
  #confirming = false;
  #following: Promise<void> | undefined;
  #deliver: (publication: Publication) => void = () => {};
  #interrupted: () => void = () => {};
  #era: Era;
  #alive: Subscription | undefined;
  #onEra: (era: Era) => void = () => {};
  #beat: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor({ url, ca, creds, node, era = { number: 0, id: 'none' }, patienceMs }: NatsOptions, { log, metrics }: { log: Log; metrics: Metrics }) {
    this.#node = node;
    this.#era = era;
    this.#log = log;
    this.#metrics = metrics;
    this.#order = new Order((publication) => this.#deliver(publication), patienceMs);
    this.#options = {
      ...readServers(url, ca, creds),
      name: `kith ${node}`,
      noEcho: true,
      timeout: connectMs,
      reconnect: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: againMs,
      reconnectJitter: againMs,
      reconnectJitterTLS: againMs,
      // A password that was changed there first is no reason to give up.
      ignoreAuthErrorAbort: true,
      // A server that does not answer is found within three seconds.
      pingInterval: 1_000,
      maxPingOut: 2,
      noAsyncTraces: true,
    };
  }

  async begin(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      if (isRefusal(error)) throw new BrokerError(`NATS refuses this node: ${wordsOf(error)}.`);
      this.#log.warn({ err: error }, 'NATS is not there; going on without, and asking the database more often');
      this.#later();
    }
    this.#beat = setInterval(() => this.#sayAlive(), aliveMs);
  }

  async #connect(): Promise<void> {
    const nats = await connect(this.#options);
    if (this.#closed) return nats.close();
    this.#nats = nats;
    nats.subscribe(eraSubject, { callback: (error, message) => (error ? this.#complain(error) : this.#heardEra(message.json<{ era: Era }>().era)) });
    this.#listen(nats);
    for (const topic of this.#followed.keys()) this.#subscribe(topic);
    void this.#watch(nats);
    await nats.flush();
    this.#isUp();
  }

  #listen(nats: NatsConnection): void {
    this.#alive = nats.subscribe(aliveSubject(this.#era), { callback: (error, message) => (error ? this.#complain(error) : this.#onAlive(message)) });
  }

  #later(): void {
    if (this.#closed) return;
    this.#again = setTimeout(() => void this.#connect().catch(() => this.#later()), againMs * (1 + Math.random()));
  }

  async #watch(nats: NatsConnection): Promise<void> {
    for await (const status of nats.status()) {
      if (status.type === 'disconnect') this.#isDown();
      // The client has asked for all it followed; the server has done so once it answers.
      else if (status.type === 'reconnect')
        void nats.flush().then(
          () => this.#isUp(),
          () => {},
        );
      else if (status.type === 'error') this.#complain(status.error);
    }
    if (this.#closed) return;
    // Given up for good, which only happens when the client itself is at a loss.
    this.#isDown();
    this.#nats = undefined;
    for (const topic of this.#followed.keys()) this.#followed.set(topic, undefined);
    this.#later();
  }

  #isUp(): void {
    if (this.#up || this.#closed) return;
    this.#up = true;
    this.#unconfirmed = 0;
    this.#metrics.brokerConnected.set(1);
    this.#log.info('NATS is there');
    // What this node has published meanwhile the others have not heard, nor this one what they have.
    this.#sayAlive(true);
    this.#interrupted();
  }

  #isDown(): void {
    if (!this.#up) return;
    this.#up = false;
    this.#metrics.brokerConnected.set(0);
    if (!this.#closed) this.#log.warn('NATS is away; asking the database more often');
  }

  #complain(error: Error): void {
    this.#log.error({ err: error }, 'NATS complains');
  }

  // ── Who is there ──────────────────────────────────────────────────────────────────────────────────────────────────

  #sayAlive(compareHeads = false): void {
    if (!this.#up) return;
    this.#send(eraSubject, JSON.stringify({ era: this.#era }));
    this.#send(aliveSubject(this.#era), JSON.stringify({ node: this.#node, ...(compareHeads && { compareHeads }) }));
  }

  #heardEra(era: Era): void {
    if (era.id === this.#era.id) return;
    this.#onEra(era);
    // It may have begun with an earlier one just now: it hears at once that there is a later one, before it has done anything.
    if (isBefore(era, this.#era)) this.#send(eraSubject, JSON.stringify({ era: this.#era }));
  }

  enter(era: Era): void {
    this.#era = era;
    this.#heard.clear();
    const nats = this.#nats;
    if (!nats || nats.isClosed()) return;
    this.#alive?.unsubscribe();
    this.#listen(nats);
    for (const [topic, subscription] of this.#followed) {
      subscription?.unsubscribe();
      this.#order.forget(topic);
      this.#subscribe(topic);
    }
    this.#sayAlive(true);
  }

  onEra(listener: (era: Era) => void): void {
    this.#onEra = listener;
  }

  #onAlive(message: Msg): void {
    const { node, compareHeads } = message.json<{ node: string; compareHeads?: true }>();
    this.#heard.set(node, performance.now());
    if (compareHeads) this.#interrupted();
  }

  reaches(others: readonly string[]): boolean {
    const since = performance.now() - silentMs;
    for (const [node, at] of this.#heard) if (at < since && !others.includes(node)) this.#heard.delete(node);
    return this.#up && others.every((node) => (this.#heard.get(node) ?? -Infinity) >= since);
  }

  // ── Publications ──────────────────────────────────────────────────────────────────────────────────────────────────

  publish(publication: Publication): void {
    if (this.#closed) return;
    if (this.#followed.has(publication.topic)) this.#order.take(publication);
    if (this.#up) this.#send(subjectOf(this.#era, publication.topic), encode(publication), publication);
  }

  #send(subject: string, text: string, publication?: Publication): void {
    const nats = this.#nats;
    if (!nats) return;
    const bytes = Buffer.byteLength(text);
    if (this.#unconfirmed + bytes > unconfirmedBytes) return this.#metrics.brokerDropped.inc();
    if (bytes > (nats.info?.max_payload ?? Infinity)) {
      // What is in it is found in the database.
      if (publication?.kind === 'push') this.#send(subject, encode({ ...publication, frame: '' }));
      else this.#metrics.brokerDropped.inc();
      return;
    }
    try {
      nats.publish(subject, text);
      this.#unconfirmed += bytes;
      this.#confirm(nats);
    } catch (error) {
      // Closing, or just cut: like everything else that is lost.
      this.#metrics.brokerDropped.inc();
      this.#log.debug({ err: error }, 'a publication was dropped');
    }
  }

  /** Asks the server, one question at a time, whether it has what was sent before. */
  #confirm(nats: NatsConnection): void {
    if (this.#confirming) return;
    this.#confirming = true;
    setImmediate(() => {
      const asked = this.#unconfirmed;
      nats
        .flush()
        .then(
          () => (this.#unconfirmed = Math.max(0, this.#unconfirmed - asked)),
          () => {},
        )
        .finally(() => {
          this.#confirming = false;
          if (this.#unconfirmed > 0 && this.#up && this.#nats === nats) this.#confirm(nats);
        });
    });
  }

  #onMessage(topic: Topic, message: Msg): void {
    if (!this.#followed.has(topic)) return;
    const publication = decode(topic, message.string());
    if (publication.kind !== 'push' || publication.frame !== '') return this.#order.take(publication);
    // Too large to be carried: what it says about following holds at once, the rest is asked for.
    const { follow, unfollow } = publication;
    if (follow || unfollow) this.#order.take({ kind: 'control', topic, ...(follow && { follow }), ...(unfollow && { unfollow }) });
    this.#interrupted();
  }

  follow(topics: Topic[]): Promise<void> {
    if (this.#closed) return Promise.resolve();
    let fresh = false;
    for (const topic of topics) {
      if (this.#followed.has(topic)) continue;
      this.#followed.set(topic, undefined);
      this.#subscribe(topic);
      fresh = true;
    }
    return fresh && this.#up ? (this.#following ??= this.#untilFollowed()) : (this.#following ?? Promise.resolve());
  }

  /** One question to the server for all that is followed in this turn. */
  async #untilFollowed(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#following = undefined;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, followMs);
    // Cut in between: followed again with the next connection, which tells of it.
    await Promise.race([this.#nats?.flush().catch(() => {}), late]);
    clearTimeout(timer);
  }

  #subscribe(topic: Topic): void {
    // While it is cut off, the client keeps the list and asks for it with the next connection.
    const callback = (error: Error | null, message: Msg): void => (error ? this.#complain(error) : this.#onMessage(topic, message));
    if (this.#nats && !this.#nats.isClosed()) this.#followed.set(topic, this.#nats.subscribe(subjectOf(this.#era, topic), { callback }));
  }

  known(topic: Topic, version: number): void {
    if (this.#followed.has(topic)) this.#order.begin(topic, version);
  }

  unfollow(topics: Topic[]): void {
    for (const topic of topics) {
      const subscription = this.#followed.get(topic);
      this.#followed.delete(topic);
      this.#order.forget(topic);
      subscription?.unsubscribe();
    }
  }

  onPublication(listener: (publication: Publication) => void): void {
    this.#deliver = listener;
  }

  onInterrupted(listener: () => void): void {
    this.#interrupted = listener;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#beat);
    clearTimeout(this.#again);
    this.#followed.clear();
    this.#order.close();
    const nats = this.#nats;
    this.#up = false;
    if (!nats || nats.isClosed()) return;
    // What was published last is on its way before the connection ends; a server that is gone keeps nobody.
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, followMs);
    await Promise.race([nats.flush().catch(() => {}), late]);
    clearTimeout(timer);
    await nats.close();
  }
}

/** What is said about the publication, and behind it the frame as it is: it would be long, quoted once more. */
function encode(publication: Publication): string {
  if (publication.kind === 'control') return `${JSON.stringify(publication)}\n`;
  const { frame, ...about } = publication;
  return `${JSON.stringify(about)}\n${frame}`;
}

function decode(topic: Topic, text: string): Publication {
  const end = text.indexOf('\n');
  const about = JSON.parse(text.slice(0, end)) as Publication;
  return (about.kind === 'control' ? { ...about, topic } : { ...about, topic, frame: text.slice(end + 1) }) as Publication;
}

function readServers(url: string, ca: string | undefined, creds: string | undefined): Pick<ConnectionOptions, 'servers' | 'user' | 'pass' | 'token' | 'tls' | 'authenticator'> {
  const urls = url.split(',').map((one) => new URL(one.trim()));
  const { username, password } = urls.find((one) => one.username !== '') ?? urls[0]!;
  const given = { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
  const authenticator: Authenticator | undefined = creds === undefined ? undefined : credsAuthenticator(readFileSync(creds));
  return {
    servers: urls.map(({ hostname, port }) => `${hostname}:${port === '' ? '4222' : port}`),
    // A name alone is a token.
    ...(username !== '' && (password === '' ? { token: given.user } : given)),
    ...(authenticator && { authenticator }),
    // With TLS in the URL a server without it is refused.
    ...((ca !== undefined || urls.some(({ protocol }) => protocol === 'tls:')) && { tls: ca === undefined ? {} : { caFile: ca } }),
  };
}

/** Is it something that will not pass by itself: who we are, or how the server is kept? */
const isRefusal = (error: unknown): boolean =>
  error instanceof errors.AuthorizationError ||
  error instanceof errors.UserAuthenticationExpiredError ||
  /certificate|self.signed|altnames|does not support 'tls'/i.test(wordsOf(error));

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
