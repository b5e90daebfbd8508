import type { Conversation, Friend, Inbox, Member, Message } from '@kith/protocol';
import type { Drafts } from './drafts.ts';
import type { Outbox, Pending } from './outbox.ts';
import type { Reads } from './reads.ts';
import type { Replica } from './replica.ts';

/** One line of the conversation list. */
export interface ConversationView {
  id: string;
  conversation: Conversation;
  inbox: Inbox;
  /** What to call it: the group's title, or the other person by the name you gave them. Empty: they are gone, or it has none. */
  title: string;
  /** Direct conversations: the other one; yourself in your notes. */
  peer?: Friend | Member;
  lastMessage?: Message;
  /** The latest message of yours that is not stored yet. */
  pending?: Pending;
  /** Messages of others that were not read; 1 where there is none and the person marked it as unread. */
  unread: number;
  /** Nothing in it is unread, but the person marked it so. */
  marked: boolean;
  /** Read up to here, on this device at least. */
  readSeq: number;
  lastSeq: number;
  draft: string;
  /** Of the last thing that happened, by the server's clock. */
  at: number;
}

/** The conversation list, derived from everything else. A line is made anew only when something in it changed. */
export class Views {
  readonly #replica: Replica;
  readonly #outbox: Outbox;
  readonly #drafts: Drafts;
  readonly #reads: Reads;
  readonly #serverTime: (at: number) => number;
  readonly #views = new Map<string, ConversationView>();
  #sorted: ConversationView[] | undefined;

  /** @param options.serverTime  Turns a time of this device's clock into the server's. */
  constructor(options: { replica: Replica; outbox: Outbox; drafts: Drafts; reads: Reads; serverTime(at: number): number }) {
    this.#replica = options.replica;
    this.#outbox = options.outbox;
    this.#drafts = options.drafts;
    this.#reads = options.reads;
    this.#serverTime = options.serverTime;
    this.#replica.store.onTouch((kind, conversationId) => {
      this.#sorted = undefined;
      if (conversationId !== undefined) this.#views.delete(conversationId);
      // A friend's name stands in a conversation; which one is not worth an index.
      else if (kind === 'friend' || kind === 'user') this.#views.clear();
    });
  }

  conversations(): ConversationView[] {
    this.#sorted ??= this.#replica.store
      .list('inbox')
      .flatMap((inbox) => (inbox.joined ? (this.#view(inbox) ?? []) : []))
      .sort((a, b) => b.inbox.pinnedAt - a.inbox.pinnedAt || b.at - a.at || (a.id < b.id ? -1 : 1));
    return this.#sorted;
  }

  conversation(conversationId: string): ConversationView | undefined {
    const inbox = this.#replica.store.get('inbox', conversationId);
    return inbox?.joined ? this.#view(inbox) : undefined;
  }

  #view(inbox: Inbox): ConversationView | undefined {
    const id = inbox.conversationId;
    const known = this.#views.get(id);
    if (known) return known;
    const { store } = this.#replica;
    const conversation = store.get('conversation', id);
    if (!conversation) return undefined;
    const held = this.#replica.conversation(id);
    const lastMessage = this.#lastShown(id);
    const pending = this.#outbox.pending(id).at(-1);
    const peer = conversation.type === 'direct' ? this.#peer(id) : undefined;
    const unread = this.#reads.unread(id);
    const marked = unread === 0 && this.#reads.isMarked(id);
    const view: ConversationView = {
      id,
      conversation,
      inbox,
      title: conversation.title ?? nameOf(peer),
      unread: marked ? 1 : unread,
      marked,
      readSeq: this.#reads.readSeq(id),
      lastSeq: held?.hi ?? 0,
      // The last one was sent, but another device had written something else.
      draft: this.#drafts.get(id) || (this.#drafts.other(id) ?? ''),
      at: Math.max(lastMessage?.at ?? conversation.createdAt, pending?.state === 'waiting' ? this.#serverTime(pending.addedAt) : 0),
    };
    if (peer) view.peer = peer;
    if (lastMessage) view.lastMessage = lastMessage;
    if (pending) view.pending = pending;
    this.#views.set(id, view);
    return view;
  }

  /** The newest message that this person has not hidden. */
  #lastShown(conversationId: string): Message | undefined {
    const { store } = this.#replica;
    for (let seq = this.#replica.conversation(conversationId)?.hi ?? 0; seq > 0; seq--) {
      const message = store.message(conversationId, seq);
      if (!message || !store.get('hidden', message.id)) return message;
    }
    return undefined;
  }

  #peer(conversationId: string): Friend | Member | undefined {
    const members = this.#replica.store.members(conversationId);
    const other = members.find((member) => member.userId !== this.#replica.userId) ?? members[0];
    return other && (this.#replica.store.get('friend', other.userId) ?? other);
  }
}

const nameOf = (peer: Friend | Member | undefined): string => (peer?.kind === 'friend' && peer.remark) || peer?.name || '';
