import { type CloseName, type StreamId, limits } from '@kith/protocol';
import type { Broker } from '../broker/broker.ts';
import { type Publication, type Topic, everyPresence } from '../core/core.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { Few } from './few.ts';
import type { Recent } from './recent.ts';
import { type Frame, buildFrame } from './send-queue.ts';

/** What the hub sees of a connection. */
export interface Follower {
  readonly sessionId: string;
  /** What it follows. Only the hub writes here. */
  readonly topics: Few<Topic>;
  /** The hub's count of moves when it was last told its heads. Only the hub writes here. */
  toldAt: number;
  /** While the core is asked what to follow: what pushes said meanwhile. They are newer than the answer. */
  changed: Map<Topic, 'follow' | 'unfollow'> | undefined;
  deliver(frame: Frame): void;
  /** May be dropped under pressure. */
  signal(frame: Frame): void;
  /** A push was lost: tell the heads now, not with the next heartbeat. */
  tellHeads(): void;
  /** A push of its person may have been lost, and with it the end of a membership or a session: ask the core again. @returns whether it was asked */
  recheck(): Promise<boolean>;
  /** These are not followed any more, unless the core says that they may be. */
  rewatch(topics: Topic[]): void;
  close(as: CloseName): void;
}

interface Followed {
  /** The one string of this name: every follower's would be a copy of its own. */
  topic: Topic;
  followers: Few<Follower>;
  /** Newest version known here; undefined until a push or a sweep tells. */
  head: number | undefined;
  /** The hub's count of moves when it last moved. */
  movedAt: number;
  /** Until what is published reaches this node. */
  coming: Promise<void> | undefined;
}

/** Beyond its streams, a connection follows the presence of so many people and rooms; the oldest go first. */
const signalTopics = limits.presenceWatched + 100;
/** Streams asked about in one question of a sweep. */
const headsPerQuestion = 500;

/** Who follows what on this node. */
export class Hub {
  readonly #broker: Broker;
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #ask: (streams: StreamId[]) => Promise<Record<string, number>>;
  readonly #topics = new Map<Topic, Followed>();
  /**
   * One more with everything that moves a stream. Compared with what a follower was told at, it says what moved since: nothing
   * has to be written down for every follower of every push.
   */
  #moves = 0;
  /** How often publications were lost, and how many of these times heads have been compared since. */
  #losses = 0;
  #compared = 0;
  /** Those to whom something was not delivered for that reason. */
  readonly #owed = new Set<Follower>();
  /** Those who may follow what they may not any more; the core has to be asked. */
  readonly #unsure = new Set<Follower>();

  /** @param ask  The newest versions of streams, from the database. */
  constructor(broker: Broker, metrics: Metrics, log: Log, ask: (streams: StreamId[]) => Promise<Record<string, number>>, recent?: Recent) {
    this.#broker = broker;
    this.#metrics = metrics;
    this.#log = log;
    this.#ask = ask;
    broker.onPublication((publication) => {
      recent?.note(publication);
      this.deliver(publication);
    });
  }

  /** Whoever begins to follow has been told up to here. */
  get moves(): number {
    return this.#moves;
  }

  /** Resolves when what is published from then on reaches the follower. @returns nothing where it does so at once */
  follow(follower: Follower, topics: Topic[]): Promise<void> | undefined {
    const first: Followed[] = [];
    const waits = new Set<Promise<void>>();
    for (const topic of topics) {
      let followed = this.#topics.get(topic);
      if (!followed) {
        this.#topics.set(topic, (followed = { topic, followers: new Few(), head: undefined, movedAt: 0, coming: undefined }));
        first.push(followed);
      }
      if (followed.coming) waits.add(followed.coming);
      followed.followers.add(follower);
      follower.topics.add(followed.topic);
    }
    this.#trim(follower);
    const coming = first.length > 0 && this.#begin(first);
    if (coming) waits.add(coming);
    return waits.size === 0 ? undefined : Promise.all(waits).then(() => {});
  }

  /** Whoever follows the same a moment later waits for the same. */
  #begin(first: Followed[]): Promise<void> | undefined {
    const coming = this.#broker.follow(first.map(({ topic }) => topic));
    if (this.#broker.immediate) return undefined;
    for (const followed of first) followed.coming = coming;
    return coming.finally(() => {
      for (const followed of first) followed.coming = undefined;
    });
  }

