import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';

/** What is heard on a line. */
export interface Listener {
  onMessage(data: Buffer, isBinary: boolean): void;
  onPing(data: Buffer): void;
  onPong(): void;
  onError(error: Error & { code?: string }): void;
  onClose(): void;
}

/**
 * A WebSocket that hands what it hears to one object. Five listeners on each of ten thousand sockets are fifty thousand
 * closures and as many places in tables; this is one reference.
 */
export class Line extends WebSocket {
  listener: Listener | undefined;

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    const { listener } = this;
    if (!listener) return false;
    switch (event) {
      case 'message':
        listener.onMessage(args[0] as Buffer, args[1] as boolean);
        return true;
      case 'ping':
        listener.onPing(args[0] as Buffer);
        return true;
      case 'pong':
        listener.onPong();
        return true;
      case 'error':
        listener.onError(args[0] as Error & { code?: string });
        return true;
      case 'close':
        listener.onClose();
        return true;
      default:
        return false;
    }
  }
}

/**
 * Takes away from ws what it does when nothing more comes from a peer, so that it can be done later. ws has no public way to ask for
 * that: it is what was listened with last. A test has a peer that leaves, and fails if a new version does it otherwise.
 */
export function takeEnd(socket: Duplex): (this: Duplex) => void {
  const end = socket.listeners('end').at(-1) as (this: Duplex) => void;
  socket.off('end', end);
  return end;
}
