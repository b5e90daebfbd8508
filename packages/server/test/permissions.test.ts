import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ErrorBody, type ErrorCode, type MethodName, type ServerFrame, errorCodes, methods } from '@kith/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cast } from './cast.ts';
import { type HttpAnswer, type TestClient, type TestServer, startTestServer } from './harness.ts';
import { type Kind, type Outcome, type Role, type Row, type Stage, gone, matrix, roles, things } from './permissions.ts';
import { type Route, type Status, routes } from './routes.ts';
import { type Rows, openRows } from './rules/rows.ts';
import { type Person, jwtAudience, jwtSecret, password } from './scenarios.ts';

/** One place in the table: who, does it to what, and what comes of it. */
interface Cell {
  role: Role;
  thing: string;
  expected: string | number;
}

const rowOf = (method: MethodName): Row<unknown> => matrix[method];
const named = ({ role, thing }: Cell): string => `${role} × ${thing}`;

/** Every cell of a row, what never was first. */
function cellsOf<O extends string | number>(row: { kind: Kind; expect: object; missing: O | Partial<Record<Role, O>>; nobody: O }, hidden: O, over: O): Cell[] {
  const pick = (expected: O | Partial<Record<Role, O>> | undefined, role: Role): O => (typeof expected === 'object' ? (expected[role] ?? hidden) : (expected ?? hidden));
  const all: string[] = things[row.kind].toSorted((a, b) => Number(b === 'missing') - Number(a === 'missing'));
  return all.flatMap((thing) =>
    roles.map((role) => {
      const expected =
        role === 'nobody' ? row.nobody : gone.includes(role) ? over : thing === 'missing' ? pick(row.missing, role) : pick((row.expect as Record<string, O>)[thing], role);
      return { role, thing, expected };
    }),
  );
}

/** With `hello` it is the door that answers, before anybody is asked who they are. */
const methodCells = (method: MethodName): Cell[] => cellsOf<Outcome>(rowOf(method), 'hidden', method === 'hello' ? 'unsupported' : 'unauthenticated');
/** Does it take something away that other cells need? */
const spoils = (method: MethodName, { expected }: Cell): boolean => expected === 'ok' && (rowOf(method).apart ?? methods[method].durable);

/** What can be seen of an answer from outside, but for the time of day. */
const seen = ({ status, headers, text }: HttpAnswer): object => ({ status, headers: { ...headers, date: 'now' }, text });

/** Pushes and signals, without those that come with the time. */
const heardBy = (clients: TestClient[]): ServerFrame[][] => clients.map(({ frames }) => frames.filter((frame) => !('id' in frame || 'heads' in frame)));

/** Who may do what is the same without waiting for a disk at every commit. */
const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

