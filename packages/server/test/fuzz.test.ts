import { Client, type Storage, type Timeline, memoryStorage } from '@kith/client';
import { type Entity, type EntityKind, type Message, type MethodName, type Params, RequestError, conversationStream, entities, entityKey, userStream } from '@kith/protocol';
import { describe, expect, test, vi } from 'vitest';
import type { Broker } from '../src/broker/broker.ts';
import { openLocalBroker } from '../src/broker/local.ts';
import type { Publication } from '../src/core/core.ts';
import { type Engine, type Person, type TestServer, startTestServer } from './harness.ts';
import { type Proxy, openProxy } from './proxy.ts';

/**
 * Several people with several devices do everything at once, over a network that drops connections and a broker that
 * drops and delays what is published. When all is healed and still, every replica is what the server has.
 *
 * `FUZZ_SEED` repeats a run as far as a network can be repeated; `FUZZ_STEPS` makes it longer.
 */
const seeds = process.env.FUZZ_SEED ? [Number(process.env.FUZZ_SEED)] : [Date.now() % 1_000_000_000];
const steps = Number(process.env.FUZZ_STEPS ?? 250);

/** mulberry32: small, and the same everywhere. */
function dice(seed: number): { random: () => number; below: (n: number) => number; chance: (p: number) => boolean; pick: <T>(from: readonly T[]) => T | undefined } {
  let state = seed >>> 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (n: number): number => Math.floor(random() * n);
  return { random, below, chance: (p) => random() < p, pick: (from) => from[below(from.length)] };
}
type Dice = ReturnType<typeof dice>;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Keeps the broker's contract and nothing more: at most once, and in the order of each topic. */
function lossyBroker(luck: Dice): Broker & { heal(): void } {
  const inner = openLocalBroker();
  const waiting = new Map<string, Publication[]>();
  let broken = true;
  const release = (topic: string): void => {
    const queue = waiting.get(topic);
    waiting.delete(topic);
    for (const publication of queue ?? []) inner.publish(publication);
  };
  return {
    ...inner,
    publish(publication) {
      const queue = waiting.get(publication.topic);
      if (!broken || (!queue && luck.chance(0.6))) return inner.publish(publication);
      if (luck.chance(0.3)) return;
      if (queue) queue.push(publication);
      else {
        waiting.set(publication.topic, [publication]);
        setTimeout(() => release(publication.topic), luck.below(60));
      }
    },
    heal() {
      broken = false;
      for (const topic of waiting.keys()) release(topic);
    },
  };
}

/** One device through all its lives. */
class Device {
  readonly name: string;
  readonly person: Person;
  readonly #url: string;
  readonly #storage: Storage = memoryStorage();
  client: Client;
  readonly timelines = new Map<string, Timeline>();
  /** What it sent, in order. */
  readonly sent: { conversationId: string; clientId: string; text: string }[] = [];
  /** How far it said that its person has read. */
  readonly marked = new Map<string, number>();
  /** What is wrong with what it showed. */
  readonly complaints: string[] = [];
  #heard = new Set<string>();

  constructor(name: string, person: Person, url: string) {
    this.name = name;
    this.person = person;
    this.#url = url;
    this.client = this.#make();
  }

  async start(): Promise<void> {
    await this.client.start();
  }

  /** The program ends, and is started again with what the device kept. */
  async restart(): Promise<void> {
    for (const id of [...this.timelines.keys()]) this.close(id);
    await this.client.stop();
    this.client = this.#make();
    await this.client.start();
  }

  send(conversationId: string, text: string): void {
    this.sent.push({ conversationId, clientId: this.client.send(conversationId, { text }), text });
  }

  mark(conversationId: string, seq: number): void {
    this.client.markRead(conversationId, seq);
    this.marked.set(conversationId, Math.max(seq, this.marked.get(conversationId) ?? 0));
  }

