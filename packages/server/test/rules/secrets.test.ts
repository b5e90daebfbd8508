import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { resetTicket } from '../../src/admin-command.ts';
import { backUp, restore } from '../../src/backup.ts';
import { type Config, configWith } from '../../src/config.ts';
import { type Kept, Secrets, readSecrets, rotated, writeSecrets } from '../../src/core/secrets.ts';
import { Tickets } from '../../src/core/tickets.ts';
import { makeVapidKeys } from '../../src/core/web-push.ts';
import type { Database } from '../../src/db/db.ts';
import { examineServer } from '../../src/doctor.ts';
import { openLog } from '../../src/log.ts';
import { rotateSecrets } from '../../src/secrets-command.ts';
import { startServer } from '../../src/server.ts';
import { type Person, type TestServer, startTestServer } from '../harness.ts';
import { createTestDatabase } from '../postgres.ts';
import { type Device, PushService } from '../push-service.ts';
import { type Rows, openRows } from './rows.ts';

// The keys of a server: made at the first start, never given, rotated while it goes on, and in no backup.

const [minuteMs, hourMs, dayMs] = [60_000, 3_600_000, 86_400_000];
const begun = Date.UTC(2026, 10, 1);
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-secrets-'));
const service = await new PushService().open();
afterAll(async () => {
  await service.close();
  fs.rmSync(root, { recursive: true, force: true });
});
let folders = 0;
const folder = (): string => path.join(root, String((folders += 1)));
const fileOf = (data: string): string => path.join(data, 'secrets.json');

const log = openLog({ logLevel: 'silent' });
let time = begun;
const options = { pushHosts: service.url, pushIntervalMs: 0, pushDelayMs: 0, offlineGraceMs: 0 };
const serve = (engine: 'sqlite-direct' | 'postgres', config: Partial<Config>): Promise<TestServer> =>
  startTestServer({ engine, now: () => time, config: { ...options, ...config } });
const heartbeat = ({ running }: TestServer): Promise<void> => running.core.sweepSessions();

