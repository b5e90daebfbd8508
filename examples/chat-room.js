// An open room. A guest gets an identity and a token from the server and comes back with it; a token that was tampered
// with or is over is refused and the socket closed. Who is online is a number and a list, both live; so are names.
//
//   node examples/chat-room.js http://127.0.0.1:3000 [a token that has expired]
import assert from 'node:assert/strict';
import { once } from 'node:events';

const [server = 'http://127.0.0.1:3000', expired] = process.argv.slice(2);
setTimeout(() => assert.fail('This took too long.'), 60_000).unref();

/** The same methods as over the socket, one at a time. */
async function post(method, params, token) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  return (await fetch(new URL(`/api/${method}`, server), { method: 'POST', headers, body: JSON.stringify(params) })).json();
}

/** Opens a connection and says hello. `call` asks; `frame` is the first frame like that, come or still to come. */
async function connect(token) {
  const socket = new WebSocket(new URL('/ws', server.replace('http', 'ws')));
  const frames = [];
  socket.addEventListener('message', ({ data }) => frames.push(JSON.parse(data)));
  const closed = once(socket, 'close').then(([{ code }]) => code);
  await once(socket, 'open');
  const frame = async (like) => frames.find(like) ?? (await once(socket, 'message'), frame(like));
  let calls = 0;
  const call = async (method, params = {}) => {
    const id = String(++calls);
    socket.send(JSON.stringify({ id, method, params }));
    return frame((it) => it.id === id);
  };
  const hello = await call('hello', { token });
  return { hello, call, frame, closed, close: () => (socket.close(), closed) };
}

async function refuses(token) {
  const { hello, closed } = await connect(token);
  assert.equal(hello.error.code, 'unauthenticated');
  assert.equal(await closed, 4500); // 4500 and up: do not try again with this one
}

// The server says who you are. The token is all that you keep; no id or name of yours is ever believed.
const ann = await post('auth.guest', { name: 'Ann' });
await (await connect(ann.token)).close();
const a = await connect(ann.token);
assert.equal(a.hello.result.user.id, ann.user.id);

await refuses(ann.token.slice(0, -4) + (ann.token.endsWith('AAAA') ? 'BBBB' : 'AAAA'));
if (expired) await refuses(expired);
const cy = await post('auth.guest', { name: 'Cy' });
const c = await connect(cy.token);
await post('auth.logout', {}, cy.token);
assert.equal(await c.closed, 4500); // signing out ends what is open, at once
await refuses(cy.token);

// Every server has a Lobby. Asking who is online there also asks to be told of changes.
const lobby = (await a.call('room.list')).result.rooms[0].conversation.id;
await a.call('room.join', { conversationId: lobby });
const before = (await a.call('room.online', { conversationId: lobby })).result;
assert.ok(before.users.some((user) => user.id === ann.user.id));

const bo = await post('auth.guest', { name: 'Bo' });
const b = await connect(bo.token);
await b.call('room.join', { conversationId: lobby });
const came = await a.frame(({ signal, data }) => signal === 'room.online' && data.joined.some((user) => user.id === bo.user.id));
assert.equal(came.data.count, before.count + 1);

// A rename reaches everyone who sees the person: the member, as it is now, in a push of the room.
await b.call('user.update', { name: 'Bo 博' });
await a.frame(({ entities }) => entities?.some((it) => it.kind === 'member' && it.userId === bo.user.id && it.name === 'Bo 博'));

// Offline is told some seconds after the last connection is gone, so that a reconnect or a second tab is no news.
await b.close();
const went = await a.frame(({ signal, data }) => signal === 'room.online' && data.left.includes(bo.user.id));
assert.equal(went.data.count, before.count);
await a.close();
console.log('The room is quiet again.');
