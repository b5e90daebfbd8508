import type { Publication, Topic } from '../core/core.ts';
import type { Broker } from './broker.ts';

/** The broker of a server that is one process: it hands over at once, and loses nothing. */
export function openLocalBroker(): Broker {
  const followed = new Set<Topic>();
  let deliver: ((publication: Publication) => void) | undefined;
  let closed = false;
  return {
    immediate: true,
    publish(publication) {
      if (!closed && followed.has(publication.topic)) deliver?.(publication);
    },
    async follow(topics) {
      for (const topic of topics) followed.add(topic);
    },
    // One process publishes in order.
    known() {},
    unfollow(topics) {
      for (const topic of topics) followed.delete(topic);
    },
    onPublication(listener) {
      deliver = listener;
    },
    // Nothing can come between a process and itself.
    onInterrupted() {},
    enter() {},
    onEra() {},
    reaches: (others) => others.length === 0,
    async close() {
      closed = true;
      followed.clear();
    },
  };
}