describe.each(['sqlite-direct', 'postgres'] as const)('keys on %s', (engine) => {
  let server: TestServer;
  let rows: Rows;
  let data: string;
  beforeAll(async () => {
    time = begun;
    data = folder();
    server = await serve(engine, { data });
    rows = await openRows(server.config);
  });
  afterAll(async () => {
    await rows.close();
    await server.close();
  });

  const kept = async (): Promise<Kept> => (await readSecrets(server.config))!;
  const reset = async (person: Person, ticket: string): Promise<unknown> =>
    server.call('auth.reset', { handle: person.handle!, ticket, password: 'another horse battery' }).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    );
  const subscribe = async (person: Person): Promise<Device> => {
    const device = service.device();
    const { publicKey } = await server.call('push.key', {}, person.token);
    await server.call('push.subscribe', { ...device.subscription, publicKey }, person.token);
    return device;
  };
  /** The key of which a push is signed, as its push service sees it. */
  const signedBy = async (person: Person, device: Device): Promise<string | undefined> => {
    await server.call('push.test', {}, person.token);
    return /k=(\S+)$/.exec((await device.next()).headers.authorization!)?.[1];
  };

  test('[KY1] are made at the first start and for nobody else to read; with SQLite none is in the database, with PostgreSQL all nodes have the same', async () => {
    const keys = await kept();
    expect([keys.tickets.length, keys.vapid.length]).toEqual([1, 1]);
    const mode = fs.statSync(fileOf(data), { throwIfNoEntry: false })?.mode;
    expect(mode === undefined ? 'no file' : (mode & 0o777).toString(8)).toBe(engine === 'postgres' ? 'no file' : '600');
    expect((await rows.run<{ name: string }>('select name from secrets')).map(({ name }) => name)).toEqual(engine === 'postgres' ? ['kept'] : []);
    const other = await serve('sqlite-direct', {});
    const [mine, theirs] = [keys, (await readSecrets(other.config))!].map((one) => [one.names, one.tickets[0]!.key, one.vapid[0]!.privateKey]);
    await other.close();
    expect(mine!.filter((key) => theirs!.includes(key))).toEqual([]);
  });

  test('[KY3] rotated beside the running server, the old and the new one are both good, and nothing that people began is lost', async () => {
    const [anna, bert, cleo] = [await server.register(), await server.register(), await server.register()];
    const device = await subscribe(anna);
    const before = await kept();
    const link = await resetTicket(server.config, anna.handle!, time);
    expect(await rotateSecrets(server.config, {}, time)).toContain('in use in 5 minutes');
    await heartbeat(server);
    // Not used yet: another node may not have read it.
    expect((await server.call('push.key', {}, bert.token)).publicKey).toBe(before.vapid[0]!.publicKey);
    time += 5 * minuteMs;
    const after = await kept();
    expect(after.vapid.map(({ publicKey }) => publicKey)).toEqual([before.vapid[0]!.publicKey, expect.any(String)]);
    const { publicKey } = await server.call('push.key', {}, bert.token);
    expect(publicKey).toBe(after.vapid[1]!.publicKey);
    expect(await reset(cleo, await resetTicket(server.config, cleo.handle!, time))).toBe('taken');
    expect(await reset(anna, link)).toBe('taken');
    // Her session went with the password, and the device with it; another one of before goes on by the key it knows.
    const again = await server.login({ ...anna, password: 'another horse battery' });
    await server.call('push.subscribe', { ...device.subscription, publicKey: before.vapid[0]!.publicKey }, again.token);
    expect(await signedBy(again, device)).toBe(before.vapid[0]!.publicKey);
    time += minuteMs;
    expect(await signedBy(bert, await subscribe(bert))).toBe(publicKey);
    // What is no key of this server is told at once, and not by silence.
    const { subscription } = service.device();
    await expect(server.call('push.subscribe', { ...subscription, publicKey: makeVapidKeys().publicKey }, bert.token)).rejects.toMatchObject({
      code: 'bad_request',
      extra: { path: 'params.publicKey' },
    });
  });

  test('[KY5] a device goes on getting pushes by the pair it subscribed with for 60 days, and then has to subscribe anew', async () => {
    const dora = await server.register();
    const device = await subscribe(dora);
    const { publicKey } = await server.call('push.key', {}, dora.token);
    await rotateSecrets(server.config, {}, time);
    await heartbeat(server);
    for (let days = 0; days < 56; days += 28) {
      time += 28 * dayMs;
      await heartbeat(server);
      expect(await signedBy(dora, device)).toBe(publicKey);
    }
    time += 5 * dayMs;
    await heartbeat(server);
    expect((await server.call('push.check', {}, dora.token)).subscribed).toBe(false);
    await expect(server.call('push.subscribe', { ...device.subscription, publicKey }, dora.token)).rejects.toMatchObject({ code: 'bad_request' });
    expect(await signedBy(dora, await subscribe(dora))).toBe((await kept()).vapid.at(-1)!.publicKey);
  });

  test('[KY4] rotated at once, the old ones are good for nothing from the next heartbeat on; the audit log knows of each', async () => {
    const emil = await server.register();
    const device = await subscribe(emil);
    const link = await resetTicket(server.config, emil.handle!, time);
    const before = await kept();
    await rotateSecrets(server.config, { atOnce: true }, time);
    await heartbeat(server);
    expect(await reset(emil, link)).toBe('wrong_credentials');
    expect((await server.call('push.check', {}, emil.token)).subscribed).toBe(false);
    expect(device.pushes).toEqual([]);
    expect(await signedBy(emil, await subscribe(emil))).not.toBe(before.vapid.at(-1)!.publicKey);
    const noted = (await rows.run<{ event: string; detail: string }>('select event, detail from audit')).filter(({ event }) => event === 'secrets.rotated');
    expect(noted.map(({ detail }) => (JSON.parse(detail) as { atOnce: boolean }).atOnce)).toEqual([false, false, true]);
    // Which names that nobody has are answered as if somebody had them is the same as ever, or it would tell.
    expect((await kept()).names).toBe(before.names);
  });

  test('[KY7] keys of an earlier version go on: with SQLite out of the database, and devices keep their pair', async () => {
    const where = folder();
    const old = await serve(engine, { data: where });
    const gina = await old.register();
    const device = service.device();
    await old.call('push.subscribe', device.subscription, gina.token);
    const link = await resetTicket(old.config, gina.handle!, time);
    const { tickets, vapid } = (await readSecrets(old.config))!;
    const beside = await openRows(old.config);
    // As they were kept.
    await beside.run('delete from secrets');
    await beside.run(
      'insert into secrets (name, value) values (?, ?), (?, ?)',
      'tickets',
      tickets[0]!.key,
      'vapid',
      JSON.stringify({ publicKey: vapid[0]!.publicKey, privateKey: vapid[0]!.privateKey }),
    );
    await beside.run('update push_subscriptions set vapid = null');
    fs.rmSync(fileOf(where), { force: true });
    await old.restart();
    await old.call('push.test', {}, gina.token);
    expect((await device.next()).headers.authorization).toContain(`k=${vapid[0]!.publicKey}`);
    expect(await old.call('auth.reset', { handle: gina.handle!, ticket: link, password: 'another horse battery' })).toEqual({});
    expect((await beside.run<{ name: string }>('select name from secrets')).map(({ name }) => name)).toEqual(engine === 'postgres' ? ['kept'] : []);
    await beside.close();
    await old.close();
  });
});

