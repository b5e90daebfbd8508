import { createHash } from 'node:crypto';
import { type Inbox, type Message, type PushPayload, RequestError } from '@kith/protocol';
import type { Config } from '../config.ts';
import type { Database } from '../db/db.ts';
import type { PushSubscriptionsTable } from '../db/schema.ts';
import type { Identity } from './core.ts';
import { claim, devicesOf, devicesToTell, findDevice, forgetTold, giveBack, recordAnswer, toldDevices } from './push-devices.ts';
import { findNews, findWithdrawal } from './push-news.ts';
import type { Presence } from './presence.ts';
import { type PushAnswer, isPushEndpoint, postPush } from './push-services.ts';
import type { Secrets } from './secrets.ts';
import { encryptPush, vapidAuthorization } from './web-push.ts';

/** Milliseconds in which the messages of one conversation are gathered before its devices are looked up. */
const gatherMs = 250;
/** Looking them up takes at most one part in so many of the time: a room may have more members than can be asked of 4 times a second. */
const restFactor = 20;
/** Older ones are repetitions of a send, of which everybody was told at their time. */
const freshMs = 60_000;
/** Conversations gathered, and devices of a conversation waiting, at once. Beyond that, pushes are dropped. */
const mostConversations = 10_000;
const mostLanes = 20_000;
/** Pushes on their way at once. This thread has other things to do. */
const parallel = 16;
const attempts = 5;
const answerMs = 10_000;
/** For a test somebody waits, and a server that stops waits for them. */
const testAnswerMs = 5_000;
const longestRetryMs = 3_600_000;
/** Seconds for which a push service keeps what it cannot deliver. */
const ttl = 86_400;

/** One device and one conversation: what is told there is told in order, one push at a time. */
interface Lane {
  sessionId: string;
  userId: string;
  conversationId: string;
  /** Tell what is new from this seq on, not before this time of `performance.now()`. */
  news?: { from: number; at: number };
  /** Take the notification back. */
  withdraw?: { at: number };
  /** No further news before: the pause after a push. */
  notBefore: number;
  failures: number;
  timer?: NodeJS.Timeout;
  busy: boolean;
}

interface PushOptions {
  db: Database;
  now: () => number;
  config: Config;
  secrets: Pick<Secrets, 'vapid' | 'pairs'>;
  presence: Presence;
  onFault: (error: unknown) => void;
}

/**
 * Tells devices of what was committed, by way of their push services. Nobody waits for it, and all it holds is in memory:
 * what waits here when the process ends is not told. Whom to tell, and what, is asked of the database at the moment of
 * sending, never remembered from before.
 */
export class PushSender {
  readonly #options: PushOptions;
  readonly #gathering = new Map<string, { from: number; to: number; timer: NodeJS.Timeout }>();
  /** Conversations whose devices took long to look up, and until when they are left alone. */
  readonly #resting = new Map<string, number>();
  readonly #lanes = new Map<string, Lane>();
  readonly #ready: Lane[] = [];
  /** Connections of each session of each person, on this node. */
  readonly #connected = new Map<string, Map<string, number>>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();
  #sending = 0;
  #full = false;

  constructor(options: PushOptions) {
    this.#options = options;
  }

  /** With which devices are to subscribe now. */
  get publicKey(): string {
    return this.#options.secrets.vapid.publicKey;
  }

  /** May a device have subscribed with this one? */
  isKnown(publicKey: string): boolean {
    return this.#options.secrets.pairs.some((pair) => pair.publicKey === publicKey);
  }

  connected({ userId, sessionId }: Identity): void {
    let sessions = this.#connected.get(userId);
    if (!sessions) this.#connected.set(userId, (sessions = new Map()));
    sessions.set(sessionId, (sessions.get(sessionId) ?? 0) + 1);
  }

  disconnected({ userId, sessionId }: Identity): void {
    const sessions = this.#connected.get(userId);
    const left = (sessions?.get(sessionId) ?? 0) - 1;
    if (left > 0) sessions!.set(sessionId, left);
    else sessions?.delete(sessionId);
    if (sessions?.size === 0) this.#connected.delete(userId);
  }

