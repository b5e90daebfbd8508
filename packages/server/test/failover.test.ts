import { closeCodes } from '@kith/protocol';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { examineServer } from '../src/doctor.ts';
import { type Person, type TestClient, type TestServer, startTestServer } from './harness.ts';
import { type TestNats, findNatsServer, startNats } from './nats.ts';
import { type TestPostgres, createTestDatabase, openTestPostgres } from './postgres.ts';
import { type Proxy, openProxy } from './proxy.ts';

// A PostgreSQL with a standby that nobody waits for, nodes that reach whichever is called the primary by one name, and what becomes of all that
// when the standby takes over without having everything: one story, told once.

const missing = findNatsServer() === undefined;
if (missing) console.warn('NOT RUN: several nodes need nats-server on PATH, or apt-get');

describe.skipIf(missing)('a standby that nobody waited for takes over', () => {
  const servers: TestPostgres[] = [];
  const proxies: Proxy[] = [];
  const lines: { level: string; msg: string; commits?: number; messages?: number; streams?: number }[] = [];
  const log = pino({ level: 'info', base: null, formatters: { level: (label) => ({ level: label }) } }, { write: (line: string) => void lines.push(JSON.parse(line) as never) });
  const nodes: TestServer[] = [];
  let nats: TestNats;
  /** What the name of the primary leads to, and what the standby reads from. */
  let name: Proxy;
  let wire: Proxy;
  let primary = 0;
  let database: string;

  const portOf = (at: number): number => Number(new URL(servers[at]!.url).port);
  /** The database on one of the two, whatever name leads to it. */
  const urlOf = (at: number): string => Object.assign(new URL(database), { port: String(portOf(at)) }).href;
  const startNode = async (): Promise<TestServer> => {
    const config = { database: Object.assign(new URL(database), { port: String(name.port) }).href, nats: nats.url };
    const node = await startTestServer({ log, config });
    nodes.push(node);
    return node;
  };
  const lead = (at: number): void => {
    primary = at;
    name.cut();
  };
  const metric = async (node: TestServer, of: string): Promise<number> => {
    const found = await node.running.metrics.registry.getSingleMetric(of)!.get();
    return found.values.reduce((sum, { value }) => sum + value, 0);
  };

  beforeAll(async () => {
    [nats] = await Promise.all([startNats(), openTestPostgres().then((server) => servers.push(server))]);
    name = await openProxy(() => portOf(primary));
    wire = await openProxy(() => portOf(0));
    proxies.push(name, wire);
    database = (await createTestDatabase(servers[0]!.url)).url;
    servers.push(await openTestPostgres({ standbyOf: Object.assign(new URL(servers[0]!.url), { port: String(wire.port) }).href }));
    await Promise.all([startNode(), startNode()]);
  }, 60_000);
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.close()));
    for (const proxy of proxies) await proxy.close();
    await Promise.all(servers.map((server) => server.close()));
    await nats.close();
  });

  let ann: Person;
  let bob: Person;
  let conversationId: string;
  let clients: [TestClient, TestClient];
  /** Before; and the first version that was lost in it. */
  let era: string;
  let from: number;
  const say = (node: TestServer, text: string, clientId: string) => node.call('message.send', { conversationId, clientId, type: 'text', text }, ann.token);

  test('[FO1] whether what is acknowledged is on two machines is logged, measured, looked at by the doctor and shown to operators', async () => {
    const operator = await nodes[0]!.operator();
    const shown = (node = nodes[0]!) => node.call('site.database', {}, operator.token);
    const doctor = async (): Promise<unknown> => (await examineServer(nodes[0]!.config)).find(({ what }) => what === 'standby');
    const standingOf = async (node: TestServer) => (await node.running.metrics.databaseStanding.get()).values.map(({ labels }) => labels.standing);
    expect(await shown()).toEqual({ standing: 'asynchronous' });
    expect(await doctor()).toMatchObject({ state: 'look', words: expect.stringContaining('may be lost') });
    // Both look at the start.
    for (const node of nodes) await expect.poll(() => standingOf(node), { timeout: 20_000 }).toEqual(['asynchronous']);
    expect(lines.filter(({ level, msg }) => level === 'warn' && msg.includes('a standby that is not waited for'))).toHaveLength(2);
    // One that is not there, and the one that is there is not it.
    await ask(servers[0]!.url, `alter system set synchronous_standby_names = 'elsewhere'`);
    await ask(servers[0]!.url, 'select pg_reload_conf()');
    await expect.poll(() => shown(), { timeout: 20_000 }).toEqual({ standing: 'missing' });
    await ask(servers[0]!.url, `alter system set synchronous_standby_names = '*'`);
    await ask(servers[0]!.url, 'select pg_reload_conf()');
    await expect.poll(() => shown(), { timeout: 20_000 }).toEqual({ standing: 'synchronous' });
    expect(await doctor()).toMatchObject({ state: 'well', words: 'what is acknowledged is on two machines' });
    // Whatever is written now waits for it.
    wire.refuse(true);
    wire.cut();
    await expect.poll(() => shown(), { timeout: 20_000 }).toEqual({ standing: 'missing' });
    expect(await doctor()).toMatchObject({ state: 'broken', words: expect.stringContaining('nothing can be written') });
    wire.refuse(false);
    await ask(servers[0]!.url, 'alter system reset synchronous_standby_names');
    await ask(servers[0]!.url, 'select pg_reload_conf()');
    await expect.poll(() => shown(), { timeout: 20_000 }).toEqual({ standing: 'asynchronous' });
  }, 60_000);

  test('[FO2] what was acknowledged and is gone is reported once by all nodes together, and everybody is sent to compare', async () => {
    const [one, two] = nodes as [TestServer, TestServer];
    [ann, bob] = [await one.register('ann'), await two.register('bob')];
    await one.befriend(ann, bob);
    ({
      conversation: { id: conversationId },
    } = await one.call('conversation.create', { title: 'Trip', memberIds: [bob.id] }, ann.token));
    clients = [await one.connect(ann), await two.connect(bob)];
    await say(one, 'kept', 'client-kept');
    await ask(urlOf(1), `select 1 from messages where client_id = 'client-kept'`, 1);
    // The standby hears no more of what is committed.
    wire.refuse(true);
    wire.cut();
    const { message: lost } = await say(one, 'lost', 'client-lost-0');
    for (let n = 1; n < 3; n += 1) await say(one, 'lost', `client-lost-${n}`);
    await clients[1].push(({ stream, version }) => stream === `conversation:${conversationId}` && version === lost.version + 2);
    ({ era } = await hello(two, bob));
    from = lost.version;

    await ask(servers[1]!.url, 'select pg_promote(true, 60)');
    lead(1);
    // Whoever looks first: nobody has to ask for anything.
    expect((await Promise.all(clients.map(({ closed }) => closed))).map(({ code }) => code)).toEqual([closeCodes.restarting.code, closeCodes.restarting.code]);
    await expect.poll(async () => (await metric(one, 'kith_database_lost_commits_total')) + (await metric(two, 'kith_database_lost_commits_total')), { timeout: 20_000 }).toBe(3);
    const reports = lines.filter(({ msg }) => msg.includes('has lost'));
    expect(reports.map(({ level, commits, messages, streams }) => ({ level, commits, messages, streams }))).toEqual([{ level: 'error', commits: 3, messages: 3, streams: 1 }]);
    expect(await ask(urlOf(1), `select stream, commits, messages from losses`)).toEqual([{ stream: `conversation:${conversationId}`, commits: 3, messages: 3 }]);
    const operator = await one.call('auth.login', { handle: 'operator', password: 'correct horse' });
    expect(await two.call('site.database', {}, operator.token)).toEqual({ standing: 'alone', lost: { at: expect.any(Number), streams: 1, commits: 3, messages: 3 } });
    expect(await ask(urlOf(1), `select detail from audit where event = 'database.lost'`)).toEqual([{ detail: JSON.stringify({ era: 2, streams: 1, commits: 3, messages: 3 }) }]);
  }, 60_000);

  test('[ST11] nobody takes the one history for the other, though the same numbers are given to others', async () => {
    const [one, two] = nodes as [TestServer, TestServer];
    for (let n = 0; n < 3; n += 1) await say(two, 'in its place', `client-new-${n}`);
    const now = await hello(one, bob);
    expect(now.heads[`conversation:${conversationId}`]).toBe(from + 2);
    expect(now.era).not.toBe(era);
    const changes = (since: number, of: string) => one.call('stream.changes', { stream: `conversation:${conversationId}`, since, era: of }, bob.token);
    expect(await changes(from, era)).toEqual({ tooOld: true });
    expect(await changes(from - 1, era)).toMatchObject({ version: from + 2, entities: [{ text: 'in its place' }, {}, {}] });
    expect(await changes(from, now.era)).toMatchObject({ version: from + 2 });
    expect(await changes(from - 1, 'neither')).toEqual({ tooOld: true });
  }, 60_000);

  test('[FO3] a primary that was given up and is back is written to by no node, not by one that has only just started either', async () => {
    const [one, two] = nodes as [TestServer, TestServer];
    lead(0);
    const late = await startNode();
    for (const node of [one, two, late]) {
      await expect.poll(async () => (await node.http('GET', '/readyz')).status, { timeout: 20_000 }).toBe(503);
      await expect(say(node, 'to the old one', 'client-old-0')).rejects.toMatchObject({ code: 'busy' });
    }
    expect(await ask(urlOf(0), `select 1 from messages where client_id = 'client-old-0'`)).toEqual([]);
    expect(lines.filter(({ msg }) => msg.includes('a primary that was given up')).map(({ level }) => level)).toEqual(['error', 'error', 'error']);
    expect(await metric(one, 'kith_database_refused_total')).toBeGreaterThan(0);
    lead(1);
    for (const node of [one, two, late]) await expect.poll(async () => (await node.http('GET', '/readyz')).status, { timeout: 20_000 }).toBe(200);
    await say(late, 'to the new one', 'client-old-0');
  }, 60_000);

  async function hello(node: TestServer, who: Person) {
    const client = await node.socket();
    const said = await client.hello({ token: who.token });
    await client.close();
    return said;
  }
});

/** Asks one of the servers, again until there are so many rows where that is asked for. */
async function ask(url: string, sql: string, rows = 0): Promise<unknown[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    for (;;) {
      const found = (await client.query<Record<string, unknown>>(sql)).rows;
      if (found.length >= rows) return found;
    }
  } finally {
    await client.end();
  }
}
