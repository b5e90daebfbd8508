// Two friends, with frames as you would type them: text, emoji, a file; one is away meanwhile; a connection dies without a word.
//
//   node examples/friend-chat.js http://127.0.0.1:3000
import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';

const server = new URL(process.argv[2] ?? 'http://127.0.0.1:3000');
setTimeout(() => assert.fail('This took too long.'), 100_000).unref();
const [json, begin] = [{ 'content-type': 'application/json' }, { 'content-type': 'application/offset+octet-stream', 'tus-resumable': '1.0.0', 'upload-offset': '0' }];
/** Calls a method over HTTP. */
const call = async (method, params, headers = json) => (await fetch(new URL(`/api/${method}`, server), { method: 'POST', headers, body: JSON.stringify(params) })).json();
const as = ({ token }, more) => ({ authorization: `Bearer ${token}`, ...more });
const reply = (id) => (frame) => frame.id === id;
/** Opens a connection and says hello: from its reply on, what happens is pushed. `frame(like)` is the first frame of that kind, whether it came already or is still to come. */
async function connect({ token }) {
  const socket = new WebSocket(new URL('/ws', server.href.replace('http', 'ws')));
  const frames = [];
  socket.addEventListener('message', ({ data }) => frames.push(JSON.parse(data)));
  await once(socket, 'open');
  socket.send(`{"id":"1","method":"hello","params":{"token":"${token}"}}`);
  const frame = async (like) => frames.find(like) ?? (await once(socket, 'message'), frame(like));
  await frame(reply('1'));
  return { send: (text) => socket.send(text), frame, close: () => (socket.close(), once(socket, 'close')) };
}
const entity = (field, value) => (frame) => frame.entities?.some((it) => it[field] === value);

const [ann, bo] = [await call('auth.guest', { name: 'Ann' }), await call('auth.guest', { name: 'Bo' })];
const a = await connect(ann);
let b = await connect(bo);

// One asks, the other accepts. Each side is told by a push in the person's own stream.
a.send(`{"id":"2","method":"friend.request","params":{"userId":"${bo.user.id}","note":"It is me"}}`);
await b.frame(entity('state', 'incoming'));
b.send(`{"id":"2","method":"friend.accept","params":{"userId":"${ann.user.id}"}}`);
await a.frame(entity('state', 'friends'));

// Text there, emoji back. The reply to a send comes when the message is on disk.
const chat = (await call('conversation.direct', { userId: bo.user.id }, as(ann, json))).conversation.id;
const send = (id, what) => `{"id":"${id}","method":"message.send","params":{"conversationId":"${chat}","clientId":"${randomUUID()}",${what}}}`;
a.send(send('4', '"type":"text","text":"你好 Bo"'));
await b.frame(entity('text', '你好 Bo'));
b.send(send('3', '"type":"emoji","text":"👋"'));
assert.equal((await a.frame(entity('text', '👋'))).entities[0].senderId, bo.user.id);

// A file by plain HTTP: a place for it, its bytes, the word that these are all. Then the message that carries it.
const bytes = randomBytes(50_000);
const { fileId, url } = await call('file.reserve', { name: '山.raw', size: bytes.length }, as(ann, json));
await fetch(new URL(url, server), { method: 'PATCH', body: bytes, headers: as(ann, begin) });
await call('file.commit', { fileId, sha256: createHash('sha256').update(bytes).digest('hex') }, as(ann, json));
a.send(send('5', `"type":"file","text":"from up there","fileId":"${fileId}"`));
const { version: held, entities } = await b.frame(entity('text', 'from up there'));
const got = await fetch(new URL(`/files/${fileId}/${entities[0].file.name}`, server), { headers: as(bo) });
assert.deepEqual(Buffer.from(await got.arrayBuffer()), bytes);

// Bo goes, Ann writes on. Back again, Bo asks for what changed since the last version he holds.
await b.close();
a.send(send('6', '"type":"text","text":"Are you there?"'));
a.send(send('7', '"type":"emoji","text":"🌙"'));
await a.frame(reply('7'));
b = await connect(bo);
b.send(`{"id":"2","method":"stream.changes","params":{"stream":"conversation:${chat}","since":${held}}}`);
const missed = (await b.frame(reply('2'))).result.entities.flatMap((it) => (it.kind === 'message' ? it.text : []));
assert.deepEqual(missed, ['Are you there?', '🌙']);

// Now Bo comes by a bare TCP socket that says hello and never answers a ping: half-open, as after pulling a cable.
await b.close();
const dead = net.connect(Number(server.port || 80), server.hostname);
dead.write(`GET /ws HTTP/1.1\r\nHost: ${server.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n`);
dead.write(`Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nAuthorization: Bearer ${bo.token}\r\n\r\n`);
await once(dead, 'data');
dead.write(Buffer.from('\x81\x9b\0\0\0\0{"id":"1","method":"hello"}', 'latin1')); // text, 27 bytes, a mask of zeros
await once(dead, 'data');
a.send(`{"id":"8","method":"presence.watch","params":{"userIds":["${bo.user.id}"]}}`);
assert.equal((await a.frame(reply('8'))).result.presence[0].online, true);
await once(dead, 'close'); // by the server: one ping was not answered before the next
await a.frame((frame) => frame.signal === 'presence' && frame.data.online === false);
await a.close();
console.log('Ann and Bo have talked.');
