import { type MethodName, RequestError, methods } from '@kith/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestServer, startTestServer } from './harness.ts';
import { type Role, type Stage, matrix, roles, silentFor } from './permissions.ts';
import { type Person, jwtAudience, jwtSecret, befriend, direct, group, say } from './scenarios.ts';
import { RealWorld } from './world.ts';

const order: Role[] = ['member', 'nonmember', 'removed', 'blocked'];

describe.each(['sqlite', 'postgres'] as const)('on %s', (engine) => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer({ engine, config: { jwtAlg: 'HS256', jwtKey: jwtSecret, jwtAudience } });
  });

  afterAll(() => server.close());

  const cases = (Object.keys(methods) as MethodName[]).flatMap((method) => roles.map((role) => [method, role] as const));

  test.each(cases)('[CV7] %s by a %s person is answered as the matrix says', async (method, role) => {
    const world = new RealWorld(server, { watched: false });
    const stage = await makeStage(world, role);
    const row = matrix[method];
    const token = role === 'signed-out' ? undefined : stage.actor.token;
    const expected = role === 'signed-out' ? signedOut(method) : row.expect[order.indexOf(role)];
    const answer = await outcome(server, method, row.params(stage), token);
    expect(answer.code).toBe(expected);
    const hidden = silentFor[method]?.includes(role) ? stage.anna.id : 'nothing to hide';
    expect(JSON.stringify(answer)).not.toContain(hidden);
  });
});

function signedOut(method: MethodName): string {
  return matrix[method].signedOut ?? (methods[method].access === 'public' ? matrix[method].expect[1] : 'unauthenticated');
}

async function outcome(server: TestServer, method: MethodName, params: unknown, token: string | undefined): Promise<{ code: string; result?: unknown }> {
  try {
    return { code: 'ok', result: await server.call(method, params as never, token) };
  } catch (error) {
    if (error instanceof RequestError) return { code: error.code };
    throw error;
  }
}

async function makeStage(world: RealWorld, role: Role): Promise<Stage> {
  const stranger = await world.register('stranger');
  if (role === 'blocked') {
    const { anna, bert: actor, conversationId } = await direct(world);
    const own = await say(actor, conversationId);
    const annas = await say(anna, conversationId);
    await anna.ask('block.add', { userId: actor.id });
    const { id: annasFile } = await world.upload(anna, 'mine.txt');
    return { annasFile, actor, anna, bert: anna, stranger, conversationId, seq: annas.message.seq, annasMessage: annas.message.id, ownMessage: own.message.id };
  }
  const { anna, bert, cleo, conversationId } = await group(world);
  const actor: Person = role === 'nonmember' || role === 'signed-out' ? await world.register('actor') : cleo;
  if (actor === cleo) await befriend(anna, cleo);
  const annas = await say(anna, conversationId);
  const own = await say(actor === cleo ? cleo : bert, conversationId);
  if (role === 'removed') await anna.ask('member.remove', { conversationId, userId: actor.id });
  const { id: annasFile } = await world.upload(anna, 'mine.txt');
  return { annasFile, actor, anna, bert, stranger, conversationId, seq: own.message.seq, annasMessage: annas.message.id, ownMessage: own.message.id };
}