  unfollow(follower: Follower, topics: Iterable<Topic>): void {
    const last: Topic[] = [];
    for (const topic of topics) {
      if (!follower.topics.delete(topic)) continue;
      const followed = this.#topics.get(topic)!;
      followed.followers.delete(follower);
      if (followed.followers.size > 0) continue;
      this.#topics.delete(topic);
      last.push(topic);
    }
    if (last.length > 0) this.#broker.unfollow(last);
  }

  /** The connection is gone. */
  remove(follower: Follower): void {
    this.#owed.delete(follower);
    this.#unsure.delete(follower);
    this.unfollow(follower, [...follower.topics]);
  }

  /** How many connections follow a topic here. */
  count(topic: Topic): number {
    return this.#topics.get(topic)?.followers.size ?? 0;
  }

  /**
   * Makes a connection follow exactly these conversations: what the core said, corrected by what pushes said since it
   * was asked (`changed`). An answer that was read before a removal must not bring the conversation back.
   */
  async settle(follower: Follower, topics: Topic[]): Promise<void> {
    const changed = follower.changed ?? new Map<Topic, 'follow' | 'unfollow'>();
    follower.changed = undefined;
    const wanted = new Set(topics.filter((topic) => changed.get(topic) !== 'unfollow'));
    for (const [topic, change] of changed) if (change === 'follow') wanted.add(topic);
    const over = [...follower.topics].filter((topic) => topic.startsWith('conversation:') && !wanted.has(topic));
    this.unfollow(follower, over);
    if (over.length > 0) this.#doubt(follower, [...follower.topics].filter(isShared));
    await this.follow(follower, [...wanted]);
  }

  deliver(publication: Publication): void {
    const followed = this.#topics.get(publication.topic);
    if (!followed) return;
    this.#metrics.pushes.inc();
    switch (publication.kind) {
      case 'push':
        return this.#push(followed, publication);
      case 'control':
        // A copy: what changes here is what the loop walks over.
        for (const follower of [...followed.followers]) this.#turn(follower, publication);
        return;
      case 'signal': {
        const frame = buildFrame(publication.frame);
        const notTo = publication.notTo === undefined ? [] : [publication.notTo].flat();
        for (const follower of followed.followers) if (!notTo.some((topic) => follower.topics.has(topic))) follower.signal(frame);
        return;
      }
      default:
        exhaustive(publication);
    }
  }

