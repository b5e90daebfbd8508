import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { type Member, type Message, RequestError } from '@kith/protocol';
import { pino } from 'pino';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Core } from '../../src/core/core.ts';
import { coreWith, startTestServer } from '../harness.ts';
import { ManualClock } from '../manual-clock.ts';
import { photo } from '../pictures.ts';
import { type Someone, clientId, engines, password, unique, usePlace } from './place.ts';

const dayMs = 86_400_000;
const folder = mkdtempSync(join(tmpdir(), 'kith-export-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What the machine's own tar finds in it, by name. */
function unpack(bytes: Buffer): Map<string, Buffer> {
  const into = join(folder, unique('copy'));
  mkdirSync(into);
  writeFileSync(`${into}.tar`, bytes);
  execFileSync('tar', ['-xf', `${into}.tar`, '-C', into], { stdio: 'ignore' });
  const files = readdirSync(into, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(files.map(({ parentPath, name }) => [relative(into, join(parentPath, name)), readFileSync(join(parentPath, name))]));
}

describe.each(engines)('copies of accounts on %s', (engine) => {
  const clock = new ManualClock();
  let time = Date.now();
  let failing = false;
  const place = usePlace({
    engine: engine === 'sqlite' ? 'sqlite-direct' : engine,
    clock,
    now: () => time,
    wrapCore: (core) =>
      coreWith(core, {
        async exportPart(job, at) {
          if (failing && at !== '') throw new Error('the disk is on fire');
          return core.exportPart(job, at);
        },
      }),
  });

  /** Asks for one and waits until it is there. */
  async function take(person: Someone): Promise<{ fileId: string; until: number; bytes: Buffer }> {
    expect((await person.call('export.start', {})).export).toEqual({ state: 'making', at: time });
    return made(person);
  }
  async function made(person: Someone): Promise<{ fileId: string; until: number; bytes: Buffer }> {
    const ready = await vi.waitUntil(
      async () => {
        await clock.pass(2_000);
        const { export: found } = await person.call('export.get', {});
        return found?.state === 'ready' ? found : undefined;
      },
      { timeout: 20_000 },
    );
    const answer = await place.server.download(person, ready.file!.id);
    expect([answer.status, answer.bytes.length]).toEqual([200, ready.file!.size]);
    return { fileId: ready.file!.id, until: ready.until!, bytes: answer.bytes };
  }

  test('[EX1] a copy has the account, every conversation with all of its messages, and the files that the person sent, as tar', async () => {
    const { anna, bert, conversationId } = await place.direct();
    await anna.call('user.update', { bio: 'Sings.', avatar: `file:${(await place.server.upload(anna, await photo().jpeg().toBuffer(), { avatar: true })).id}` });
    await place.fill(conversationId, bert, 700);
    const bytes = Buffer.from('the score of it');
    const file = await place.server.upload(anna, bytes, { name: '合唱 – score.txt' });
    for (const text of ['once', 'twice']) await anna.call('message.send', { conversationId, clientId: clientId(), type: 'file', text, fileId: file.id });
    const theirs = await place.server.upload(bert, Buffer.from('of bert'), { name: 'bert.txt' });
    await bert.call('message.send', { conversationId, clientId: clientId(), type: 'file', text: '', fileId: theirs.id });
    const { conversation } = await anna.call('conversation.create', { title: 'Choir', memberIds: [bert.id] });
    await anna.say(conversation.id, 'welcome');

    const copy = unpack((await take(anna)).bytes);
    const read = (name: string): unknown => JSON.parse(copy.get(name)!.toString());
    expect(read('account.json')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ kind: 'user', id: anna.id, handle: anna.handle, bio: 'Sings.' }),
        expect.objectContaining({ kind: 'friend', userId: bert.id }),
        expect.objectContaining({ kind: 'inbox', conversationId }),
      ]),
    );
    const names = [...copy.keys()];
    const pages = names.filter((name) => name.startsWith(`conversations/${conversationId}/messages-`)).sort();
    expect(pages.length).toBeGreaterThan(1);
    const messages = pages.flatMap((name) => read(name) as Message[]);
    expect(messages.map(({ seq }) => seq)).toEqual(Array.from({ length: 703 }, (_, at) => at + 1));
    const choir = read(`conversations/${conversation.id}/conversation.json`) as { conversation: { title: string }; members: Member[] };
    expect(choir.conversation).toMatchObject({ title: 'Choir' });
    // Of people who came in one millisecond, either may be the first.
    expect(choir.members.map(({ userId }) => userId).toSorted()).toEqual([anna.id, bert.id].toSorted());
    expect(copy.get(`files/${file.id}/合唱 – score.txt`)).toEqual(bytes);
    expect(names.filter((name) => name.startsWith('files/'))).toHaveLength(1);
    expect(names).toContain('avatar.webp');
    expect((await anna.call('file.usage', {})).own.bytes).toBeLessThan(200_000);
  });

  test('[EX2] nothing is in it that the person cannot read now, and nothing that signs anybody in', async () => {
    const canary = unique('CANARY');
    const { anna, bert, cleo, conversationId } = await place.group();
    const others = await bert.call('conversation.create', { title: `${canary} title`, memberIds: [cleo.id] });
    await bert.say(others.conversation.id, `${canary} among others`);
    const left = await anna.call('conversation.create', { title: 'Left', memberIds: [bert.id] });
    await bert.say(left.conversation.id, `${canary} behind`);
    const file = await place.server.upload(anna, Buffer.from(`${canary} sent there`), { name: `${canary}.txt` });
    await anna.call('message.send', { conversationId: left.conversation.id, clientId: clientId(), type: 'file', text: canary, fileId: file.id });
    await anna.call('conversation.leave', { conversationId: left.conversation.id });
    const recalled = await bert.say(conversationId, `${canary} recalled`);
    await anna.call('message.delete', { messageId: recalled.id });
    await bert.call('friend.remark', { userId: anna.id, remark: `${canary} the alto` });
    await bert.call('draft.set', { conversationId, base: 0, text: `${canary} half` });
    await bert.say(conversationId, 'readable');
    const { bytes, fileId } = await take(anna);
    expect(bytes.includes('readable')).toBe(true);
    expect(bytes.includes(canary)).toBe(false);
    const hashes = (
      await place.rows.run<Record<string, string>>('select token_hash, password from sessions join users on users.id = sessions.user_id where users.id = ?', anna.id)
    ).flatMap(Object.values) as string[];
    for (const secret of [anna.token, password, ...hashes]) expect(bytes.includes(secret)).toBe(false);
    expect((await place.server.download(bert, fileId)).status).toBe(404);
  });

  test('[EX3] there is one a day, and it can be had for a day', async () => {
    const anna = await place.person();
    expect(await anna.call('export.get', {})).toEqual({});
    const { fileId, until } = await take(anna);
    expect(until).toBe(time + dayMs);
    expect((await anna.call('export.start', {})).export).toMatchObject({ state: 'ready', file: { id: fileId } });
    time += dayMs - 1;
    expect((await place.server.download(anna, fileId)).status).toBe(200);
    time += 2;
    expect((await place.server.download(anna, fileId)).status).toBe(404);
    expect(await anna.call('export.get', {})).toEqual({});
    const again = await place.device(anna);
    expect((await take(again)).fileId).not.toBe(fileId);
  });

  test('[EX4] one that was cut off is made anew, and one that could not be made can be asked for again', async () => {
    const anna = await place.person();
    await anna.call('conversation.direct', { userId: anna.id });
    failing = true;
    await anna.call('export.start', {});
    await vi.waitUntil(
      async () => {
        await clock.pass(2_000);
        return (await anna.call('export.get', {})).export === undefined;
      },
      { timeout: 20_000 },
    );
    failing = false;
    await anna.call('export.start', {});
    // Whoever began it was killed with half of it written.
    const { file_id: fileId } = (await place.rows.run<{ file_id: string }>('select file_id from exports where user_id = ?', anna.id))[0]!;
    await place.rows.run('update exports set claimed_at = ? where file_id = ?', time, fileId);
    const arriving = join(place.server.config.data, 'files', 'incoming');
    mkdirSync(arriving, { recursive: true });
    writeFileSync(join(arriving, fileId), 'half of it');
    await clock.pass(4_000);
    expect((await anna.call('export.get', {})).export).toEqual({ state: 'making', at: time });
    time += 600_001;
    await anna.call('auth.confirm', { password });
    expect([...unpack((await made(anna)).bytes).keys()]).toContain('account.json');
  });

  test('[EX5] nobody can put anything of their own into it, or send it on, while it is made', async () => {
    const { anna, conversationId } = await place.direct();
    await anna.call('export.start', {});
    const { file_id: fileId } = (await place.rows.run<{ file_id: string }>('select file_id from exports where user_id = ?', anna.id))[0]!;
    expect((await place.server.patch(anna, `/files/${fileId}`, 0, Buffer.from('mine'))).status).toBe(404);
    await expect(anna.call('message.send', { conversationId, clientId: clientId(), type: 'file', text: '', fileId })).rejects.toMatchObject({ code: 'incomplete' });
    await made(anna);
  });
});

