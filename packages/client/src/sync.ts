import { type Inbox, type MethodName, type Params, type Push, RequestError, type Result, type StreamId, conversationStream, parseStream, userStream } from '@kith/protocol';
import { type Clock, fullJitter, wait } from './clock.ts';
import type { Replica } from './replica.ts';

export type Call = <M extends MethodName>(method: M, params: Params<M>) => Promise<Result<M>>;

/** One stream on its way to the server's state. There is at most one of these per stream. */
interface Task {
  snapshot: boolean;
  /** The server is known to have at least this version. */
  target: number;
  /** Pushes since the snapshot was asked for. */
  later: Push[];
  done: Promise<void>;
}

/** Requests for changes and snapshots under way at once. */
const atOnce = 6;

/**
 * Keeps the replica equal to the server over one connection: at its beginning, at every gap, at every heads frame.
 * Make a new one per connection, and `close()` it with it.
 */
export class Sync {
  readonly #replica: Replica;
  readonly #call: Call;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #onGone: (conversationId: string) => void;
  readonly #tasks = new Map<StreamId, Task>();
  /** Heads when the connection opened: pushes may have moved ours by the time the server's arrive. */
  readonly #atOpen: Map<StreamId, number>;
  readonly #queue: (() => void)[] = [];
  #running = 0;
  #closed = false;
  #live = false;

  constructor(options: { replica: Replica; call: Call; clock: Clock; random: () => number; onGone(conversationId: string): void }) {
    this.#replica = options.replica;
    this.#call = options.call;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#onGone = options.onGone;
    this.#atOpen = new Map(this.#replica.streams.map((stream) => [stream, this.#replica.held(stream)!.head]));
  }

