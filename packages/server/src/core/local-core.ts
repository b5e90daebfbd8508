import { randomUUID } from 'node:crypto';
import { type ErrorBody, type MethodName, RequestError, type StreamId, decodeParams, decodeRequest, isMethod, methods } from '@kith/protocol';
import { type Config, shownSettings } from '../config.ts';
import { CommitUnknown, type Database, DatabaseError } from '../db/db.ts';
import { authenticate, setupCode, topics } from '../features/auth.ts';
import { handlers } from '../features/index.ts';
import { watchable } from '../features/presence.ts';
import { requireOperator } from './access.ts';
import { type Note, record, recordStart } from './audit.ts';
import { findAvatar } from './avatars.ts';
import { BlockNotes } from './block-notes.ts';
import { Context, type Handler, type Services } from './context.ts';
import type {
  Answer,
  Caller,
  Core,
  Era,
  ExportJob,
  ExportPart,
  FileToServe,
  Identity,
  LinkPage,
  Loss,
  PrimaryNews,
  Publication,
  Seen,
  SentLink,
  Standing,
  StoredBytes,
  Topic,
  Upload,
} from './core.ts';
import { exportDone, exportPart, nextExport } from './exports.ts';
import { DiskReserve } from './disk-reserve.ts';
import { readEra } from './eras.ts';
import { dropUpload, fileStored, findFile, findUpload, forgetFiles, forgetOriginals, originals, unusedFiles } from './files.ts';
import { readSiteName } from './site-name.ts';
import { linkFound, linkWanted, reserveLinkPicture } from './links.ts';
import { writeLoss } from './losses.ts';
import { Online } from './online.ts';
import { Passwords } from './passwords.ts';
import { makePlaces } from './places.ts';
import { tellPresence } from './presence-topics.ts';
import { type Change, Presence } from './presence.ts';
import { dropDevicesOfOtherKeys } from './push-devices.ts';
import { requireConfirmed, requireOperatorFactor } from './proof.ts';
import { PushSender } from './push-sender.ts';
import { RoomsOnline } from './rooms-online.ts';
import { type Secrets, openSecrets } from './secrets.ts';
import { SessionAges } from './session-ages.ts';
import { sweepTokens } from './session-tokens.ts';
import { SignInLimits } from './sign-in-limits.ts';
import { readHeads } from './streams.ts';
import { Tickets } from './tickets.ts';
import { Tidiness } from './tidiness.ts';

/** Milliseconds until a server to which nobody writes finds that its data was moved away. */
const lookMs = 1_000;

/** Milliseconds for which a connection that was told to go is remembered: what it had sent by then is here long before. */
const inDoubtMs = 60_000;

/** A bug of ours, on its way to the operator's log; the peer gets only the id. */
export interface Fault {
  id: string;
  method: string;
  error: unknown;
}

export interface CoreOptions {
  config: Config;
  db: Database;
  /** Milliseconds since 1970. */
  now: () => number;
  onFault: (fault: Fault) => void;
  /** What this node is called among others. */
  node?: string;
}

/** The core in this thread, on an open database, which is closed if that cannot be. @throws DatabaseError */
export async function startCore(options: CoreOptions): Promise<Core> {
  try {
    return await begin(options);
  } catch (error) {
    await options.db.close();
    throw error;
  }
}

async function begin(options: CoreOptions): Promise<Core> {
  const { config, db, now } = options;
  const secrets = await openSecrets(config, { db, now });
  await dropDevicesOfOtherKeys(
    db,
    secrets.pairs.map(({ publicKey }) => publicKey),
  );
  const core = new LocalCore(options, secrets);
  await makePlaces({ db, now, publish: () => {} });
  await core.begin();
  await core.lookAtDisk();
  return core;
}

class LocalCore implements Core {
  readonly inOrder: boolean;
  readonly #services: Services;
  readonly #onFault: (fault: Fault) => void;
  #inFlight = 0;
  /** Comes to pass when nothing is in flight any more. */
  #idle: PromiseWithResolvers<void> | undefined;
  readonly #secrets: Secrets;
  /** Pairs with which devices may have subscribed; those of others are gone. */
  #pairs: string[];
  readonly #ages: SessionAges;
  readonly #disk: DiskReserve;
  readonly #tidiness: Tidiness;
  readonly #looking: NodeJS.Timeout | undefined;
  /** Connections that are told to go, because of something that they sent nobody knows whether it is done. */
  readonly #inDoubt = new Set<number>();
  /** Why the secrets could not be read again. */
  #unread: string | undefined;
  #publish: (publications: Publication[]) => void = () => {};
  #link: (link: SentLink) => void = () => {};
  #fatal: (error: Error) => void = () => {};

