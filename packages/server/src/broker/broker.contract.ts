import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Publication, Topic } from '../core/core.ts';
import type { Broker } from './broker.ts';

/** What a broker under test needs beyond itself. */
export interface BrokerUnderTest {
  /** Another node on the same broker; for one that is a single process, the same again. */
  open(): Promise<Broker>;
  /** Comes back when what was published before has been delivered, or is lost. */
  settle(): Promise<void>;
  /** Makes the broker unreachable, and back, for the nodes that are open. Only for one between several nodes, which can be away. */
  outage?: { begin(): Promise<void>; end(): Promise<void> };
  /** What a node is called among the others. */
  nameOf?(node: Broker): string;
  close?(): Promise<void>;
}

/** The contract of `broker.ts`, asked of one implementation. @param between  Several nodes: then it has to bring an `outage`. */
export function describeBroker(name: string, start: () => Promise<BrokerUnderTest>, { between }: { between: boolean }): void {
  const topic: Topic = 'conversation:one';
  const push = (version: number, to: Topic = topic): Publication & { kind: 'push' } => ({
    kind: 'push',
    topic: to as 'conversation:one',
    version,
    frame: `{"version":${version}}`,
  });

  describe(`the ${name} broker`, () => {
    let under: BrokerUnderTest;
    let broker: Broker;
    let received: Publication[];

    const listening = async (): Promise<{ node: Broker; got: Publication[] }> => {
      const node = await under.open();
      const got: Publication[] = [];
      node.onPublication((publication) => got.push(publication));
      return { node, got };
    };
    beforeEach(async () => {
      under = await start();
      ({ node: broker, got: received } = await listening());
    });
    afterEach(async () => {
      await broker.close();
      await under.close?.();
    });

    test('[BK1] delivers what is followed, once, as it was published, to the node that published it too', async () => {
      await broker.follow([topic]);
      const publication: Publication = {
        ...push(1, 'user:ann'),
        follow: ['conversation:two'],
        unfollow: ['presence:bob'],
        end: { sessionIds: ['one'], as: 'sessionEnded' },
      };
      await broker.follow(['user:ann']);
      broker.publish(publication);
      broker.publish({ kind: 'signal', topic, frame: '{"signal":"typing"}' });
      broker.publish({ kind: 'control', topic, follow: ['online:one'] });
      await under.settle();
      expect(received).toEqual([publication, { kind: 'signal', topic, frame: '{"signal":"typing"}' }, { kind: 'control', topic, follow: ['online:one'] }]);
    });

    test('[BK1] delivers nothing that is not followed, and nothing of a name that only looks alike', async () => {
      await broker.follow([topic]);
      for (const other of ['conversation:two', 'conversation:one1', 'conversation:on', 'user:one', 'conversation:*', 'conversation:>'] as Topic[]) broker.publish(push(1, other));
      await under.settle();
      expect(received).toEqual([]);
    });

    test('[BK1] keeps the order of one topic', async () => {
      await broker.follow([topic]);
      for (let version = 1; version <= 1_000; version++) broker.publish(push(version));
      await under.settle();
      expect(received.map((publication) => (publication.kind === 'push' ? publication.version : 0))).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1));
    });

    test('[BK1] following twice is the same as once, also for the end of it', async () => {
      await broker.follow([topic]);
      await broker.follow([topic]);
      broker.publish(push(1));
      await under.settle();
      expect(received).toHaveLength(1);
      broker.unfollow([topic]);
      broker.publish(push(2));
      await under.settle();
      expect(received).toHaveLength(1);
    });

    test('[BK1] what is published once follow has resolved is delivered', async () => {
      for (let n = 0; n < 50; n++) {
        const fresh: Topic = `conversation:fresh-${n}`;
        await broker.follow([fresh]);
        broker.publish(push(n, fresh));
      }
      await under.settle();
      expect(received).toHaveLength(50);
    });

    test('[BK1] carries frames of any text and any size a frame can have', async () => {
      await broker.follow([topic]);
      const frames = ['', '{"text":"字 \u2028 🙂 \\u0000"}', 'x'.repeat(300_000)];
      for (const frame of frames) broker.publish({ kind: 'signal', topic, frame });
      await under.settle();
      expect(received.map((publication) => ('frame' in publication ? publication.frame : undefined))).toEqual(frames);
    });

    test('[BK1] publishing never throws and never waits, with nobody there or after the end', async () => {
      const began = performance.now();
      for (let n = 0; n < 10_000; n++) broker.publish(push(n, 'conversation:nobody'));
      expect(performance.now() - began).toBeLessThan(1_000);
      await broker.close();
      await broker.follow([topic]);
      broker.publish(push(1));
      await under.settle();
      expect(received).toEqual([]);
    });

    test('[BK1] what one listener does to what is followed holds for the next publication', async () => {
      await broker.follow([topic, 'user:ann']);
      const got: number[] = [];
      broker.onPublication((publication) => {
        if (publication.kind === 'push') got.push(publication.version);
        if (publication.topic === 'user:ann') broker.unfollow([topic]);
      });
      broker.publish(push(1));
      broker.publish(push(2, 'user:ann'));
      await under.settle();
      broker.publish(push(3));
      await under.settle();
      expect(got).toEqual([1, 2]);
    });

    if (!between) return;

    /** Until it is so, asking again: what says that a node is there comes once a second. */
    const until = (met: () => boolean): Promise<boolean> => vi.waitUntil(met, { timeout: 15_000, interval: 20 });

    test('[BK2] what one node publishes, another that follows it gets, once and in order, and one that does not gets nothing', async () => {
      const { node: other, got } = await listening();
      const { node: third, got: none } = await listening();
      await other.follow([topic]);
      await third.follow(['conversation:two']);
      const large = 'x'.repeat(300_000);
      broker.publish({ ...push(1), follow: ['conversation:two'], end: { sessionIds: ['one'], as: 'sessionEnded' } });
      broker.publish({ kind: 'signal', topic, frame: large, notTo: 'user:ann' });
      broker.publish({ kind: 'control', topic, unfollow: ['online:one'] });
      for (let version = 2; version <= 500; version++) broker.publish(push(version));
      await under.settle();
      expect(got).toEqual([
        { ...push(1), follow: ['conversation:two'], end: { sessionIds: ['one'], as: 'sessionEnded' } },
        { kind: 'signal', topic, frame: large, notTo: 'user:ann' },
        { kind: 'control', topic, unfollow: ['online:one'] },
        ...Array.from({ length: 499 }, (_, at) => push(at + 2)),
      ]);
      expect({ none, received }).toEqual({ none: [], received: [] });
      other.unfollow([topic]);
      await under.settle();
      broker.publish(push(501));
      await under.settle();
      expect(got).toHaveLength(502);
    });

    test('[BK3] pushes of one stream from several nodes come in the order of their versions; one that is lost keeps the others for a moment only', async () => {
      const { node: other } = await listening();
      await broker.follow([topic]);
      other.publish(push(1));
      await until(() => received.length === 1);
      broker.publish(push(3));
      broker.publish(push(4));
      expect(received).toEqual([push(1)]);
      other.publish(push(2));
      await until(() => received.length === 4);
      expect(received).toEqual([1, 2, 3, 4].map((version) => push(version)));
      other.publish(push(9));
      other.publish(push(8));
      await until(() => received.length === 6);
      expect(received.slice(4)).toEqual([push(8), push(9)]);
      // What ends a membership or a session waits for nothing.
      broker.publish({ ...push(20), unfollow: ['conversation:two'] });
      expect(received.slice(6)).toEqual([{ ...push(20), unfollow: ['conversation:two'] }]);
    });

    test('[BK3] the first pushes, too, where it is known what was there before', async () => {
      const { node: other } = await listening();
      await broker.follow([topic]);
      broker.known(topic, 5);
      broker.publish(push(7));
      expect(received).toEqual([]);
      other.publish(push(6));
      await until(() => received.length === 2);
      expect(received).toEqual([push(6), push(7)]);
    });

    test('[BK4] what is too large to be carried makes the others compare heads, and what it says about following still holds', async () => {
      const { node: other } = await listening();
      await broker.follow(['user:ann']);
      await under.settle();
      let compared = 0;
      broker.onInterrupted(() => (compared += 1));
      other.publish({ ...push(1, 'user:ann'), frame: 'x'.repeat(3_000_000), unfollow: ['conversation:two'] });
      await until(() => compared > 0);
      expect(received).toEqual([{ kind: 'control', topic: 'user:ann', unfollow: ['conversation:two'] }]);
    });

    test('[BK5] an outage blocks nobody and is known, own followers are served, and when it is over everybody compares heads and is served again', async () => {
      const { node: other, got } = await listening();
      let told = 0;
      let toldOther = 0;
      await broker.follow([topic]);
      await other.follow([topic]);
      await until(() => broker.reaches([]) && other.reaches([]));
      broker.onInterrupted(() => (told += 1));
      other.onInterrupted(() => (toldOther += 1));
      await under.outage!.begin();
      broker.publish(push(1));
      expect(received).toEqual([push(1)]);
      await broker.follow(['conversation:two']);
      await until(() => !broker.reaches([]) && !other.reaches([]));
      broker.publish(push(2));
      expect(received).toEqual([push(1), push(2)]);
      await under.outage!.end();
      await until(() => broker.reaches([]) && other.reaches([]) && told > 0 && toldOther > 0);
      broker.publish(push(3));
      other.publish(push(1, 'conversation:two'));
      await under.settle();
      expect(got.at(-1)).toEqual(push(3));
      expect(got.filter(({ kind, topic: of }) => kind === 'push' && of === topic)).toHaveLength(got.length);
      expect(received).toEqual([push(1), push(2), push(3), push(1, 'conversation:two')]);
    });

    test('[BK6] a node knows which of the others it hears, and misses the one that has gone silent', async () => {
      const { node: other } = await listening();
      const called = under.nameOf!(other);
      await until(() => broker.reaches([called]));
      expect(broker.reaches([called, 'somebody who never said a word'])).toBe(false);
      await other.close();
      await until(() => !broker.reaches([called]));
      expect(broker.reaches([])).toBe(true);
    });
  });
}
