import { type ServerFrame, decodeServerFrame } from '@kith/protocol';

/** What the client needs of a WebSocket: browsers, Node and wrappers around mini-program sockets have it. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}
export type WebSocketConstructor = new (url: string) => WebSocketLike;

export interface SocketHandlers {
  onOpen(): void;
  onFrame(frame: ServerFrame): void;
  /** Once, for whatever reason: refused, lost, closed by the server. Never after `close()`. */
  onClose(code: number, reason: string): void;
}

export interface Socket {
  send(text: string): void;
  /** Says goodbye and forgets: no handler is called any more. */
  close(code?: number): void;
}

/** One attempt at one WebSocket. It never tries again; that is reconnect's business. */
export function openSocket(WebSocket: WebSocketConstructor, url: string, handlers: SocketHandlers): Socket {
  // A browser delivers events of a socket long after close(), and a lost one may take minutes to say so.
  let dead = false;
  const die = (code: number, reason: string): void => {
    if (dead) return;
    dead = true;
    handlers.onClose(code, reason);
  };
  let socket: WebSocketLike;
  try {
    socket = new WebSocket(url);
  } catch (error) {
    queueMicrotask(() => die(1006, String(error)));
    return { send: () => {}, close: () => void (dead = true) };
  }
  socket.onopen = () => {
    if (!dead) handlers.onOpen();
  };
  socket.onmessage = (event: { data: unknown }) => {
    if (dead || typeof event.data !== 'string') return;
    const frame = decodeServerFrame(event.data);
    if (frame) handlers.onFrame(frame);
  };
  socket.onclose = (event: { code?: number; reason?: string }) => die(event.code ?? 1006, event.reason ?? '');
  // Without a listener Node treats an error as uncaught. The close that follows tells the rest.
  socket.onerror = () => {};

  return {
    send(text) {
      if (dead) return;
      try {
        socket.send(text);
      } catch {
        // Closing: the close event is on its way, and fails whatever waits for an answer.
      }
    },
    close(code = 1000) {
      if (dead) return;
      dead = true;
      try {
        socket.close(code);
      } catch {
        // Not open yet, in an implementation that minds.
      }
    },
  };
}