  constructor({ config, db, now, onFault, node = randomUUID() }: CoreOptions, secrets: Secrets) {
    // One connection reads, in the order in which it is asked.
    this.inOrder = config.database === 'sqlite';
    const online = new Online(config.offlineGraceMs);
    const log = { db, now, publish: (publications: Publication[]) => this.#publish(publications) };
    const presence = new Presence({
      db,
      online,
      node,
      alone: config.database === 'sqlite',
      onChange: (changes) => this.#track(this.#presenceChanged(changes)),
      onFault: (error) => this.#presenceFailed(error),
    });
    const roomsOnline = new RoomsOnline({ ...log, presence });
    const passwords = new Passwords({ memory: config.passwordMemory, passes: config.passwordPasses });
    const signInLimits = new SignInLimits({ db, now, on: config.rateLimits, registrationsPerHour: config.registrationsPerHour });
    const tickets = new Tickets(secrets, { db, now });
    const push = new PushSender({ db, now, presence, config, secrets, onFault: (error) => this.#report('push', error) });
    const blocks = new BlockNotes(log);
    this.#services = { ...log, config, online, presence, roomsOnline, passwords, signInLimits, tickets, push, blocks, linkSent: (link) => this.#link(link) };
    this.#secrets = secrets;
    this.#pairs = secrets.pairs.map(({ publicKey }) => publicKey);
    this.#ages = new SessionAges(log, config);
    // What a database server has left is its own to say.
    this.#disk = new DiskReserve(config.data, config.database === 'sqlite' ? config.diskReserve : 0);
    this.#tidiness = new Tidiness(this.#services);
    this.#onFault = onFault;
    if (config.database === 'sqlite') this.#looking = setInterval(() => void this.#look(), lookMs).unref();
  }

  lookAtDisk(): Promise<void> {
    return this.#disk.look();
  }

  begin(): Promise<void> {
    return this.#services.presence.begin();
  }

  beat(): Promise<string[]> {
    return this.#track(this.#services.presence.beat());
  }

  async #presenceChanged(changes: Change[]): Promise<void> {
    const { db, now, roomsOnline } = this.#services;
    const at = now();
    await tellPresence(this.#services, changes, at);
    await roomsOnline.changed(changes);
    const gone = changes.flatMap(({ userId, online }) => (online ? [] : [userId]));
    if (gone.length > 0) await db.write([], (q) => q.updateTable('users').set({ last_seen_at: at }).where('id', 'in', gone).execute());
  }

  /** A database that is away is no fault, and what could not be written is written later. */
  #presenceFailed(error: unknown): void {
    if (error instanceof CommitUnknown && error.fatal) this.#fatal(error);
    else if (!(error instanceof RequestError || error instanceof CommitUnknown)) this.#report('presence', error);
  }

  handle(caller: Caller, frame: string): Promise<Answer> {
    return this.#track(this.#handle(caller, frame));
  }

  /** What it has asked before may be under way. */
  gone(): void {}

  async #handle(caller: Caller, frame: string): Promise<Answer> {
    let id = '';
    let method = '';
    const context = new Context(this.#services, caller);
    try {
      const request = decodeRequest(frame);
      ({ id, method } = request);
      // On its way here before the connection could be closed: it may not be done before that which comes once more.
      if (caller.connection !== undefined && this.#inDoubt.has(caller.connection)) return leave(id);
      if (!isMethod(method)) throw new RequestError('unknown_method');
      const { access, sensitive } = methods[method];
      if (access !== 'public') void context.identity;
      const params = decodeParams(method, request.params);
      this.#disk.requireRoomFor(method);
      if (access === 'operator') await this.#services.db.read((q) => requireOperator(q, context.userId));
      if (access === 'operator') await requireOperatorFactor(context);
      if (sensitive) await requireConfirmed(context);
      const result = await (handlers[method] as Handler<MethodName>)(context, params);
      return { text: JSON.stringify({ id, result }), ...(context.effects.length > 0 && { effects: context.effects }) };
    } catch (error) {
      return this.#refuse(caller, id, method, error);
    }
  }

  #refuse({ connection }: Caller, id: string, method: string, error: unknown): Answer {
    if (error instanceof CommitUnknown) {
      if (error.fatal) this.#fatal(error);
      else this.#report(method, error);
      if (connection !== undefined) {
        this.#inDoubt.add(connection);
        setTimeout(() => this.#inDoubt.delete(connection), inDoubtMs).unref();
      }
      return leave(id);
    }
    if (error instanceof RequestError) return refusal(id, error);
    return refusal(id, new RequestError('internal', { id: this.#report(method, error) }));
  }

  #report(method: string, error: unknown): string {
    const id = randomUUID();
    this.#onFault({ id, method, error });
    return id;
  }

  authenticate(token: string): Promise<Identity | undefined> {
    return this.#track(authenticate(this.#services, this.#services.config, token));
  }

  topics(who: Identity): Promise<Topic[] | undefined> {
    return this.#track(topics(this.#services.db, who));
  }

  watchable(who: Identity, asked: Topic[]): Promise<Topic[]> {
    return this.#track(watchable(this.#services.db, who, asked));
  }

  heads(streams: StreamId[]): Promise<Record<string, number>> {
    return this.#track(this.#services.db.read((q) => readHeads(q, streams)));
  }

  era(): Promise<Era> {
    return this.#track(this.#services.db.read((q) => readEra(q)));
  }

  async lookAtDatabase(): Promise<Standing | undefined> {
    return this.#track(Promise.resolve(this.#services.db.primary?.look()));
  }

  heardOfEra(era: Era): void {
    this.#services.db.primary?.heard(era);
  }

  compareWithEra(era: Era, seen: Seen[]): Promise<Loss> {
    return this.#track(writeLoss(this.#services, era, seen));
  }

  sweepSessions(): Promise<void> {
    return this.#track(
      this.#ages
        .sweep()
        .then(() => this.#services.signInLimits.sweep())
        .then(() => sweepTokens(this.#services))
        .then(() => this.#refreshSecrets()),
    );
  }

  /** Somebody may have rotated them. While they cannot be read, those of before go on. */
  async #refreshSecrets(): Promise<void> {
    try {
      await this.#secrets.refresh();
      this.#unread = undefined;
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      // Once, and not at every heartbeat.
      if (this.#unread !== error.message) this.#report('secrets', error);
      this.#unread = error.message;
    }
    const pairs = this.#secrets.pairs.map(({ publicKey }) => publicKey);
    if (pairs.join() !== this.#pairs.join()) await dropDevicesOfOtherKeys(this.#services.db, pairs);
    this.#pairs = pairs;
  }

  setupLink(): Promise<string | undefined> {
    return this.#track(setupCode(this.#services));
  }

  findUpload({ userId }: Identity, fileId: string): Promise<Upload | undefined> {
    const { db, now } = this.#services;
    return this.#track(db.read((q) => findUpload(q, userId, fileId, now())));
  }

  fileStored(fileId: string, bytes: StoredBytes): Promise<boolean> {
    return this.#track(fileStored(this.#services.db, fileId, bytes));
  }

  dropUpload({ userId }: Identity, fileId: string): Promise<boolean> {
    const { db, now } = this.#services;
    return this.#track(dropUpload(db, userId, fileId, now()));
  }

  findFile({ userId }: Identity, fileId: string, size?: 'small' | 'large'): Promise<FileToServe | undefined> {
    const { db, now } = this.#services;
    return this.#track(db.read((q) => findFile(q, userId, fileId, { now: now(), size })));
  }

  findAvatar({ userId }: Identity, fileId: string, side: string): Promise<FileToServe | undefined> {
    return this.#track(this.#services.db.read((q) => findAvatar(q, userId, fileId, side)));
  }

  unusedFiles(): Promise<string[]> {
    const { db, now } = this.#services;
    return this.#track(unusedFiles(db, now()));
  }

  forgetFiles(fileIds: string[]): Promise<void> {
    return this.#track(forgetFiles(this.#services.db, fileIds, this.#services.now()));
  }

  originals(): Promise<string[]> {
    return this.#track(this.#services.db.read((q) => originals(q)));
  }

  forgetOriginals(ids: string[]): Promise<void> {
    return this.#track(forgetOriginals(this.#services.db, ids));
  }

  started(version: string): Promise<void> {
    const { db, now, config } = this.#services;
    return this.#track(db.write([], (q) => recordStart(q, now(), { version, settings: shownSettings(config) })));
  }

  note(notes: Note[]): Promise<void> {
    const { db, now } = this.#services;
    return this.#track(db.write([], (q) => record(q, now(), ...notes)));
  }

  blocked(limit: string, ip: string): Promise<void> {
    return this.#track(this.#services.blocks.tell(limit, ip));
  }

  siteName(): Promise<string> {
    return this.#track(this.#services.db.read((q) => readSiteName(q, this.#services.config)));
  }

  tidy(): Promise<boolean> {
    return this.#track(this.#tidiness.round());
  }

  nextExport(): Promise<ExportJob | undefined> {
    return this.#track(nextExport(this.#services));
  }

  exportPart(job: ExportJob, place: string): Promise<ExportPart | undefined> {
    return this.#track(exportPart(this.#services, job, place));
  }

  exportDone(job: ExportJob, made: { size: number; sha256: string } | undefined): Promise<void> {
    return this.#track(exportDone(this.#services, job, made));
  }

  linkWanted(link: SentLink): Promise<boolean> {
    return this.#track(this.#services.db.read((q) => linkWanted(q, link)));
  }

  async reserveLinkPicture(link: SentLink, picture: { size: number; width: number; height: number }): Promise<string | undefined> {
    return this.#disk.isLow ? undefined : this.#track(reserveLinkPicture(this.#services, link, picture));
  }

  async linkFound(link: SentLink, page: LinkPage): Promise<boolean> {
    return this.#disk.isLow ? false : this.#track(linkFound(this.#services, link, page));
  }

  connected(who: Identity): void {
    this.#services.online.connected(who.userId);
    this.#services.push.connected(who);
    this.#ages.connected(who);
  }

  disconnected(who: Identity): void {
    this.#services.online.disconnected(who.userId);
    this.#services.push.disconnected(who);
    this.#ages.disconnected(who);
  }

  onPublish(listener: (publications: Publication[]) => void): void {
    this.#publish = listener;
  }

  onDatabase(listener: (news: PrimaryNews) => void): void {
    this.#services.db.primary?.onNews(listener);
  }

  onLink(listener: (link: SentLink) => void): void {
    this.#link = listener;
  }

  onFatal(listener: (error: Error) => void): void {
    this.#fatal = listener;
  }

  /** Writes nothing: whether one may is what it is about. */
  async #look(): Promise<void> {
    try {
      await this.#services.db.write([], async () => {});
    } catch (error) {
      if (error instanceof CommitUnknown && error.fatal) this.#fatal(error);
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#inFlight++;
    work.then(this.#settled, this.#failed);
    return work;
  }

  readonly #settled = (): void => {
    if (--this.#inFlight === 0) this.#idle?.resolve();
  };

  readonly #failed = (error: unknown): void => {
    // Presence and the time of a session's last use are written without a request that could tell.
    if (error instanceof CommitUnknown && error.fatal) this.#fatal(error);
    this.#settled();
  };

  async refuseWaiting(): Promise<void> {
    this.#services.db.refuseWaiting();
  }

  async close(): Promise<void> {
    clearInterval(this.#looking);
    this.#services.online.close();
    await this.#services.presence.close();
    this.#services.roomsOnline.close();
    this.#disk.close();
    // First: a test of a push may be what somebody waits for.
    await this.#services.push.close();
    while (this.#inFlight > 0) await (this.#idle = Promise.withResolvers()).promise;
    await this.#services.db.close();
  }
}

/** Neither ack nor nack: over a socket the connection ends, and the client asks again with the same client id. */
const leave = (id: string): Answer => ({ ...refusal(id, new RequestError('busy')), effects: [{ do: 'close', as: 'tryLater' }] });

function refusal(id: string, error: RequestError): Answer {
  const body: ErrorBody = error.toBody();
  return { text: JSON.stringify({ id, error: body }), error: error.code, ...(error.limit && { limit: error.limit }) };
}
