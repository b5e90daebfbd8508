import { RequestError } from '@kith/protocol';
import { describe, expect, test, vi } from 'vitest';
import { settle } from '../test/fake-clock.ts';
import { never, refuse } from '../test/model-server.ts';
import { connectTo, ready, setUp, texts } from '../test/setup.ts';
import { newClientId } from './client-id.ts';
import { memoryStorage } from './storage-memory.ts';
import { isPending, itemKey } from './timeline.ts';

const sent = (server: ReturnType<typeof setUp>['server']): string[] => server.askedFor('message.send').map(({ text }) => text);

const seeds = process.env['FUZZ_SEED'] ? [Number(process.env['FUZZ_SEED'])] : Array.from({ length: 12 }, (_, n) => (Date.now() + n * 7_919) % 1_000_000_000);
/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

describe('a message on its way', () => {
  test('[OB1] it is in the timeline when send returns, and on disk before it leaves', async () => {
    const kept = new Map<string, unknown>();
    const storage = memoryStorage(kept);
    let finish = (): void => {};
    const { server, client } = setUp({
      storage: {
        ...storage,
        async write(batch) {
          if (batch.changes.some(([key, value]) => key.startsWith('outbox/') && value !== undefined)) await new Promise<void>((resolve) => (finish = resolve));
          return storage.write(batch);
        },
      },
    });
    server.found('c1', { messages: 1 });
    await ready(client);
    const timeline = client.timeline('c1');
    const clientId = client.send('c1', { text: 'hello' });
    expect(timeline.messages.at(-1)).toMatchObject({ clientId, text: 'hello', state: 'waiting' });
    await settle();
    expect(sent(server)).toEqual([]);
    finish();
    await settle();
    expect(sent(server)).toEqual(['hello']);
  });

  test('[OB2] the stored message takes the place of the pending one, under the same key and without a moment of neither or both', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 1 });
    await ready(client);
    const timeline = client.timeline('c1');
    const seen: string[][] = [];
    timeline.onChange(() => seen.push(timeline.messages.map((item) => itemKey(item, 'me'))));
    const clientId = client.send('c1', { text: 'hello' });
    await clock.advance(100);
    expect(isPending(timeline.messages.at(-1)!)).toBe(false);
    expect(seen.length).toBeGreaterThan(1);
    for (const keys of seen) expect(keys).toEqual(['c1-m1', clientId]);
    expect(client.outbox.pending()).toEqual([]);
  });

  test('[OB2] while something before it is missing, it keeps its place and is not sent again', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.answers.set('stream.changes', never);
    server.lose = () => true;
    server.say('c1', 'ann', 'missing');
    client.send('c1', { text: 'mine' });
    await clock.advance(10_000);
    expect(sent(server)).toEqual(['mine']);
    expect(client.timeline('c1').messages).toMatchObject([{ text: 'mine', state: 'waiting' }]);
    // And with the conversation it goes.
    server.lose = () => false;
    server.removeMe('c1');
    await settle();
    expect(client.outbox.pending()).toEqual([]);
  });

  test('[OB2] one that another device of mine sent, or an earlier life of this one, is not shown twice', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', never);
    const clientId = client.send('c1', { text: 'hello' });
    await clock.advance(100);
    await client.stop();
    server.say('c1', 'me', 'hello', clientId);
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await ready(second);
    expect(texts(second.timeline('c1').messages)).toEqual(['hello']);
    expect(second.outbox.pending()).toEqual([]);
  });

  test('[OB3] messages of one conversation go out one after the other, conversations do not wait for each other', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    server.found('c2');
    await ready(client);
    const answers: (() => void)[] = [];
    server.answers.set('message.send', (params, socket) => new Promise((resolve) => answers.push(() => resolve(server.ordinary('message.send', params, socket)))));
    for (const text of ['a1', 'a2', 'a3']) client.send('c1', { text });
    client.send('c2', { text: 'b1' });
    await settle();
    expect(sent(server)).toEqual(['a1', 'b1']);
    answers[0]!();
    await settle();
    expect(sent(server)).toEqual(['a1', 'b1', 'a2']);
    answers[2]!();
    await settle();
    answers[3]!();
    await clock.advance(100);
    expect(server.messages('c1').map(({ text }) => text)).toEqual(['a1', 'a2', 'a3']);
  });

  test('[OB3] order survives a connection that is lost with answers under way, and everything arrives once', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    let calls = 0;
    server.answers.set('message.send', (params, socket) => {
      calls += 1;
      const answer = server.ordinary('message.send', params, socket);
      // Stored, and the word of it lost.
      if (calls === 1 || calls === 3) {
        server.socket!.drop();
        return never();
      }
      return answer;
    });
    const all = ['1', '2', '3', '4', '5'];
    for (const text of all) client.send('c1', { text });
    await clock.advance(30_000);
    expect(texts(server.messages('c1'))).toEqual(all);
    expect(texts(client.timeline('c1').messages)).toEqual(all);
    expect(client.outbox.pending()).toEqual([]);
  });

  test('[OB4] the client id stays the same for ever: over retries, reconnects and restarts', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', refuse('busy'));
    const clientId = client.send('c1', { text: 'hello' });
    await clock.advance(10_000);
    server.socket!.drop();
    await clock.advance(10_000);
    await client.stop();
    server.answers.delete('message.send');
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await ready(second);
    await clock.advance(100);
    expect(server.askedFor('message.send').length).toBeGreaterThan(3);
    expect(new Set(server.askedFor('message.send').map((params) => params.clientId))).toEqual(new Set([clientId]));
    expect(texts(server.messages('c1'))).toEqual(['hello']);
  });

  test('[OB4] client ids begin with the time and go on with random bytes, are url-safe, and never repeat', () => {
    const before = Date.now();
    const ids = Array.from({ length: 1_000 }, newClientId);
    expect(new Set(ids.map((id) => id.slice(12))).size).toBe(1_000);
    for (const id of ids) {
      expect(id).toMatch(/^[0-9a-f]{32}$/);
      const at = Number.parseInt(id.slice(0, 12), 16);
      expect(at).toBeGreaterThanOrEqual(before);
      expect(at).toBeLessThanOrEqual(Date.now());
    }
    expect(ids.map((id) => id.slice(0, 12))).toEqual(ids.map((id) => id.slice(0, 12)).toSorted());
  });
});

