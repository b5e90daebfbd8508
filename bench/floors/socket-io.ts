import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';

// The peer that most people would take: Socket.IO as it comes, over WebSocket alone. What one says goes to the room in which all are.

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
let version = 0;

io.on('connection', (socket) => {
  void socket.join('all');
  socket.on('send', (params: { conversationId: string; clientId: string; text: string }) => {
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
    io.to('all').emit('push', { stream: `conversation:${params.conversationId}`, version, entities: [entity] });
  });
});

process.on('SIGTERM', () => process.exit(0));
http.listen(0, '127.0.0.1', () => process.stdout.write(`listening at http://127.0.0.1:${(http.address() as AddressInfo).port}\n`));
