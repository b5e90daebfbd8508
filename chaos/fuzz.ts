import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type ErrorBody, type ErrorCode, type MethodName, decodeParams, decodeRequest, errorCodes, isMethod, methods } from '@kith/protocol';
import { WebSocket } from 'ws';
import { randomFrom } from '../packages/server/test/crash-child.ts';
import { type ServerProcess, startServerProcess } from '../packages/server/test/crash-server.ts';
import { RawSocket, handshake } from '../packages/server/test/raw-socket.ts';
import { post } from '../packages/server/test/api.ts';
import { type Known, bytesFrom, httpFrom, inputFrom, luckFrom } from './inputs.ts';

// Hostile input without end against a real server in a process of its own, beside people who want to be left alone.

export interface FuzzReport {
  inputs: number;
  seconds: number;
  /** How often each code was answered, `ok` among them. */
  codes: Record<string, number>;
  /** Methods that were never taken beyond their shape: the inputs are not good enough there. */
  unreached: string[];
  /** The most that one input took of one thread of the server. Milliseconds of processor time. */
  slowestMs: number;
  /** MiB of the server, after a first part of the inputs and at the end. */
  memory: { before: number; after: number };
  wrong: string[];
}

/** Inputs that are on their way at the same time, and are looked at one by one if together they take long. */
const batch = 100;
/** Milliseconds of processor time that one input may take of one thread. */
const mostMs = 50;
/** MiB by which a server may have grown, with all that was stored meanwhile. */
const growthMiB = 150;
/** Milliseconds within which every request has its answer, also on a machine with other things to do. */
const answerMs = 30_000;

