// A name and a picture, chosen at sign-in and shown with every message; a message to everyone in the room, and a private
// one that reaches one person and nobody else.
//
//   node examples/group-and-private.js http://127.0.0.1:3000
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';

const server = process.argv[2] ?? 'http://127.0.0.1:3000';
setTimeout(() => assert.fail('This took too long.'), 30_000).unref();

/** Signs in as a guest and connects. `seen` holds everything that came, as text. */
async function enter(name, avatar) {
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name, avatar }) };
  const { user, token } = await (await fetch(new URL('/api/auth.guest', server), request)).json();
  const socket = new WebSocket(new URL('/ws', server.replace('http', 'ws')));
  const seen = [];
  socket.addEventListener('message', ({ data }) => seen.push(data));
  await once(socket, 'open');
  const frame = async (like) => {
    for (;;) {
      const found = seen.map((text) => JSON.parse(text)).find(like);
      if (found) return found;
      await once(socket, 'message');
    }
  };
  let calls = 0;
  const call = async (method, params = {}) => {
    const id = String(++calls);
    socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await frame((it) => it.id === id);
    if (error) throw new Error(error.code);
    return result;
  };
  const say = (conversationId, text) => call('message.send', { conversationId, clientId: randomUUID(), type: 'text', text });
  /** The message with this text, once it is pushed. */
  const hears = async (text) => (await frame((it) => it.entities?.[0]?.text === text)).entities[0];
  await call('hello', { token });
  return { id: user.id, seen, call, say, hears, close: () => socket.close() };
}

const ann = await enter('Ann 安', 'fox');
const bo = await enter('Bo', 'heron');
const cy = await enter('Cy', 'otter');
const everyone = [ann, bo, cy];

// To the room: everyone hears it, the sender too. Who wrote it stands in the room's list of members.
const lobby = (await ann.call('room.list')).rooms[0].conversation.id;
for (const person of everyone) await person.call('room.join', { conversationId: lobby });
await ann.say(lobby, '大家好');
for (const person of everyone) {
  const { senderId } = await person.hears('大家好');
  const { members } = await person.call('member.list', { conversationId: lobby, userIds: [senderId] });
  assert.deepEqual([members[0].name, members[0].avatar], ['Ann 安', 'fox']);
}

// To Bo alone. Strangers are let in by those who want that; friends need not ask.
await bo.call('user.update', { accepts: 'anyone' });
const { conversation } = await ann.call('conversation.direct', { userId: bo.id });
await ann.say(conversation.id, 'Only for you, Bo');
assert.equal((await bo.hears('Only for you, Bo')).senderId, ann.id);

// Pushes come in the order of the commits: when Cy hears what was said after it, the private one has passed Cy by.
await ann.say(lobby, 'Good night');
await cy.hears('Good night');
assert.ok(!cy.seen.some((text) => text.includes('Only for you') || text.includes(conversation.id)));
await assert.rejects(cy.call('message.history', { conversationId: conversation.id }), { message: 'not_a_member' });
await assert.rejects(cy.say(conversation.id, 'Hello?'), { message: 'not_a_member' });

for (const person of everyone) person.close();
console.log('Everyone heard what was meant for them.');
