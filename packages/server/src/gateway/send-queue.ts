import type { Duplex } from 'node:stream';
import { limits } from '@kith/protocol';

/** A whole WebSocket text frame, header and payload. Built once, written to any number of sockets. */
export type Frame = Buffer;

export function buildFrame(text: string): Frame {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = 0x81; // final fragment, text
  if (head === 2) frame[1] = length;
  else if (head === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, head);
  return frame;
}

/** Sockets written in one turn of the loop. More, and those that want to be read would wait for those being written. */
const queuesPerTurn = 250;

/** Above this share of what counts as behind, what may be lost is not queued any more. */
const fleetingShare = 1 / 4;

/**
 * What one connection is about to be sent. Frames are written once per turn of the event loop, in one system call; what
 * waits is bounded by `limits.outboundMost`, the kernel's own buffers not counted. How much one turn brings says nothing of
 * the peer: whether it is too slow is judged by how long more than `limits.outboundBytes` wait.
 *
 * It writes whole frames to the raw socket, beside `ws`, which writes control frames there: without compression ws
 * keeps nothing back, so neither can land inside a frame of the other.
 */
export class SendQueue {
  readonly #socket: Duplex;
  readonly #writer: Writer;
  readonly #overflow: () => void;
  #frames: Frame[] = [];
  #bytes = 0;
  #held = false;
  #closed = false;

  /**
   * @param overflow  Called when a frame would not fit any more; the frame is dropped.
   * @param drained  Called when the socket has taken all that was written to it.
   */
  constructor(socket: Duplex, writer: Writer, overflow: () => void, drained: () => void = () => {}) {
    this.#socket = socket;
    this.#writer = writer;
    this.#overflow = overflow;
    socket.on('drain', drained);
  }

  /** Bytes that wait here and in the socket's buffer, control frames included. */
  get bytes(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  push(frame: Frame): void {
    if (this.#closed) return;
    if (this.bytes + frame.length > limits.outboundMost) return this.#overflow();
    this.#frames.push(frame);
    this.#bytes += frame.length;
    if (!this.#held) this.#writer.wants(this);
  }

  /** @returns Whether the frame was queued; under pressure it is dropped instead. */
  pushFleeting(frame: Frame): boolean {
    if (this.bytes + frame.length > limits.outboundBytes * fleetingShare) return false;
    this.push(frame);
    return true;
  }

  /** Keeps what is pushed, without writing, until `release`. */
  hold(): void {
    this.#held = true;
  }

  /** Writes `first`, then what was held. */
  release(first: Frame): void {
    this.#held = false;
    this.#frames.unshift(first);
    this.#bytes += first.length;
    this.#writer.wants(this);
  }

  /** Writes what waits, now. */
  flush(): void {
    if (this.#held || this.#frames.length === 0) return;
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    if (!this.#socket.writable) return;
    if (frames.length === 1) {
      this.#socket.write(frames[0]!);
      return;
    }
    this.#socket.cork();
    for (const frame of frames) this.#socket.write(frame);
    this.#socket.uncork();
  }

  /** Drops what waits; what is pushed from now on is written. */
  discard(): void {
    this.#held = false;
    this.#frames = [];
    this.#bytes = 0;
  }

  /** Drops what waits, and whatever comes later. */
  close(): void {
    this.#closed = true;
    this.discard();
  }
}

/** Writes the queues that asked for it, once per turn of the loop, all of a server's connections together. */
export class Writer {
  #waiting = new Set<SendQueue>();
  #scheduled = false;

  wants(queue: SendQueue): void {
    this.#waiting.add(queue);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    let written = 0;
    for (const queue of this.#waiting) {
      this.#waiting.delete(queue);
      queue.flush();
      if (++written === queuesPerTurn) break;
    }
    if (this.#waiting.size === 0 || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }
}
