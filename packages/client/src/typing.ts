import { type SignalOf, limits, typingEveryMs, typingShownMs } from '@kith/protocol';
import type { Clock } from './clock.ts';
import { Listeners } from './listeners.ts';
import type { Replica } from './replica.ts';
import type { Call } from './sync.ts';

/** Who is typing where; what this device says of its own typing. */
export class Typing {
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #saidAt = new Map<string, number>();
  readonly #shown = new Map<string, Map<string, unknown>>();
  readonly #listeners = new Listeners<[conversationId: string]>();
  call: Call | undefined;

  constructor(replica: Replica, clock: Clock) {
    this.#replica = replica;
    this.#clock = clock;
  }

  /** Call it on every key; it speaks at most every 3 s, and only where somebody listens. */
  set(conversationId: string): void {
    const conversation = this.#replica.store.get('conversation', conversationId);
    const now = this.#clock.now();
    const said = this.#saidAt.get(conversationId);
    if (!this.call || (conversation?.memberCount ?? 0) > limits.attentionMembers) return;
    if (said !== undefined && now >= said && now - said < typingEveryMs) return;
    this.#saidAt.set(conversationId, now);
    // Fleeting: nobody waits for it, nobody minds a refusal.
    this.call('typing.set', { conversationId }).catch(() => {});
  }

  /** A message went out: the next one's typing is news again. */
  sent(conversationId: string): void {
    this.#saidAt.delete(conversationId);
  }

  of(conversationId: string): string[] {
    return [...(this.#shown.get(conversationId)?.keys() ?? [])];
  }

  onChange(fn: (conversationId: string) => void): () => void {
    return this.#listeners.add(fn);
  }

  onSignal({ conversationId, userId }: SignalOf<'typing'>): void {
    if (userId === this.#replica.userId) return;
    let users = this.#shown.get(conversationId);
    if (!users) this.#shown.set(conversationId, (users = new Map()));
    const before = users.get(userId);
    if (before !== undefined) this.#clock.clearTimeout(before);
    users.set(
      userId,
      this.#clock.setTimeout(() => this.end(conversationId, userId), typingShownMs),
    );
    if (before === undefined) this.#listeners.emit(conversationId);
  }

  /** Their message arrived, or they fell silent. */
  end(conversationId: string, userId: string): void {
    const users = this.#shown.get(conversationId);
    const timer = users?.get(userId);
    if (!users || timer === undefined) return;
    this.#clock.clearTimeout(timer);
    users.delete(userId);
    if (users.size === 0) this.#shown.delete(conversationId);
    this.#listeners.emit(conversationId);
  }

  clear(): void {
    for (const [id, users] of [...this.#shown]) for (const userId of [...users.keys()]) this.end(id, userId);
  }
}
