import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Message } from '@kith/protocol';
import { randomFrom } from './crash-child.ts';
import { Device, Ledger, type Load, Poller, Uptime, post, readAll } from './crash-load.ts';
import { type ServerProcess, startServerProcess } from './crash-server.ts';

export interface Outcome {
  problems: string[];
  acks: number;
  messages: number;
  /** How the connections of the last server ended. */
  closes: { code: number; reason: string }[];
  /** Of the last server, which was asked to stop. */
  exit: number | NodeJS.Signals;
  /** Milliseconds from asking to the end. */
  stopMs: number;
  /** Of the server whose disk failed, if one did. */
  failed?: number | NodeJS.Signals;
}

export interface Plan {
  seed: number;
  /** How often. */
  kills: number;
  /** Makes the disk of one server fail while it runs; resolves when it does. */
  disk?: (server: ServerProcess) => Promise<unknown>;
  /** Another database than a file, and what ends every connection to it, some times. */
  database?: { url: string; cut: () => Promise<unknown>; cuts: number };
}

/**
 * Four people with two devices each write to each other as fast as they can, while the server is killed (kill -9) again
 * and again at random moments; the last one is asked to stop in the middle of it.
 */
export async function crash({ seed, kills, disk, database }: Plan): Promise<Outcome> {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-crash-'));
  const random = randomFrom(seed);
  const load: Load = { ledger: new Ledger(!database), uptime: new Uptime(), random, mayBeBusy: database !== undefined };
  const { ledger, uptime } = load;
  const begin = (): Promise<ServerProcess> => startServerProcess(data, database && { KITH_DATABASE: database.url });
  let server: ServerProcess | undefined;
  try {
    server = await begin();
    const { devices, pollers, truth } = await people(server.url, load);
    for (const one of [...devices, ...pollers]) one.start();
    const restart = async (when: string, end: (server: ServerProcess) => Promise<unknown>): Promise<void> => {
      uptime.down();
      await end(server!);
      server = await begin();
      ledger.check(when, await truth(server.url));
    };
    for (let kill = 1; kill <= kills; kill += 1) {
      uptime.up(server.url);
      await ledger.afterFrames(Math.floor(random() ** 2 * 900));
      await restart(`after kill ${kill}`, (one) => one.kill());
    }

    for (let cut = 1; cut <= (database?.cuts ?? 0); cut += 1) {
      uptime.up(server.url);
      await ledger.afterFrames(Math.floor(random() * 300));
      await database!.cut();
    }

    let failed: Outcome['failed'];
    if (disk) {
      uptime.up(server.url);
      await ledger.afterFrames(200);
      await restart('after the disk failed', async (one) => {
        await disk(one);
        failed = await one.ended;
      });
    }

    const began = ledger.tick();
    uptime.up(server.url);
    await ledger.afterFrames(300);
    for (const device of devices) device.closes.length = 0;
    const asked = performance.now();
    let stopMs = 0;
    let exit: Outcome['exit'] = 0;
    await restart('after the stop', async (one) => {
      one.process.kill('SIGTERM');
      exit = await one.ended;
      stopMs = performance.now() - asked;
      // Whoever stops in good order leaves nobody without an answer that is owed.
      ledger.stopped = began;
    });
    const closes = devices.map((device) => device.closes[0]!);

    uptime.up(server.url);
    await ledger.afterFrames(300);
    await Promise.all(devices.map((device) => device.finish()));
    await Promise.all(devices.map((device) => device.settle()));
    const all = await truth(server.url);
    ledger.check('at the end', all);
    for (const device of devices) device.check(all);
    for (const poller of pollers) await poller.end(server.url, all);
    await Promise.all(devices.map((device) => device.end()));
    return { problems: ledger.problems, acks: ledger.acks, messages: [...all.values()].flat().length, closes, exit, stopMs, ...(failed !== undefined && { failed }) };
  } finally {
    await server?.kill();
    fs.rmSync(data, { recursive: true, force: true });
  }
}

async function people(url: string, load: Load): Promise<{ devices: Device[]; pollers: Poller[]; truth: (url: string) => Promise<Map<string, Message[]>> }> {
  const password = 'correct horse battery';
  const persons = await Promise.all(
    ['anna', 'bert', 'cleo', 'dora'].map(async (handle) => {
      const { user, token } = await post(url, 'auth.register', { handle, password, name: handle });
      await post(url, 'user.update', { accepts: 'anyone' }, token);
      const second = await post(url, 'auth.login', { handle, password });
      return { handle, id: user.id, tokens: [token!, second.token!] };
    }),
  );
  const [anna, bert, cleo, dora] = persons as [(typeof persons)[0], (typeof persons)[0], (typeof persons)[0], (typeof persons)[0]];
  const group = (title: string, ...members: typeof persons) => post(url, 'conversation.create', { title, memberIds: members.map(({ id }) => id) }, anna.tokens[0]);
  const all = (await group('All', bert, cleo, dora)).conversation.id;
  const three = (await group('Three', bert, cleo)).conversation.id;
  const two = (await post(url, 'conversation.direct', { userId: dora.id }, cleo.tokens[0])).conversation.id;
  const of = new Map([
    [anna, [all, three]],
    [bert, [all, three]],
    [cleo, [all, three, two]],
    [dora, [all, two]],
  ]);
  const devices = persons.flatMap((person) => person.tokens.map((token, at) => new Device(`${person.handle}-${at}`, { id: person.id, token }, of.get(person)!, load)));
  const pollers = [new Poller(anna.tokens[0]!, all, load), new Poller(cleo.tokens[0]!, two, load)];
  const truth = async (where: string): Promise<Map<string, Message[]>> => {
    const read = async (id: string, token: string): Promise<[string, Message[]]> => [id, await readAll(where, id, token)];
    return new Map(await Promise.all([read(all, dora.tokens[0]!), read(three, anna.tokens[1]!), read(two, dora.tokens[1]!)]));
  };
  return { devices, pollers, truth };
}
