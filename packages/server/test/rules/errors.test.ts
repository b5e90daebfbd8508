import { Writable } from 'node:stream';
import { type ErrorBody, type ErrorCode, type MethodName, errorCodes, userStream } from '@kith/protocol';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import type { HttpAnswer } from '../harness.ts';
import { type Someone, clientId, engines, password, usePlace } from './place.ts';

/** What the operator reads. */
function openJournal() {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  return { log: pino({ level: 'error' }, stream), lines };
}

describe.each(engines)('errors on %s', (engine) => {
  const journal = openJournal();
  const place = usePlace({ engine, log: journal.log, config: { recallHours: 0 } });

  const errorOf = (answer: HttpAnswer): ErrorBody => answer.json<{ error: ErrorBody }>().error;
  /** By the same words over both doors. */
  const ask = async (person: Someone, method: MethodName, params: object): Promise<HttpAnswer> => {
    const answer = await place.server.post(method, params, { token: person.token });
    const { error } = await person.client.request(method, params);
    expect(errorOf(answer)).toEqual(error);
    return answer;
  };

  /** One way to each code that a peer can bring about. */
  const ways: Partial<Record<ErrorCode, () => Promise<HttpAnswer>>> = {
    bad_request: async () => ask(await place.guest(), 'message.history', { conversationId: 7 }),
    bad_json: async () => place.server.http('POST', '/api/session.list', { headers: { 'content-type': 'application/json' }, body: '{' }),
    unknown_method: async () => place.server.post('message.sent', {}),
    unsupported: async () => place.server.http('POST', '/api/session.list', { headers: { 'content-type': 'text/plain' }, body: '{}' }),
    too_large: async () => place.server.post('auth.guest', { name: 'x'.repeat(70_000) }),
    async too_late() {
      const { anna, conversationId } = await place.direct();
      const { id, at } = await anna.say(conversationId);
      await expect.poll(() => Date.now()).toBeGreaterThan(at);
      return ask(anna, 'message.edit', { messageId: id, text: 'changed' });
    },
    unauthenticated: async () => place.server.post('session.list', {}),
    wrong_credentials: async () => place.server.post('auth.login', { handle: 'nobody', password }),
    invite_required: async () => place.server.post('auth.guest', { name: 'Gast', invite: 'guessed' }),
    forbidden: async () => ask(await place.guest(), 'announcement.send', { text: 'Hear me' }),
    not_found: async () => ask(await place.guest(), 'user.get', { userId: 'nobody' }),
    not_a_member: async () => ask(await place.guest(), 'message.history', { conversationId: 'x' }),
    not_friends: async () => ask(await place.guest(), 'conversation.direct', { userId: (await place.guest()).id }),
    handle_taken: async () => place.server.post('auth.register', { handle: 'admin', password, name: 'Admin' }),
    name_taken: async () => ask(await place.guest(), 'user.update', { name: 'Аdmin' }),
    async client_id_reused() {
      const { anna, conversationId } = await place.direct();
      const { clientId: id } = await anna.say(conversationId);
      return ask(anna, 'message.send', { conversationId, clientId: id, type: 'text', text: 'another' });
    },
  };

  test.each(Object.keys(ways) as (keyof typeof ways)[])('[ER1] %s has its status and says whether trying again may help', async (code) => {
    const answer = await ways[code]!();
    const error = errorOf(answer);
    expect({ status: answer.status, code: error.code, retryable: error.retryable }).toEqual({ status: errorCodes[code].status, code, retryable: errorCodes[code].retryable });
    expect(error.message).not.toBe('');
    expect(Object.keys(answer.json())).toEqual(['error']);
    expect(Object.keys(error).filter((key) => !['code', 'message', 'retryable', 'path'].includes(key))).toEqual([]);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  test('[ER2] a fault of ours is internal, with the id under which the operator finds its cause', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const secret = 'what I wrote is nobody’s business';
    const { id: messageId } = await anna.say(conversationId, secret);
    // A row that our own code cannot have written.
    await place.rows.run("update messages set event = '{broken' where id = ?", messageId);
    const overHttp = await place.server.post('message.history', { conversationId }, { token: anna.token });
    const { error: overSocket } = await bert.client.request('message.history', { conversationId });
    expect(overHttp.status).toBe(500);
    const errors = [errorOf(overHttp), overSocket!];
    for (const { id, ...rest } of errors) {
      expect(rest).toEqual({ code: 'internal', message: errorCodes.internal.message, retryable: true });
      await expect.poll(() => journal.lines.filter((line) => line['id'] === id)).toHaveLength(1);
      const line = journal.lines.find((found) => found['id'] === id);
      expect(line).toMatchObject({ method: 'message.history', err: { message: expect.stringContaining('JSON'), stack: expect.stringContaining('entities.ts') } });
    }
    expect(errors[0]!.id).not.toBe(errors[1]!.id);
    expect(JSON.stringify(journal.lines)).not.toContain(secret);
    // The connection lives, and so does everybody else's.
    await Promise.all([anna.settle(), bert.settle()]);
    await place.rows.run('delete from messages where id = ?', messageId);
  });

  test('[ER2] what a peer does wrong is not in the operator’s log', async () => {
    const before = journal.lines.length;
    await ways.bad_request!();
    await ways.forbidden!();
    expect(journal.lines).toHaveLength(before);
  });

  test('[ER3] over HTTP the same methods answer the same', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    await anna.say(conversationId, '你好 👋');
    const calls: [method: MethodName, params: object][] = [
      ['session.list', {}],
      ['user.get', { userId: bert.id }],
      ['room.list', {}],
      ['member.list', { conversationId }],
      ['message.history', { conversationId, limit: 1 }],
      ['stream.snapshot', { stream }],
      ['stream.snapshot', { stream: userStream(anna.id) }],
      ['stream.changes', { stream, since: 1 }],
      ['stream.heads', { streams: [stream] }],
    ];
    for (const [method, params] of calls) {
      const answer = await place.server.post(method, params, { token: anna.token });
      expect([answer.status, answer.json()]).toEqual([200, (await anna.client.request(method, params)).result]);
    }
  });

  test('[ER3] what is sent over HTTP is pushed like what is sent over a socket', async () => {
    const { anna, bert, conversationId, stream } = await place.direct();
    const send = { conversationId, clientId: clientId(), type: 'text', text: 'by hand' } as const;
    const { message } = await place.server.call('message.send', send, anna.token);
    expect(await anna.call('message.send', send)).toEqual({ message });
    await bert.settle();
    expect(bert.pushes(stream).at(-1)!.entities).toEqual([message]);
  });

  test('[ER3] a body that is not application/json is 415, and nothing is done', async () => {
    const anna = await place.person();
    const before = await place.head(userStream(anna.id));
    const body = JSON.stringify({ name: 'Changed' });
    const post = (type: string | undefined, extra: Record<string, string> = {}) =>
      place.server.http('POST', '/api/user.update', { headers: { authorization: `Bearer ${anna.token}`, ...(type !== undefined && { 'content-type': type }), ...extra }, body });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp', 'text/plain; application/json', '', undefined]) {
      const answer = await post(type);
      expect({ type, status: answer.status, error: answer.error }).toEqual({ type, status: 415, error: 'unsupported' });
    }
    expect((await post('application/json', { 'content-encoding': 'gzip' })).status).toBe(415);
    expect(await place.head(userStream(anna.id))).toEqual(before);
    expect((await post('application/json; charset=utf-8')).status).toBe(200);
  });

  test('[ER3] a method is called by POST, and only there', async () => {
    const anna = await place.person();
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      expect((await place.server.http(method, '/api/session.list', { headers: { authorization: `Bearer ${anna.token}` } })).status).toBe(405);
    }
    const hello = await place.server.post('hello', {}, { token: anna.token });
    expect([hello.status, hello.error]).toEqual([415, 'unsupported']);
  });
});