describe('trouble', () => {
  test('[OB5] trouble that may pass is tried again with growing pauses, and the next message waits', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', refuse('storage_full'));
    client.send('c1', { text: 'first' });
    client.send('c1', { text: 'second' });
    await clock.advance(20_000);
    expect(new Set(sent(server))).toEqual(new Set(['first']));
    const times = server.asked.filter(({ method }) => method === 'message.send').map(({ at }) => at);
    const pauses = times.slice(1).map((at, n) => at - times[n]!);
    expect(pauses.slice(0, 4)).toEqual([500, 1_000, 2_000, 4_000]);
    server.answers.delete('message.send');
    await clock.advance(60_000);
    expect(texts(server.messages('c1'))).toEqual(['first', 'second']);
  });

  test('[OB5] a new connection ends the pause', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', refuse('storage_full'));
    client.send('c1', { text: 'hello' });
    await clock.advance(120_000);
    server.answers.delete('message.send');
    server.socket!.drop();
    await clock.advance(600);
    expect(texts(server.messages('c1'))).toEqual(['hello']);
  });

  test('[OB5] a limit on the rate is waited for as long as it says', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', refuse('rate_limited', { retryAfterMs: 100 }));
    client.send('c1', { text: 'hello' });
    await clock.advance(1_000);
    expect(sent(server).length).toBe(7);
  });

  test('[OB6] a refusal for good marks the message, keeps it, and holds up nothing behind it', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 2 });
    await ready(client);
    server.answers.set('message.send', (params: { text: string }, socket) => {
      if (params.text === 'bad') throw new RequestError('not_friends');
      return server.ordinary('message.send', params as never, socket);
    });
    const bad = client.send('c1', { text: 'bad' });
    client.send('c1', { text: 'good' });
    await clock.advance(1_000);
    expect(texts(server.messages('c1'))).toEqual(['old 1', 'old 2', 'good']);
    expect(client.outbox.pending('c1')).toMatchObject([{ clientId: bad, state: 'failed', error: { code: 'not_friends', retryable: false } }]);
    // It stays where it was written.
    expect(texts(client.timeline('c1').messages)).toEqual(['old 1', 'old 2', 'bad', 'good']);
  });

  test('[OB6] a failed message survives a restart; retry sends it, discard gives its text back', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', refuse('not_friends'));
    const one = client.send('c1', { text: 'one' });
    const two = client.send('c1', { text: 'two' });
    await clock.advance(1_000);
    await client.stop();
    server.answers.delete('message.send');
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await ready(second);
    expect(second.outbox.pending()).toMatchObject([
      { clientId: one, state: 'failed' },
      { clientId: two, state: 'failed' },
    ]);
    expect(second.outbox.discard(one)).toMatchObject({ text: 'one' });
    second.outbox.retry(two);
    await clock.advance(1_000);
    expect(texts(server.messages('c1'))).toEqual(['two']);
    expect(second.outbox.pending()).toEqual([]);
    expect([...kept.keys()].filter((key) => key.startsWith('outbox/'))).toEqual([]);
    expect(second.outbox.discard(two)).toBeUndefined();
  });

  test('[OB10] what never left is given back at once, and asks nobody', async () => {
    const { server, client } = setUp();
    server.found('c1');
    await ready(client);
    server.down = true;
    server.socket!.drop();
    const clientId = client.send('c1', { text: 'one' });
    expect(await client.outbox.cancel(clientId)).toMatchObject({ text: 'one' });
    expect(client.outbox.pending()).toEqual([]);
    expect(server.askedFor('message.withdraw')).toEqual([]);
    expect(await client.outbox.cancel(clientId)).toBeUndefined();
  });

  test.each([
    { stored: false, lost: false, outcome: 'given back' },
    { stored: true, lost: false, outcome: 'sent' },
    { stored: false, lost: true, outcome: 'given back' },
    { stored: true, lost: true, outcome: 'sent' },
  ])('[OB10] what may be at the server is asked about first: stored $stored, connection lost $lost', async ({ stored, lost, outcome }) => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.lose = () => true;
    server.answers.set('message.send', (params, socket) => {
      if (stored) server.ordinary('message.send', params, socket);
      return never();
    });
    const clientId = client.send('c1', { text: 'one' });
    client.send('c1', { text: 'two' });
    await clock.advance(10_000);
    if (lost) {
      server.down = true;
      server.socket!.drop();
      server.lose = () => false;
    }
    server.answers.delete('message.send');
    const taken = client.outbox.cancel(clientId);
    if (lost) await clock.advance(30_000);
    expect(client.timeline('c1').messages).toMatchObject(lost || !stored ? [{ text: 'one', state: 'leaving' }, { text: 'two' }] : [{ text: 'one' }, { text: 'two' }]);
    server.down = false;
    server.lose = () => false;
    await clock.advance(70_000);
    expect((await taken)?.text).toBe(outcome === 'sent' ? undefined : 'one');
    expect(texts(server.messages('c1'))).toEqual(outcome === 'sent' ? ['one', 'two'] : ['two']);
    expect(texts(client.timeline('c1').messages)).toEqual(texts(server.messages('c1')));
    expect(client.outbox.pending()).toEqual([]);
  });

  test.each([true, false])('[OB10] taken back in a life that ended before the answer: stored %s', async (stored) => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', (params, socket) => {
      if (stored) server.ordinary('message.send', params, socket);
      return never();
    });
    server.lose = () => true;
    server.answers.set('message.withdraw', never);
    const clientId = client.send('c1', { text: 'one' });
    await clock.advance(100);
    void client.outbox.cancel(clientId);
    await clock.advance(100);
    await client.stop();
    server.answers.clear();
    server.lose = () => false;
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await ready(second);
    await clock.advance(1_000);
    expect(second.outbox.pending().map(({ text, state }) => [text, state])).toEqual(stored ? [] : [['one', 'asking']]);
    expect(texts(server.messages('c1'))).toEqual(stored ? ['one'] : []);
    for (const entry of second.outbox.pending()) second.outbox.retry(entry.clientId);
    await clock.advance(1_000);
    expect(texts(server.messages('c1'))).toEqual(['one']);
    expect(texts(second.timeline('c1').messages)).toEqual(['one']);
    expect([...kept.keys()].filter((key) => key.startsWith('outbox/'))).toEqual([]);
  });

  test('[OB10] a server that knows nothing of it sends it', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', never);
    server.answers.set('message.withdraw', refuse('unknown_method'));
    const taken = client.outbox.cancel(client.send('c1', { text: 'one' }));
    await clock.advance(100);
    expect(await taken).toBeUndefined();
    server.answers.clear();
    await clock.advance(60_000);
    expect(texts(server.messages('c1'))).toEqual(['one']);
  });

  test.each(seeds)('[OB10] whatever happens each text is sent, given back or asked about, and only one of these: seed %i', async (seed) => {
    console.info(`fuzz of the outbox: FUZZ_SEED=${seed}`);
    const random = randomOf(seed);
    const kept = new Map<string, unknown>();
    const { server, client: first, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1');
    await ready(first);
    let client = first;
    const late: (() => void)[] = [];
    const unsteady = (method: 'message.send' | 'message.withdraw'): void =>
      void server.answers.set(method, (params, socket) => {
        const luck = random();
        if (luck < 0.25) return never();
        // It arrives long after anybody waited for it.
        if (luck < 0.4)
          return new Promise((_, reject) =>
            late.push(() =>
              Promise.resolve()
                .then(() => server.ordinary(method, params, socket))
                .catch(reject),
            ),
          );
        if (luck < 0.5) refuse('busy')();
        const answer = server.ordinary(method, params, socket);
        return luck < 0.75 ? never() : answer;
      });
    unsteady('message.send');
    unsteady('message.withdraw');
    const given: string[] = [];
    const written: string[] = [];
    for (let turn = 0; turn < 60; turn++) {
      const luck = random();
      const pending = client.outbox.pending().filter(({ state }) => state !== 'leaving');
      const one = pending[Math.floor(random() * pending.length)]?.clientId;
      if (luck < 0.35) client.send('c1', { text: written[written.push(`text ${turn}`) - 1]! });
      else if (luck < 0.55 && one) void client.outbox.cancel(one).then((taken) => taken && given.push(taken.text));
      else if (luck < 0.65 && one) client.outbox.retry(one);
      else if (luck < 0.75) server.socket?.drop();
      else if (luck < 0.8) {
        await client.stop();
        client = connectTo(server, { storage: memoryStorage(kept) });
        await client.start();
      } else if (luck < 0.9) late.shift()?.();
      await clock.advance(Math.floor(random() * 8_000));
    }
    for (const arrive of late) arrive();
    server.answers.clear();
    for (let n = 0; n < 10; n++) await clock.advance(60_000);
    const asking = client.outbox.pending().map(({ text, state }) => (state === 'asking' ? text : `${text} is ${state}`));
    expect([...texts(server.messages('c1')), ...given, ...asking].sort()).toEqual([...written].sort());
  });

  test('[OB11] what waits is tried at once, and the answer to the try before counts as well', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    const answers: (() => void)[] = [];
    server.answers.set('message.send', (params, socket) => new Promise((resolve) => answers.push(() => resolve(server.ordinary('message.send', params, socket)))));
    const clientId = client.send('c1', { text: 'one' });
    await clock.advance(10_000);
    expect(sent(server)).toEqual(['one']);
    client.outbox.retry(clientId);
    await clock.advance(1);
    expect(sent(server)).toEqual(['one', 'one']);
    answers[0]!();
    await clock.advance(1);
    expect(client.outbox.pending()).toEqual([]);
    answers[1]!();
    await clock.advance(1);
    expect(texts(client.timeline('c1').messages)).toEqual(['one']);
    // A pause after trouble is no reason to wait either.
    server.answers.set('message.send', refuse('busy', { retryAfterMs: 60_000 }));
    const second = client.send('c1', { text: 'two' });
    await clock.advance(1_000);
    server.answers.clear();
    client.outbox.retry(second);
    await clock.advance(1);
    expect(texts(server.messages('c1'))).toEqual(['one', 'two']);
  });

  test('[OB7] what is older than an hour at start asks before it goes out', async () => {
    const kept = new Map<string, unknown>();
    const { server, client, clock } = setUp({ storage: memoryStorage(kept) });
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', never);
    const old = client.send('c1', { text: 'old' });
    await clock.advance(1_000);
    await client.stop();
    await clock.sleep(3_600_000);
    server.answers.delete('message.send');
    const second = connectTo(server, { storage: memoryStorage(kept) });
    await ready(second);
    second.send('c1', { text: 'new' });
    await clock.advance(1_000);
    expect(texts(server.messages('c1'))).toEqual(['new']);
    expect(second.outbox.pending()).toMatchObject([{ clientId: old, state: 'asking' }]);
    second.outbox.retry(old);
    await clock.advance(1_000);
    expect(texts(server.messages('c1'))).toEqual(['new', 'old']);
  });

  test('[OB7] what waits for an hour while the device runs goes out by itself', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.down = true;
    server.socket!.drop();
    client.send('c1', { text: 'patient' });
    await clock.advance(2 * 3_600_000);
    server.down = false;
    await clock.advance(60_000);
    expect(texts(server.messages('c1'))).toEqual(['patient']);
  });

  test('[OB8] a session that ended fails no message: they wait for the next sign-in', async () => {
    const { server, client, clock } = setUp();
    server.found('c1');
    await ready(client);
    server.answers.set('message.send', refuse('unauthenticated'));
    client.send('c1', { text: 'hello' });
    await clock.advance(60_000);
    expect(sent(server).length).toBe(1);
    expect(client.outbox.pending()).toMatchObject([{ state: 'waiting' }]);
    server.socket!.drop(4500);
    await clock.advance(60_000);
    expect(client.connection).toMatchObject({ at: 'ended', reason: 'sessionEnded' });
    server.answers.delete('message.send');
    client.retryNow();
    await clock.advance(1_000);
    expect(texts(server.messages('c1'))).toEqual(['hello']);
  });

  test('[OB9] a disk that is full keeps nobody from sending', async () => {
    vi.spyOn(console, 'warn').mockReturnValue();
    const storage = memoryStorage();
    const { server, client, clock } = setUp({ storage: { ...storage, write: () => Promise.reject(new Error('QuotaExceededError')) } });
    server.found('c1');
    await ready(client);
    client.send('c1', { text: 'hello' });
    await clock.advance(1_000);
    expect(texts(server.messages('c1'))).toEqual(['hello']);
  });
});
