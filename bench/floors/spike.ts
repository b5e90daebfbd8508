import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { type WebSocket, WebSocketServer } from 'ws';

// The floor for durable messages: `ws`, a worker and SQLite with `synchronous=FULL`. It stores each message with a place in its
// conversation, all that wait in one transaction, then acknowledges and hands over. It asks nobody who they are.

interface Send {
  socket: number;
  id: string;
  conversationId: string;
  clientId: string;
  text: string;
}
interface Stored {
  socket: number;
  conversationId: string;
  reply: string;
  push: string;
}

if (isMainThread) serve(process.argv[2]!);
else store((workerData as { folder: string }).folder);

function serve(folder: string): void {
  const worker = new Worker(new URL(import.meta.url), { workerData: { folder } });
  const all = new Map<number, WebSocket>();
  const members = new Map<string, WebSocket[]>();
  const server = createServer();
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  let next = 0;
  let waiting: Send[] = [];
  sockets.on('connection', (ws) => {
    const number = next++;
    all.set(number, ws);
    ws.on('error', () => ws.terminate());
    ws.on('close', () => all.delete(number));
    ws.on('message', (data: Buffer) => {
      const { id, method, params } = JSON.parse(data.toString()) as { id: string; method: string; params: { conversationId: string; clientId: string; text: string } };
      if (method === 'hello') {
        members.set(params.conversationId, [...(members.get(params.conversationId) ?? []), ws]);
        return ws.send(JSON.stringify({ id, result: {} }));
      }
      if (waiting.length === 0) {
        setImmediate(() => {
          worker.postMessage(waiting);
          waiting = [];
        });
      }
      waiting.push({ socket: number, id, conversationId: params.conversationId, clientId: params.clientId, text: params.text });
    });
  });
  worker.on('message', (stored: Stored[]) => {
    for (const { socket, conversationId, reply, push } of stored) {
      all.get(socket)?.send(reply);
      for (const member of members.get(conversationId) ?? []) member.send(push);
    }
  });
  process.on('SIGTERM', () => process.exit(0));
  server.listen(0, '127.0.0.1', () => process.stdout.write(`listening at http://127.0.0.1:${(server.address() as AddressInfo).port}\n`));
}

function store(folder: string): void {
  const db = new DatabaseSync(path.join(folder, 'spike.db'));
  db.exec(`pragma journal_mode = wal; pragma synchronous = full;
    create table streams (id text primary key, version integer not null);
    create table messages (conversation_id text, seq integer, client_id text, text text, at integer, primary key (conversation_id, seq), unique (client_id))`);
  const advance = db.prepare('insert into streams values (?, 1) on conflict do update set version = version + 1 returning version');
  const insert = db.prepare('insert into messages values (?, ?, ?, ?, ?)');
  parentPort!.on('message', (sends: Send[]) => {
    db.exec('begin');
    const stored = sends.map(({ socket, id, conversationId, clientId, text }): Stored => {
      const at = Date.now();
      const { version } = advance.get(conversationId) as { version: number };
      insert.run(conversationId, version, clientId, text, at);
      const message = { kind: 'message', conversationId, seq: version, version, clientId, type: 'text', text, at };
      return {
        socket,
        conversationId,
        reply: JSON.stringify({ id, result: { message } }),
        push: JSON.stringify({ stream: `conversation:${conversationId}`, version, entities: [message] }),
      };
    });
    db.exec('commit');
    parentPort!.postMessage(stored);
  });
}