  #push(followed: Followed, push: Publication & { kind: 'push' }): void {
    const { topic, version, end, doubt } = push;
    const frame = buildFrame(push.frame);
    const gap = version !== (followed.head ?? -1) + 1;
    followed.head = Math.max(followed.head ?? 0, version);
    followed.movedAt = ++this.#moves;
    const ofPerson = topic.startsWith('user:');
    if (!ofPerson && this.isDoubtful) {
      for (const follower of followed.followers) this.#owed.add(follower);
      return;
    }
    // A copy where the loop may change it: closing a connection takes it out of the set.
    for (const follower of ofPerson ? [...followed.followers] : followed.followers) {
      if (end?.sessionIds.includes(follower.sessionId)) {
        follower.close(end.as);
        continue;
      }
      this.#turn(follower, push);
      if (doubt) this.#doubt(follower, doubt);
      follower.deliver(frame);
      if (gap && ofPerson) void follower.recheck();
    }
  }

  /** What a connection follows from here on, or no longer: in force before anything later is delivered. */
  #turn(follower: Follower, { follow, unfollow }: { follow?: Topic[]; unfollow?: Topic[] }): void {
    if (unfollow) this.#changed(follower, unfollow, 'unfollow');
    if (follow) this.#changed(follower, follow, 'follow');
  }

  #changed(follower: Follower, topics: Topic[], change: 'follow' | 'unfollow'): void {
    for (const topic of topics) follower.changed?.set(topic, change);
    if (change === 'unfollow') {
      this.unfollow(follower, topics.includes(everyPresence) ? [...follower.topics].filter((topic) => !isStream(topic)) : topics);
      if (topics.some(isStream)) this.#doubt(follower, [...follower.topics].filter(isShared));
      return;
    }
    const fresh = topics.filter(isStream).filter((topic) => !this.#topics.has(topic));
    const coming = this.follow(follower, topics);
    if (!coming || fresh.length === 0) return;
    coming.then(() => this.#compare(fresh)).catch((error: unknown) => this.#log.warn({ err: error }, 'could not compare the heads of what is followed now'));
  }

  /** Nothing more comes of these until the core has answered: a signal too few is no harm. */
  #doubt(follower: Follower, topics: Topic[]): void {
    const held = topics.filter((topic) => follower.topics.has(topic));
    if (held.length === 0) return;
    this.unfollow(follower, held);
    follower.rewatch(held);
  }

  /** The `heads` frame that is due to this connection, if anything moved since its last. */
  takeHeads(follower: Follower): Frame | undefined {
    const since = follower.toldAt;
    if (since === this.#moves) return undefined;
    follower.toldAt = this.#moves;
    let heads: Record<string, number> | undefined;
    for (const topic of follower.topics) {
      const { head, movedAt } = this.#topics.get(topic)!;
      if (movedAt > since) (heads ??= {})[topic] = head!;
    }
    return heads && buildFrame(JSON.stringify({ heads }));
  }

  /** Publications were lost on the way here, the end of memberships perhaps among them. */
  distrust(): void {
    this.#losses += 1;
  }

  /** Until heads are compared nothing of conversations goes out: people may have been taken out of them. */
  get isDoubtful(): boolean {
    return this.#compared < this.#losses;
  }

  /**
   * Asks for the newest versions of all that is followed here, and tells those who missed something on the way.
   *
   * @param lossy  Publications are known to be lost, so a version that is heard of for the first time is told at once as well.
   */
  async sweep(lossy = this.isDoubtful): Promise<void> {
    const losses = this.#losses;
    const streams = [...this.#topics.keys()].filter(isStream);
    // People's own first: who has to be asked about is, before the others are told of anything.
    if (lossy) streams.sort((a, b) => Number(b.startsWith('user:')) - Number(a.startsWith('user:')));
    for (let at = 0; at < streams.length; at += headsPerQuestion) {
      const behind = new Set<Follower>();
      const heads = await this.#ask(streams.slice(at, at + headsPerQuestion));
      for (const [stream, head] of Object.entries(heads)) this.#found(stream as StreamId, head, behind, lossy);
      for (const follower of behind) follower.tellHeads();
      await this.#askAgain();
    }
    // Where the core could not be asked, it is with the next sweep.
    if (this.#unsure.size === 0) this.#compared = losses;
    if (this.isDoubtful) return;
    const owed = [...this.#owed];
    this.#owed.clear();
    for (const follower of owed) follower.tellHeads();
  }

  /** Nothing was read after these were followed, and what was published until then is lost. */
  async #compare(streams: StreamId[]): Promise<void> {
    const behind = new Set<Follower>();
    const heads = await this.#ask(streams);
    for (const [stream, head] of Object.entries(heads)) this.#found(stream as StreamId, head, behind, true);
    for (const follower of behind) follower.tellHeads();
  }

  async #askAgain(): Promise<void> {
    const ask = async (follower: Follower): Promise<void> => {
      if (await follower.recheck()) this.#unsure.delete(follower);
    };
    await Promise.all([...this.#unsure].map(ask));
  }

  #found(stream: StreamId, head: number, behind: Set<Follower>, lossy: boolean): void {
    const followed = this.#topics.get(stream);
    if (!followed || (followed.head !== undefined && followed.head >= head)) return;
    // Nobody has told us a version before: nothing says that a push was lost, only that one may have been.
    const lost = lossy || followed.head !== undefined;
    followed.head = head;
    this.#broker.known(stream, head);
    followed.movedAt = ++this.#moves;
    // A copy: asking the core again may change what is followed.
    for (const follower of [...followed.followers]) {
      if (lost) behind.add(follower);
      if (stream.startsWith('user:')) this.#unsure.add(follower);
    }
  }

  #trim(follower: Follower): void {
    if (follower.topics.size <= signalTopics) return;
    const fleeting = [...follower.topics].filter((topic) => !isStream(topic));
    if (fleeting.length > signalTopics) this.unfollow(follower, fleeting.slice(0, fleeting.length - signalTopics));
  }
}

const isStream = (topic: Topic): topic is StreamId => topic.startsWith('conversation:') || topic.startsWith('user:');

/** Of somebody with whom only a conversation is shared. */
const isShared = (topic: Topic): boolean => topic.startsWith('presence:') && topic.endsWith('/shared');

function exhaustive(never: never): never {
  throw new Error(`not handled: ${JSON.stringify(never)}`);
}
