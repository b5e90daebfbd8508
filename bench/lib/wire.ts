import net from 'node:net';

/** What a socket read last; one for all, since its bytes are looked at before the next socket is read. */
const shared = Buffer.allocUnsafeSlow(262_144);
/** A pong without a payload, masked as clients must. */
const pong = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const endOfHead = Buffer.from('\r\n\r\n');

export interface WireOptions {
  port: number;
  /** Default: `/ws`. */
  path?: string;
  /** The third byte of the text frames that are counted. Default: `s`, of `{"stream"`: the pushes. */
  counted?: string;
  /** Counts the frames of all sockets that share it. */
  tally?: Tally;
}

/** A count, and whom to tell of it. */
export class Tally {
  count = 0;
  /** Reads from the system: `count / reads` frames came together. */
  reads = 0;
  onCount: (() => void) | undefined;
}

/**
 * One WebSocket of the load: a raw socket that counts frames by their headers and looks inside only of those somebody wants.
 * Cheap, so that what is measured is the server: a frame that is only counted costs this process some 50 ns beyond the read.
 */
export class Wire {
  readonly opened: Promise<void>;
  readonly closed: Promise<void>;
  isOpen = false;
  /** The tally of pushes counts here too. */
  pushes = 0;
  /** Called with each text frame, the bytes valid during the call only. Without it nothing is copied. */
  onText: ((payload: Buffer) => void) | undefined;

  readonly #socket: net.Socket;
  readonly #counted: number;
  readonly #tally: Tally | undefined;
  readonly #replies = new Map<string, (reply: Buffer) => void>();
  #upgraded = false;
  /** The beginning of a frame whose rest has not come; while frames are only counted, never more than a header. */
  #rest: Buffer | undefined;
  /** Bytes of a counted frame that are still to be passed over. */
  #skip = 0;
  #next = 1;
  #outgoing: Buffer[] | undefined;

  constructor({ port, path = '/ws', counted = 's', tally }: WireOptions) {
    this.#counted = counted.charCodeAt(0);
    this.#tally = tally;
    const opened = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    this.opened = opened.promise;
    this.closed = closed.promise;
    this.opened.catch(() => {});
    const upgraded = (): void => {
      this.isOpen = true;
      opened.resolve();
    };
    this.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer: shared, callback: (length) => this.#read(shared.subarray(0, length), upgraded) } });
    this.#socket.on('connect', () => {
      const key = 'a2l0aC1iZW5jaC1raXRoIQ==';
      this.#socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      );
    });
    this.#socket.on('error', (error) => opened.reject(error));
    this.#socket.on('close', () => {
      this.isOpen = false;
      opened.reject(new Error('closed before it was open'));
      closed.resolve();
    });
  }

  /** Sends a text frame; what is sent in one turn of the loop goes out in one write. */
  send(text: string): void {
    if (!this.#outgoing) {
      const outgoing: Buffer[] = (this.#outgoing = []);
      setImmediate(() => {
        this.#outgoing = undefined;
        this.#socket.write(outgoing.length === 1 ? outgoing[0]! : Buffer.concat(outgoing));
      });
    }
    this.#outgoing.push(masked(text));
  }

  /** Calls a method of the protocol. @returns the reply frame */
  call(method: string, params: unknown): Promise<Buffer> {
    const id = String(this.#next++);
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    this.callThen(id, method, params, resolve);
    return promise;
  }

  /** The same without a promise, for those who call often. */
  callThen(id: string, method: string, params: unknown, then: (reply: Buffer) => void): void {
    this.#replies.set(id, then);
    this.send(JSON.stringify({ id, method, params }));
  }

  async hello(token: string): Promise<{ heads: Record<string, number> }> {
    await this.opened;
    const reply = JSON.parse((await this.call('hello', { token })).toString()) as { result?: { heads: Record<string, number> }; error?: { code: string } };
    if (!reply.result) throw new Error(`hello was refused: ${reply.error?.code}`);
    return reply.result;
  }

  /** Stops reading, as a peer that hangs. */
  pause(): void {
    this.#socket.pause();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer, upgraded: () => void): boolean {
    if (this.#tally) this.#tally.reads++;
    let bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = undefined;
    if (!this.#upgraded) {
      const end = bytes.indexOf(endOfHead);
      if (end === -1) return this.#keep(bytes);
      if (!bytes.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) {
        this.#socket.destroy(new Error(bytes.toString('latin1', 0, end)));
        return true;
      }
      this.#upgraded = true;
      upgraded();
      bytes = bytes.subarray(end + 4);
    }
    let at = 0;
    if (this.#skip > 0) {
      at = Math.min(this.#skip, bytes.length);
      this.#skip -= at;
    }
    while (at < bytes.length) {
      const left = bytes.length - at;
      if (left < 2) return this.#keep(bytes.subarray(at));
      const opcode = bytes[at]! & 15;
      let length = bytes[at + 1]! & 127;
      let head = 2;
      if (length === 126) {
        if (left < 4) return this.#keep(bytes.subarray(at));
        length = bytes.readUInt16BE(at + 2);
        head = 4;
      } else if (length === 127) {
        if (left < 10) return this.#keep(bytes.subarray(at));
        length = Number(bytes.readBigUInt64BE(at + 2));
        head = 10;
      }
      if (left < head + Math.min(length, 3)) return this.#keep(bytes.subarray(at));
      const isCounted = opcode === 1 && bytes[at + head + 2] === this.#counted;
      if (left < head + length) {
        // Only a frame that somebody looks at has to be in one piece.
        if (!isCounted || this.onText) return this.#keep(bytes.subarray(at));
        this.#count();
        this.#skip = head + length - left;
        return true;
      }
      if (isCounted) this.#count();
      if (!isCounted || this.onText) this.#frame(opcode, bytes.subarray(at + head, at + head + length));
      at += head + length;
    }
    return true;
  }

  #keep(bytes: Buffer): true {
    this.#rest = Buffer.from(bytes);
    return true;
  }

  #count(): void {
    this.pushes++;
    if (!this.#tally) return;
    this.#tally.count++;
    this.#tally.onCount?.();
  }

  #frame(opcode: number, payload: Buffer): void {
    if (opcode === 9) return void this.#socket.write(pong);
    if (opcode === 8) return void this.#socket.end();
    if (opcode !== 1) return;
    // `{"id":"…"`: a reply.
    if (payload[2] === 0x69 && payload[1] === 0x22 && this.#replies.size > 0) {
      const id = payload.toString('latin1', 7, payload.indexOf(0x22, 7));
      const then = this.#replies.get(id);
      this.#replies.delete(id);
      if (then) return then(payload);
    }
    this.onText?.(payload);
  }
}

/** A text frame with a mask of zeros: the server takes it off all the same, and nobody here has to put it on. */
function masked(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 6 : 8;
  const frame = Buffer.alloc(head + length);
  frame[0] = 0x81;
  if (head === 6) frame[1] = 0x80 | length;
  else {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(length, 2);
  }
  frame.write(text, head);
  return frame;
}

/** Opens many, so many at a time. */
export async function openAll<T>(items: readonly T[], atOnce: number, open: (item: T, index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) await open(items[index]!, index);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
}