  open(conversationId: string): Timeline {
    const known = this.timelines.get(conversationId);
    if (known) return known;
    const { client } = this;
    const timeline = client.timeline(conversationId);
    this.timelines.set(conversationId, timeline);
    timeline.onChange(() => {
      const seqs = timeline.messages.flatMap((item) => ('kind' in item ? [item.seq] : []));
      const hidden = new Set(client.store.list('hidden').flatMap((one) => (one.conversationId === conversationId ? [one.seq] : [])));
      for (let seq = seqs[0] ?? 0, n = 0; n < seqs.length; seq++) {
        if (seqs[n] === seq) n += 1;
        else if (!hidden.has(seq)) {
          this.complaints.push(`${this.name} showed a hole in ${conversationId}: ${seqs.join(' ')}`);
          return;
        }
      }
    });
    return timeline;
  }

  close(conversationId: string): void {
    this.timelines.get(conversationId)?.close();
    this.timelines.delete(conversationId);
  }

  #make(): Client {
    const client = new Client({ url: this.#url, token: this.person.token, storage: this.#storage, random: () => Math.random() / 10 });
    this.#heard = new Set();
    client.on('message', (message) => {
      if (this.#heard.has(message.id)) this.complaints.push(`${this.name} heard ${message.id} twice`);
      this.#heard.add(message.id);
    });
    return client;
  }
}

/** Everything a person can do, at random. What is refused is refused; only our own faults count. */
async function act(luck: Dice, devices: Device[], faults: string[], shaken: Set<string>): Promise<void> {
  const device = luck.pick(devices)!;
  const { client } = device;
  const view = luck.pick(client.conversations());
  const others = devices.map(({ person }) => person.id).filter((id) => id !== device.person.id);
  const attempt = <M extends MethodName>(method: M, params: Params<M>): void => {
    client.call(method, params, { timeoutMs: 3_000 }).catch((error: unknown) => {
      if (!(error instanceof RequestError)) return;
      if (error.code === 'internal' || error.code === 'bad_request') faults.push(`${method}: ${error.message}`);
    });
  };
  /** Who is taken out of a conversation loses the marks they had not told. */
  const shake = (conversationId: string): string => {
    shaken.add(conversationId);
    return conversationId;
  };
  const own = (): Message | undefined => luck.pick(client.store.list('message').filter((message) => message.senderId === device.person.id && message.type !== 'system'));

  const doings: [weight: number, act: () => void | Promise<void>][] = [
    [40, () => view && device.send(view.id, `${device.name} ${device.sent.length}`)],
    [15, () => view && device.mark(view.id, Math.max(0, view.lastSeq - luck.below(4)))],
    [8, () => attempt('message.edit', { messageId: own()?.id ?? 'none', text: `edited ${luck.below(1_000)}` })],
    [4, () => attempt('message.delete', { messageId: own()?.id ?? 'none' })],
    [3, () => attempt('conversation.create', { title: `Group ${luck.below(1_000)}`, memberIds: others.filter(() => luck.chance(0.5)) })],
    [3, () => attempt('conversation.direct', { userId: luck.pick(others)! })],
    [4, () => view && attempt('member.add', { conversationId: view.id, userIds: [luck.pick(others)!] })],
    [3, () => view && attempt('member.remove', { conversationId: shake(view.id), userId: luck.pick(others)! })],
    [1, () => view && attempt('conversation.leave', { conversationId: shake(view.id) })],
    [3, () => view && attempt('conversation.pin', { conversationId: view.id, on: luck.chance(0.5) })],
    [2, () => view && attempt('conversation.update', { conversationId: view.id, title: `Title ${luck.below(1_000)}` })],
    [2, () => attempt('user.update', { name: `Name ${luck.below(1_000)}` })],
    [2, () => attempt('friend.remark', { userId: luck.pick(others)!, remark: `Remark ${luck.below(1_000)}` })],
    [4, () => view && client.drafts.set(view.id, luck.chance(0.3) ? '' : `draft ${luck.below(1_000)}`)],
    [2, () => attempt('message.hide', { messageId: luck.pick(client.store.list('message'))?.id ?? 'none' })],
    [1, () => attempt('settings.update', { readReceipts: luck.chance(0.7), typing: luck.chance(0.7) })],
    [5, () => void (view && device.open(view.id).loadBefore())],
    [2, () => void (view && device.open(view.id).loadAround(1 + luck.below(view.lastSeq + 1)))],
    [2, () => view && device.close(view.id)],
    [2, () => device.restart()],
  ];
  let at = luck.below(doings.reduce((sum, [weight]) => sum + weight, 0));
  await doings.find(([weight]) => (at -= weight) < 0)![1]();
}

function trouble(luck: Dice, proxy: Proxy): void {
  if (luck.chance(0.04)) proxy.cut(() => luck.chance(0.4));
  if (luck.chance(0.01)) proxy.refuse(true);
  else if (luck.chance(0.2)) proxy.refuse(false);
  if (luck.chance(0.01)) proxy.stall(true);
  else if (luck.chance(0.2)) proxy.stall(false);
}

/** Every message of a conversation, on this device. */
async function wholeHistory(client: Client, conversationId: string): Promise<Message[]> {
  const timeline = client.timeline(conversationId);
  while (timeline.hasBefore && timeline.error === undefined) await timeline.loadBefore();
  const lastSeq = client.conversation(conversationId)?.lastSeq ?? 0;
  const messages = Array.from({ length: lastSeq }, (_, n) => client.store.message(conversationId, n + 1)).filter((message) => message !== undefined);
  timeline.close();
  return messages;
}

/** What a snapshot leaves out: what has no trace any more. */
const isTraceless = (value: Entity): boolean =>
  (value.kind === 'inbox' && !value.joined) ||
  (value.kind === 'session' && value.endedAt !== null) ||
  (value.kind === 'heard' && value.upTo === 0 && value.seqs.length === 0) ||
  (value.kind === 'friend' && value.state === 'none') ||
  (value.kind === 'draft' && value.text === '' && value.other === null);

/** What the server has now, of all that this person may see, is what the device holds. */
async function expectInStep({ name, client, person }: Device, server: TestServer): Promise<void> {
  const streams = [userStream(person.id), ...client.conversations().map(({ id }) => conversationStream(id))];
  for (const stream of streams) {
    const { entities: there } = await server.call('stream.snapshot', { stream }, person.token);
    const here = there.map((value) => client.store.get(value.kind, ...entityKey(value).split('/').slice(1)));
    expect(here, `${name}: ${stream}`).toEqual(there);
  }
}

async function expectSame(device: Device, fresh: Client): Promise<void> {
  const { client } = device;
  const ids = fresh.conversations().map(({ id }) => id);
  expect(new Set(client.conversations().map(({ id }) => id))).toEqual(new Set(ids));
  for (const id of ids) {
    const whole = await wholeHistory(fresh, id);
    expect(whole.map(({ seq }) => seq)).toEqual(Array.from({ length: whole.length }, (_, n) => n + 1));
    expect(await wholeHistory(client, id), `${device.name}: messages of ${id}`).toEqual(whole);
    const inbox = fresh.store.get('inbox', id)!;
    const unread = whole.filter((message) => message.seq > inbox.readSeq && message.senderId !== device.person.id).length;
    expect(client.drafts.get(id), `${device.name}: draft in ${id}`).toBe(fresh.drafts.get(id));
    expect([client.conversation(id)!.unread, client.conversation(id)!.readSeq], `${device.name}: unread in ${id}`).toEqual([unread, inbox.readSeq]);
  }
  for (const kind of Object.keys(entities) as EntityKind[]) {
    const of = (from: Client): Map<string, Entity> => new Map((from.store.list(kind) as Entity[]).filter((value) => !isTraceless(value)).map((value) => [entityKey(value), value]));
    expect(of(client), `${device.name}: ${kind}`).toEqual(of(fresh));
  }
}

async function connect(device: Device): Promise<void> {
  await device.start();
  await vi.waitFor(() => expect(device.client.connection.at).toBe('ready'), { timeout: 20_000 });
}

/** @returns What was shown wrongly on the way, and our own faults. */
async function run(server: TestServer, proxy: Proxy, broker: { heal(): void }, luck: Dice): Promise<string[]> {
  const people = await Promise.all(['ann', 'bob', 'cleo', 'dan'].map((handle) => server.register(handle)));
  await server.befriend(...people);
  const devices: Device[] = [];
  for (const person of people) for (const [n, session] of [person, await server.login(person)].entries()) devices.push(new Device(`${person.handle}/${n}`, session, proxy.url));
  const started: Device[] = [...devices];
  try {
    await Promise.all(devices.map(connect));
    await server.call('conversation.create', { title: 'All', memberIds: people.slice(1).map(({ id }) => id) }, people[0]!.token);
    const shaken = new Set<string>();
    const faults: string[] = [];
    for (let step = 0; step < steps; step++) {
      await act(luck, devices, faults, shaken);
      trouble(luck, proxy);
      if (luck.chance(0.5)) await pause(luck.below(20));
    }

    const allSent = (): Promise<void> =>
      vi.waitFor(
        () => {
          const unsent = devices.map(({ client }) => client.outbox.pending().filter(({ state }) => state !== 'failed').length);
          expect(devices.map(({ client }, n) => [client.connection.at, unsent[n]])).toEqual(devices.map(() => ['ready', 0]));
        },
        { timeout: 60_000 },
      );
    // For a while nobody is connected, and goes on all the same.
    proxy.stall(false);
    proxy.refuse(true);
    proxy.cut();
    for (let step = 0; step < steps / 8; step++) await act(luck, devices, faults, shaken);
    proxy.refuse(false);
    await allSent();
    // The network is well, and what is published still gets lost: at the end there is nothing later that would show it.
    for (let step = 0; step < steps / 8; step++) await act(luck, devices, faults, shaken);
    await allSent();
    broker.heal();
    // Where two texts of a draft wait for a choice, a device keeps a third to itself until a person has chosen.
    for (const { client } of devices) {
      for (const { id } of client.conversations()) {
        const text = client.drafts.get(id);
        if (client.drafts.others(id, text).length === 0) continue;
        client.drafts.settle(id, text);
        await vi.waitFor(() => expect(client.drafts.others(id, client.drafts.get(id))).toEqual([]), { timeout: 30_000 });
      }
    }
    // Nobody says anything any more: what was lost last is found by heads frames alone.
    for (const device of devices) await vi.waitFor(() => expectInStep(device, server), { timeout: 30_000, interval: 100 });
    const witnesses = await Promise.all(people.map(async (person) => new Device(`${person.handle}/fresh`, await server.login(person), server.url)));
    started.push(...witnesses);
    await Promise.all(witnesses.map(connect));
    // Marks and receipts may still be on their way, and their pushes lost: the next heads frame finds them.
    for (const device of devices) {
      const fresh = witnesses.find(({ person }) => person.id === device.person.id)!.client;
      await vi.waitFor(() => expectSame(device, fresh), { timeout: 30_000, interval: 100 });
    }

    const forgotten = devices.flatMap((device) =>
      [...device.marked].filter(([id, seq]) => !shaken.has(id) && device.client.store.get('inbox', id)!.readSeq < seq).map(([id, seq]) => `${device.name} read ${id} up to ${seq}`),
    );
    expect(forgotten).toEqual([]);
    const histories = new Map<string, Message[]>();
    for (const { client } of witnesses) for (const { id } of client.conversations()) histories.set(id, await wholeHistory(client, id));
    for (const device of devices) {
      const failed = new Set(device.client.outbox.pending().map(({ clientId }) => clientId));
      for (const [id, history] of histories) {
        const stored = history.filter((message) => message.senderId === device.person.id);
        const wanted = device.sent.filter((message) => message.conversationId === id && !failed.has(message.clientId)).map(({ clientId }) => clientId);
        const mine = stored.map((message) => message.clientId!).filter((clientId) => device.sent.some((message) => message.clientId === clientId));
        expect(mine, `${device.name}: what was sent to ${id}`).toEqual(wanted);
      }
    }
    return [...devices.flatMap(({ complaints }) => complaints), ...faults];
  } finally {
    await Promise.all(started.map(({ client }) => client.stop()));
  }
}

describe.each<Engine>(['sqlite', 'postgres'])('on %s', (engine) => {
  test.for(seeds)('[SY14] whatever is lost on the way, all replicas end up as the server: seed %d', { timeout: 240_000 }, async (seed) => {
    console.info(`fuzz on ${engine}: FUZZ_SEED=${seed}`);
    const luck = dice(seed);
    const broker = lossyBroker(luck);
    const server = await startTestServer({ engine, broker, config: { heartbeatMs: 1_000 } });
    const proxy = await openProxy(() => server.port);
    try {
      expect(await run(server, proxy, broker, luck)).toEqual([]);
    } finally {
      await proxy.close();
      await server.close();
    }
  });
});