  /**
   * Catches up with what `hello` says: the person's own stream first, for it says what else there is, then conversations,
   * the latest first. Resolves when all is equal; rejects when the connection ends before.
   */
  async start(hello: Result<'hello'>): Promise<void> {
    const mine = userStream(hello.user.id);
    this.#replica.era = hello.era;
    await this.#catchUp(mine, hello.heads[mine]);
    this.#live = true;
    await Promise.all(this.#joined().map(({ conversationId: id }) => this.#catchUp(conversationStream(id), hello.heads[conversationStream(id)])));
  }

  close(): void {
    this.#closed = true;
  }

  /** Is something of this stream under way, that may be older than what was pushed meanwhile? */
  isBusy(stream: StreamId): boolean {
    return this.#tasks.has(stream);
  }

  onPush(push: Push): void {
    const task = this.#tasks.get(push.stream);
    if (task?.snapshot) task.later.push(push);
    const got = this.#replica.receive(push);
    // Not held and not followed: late news of a conversation that we are out of, or early news of one that we are not in yet.
    if (!task && (got === 'gap' || (got === 'absent' && this.#follows(push.stream)))) void this.#bring(push.stream, { target: push.version });
  }

  onHeads(heads: Record<string, number>): void {
    for (const [stream, head] of Object.entries(heads) as [StreamId, number][]) {
      const held = this.#replica.held(stream);
      // Lower than ours only means that it was read before the push that we have.
      if (held ? head > held.head : this.#follows(stream)) void this.#bring(stream, { target: head });
    }
  }

  /** An inbox says that we are in this conversation. */
  onJoined(conversationId: string): void {
    const stream = conversationStream(conversationId);
    if (this.#live && !this.#replica.held(stream)) void this.#bring(stream, { target: 0 });
  }

  #joined(): Inbox[] {
    const lastActivity = ({ conversationId }: Inbox): number => {
      const held = this.#replica.conversation(conversationId);
      return held ? (this.#replica.store.message(conversationId, held.hi)?.at ?? 1) : 0;
    };
    return this.#replica.store
      .list('inbox')
      .filter((inbox) => inbox.joined)
      .sort((a, b) => lastActivity(b) - lastActivity(a) || b.version - a.version);
  }

  /** Conversations that are held and that the own stream knows nothing of, or no longer. */
  #forgetLeft(): void {
    for (const stream of this.#replica.streams) {
      const { kind, id } = parseStream(stream)!;
      if (kind === 'conversation' && !this.#replica.store.get('inbox', id)?.joined) this.#onGone(id);
    }
  }

  #follows(stream: StreamId): boolean {
    const { kind, id } = parseStream(stream)!;
    return kind === 'conversation' && this.#live && this.#replica.store.get('inbox', id)?.joined === true;
  }

  async #catchUp(stream: StreamId, serverHead: number | undefined): Promise<void> {
    const held = this.#replica.held(stream);
    // The server has less than we had: it was restored from a backup, and what came after that never was.
    const restored = serverHead !== undefined && (this.#atOpen.get(stream) ?? 0) > serverHead;
    const doubtful = this.#replica.doubtfulEra(stream) !== undefined;
    if (held && !restored && !doubtful && serverHead !== undefined && held.head >= serverHead && held.above.size === 0) return this.#replica.vouch(stream);
    // What came ahead of the head cannot be asked about.
    const torn = doubtful && this.#replica.newest(stream) > held!.head;
    await this.#bring(stream, { target: serverHead ?? 0, snapshot: restored || torn });
  }

  /** Gets a stream to at least `target`. Rejects only when the connection ends; nobody has to wait for it. */
  #bring(stream: StreamId, need: { target: number; snapshot?: boolean }): Promise<void> {
    let task = this.#tasks.get(stream);
    if (task) {
      task.target = Math.max(task.target, need.target);
      task.snapshot ||= need.snapshot ?? false;
      return task.done;
    }
    task = { snapshot: need.snapshot ?? false, target: need.target, later: [], done: Promise.resolve() };
    this.#tasks.set(stream, task);
    task.done = this.#run(stream, task);
    // The end of the connection is everybody's business, not this stream's.
    task.done.catch(() => {});
    return task.done;
  }

  async #run(stream: StreamId, task: Task): Promise<void> {
    try {
      // Without progress twice: the target was a rumour. The next heads frame will tell.
      for (let stalls = 0; stalls < 2;) {
        const held = this.#replica.held(stream);
        if (task.snapshot || !held) {
          task.snapshot = true;
          const { version, entities } = await this.#patiently('stream.snapshot', { stream }, () => void (task.later = []));
          this.#replica.replace(stream, version, entities, task.later);
          task.snapshot = false;
          if (stream.startsWith('user:')) this.#forgetLeft();
        } else {
          const since = held.head;
          const era = this.#replica.doubtfulEra(stream);
          const reply = await this.#patiently('stream.changes', { stream, since, ...(era !== undefined && { era }) });
          if (task.snapshot) continue;
          if ('tooOld' in reply) task.snapshot = true;
          else this.#replica.advance(stream, reply.version, reply.entities);
          if (!('tooOld' in reply) && reply.more && held.head > since) continue;
          if (held.head === since) stalls += 1;
        }
        const now = this.#replica.held(stream);
        if (!now || (!task.snapshot && now.head >= task.target && now.above.size === 0)) return;
      }
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const { kind, id } = parseStream(stream)!;
      // Removed while we asked; the word on that is on its way in our own stream.
      if (kind === 'conversation' && (error.code === 'not_a_member' || error.code === 'not_found')) this.#onGone(id);
      else console.warn(`kith: cannot sync ${stream}`, error);
    } finally {
      // At once, not a promise later: what comes next must find no task, or one that still listens.
      this.#tasks.delete(stream);
    }
  }

  /** Asks, a few at a time, until there is an answer or a reason that will not go away. */
  async #patiently<M extends MethodName>(method: M, params: Params<M>, beforeEach: () => void = () => {}): Promise<Result<M>> {
    await this.#turn();
    try {
      for (let attempt = 0; ; attempt++) {
        this.#requireOpen();
        beforeEach();
        try {
          return await this.#call(method, params);
        } catch (error) {
          const refused = error instanceof RequestError ? error : undefined;
          if (refused && !refused.retryable) throw error;
          // No answer in time; whether the connection lives is for the heartbeat to find out.
          this.#requireOpen();
          await wait(this.#clock, (refused?.extra.retryAfterMs ?? 1_000) + fullJitter(attempt, this.#random));
        }
      }
    } finally {
      this.#running -= 1;
      this.#queue.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= atOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#running += 1;
  }

  #requireOpen(): void {
    if (this.#closed) throw new Error('The connection ended.');
  }
}
