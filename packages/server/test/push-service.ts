import { createDecipheriv, createECDH, hkdfSync, randomBytes } from 'node:crypto';
import { type IncomingHttpHeaders, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type PushPayload, pushPayload } from '@kith/protocol';

/** A push as it arrived at a device. */
export interface Received {
  payload: PushPayload;
  /** Encrypted, with its header: all that the service sees. */
  sealed: Buffer;
  bytes: number;
  headers: IncomingHttpHeaders;
  /** `performance.now()` */
  at: number;
}

/** How the service answers instead of 201. */
export type Answering = { status: number; headers?: Record<string, string>; after?: Promise<unknown> } | 'silence' | 'endless';

/** A push service on loopback, and the browsers that subscribe with it. */
export class PushService {
  readonly #server: Server;
  readonly #devices = new Map<string, Device>();
  #made = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      const device = this.#devices.get(request.url!);
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => (device ? device.take(request.headers, Buffer.concat(chunks), response) : response.writeHead(404).end()));
    });
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A browser that has subscribed, as its `PushSubscription` says. */
  device(): Device {
    this.#made += 1;
    const device = new Device(`${this.url}/push/${this.#made}`);
    this.#devices.set(`/push/${this.#made}`, device);
    return device;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export class Device {
  readonly endpoint: string;
  readonly p256dh: string;
  readonly auth: string;
  /** All that came, also what was answered with an error. */
  readonly pushes: Received[] = [];
  /** For the next pushes, in order; then 201. */
  readonly answers: Answering[] = [];
  readonly #keys = createECDH('prime256v1');
  readonly #waiting = new Set<() => void>();
  #seen = 0;

  constructor(endpoint: string) {
    this.endpoint = endpoint;
    this.p256dh = this.#keys.generateKeys('base64url');
    this.auth = randomBytes(16).toString('base64url');
  }

  get subscription(): { endpoint: string; p256dh: string; auth: string } {
    const { endpoint, p256dh, auth } = this;
    return { endpoint, p256dh, auth };
  }

  get payloads(): PushPayload[] {
    return this.pushes.map(({ payload }) => payload);
  }

  /** The next push. Waits for it. */
  async next(): Promise<Received> {
    while (this.pushes.length <= this.#seen) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.pushes[this.#seen++]!;
  }

  take(headers: IncomingHttpHeaders, body: Buffer, response: ServerResponse): void {
    const payload = pushPayload.parse(JSON.parse(this.#decrypt(body)));
    this.pushes.push({ payload, sealed: body, bytes: body.length, headers, at: performance.now() });
    const answer = this.answers.shift() ?? { status: 201 };
    if (answer === 'endless') {
      response.writeHead(201);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      };
      response.on('drain', more);
      more();
    } else if (answer !== 'silence') void Promise.resolve(answer.after).then(() => response.writeHead(answer.status, answer.headers).end('said to nobody'));
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** RFC 8291 from the other end. */
  #decrypt(body: Buffer): string {
    const [salt, size, idBytes] = [body.subarray(0, 16), body.readUInt32BE(16), body.readUInt8(20)];
    const point = body.subarray(21, 21 + idBytes);
    const sealed = body.subarray(21 + idBytes);
    if (sealed.length > size) throw new Error('a push is one record');
    const info = Buffer.concat([Buffer.from('WebPush: info\0'), this.#keys.getPublicKey(), point]);
    const derive = (secret: Buffer, from: Buffer, text: Buffer, bytes: number): Buffer => Buffer.from(hkdfSync('sha256', secret, from, text, bytes));
    const secret = derive(this.#keys.computeSecret(point), Buffer.from(this.auth, 'base64url'), info, 32);
    const decipher = createDecipheriv(
      'aes-128-gcm',
      derive(secret, salt, Buffer.from('Content-Encoding: aes128gcm\0'), 16),
      derive(secret, salt, Buffer.from('Content-Encoding: nonce\0'), 12),
    );
    decipher.setAuthTag(sealed.subarray(-16));
    const padded = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
    const end = padded.findLastIndex((byte) => byte !== 0);
    if (padded[end] !== 2) throw new Error('the last record ends with 2');
    return padded.subarray(0, end).toString();
  }
}
