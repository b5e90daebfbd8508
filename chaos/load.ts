import type { StreamId } from '@kith/protocol';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { randomFrom } from '../packages/server/test/crash-child.ts';
import { Refused, insist, post, readAll } from '../packages/server/test/api.ts';
import { Device, type Person, toRow } from './device.ts';
import { type History, type Row, now, openHistory } from './history.ts';

// The people: a process of its own that writes, reads, edits, recalls, joins and leaves over a server that is being
// broken, and notes all of it. `node load.ts <options as JSON>`; it says `ready`, and now and then `acks <number>`. After the line
// `look <url>` on its standard input it reads the newest of everything from there and says `looked`; after `finish` it comes to rest,
// notes what everybody holds, and says `done`; from `quiet on` to `quiet off` hardly anybody writes.

export interface LoadOptions {
  url: string;
  file: string;
  seed: number;
  people: number;
  /** Messages a second, of all together. */
  rate: number;
  /** Each send goes out up to so many times. */
  copies: number;
  /** Removals and returns a second, in the group where they are quickest; 0: none at all. */
  changes: number;
  /** Connections that are dropped, a second. */
  drops: number;
  /** How many times as fast all write in one second of ten. Default: 1, they never hurry. */
  bursts?: number;
  /** Nobody sends other words by a client id that was used: where the message was lost, that is no misuse. */
  honest?: boolean;
}

interface Conversation {
  id: string;
  canary: string;
  owner: Person;
  /** Those who never leave. */
  members: Person[];
  /** Those who come and go. */
  guests: Person[];
}

/** Sends a second that one pace keeps up with, and acts that are waited for. */
const mostPerPace = 50;
const mostAwaited = 5;
/** Milliseconds from the beginning of a burst to that of the next, and that it lasts. */
const burstEveryMs = 10_000;
const burstMs = 1_000;
/** Milliseconds that all has to come to rest after the last fault. */
const restMs = 60_000;

