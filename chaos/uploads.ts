import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { tus } from '../packages/server/test/harness.ts';
import { Refused, insist, post } from '../packages/server/test/api.ts';
import type { ServerProcess } from '../packages/server/test/crash-server.ts';
import type { Stage } from './stage.ts';

// Somebody who sends files over a network that ends in the middle of them to a server that is killed, and somebody else who
// looks at every moment whether there is anything to see yet.

interface Sender {
  token: string;
  reader: string;
  conversationId: string;
}

interface Sent {
  fileId: string;
  sha256: string;
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What becomes of the server in the middle of an upload, now and then. */
type End = (server: ServerProcess) => Promise<unknown>;

/** Sends files, each of them whole in the end, until the time is over. @returns what was acknowledged */
export async function sendFiles(stage: Stage, end?: End): Promise<Sent[]> {
  const sender = await enter(stage);
  const sent: Sent[] = [];
  for (let number = 0; stage.goesOn(number, 4); number += 1) {
    // Never at the same moment as the kill that the sending below may ask for: the stage has one server at a time.
    sent.push(await sendFile(stage, sender, number, end));
    await lookAgain(stage, sender, sent);
  }
  return sent;
}

async function enter(stage: Stage): Promise<Sender> {
  const url = (): string => stage.server().url;
  const make = (handle: string) => insist(() => post(url(), 'auth.register', { handle, password: 'correct horse battery', name: handle }));
  const [one, other] = [await make('files-one'), await make('files-other')];
  await insist(() => post(url(), 'user.update', { accepts: 'anyone' }, other.token));
  const { conversation } = await insist(() => post(url(), 'conversation.direct', { userId: other.user.id }, one.token));
  return { token: one.token!, reader: other.token!, conversationId: conversation.id };
}

async function sendFile(stage: Stage, { token, reader, conversationId }: Sender, number: number, end: End | undefined): Promise<Sent> {
  const url = (): string => stage.server().url;
  const perhapsEnd = async (): Promise<void> => {
    if (end && stage.random() < 0.3) await stage.restart(end);
  };
  const bytes = randomBytes(1 + Math.floor(stage.random() * 400_000));
  const sha256 = hashOf(bytes);
  const clientId = `file-number-${number}`;
  const reserve = () => insist(() => post(url(), 'file.reserve', { clientId, name: `${number}.bin`, size: bytes.length, sha256 }, token));
  const { fileId, url: where } = await reserve();
  const headers = { ...tus, authorization: `Bearer ${token}` };
  for (let tries = 0; ; tries += 1) {
    const offset = await offsetOf(url() + where, headers);
    if (offset === bytes.length) break;
    if (offset === undefined) continue;
    if ((await get(url(), fileId, reader)).status === 200) stage.wrong(`file ${number} is there with ${offset} of ${bytes.length} bytes`);
    const rest = bytes.subarray(offset);
    // The last try goes through, so that there is an end.
    if (tries < 3 && stage.random() < 0.7) await cutAt(url(), where, headers, offset, rest, Math.floor(stage.random() * rest.length));
    else await fetch(url() + where, { method: 'PATCH', headers: { ...headers, 'upload-offset': String(offset) }, body: new Uint8Array(rest) }).catch(() => undefined);
    if (tries < 3) await perhapsEnd();
    // It may be without room, or away.
    else await pause(50);
  }
  // Everything twice, with a kill in between now and then: it is one file and one message.
  const commit = () => insist(() => post(url(), 'file.commit', { fileId, sha256 }, token));
  const send = () => insist(() => post(url(), 'message.send', { conversationId, clientId: `message-of-${number}`, type: 'file', text: '', fileId }, token));
  await commit();
  await perhapsEnd();
  await commit();
  const { message } = await send();
  await perhapsEnd();
  const again = await send();
  if (again.message.seq !== message.seq || again.message.id !== message.id) stage.wrong(`file ${number} was sent twice`);
  const second = await reserve().catch((error: unknown) => (error instanceof Refused ? undefined : Promise.reject(error as Error)));
  if (second && second.fileId !== fileId) stage.wrong(`file ${number} was given two places`);
  return { fileId, sha256 };
}

/** Where the upload is to go on; undefined: the server is away. */
async function offsetOf(url: string, headers: Record<string, string>): Promise<number | undefined> {
  const answer = await fetch(url, { method: 'HEAD', headers }).catch(() => undefined);
  if (answer?.status === 200) return Number(answer.headers.get('upload-offset'));
  await pause(20);
  return undefined;
}

/** Sends so many of the bytes that it announces, and is gone. */
async function cutAt(url: string, where: string, headers: Record<string, string>, offset: number, bytes: Buffer, cut: number): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  socket.on('error', () => {});
  const all = { host: `${hostname}:${port}`, ...headers, 'upload-offset': String(offset), 'content-length': String(bytes.length) };
  socket.write(
    `PATCH ${where} HTTP/1.1\r\n${Object.entries(all)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n`,
  );
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.write(bytes.subarray(0, cut), () => resolve());
  });
  socket.destroy();
}

async function get(url: string, fileId: string, token: string): Promise<{ status: number | undefined; bytes: Buffer }> {
  const answer = await fetch(`${url}/files/${fileId}/name`, { headers: { authorization: `Bearer ${token}` } }).catch(() => undefined);
  return { status: answer?.status, bytes: answer ? Buffer.from(await answer.arrayBuffer().catch(() => new ArrayBuffer(0))) : Buffer.alloc(0) };
}

/** One of those that were acknowledged, at any later time. */
async function lookAgain(stage: Stage, { reader }: Pick<Sender, 'reader'>, sent: Sent[]): Promise<void> {
  const { fileId, sha256 } = sent[Math.floor(stage.random() * sent.length)]!;
  const { status, bytes } = await get(stage.server().url, fileId, reader);
  if (status === undefined) return;
  if (status !== 200 || hashOf(bytes) !== sha256) stage.wrong(`acked and lost: a file, answered with ${status} and ${bytes.length} bytes`);
}

/** When all has come to rest: every one is there, as it was sent, and nothing lies about that nobody waits for. */
export async function lookAtFiles(stage: Stage, sent: Sent[]): Promise<void> {
  const { token: reader } = await insist(() => post(stage.server().url, 'auth.login', { handle: 'files-other', password: 'correct horse battery' }));
  for (const { fileId, sha256 } of sent) {
    const { status, bytes } = await get(stage.server().url, fileId, reader!);
    if (status !== 200 || hashOf(bytes) !== sha256) stage.wrong(`acked and lost: a file, answered with ${status} and ${bytes.length} bytes`);
  }
  const left = fs.readdirSync(path.join(stage.data, 'files', 'incoming'));
  if (left.length > 0) stage.wrong(`${left.length} uploads lie about that were finished`);
}
