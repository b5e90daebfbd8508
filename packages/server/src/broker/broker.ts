import type { Era, Publication, Topic } from '../core/core.ts';

/**
 * Carries publications between nodes: the doorbell, never the log. Every implementation keeps this contract, and
 * `broker.contract.ts` asks it of each.
 *
 * - **At most once.** A publication may be lost, at any time and without a word; it is never delivered twice to one node.
 *   Whoever follows finds a loss by comparing heads.
 * - **In order.** What one node publishes to one topic arrives in that order, less what is lost.
 * - **Only what is followed** on this node is delivered to it, its own publications included.
 * - **Nothing here blocks or throws** because the others are slow or away: what cannot be sent is dropped.
 */
export interface Broker {
  /** What is followed is delivered from the call of `follow` on; else what is published until it resolves may be lost. */
  readonly immediate?: true;

  publish(publication: Publication): void;

  /**
   * Resolves when publications made after that are delivered here, or at once when the broker is out of reach: then it
   * follows as soon as it is back, and tells by `onInterrupted`. Never rejects. Following twice is the same as once.
   */
  follow(topics: Topic[]): Promise<void>;

  /** Who follows this knows already of the version: what comes behind it waits for those in between. */
  known(topic: Topic, version: number): void;

  /** From now on nothing of these is delivered. */
  unfollow(topics: Topic[]): void;

  /** Called with each publication. One listener. */
  onPublication(listener: (publication: Publication) => void): void;

  /** Called when publications may have been lost and the broker is back: compare heads now. One listener. */
  onInterrupted(listener: () => void): void;

  /**
   * Does what these nodes publish reach this one at this moment? Else heads have to be compared more often: then the database
   * is all that they have in common. @param others  Every other node that lives.
   */
  reaches(others: readonly string[]): boolean;

  /** From now on this node works in this era: only what others publish who do, too, is delivered, and they are told of it. */
  enter(era: Era): void;

  /** Called with the era of another node, where it is not that of this one. One listener. */
  onEra(listener: (era: Era) => void): void;

  /** After this nothing is delivered, and `publish` does nothing. */
  close(): Promise<void>;
}

/** The broker does not want us: shown to the operator as it is, and the process does not start. */
export class BrokerError extends Error {
  override name = 'BrokerError';
}