async function main(options: LoadOptions): Promise<void> {
  const { url, seed } = options;
  const history = openHistory(options.file);
  const random = randomFrom(seed);
  const people = await Promise.all(Array.from({ length: options.people }, (_, index) => enter(url, `p${index}`)));
  const conversations = await gather(url, people, history, random);
  const canaries = new Map(conversations.map(({ canary, id }) => [canary, id]));
  const devices: Device[] = [];
  for (const person of people) {
    for (const [index, token] of [person.token, (await post(url, 'auth.login', { handle: person.name, password })).token!].entries()) {
      devices.push(new Device({ name: `${person.name}-${index}`, person: { ...person, token }, url, history, random: randomFrom(seed + devices.length + 1), canaries }));
    }
  }
  const pollers = conversations.filter((_, at) => at % 3 === 0).map(({ id, members }) => new Poller(url, members[0]!, id));
  for (const device of devices) device.start();
  await until(() => devices.every((device) => device.connected), 30_000, 'nobody could connect');
  console.log('ready');

  // Whom the server no longer knows, it has lost: an account is acknowledged like a message.
  let lost = false;
  const onLost = (error: unknown): void => {
    if (!(error instanceof Refused)) throw error;
    lost = true;
    history.note({ e: 'wrong', what: `acked and lost: ${error.message}`, t: now() });
  };
  let working = true;
  // About one message a second.
  let quiet = false;
  const input = createInterface({ input: process.stdin });
  const told = new Promise<void>((resolve) => {
    input.on('line', (line) => {
      if (line === 'finish') resolve();
      else if (line.startsWith('quiet ')) quiet = line === 'quiet on';
      else if (line.startsWith('look ')) {
        void look(line.slice('look '.length), conversations, history)
          .catch(onLost)
          .then(() => console.log('looked'));
      }
    });
  });
  const telling = setInterval(() => console.log(`acks ${devices.reduce((sum, { acks }) => sum + acks, 0)}`), 500);
  const { bursts = 1 } = options;
  const hurry = (): number => (now() % burstEveryMs < burstMs ? bursts : 1);
  /** As many at once as it takes to keep up, each of which waits for its own act. */
  const pace = (perSecond: number, act: () => unknown, most = mostAwaited): Promise<unknown> => {
    const paces = Math.ceil((perSecond * bursts) / most);
    const unlessQuiet = (): unknown => (quiet && random() * options.rate > 1 ? undefined : act());
    return Promise.all(
      Array.from({ length: paces }, () =>
        pacing(
          () => (perSecond * hurry()) / paces,
          random,
          () => working,
          unlessQuiet,
        ),
      ),
    );
  };
  const any = <T>(all: T[]): T => all[Math.floor(random() * all.length)]!;
  const writers = new Map(conversations.map((conversation) => [conversation, devices.filter(({ person }) => conversation.members.some(({ id }) => id === person.id))]));
  const ofWhom = (conversation: Conversation): Device => any(writers.get(conversation)!);
  const doing = [
    pace(
      options.rate,
      () => {
        const conversation = any(conversations);
        const device = ofWhom(conversation);
        // Who waits for much writes no more: a person would not either.
        if (device.waiting < 20) device.send(conversation.id, conversation.canary, 1 + Math.floor(random() * options.copies));
      },
      mostPerPace,
    ),
    pace(options.rate / 20, () => {
      const conversation = any(conversations);
      return ofWhom(conversation).change(conversation.id, random() < 0.3);
    }),
    pace(options.rate / 10, () => {
      const conversation = any(conversations);
      return ofWhom(conversation).read(conversation.id);
    }),
    pace(options.rate / 20, () => {
      const conversation = any(conversations);
      return options.honest || random() < 0.5 ? ofWhom(conversation).type(conversation.id) : ofWhom(conversation).misuse(conversation.id);
    }),
    pace(options.drops, () => any(devices).drop()),
    ...pollers.map((poller) =>
      pacing(
        () => 2,
        random,
        () => working,
        () => poller.poll().catch(() => {}),
      ),
    ),
    comeAndGo(options, conversations, history, random, () => working),
    strangers(url, people, conversations, canaries, history, random, () => working),
  ];

  const done = Promise.all(doing).catch(onLost);
  await told;
  working = false;
  await done;
  if (!lost) await rest(url, devices, pollers, conversations, history).catch(onLost);
  clearInterval(telling);
  await Promise.all(devices.map((device) => device.end()));
  history.close();
  console.log('done');
  process.exit(0);
}

const password = 'correct horse battery';

async function enter(url: string, handle: string): Promise<Person> {
  const { user, token } = await post(url, 'auth.register', { handle, password, name: handle });
  await post(url, 'user.update', { accepts: 'anyone' }, token);
  return { id: user.id, name: handle, token: token! };
}

/** Pairs, small groups and one of everybody; groups have somebody who comes and goes. */
async function gather(url: string, people: Person[], history: History, random: () => number): Promise<Conversation[]> {
  const conversations: Conversation[] = [];
  const add = (id: string, owner: Person, members: Person[], guests: Person[]): void => {
    const canary = `canary-${randomWord(random)}`;
    conversations.push({ id, canary, owner, members, guests });
    history.note({ e: 'conversation', conversation: id, canary, members: [...members, ...guests].map((person) => person.id), t: now() });
  };
  for (let at = 0; at + 1 < people.length; at += 2) {
    const [one, other] = [people[at]!, people[at + 1]!];
    const { conversation } = await post(url, 'conversation.direct', { userId: other.id }, one.token);
    add(conversation.id, one, [one, other], []);
  }
  const size = Math.min(5, people.length - 1);
  for (let at = 0; at < Math.max(1, Math.floor(people.length / 4)); at += 1) {
    const chosen = Array.from({ length: size }, (_, index) => people[(at * 3 + index) % people.length]!);
    const { conversation } = await post(url, 'conversation.create', { title: `Group ${at}`, memberIds: chosen.slice(1).map((person) => person.id) }, chosen[0]!.token);
    for (const person of chosen.slice(1)) await post(url, 'conversation.accept', { conversationId: conversation.id }, person.token).catch(() => undefined);
    add(conversation.id, chosen[0]!, chosen.slice(0, -1), chosen.slice(-1));
  }
  const { conversation } = await post(url, 'conversation.create', { title: 'All', memberIds: people.slice(1).map((person) => person.id) }, people[0]!.token);
  add(conversation.id, people[0]!, people, []);
  return conversations;
}

