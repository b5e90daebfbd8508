import { type Clock, systemClock } from './clock.ts';
import { type Hints, browserHints } from './hints.ts';
import { Listeners } from './listeners.ts';
import type { Peers } from './peers.ts';
import type { WebSocketConstructor } from './socket.ts';
import { Switchboard } from './switchboard.ts';
import { TabSocket, type Way } from './tab-socket.ts';

export interface TabsOptions {
  /** One per person, server and browser profile. */
  name: string;
  /** Default: the global one. */
  WebSocket?: WebSocketConstructor;
  /** Default: the browser's events, where there are any. */
  hints?: Hints;
  clock?: Clock;
}

/** What is said on the channel. A line is one connection of one tab: `<tab>/<number>`. */
type Said =
  | { is: 'lead'; term: string }
  // To whoever leads.
  | { is: 'open'; line: string; url: string }
  | { is: 'send'; line: string; term: string; text: string }
  | { is: 'close'; line: string; code: number }
  // From whoever leads.
  | { is: 'heard' | 'opened'; line: string; term: string }
  | { is: 'frame'; line: string; term: string; text: string; live: boolean }
  | { is: 'frame-for-all'; term: string; text: string }
  | { is: 'closed'; line: string; term: string; code: number; reason: string }
  // Between peers.
  | { is: 'word'; topic: string; word: unknown };

/** Milliseconds in which whoever leads has to answer; a page that the browser has frozen does not, and is deposed. */
const deafMs = 3_000;

/** Are there locks and channels? Pages over plain HTTP from another machine have no locks: each tab then has a socket of its own. */
export const canShareTabs = (): boolean => typeof BroadcastChannel === 'function' && typeof navigator === 'object' && 'locks' in navigator;

/**
 * The tabs of one person in one browser as one device: one of them leads, has the only socket and speaks for all. Locks
 * say who, because the browser lets go of them whatever becomes of a page; all else goes over a channel.
 */
export class Tabs implements Peers {
  /** For the client's options: a connection over the socket that all tabs share. */
  readonly WebSocket: WebSocketConstructor;
  /** For the client's options: also tells of a new leader, to whom one can connect at once. */
  readonly hints: Hints;
  readonly #name: string;
  readonly #id = randomName();
  readonly #clock: Clock;
  readonly #channel: BroadcastChannel;
  readonly #switchboard: Switchboard;
  readonly #lines = new Map<string, TabSocket>();
  readonly #onLead = new Listeners<[]>();
  readonly #onLeader = new Listeners<[]>();
  readonly #topics = new Map<string, Listeners<[never]>>();
  /** Of tabs that have lines: set while we lead and wait for their end. */
  readonly #watched = new Set<string>();
  /** Held for as long as this tab lives: others see its end by it. */
  readonly #alive: Promise<void>;
  #die: () => void = () => {};
  #resign: (() => void) | undefined;
  #candidacy: AbortController | undefined;
  #term = '';
  #terms = 0;
  #lastLine = 0;
  #closed = false;

