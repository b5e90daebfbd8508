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

  test('[TL7] a window that follows the newest lets go of the oldest; of what nobody looks at, only the latest stay in memory', async () => {
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
    expect(seqs(timeline)).toEqual(range(1_200 - seqs(timeline).length + 1, 1_200));
    expect(seqs(timeline).length).toBeLessThanOrEqual(300);
    for (const id of ['c1', 'c2']) expect(client.store.countMessages(id)).toBeLessThanOrEqual(1_001);
    const other = client.timeline('c2');
    await other.loadBefore();
    await other.loadBefore();
    expect(seqs(other)).toEqual(range(1_200 - seqs(other).length + 1, 1_200));
  });

  test('[TL7] a long way up and down again, window and memory stay small, and no message is missed', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 3_000 });
    await ready(client);
    const timeline = client.timeline('c1');
    const met = new Set<number>();
    const check = (): void => {
      const shown = seqs(timeline);
      expect(shown).toEqual(range(shown[0]!, shown.at(-1)!));
      expect(shown.length).toBeLessThanOrEqual(300);
      expect(client.store.countMessages('c1')).toBeLessThanOrEqual(1_100);
      for (const seq of shown) met.add(seq);
    };
    while (timeline.hasBefore) {
      timeline.reading = seqs(timeline)[5]!;
      await timeline.loadBefore();
      check();
    }
    expect(met.size).toBe(3_000);
    expect(timeline.hasAfter).toBe(true);
    while (timeline.hasAfter) {
      timeline.reading = seqs(timeline).at(-5)!;
      await timeline.loadAfter();
      check();
    }
    expect(seqs(timeline).at(-1)).toBe(3_000);
    server.say('c1', 'ann', 'new');
    await settle();
    expect(seqs(timeline).at(-1)).toBe(3_001);
  });

  test('[TL7] what arrives does not push away what is being read', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 200 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadBefore();
    timeline.reading = 130;
    for (let n = 0; n < 400; n++) server.say('c1', 'ann', `m${n}`);
    await settle();
    expect(seqs(timeline)).toEqual(range(121, 370));
    expect(timeline.hasAfter).toBe(true);
    await timeline.loadLatest();
    expect(seqs(timeline).at(-1)).toBe(600);
    expect(timeline.hasAfter).toBe(false);
  });

  /** More changes than can be resumed, while not one push arrives: the next heads frame brings a snapshot. */
  async function snapshotAfter(stage: ReturnType<typeof setUp>, change: () => void): Promise<void> {
    const { server, clock } = stage;
    server.resumeEntities = 1;
    server.lose = () => true;
    change();
    server.lose = () => false;
    server.beat();
    await clock.advance(1_000);
    expect(server.askedFor('stream.snapshot').filter(({ stream }) => stream === 'conversation:c1')).toHaveLength(2);
  }

  test('[TL9] who reads older messages stays there when a snapshot comes, and sees what changed', async () => {
    const stage = setUp();
    const { server, client } = stage;
    server.found('c1', { messages: 400 });
    await ready(client);
    const timeline = client.timeline('c1');
    for (let n = 0; n < 3; n++) await timeline.loadBefore();
    const before = seqs(timeline);
    expect(before).toEqual(range(221, 400));
    timeline.reading = 230;
    const seen: number[][] = [];
    timeline.onChange(() => seen.push(seqs(timeline)));
    await snapshotAfter(stage, () => {
      for (let seq = 225; seq < 300; seq++) server.edit('c1', seq, `edited ${seq}`);
    });
    expect(seen.length).toBeGreaterThan(0);
    for (const shown of seen) expect(shown).toEqual(before);
    expect(texts(timeline.messages)[230 - 221]).toBe('edited 230');
    expect(timeline.hasAfter).toBe(false);
    server.say('c1', 'ann', 'new');
    await settle();
    expect(seqs(timeline)).toEqual(range(221, 401));
  });

  test('[TL9] a window far from the newest stays where it is, and the way down is open', async () => {
    const stage = setUp();
    const { server, client } = stage;
    server.found('c1', { messages: 400 });
    await ready(client);
    const timeline = client.timeline('c1');
    for (let n = 0; n < 3; n++) await timeline.loadBefore();
    expect(seqs(timeline)).toContain((timeline.reading = 230));
    await snapshotAfter(stage, () => {
      for (let n = 0; n < 500; n++) server.say('c1', 'ann', `missed ${n}`);
    });
    expect(seqs(timeline)).toEqual(range(221, 400));
    expect(timeline.hasAfter).toBe(true);
    timeline.reading = 399;
    for (let n = 0; n < 20 && timeline.hasAfter; n++) {
      await timeline.loadAfter();
      timeline.reading = seqs(timeline).at(-1)!;
    }
    expect(seqs(timeline).at(-1)).toBe(900);
  });

  test('[TL9] what waits to be sent stays in place while a snapshot comes, and a short gap is filled', async () => {
    const stage = setUp();
    const { server, client } = stage;
    server.found('c1', { messages: 100 });
    await ready(client);
    const timeline = client.timeline('c1');
    expect(seqs(timeline)).toContain((timeline.reading = 95));
    server.answers.set('message.send', never);
    client.send('c1', { text: 'on its way' });
    await settle();
    const seen: unknown[] = [];
    timeline.onChange(() => seen.push([seqs(timeline)[0], texts(timeline.messages).at(-1)]));
    await snapshotAfter(stage, () => {
      for (let n = 0; n < 90; n++) server.say('c1', 'ann', `missed ${n}`);
    });
    for (const shown of seen) expect(shown).toEqual([71, 'on its way']);
    expect(seqs(timeline)).toEqual([...range(71, 190), -1]);
    expect(timeline.hasAfter).toBe(false);
  });

  test('[TL9] if it cannot be asked for at once, it is with the next connection', async () => {
    const stage = setUp();
    const { server, client, clock } = stage;
    server.found('c1', { messages: 200 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadBefore();
    expect(seqs(timeline)).toContain((timeline.reading = 125));
    server.answers.set('message.history', never);
    await snapshotAfter(stage, () => {
      for (let seq = 121; seq < 130; seq++) server.edit('c1', seq, `edited ${seq}`);
    });
    expect(seqs(timeline)).toEqual(range(121, 200));
    expect(texts(timeline.messages)).toContain('old 125');
    server.answers.delete('message.history');
    server.socket!.drop();
    await clock.advance(5_000);
    expect(seqs(timeline)).toEqual(range(121, 200));
    expect(texts(timeline.messages)).toContain('edited 125');
  });

  test('[TL9] who follows the newest goes on following; what never was goes', async () => {
    const stage = setUp();
    const { server, client } = stage;
    server.found('c1', { messages: 200 });
    await ready(client);
    const timeline = client.timeline('c1');
    await timeline.loadBefore();
    await snapshotAfter(stage, () => {
      for (let n = 0; n < 100; n++) server.say('c1', 'ann', `missed ${n}`);
    });
    expect(seqs(timeline)).toEqual(range(271, 300));
    timeline.reading = 280;
    // A restored backup: the server knows less than was read.
    for (let seq = 251; seq <= 300; seq++) server.rows.delete(`message/c1-m${seq}`);
    server.heads.set('conversation:c1', 200);
    server.socket!.drop();
    await stage.clock.advance(5_000);
    expect(seqs(timeline)).toEqual(range(221, 250));
  });

  test('[TL10] a jump to a time shows the first message from then on', async () => {
    const { server, client, clock } = setUp();
    server.found('c1', { messages: 10 });
    const noon = clock.now() + 60_000;
    await clock.advance(60_000);
    for (let n = 0; n < 300; n++) server.say('c1', 'ann', `later ${n}`);
    await ready(client);
    const timeline = client.timeline('c1');
    expect(await timeline.loadAt(noon)).toBe(11);
    expect(seqs(timeline)).toEqual(range(1, 35));
    expect(await timeline.loadAt(noon + 1)).toBe(310);
    expect(seqs(timeline).at(-1)).toBe(310);
    server.answers.set('message.history', refuse('internal'));
    expect(await timeline.loadAt(noon)).toBeUndefined();
    expect(timeline.error).toMatchObject({ code: 'internal' });
  });

  test('[TL10] of two jumps that overlap, the later one wins', async () => {
    const { server, client } = setUp();
    server.found('c1', { messages: 300 });
    await ready(client);
    const timeline = client.timeline('c1');
    const slow = timeline.loadAround(50);
    await timeline.loadLatest();
    await slow;
    expect(seqs(timeline)).toEqual(range(271, 300));
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