const randomWord = (random: () => number): string => Math.floor(random() * 36 ** 8).toString(36);

/**
 * Somebody is taken out of each group, and some time later let in again: in the first one as fast as asked for, in the
 * others with time in between to see whether anything still comes. Asked until it is answered, however long that takes.
 */
async function comeAndGo({ url, changes }: LoadOptions, conversations: Conversation[], history: History, random: () => number, working: () => boolean): Promise<void> {
  if (changes === 0) return;
  const live = async ({ id, owner, guests }: Conversation, fast: boolean): Promise<void> => {
    const guest = guests[0]!;
    for (let out = false; working(); out = !out) {
      await pause(fast ? (random() * 2_000) / changes : out ? 1_300 + random() * 1_500 : random() * 1_000);
      const asked = now();
      if (out) await insist(() => post(url, 'member.add', { conversationId: id, userIds: [guest.id] }, owner.token));
      else {
        await insist(() => post(url, 'member.remove', { conversationId: id, userId: guest.id }, owner.token)).catch((error: unknown) => {
          // Removed before, by a request whose answer was lost: then they are out.
          if (!(error instanceof Refused && error.code === 'not_found')) throw error;
        });
      }
      history.note({ e: out ? 'added' : 'removed', conversation: id, user: guest.id, asked, t: now() });
    }
  };
  await Promise.all(conversations.filter(({ guests }) => guests.length > 0).map((group, at) => live(group, at === 0)));
}

/** Somebody with a session and nothing else tries every door of conversations that are not theirs. */
async function strangers(
  url: string,
  people: Person[],
  conversations: Conversation[],
  canaries: Map<string, string>,
  history: History,
  random: () => number,
  working: () => boolean,
): Promise<void> {
  const { user, token } = await insist(() => post(url, 'auth.guest', { name: 'Stranger' }));
  await pacing(
    () => 5,
    random,
    working,
    async () => {
      const { id, members } = conversations[Math.floor(random() * conversations.length)]!;
      const doors = [
        ['message.history', { conversationId: id }],
        ['stream.changes', { stream: `conversation:${id}`, since: 0 }],
        ['stream.snapshot', { stream: `conversation:${id}` }],
        ['member.list', { conversationId: id }],
        ['room.online', { conversationId: id }],
        ['user.get', { userId: members[0]!.id }],
        ['message.send', { conversationId: id, clientId: `stranger-${randomWord(random)}`, type: 'text', text: 'let me in' }],
        ['user.search', { query: people[0]!.name }],
      ] as const;
      const [method, params] = doors[Math.floor(random() * doors.length)]!;
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
      const answer = await fetch(`${url}/api/${method}`, { method: 'POST', headers, body: JSON.stringify(params) }).catch(() => undefined);
      const text = (await answer?.text().catch(() => undefined)) ?? '';
      if (answer?.ok && method !== 'user.search') history.note({ e: 'wrong', what: `a stranger was answered ${method} of ${id}`, t: now() });
      for (const [canary] of text.matchAll(/canary-[a-z0-9]+/g)) {
        const conversation = canaries.get(canary);
        if (conversation !== undefined) history.note({ e: 'canary', device: 'stranger', user: user.id, conversation, t: now() });
      }
    },
  );
}

/** The newest of each conversation, asked of a server that has just come back. */
async function look(url: string, conversations: Conversation[], history: History): Promise<void> {
  for (const { id, owner } of conversations) {
    const asked = now();
    const { messages } = await insist(() => post(url, 'message.history', { conversationId: id, limit: 100 }, owner.token));
    history.note({ e: 'look', conversation: id, asked, rows: messages.map(toRow) });
  }
}

/** Somebody without a socket, who asks again and again what changed, and believes every word of it. */
class Poller {
  readonly person: Person;
  readonly conversation: string;
  readonly #url: string;
  readonly #held = new Map<number, Row>();
  #version = 0;
  /** In which it began. */
  #era: string | undefined;
  #asking: Promise<void> | undefined;

