import { createHash, randomBytes } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Message } from '@kith/protocol';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Person, type TestServer, startTestServer } from '../../server/test/harness.ts';
import { Client, type ClientOptions, type Peers, type PendingFile, type WebSocketConstructor, isPending, memoryStorage } from './index.ts';
import { Sha256, sha256Of } from './sha256.ts';

/** Files on their way, against a real server over real connections that a test cuts where it likes. */
let server: TestServer;
/** Milliseconds by which the server's clock is ahead of ours. */
let ahead = 0;
beforeAll(async () => {
  server = await startTestServer({ engine: 'sqlite-direct', now: () => Date.now() + ahead, config: { fileSize: 2, filesPerUser: 40 } });
});
afterAll(() => server.close());

const until = <T>(check: () => T): Promise<T> => vi.waitFor(check, { timeout: 15_000, interval: 5 });

async function device(person: Person, options: Partial<ClientOptions> = {}): Promise<Client> {
  const client = new Client({ url: server.url, token: person.token, random: () => Math.random() / 50, ...options });
  onTestFinished(() => client.stop());
  await client.start();
  return client;
}

/** Somebody with notes to themselves, who needs no friends for that. */
async function alone(): Promise<{ person: Person; notes: string }> {
  const person = await server.guest();
  const { conversation } = await server.call('conversation.direct', { userId: person.id }, person.token);
  return { person, notes: conversation.id };
}

async function messages(person: Person, conversationId: string): Promise<Message[]> {
  const { messages: all } = await server.call('message.history', { conversationId, limit: 100 }, person.token);
  return all.filter(({ type }) => type !== 'system');
}

const blob = (bytes: Buffer, type = ''): Blob => new Blob([new Uint8Array(bytes)], { type });
const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const stateOf = (client: Client, clientId: string): PendingFile['state'] | undefined => client.outbox.pending().find((entry) => entry.clientId === clientId)?.file?.state;

/** Lets requests of an upload go on one by one, or not at all. */
class Gate {
  readonly asked: { method: string; path: string; body: number }[] = [];
  open = true;
  readonly #waiting = new Set<() => void>();
  /** What stands in for sending. */
  before: (method: string, url: string) => void = () => {};
  /** What is answered in place of the server. */
  answer: (method: string) => Response | undefined = () => undefined;

  readonly fetch: typeof fetch = async (input, init) => {
    const { method = 'GET', body, signal } = init!;
    this.asked.push({ method, path: new URL(input as string).pathname, body: body instanceof Blob ? body.size : 0 });
    this.before(method, input as string);
    if (!this.open) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.add(resolve);
        signal?.addEventListener('abort', () => reject(signal.reason as Error));
      });
    }
    return this.answer(method) ?? fetch(input, init);
  };

  go(): void {
    this.open = true;
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }

  of(method: string): number {
    return this.asked.filter((request) => request.method === method).length;
  }
}

