import { randomBytes } from 'node:crypto';
import { type Socket, connect } from 'node:net';

/** A frame as RFC 6455 draws it, with every bit in the hands of a test. */
export interface HandMade {
  /** Default: true. */
  fin?: boolean;
  /** The three reserved bits, 4 for RSV1, 2 for RSV2, 1 for RSV3. */
  rsv?: number;
  /** Default: 1, text. */
  opcode?: number;
  payload?: Buffer | string;
  /** Default: true, as clients must. */
  masked?: boolean;
  /** What the frame says its length is, where that is not the truth. */
  declared?: bigint;
  /** Bytes of the length field: 0, 2 or 8. Default: the least. */
  lengthBytes?: 0 | 2 | 8;
}

export function handMade({ fin = true, rsv = 0, opcode = 1, payload = '', masked = true, declared, lengthBytes }: HandMade): Buffer {
  const body = Buffer.from(payload);
  const length = declared ?? BigInt(body.length);
  const bytes = lengthBytes ?? (length < 126n ? 0 : length < 65_536n ? 2 : 8);
  const head = Buffer.alloc(2 + bytes);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (bytes === 0 ? Number(length) : bytes === 2 ? 126 : 127);
  if (bytes === 2) head.writeUInt16BE(Number(length), 2);
  if (bytes === 8) head.writeBigUInt64BE(length, 2);
  if (!masked) return Buffer.concat([head, body]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, body.map((byte, index) => byte ^ mask[index % 4]!)]);
}

/** A TCP connection, for what no client library would send. */
export class RawSocket {
  readonly socket: Socket;
  /** Resolves when the other side is gone, with everything it said. */
  readonly ended: Promise<Buffer>;
  readonly #chunks: Buffer[] = [];
  readonly #waiting = new Set<() => void>();
  #over = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#wake();
    });
    this.ended = new Promise((resolve) =>
      socket.once('close', () => {
        this.#over = true;
        this.#wake();
        resolve(this.received);
      }),
    );
  }

  static open(port: number): Promise<RawSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new RawSocket(socket)));
      socket.once('error', reject);
    });
  }

  /** Through the handshake, to where frames begin. */
  static async upgraded(port: number, headers: string[] = []): Promise<RawSocket> {
    const raw = await RawSocket.open(port);
    raw.write(handshake(headers));
    await raw.until((received) => received.includes('\r\n\r\n'));
    if (!raw.received.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(raw.received.toString('latin1'));
    return raw;
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  write(bytes: Buffer | string): void {
    this.socket.write(bytes);
  }

  async until(enough: (received: Buffer) => boolean): Promise<Buffer> {
    while (!enough(this.received)) {
      if (this.#over) throw new Error(`ended with: ${this.received.toString('latin1')}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    return this.received;
  }

  /** The status of the HTTP answer. */
  async status(): Promise<number> {
    const received = await this.until((bytes) => bytes.includes('\r\n'));
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(received.toString('latin1'))?.[1]);
  }

  /** Every frame the server sent after the handshake, until it sent a close frame or went. */
  async framesToTheEnd(): Promise<{ opcode: number; payload: Buffer }[]> {
    await Promise.race([this.ended, this.until((bytes) => framesOf(bytes).some((frame) => frame.opcode === 8))]);
    return framesOf(this.received);
  }

  /** The code of the server's close frame. */
  async closeCode(): Promise<number | undefined> {
    const close = (await this.framesToTheEnd()).find((frame) => frame.opcode === 8);
    return close && close.payload.length >= 2 ? close.payload.readUInt16BE(0) : undefined;
  }

  /** A RST instead of a FIN. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}

export function handshake(headers: string[] = [], { path = '/ws', host = '127.0.0.1', line }: { path?: string; host?: string; line?: string } = {}): string {
  const all = [
    line ?? `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    ...headers,
  ];
  return `${all.join('\r\n')}\r\n\r\n`;
}

/** Whole server frames behind the handshake's answer. */
function framesOf(received: Buffer): { opcode: number; payload: Buffer }[] {
  const frames: { opcode: number; payload: Buffer }[] = [];
  let at = received.indexOf('\r\n\r\n') + 4;
  if (at < 4) return frames;
  while (at + 2 <= received.length) {
    const opcode = received[at]! & 0x0f;
    let length = received[at + 1]! & 0x7f;
    let head = 2;
    if (length === 126) {
      if (at + 4 > received.length) break;
      length = received.readUInt16BE(at + 2);
      head = 4;
    } else if (length === 127) {
      if (at + 10 > received.length) break;
      length = Number(received.readBigUInt64BE(at + 2));
      head = 10;
    }
    if (at + head + length > received.length) break;
    frames.push({ opcode, payload: received.subarray(at + head, at + head + length) });
    at += head + length;
  }
  return frames;
}
