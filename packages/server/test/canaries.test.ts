import { randomBytes } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { type MethodName, methods } from '@kith/protocol';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestClient, type TestServer, startTestServer } from './harness.ts';
import { type Stage, matrix } from './permissions.ts';
import { PushService } from './push-service.ts';
import { routes } from './routes.ts';
import { type Person, befriend, unique } from './scenarios.ts';
import { type Tap, openTap } from './tap.ts';
import { type Web, openWeb } from './web.ts';
import { RealWorld } from './world.ts';

// Words that stand nowhere but in what is private, and a search for them in every byte that anybody else got.

/** Methods by which an observer would end their own session. */
const wouldEnd = new Set<MethodName>(['hello', 'auth.logout', 'user.delete', 'user.changePassword']);

const word = (what: string): string => `canary-${what}-${randomBytes(6).toString('hex')}`;

/** A text as it can stand in bytes: as it is, as UTF-16, in hex, and in base64 wherever it begins. */
function shapes(text: string): Buffer[] {
  const bytes = Buffer.from(text);
  const inBase64 = [0, 1, 2].map((before) => {
    const coded = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64url');
    // The first and the last letters are made of neighbours, too.
    return coded.slice(before === 0 ? 0 : before + 1, -2);
  });
  return [
    bytes,
    Buffer.from(text, 'utf16le'),
    Buffer.from(bytes.toString('hex')),
    ...inBase64.flatMap((one) => [Buffer.from(one), Buffer.from(one.replaceAll('-', '+').replaceAll('_', '/'))]),
  ];
}

const found = (bytes: Buffer, words: Map<string, string>): string[] => [...words].filter(([, text]) => shapes(text).some((shape) => bytes.includes(shape))).map(([what]) => what);

/** Somebody at a tap of their own: a connection, and every request that there is. */
class Observer {
  readonly tap: Tap;
  readonly person: { token: string } | undefined;
  readonly client: TestClient | undefined;
  #mark = 0;

  constructor(tap: Tap, person: { token: string } | undefined, client: TestClient | undefined) {
    this.tap = tap;
    this.person = person;
    this.client = client;
  }

  static async at(server: TestServer, person?: { token: string }): Promise<Observer> {
    const tap = await openTap(() => server.port);
    if (!person) return new Observer(tap, undefined, undefined);
    const client = new TestClient(`ws://127.0.0.1:${tap.port}/ws`);
    await client.opened;
    await client.hello({ token: person.token });
    return new Observer(tap, person, client);
  }

  /** From here on nothing may come. */
  mark(): void {
    this.#mark = this.tap.bytes().length;
  }

  since(): Buffer {
    return this.tap.bytes().subarray(this.#mark);
  }

  /** Every method and every route, about these things. */
  async tryAll(stages: Stage[], bothDoors: boolean): Promise<void> {
    const authorization = this.person && { authorization: `Bearer ${this.person.token}` };
    for (const stage of stages) {
      for (const method of (Object.keys(methods) as MethodName[]).filter((one) => !wouldEnd.has(one))) {
        const params = matrix[method].params(stage);
        await this.#ask('POST', `/api/${method}`, { 'content-type': 'application/json', ...authorization }, JSON.stringify(params));
        if (bothDoors) await this.client?.request(method, params).catch(() => {});
      }
      for (const [name, row] of Object.entries(routes)) {
        if (row === 'methods' || row.kind === 'nothing') continue;
        const { url, headers, body } = row.request(stage);
        const given: Record<string, string>[] = name.startsWith('GET') ? [{}, { range: 'bytes=0-9' }, { 'if-none-match': '*' }] : [{}];
        for (const more of given) await this.#ask(name.split(' ')[0]!, url, { ...headers, ...authorization, ...more }, body);
        if (name.startsWith('GET')) for (const size of ['small', 'large']) await this.#ask('GET', `${url}?size=${size}`, { ...authorization });
      }
    }
  }

  /** The copy of the account that was asked for. */
  async copy() {
    return (await this.client!.call('export.get', {})).export;
  }

  async takeCopy(): Promise<void> {
    await this.#ask('GET', `/files/${(await this.copy())!.file!.id}/copy.tar`, { authorization: `Bearer ${this.person!.token}` });
  }

  async #ask(method: string, path: string, headers: Record<string, string>, body?: string): Promise<void> {
    await (await fetch(`${this.tap.url}${path}`, { method, headers, ...(body !== undefined && { body }) })).arrayBuffer();
  }