describe('a file on its way', () => {
  test('[UP1] it is in the timeline when sendFile returns, and in storage before anything of it leaves', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const storage = memoryStorage(kept);
    const gate = new Gate();
    let write = (): void => {};
    const client = await device(person, {
      fetch: gate.fetch,
      storage: {
        ...storage,
        async writeBytes(key, bytes) {
          if (bytes) await new Promise<void>((resolve) => (write = resolve));
          return storage.writeBytes(key, bytes);
        },
      },
    });
    await until(() => expect(client.connection.at).toBe('ready'));
    const timeline = client.timeline(notes);
    const bytes = randomBytes(700_000);
    const { clientId } = client.sendFile(notes, { name: 'plan.bin', bytes: blob(bytes) }, { text: 'look' });
    expect(timeline.messages.at(-1)).toMatchObject({
      clientId,
      type: 'file',
      text: 'look',
      state: 'waiting',
      file: { name: 'plan.bin', size: 700_000, state: 'waiting', sent: 0 },
    });
    expect(
      await client.outbox
        .bytes(clientId)!
        .arrayBuffer()
        .then((found) => sha(new Uint8Array(found))),
    ).toBe(sha(bytes));
    client.send(notes, { text: 'after it' });
    await until(() => expect(timeline.messages).toMatchObject([{ text: 'after it', seq: 1 }, { clientId }]));
    expect(gate.asked).toEqual([]);
    write();
    const seen: number[] = [];
    timeline.onChange(() => {
      const item = timeline.messages.at(-1)!;
      if (isPending(item) && item.file) seen.push(item.file.sent);
    });
    await until(() => expect(timeline.messages.at(-1)).toMatchObject({ clientId, text: 'look', file: { name: 'plan.bin', size: 700_000 }, seq: 2 }));
    expect(seen.some((sent) => sent > 0 && sent < 700_000)).toBe(true);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(client.outbox.bytes(clientId)).toBeUndefined();
    await until(() => expect([...kept.keys()].filter((key) => /^(?:outbox|bytes)\//.test(key))).toEqual([]));
  });

  test('[UP3] an empty file arrives, and one that is called a picture and is none arrives as a file', async () => {
    const { person, notes } = await alone();
    const client = await device(person);
    client.sendFile(notes, { name: 'empty.txt', bytes: new Blob([]) });
    client.sendFile(notes, { name: '', type: 'image/png', bytes: new Blob(['not at all']) });
    await until(() => expect(client.outbox.pending()).toEqual([]));
    expect(await messages(person, notes)).toMatchObject([
      { type: 'file', file: { name: 'empty.txt', size: 0 } },
      { type: 'file', file: { name: 'file', size: 10 } },
    ]);
  });

  test('[UP4] what is written after a file passes it while it goes up; files keep their order, and one that rests is passed by all', async () => {
    const { person, notes } = await alone();
    const gate = new Gate();
    gate.before = (method, url) => {
      if (method === 'PATCH' && url === first) throw new TypeError('fetch failed');
    };
    const client = await device(person, { fetch: gate.fetch });
    await until(() => expect(client.connection.at).toBe('ready'));
    let first = '?';
    const one = client.sendFile(notes, { name: 'one', bytes: blob(randomBytes(1_000)) }).clientId;
    gate.open = false;
    await until(() => expect(gate.of('HEAD')).toBe(1));
    first = server.url + client.outbox.pending()[0]!.file!.place!.url;
    client.send(notes, { text: 'text' });
    client.sendFile(notes, { name: 'two', bytes: blob(randomBytes(1_000)) });
    const three = client.sendFile(notes, { name: 'three', bytes: blob(randomBytes(1_000)) }).clientId;
    gate.go();
    await until(() => expect(stateOf(client, three)).toBe('stored'));
    await until(async () => expect((await messages(person, notes)).map(({ text }) => text)).toEqual(['text']));
    client.outbox.pauseFile(one);
    await until(() => expect(client.outbox.pending()).toMatchObject([{ clientId: one, file: { state: 'paused' } }]));
    first = '?';
    client.outbox.resumeFile(one);
    await until(() => expect(client.outbox.pending()).toEqual([]));
    expect((await messages(person, notes)).map(({ text, file }) => file?.name ?? text)).toEqual(['text', 'two', 'three', 'one']);
  });

  test('[UP5] three go up at once, in the order of sending', async () => {
    const { person, notes } = await alone();
    const gate = new Gate();
    gate.open = false;
    const client = await device(person, { fetch: gate.fetch });
    const names = ['1', '2', '3', '4', '5'];
    for (const name of names) client.sendFile(notes, { name, bytes: blob(randomBytes(100)) });
    await until(() => expect(client.outbox.pending().map(({ file }) => file!.state)).toEqual(['sending', 'sending', 'sending', 'waiting', 'waiting']));
    await until(() => expect(gate.asked.length).toBe(3));
    gate.go();
    await until(() => expect(client.outbox.pending()).toEqual([]));
    expect((await messages(person, notes)).map(({ file }) => file!.name)).toEqual(names);
  });

  test('[UP6] paused it rests, over a restart too; resumed it goes on where the server is', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const gate = new Gate();
    const client = await device(person, { fetch: gate.fetch, storage: memoryStorage(kept) });
    const bytes = randomBytes(1_500_000);
    gate.before = (method) => void (gate.open = method !== 'PATCH' || gate.of('PATCH') === 1);
    const { clientId } = client.sendFile(notes, { name: 'long', bytes: blob(bytes) });
    await until(() => expect(gate.of('PATCH')).toBe(2));
    client.outbox.pauseFile(clientId);
    expect(client.outbox.pending()).toMatchObject([{ state: 'waiting', file: { state: 'paused', sent: 262_144 } }]);
    await client.stop();

    const again = new Gate();
    const second = await device(person, { fetch: again.fetch, storage: memoryStorage(kept) });
    await until(() => expect(second.connection.at).toBe('ready'));
    second.send(notes, { text: 'meanwhile' });
    await until(async () => expect((await messages(person, notes)).map(({ text }) => text)).toEqual(['meanwhile']));
    await until(() => expect(second.outbox.pending()).toMatchObject([{ file: { state: 'paused', sent: 262_144 } }]));
    expect(again.asked).toEqual([]);
    second.outbox.resumeFile(clientId);
    await until(() => expect(second.outbox.pending()).toEqual([]));
    expect(again.asked.reduce((sum, { body }) => sum + body, 0)).toBe(bytes.length - 262_144);
    const [, message] = await messages(person, notes);
    expect(sha(new Uint8Array(await (await second.download(message!.file!)).arrayBuffer()))).toBe(sha(bytes));
  });

  test('[UP6] given up, nothing of it is left on the device or the server', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const gate = new Gate();
    const client = await device(person, { fetch: gate.fetch, storage: memoryStorage(kept) });
    gate.before = (method) => void (gate.open = method !== 'PATCH' || gate.of('PATCH') === 1);
    const { clientId } = client.sendFile(notes, { name: 'mistake', bytes: blob(randomBytes(1_000_000)) }, { text: 'words' });
    await until(() => expect(gate.of('PATCH')).toBe(2));
    const { url } = client.outbox.pending()[0]!.file!.place!;
    expect(client.outbox.discard(clientId)).toMatchObject({ text: 'words' });
    expect(client.outbox.pending()).toEqual([]);
    await until(async () => {
      const answer = await server.http('HEAD', url, { headers: { authorization: `Bearer ${person.token}`, 'tus-resumable': '1.0.0' } });
      expect(answer.status).toBe(404);
    });
    await until(() => expect([...kept.keys()].filter((key) => /^(?:outbox|bytes)\//.test(key))).toEqual([]));
    client.send(notes, { text: 'next' });
    await until(async () => expect((await messages(person, notes)).map(({ text }) => text)).toEqual(['next']));
  });

  test('[UP7] refused, it is kept with the reason and holds up nothing; tried again it arrives', async () => {
    const { person, notes } = await alone();
    const gate = new Gate();
    const client = await device(person, { fetch: gate.fetch });
    const large = client.sendFile(notes, { name: 'large', bytes: blob(randomBytes(2 * 1_048_576 + 1)) }).clientId;
    const unlucky = client.sendFile(notes, { name: 'unlucky', bytes: blob(randomBytes(600_000)) }).clientId;
    const full = { error: { code: 'storage_full', message: 'Full.', retryable: true } };
    gate.answer = (method) => (method === 'PATCH' ? Response.json(full, { status: 507 }) : undefined);
    await until(() => expect(client.outbox.pending()[1]).toMatchObject({ clientId: unlucky, state: 'failed' }));
    gate.answer = () => undefined;
    client.sendFile(notes, { name: 'fine', bytes: blob(randomBytes(100)) });
    await until(() =>
      expect(client.outbox.pending()).toMatchObject([
        { clientId: large, state: 'failed', error: { code: 'too_large' } },
        { clientId: unlucky, state: 'failed', error: { code: 'storage_full' } },
      ]),
    );
    client.outbox.retry(unlucky);
    await until(() => expect(client.outbox.pending()).toMatchObject([{ clientId: large }]));
    expect((await messages(person, notes)).map(({ file }) => file!.name)).toEqual(['fine', 'unlucky']);
  });

  test('[UP7] bytes that are not on this device any more, or cannot be read, are told of, and not tried for ever', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const folder = await mkdtemp(path.join(tmpdir(), 'kith-upload-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'changes.bin');
    await writeFile(file, randomBytes(1_000));
    const client = new Client({ url: server.url, token: person.token, storage: memoryStorage(kept) });
    client.sendFile(notes, { name: 'changes.bin', bytes: await openAsBlob(file) });
    await writeFile(file, randomBytes(2_000));
    client.sendFile(notes, { name: 'lost.bin', bytes: blob(randomBytes(1_000)) });
    await client.stop();
    for (const [key, entry] of kept) if ((entry as { file?: PendingFile }).file?.name === 'lost.bin') kept.delete(key.replace('outbox/', 'bytes/'));
    const second = await device(person, { storage: memoryStorage(kept) });
    await until(() =>
      expect(second.outbox.pending()).toMatchObject([
        { state: 'failed', error: { code: 'incomplete' } },
        { state: 'failed', error: { code: 'incomplete' } },
      ]),
    );
  });

  test('[UP8] a place whose time is over is made anew, before and after the commit', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const gate = new Gate();
    const client = await device(person, { fetch: gate.fetch, storage: memoryStorage(kept) });
    const half = randomBytes(500_000);
    gate.before = (method) => void (gate.open = method !== 'PATCH' || gate.of('PATCH') === 1);
    const { clientId } = client.sendFile(notes, { name: 'half', bytes: blob(half) });
    await until(() => expect(gate.of('PATCH')).toBe(2));
    client.outbox.pauseFile(clientId);
    // Committed, and its message refused for now.
    gate.before = () => void (gate.open = true);
    gate.go();
    const whole = client.sendFile(notes, { name: 'whole', bytes: blob(randomBytes(1_000)) }).clientId;
    await until(async () => expect((await messages(person, notes)).length).toBe(1));
    const early = client.sendFile(notes, { name: 'early', bytes: blob(randomBytes(1_000)) }).clientId;
    await client.stop();
    const entry = kept.get(`outbox/${early}`) as { file: PendingFile };
    const upload = await server.upload(person, randomBytes(1_000), { name: 'early' });
    kept.set(`outbox/${early}`, { ...entry, file: { ...entry.file, state: 'stored', ref: upload } });
    ahead += 25 * 3_600_000;
    const second = await device(person, { storage: memoryStorage(kept) });
    await until(() => expect(stateOf(second, early)).toBeUndefined());
    second.outbox.resumeFile(clientId);
    await until(() => expect(second.outbox.pending()).toEqual([]));
    const found = await messages(person, notes);
    expect(found.map(({ file, clientId: id }) => [file!.name, id])).toEqual([
      ['whole', whole],
      ['early', early],
      ['half', clientId],
    ]);
    expect(sha(new Uint8Array(await (await second.download(found[2]!.file!)).arrayBuffer()))).toBe(sha(half));
  });

  test('[UP9] of several tabs the one that leads uploads for all, the others show how far it is, and whoever leads next goes on', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const tabs = new Tabs();
    const [first, second] = [new Gate(), new Gate()];
    const one = await device(person, { fetch: first.fetch, storage: memoryStorage(kept), peers: tabs.join() });
    const two = await device(person, { fetch: second.fetch, storage: memoryStorage(kept), peers: tabs.join() });
    await until(() => expect([one.connection.at, two.connection.at]).toEqual(['ready', 'ready']));
    first.before = (method) => void (first.open = method !== 'PATCH' || first.of('PATCH') === 1);
    const bytes = randomBytes(1_000_000);
    const { clientId } = two.sendFile(notes, { name: 'from the second', bytes: blob(bytes) });
    await until(() => expect(first.of('PATCH')).toBe(2));
    expect(two.outbox.pending()).toMatchObject([{ clientId, file: { state: 'sending', sent: 262_144 } }]);
    expect(second.asked).toEqual([]);
    two.outbox.pauseFile(clientId);
    await until(() => expect(stateOf(one, clientId)).toBe('paused'));
    two.outbox.resumeFile(clientId);
    await until(() => expect(first.of('PATCH')).toBe(3));
    await one.stop();
    tabs.next();
    await until(() => expect(two.outbox.pending()).toEqual([]));
    expect(second.asked.reduce((sum, { body }) => sum + body, 0)).toBe(bytes.length - 262_144);
    const [message, ...others] = await messages(person, notes);
    expect(others).toEqual([]);
    expect(sha(new Uint8Array(await (await two.download(message!.file!)).arrayBuffer()))).toBe(sha(bytes));
  });

  test('[UP13] a video takes the picture that stands for it along, over a restart too, and goes without where the server takes none', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const mp4 = Buffer.concat([Buffer.from('\0\0\0\x18ftypisom\0\0\0\0isommp42', 'latin1'), Buffer.alloc(9_976, 7)]);
    const picture = await sharp({ create: { width: 64, height: 36, channels: 3, background: '#8fb8a6' } })
      .jpeg()
      .toBuffer();
    const first = new Client({ url: server.url, token: person.token, storage: memoryStorage(kept) });
    const options = { width: 640, height: 360, durationMs: 1_500, poster: blob(picture, 'image/jpeg') };
    const { clientId } = first.sendFile(notes, { name: 'a.mp4', type: 'video/mp4', bytes: blob(mp4) }, options);
    expect(first.outbox.bytes(clientId, 'poster')?.size).toBe(picture.length);
    await first.stop();
    const client = await device(person, { storage: memoryStorage(kept) });
    expect(client.outbox.bytes(clientId, 'poster')?.size).toBe(picture.length);
    // No video to the server, and no picture.
    client.sendFile(notes, { name: 'b.mp4', type: 'video/mp4', bytes: new Blob(['words']) }, options);
    client.sendFile(notes, { name: 'c.mp4', type: 'video/mp4', bytes: blob(mp4) }, { ...options, poster: new Blob(['words'], { type: 'image/jpeg' }) });
    await until(() => expect(client.outbox.pending()).toEqual([]));
    const files = (await messages(person, notes)).map(({ file }) => file!);
    expect(files).toMatchObject([
      { type: 'video/mp4', width: 640, height: 360, durationMs: 1_500, preview: expect.any(String) },
      { name: 'b.mp4', size: 5 },
      { type: 'video/mp4', width: 640 },
    ]);
    expect(files[2]).not.toHaveProperty('preview');
    expect((await client.download(files[0]!, { size: 'small' })).headers.get('content-type')).toMatch(/^image\//);
    await until(() => expect([...kept.keys()].filter((key) => /^(?:outbox|bytes)\//.test(key))).toEqual([]));
  });

  test('[UP14] a picture keeps where it was taken only if its sender said so, and one that cannot be shown in place arrives as a file', async () => {
    const { person, notes } = await alone();
    const client = await device(person);
    const picture = sharp({ create: { width: 40, height: 30, channels: 3, background: '#8fb8a6' } });
    const bytes = await picture
      .jpeg()
      .withExif({ IFD3: { GPSLatitude: '48/1 8/1 0/1', GPSLatitudeRef: 'N' } })
      .toBuffer();
    const gps = (found: Uint8Array): boolean => Buffer.from(found).includes('Exif');
    expect(gps(bytes)).toBe(true);
    client.sendFile(notes, { name: 'cleaned.jpg', type: 'image/jpeg', bytes: blob(bytes) });
    client.sendFile(notes, { name: 'whole.jpg', type: 'image/jpeg', bytes: blob(bytes) }, { original: true });
    client.sendFile(notes, { name: 'broken.jpg', type: 'image/jpeg', bytes: blob(bytes.subarray(0, 300)) });
    await until(() => expect(client.outbox.pending()).toEqual([]));
    const found = await messages(person, notes);
    expect(found.map(({ type, file }) => [type, file!.name])).toEqual([
      ['image', 'cleaned.jpg'],
      ['image', 'whole.jpg'],
      ['file', 'broken.jpg'],
    ]);
    const downloaded = await Promise.all(found.slice(0, 2).map(async ({ file }) => new Uint8Array(await (await client.download(file!)).arrayBuffer())));
    expect(downloaded.map(gps)).toEqual([false, true]);
  });

  test('[UP11] signing out leaves no bytes behind', async () => {
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    const gate = new Gate();
    gate.open = false;
    const client = await device(person, { fetch: gate.fetch, storage: memoryStorage(kept) });
    client.sendFile(notes, { name: 'secret', bytes: blob(randomBytes(1_000)) });
    await until(() => expect(gate.asked.length).toBe(1));
    await until(() => expect([...kept.keys()].some((key) => key.startsWith('bytes/'))).toBe(true));
    await client.wipe();
    expect(kept.size).toBe(0);
    expect(client.outbox.pending()).toEqual([]);
  });
});

interface Tab {
  leads: boolean;
  onLead: (() => void)[];
  topics: Map<string, ((word: never) => void)[]>;
}

/** As the tabs of a browser: words reach all others later, in their order, and one leads. */
class Tabs {
  readonly #all: Tab[] = [];

  join(): Peers {
    const tab: Tab = { leads: this.#all.length === 0, onLead: [], topics: new Map() };
    this.#all.push(tab);
    return {
      get leads() {
        return tab.leads;
      },
      onLead: (fn) => void tab.onLead.push(fn) as never,
      tell: (topic, word) => {
        const copy = structuredClone(word);
        for (const other of this.#all) if (other !== tab) queueMicrotask(() => other.topics.get(topic)?.forEach((fn) => fn(copy as never)));
      },
      onTold: (topic, fn) => void tab.topics.set(topic, [...(tab.topics.get(topic) ?? []), fn]) as never,
    };
  }

  /** The one that leads is gone. */
  next(): void {
    this.#all.shift();
    this.#all[0]!.leads = true;
    for (const fn of this.#all[0]!.onLead) fn();
  }
}

/** What becomes of a step: it never leaves, a part of its bytes arrives, its answer is lost, the device dies on it. */
type Fault = 'before' | 'part' | 'after' | 'dies';

/** A network and a device that fail by a seed, at any of the steps of a file. */
class Trouble {
  readonly random: () => number;
  /** Faults that are left. */
  left: number;
  onDie: () => void = () => {};

  constructor(seed: number, faults: number) {
    let state = seed >>> 0;
    this.random = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    this.left = faults;
  }

  #next(): Fault | undefined {
    if (this.left === 0 || this.random() > 0.4) return undefined;
    this.left -= 1;
    const fault = (['before', 'part', 'after', 'dies'] as const)[Math.floor(this.random() * 4)]!;
    if (fault === 'dies') queueMicrotask(() => this.onDie());
    return fault;
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const fault = this.#next();
    if (fault === 'before') throw new TypeError('fetch failed');
    const { body, ...rest } = init!;
    if (fault === 'part' && body instanceof Blob) {
      await fetch(input, { ...rest, body: body.slice(0, Math.floor(this.random() * (body.size + 1))) });
      throw new TypeError('fetch failed');
    }
    const response = await fetch(input, init);
    if (fault) throw new TypeError('fetch failed');
    return response;
  };

  /** For the client's options: a socket that is cut before or after a step of a file. */
  get WebSocket(): WebSocketConstructor {
    const next = (): Fault | undefined => this.#next();
    return class extends WebSocket {
      #cutAt: string | undefined;
      override send(text: string): void {
        const { id, method } = JSON.parse(text) as { id: string; method: string };
        const fault = /^(?:file|message)\./.test(method) ? next() : undefined;
        if (fault === 'before') return this.close();
        if (fault) this.#cutAt = id;
        super.send(text);
      }
      override set onmessage(fn: ((event: MessageEvent) => void) | null) {
        super.onmessage = (event) => {
          const { id } = JSON.parse(String(event.data)) as { id?: string };
          if (id !== undefined && id === this.#cutAt) this.close();
          else fn?.(event);
        };
      }
    };
  }
}

const seeds = process.env['FUZZ_SEED'] ? [Number(process.env['FUZZ_SEED'])] : Array.from({ length: 12 }, (_, n) => (Date.now() + n * 7_919) % 1_000_000_000);

describe('a network that fails at any step', () => {
  test.for(seeds)('[UP3] every file arrives once, whole and in order, and every text: seed %d', { timeout: 60_000 }, async (seed) => {
    console.info(`fuzz of uploads: FUZZ_SEED=${seed}`);
    const trouble = new Trouble(seed, 10);
    const { person, notes } = await alone();
    const kept = new Map<string, unknown>();
    let client: Client;
    let dying: Promise<void> | undefined;
    const start = async (): Promise<void> => {
      client = await device(person, { storage: memoryStorage(kept), fetch: trouble.fetch, WebSocket: trouble.WebSocket });
    };
    trouble.onDie = () => {
      dying ??= client
        .stop()
        .then(start)
        .then(() => (dying = undefined) as void);
    };
    await start();
    const files = new Map<string, Buffer>();
    for (const name of ['1', '2', '3', '4']) {
      const bytes = randomBytes(Math.floor(trouble.random() * 700_000));
      files.set(client!.sendFile(notes, { name, bytes: blob(bytes) }).clientId, bytes);
      client!.send(notes, { text: `text ${name}` });
    }
    await vi.waitFor(
      async () => {
        await dying;
        expect(client.outbox.pending()).toEqual([]);
      },
      { timeout: 50_000, interval: 20 },
    );
    const found = await messages(person, notes);
    expect(found.flatMap(({ text }) => (text === '' ? [] : text))).toEqual(['text 1', 'text 2', 'text 3', 'text 4']);
    expect(found.flatMap(({ file }) => file?.name ?? [])).toEqual(['1', '2', '3', '4']);
    const arrived = await Promise.all(found.filter(({ file }) => file).map(async ({ clientId, file }) => [clientId, sha((await server.download(person, file!.id)).bytes)]));
    expect(arrived).toEqual([...files].map(([clientId, bytes]) => [clientId, sha(bytes)]));
    await until(() => expect([...kept.keys()].filter((key) => /^(?:outbox|bytes)\//.test(key))).toEqual([]));
  });
});

describe('without a message', () => {
  test('[UP10] upload gives a file, download and its address bring it to those who may have it', async () => {
    const { person } = await alone();
    const client = await device(person);
    const bytes = randomBytes(700_000);
    let tries = 0;
    const flaky = await device(person, {
      fetch: (input, init) => {
        if (init!.method === 'PATCH' && ++tries === 2) return Promise.reject(new TypeError('fetch failed'));
        return fetch(input, init);
      },
    });
    const sent: number[] = [];
    const file = await flaky.upload({ name: '画像.bin', bytes: blob(bytes) }, { onSent: (n) => sent.push(n) });
    expect(file).toMatchObject({ name: '画像.bin', size: bytes.length, type: 'application/octet-stream' });
    expect([sent[0], sent.at(-1)]).toEqual([0, bytes.length]);
    expect(client.fileUrl(file, 'small')).toBe(`${server.url}/files/${file.id}/${encodeURIComponent('画像.bin')}?size=small`);
    const response = await client.download(file);
    const hash = createHash('sha256');
    for await (const chunk of response.body!) hash.update(chunk);
    expect(hash.digest('hex')).toBe(sha(bytes));
    const other = await device(await server.guest());
    await expect(other.download(file)).rejects.toMatchObject({ code: 'not_found' });
    await expect(flaky.upload({ name: 'x', bytes: blob(randomBytes(2 * 1_048_576 + 1)) })).rejects.toMatchObject({ code: 'too_large' });
    const given = new AbortController();
    given.abort(new Error('Changed my mind.'));
    await expect(client.upload({ name: 'x', bytes: new Blob(['x']) }, { signal: given.signal })).rejects.toThrow('Changed my mind.');
  });

  test('[UP15] forwarded, a file and a text are in the other conversation without bytes going up; of one that is gone it says so', async () => {
    const { person, notes } = await alone();
    const gate = new Gate();
    const client = await device(person, { fetch: gate.fetch });
    const { conversation: club } = await server.call('conversation.create', { title: 'Club', memberIds: [] }, person.token);
    client.sendFile(notes, { name: 'plan.bin', bytes: blob(randomBytes(1_000)) }, { text: 'look' });
    await until(async () => expect(await messages(person, notes)).toHaveLength(1));
    const [original] = await messages(person, notes);
    const { length } = gate.asked;
    client.forward(club.id, original!);
    client.forward(club.id, { type: 'text', text: 'words' });
    await until(async () => expect(await messages(person, club.id)).toMatchObject([{ type: 'file', text: 'look', file: original!.file }, { text: 'words' }]));
    expect(gate.asked.slice(length)).toEqual([]);
    for (const { id } of [...(await messages(person, notes)), ...(await messages(person, club.id))]) await client.recall(id);
    const clientId = client.forward(club.id, original!);
    await until(() => expect(client.outbox.pending()).toMatchObject([{ clientId, state: 'failed', error: { code: 'not_found' } }]));
    expect(() => client.forward(club.id, { type: 'system', text: '' })).toThrow(TypeError);
  });

  test('[UP12] the SHA-256 is that of the bytes, in any parts, also where the platform has none', async () => {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1_000, 300_000]) {
      const bytes = randomBytes(length);
      const hash = new Sha256();
      for (let at = 0; at < length;) {
        const end = at + 1 + Math.floor(Math.random() * 150);
        hash.update(bytes.subarray(at, end));
        at = end;
      }
      expect(Buffer.from(hash.digest()).toString('hex')).toBe(sha(bytes));
      expect(await sha256Of(blob(bytes))).toBe(sha(bytes));
    }
    vi.stubGlobal('crypto', { getRandomValues: crypto.getRandomValues.bind(crypto) });
    onTestFinished(() => void vi.unstubAllGlobals());
    const bytes = randomBytes(600_000);
    expect(await sha256Of(blob(bytes))).toBe(sha(bytes));
    const given = AbortSignal.abort(new Error('Enough.'));
    await expect(sha256Of(blob(bytes), given)).rejects.toThrow('Enough.');
  });
});