test.for([
  ['copies of accounts', 'nextExport', 2_000],
  ['what is too old', 'tidy', 60_000],
  ['files that nobody needs', 'unusedFiles', 60_000],
] as const)('[OP20] a database that is away is told once, as a warning, and once when it is back; what is no answer of its own, each time: %s', async ([what, method, everyMs]) => {
  const clock = new ManualClock();
  let asked = 0;
  let fails: Error | undefined;
  const lines: { level: string; msg: string }[] = [];
  const log = pino({ formatters: { level: (label) => ({ level: label }) } }, { write: (line) => void lines.push(JSON.parse(line) as { level: string; msg: string }) });
  const wrapCore = (core: Core): Core =>
    coreWith(core, {
      async [method]() {
        asked += 1;
        if (fails) throw fails;
        return core[method]();
      },
    });
  const server = await startTestServer({ engine: 'sqlite-direct', clock, log, wrapCore });
  onTestFinished(() => server.close());
  const rounds = async (count: number): Promise<void> => {
    const until = asked + count;
    await vi.waitUntil(
      async () => {
        await clock.pass(everyMs);
        return asked >= until;
      },
      { timeout: 20_000, interval: 5 },
    );
  };
  const told = (): string[] => lines.filter(({ msg }) => msg.startsWith(what)).map(({ level, msg }) => `${level}: ${msg}`);
  fails = new RequestError('busy');
  await rounds(4);
  expect(told()).toEqual([`warn: ${what}: not for now`]);
  fails = undefined;
  await rounds(3);
  expect(told()).toEqual([`warn: ${what}: not for now`, `info: ${what}: again`]);
  fails = new TypeError('a bug');
  await rounds(3);
  expect(told().slice(2, 4)).toEqual([`error: ${what}: failed`, `error: ${what}: failed`]);
});
