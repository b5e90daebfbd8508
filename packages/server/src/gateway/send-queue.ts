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

/** Milliseconds between two rounds of writing, at most. */
const longestRest = 8;
/** A round that took less is nothing to rest from. */
const leastRest = 1;

/** Frames together larger than this are handed to the system as they are, and not copied into one piece. */
const joinBytes = 65_536;

/** Above this share of what counts as behind, what may be lost is not queued any more. */
const fleetingShare = 1 / 4;

/** Whose queue it is. */
export interface Owner {
  /** A frame did not fit any more, and was dropped. */
  onOverflow(): void;
}

/** Most queues are empty most of the time. */
const none: Frame[] = [];

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
  readonly #owner: Owner;
  #frames = none;
  #bytes = 0;
  /** The writer has it on its list. */
  waits = false;
  #held = false;
  #closed = false;

  constructor(socket: Duplex, writer: Writer, owner: Owner) {
    this.#socket = socket;
    this.#writer = writer;
    this.#owner = owner;
  }

  /** Bytes that wait here and in the socket's buffer, control frames included. */
  get bytes(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  push(frame: Frame): void {
    if (this.#closed) return;
    if (this.bytes + frame.length > limits.outboundMost) return this.#owner.onOverflow();
    if (this.#frames === none) this.#frames = [frame];
    else this.#frames.push(frame);
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
    this.#frames = [first, ...this.#frames];
    this.#bytes += first.length;
    this.#writer.wants(this);
  }

  /** Writes what waits, now. */
  flush(): void {
    if (this.#held || this.#frames.length === 0) return;
    const frames = this.#frames;
    this.#frames = none;
    this.#bytes = 0;
    if (!this.#socket.writable) return;
    const whole = this.#writer.join(frames);
    if (whole) {
      this.#socket.write(whole);
      return;
    }
    this.#socket.cork();
    for (const frame of frames) this.#socket.write(frame);
    this.#socket.uncork();
  }

  /** Drops what waits; what is pushed from now on is written. */
  discard(): void {
    this.#held = false;
    this.#frames = none;
    this.#bytes = 0;
  }

  /** Drops what waits, and whatever comes later. */
  close(): void {
    this.#closed = true;
    this.discard();
  }
}

/**
 * Writes the queues that asked for it, all of a server's connections together, in rounds: who asks while a round is being
 * written has its turn in the next. What a write costs is the system call, hardly the bytes; so after a long round the writer
 * rests for as long as it took, up to 8 ms, and what comes meanwhile for the same sockets goes out in one write. A server
 * with little to do never rests, and nothing waits.
 */
export class Writer {
  #waiting: SendQueue[] = [];
  /** Being written, from `#next` on. */
  #round: SendQueue[] = [];
  #next = 0;
  #roundMs = 0;
  #scheduled = false;
  /** What was joined last. Sockets that follow the same streams mostly get the same frames in one round. */
  #parts: Frame[] = [];
  #joined: Frame | undefined;

  wants(queue: SendQueue): void {
    if (queue.waits) return;
    queue.waits = true;
    this.#waiting.push(queue);
    if (!this.#scheduled) this.#schedule(0);
  }

  /** @returns the frames in one piece, shared with whoever has the same ones; undefined where copying would cost more than it saves */
  join(frames: Frame[]): Frame | undefined {
    if (frames.length === 1) return frames[0];
    if (this.#joined && isSame(frames, this.#parts)) return this.#joined;
    let bytes = 0;
    for (const frame of frames) bytes += frame.length;
    if (bytes > joinBytes) return undefined;
    this.#parts = frames;
    return (this.#joined = Buffer.concat(frames, bytes));
  }

  #schedule(ms: number): void {
    this.#scheduled = true;
    if (ms >= leastRest) setTimeout(() => this.#turn(), ms);
    else setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    const began = performance.now();
    if (this.#next === this.#round.length) {
      this.#round = this.#waiting;
      this.#waiting = [];
      this.#next = 0;
      this.#roundMs = 0;
    }
    const end = Math.min(this.#round.length, this.#next + queuesPerTurn);
    while (this.#next < end) {
      const queue = this.#round[this.#next++]!;
      queue.waits = false;
      queue.flush();
    }
    this.#roundMs += performance.now() - began;
    if (this.#next < this.#round.length) return this.#schedule(0);
    this.#round = [];
    this.#next = 0;
    this.#parts = [];
    this.#joined = undefined;
    const rest = Math.min(longestRest, this.#roundMs);
    // Also with nobody waiting: the first who asks would otherwise begin a round of its own, alone.
    if (this.#waiting.length > 0 || rest >= leastRest) this.#schedule(rest);
  }
}

function isSame(frames: Frame[], others: Frame[]): boolean {
  if (frames.length !== others.length) return false;
  for (let at = 0; at < frames.length; at++) if (frames[at] !== others[at]) return false;
  return true;
}