  constructor(url: string, person: Person, conversation: string) {
    [this.#url, this.person, this.conversation] = [url, person, conversation];
  }

  rows(): Row[] {
    return [...this.#held.values()].sort((a, b) => a[0] - b[0]);
  }

  /** Asks, unless it is asking. @throws when there is no answer */
  poll(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #ask(): Promise<void> {
    const stream: StreamId = `conversation:${this.conversation}`;
    this.#era ??= (await post(this.#url, 'stream.heads', { streams: [] }, this.person.token)).era;
    for (let more = true; more;) {
      const changes = await post(this.#url, 'stream.changes', { stream, since: this.#version, era: this.#era, limit: 100 }, this.person.token);
      if ('tooOld' in changes) {
        this.#era = (await post(this.#url, 'stream.heads', { streams: [] }, this.person.token)).era;
        this.#held.clear();
        const { version } = await post(this.#url, 'stream.snapshot', { stream }, this.person.token);
        for (const message of await readAll(this.#url, this.conversation, this.person.token)) this.#held.set(message.seq, toRow(message));
        this.#version = version;
        return;
      }
      for (const entity of changes.entities) if (entity.kind === 'message') this.#held.set(entity.seq, toRow(entity));
      this.#version = changes.version;
      ({ more } = changes);
    }
  }
}

/** When all is healed: everything arrives, everybody is in step, and what they hold is written down. */
async function rest(url: string, devices: Device[], pollers: Poller[], conversations: Conversation[], history: History): Promise<void> {
  await until(() => devices.every((device) => device.connected), restMs, 'not everybody came back');
  const drained = Promise.all(devices.map((device) => device.drained())).then(() => 'in time' as const);
  // Judged when it is over, and not whenever the time is: what comes after this may take longer.
  if ((await Promise.race([drained, pause(restMs, 'late' as const)])) === 'late') history.note({ e: 'wrong', what: 'sends were never answered', t: now() });
  await until(() => devices.every((device) => device.connected), restMs, 'not everybody came back');
  await Promise.all(devices.map((device) => device.settle()));
  for (const poller of pollers) {
    // What it had asked before is not all.
    await poller.poll().catch(() => {});
    await insist(() => poller.poll());
    history.note({ e: 'held', device: 'who asks again and again', user: poller.person.id, conversation: poller.conversation, rows: poller.rows() });
  }
  for (const { id, owner, members } of conversations) {
    const rows = (await insist(() => readAll(url, id, owner.token))).map(toRow);
    history.note({ e: 'truth', conversation: id, rows });
    for (const person of members) {
      const { entities } = await insist(() => post(url, 'stream.snapshot', { stream: `user:${person.id}` }, person.token));
      const inbox = entities.find((entity) => entity.kind === 'inbox' && entity.conversationId === id);
      history.note({ e: 'mark', device: '', user: person.id, conversation: id, readSeq: inbox?.kind === 'inbox' ? inbox.readSeq : 0, t: now() });
      for (const device of devices.filter((one) => one.person.id === person.id)) {
        history.note({ e: 'held', device: device.name, user: person.id, conversation: id, rows: device.rows(id) });
        history.note({ e: 'mark', device: device.name, user: person.id, conversation: id, readSeq: device.mark(id), t: now() });
      }
    }
  }
}

/** Acts so many times a second, at uneven moments, while it is wanted; one act that hangs keeps no other. */
async function pacing(perSecond: () => number, random: () => number, working: () => boolean, act: () => unknown): Promise<void> {
  while (working()) {
    const acted = act();
    // Those that ask by HTTP wait for their answer; a device answers in its own time.
    if (acted instanceof Promise) await Promise.race([acted, pause(2_000)]);
    await pause((random() * 2_000) / perSecond());
  }
}

async function until(met: () => boolean, ms: number, otherwise: string): Promise<void> {
  const end = now() + ms;
  while (!met()) {
    if (now() > end) throw new Error(otherwise);
    await pause(20);
  }
}

if (import.meta.main) await main(JSON.parse(process.argv[2]!) as LoadOptions);