/** What must not be in an answer: the inside of the server. */
const inside = /sqlite|postgres|pg_|kysely|zod|select |insert into|update \w+ set|syntax error|\n|node:|\.ts\b|\[object|at \w+ \(/i;

export async function fuzz({ inputs, seed, say = () => {} }: { inputs: number; seed: number; say?: (line: string) => void }): Promise<FuzzReport> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-fuzz-'));
  const server = await startServerProcess(path.join(folder, 'data'));
  try {
    return await run(server, inputs, seed, say);
  } finally {
    await server.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function run(server: ServerProcess, inputs: number, seed: number, say: (line: string) => void): Promise<FuzzReport> {
  const began = performance.now();
  const codes: Record<string, number> = {};
  const reached = new Set<string>();
  const wrong: string[] = [];
  const complain = (what: string): void => void (wrong.length < 50 && wrong.push(what));
  const host = new URL(server.url).host;
  const bystanders = await Promise.all(['mia', 'noa'].map((name) => Peer.enter(server.url, name)));
  const [mia, noa] = bystanders as [Peer, Peer];
  await post(server.url, 'user.update', { accepts: 'anyone' }, noa.token);
  const { conversation } = await post(server.url, 'conversation.direct', { userId: noa.id }, mia.token);
  await Promise.all(bystanders.map((peer) => peer.settle()));
  const told = bystanders.map((peer) => peer.others.length);

  let people: Peer[] = [];
  let known: Known = {};
  let slowestMs = 0;
  let before = 0;
  let done = 0;
  for (let number = 0; done < inputs; number += 1) {
    // Each batch has a seed of its own, so that the one that broke something can be made again alone.
    const own = seed + number;
    const luck = luckFrom(randomFrom(own));
    if (number % 200 === 0 || people.some(({ closed }) => closed !== undefined)) {
      for (const peer of people) peer.end();
      people = await Promise.all([0, 1, 2, 3].map((index) => Peer.enter(server.url, `f${number}-${index}`)));
      known = await acquaint(server.url, people);
    }
    const texts = Array.from({ length: Math.min(batch, inputs - done) }, (_, index) => inputFrom(luck, known, `${number}-${index}`));
    // Some of those that no library would send, each on a connection of its own.
    const frames = number % 4 === 0 ? [bytesFrom(luck, known), bytesFrom(luck, known)] : [];
    const requests = number % 4 === 0 ? [httpFrom(luck, host)] : [];
    const at = threads(server);
    texts.forEach(({ frame }, index) => people[index % people.length]!.send(frame));
    const beside = Promise.all([
      ...frames.map((bytes) => rude(host, Buffer.concat([Buffer.from(handshake([], { host })), bytes]), undefined)),
      ...requests.map((request) => rude(host, Buffer.from(request), (what) => complain(`seed ${own}: ${what}, for ${JSON.stringify(request.slice(0, 200))}`))),
    ]);
    const silent = await Promise.all(people.map((peer) => peer.answered()));
    const took = longest(at, threads(server));
    if (silent.some((count) => count > 0) && people.every(({ closed }) => closed === undefined))
      complain(`seed ${own}: ${silent.join()} requests were not answered in ${answerMs} ms`);
    for (const peer of people) {
      for (const reply of peer.take()) {
        const code = judge(reply, (what) => complain(`seed ${own}: ${what}`));
        codes[code] = (codes[code] ?? 0) + 1;
        const index = Number(reply.id?.split('-')[1]);
        const input = texts[index];
        if (input && fits(input.frame)) reached.add(input.method);
      }
      if (peer.closed !== undefined && ![4500, 4501].includes(peer.closed)) complain(`seed ${own}: a connection was closed with ${peer.closed}`);
    }
    done += texts.length + frames.length + requests.length;
    if (took > mostMs) slowestMs = Math.max(slowestMs, await oneByOne(server, texts, (what) => complain(`seed ${own}: ${what}`)));
    else slowestMs = Math.max(slowestMs, took / texts.length);
    await beside;
    if (server.process.exitCode !== null || server.process.signalCode !== null) {
      complain(`seed ${own}: the server is gone (${server.process.exitCode ?? server.process.signalCode}): ${server.output().err.slice(-500)}`);
      break;
    }
    if (before === 0 && done > inputs / 5) before = memoryOf(server);
    if (number % 1_000 === 999) say(`${done} inputs, ${Math.round((performance.now() - began) / 1_000)} s, ${memoryOf(server)} MiB, ${wrong.length} wrong`);
  }

  for (const peer of people) peer.end();
  for (const [index, peer] of bystanders.entries()) {
    if (peer.closed !== undefined) complain(`a bystander was closed with ${peer.closed}`);
    else await peer.settle();
    const more = peer.others.slice(told[index]);
    if (more.length > 0) complain(`a bystander was told ${more.length} things, the first: ${more[0]!.slice(0, 200)}`);
  }
  const { message } = await post(server.url, 'message.send', { conversationId: conversation.id, clientId: `bystander-${seed}`, type: 'text', text: 'Still there?' }, mia.token);
  if (message.seq !== 1) complain(`the first message of the bystanders has the place ${message.seq}`);
  const complaints = server.output().out.filter((line) => /"level":"(error|fatal)"/.test(line));
  if (complaints.length > 0) complain(`the server complained ${complaints.length} times: ${complaints[0]!.slice(0, 500)}`);
  let after = memoryOf(server);
  // What was garbage goes in its own time.
  for (let turn = 0; turn < 20 && after > before + growthMiB; turn += 1) {
    await pause(500);
    after = memoryOf(server);
  }
  if (after > before + growthMiB) complain(`memory went from ${before} to ${after} MiB`);
  for (const peer of bystanders) peer.end();
  const unreached = (Object.keys(methods) as MethodName[]).filter((method) => method !== 'hello' && !reached.has(method));
  return { inputs: done, seconds: Math.round((performance.now() - began) / 1_000), codes, unreached, slowestMs: Math.round(slowestMs * 10) / 10, memory: { before, after }, wrong };
}

/** Somebody on one connection, who counts what they are answered. */
class Peer {
  readonly id: string;
  readonly token: string;
  readonly sessionId: string;
  readonly handle: string;
  /** Whatever came and is no reply: pushes and signals. Heads come with the time and say nothing. */
  readonly others: string[] = [];
  closed: number | undefined;
  readonly #socket: WebSocket;
  #replies: Reply[] = [];
  #due = 0;
  #wake = (): void => {};

  private constructor(socket: WebSocket, { id, token, sessionId, handle }: Pick<Peer, 'id' | 'token' | 'sessionId' | 'handle'>) {
    this.#socket = socket;
    ({ id: this.id, token: this.token, sessionId: this.sessionId, handle: this.handle } = { id, token, sessionId, handle });
    socket.on('error', () => {});
    socket.on('close', (code) => {
      this.closed = code;
      this.#wake();
    });
    socket.on('message', (bytes: Buffer) => {
      const frame = JSON.parse(bytes.toString()) as Reply & { heads?: unknown };
      if ('id' in frame) {
        this.#due -= 1;
        this.#replies.push(frame);
        if (this.#due <= 0) this.#wake();
      } else if (!('heads' in frame)) this.others.push(bytes.toString());
    });
  }

  static async enter(url: string, handle: string): Promise<Peer> {
    const { user, token, sessionId } = await post(url, 'auth.register', { handle, password: 'correct horse battery', name: handle });
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    const peer = new Peer(socket, { id: user.id, token: token!, sessionId, handle });
    peer.send(JSON.stringify({ id: 'hello', method: 'hello', params: { token } }));
    await peer.answered();
    peer.take();
    return peer;
  }

  send(frame: string): void {
    this.#due += 1;
    this.#socket.send(frame);
  }

  /** @returns how many requests have no answer, when all have one or the time is over */
  async answered(): Promise<number> {
    if (this.#due > 0 && this.closed === undefined) {
      const late = AbortSignal.timeout(answerMs);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        late.addEventListener('abort', () => resolve());
      });
    }
    const due = this.#due;
    this.#due = 0;
    return due;
  }

  take(): Reply[] {
    const replies = this.#replies;
    this.#replies = [];
    return replies;
  }

  async settle(): Promise<void> {
    this.send(JSON.stringify({ id: 'settle', method: 'stream.heads', params: { streams: [] } }));
    await this.answered();
    this.take();
  }

  end(): void {
    this.#socket.terminate();
  }
}

interface Reply {
  id?: string;
  result?: unknown;
  error?: ErrorBody;
}

/** @returns the code of the answer */
function judge({ id, result, error }: Reply, complain: (what: string) => void): ErrorCode | 'ok' {
  if (error === undefined) {
    if (result === undefined) complain(`the answer to ${id} is neither a result nor an error`);
    return 'ok';
  }
  const { code, message, retryable } = error;
  if (!Object.hasOwn(errorCodes, code)) complain(`the code ${code} is none of ours`);
  else if (errorCodes[code].retryable !== retryable) complain(`${code} says retryable ${retryable}`);
  if (code === 'internal') complain(`internal for ${id}`);
  if (inside.test(message)) complain(`an answer tells of the inside: ${message}`);
  return code;
}

/** Those who send have conversations, messages and files, so that their ids lead somewhere. */
async function acquaint(url: string, people: Peer[]): Promise<Known> {
  const [one, ...others] = people as [Peer, ...Peer[]];
  for (const peer of people) await post(url, 'user.update', { accepts: 'anyone' }, peer.token);
  const { conversation: group } = await post(url, 'conversation.create', { title: 'Fuzz', memberIds: others.map(({ id }) => id) }, one.token);
  const { conversation: direct } = await post(url, 'conversation.direct', { userId: others[0]!.id }, one.token);
  const sent = await Promise.all(
    people.map((peer, index) => post(url, 'message.send', { conversationId: group.id, clientId: `${peer.handle}-first`, type: 'text', text: `word ${index}` }, peer.token)),
  );
  const { fileId } = await post(url, 'file.reserve', { name: 'notes.txt', size: 10 }, one.token);
  const { rooms } = await post(url, 'room.list', {}, one.token);
  const ids = people.map(({ id }) => id);
  const conversations = [group.id, direct.id, rooms[0]!.conversation.id];
  const streams = [...conversations.map((id) => `conversation:${id}`), ...ids.map((id) => `user:${id}`)];
  return {
    conversationId: conversations,
    messageId: sent.map(({ message }) => message.id),
    userId: ids,
    userIds: ids,
    memberIds: ids,
    fileId: [fileId],
    posterId: [fileId],
    sessionId: people.map(({ sessionId }) => sessionId),
    stream: streams,
    streams,
    query: people.map(({ handle }) => handle),
    handle: [...people.map(({ handle }) => handle), 'somebody-new'],
    password: ['correct horse battery', 'not the password'],
    newPassword: ['another good password'],
    text: ['hello', '字 🍁', '> quoted', 'see https://kith.example/'],
    name: ['Anna', 'notes.txt'],
    title: ['A title'],
    sha256: ['0'.repeat(64)],
    type: ['text/plain', 'image/png'],
    timeZone: ['Europe/Berlin', 'Nowhere/Land'],
    avatar: ['', 'salt-2', `file:${fileId}`],
    endpoint: ['https://nobody.invalid.push.services.mozilla.com/x'],
    p256dh: ['BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4'],
    auth: ['BTBZMqHH6r4Tts7J_aSIgg'],
    clientDataJSON: ['e30'],
    authenticatorData: ['AAAA'],
    signature: ['AAAA'],
    clientId: ['client-id-1', `${one.handle}-first`],
  };
}

/** Is it what its method takes? What the method says to it is another thing, and may be that it is a bad request all the same. */
function fits(frame: string): boolean {
  try {
    const { method, params } = decodeRequest(frame);
    if (isMethod(method)) decodeParams(method, params);
    return isMethod(method);
  } catch {
    return false;
  }
}

/** Each of these alone, on a connection of its own person. @returns the most that one of them takes, three times over */
async function oneByOne(server: ServerProcess, texts: { frame: string }[], complain: (what: string) => void): Promise<number> {
  let most = 0;
  let peer: Peer | undefined;
  for (const [index, { frame }] of texts.entries()) {
    let least = Infinity;
    // Once can be the compiler, or the collector of garbage; three times is the input.
    for (let turn = 0; turn < 3 && least > mostMs / 2; turn += 1) {
      if (!peer || peer.closed !== undefined) peer = await Peer.enter(server.url, `slow-${Date.now()}-${index}-${turn}`);
      const at = threads(server);
      peer.send(frame);
      await peer.answered();
      peer.take();
      least = Math.min(least, longest(at, threads(server)));
    }
    most = Math.max(most, least);
    if (least > mostMs) complain(`${Math.round(least)} ms for ${frame.slice(0, 300)}`);
  }
  peer?.end();
  return most;
}

/** One peer that knows no manners. It must be sent away, or be answered; not be kept. */
async function rude(host: string, bytes: Buffer, complain: ((what: string) => void) | undefined): Promise<void> {
  const raw = await RawSocket.open(Number(host.split(':')[1]));
  raw.write(bytes);
  const enough = Promise.race([raw.ended, raw.until((received) => received.length > (complain ? 12 : 200)).catch(() => {})]);
  await Promise.race([enough, pause(complain ? answerMs : 50, undefined, { ref: false })]);
  if (complain) {
    const text = raw.received.toString('latin1');
    if (text !== '' && !/^HTTP\/1\.1 \d{3} /.test(text)) complain(`answered ${JSON.stringify(text.slice(0, 80))}`);
    if (/^HTTP\/1\.1 5(?!03|05)/.test(text)) complain(`answered ${text.slice(0, 30)}`);
  }
  raw.reset();
}

/** Nanoseconds on a processor, by thread. Empty where the system does not say. */
function threads({ process: { pid } }: ServerProcess): Map<string, number> {
  const tasks = `/proc/${pid}/task`;
  if (!fs.existsSync(tasks)) return new Map();
  return new Map(fs.readdirSync(tasks).map((id) => [id, Number(read(`${tasks}/${id}/schedstat`).split(' ')[0])]));
}

/** Milliseconds of the thread that took most. */
const longest = (before: Map<string, number>, after: Map<string, number>): number => Math.max(0, ...[...after].map(([id, ns]) => (ns - (before.get(id) ?? ns)) / 1e6));

const memoryOf = ({ process: { pid } }: ServerProcess): number => Math.round(Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1_024);

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

export const inWords = ({ inputs, seconds, codes, slowestMs, memory, unreached }: FuzzReport): string =>
  `${inputs} inputs in ${seconds} s; ${Object.entries(codes)
    .toSorted(([, a], [, b]) => b - a)
    .map(([code, count]) => `${code} ${count}`)
    .join(', ')}; slowest ${slowestMs} ms; memory ${memory.before} to ${memory.after} MiB; never beyond their shape: ${unreached.join() || 'none'}`;