  /** Is the person connected with another device than this one, to this node? */
  isElsewhere({ userId, sessionId }: Identity): boolean {
    return [...(this.#connected.get(userId)?.keys() ?? [])].some((other) => other !== sessionId);
  }

  /** After the commit of a message that a person sent. Returns at once. */
  messageSent({ conversationId, seq, at }: Message): void {
    if (this.#stop.signal.aborted || this.#options.now() - at > freshMs) return;
    const gathered = this.#gathering.get(conversationId);
    if (gathered) {
      gathered.from = Math.min(gathered.from, seq);
      gathered.to = Math.max(gathered.to, seq);
    } else if (this.#hasRoom(this.#gathering.size < mostConversations)) {
      const restMs = (this.#resting.get(conversationId) ?? 0) - performance.now();
      const timer = setTimeout(() => this.#run(this.#fanOut(conversationId)), Math.max(restMs, Math.min(gatherMs, this.#options.config.pushIntervalMs)));
      this.#gathering.set(conversationId, { from: seq, to: seq, timer });
    }
  }

  /** After a person has read, on one device: what the others show of it is taken back. Returns at once. */
  marked(reader: Identity, { conversationId, readSeq }: Inbox): void {
    if (!this.#stop.signal.aborted) this.#run(this.#takeBack(reader, conversationId, readSeq));
  }

  /** After somebody reported somebody: tells the devices of these operators, those of them who are not there. Returns at once. */
  reported(userIds: string[], open: number): void {
    if (!this.#stop.signal.aborted) this.#run(this.#tellReported(userIds, open));
  }

  /** Sends a push of type `test` now. @throws not_found without a subscription */
  async test({ sessionId }: Identity): Promise<PushAnswer> {
    const device = await this.#findDevice(sessionId);
    if (!device) throw new RequestError('not_found', { message: 'This device gets no pushes yet.' });
    return this.#post(device, { type: 'test' }, { topic: 'test', urgency: 'high', withinMs: testAnswerMs });
  }

  /** Drops what waits and ends what is on its way. */
  async close(): Promise<void> {
    this.#stop.abort();
    for (const { timer } of this.#gathering.values()) clearTimeout(timer);
    for (const { timer } of this.#lanes.values()) clearTimeout(timer);
    this.#gathering.clear();
    this.#lanes.clear();
    this.#ready.length = 0;
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #tellReported(userIds: string[], open: number): Promise<void> {
    const { db, config, now, presence } = this.#options;
    const elsewhere = await presence.elsewhere(userIds);
    const away = userIds.filter((userId) => !this.#connected.has(userId) && !elsewhere.has(userId));
    const devices = await db.read((q) => devicesOf(q, config, now(), away));
    for (const device of devices) await this.#post(device, { type: 'report', open }, { topic: 'report', urgency: 'normal' });
  }

  async #fanOut(conversationId: string): Promise<void> {
    const { db, now, config, presence } = this.#options;
    const { from, to } = this.#gathering.get(conversationId)!;
    this.#gathering.delete(conversationId);
    const began = performance.now();
    let next: string | undefined = '';
    while (next !== undefined) {
      const page = await devicesToTell(db, { conversationId, seq: to, now: now(), from: next });
      const elsewhere = await presence.elsewhere(page.devices.map(({ userId }) => userId));
      for (const { sessionId, userId } of page.devices) {
        const lane = this.#lane(sessionId, userId, conversationId);
        if (!lane) return;
        // Who is there reads it there; if they do not, they are told after all.
        const wait = this.#connected.has(userId) || elsewhere.has(userId) ? config.pushDelayMs : 0;
        lane.news = { from: Math.min(from, lane.news?.from ?? from), at: lane.news?.at ?? performance.now() + wait };
        this.#schedule(lane);
      }
      next = page.next;
    }
    this.#rest(conversationId, performance.now() - began);
  }

  #rest(conversationId: string, tookMs: number): void {
    const now = performance.now();
    for (const [id, until] of this.#resting) if (until <= now) this.#resting.delete(id);
    if (tookMs * restFactor > gatherMs) this.#resting.set(conversationId, now + tookMs * restFactor);
  }

  async #takeBack({ userId, sessionId }: Identity, conversationId: string, readSeq: number): Promise<void> {
    const { db } = this.#options;
    const told = await db.read((q) => toldDevices(q, userId, conversationId, readSeq));
    // The device it was read on has taken its own away.
    if (told.includes(sessionId)) await db.write([sessionId], (q) => forgetTold(q, [sessionId], conversationId, readSeq));
    for (const other of told) {
      const lane = other === sessionId ? undefined : this.#lane(other, userId, conversationId);
      if (!lane) continue;
      lane.withdraw = { at: performance.now() };
      this.#schedule(lane);
    }
  }

  #lane(sessionId: string, userId: string, conversationId: string): Lane | undefined {
    const key = keyOf(sessionId, conversationId);
    let lane = this.#lanes.get(key);
    if (lane || !this.#hasRoom(this.#lanes.size < mostLanes)) return lane;
    lane = { sessionId, userId, conversationId, notBefore: 0, failures: 0, busy: false };
    this.#lanes.set(key, lane);
    return lane;
  }

  /** Says once that pushes are being dropped, until there is room again. */
  #hasRoom(room: boolean): boolean {
    if (!room && !this.#full) this.#options.onFault(new Error('too many pushes are waiting; new ones are dropped'));
    this.#full = !room;
    return room;
  }

  #schedule(lane: Lane): void {
    clearTimeout(lane.timer);
    if (lane.busy || this.#stop.signal.aborted) return;
    const due = dueOf(lane);
    const now = performance.now();
    if (due === undefined && lane.notBefore <= now) {
      this.#lanes.delete(keyOf(lane.sessionId, lane.conversationId));
      return;
    }
    lane.timer = setTimeout(
      () => {
        if (due === undefined) return this.#schedule(lane);
        lane.busy = true;
        this.#ready.push(lane);
        this.#sendReady();
      },
      // Timers may be a moment early; nothing here may be.
      Math.ceil((due ?? lane.notBefore) - now) + 1,
    );
  }

  #sendReady(): void {
    while (this.#sending < parallel && this.#ready.length > 0) {
      const lane = this.#ready.shift()!;
      this.#sending += 1;
      const sent = this.#send(lane).finally(() => {
        this.#sending -= 1;
        lane.busy = false;
        this.#schedule(lane);
        this.#sendReady();
      });
      this.#run(sent);
    }
  }

  async #send(lane: Lane): Promise<void> {
    const now = performance.now();
    const { news, withdraw } = lane;
    if (news && Math.max(news.at, lane.notBefore) <= now) {
      // What comes while this is on its way is news of its own.
      delete lane.news;
      const retryMs = await this.#tell(lane, news.from);
      if (retryMs !== undefined) lane.news = { from: news.from, at: performance.now() + retryMs };
    } else if (withdraw && withdraw.at <= now) {
      delete lane.withdraw;
      const retryMs = await this.#withdraw(lane);
      if (retryMs !== undefined) lane.withdraw ??= { at: performance.now() + retryMs };
    }
  }

  /** @returns milliseconds after which to try again */
  async #tell(lane: Lane, from: number): Promise<number | undefined> {
    const { db, now, config } = this.#options;
    const { sessionId, conversationId } = lane;
    const found = await db.read(async (q) => {
      const device = await findDevice(q, config, now(), sessionId);
      const news = device && (await findNews(q, device, conversationId, from, now()));
      return news && { device, news };
    });
    if (!found) return undefined;
    const { device, news } = found;
    // Claimed first: should the outcome stay unknown, a push too few is better than one too many.
    const before = await db.write([sessionId], (q) => claim(q, device, conversationId, news.seq));
    if (before === undefined) return undefined;
    const answer = await this.#post(device, news.payload, { topic: topicOf(lane), urgency: news.urgency });
    lane.notBefore = performance.now() + config.pushIntervalMs;
    if (answer.refused) {
      await db.write([sessionId], (q) => giveBack(q, device, conversationId, news.seq, before));
      return this.#retryMs(lane, answer);
    }
    lane.failures = 0;
    return undefined;
  }

  async #withdraw(lane: Lane): Promise<number | undefined> {
    const { db, now, config } = this.#options;
    const { sessionId, conversationId } = lane;
    const found = await db.read(async (q) => {
      const device = await findDevice(q, config, now(), sessionId);
      const withdrawal = device && (await findWithdrawal(q, device, conversationId, now()));
      return withdrawal && { device, withdrawal };
    });
    if (!found) return undefined;
    const { payload, readSeq } = found.withdrawal;
    const answer = await this.#post(found.device, payload, { topic: topicOf(lane), urgency: 'normal' });
    const retryMs = answer.refused ? this.#retryMs(lane, answer) : undefined;
    if (retryMs === undefined) await db.write([sessionId], (q) => forgetTold(q, [sessionId], conversationId, readSeq));
    return retryMs;
  }

  /** Only what may be better another time is tried again. */
  #retryMs(lane: Lane, { status, retryAfterMs }: PushAnswer): number | undefined {
    const passing = status === null || status === 429 || status >= 500;
    lane.failures += 1;
    if (!passing || lane.failures >= attempts) {
      lane.failures = 0;
      return undefined;
    }
    return Math.min(longestRetryMs, retryAfterMs ?? 2_000 * 4 ** (lane.failures - 1) * (1 + Math.random()));
  }

  async #post(
    device: PushSubscriptionsTable,
    payload: PushPayload,
    { topic, urgency, withinMs = answerMs }: { topic: string; urgency: 'normal' | 'high'; withinMs?: number },
  ): Promise<PushAnswer> {
    const { db, now, config, secrets } = this.#options;
    const { endpoint } = device;
    // The one that it subscribed with: its push service takes no other.
    const vapid = secrets.pairs.find(({ publicKey }) => publicKey === device.vapid);
    let answer: PushAnswer = { status: null, refused: true, retryAfterMs: undefined };
    // The operator's list may be another than when it subscribed.
    if (vapid && isPushEndpoint(endpoint, config.pushHosts)) {
      const body = encryptPush(device, JSON.stringify(payload));
      const headers = {
        authorization: vapidAuthorization(vapid, endpoint, subjectOf(config), now()),
        'content-encoding': 'aes128gcm',
        'content-type': 'application/octet-stream',
        ttl: String(ttl),
        topic,
        urgency,
      };
      answer = await postPush(endpoint, { headers, body }, { signal: this.#stop.signal, withinMs });
    }
    await db.write([device.session_id], (q) => recordAnswer(q, device, answer, now()));
    return answer;
  }

  #findDevice(sessionId: string): Promise<PushSubscriptionsTable | undefined> {
    const { db, config, now } = this.#options;
    return db.read((q) => findDevice(q, config, now(), sessionId));
  }

  /** A push that fails disturbs nobody; that the code is wrong, the operator must hear. */
  #run(work: Promise<unknown>): void {
    const settled = work.then(
      () => {},
      (error: unknown) => {
        if (!(error instanceof RequestError) && !this.#stop.signal.aborted) this.#options.onFault(error);
      },
    );
    this.#running.add(settled);
    void settled.then(() => this.#running.delete(settled));
  }
}

const keyOf = (sessionId: string, conversationId: string): string => `${sessionId} ${conversationId}`;

function dueOf({ news, withdraw, notBefore }: Lane): number | undefined {
  const times = [...(news ? [Math.max(news.at, notBefore)] : []), ...(withdraw ? [withdraw.at] : [])];
  return times.length === 0 ? undefined : Math.min(...times);
}

/**
 * A later push takes the place of an earlier one that still waits at the push service. Different for each device, so
 * that the service cannot see who is in a conversation with whom.
 */
const topicOf = ({ sessionId, conversationId }: Lane): string => createHash('sha256').update(keyOf(sessionId, conversationId)).digest('base64url').slice(0, 32);

/** Whom push services may turn to. Apple's refuses a local one, so a server without a public address has a name that is nobody's. */
const subjectOf = ({ publicUrl }: Config): string => (publicUrl?.startsWith('https:') ? publicUrl : 'mailto:operator@kith.invalid');
