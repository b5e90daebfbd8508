import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';

// The floor: `ws` and nothing else. No people, no rights, no database; what one says goes to all. It makes the same frames
// as Kith, so that all carry the same bytes.
//
//   ws          for every message, every socket is written
//   ws-batched  a frame is built once for all, and each socket is written once per turn of the loop

const batched = process.argv[2] === 'ws-batched';
const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 65_536 });
const raw = new Map<WebSocket, Socket>();
let version = 0;

let pending: Buffer[] = [];
function broadcast(text: string): void {
  if (!batched) {
    for (const ws of raw.keys()) ws.send(text);
    return;
  }
  if (pending.length === 0) setImmediate(flush);
  pending.push(frame(text));
}

function flush(): void {
  const all = pending.length === 1 ? pending[0]! : Buffer.concat(pending);
  pending = [];
  for (const socket of raw.values()) socket.write(all);
}

sockets.on('connection', (ws, request) => {
  raw.set(ws, request.socket);
  ws.on('error', () => ws.terminate());
  ws.on('close', () => raw.delete(ws));
  ws.on('message', (data: Buffer) => {
    const { id, method, params } = JSON.parse(data.toString()) as { id: string; method: string; params: { conversationId: string; clientId: string; text: string } };
    if (method !== 'message.send') return ws.send(JSON.stringify({ id, result: { heads: {} } }));
    const entity = {
      kind: 'message',
      id: '019ab000-0000-7000-8000-000000000000',
      conversationId: params.conversationId,
      seq: ++version,
      version,
      senderId: '019ab000-0000-7000-8000-000000000001',
      clientId: params.clientId,
      type: 'text',
      text: params.text,
      at: Date.now(),
    };
    broadcast(JSON.stringify({ stream: `conversation:${params.conversationId}`, version, entities: [entity] }));
    ws.send(JSON.stringify({ id, result: { message: entity } }));
  });
});

function frame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : 4;
  const built = Buffer.allocUnsafe(head + length);
  built[0] = 0x81;
  built[1] = head === 2 ? length : 126;
  if (head === 4) built.writeUInt16BE(length, 2);
  built.write(text, head);
  return built;
}

process.on('SIGTERM', () => process.exit(0));
server.listen(0, '127.0.0.1', () => process.stdout.write(`listening at http://127.0.0.1:${(server.address() as AddressInfo).port}\n`));