test('[KY1] nodes that begin at once on an empty database have the same keys, and one that comes later has them, too', async () => {
  const { url, drop } = await createTestDatabase();
  onTestFinished(drop);
  const config = configWith({ database: url, data: folder(), port: 0 });
  const start = (node: number) => startServer({ ...config, data: path.join(config.data, String(node)) }, { env: {}, log });
  const nodes = await Promise.all([start(1), start(2)]);
  const first = await readSecrets(config);
  nodes.push(await start(3));
  expect(first).toBeDefined();
  expect(await readSecrets(config)).toEqual(first);
  // And each uses them: what it tells devices is the pair that is kept.
  const pair = async ({ port }: { port: number }): Promise<string> => {
    const ask = async (method: string, params: object, token?: string) =>
      (await (
        await fetch(`http://127.0.0.1:${port}/api/${method}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
          body: JSON.stringify(params),
        })
      ).json()) as { token: string; publicKey: string };
    return (await ask('push.key', {}, (await ask('auth.guest', { name: 'Gast' })).token)).publicKey;
  };
  expect(new Set(await Promise.all(nodes.map(pair)))).toEqual(new Set([first!.vapid[0]!.publicKey]));
  await Promise.all(nodes.map((node) => node.close()));
});

test('[KY2] keys that others could read or have damaged are refused, in words, and nothing is put in their place', async () => {
  const data = folder();
  const config = configWith({ data, port: 0 });
  const start = async (): Promise<string> => {
    const running = await startServer(config, { env: {}, engine: 'direct', log }).catch((error: Error) => error.message);
    if (typeof running !== 'string') await running.close();
    return typeof running === 'string' ? running : 'started';
  };
  expect(await start()).toBe('started');
  const good = fs.readFileSync(fileOf(data), 'utf8');
  const [kept, other] = [JSON.parse(good) as Kept, makeVapidKeys()];
  const bad: [string, string][] = [
    ['', 'is not as Kith writes it'],
    ['{"tickets":', 'is not as Kith writes it'],
    [JSON.stringify({ ...kept, tickets: [] }), 'is not as Kith writes it'],
    [JSON.stringify({ ...kept, tickets: [{ from: 0, key: 'changeme' }] }), 'is not as Kith writes it'],
    [JSON.stringify({ ...kept, tickets: [{ from: 0, key: 'A'.repeat(43) }] }), 'is not as Kith writes it'],
    [JSON.stringify({ ...kept, names: '' }), 'is not as Kith writes it'],
    [JSON.stringify({ ...kept, vapid: [{ from: 0, publicKey: other.publicKey, privateKey: kept.vapid[0]!.privateKey }] }), 'is not as Kith writes it'],
  ];
  for (const [text, words] of bad) {
    fs.writeFileSync(fileOf(data), text);
    expect([text.slice(0, 60), await start()]).toEqual([text.slice(0, 60), expect.stringContaining(words)]);
    expect(fs.readFileSync(fileOf(data), 'utf8')).toBe(text);
  }
  fs.writeFileSync(fileOf(data), good);
  fs.chmodSync(fileOf(data), 0o640);
  expect(await start()).toContain('chmod 600');
  expect(await examineServer(config)).toContainEqual({ what: 'keys', state: 'broken', words: expect.stringContaining('chmod 600') });
  fs.chmodSync(fileOf(data), 0o600);
  expect(await start()).toBe('started');
  const words = async (now: number) => (await examineServer(config, now)).filter(({ what }) => what === 'keys');
  expect(await words(Date.now())).toEqual([{ what: 'keys', state: 'well', words: expect.stringContaining('in no backup') }]);
  expect(await words(Date.now() + 500 * dayMs)).toEqual([{ what: 'keys', state: 'look', words: expect.stringContaining('500 days old: kith rotate-secrets') }]);
});

test('[KY3] a node that has not read the new key yet is understood by one that has, and the other way round, at every moment of a rotation', () => {
  let now = begun;
  const before: Kept = rotated({ tickets: [], vapid: [], names: 'x' }, begun - dayMs, { atOnce: true });
  const after = rotated(before, begun);
  // Somebody is impatient.
  const again = rotated(after, begun + 2 * minuteMs);
  const node = (kept: Kept) => new Tickets(new Secrets(kept, { read: async () => kept, now: () => now }), { db: undefined as unknown as Database, now: () => now });
  const lifeMs = 30 * minuteMs;
  for (let minute = 0; minute < 120; minute += 1) {
    now = begun + minute * minuteMs;
    // All have read it within two minutes: that is the longest heartbeat.
    const nodes = minute < 2 ? [node(before), node(after)] : minute < 4 ? [node(after), node(again)] : [node(again)];
    for (const one of nodes) {
      const ticket = one.seal('reset', lifeMs);
      for (const other of nodes) expect([minute, other.isGood(ticket, 'reset')]).toEqual([minute, true]);
      now += lifeMs - 1;
      // At its last moment, with keys that were pruned by yet another rotation.
      expect([minute, node(rotated(again, now)).isGood(ticket, 'reset')]).toEqual([minute, true]);
      now = begun + minute * minuteMs;
    }
  }
  const old = node(before).seal('reset', 365 * dayMs);
  now = begun + 5 * minuteMs + hourMs - 1;
  expect(node(after).isGood(old, 'reset')).toBe(true);
  now += 1;
  expect(node(after).isGood(old, 'reset')).toBe(false);
  // Whoever rotates every day keeps no more pairs than a few.
  let many = before;
  for (let day = 0; day < 30; day += 1) many = rotated(many, begun + day * dayMs);
  expect([many.vapid.length, many.tickets.length]).toEqual([5, 2]);
});

test('[KY6] a backup has no key in any byte of it, also of an earlier version; restored without them, devices subscribe anew, and with them all goes on', async () => {
  time = begun;
  const [data, copy, bare, whole] = [folder(), folder(), folder(), folder()];
  const server = await serve('sqlite-direct', { data });
  const ida = await server.register();
  const device = service.device();
  await server.call('push.subscribe', device.subscription, ida.token);
  const kept = (await readSecrets(server.config))!;
  const rows = await openRows(server.config);
  await rows.run('insert into secrets (name, value) values (?, ?), (?, ?)', 'tickets', kept.tickets[0]!.key, 'vapid', JSON.stringify(kept.vapid[0]));
  await rows.close();
  await backUp(server.config, copy);
  await server.close();
  const secret = [kept.tickets[0]!.key, kept.vapid[0]!.privateKey, kept.names].flatMap((key) => [Buffer.from(key), Buffer.from(key, 'base64url')]);
  const copied = fs.readdirSync(copy, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(copied.map(({ name }) => name)).toContain('kith.db');
  for (const { parentPath, name } of copied) {
    const bytes = fs.readFileSync(path.join(parentPath, name));
    expect([name, secret.some((key) => bytes.includes(key))]).toEqual([name, false]);
  }
  // That the search would find one: the file beside the data has them all.
  expect(fs.readFileSync(fileOf(data)).includes(secret[0]!)).toBe(true);

  for (const [to, withKeys] of [
    [bare, false],
    [whole, true],
  ] as const) {
    await restore(configWith({ data: to }), copy);
    if (withKeys) fs.copyFileSync(fileOf(data), fileOf(to));
    const restored = await serve('sqlite-direct', { data: to });
    expect(((await readSecrets(restored.config))!.names === kept.names) === withKeys).toBe(true);
    // Who was signed in is signed in.
    expect((await restored.call('push.check', {}, ida.token)).subscribed).toBe(withKeys);
    const { publicKey } = await restored.call('push.key', {}, ida.token);
    expect(publicKey === kept.vapid[0]!.publicKey).toBe(withKeys);
    if (!withKeys) await restored.call('push.subscribe', { ...device.subscription, publicKey }, ida.token);
    await restored.call('push.test', {}, ida.token);
    expect((await device.next()).headers.authorization).toContain(`k=${publicKey}`);
    await restored.close();
  }
});

test('[KY10] written anew, the file is whole or as it was, and belongs to whom it belonged', async () => {
  const data = folder();
  fs.mkdirSync(data, { mode: 0o700 });
  const where = { data, database: 'sqlite' };
  const kept = rotated({ tickets: [], vapid: [], names: createHash('sha256').update('names').digest('base64url') }, begun, { atOnce: true });
  // A part of one that was cut by a power cut is no obstacle, and never read.
  fs.writeFileSync(`${fileOf(data)}.part`, '{"tickets"');
  await writeSecrets(where, kept);
  expect(await readSecrets(where)).toEqual(kept);
  expect(fs.readdirSync(data)).toEqual(['secrets.json']);
  const { ino } = fs.statSync(fileOf(data));
  await writeSecrets(where, rotated(kept, begun));
  expect(fs.statSync(fileOf(data)).ino).not.toBe(ino);
  expect(fs.statSync(fileOf(data)).mode & 0o777).toBe(0o600);
  expect((await readSecrets(where))!.tickets).toHaveLength(2);
});