describe.each(['sqlite', 'postgres'] as const)('on %s', (engine) => {
  let server: TestServer;
  let rows: Rows;
  let cast: Cast;
  let operator: Person;
  let data: string;
  const sockets = new Map<string, Promise<TestClient>>();

  beforeAll(async () => {
    data = await mkdtemp(join(memory, 'kith-permissions-'));
    // A web client of one page, whether the real one is built or not.
    await writeFile(join(data, 'index.html'), '<!doctype html><title>Kith</title>');
    server = await startTestServer({ engine, webFolder: data, config: { data, jwtAlg: 'HS256', jwtKey: jwtSecret, jwtAudience } });
    rows = await openRows(server.config);
    const { token, id, sessionId, handle } = await server.register('operator', { password, invite: (await server.running.core.setupLink())! });
    operator = { token, id, sessionId, handle: handle!, ask: (method, params) => server.call(method, params, token) };
    cast = new Cast(server, operator);
  });

  afterAll(async () => {
    await rows.close();
    await server.close();
    await rm(data, { recursive: true });
  });

  const bearer = ({ role }: Cell, stage: Stage): { token?: string } => (role === 'nobody' ? {} : { token: stage.actor.token });
  const again = async (person: Person): Promise<Person> => {
    const { token, id, sessionId, handle } = await server.login({ ...person, password } as unknown as Parameters<TestServer['login']>[0]);
    return { token, id, sessionId, handle: handle!, ask: (method, params) => server.call(method, params, token) };
  };
  const socketOf = (person: { token: string }): Promise<TestClient> => {
    if (!sockets.has(person.token)) sockets.set(person.token, server.connect(person));
    return sockets.get(person.token)!;
  };
  /** Everything that a call could have changed; but files, because what is of no use any more goes in its own time. */
  const stored = async (): Promise<unknown> => {
    const counts = ['users', 'sessions', 'friends', 'conversations', 'members', 'inbox', 'receipts', 'messages'].map((table) => `(select count(*) from ${table})`);
    return rows.run(`select (select sum(version) from streams) as versions, ${counts.map((count, index) => `${count} as c${index}`).join(', ')}`);
  };

  test.each(Object.keys(methods) as MethodName[])('[PM1] %s answers every role about every thing as its row says', async (method) => {
    const row = rowOf(method);
    if (row === undefined)
      throw new Error(`${method} has no row. Add one to the matrix in packages/server/test/permissions.ts: what it names, parameters that would do, and who may.`);
    const wrong: string[] = [];
    const missing = new Map<Role, object>();
    const judge = (cell: Cell, answer: HttpAnswer): void => {
      if (cell.thing === 'missing') missing.set(cell.role, seen(answer));
      const got = answer.status === 200 ? 'ok' : answer.error;
      // The kind's own word where nothing else is said; then, for all other things, the same bytes.
      if (cell.expected !== 'hidden') {
        const status = got === 'ok' ? 200 : errorCodes[got as ErrorCode].status;
        if (got !== cell.expected || answer.status !== status) wrong.push(`${named(cell)}: ${got} (${answer.status}), not ${cell.expected}`);
      } else {
        const told = JSON.stringify(seen(answer)) === JSON.stringify(missing.get(cell.role));
        if (!told) wrong.push(`${named(cell)}: ${got}, and it can be told from a thing that never was`);
      }
    };
    const cells = methodCells(method).filter((cell) => !spoils(method, cell));
    const calm = engine === 'sqlite' ? cells : cells.filter(({ role }) => !gone.includes(role));
    const stages: Stage[] = [];
    for (const { thing, role } of calm) stages.push(await cast.stage(row.kind, thing, role, method));
    const live = await Promise.all(
      calm.map(async ({ role }, index) => (method === 'hello' || role === 'nobody' || gone.includes(role) ? undefined : socketOf(stages[index]!.actor))),
    );
    const witnesses = await Promise.all([stages[0]!.anna, await cast.actor('member')].map((person) => socketOf(person)));
    await Promise.all(witnesses.map((client) => client.settle()));
    let [before, heard] = [await stored(), heardBy(witnesses)];

    // Where a thing that never was is answered with ok, what is hidden is so, too.
    const works = ({ role, expected }: Cell): boolean =>
      expected === 'ok' || (expected === 'hidden' && calm.some((one) => one.role === role && one.thing === 'missing' && one.expected === 'ok'));
    const refused = calm.filter((cell) => !works(cell));
    const ask = async (some: Cell[]): Promise<void> => {
      // Missing things come first in the list, and so are known when others are compared with them.
      for (const first of [true, false]) {
        const now = some.filter(({ thing }) => (thing === 'missing') === first);
        const answers = await Promise.all(
          now.map(async (cell) => {
            const stage = stages[calm.indexOf(cell)]!;
            return [await server.post(method, row.params(stage), bearer(cell, stage)), await live[calm.indexOf(cell)]?.request(method, row.params(stage))] as const;
          }),
        );
        now.forEach((cell, index) => {
          const [answer, reply] = answers[index]!;
          judge(cell, answer);
          // Both doors say the same. Only a socket has presence to watch, and only HTTP has nobody to greet.
          const here = answer.status === 200 ? undefined : answer.json<{ error: ErrorBody }>().error;
          if (reply && reply.error?.code !== here?.code) wrong.push(`${named(cell)}: ${reply.error?.code ?? 'ok'} over the socket, ${here?.code ?? 'ok'} over HTTP`);
        });
      }
      await Promise.all(witnesses.map((client) => client.settle()));
    };
    // That somebody of the test before has gone may be written down in between; what a call changes, it changes each time.
    for (let times = 0; times < 5; times++) {
      [before, heard] = [await stored(), heardBy(witnesses)];
      await ask(refused);
      if (JSON.stringify([await stored(), heardBy(witnesses)]) === JSON.stringify([before, heard])) break;
    }
    expect(await stored(), 'what is refused changes nothing').toEqual(before);
    expect(heardBy(witnesses), 'and nobody hears of it').toEqual(heard);
    await ask(calm.filter(works));

    if (engine === 'sqlite') {
      for (const cell of methodCells(method).filter((one) => spoils(method, one))) {
        const apart = new Cast(server, operator);
        const stage = await apart.stage(row.kind, cell.thing, cell.role);
        judge(cell, await server.post(method, row.params(stage), bearer(cell, stage)));
        await apart.close();
      }
    }
    expect(wrong, `${method}: where its row in packages/server/test/permissions.ts and the server differ`).toEqual([]);
  });

  /** Those who act, each in a session of their own, which a test may spoil. */
  const acting = roles.filter((role) => (engine === 'sqlite' ? role !== 'nobody' && !gone.includes(role) : role === 'member' || role === 'operator'));
  const methodNames = (Object.keys(methods) as MethodName[]).filter((method) => method !== 'hello');

  test('[PM4] with a session that is over, however it came to its end, every method and every route answers as to nobody', async () => {
    const ends: Record<string, (person: Person) => Promise<unknown>> = {
      'unused for too long': ({ sessionId }) => rows.run('update sessions set used_at = 1 where id = ?', sessionId),
      'too old': ({ sessionId }) => rows.run('update sessions set created_at = 1 where id = ?', sessionId),
      'ended from another device': async (person) => (await again(person)).ask('session.revoke', { sessionId: person.sessionId }),
      'ended by another password': async (person) => (await again(person)).ask('user.changePassword', { password, newPassword: 'another good one' }),
    };
    const wrong: string[] = [];
    const stage = await cast.stage('conversation', 'group', 'member');
    // That they end is the same on both databases.
    for (const [how, end] of Object.entries(ends).slice(0, engine === 'sqlite' ? undefined : 1)) {
      const person = await server.register(`over${Object.keys(ends).indexOf(how)}${engine}`.toLowerCase(), { password });
      const actor: Person = { ...person, handle: person.handle!, ask: (method, params) => server.call(method, params, person.token) };
      const { conversation } = await actor.ask('conversation.create', { title: 'Mine', memberIds: [] });
      const live = await server.connect(actor);
      await end(actor);
      const own = { ...stage, actor, conversationId: conversation.id };
      const answers = await Promise.all(methodNames.map(async (method) => [method, await server.post(method, rowOf(method).params(own), { token: actor.token })] as const));
      for (const [method, answer] of answers) if (answer.error !== 'unauthenticated') wrong.push(`${method}, ${how}: ${answer.error ?? 'ok'}`);
      for (const [name, row] of Object.entries(routes)) {
        if (row === 'methods' || row.kind === 'nothing') continue;
        const { url, headers = {}, body } = row.request(own);
        const given = { headers: { ...headers, authorization: `Bearer ${actor.token}` }, ...(body !== undefined && { body }) };
        const { status } = await server.http(name.split(' ')[0]!, url, given);
        if (status !== row.nobody) wrong.push(`${name}, ${how}: ${status}`);
      }
      await expect(server.connect(actor)).rejects.toMatchObject({ code: 'unauthenticated' });
      live.terminate();
    }
    expect(wrong).toEqual([]);
  });

  test('[PM5] who showed long ago who they are is asked once more for what is sensitive and theirs to do; who may not is answered as ever', async () => {
    const wrong: string[] = [];
    for (const role of acting) {
      const actor = await cast.actor(role);
      await rows.run('update sessions set confirmed_at = 1 where id = ?', actor.sessionId);
      const stage = await cast.stage('person', 'anna', role);
      const before = await stored();
      for (const method of methodNames.filter((one) => methods[one].sensitive)) {
        // A guest has nothing to show, and is not asked.
        const expected = methods[method].access === 'operator' && role !== 'operator' ? 'forbidden' : role === 'guest' ? undefined : 'confirm_required';
        if (expected === undefined && method === 'user.delete') continue;
        const { error } = await server.post(method, rowOf(method).params(stage), { token: actor.token });
        if (expected === undefined ? error === 'confirm_required' : error !== expected) wrong.push(`${method}, ${role}: ${error ?? 'ok'}, not ${expected ?? 'its own answer'}`);
      }
      expect(await stored(), 'nothing has happened').toEqual(before);
      await rows.run('update sessions set confirmed_at = ? where id = ?', Date.now(), actor.sessionId);
    }
    expect(wrong).toEqual([]);
  });

  test('[PM2] every route of HTTP has a row, and every row a route', () => {
    const without = server.running.routes.filter((route) => !Object.hasOwn(routes, route)).map((route) => `${route} has no row in packages/server/test/routes.ts`);
    expect(without).toEqual([]);
    expect(Object.keys(routes).filter((route) => !server.running.routes.includes(route))).toEqual([]);
  });

  test.each(Object.entries(routes).filter((entry): entry is [string, Route] => entry[1] !== 'methods'))(
    '[PM2] %s answers every role about every thing as its row says',
    async (name, row) => {
      const wrong: string[] = [];
      const missing = new Map<Role, string>();
      for (const cell of cellsOf<Status>(row, 'hidden', row.nobody)) {
        const stage = await cast.stage(row.kind, cell.thing, cell.role, name);
        const { url, headers = {}, body } = row.request(stage);
        const method = name.split(' ')[0]!;
        const given = { ...headers, ...(cell.role !== 'nobody' && { authorization: `Bearer ${stage.actor.token}` }) };
        const answer = await server.http(method, url, { headers: given, ...(body !== undefined && { body }) });
        if (cell.thing === 'missing') missing.set(cell.role, JSON.stringify(seen(answer)));
        const told = cell.expected === 'hidden' ? JSON.stringify(seen(answer)) !== missing.get(cell.role) : answer.status !== cell.expected;
        if (told) wrong.push(`${named(cell)}: ${answer.status}, not ${cell.expected}`);
      }
      expect(wrong, `${name}: where its row in packages/server/test/routes.ts and the server differ`).toEqual([]);
    },
  );
});

test('[CV7] no row lets somebody who was removed do anything there, or learn that it is there', () => {
  const there: [Kind, string][] = [
    ['conversation', 'group'],
    ['message', 'annas'],
    ['message', 'own'],
    ['message', 'recalled'],
    ['file', 'group'],
    ['avatar', 'group'],
  ];
  const allowed = [...Object.entries(matrix), ...Object.entries(routes)].flatMap(([name, row]) => {
    if (row === 'methods') return [];
    const cells = cellsOf<string | number>(row, 'hidden', 'unauthenticated');
    return cells
      .filter(({ role, thing, expected }) => role === 'removed' && expected !== 'hidden' && there.some(([kind, one]) => row.kind === kind && thing === one))
      .map((cell) => `${name}: ${named(cell)}`);
  });
  expect(allowed).toEqual([]);
});
