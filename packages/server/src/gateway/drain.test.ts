import { type Socket, connect } from 'node:net';
import { closeCodes, limits } from '@kith/protocol';
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { type TestServer, coreWith, startTestServer } from '../../test/harness.ts';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Core } from '../core/core.ts';

/** A core that keeps answers back until it is told. */
const holding = () => {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  let arrived = (): void => {};
  const asked = new Promise<void>((resolve) => (arrived = resolve));
  const wrapCore = (core: Core): Core =>
    coreWith(core, {
      handle: async (caller, frame) => {
        const answer = await core.handle(caller, frame);
        if (!frame.includes('hold-this')) return answer;
        arrived();
        await released;
        return answer;
      },
    });
  return { wrapCore, asked, release: () => release() };
};

const withNotes = async (server: TestServer) => {
  const person = await server.register('ann');
  const { conversation } = await server.call('conversation.create', { title: 'Notes', memberIds: [] }, person.token);
  const send = { conversationId: conversation.id, clientId: 'client-id-1', type: 'text' as const, text: 'hold-this' };
  return { person, conversationId: conversation.id, send };
};

describe('an orderly stop', () => {
  test('[CO9] [G10] what is in flight is answered, then every connection closes 1012 with a spread in milliseconds', async () => {
    const { wrapCore, asked, release } = holding();
    await using server = await startTestServer({ wrapCore });
    const { person, conversationId, send } = await withNotes(server);
    const [busy, idle, silent] = [await server.connect(person), await server.connect(person), await server.socket()];
    const reply = busy.request('message.send', send);
    await asked;
    const stopped = server.running.close();
    for (const client of [idle, silent]) {
      const { code, reason } = await client.closed;
      expect(code).toBe(closeCodes.restarting.code);
      expect(Number(reason)).toBeGreaterThan(0);
    }
    expect(busy.ws.readyState).toBe(busy.ws.OPEN);
    // Asked after the stop began: not taken up, and so not lost either, since it is asked again.
    busy.send({ id: 'late', method: 'message.send', params: { ...send, clientId: 'client-id-2', text: 'late' } });
    release();
    expect((await reply).result).toBeDefined();
    expect((await busy.closed).code).toBe(1012);
    expect(busy.frames.some((frame) => 'id' in frame && frame.id === 'late')).toBe(false);
    await stopped;
    await server.restart();
    const { messages } = await server.call('message.history', { conversationId }, person.token);
    expect(messages.map(({ text }) => text).filter((text) => text !== '')).toEqual(['hold-this']);
  });

  test('[CO9] [G10] meanwhile readiness is 503, liveness is not, and nothing new is taken up', async () => {
    const { wrapCore, asked, release } = holding();
    await using server = await startTestServer({ wrapCore });
    const { person, send } = await withNotes(server);
    expect((await server.http('GET', '/readyz')).status).toBe(200);
    const busy = await server.connect(person);
    void busy.request('message.send', send);
    await asked;
    const stopped = server.running.close();
    expect((await server.http('GET', '/readyz')).status).toBe(503);
    expect((await server.http('GET', '/healthz')).status).toBe(200);
    const call = await server.post('room.list', {}, { token: person.token });
    expect(call).toMatchObject({ status: 503, error: 'busy' });
    expect(call.headers).toMatchObject({ connection: 'close', 'retry-after': '1' });
    await expect(server.socket()).rejects.toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    release();
    await stopped;
    await expect(server.http('GET', '/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('[CO9] [G10] a call over HTTP that is in flight is answered', async () => {
    const { wrapCore, asked, release } = holding();
    await using server = await startTestServer({ wrapCore });
    const { person, send } = await withNotes(server);
    const answer = server.post('message.send', send, { token: person.token });
    await asked;
    const stopped = server.running.close();
    // While it lasts, the door is open for those who ask whether we are ready.
    for (let n = 0; n < 10; n++) expect((await server.http('GET', '/readyz')).status).toBe(503);
    release();
    expect((await answer).status).toBe(200);
    await stopped;
  });

  test('a peer that does not answer the goodbye does not hold up the stop', async () => {
    await using server = await startTestServer();
    const { person } = await withNotes(server);
    const client = await server.connect(person);
    client.stopReading();
    const idle = await new Promise<Socket>((resolve) => {
      const socket = connect(server.port, '127.0.0.1', () => resolve(socket));
    });
    const began = performance.now();
    await server.running.close(500);
    expect(performance.now() - began).toBeLessThan(5_000);
    idle.destroy();
  });

  test('[CO9] [G10] an answer that never comes is not waited for beyond the time given', async () => {
    const { wrapCore, asked } = holding();
    await using server = await startTestServer({ wrapCore });
    const { person, send } = await withNotes(server);
    const client = await server.connect(person);
    client.send({ id: 'held', method: 'message.send', params: send });
    await asked;
    await server.running.close(300);
    expect((await client.closed).code).toBe(1006);
  });

  test('[CO9] [G10] what has not begun after half of the time is busy: what has begun is answered, and the server is gone in time', async () => {
    await using server = await startTestServer({ engine: 'postgres' });
    const { person, conversationId, send } = await withNotes(server);
    const holder = new pg.Client(server.config.database);
    await holder.connect();
    await holder.query('begin');
    await holder.query('select from streams where id = $1 for update', [`conversation:${conversationId}`]);
    const client = await server.connect(person);
    const begun = client.request('message.send', send);
    const beside = new pg.Client(server.config.database);
    await beside.connect();
    await expect.poll(async () => (await beside.query(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)).rows.length).toBe(1);
    await beside.end();
    const waiting = Array.from({ length: 20 }, (_, at) => client.request('message.send', { ...send, clientId: `waiting-${at}` }));
    // They have been handed over when what was asked after them is answered.
    await client.request('message.history', { conversationId });
    const stopped = server.running.close(4_000);
    for (const { error } of await Promise.all(waiting)) expect(error).toMatchObject({ code: 'busy', retryable: true });
    await holder.end();
    expect((await begun).result).toBeDefined();
    expect((await client.closed).code).toBe(1012);
    await stopped;
  });

  test('stopping twice waits for the one stop', async () => {
    await using server = await startTestServer();
    const stops = [server.running.close(), server.running.close()];
    expect(stops[0]).toBe(stops[1]);
    await Promise.all(stops);
  });
});

describe('a long life', () => {
  test('[CO14] connections end between a tenth before and a tenth after 24 h, not all at once, and with what is in flight answered', async () => {
    const clock = new ManualClock();
    const { wrapCore, asked, release } = holding();
    await using server = await startTestServer({ clock, wrapCore });
    const { person, send } = await withNotes(server);
    const clients = await Promise.all(Array.from({ length: 20 }, () => server.connect(person)));
    const open = () => clients.filter(({ ws }) => ws.readyState === ws.OPEN);
    const settled = () => Promise.all(open().map((client) => client.settle().catch(() => {})));
    await clock.stall(limits.connectionMs * 0.9 - 1_000);
    await settled();
    expect(open()).toHaveLength(20);

    // The look at deadlines is the timer's, a second after the one before.
    for (let n = 0; n < 10; n++) await clock.stall(limits.connectionMs / 100 + 1_000);
    await settled();
    expect(open().length).toBeGreaterThan(5);
    expect(open().length).toBeLessThan(15);

    const busy = open()[0]!;
    const reply = busy.request('message.send', send);
    await asked;
    for (let n = 0; n < 10; n++) await clock.stall(limits.connectionMs / 100 + 1_000);
    const others = clients.filter((client) => client !== busy);
    expect(new Set((await Promise.all(others.map(({ closed }) => closed))).map(({ code }) => code))).toEqual(new Set([closeCodes.aged.code]));
    expect(busy.ws.readyState).toBe(busy.ws.OPEN);
    release();
    expect((await reply).result).toBeDefined();
    expect((await busy.closed).code).toBe(closeCodes.aged.code);
    // And who comes again goes on.
    await (await server.connect(person)).close();
  });
});
