import { describe, expect, test } from 'vitest';
import { settle } from '../test/fake-clock.ts';
import { never, refuse } from '../test/model-server.ts';
import { ready, setUp, texts } from '../test/setup.ts';
import type { Timeline } from './timeline.ts';

const seqs = (timeline: Timeline): number[] => timeline.messages.map((item) => ('seq' in item ? item.seq : -1));
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n);

describe('a window on a conversation', () => {
  test('[TL1] it opens at the newest messages, and grows with them', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 200 });
    await ready(client);
    const timeline = client.timeline('c1');
    expect(seqs(timeline)).toEqual(range(171, 200));
    expect([timeline.hasBefore, timeline.hasAfter, timeline.loading]).toEqual([true, false, false]);
    let changes = 0;
    timeline.onChange(() => (changes += 1));
    server.say('c1', 'ann', 'new');
    await settle();
    expect(seqs(timeline)).toEqual(range(171, 201));
    expect(changes).toBe(1);
    timeline.close();
    server.say('c1', 'ann', 'newer');
    await settle();
    expect(changes).toBe(1);
  });

  test('[TL1] until the first sync it says that it is loading', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 3 });
    const timeline = client.timeline('c1');
    expect([timeline.loading, timeline.messages, timeline.hasBefore]).toEqual([true, [], false]);
    let told = false;
    timeline.onChange(() => (told = true));
    await ready(client);
    expect(told).toBe(true);
    expect([timeline.loading, seqs(timeline), timeline.hasBefore]).toEqual([false, [1, 2, 3], false]);
  });

  test('[TL2] older pages join on without a hole until the beginning', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 120 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadBefore();
    expect(seqs(timeline)).toEqual(range(41, 120));
    await timeline.loadBefore();
    expect(seqs(timeline)).toEqual(range(1, 120));
    expect(timeline.hasBefore).toBe(false);
    await timeline.loadBefore();
    expect(server.askedFor('message.history')).toHaveLength(2);
  });

  test('[TL2] asking twice at once asks the server once', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 120 });
    await ready(client);
    const timeline = client.timeline('c1');
    await Promise.all([timeline.loadBefore(), timeline.loadBefore(), timeline.loadBefore()]);
    expect(server.askedFor('message.history')).toHaveLength(1);
    expect(seqs(timeline)).toEqual(range(41, 120));
  });

  test('[TL2] what one window has loaded, the next has at once', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 120 });
    await ready(client);
    await client.timeline('c1').loadBefore();
    const second = client.timeline('c1');
    expect(seqs(second)).toEqual(range(71, 120));
    await second.loadBefore();
    expect(seqs(second)).toEqual(range(41, 120));
    expect(server.askedFor('message.history')).toHaveLength(1);
  });

  test('[TL3] a jump far back shows its surroundings alone, and grows in both directions until it meets the newest', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 300 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadAround(100);
    expect(seqs(timeline)).toEqual(range(75, 124));
    expect([timeline.hasBefore, timeline.hasAfter]).toEqual([true, true]);
    server.say('c1', 'ann', 'new');
    await settle();
    expect(seqs(timeline)).toEqual(range(75, 124));
    await timeline.loadBefore();
    expect(seqs(timeline)).toEqual(range(25, 124));
    await timeline.loadAfter();
    await timeline.loadAfter();
    expect(seqs(timeline)).toEqual(range(25, 224));
    await timeline.loadAfter();
    expect(seqs(timeline)).toEqual(range(25, 301));
    expect(timeline.hasAfter).toBe(false);
    server.say('c1', 'ann', 'newer');
    await settle();
    expect(seqs(timeline).at(-1)).toBe(302);
  });

  test('[TL3] from wherever it is, it goes back to the newest without asking', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 300 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadAround(100);
    server.asked.length = 0;
    await timeline.loadLatest();
    expect(seqs(timeline)).toEqual(range(271, 300));
    expect(server.asked).toEqual([]);
  });

  test('[TL3] a jump to what is there already asks nothing', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 100 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadAround(90);
    expect(server.askedFor('message.history')).toEqual([]);
    expect(seqs(timeline)).toEqual(range(71, 100));
  });

  test('[TL4] edits and recalls show wherever the window is', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 300 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadAround(100);
    server.edit('c1', 100, 'edited');
    await settle();
    expect(texts(timeline.messages)).toContain('edited');
  });

  test('[TL4] a page that was read before an edit does not undo it', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 100 });
    await ready(client);
    const timeline = client.timeline('c1');
    let answer = (): void => {};
    server.answers.set('message.history', (params, socket) => {
      const page = server.ordinary('message.history', params, socket);
      return new Promise((resolve) => (answer = () => resolve(page)));
    });
    const loaded = timeline.loadBefore();
    await settle();
    server.edit('c1', 60, 'edited');
    await settle();
    answer();
    await loaded;
    expect(texts(timeline.messages)).toContain('edited');
  });

  test('[TL4] a page that a snapshot overtook is thrown away', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 100 });
    await ready(client);
    const timeline = client.timeline('c1');
    let answer = (): void => {};
    server.answers.set('message.history', (params, socket) => {
      const page = server.ordinary('message.history', params, socket);
      return new Promise((resolve) => (answer = () => resolve(page)));
    });
    const loaded = timeline.loadBefore();
    await settle();
    server.resumeEntities = 1;
    server.lose = () => true;
    for (let seq = 30; seq < 70; seq++) server.edit('c1', seq, `edited ${seq}`);
    server.lose = () => false;
    server.beat();
    await clock.advance(1_000);
    answer();
    await loaded;
    server.answers.delete('message.history');
    await timeline.loadBefore();
    expect(texts(timeline.messages)).toContain('edited 60');
    expect(texts(timeline.messages)).not.toContain('old 60');
  });

  test('[TL5] a loading that failed says why, and the next that works takes it back', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 100 });
    await ready(client);
    const timeline = client.timeline('c1');
    server.answers.set('message.history', refuse('internal'));
    await timeline.loadBefore();
    expect([timeline.loading, timeline.error]).toMatchObject([false, { code: 'internal' }]);
    server.answers.set('message.history', never);
    const hanging = timeline.loadBefore();
    expect(timeline.loading).toBe(true);
    await clock.advance(20_000);
    await hanging;
    expect(timeline.error).toBe('no_connection');
    server.answers.delete('message.history');
    await timeline.loadBefore();
    expect([timeline.error, seqs(timeline)]).toEqual([undefined, range(21, 100)]);
  });

  test('[TL6] the array is the same until something in it changed', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 10 });
    server.found('c2');
    await ready(client);
    const timeline = client.timeline('c1');
    const empty = client.timeline('c2');
    const [before, nothing] = [timeline.messages, empty.messages];
    expect(timeline.messages).toBe(before);
    expect(empty.messages).toBe(nothing);
    server.say('c2', 'ann', 'elsewhere');
    await settle();
    expect(timeline.messages).toBe(before);
    expect(empty.messages).not.toBe(nothing);
  });

  test('[TL7] a conversation that is open keeps all it loaded; one that nobody looks at keeps its latest', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 100 });
    server.found('c2', { messages: 100 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadBefore();
    for (let n = 0; n < 1_100; n++) {
      server.say('c1', 'ann', `m${n}`);
      server.say('c2', 'ann', `m${n}`);
    }
    await settle();
    expect(seqs(timeline)).toEqual(range(21, 1_200));
    const held = client.store.list('message').filter((message) => message.conversationId === 'c2');
    expect(held.length).toBeLessThanOrEqual(1_001);
    const other = client.timeline('c2');
    await other.loadBefore();
    await other.loadBefore();
    expect(seqs(other)).toEqual(range(1_200 - seqs(other).length + 1, 1_200));
  });

  test('[MS11] a message that one has hidden is in no window and not the last of its conversation', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 5 });
    await ready(client);
    const timeline = client.timeline('c1');
    await client.hide('c1-m5');
    await client.hide('c1-m3');
    expect(seqs(timeline)).toEqual([1, 2, 4]);
    expect(client.conversation('c1')).toMatchObject({ lastSeq: 5, lastMessage: { seq: 4 } });
    for (const seq of [1, 2, 4]) await client.hide(`c1-m${seq}`);
    expect(timeline.messages).toEqual([]);
    expect(client.conversation('c1')!.lastMessage).toBeUndefined();
  });
});
