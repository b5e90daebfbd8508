import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Publication, Topic } from '../core/core.ts';
import type { Broker } from './broker.ts';

/** What a broker under test needs beyond itself. */
export interface BrokerUnderTest {
  /** Another node on the same broker; for one that is a single process, the same again. */
  open(): Promise<Broker>;
  /** Comes back when what was published before has been delivered, or is lost. */
  settle(): Promise<void>;
  /** Makes the broker unreachable, and back. Only for one that can be away. */
  outage?: { begin(): Promise<void>; end(): Promise<void> };
  close?(): Promise<void>;
}

/** The contract of `broker.ts`, asked of one implementation. @param canBeAway  Then it has to bring an `outage`. */
export function describeBroker(name: string, start: () => Promise<BrokerUnderTest>, { canBeAway }: { canBeAway: boolean }): void {
  const topic: Topic = 'conversation:one';
  const push = (version: number, to: Topic = topic): Publication => ({ kind: 'push', topic: to as 'conversation:one', version, frame: `{"version":${version}}` });

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

    test('delivers what is followed, once, as it was published, to the node that published it too', async () => {
      await broker.follow([topic]);
      const publication: Publication = {
        ...push(1, 'user:ann'),
        follow: ['conversation:two'],
        unfollow: ['presence:bob'],
        end: { sessionIds: ['one'], as: 'sessionEnded' },
      } as Publication;
      await broker.follow(['user:ann']);
      broker.publish(publication);
      broker.publish({ kind: 'signal', topic, frame: '{"signal":"typing"}' });
      broker.publish({ kind: 'control', topic, follow: ['online:one'] });
      await under.settle();
      expect(received).toEqual([publication, { kind: 'signal', topic, frame: '{"signal":"typing"}' }, { kind: 'control', topic, follow: ['online:one'] }]);
    });

    test('delivers nothing that is not followed, and nothing of a name that only looks alike', async () => {
      await broker.follow([topic]);
      for (const other of ['conversation:two', 'conversation:one1', 'conversation:on', 'user:one', 'conversation:*', 'conversation:>'] as Topic[]) broker.publish(push(1, other));
      await under.settle();
      expect(received).toEqual([]);
    });

    test('keeps the order of one topic', async () => {
      await broker.follow([topic]);
      for (let version = 1; version <= 1_000; version++) broker.publish(push(version));
      await under.settle();
      expect(received.map((publication) => (publication.kind === 'push' ? publication.version : 0))).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1));
    });

    test('following twice is the same as once, also for the end of it', async () => {
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

    test('what is published once follow has resolved is delivered', async () => {
      for (let n = 0; n < 50; n++) {
        const fresh: Topic = `conversation:fresh-${n}`;
        await broker.follow([fresh]);
        broker.publish(push(n, fresh));
      }
      await under.settle();
      expect(received).toHaveLength(50);
    });

    test('carries frames of any text and any size a frame can have', async () => {
      await broker.follow([topic]);
      const frames = ['', '{"text":"字 \u2028 🙂 \\u0000"}', 'x'.repeat(300_000)];
      for (const frame of frames) broker.publish({ kind: 'signal', topic, frame });
      await under.settle();
      expect(received.map((publication) => ('frame' in publication ? publication.frame : undefined))).toEqual(frames);
    });

    test('publishing never throws and never waits, with nobody there or after the end', async () => {
      const began = performance.now();
      for (let n = 0; n < 10_000; n++) broker.publish(push(n, 'conversation:nobody'));
      expect(performance.now() - began).toBeLessThan(1_000);
      await broker.close();
      await broker.follow([topic]);
      broker.publish(push(1));
      await under.settle();
      expect(received).toEqual([]);
    });

    test('what one listener does to what is followed holds for the next publication', async () => {
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

    if (!canBeAway) return;
    test('an outage blocks nobody, is told when it is over, and what is followed then is delivered again', async () => {
      let told = (): void => {};
      const interrupted = new Promise<void>((resolve) => (told = resolve));
      broker.onInterrupted(told);
      await broker.follow([topic]);
      await under.outage!.begin();
      broker.publish(push(1));
      await broker.follow(['conversation:two']);
      await under.outage!.end();
      await interrupted;
      broker.publish(push(2));
      broker.publish(push(3, 'conversation:two'));
      await under.settle();
      expect(received).toEqual(expect.arrayContaining([push(2), push(3, 'conversation:two')]));
      expect(received.filter((publication) => publication.kind === 'push' && publication.version === 2)).toHaveLength(1);
    });
  });
}