  constructor({ name, WebSocket = globalThis.WebSocket, hints = browserHints(), clock = systemClock }: TabsOptions) {
    this.#name = `kith/${name}`;
    this.#clock = clock;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = (event: { data: unknown }) => this.#onSaid(event.data as Said);
    this.#switchboard = new Switchboard({
      WebSocket,
      clock,
      events: {
        onOpened: (line) => this.#say({ is: 'opened', line, term: this.#term }),
        onFrame: (line, text, live) => this.#say({ is: 'frame', line, term: this.#term, text, live }),
        onFrameForAll: (text) => this.#say({ is: 'frame-for-all', term: this.#term, text }),
        onClosed: (line, code, reason) => this.#say({ is: 'closed', line, term: this.#term, code, reason }),
      },
    });
    const way: Way = {
      open: (socket) => this.#open(socket),
      send: (line, term, text) => this.#say({ is: 'send', line, term, text }),
      close: (line, code) => this.#hangUp(line, code),
    };
    this.WebSocket = class extends TabSocket {
      constructor(url: string) {
        super(url, way);
      }
    };
    this.hints = {
      subscribe: (fn) => {
        const ends = [hints.subscribe(fn), this.#onLeader.add(() => fn('online'))];
        return () => ends.forEach((end) => end());
      },
    };
    this.#alive = new Promise((granted) => {
      const held = new Promise<void>((end) => (this.#die = end));
      void navigator.locks.request(this.#tabLock(this.#id), () => {
        granted();
        return held;
      });
    });
    this.#stand(false);
  }

  get leads(): boolean {
    return this.#resign !== undefined;
  }

  onLead(fn: () => void): () => void {
    return this.#onLead.add(fn);
  }

  tell(topic: string, word: unknown): void {
    if (!this.#closed) this.#channel.postMessage({ is: 'word', topic, word } satisfies Said);
  }

  onTold(topic: string, fn: (word: never) => void): () => void {
    let listeners = this.#topics.get(topic);
    if (!listeners) this.#topics.set(topic, (listeners = new Listeners()));
    return listeners.add(fn);
  }

  /** Goes away. If this one led, another does within the same moment. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#candidacy?.abort();
    this.#demote();
    this.#die();
    this.#channel.close();
  }

  // ── Who leads ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Waits for the lead, or takes it from one that does not answer. */
  #stand(steal: boolean): void {
    if (this.#closed) return;
    this.#candidacy?.abort();
    const candidacy = (this.#candidacy = new AbortController());
    const lead = (): Promise<void> => {
      if (this.#closed) return Promise.resolve();
      return new Promise((resolve) => this.#lead(resolve));
    };
    // The two cannot be asked for at once: a lock is stolen now or waited for.
    const options: LockOptions = steal ? { steal: true } : { signal: candidacy.signal };
    navigator.locks.request(`${this.#name}/lead`, options, lead).catch(() => {
      // Given up for another try of ours, or deposed: this page was frozen, and another one needed a leader.
      if (this.#candidacy !== candidacy) return;
      this.#demote();
      this.#stand(false);
    });
  }

  #lead(resign: () => void): void {
    this.#resign = resign;
    this.#term = `${this.#id}.${++this.#terms}`;
    this.#say({ is: 'lead', term: this.#term });
    this.#onLead.emit();
  }

  #demote(): void {
    if (!this.#resign) return;
    this.#resign();
    this.#resign = undefined;
    this.#switchboard.end();
    this.#watched.clear();
    for (const line of this.#lines.values()) line.lose();
    this.#lines.clear();
  }

  // ── The channel ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** To all tabs, and to ourselves, who are not told by the channel. */
  #say(said: Said): void {
    if (this.#closed) return;
    if ('line' in said && this.#isOurs(said.line) && (said.is === 'heard' || said.is === 'opened' || said.is === 'frame' || said.is === 'closed')) return this.#onSaid(said);
    if (this.leads && (said.is === 'open' || said.is === 'send' || said.is === 'close')) return this.#onSaid(said);
    this.#channel.postMessage(said);
    if (said.is === 'lead' || said.is === 'frame-for-all') this.#onSaid(said);
  }

  #onSaid(said: Said): void {
    if (this.#closed) return;
    switch (said.is) {
      case 'word':
        return this.#topics.get(said.topic)?.emit(said.word as never);
      case 'lead':
        return this.#onNewLeader(said.term);
      case 'open':
        return this.#onOpen(said.line, said.url);
      case 'send':
        if (said.term === this.#term && this.leads) this.#switchboard.send(said.line, said.text);
        return;
      case 'close':
        if (this.leads) this.#switchboard.close(said.line, said.code);
        return;
      case 'heard':
        return this.#lines.get(said.line)?.heard(said.term);
      case 'opened':
        return this.#lines.get(said.line)?.opened(said.term);
      case 'frame':
        return this.#lines.get(said.line)?.frame(said.term, said.text, said.live);
      case 'frame-for-all':
        for (const line of [...this.#lines.values()]) if (line.live) line.frame(said.term, said.text, false);
        return;
      case 'closed': {
        const line = this.#lines.get(said.line);
        if (!line || line.term !== said.term) return;
        this.#lines.delete(said.line);
        line.closed(said.code, said.reason);
      }
    }
  }

  /** Lines to the one before are dead, and those that nobody has answered are asked for again. */
  #onNewLeader(term: string): void {
    for (const [id, line] of [...this.#lines]) {
      if (line.term === term) continue;
      if (line.term === '') this.#ask(id, line);
      else {
        this.#lines.delete(id);
        line.lose();
      }
    }
    // After those lines have told their clients, who then connect again at once.
    queueMicrotask(() => this.#onLeader.emit());
  }

  // ── Lines of this tab ──────────────────────────────────────────────────────────────────────────────────────────────

  #open(socket: TabSocket): string {
    const id = `${this.#id}/${++this.#lastLine}`;
    this.#lines.set(id, socket);
    // Not before others can see our end.
    void this.#alive.then(() => this.#ask(id, socket));
    return id;
  }

  #ask(id: string, line: TabSocket): void {
    if (this.#lines.get(id) !== line || line.term !== '') return;
    line.awaitAnswer(this.#clock, deafMs, () => this.#stand(true));
    this.#say({ is: 'open', line: id, url: line.url });
  }

  #hangUp(id: string, code: number): void {
    if (!this.#lines.delete(id)) return;
    this.#say({ is: 'close', line: id, code });
  }

  #isOurs(line: string): boolean {
    return line.startsWith(`${this.#id}/`);
  }

  // ── Lines of all tabs, while we lead ───────────────────────────────────────────────────────────────────────────────

  #onOpen(line: string, url: string): void {
    if (!this.leads) return;
    this.#say({ is: 'heard', line, term: this.#term });
    this.#watch(line.slice(0, line.indexOf('/')));
    this.#switchboard.open(line, url);
  }

  /** A tab that is closed, crashed or discarded says nothing; its lock is free then. */
  #watch(tab: string): void {
    if (tab === this.#id || this.#watched.has(tab)) return;
    this.#watched.add(tab);
    const term = this.#term;
    void navigator.locks.request(this.#tabLock(tab), () => {
      if (this.#closed || !this.leads || this.#term !== term) return;
      this.#watched.delete(tab);
      this.#switchboard.closeAllOf((line) => line.startsWith(`${tab}/`));
    });
  }

  #tabLock(tab: string): string {
    return `${this.#name}/tab/${tab}`;
  }
}

const randomName = (): string => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');
