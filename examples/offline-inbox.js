// Nothing is lost on those who are away. One-to-one and in a group made of a list of people: at the next sign-in all of
// it is there, in order, once. A wrong token is turned away before the handshake completes; two devices stay in step.
//
//   node examples/offline-inbox.js http://127.0.0.1:3000
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';

const server = process.argv[2] ?? 'http://127.0.0.1:3000';
setTimeout(() => assert.fail('This took too long.'), 30_000).unref();

const body = (params) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(params) });
const post = async (method, params) => (await fetch(new URL(`/api/${method}`, server), body(params))).json();

/** Connects and says hello. `streams` is what this device keeps between two visits: the newest version of each stream. */
async function connect(token, streams = {}) {
  const socket = new WebSocket(new URL('/ws', server.replace('http', 'ws')));
  const frames = [];
  socket.addEventListener('message', ({ data }) => frames.push(JSON.parse(data)));
  await once(socket, 'open');
  const frame = async (like) => frames.find(like) ?? (await once(socket, 'message'), frame(like));
  const call = async (method, params, id = randomUUID()) => {
    socket.send(JSON.stringify({ id, method, params }));
    return (await frame((it) => it.id === id)).result;
  };
  const say = (conversationId, text) => call('message.send', { conversationId, clientId: randomUUID(), type: 'text', text });
  const { heads } = await call('hello', { token });
  // What is new since the last visit: changes of the streams that moved, a snapshot of those never held.
  const missed = [];
  for (const [stream, head] of Object.entries(heads)) {
    if (streams[stream] === head) continue;
    const changes = streams[stream] && (await call('stream.changes', { stream, since: streams[stream] }));
    const { entities, version } = changes && !changes.tooOld ? changes : await call('stream.snapshot', { stream });
    missed.push(...entities.filter((it) => it.kind === 'message' && it.type !== 'system'));
    streams[stream] = version;
  }
  return { call, say, missed, frame, close: () => socket.close() };
}

const newLogin = () => ({ handle: `u${randomBytes(6).toString('hex')}`, password: randomUUID() });
const register = async (name, login = newLogin()) => ({ login, ...(await post('auth.register', { ...login, name })) });
const signIn = async ({ login }, streams) => connect((await post('auth.login', login)).token, streams);
const [ann, bo, cy] = [await register('Ann'), await register('Bo'), await register('Cy')];

// The token is looked at while this is still HTTP. (Browsers cannot set this header; they have a cookie.)
const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': 13, 'sec-websocket-key': randomBytes(16).toString('base64') };
const knock = (token) => http.get(new URL('/ws', server), { headers: { ...upgrade, authorization: `Bearer ${token}` } });
const [turnedAway] = await once(knock('kith_not-a-token'), 'response');
assert.equal(turnedAway.statusCode, 401);
const [letIn, line] = await once(knock(ann.token), 'upgrade');
assert.equal(letIn.statusCode, 101);
line.destroy();

// Ann at her desk and with her phone. Bo is here for a moment; Cy has never been.
const [desk, phone, visit] = [await connect(ann.token), await signIn(ann), await connect(bo.token)];
await desk.call('friend.request', { userId: bo.user.id });
await visit.call('friend.accept', { userId: ann.user.id });
const direct = (await desk.call('conversation.direct', { userId: bo.user.id })).conversation.id;
await desk.say(direct, 'Safe travels');
const held = {};
(await signIn(bo, held)).close();
visit.close();

const group = (await desk.call('conversation.create', { title: 'Weekend 周末', memberIds: [bo.user.id, cy.user.id] })).conversation.id;
for (const text of ['1 Bo?', '2 在吗', '3 👋']) await desk.say(direct, text);
for (const text of ['1 湖边？', '2 Saturday', '3 豆沙包']) await desk.say(group, text);
await phone.frame((it) => it.entities?.some((entity) => entity.text === '3 豆沙包')); // what the desk said

/** What of a conversation a device was told when it came. */
const told = ({ missed }, id) => missed.flatMap((it) => (it.conversationId === id ? it.text : [])).join(', ');
const back = await signIn(bo, held);
assert.equal(told(back, direct), '1 Bo?, 2 在吗, 3 👋');
assert.equal(told(back, group), '1 湖边？, 2 Saturday, 3 豆沙包');
const first = await signIn(cy);
assert.equal(told(first, direct) + told(first, group), '1 湖边？, 2 Saturday, 3 豆沙包');
const again = await signIn(bo, held);
assert.deepEqual(again.missed, []); // once
for (const device of [desk, phone, back, first, again]) device.close();
console.log('Everyone has everything.');