  close(): void {
    this.client?.terminate();
    this.tap.close();
  }
}

let web: Web;
let pushes: PushService;
let server: TestServer;
const lines: string[] = [];

beforeAll(async () => {
  web = await openWeb();
  pushes = await new PushService().open();
  const log = pino({ level: 'trace' }, new Writable({ write: (line: Buffer, _encoding, done) => (lines.push(line.toString()), done()) }));
  const config = { pushHosts: pushes.url, pushIntervalMs: 1, pushDelayMs: 0, offlineGraceMs: 0, registration: 'open' as const };
  server = await startTestServer({ config, network: web.network, log });
  lines.length = 0;
});

afterAll(async () => {
  await server.close();
  await pushes.close();
  await web.close();
});

test(
  '[PM3] nothing of a private conversation is among the bytes of anybody else: strangers, removed people, ended sessions, the operator, push services, logs and metrics',
  { timeout: 120_000 },
  async () => {
    const world = new RealWorld(server, { watched: false });
    const [anna, bert, removed, blocked, stranger] = await Promise.all(['anna', 'bert', 'removed', 'blocked', 'stranger'].map((name) => world.register(name)));
    const operator = await server.operator();
    const guest = await world.guest('Gast');
    for (const other of [bert!, removed!, blocked!]) await befriend(anna!, other);
    await blocked!.ask('conversation.direct', { userId: anna!.id });
    await anna!.ask('block.add', { userId: blocked!.id });

    // Two times: what people had of it before they were removed or signed out, and what came after.
    const play = async (time: string, conversationId?: string) => {
      const words = new Map<string, string>();
      const own = new Map<string, string>();
      const secret = (what: string, into = words): string => {
        const text = word(`${time}-${what}`);
        into.set(`${time} ${what}`, text);
        return text;
      };
      const conversation = conversationId ?? (await anna!.ask('conversation.create', { title: 'Club', memberIds: [bert!.id, removed!.id] })).conversation.id;
      const send = async (text: string, more: { type?: 'text' | 'file'; fileId?: string } = {}) =>
        (await anna!.ask('message.send', { conversationId: conversation, clientId: unique('client-id'), type: 'text', text, ...more })).message;
      await anna!.ask('conversation.update', { conversationId: conversation, title: secret('title').slice(0, 64) });
      const message = await send(secret('text'));
      await anna!.ask('message.edit', { messageId: (await send(secret('edited-from'))).id, text: secret('edited-to') });
      await anna!.ask('message.delete', { messageId: (await send(secret('recalled'))).id });
      const file = await server.upload(anna!, Buffer.from(secret('file-bytes')), { name: `${secret('file-name')}.txt` });
      await send(secret('caption'), { type: 'file', fileId: file.id });
      await server.download(bert!, file.id);
      web.pages[`site.test/${time}`] = `<!doctype html><title>${secret('page-title')}</title><meta name="description" content="${secret('page-words')}">`;
      const linked = await send(`http://site.test/${time}`);
      await expect.poll(async () => JSON.stringify(await bert!.ask('message.history', { conversationId: conversation }))).toContain(words.get(`${time} page-title`));
      await anna!.ask('draft.set', { conversationId: conversation, text: secret('draft', own), base: 0 });
      await anna!.ask('friend.remark', { userId: bert!.id, remark: secret('remark', own).slice(0, 64) });
      await anna!.ask('message.hide', { messageId: linked.id });
      await anna!.ask('typing.set', { conversationId: conversation });
      await bert!.ask('read.mark', { conversationId: conversation, seq: message.seq });
      const ids = new Map([conversation, message.id, file.id, linked.id].map((id) => [`${time} id ${id}`, id]));
      const stage: Stage = { conversationId: conversation, messageId: message.id, fileId: file.id, userId: anna!.id, handle: anna!.handle!, sessionId: anna!.sessionId } as Stage;
      return { words, own, ids, stage: { ...stage, actor: stranger!, anna: anna!, bystander: bert!, stranger: stranger! }, conversation };
    };

    const device = await world.device(bert!);
    const subscribe = async (person: Person) => {
      const sink = pushes.device();
      await person.ask('push.subscribe', sink.subscription);
      return sink;
    };
    const sinks = {
      removed: await subscribe(removed!),
      stranger: await subscribe(stranger!),
      blocked: await subscribe(blocked!),
      ended: await subscribe(device),
      bert: await subscribe(bert!),
    };
    await bert!.ask('settings.update', { pushContent: false });

    const at = async (person?: { token: string }): Promise<Observer> => Observer.at(server, person);
    const outside = { stranger: await at(stranger), guest: await at(guest), blocked: await at(blocked), nobody: await at() };
    const beside = { operator: await at(operator) };
    const before = { removed: await at(removed), 'an ended session': await at(device) };
    const inside = { bert: await at(bert), anna: await at(anna) };
    const everybody = Object.values({ ...outside, ...beside, ...before, ...inside });

    const first = await play('before');
    await anna!.ask('member.remove', { conversationId: first.conversation, userId: removed!.id });
    await bert!.ask('session.revoke', { sessionId: device.sessionId });
    await before.removed.client!.settle();
    await before['an ended session'].client!.closed;
    for (const one of Object.values(before)) one.mark();
    const pushedBefore = sinks.removed.pushes.length;
    const second = await play('after', first.conversation);
    await Promise.all([outside.stranger, before.removed].map((one) => one.tryAll([first.stage, second.stage], true)));
    await Promise.all([outside.guest, outside.blocked, outside.nobody, beside.operator, before['an ended session']].map((one) => one.tryAll([second.stage], false)));
    // The copies that people may take along of all that is theirs.
    for (const one of [outside.stranger, before.removed]) {
      await expect.poll(async () => (await one.copy())?.state, { timeout: 60_000 }).toBe('ready');
      await one.takeCopy();
    }
    // Something that is worth a line in the log, and about a file with a name.
    await rename(join(server.config.data, 'files'), join(server.config.data, 'gone'));
    await server.download(bert!, second.stage.fileId);
    for (const one of everybody) await one.client?.settle().catch(() => {});
    const metrics = await server.running.metrics.registry.metrics();

    const all = new Map([...first.words, ...second.words, ...first.own, ...second.own]);
    const ids = new Map([...first.ids, ...second.ids]);
    const leaks: Record<string, string[]> = {};
    for (const [who, one] of Object.entries(outside)) leaks[who] = found(one.since(), new Map([...all, ...ids]));
    // Their own lists say that they were in that conversation. The audit log names things by their ids.
    for (const [who, one] of Object.entries({ ...before, ...beside })) leaks[who] = found(one.since(), all);
    leaks['another member'] = found(inside.bert.since(), new Map([...first.own, ...second.own]));
    leaks['the log'] = found(Buffer.from(lines.join('')), all);
    leaks['the metrics'] = found(Buffer.from(metrics), new Map([...all, ...ids]));
    for (const [who, sink] of Object.entries(sinks)) {
      const bytes = (from: number): Buffer =>
        Buffer.concat(
          sink.pushes
            .slice(from)
            .flatMap(({ headers, sealed, payload }) => [Buffer.from(JSON.stringify(headers)), sealed, Buffer.from(who === 'ended' ? '' : JSON.stringify(payload))]),
        );
      leaks[`the push service of ${who}`] = found(bytes(who === 'removed' ? pushedBefore : 0), who === 'bert' ? new Map([...first.own, ...second.own]) : all);
    }
    expect(Object.fromEntries(Object.entries(leaks).filter(([, words]) => words.length > 0))).toEqual({});

    // The search finds what is there: members got every word, and she her own.
    expect(found(inside.bert.since(), new Map([...first.words, ...second.words].filter(([what]) => !what.includes('file-bytes'))))).toHaveLength(
      first.words.size + second.words.size - 2,
    );
    expect(found(inside.anna.since(), new Map([...first.own, ...second.own]))).toHaveLength(first.own.size + second.own.size);
    expect(found(before.removed.tap.bytes(), first.words).length).toBeGreaterThan(3);
    expect(sinks.bert.pushes.length).toBeGreaterThan(0);
    expect(lines.length).toBeGreaterThan(0);
    for (const one of everybody) one.close();
  },
);
