// Two friends, with frames as you would type them. Text and emoji arrive; who was away finds everything on return; a
// connection that died without a word is noticed by the heartbeat and ended.
//
//   node examples/friend-chat.js http://127.0.0.1:3000
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';

const server = new URL(process.argv[2] ?? 'http://127.0.0.1:3000');
setTimeout(() => assert.fail('This took too long.'), 100_000).unref();

/** Somebody new: the server gives them an id and a token. */
const newcomer = (name) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name }) });
const guest = async (name) => (await fetch(new URL('/api/auth.guest', server), newcomer(name))).json();

/** Opens a connection. `frame(like)` is the first frame of that kind, whether it came already or is still to come. */
async function connect() {
  const socket = new WebSocket(new URL('/ws', server.href.replace('http', 'ws')));
  const frames = [];
  socket.addEventListener('message', ({ data }) => frames.push(JSON.parse(data)));
  await once(socket, 'open');
  const frame = async (like) => frames.find(like) ?? (await once(socket, 'message'), frame(like));
  return { send: (text) => socket.send(text), frame, close: () => (socket.close(), once(socket, 'close')) };
}

const reply = (id) => (frame) => frame.id === id;
const friend = (state) => (frame) => frame.entities?.some((it) => it.kind === 'friend' && it.state === state);
const message = (text) => (frame) => frame.entities?.some((it) => it.kind === 'message' && it.text === text);

const [ann, bo] = [await guest('Ann'), await guest('Bo')];
const a = await connect();
let b = await connect();
a.send(`{"id":"1","method":"hello","params":{"token":"${ann.token}"}}`);
b.send(`{"id":"1","method":"hello","params":{"token":"${bo.token}"}}`);

// One asks, the other accepts. Each side is told by a push in the person's own stream.
a.send(`{"id":"2","method":"friend.request","params":{"userId":"${bo.user.id}","note":"It is me"}}`);
await b.frame(friend('incoming'));
b.send(`{"id":"2","method":"friend.accept","params":{"userId":"${ann.user.id}"}}`);
await a.frame(friend('friends'));

// Text there, emoji back. The reply to a send comes when the message is on disk.
a.send(`{"id":"3","method":"conversation.direct","params":{"userId":"${bo.user.id}"}}`);
const chat = (await a.frame(reply('3'))).result.conversation.id;
const send = (id, type, text) => `{"id":"${id}","method":"message.send","params":{"conversationId":"${chat}","clientId":"${randomUUID()}","type":"${type}","text":"${text}"}}`;
a.send(send('4', 'text', '你好 Bo'));
await b.frame(message('你好 Bo'));
b.send(send('3', 'emoji', '👋'));
const held = (await b.frame(message('👋'))).version;
assert.equal((await a.frame(message('👋'))).entities[0].senderId, bo.user.id);

// Bo goes, Ann writes on. Back again, Bo asks for what changed since the last version he holds.
await b.close();
a.send(send('5', 'text', 'Are you there?'));
a.send(send('6', 'emoji', '🌙'));
await a.frame(reply('6'));
b = await connect();
b.send(`{"id":"1","method":"hello","params":{"token":"${bo.token}"}}`);
b.send(`{"id":"2","method":"stream.changes","params":{"stream":"conversation:${chat}","since":${held}}}`);
const missed = (await b.frame(reply('2'))).result.entities.filter((it) => it.kind === 'message');
assert.equal(missed.map((it) => it.text).join(' '), 'Are you there? 🌙');

// Now Bo comes by a bare TCP socket that says hello and never answers a ping: half-open, as after pulling a cable.
await b.close();
const dead = net.connect(Number(server.port || 80), server.hostname);
const key = randomBytes(16).toString('base64');
dead.write(`GET /ws HTTP/1.1\r\nHost: ${server.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n`);
dead.write(`Sec-WebSocket-Key: ${key}\r\nAuthorization: Bearer ${bo.token}\r\n\r\n`);
await once(dead, 'data');
dead.write(Buffer.from('\x81\x9b\0\0\0\0{"id":"1","method":"hello"}', 'latin1')); // text, 27 bytes, a mask of zeros
await once(dead, 'data');
a.send(`{"id":"7","method":"presence.watch","params":{"userIds":["${bo.user.id}"]}}`);
assert.equal((await a.frame(reply('7'))).result.presence[0].online, true);
await once(dead, 'close'); // by the server: one ping was not answered before the next
await a.frame((frame) => frame.signal === 'presence' && frame.data.online === false);
await a.close();
console.log('Ann and Bo have talked.');
