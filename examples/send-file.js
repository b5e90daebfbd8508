// A program sends a file to a friend. After a break the upload goes on where it was.
//
//   node examples/send-file.js http://127.0.0.1:3000
import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';

const server = new URL(process.argv[2] ?? 'http://127.0.0.1:3000');
setTimeout(() => assert.fail('This took too long.'), 100_000).unref();

/** Calls a method over HTTP. */
async function call(method, params, token) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(new URL(`/api/${method}`, server), { method: 'POST', headers, body: JSON.stringify(params) });
  assert.equal(answer.status, 200, method);
  return answer.json();
}

const [ann, bo] = [await call('auth.guest', { name: 'Ann' }), await call('auth.guest', { name: 'Bo' })];
await call('friend.request', { userId: bo.user.id }, ann.token);
await call('friend.accept', { userId: ann.user.id }, bo.token);
const { conversation } = await call('conversation.direct', { userId: bo.user.id }, ann.token);

// A place for it. The client ids make every step one that can be repeated.
const bytes = randomBytes(300_000);
const { fileId, url } = await call('file.reserve', { name: '照片.raw', size: bytes.length, clientId: randomUUID() }, ann.token);
const upload = new URL(url, server);
const tus = { authorization: `Bearer ${ann.token}`, 'tus-resumable': '1.0.0' };
const send = (from, to) => {
  const headers = { ...tus, 'content-type': 'application/offset+octet-stream', 'upload-offset': String(from) };
  return fetch(upload, { method: 'PATCH', headers, body: bytes.subarray(from, to) });
};

// A third of it, and then, as after any trouble, the question where to go on.
assert.equal((await send(0, 100_000)).status, 204);
const at = Number((await fetch(upload, { method: 'HEAD', headers: tus })).headers.get('upload-offset'));
assert.equal(at, 100_000);
assert.equal((await send(at)).status, 204);

// Which bytes they were, and the message that carries them.
await call('file.commit', { fileId, sha256: createHash('sha256').update(bytes).digest('hex') }, ann.token);
const message = { conversationId: conversation.id, clientId: randomUUID(), type: 'file', text: 'from the mountains', fileId };
await call('message.send', message, ann.token);

// Bo finds it in the conversation, and nobody else anywhere.
const { messages } = await call('message.history', { conversationId: conversation.id }, bo.token);
const { file, text } = messages.at(-1);
assert.deepEqual([file.name, file.size, text], ['照片.raw', bytes.length, 'from the mountains']);
const download = (token) => fetch(new URL(`/files/${file.id}/${encodeURIComponent(file.name)}`, server), { headers: { authorization: `Bearer ${token}` } });
assert.deepEqual(Buffer.from(await (await download(bo.token)).arrayBuffer()), bytes);
const { token } = await call('auth.guest', { name: 'Cy' });
assert.equal((await download(token)).status, 404);
console.log('Bo has the file.');
