import { createHash, randomBytes, randomUUIDv7 } from 'node:crypto';
import { type MethodName, type Params, RequestError, type Result, type Signal, type StreamId, userStream } from '@kith/protocol';
import type { Config } from '../config.ts';
import type { Query } from '../db/db.ts';
import { type Caller, type Effect, type Identity, type SentLink, type Topic, encodeSignal } from './core.ts';
import { type Note, record } from './audit.ts';
import type { BlockNotes } from './block-notes.ts';
import type { Online } from './online.ts';
import type { Passwords } from './passwords.ts';
import type { Presence } from './presence.ts';
import type { PushSender } from './push-sender.ts';
import type { RoomsOnline } from './rooms-online.ts';
import type { SignInLimits } from './sign-in-limits.ts';
import { type Commit, type CommitOptions, type Log, commit } from './streams.ts';
import type { Tickets } from './tickets.ts';

/** What lives as long as the core. */
export interface Services extends Log {
  config: Config;
  online: Online;
  presence: Presence;
  roomsOnline: RoomsOnline;
  passwords: Passwords;
  signInLimits: SignInLimits;
  tickets: Tickets;
  push: PushSender;
  /** Tells the audit log of limits that somebody ran into. */
  blocks: BlockNotes;
  /** Tells whoever makes previews. */
  linkSent: (link: SentLink) => void;
}

/** What a handler gets: the process's services, and who asks. */
export class Context {
  readonly services: Services;
  readonly caller: Caller;
  /** What the connection that asked has to do. */
  readonly effects: Effect[] = [];

  constructor(services: Services, caller: Caller) {
    this.services = services;
    this.caller = caller;
  }

  /** @throws unauthenticated */
  get identity(): Identity {
    if (!this.caller.identity) throw new RequestError('unauthenticated');
    return this.caller.identity;
  }

  /** The person signed in. @throws unauthenticated */
  get userId(): string {
    return this.identity.userId;
  }

  get config(): Config {
    return this.services.config;
  }

  now(): number {
    return this.services.now();
  }

  read<T>(work: (q: Query) => Promise<T>): Promise<T> {
    return this.services.db.read(work);
  }

  commit<T>(streams: StreamId[] | ((q: Query) => Promise<StreamId[]>), work: (c: Commit) => Promise<T>, options?: CommitOptions<T>): Promise<T> {
    return commit(this.services, streams, work, options);
  }

  /** Writes into the audit log what the person who asks is doing, in this transaction: last of all in it. */
  audit(c: Pick<Commit, 'q' | 'now'>, event: Note['event'], about: Pick<Note, 'subject' | 'detail'> & { actor?: string } = {}): Promise<void> {
    return record(c.q, c.now, { event, actor: this.caller.identity?.userId, ip: this.caller.ip, ...about });
  }

  /** Tells those who follow the topic now, but for the one who asks and these, on whatever device. May be lost. */
  signalOthers(topic: Topic, signal: Signal, except: string[] = []): void {
    this.services.publish([{ kind: 'signal', topic, frame: encodeSignal(signal), notTo: [this.userId, ...except].map(userStream) }]);
  }
}

export type Handler<M extends MethodName> = (context: Context, params: Params<M>) => Promise<Result<M>>;
export type Handlers<M extends MethodName = MethodName> = { [K in M]: Handler<K> };

export const newId = (): string => randomUUIDv7();
/** 256 bits; the prefix lets secret scanners recognise it. */
export const newToken = (): string => `kith_${randomBytes(32).toString('base64url')}`;
export const newCode = (): string => randomBytes(16).toString('base64url');
export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
