import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { type Bound, type ErrorCode, RequestError } from '@kith/protocol';
import type { Config } from '../config.ts';
import { DatabaseError } from '../db/db.ts';
import type { Answer, Caller, Core, Era, ExportJob, ExportPart, FileToServe, Identity, Loss, Publication, SentLink, Standing, Topic, Upload } from './core.ts';
import type { Fault } from './local-core.ts';
import { type AsyncCall, type Handed, type ToGateway, type ToWorker, batched, tellReadEvery } from './worker-port.ts';

/** Milliseconds that the thread gets to end by itself, once its core is closed. */
const endMs = 2_000;

interface Heard {
  onFault: (fault: Fault) => void;
  onLimit: (limit: Bound) => void;
}

/** What the whole process was started with. */
const youngGeneration = process.execArgv.find((flag) => flag.startsWith('--max-semi-space-size='));

/** @throws DatabaseError */
export async function openWorkerCore(config: Config, heard: Heard): Promise<Core> {
  // It is small for the sake of the gateway's connections, of which there are many. Here is much that lives as long as a sync, and with as little room all of
  // it would be moved to where old things are; with twice as much each collection keeps those who wait for longer. A thread has what the flag says when it begins, whatever limits it is given.
  if (youngGeneration) setFlagsFromString('--max-semi-space-size=8');
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: { config }, name: 'kith-core' });
  if (youngGeneration) worker.once('online', () => setFlagsFromString(youngGeneration));
  const core = new WorkerCore(worker, heard);
  await core.opened;
  return core;
}

class WorkerCore implements Core {
  /** A worker has SQLite, and says all through one port. */
  readonly inOrder = true;
  readonly opened: Promise<void>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  /** Of those connections that have asked something. */
  readonly #callers = new Map<number, Caller>();
  readonly #send: (message: ToWorker) => void;
  #next = 1;
  #closing = false;
  #gone = false;
  /** Units read and not told yet. */
  #read = 0;
  #publish: (publications: Publication[]) => void = () => {};
  #link: (link: SentLink) => void = () => {};
  #fatal: (error: Error) => void = () => {};

  constructor(worker: Worker, { onFault, onLimit }: Heard) {
    this.#worker = worker;
    this.#send = batched((messages: ToWorker[]) => worker.postMessage(messages));
    this.opened = new Promise((resolve, reject) => {
      const receive = (message: ToGateway): void => {
        if ('opened' in message) resolve();
        else if ('refused' in message) reject(new DatabaseError(message.refused));
        else if ('publications' in message) this.#publish(message.publications);
        else if ('link' in message) this.#link(message.link);
        else if ('limit' in message) onLimit(message.limit);
        else if ('fatal' in message) this.#fatal(new Error(message.fatal));
        else if ('fault' in message)
          onFault({ id: message.fault.id, method: message.fault.method, error: Object.assign(new Error(message.fault.message), { stack: message.fault.stack }) });
        else this.#settle(message);
      };
      worker.on('message', ({ messages, units }: Handed) => {
        messages.forEach(receive);
        this.#read += units;
        if (this.#read < tellReadEvery) return;
        this.#send({ read: this.#read });
        this.#read = 0;
      });
      worker.on('error', (error: Error) => {
        reject(error);
        this.#fatal(error);
      });
      worker.on('exit', () => {
        this.#gone = true;
        if (this.#closing) this.#failAll(new Error('the core ended before it was closed'));
        else this.#fatal(new Error('the core ended unexpectedly'));
      });
    });
  }

  #settle(message: { id: number; value: unknown } | { id: number; failed: string; code: ErrorCode | undefined }): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('failed' in message) waiting?.reject(message.code ? new RequestError(message.code, { message: message.failed }) : new Error(message.failed));
    else waiting?.resolve(message.value);
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #call<T>(call: AsyncCall, ...args: unknown[]): Promise<T> {
    return this.#ask((id) => ({ call, id, args }));
  }

  #ask<T>(message: (id: number) => ToWorker): Promise<T> {
    const id = this.#next++;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#send(message(id));
    return waiting.promise as Promise<T>;
  }

  handle: Core['handle'] = (caller, frame) => {
    const { connection } = caller;
    if (connection === undefined) return this.#call<Answer>('handle', caller, frame);
    if (this.#callers.get(connection) !== caller) {
      this.#callers.set(connection, caller);
      this.#send({ of: connection, caller });
    }
    return this.#ask((id) => ({ id, of: connection, frame }));
  };
  gone: Core['gone'] = (connection) => {
    if (this.#callers.delete(connection)) this.#send({ of: connection, caller: undefined });
  };
  authenticate: Core['authenticate'] = (token) => this.#call<Identity | undefined>('authenticate', token);
  topics: Core['topics'] = (who) => this.#call<Topic[] | undefined>('topics', who);
  watchable: Core['watchable'] = (who, topics) => this.#call<Topic[]>('watchable', who, topics);
  heads: Core['heads'] = (streams) => this.#call<Record<string, number>>('heads', streams);
  beat: Core['beat'] = () => this.#call<string[]>('beat');
  era: Core['era'] = () => this.#call<Era>('era');
  lookAtDatabase: Core['lookAtDatabase'] = () => this.#call<Standing | undefined>('lookAtDatabase');
  compareWithEra: Core['compareWithEra'] = (era, seen) => this.#call<Loss>('compareWithEra', era, seen);
  sweepSessions: Core['sweepSessions'] = () => this.#call<undefined>('sweepSessions');
  setupLink: Core['setupLink'] = () => this.#call<string | undefined>('setupLink');
  findUpload: Core['findUpload'] = (who, fileId) => this.#call<Upload | undefined>('findUpload', who, fileId);
  fileStored: Core['fileStored'] = (fileId, bytes) => this.#call<boolean>('fileStored', fileId, bytes);
  dropUpload: Core['dropUpload'] = (who, fileId) => this.#call<boolean>('dropUpload', who, fileId);
  findFile: Core['findFile'] = (who, fileId, size) => this.#call<FileToServe | undefined>('findFile', who, fileId, size);
  findAvatar: Core['findAvatar'] = (who, fileId, side) => this.#call<FileToServe | undefined>('findAvatar', who, fileId, side);
  unusedFiles: Core['unusedFiles'] = () => this.#call<string[]>('unusedFiles');
  forgetFiles: Core['forgetFiles'] = (fileIds) => this.#call<void>('forgetFiles', fileIds);
  originals: Core['originals'] = () => this.#call<string[]>('originals');
  forgetOriginals: Core['forgetOriginals'] = (ids) => this.#call<void>('forgetOriginals', ids);
  started: Core['started'] = (version) => this.#call<void>('started', version);
  note: Core['note'] = (notes) => this.#call<void>('note', notes);
  blocked: Core['blocked'] = (limit, ip) => this.#call<void>('blocked', limit, ip);
  siteName: Core['siteName'] = () => this.#call<string>('siteName');
  tidy: Core['tidy'] = () => this.#call<boolean>('tidy');
  nextExport: Core['nextExport'] = () => this.#call<ExportJob | undefined>('nextExport');
  exportPart: Core['exportPart'] = (job, place) => this.#call<ExportPart | undefined>('exportPart', job, place);
  exportDone: Core['exportDone'] = (job, made) => this.#call<void>('exportDone', job, made);
  linkWanted: Core['linkWanted'] = (link) => this.#call<boolean>('linkWanted', link);
  reserveLinkPicture: Core['reserveLinkPicture'] = (link, picture) => this.#call<string | undefined>('reserveLinkPicture', link, picture);
  linkFound: Core['linkFound'] = (link, page) => this.#call<boolean>('linkFound', link, page);
  refuseWaiting: Core['refuseWaiting'] = () => this.#call<void>('refuseWaiting');
  connected: Core['connected'] = (who) => this.#send({ tell: 'connected', who });
  disconnected: Core['disconnected'] = (who) => this.#send({ tell: 'disconnected', who });
  onPublish: Core['onPublish'] = (listener) => void (this.#publish = listener);
  // A worker has SQLite: its file is no other one from one moment to the next.
  heardOfEra: Core['heardOfEra'] = () => {};
  onDatabase: Core['onDatabase'] = () => {};
  onLink: Core['onLink'] = (listener) => void (this.#link = listener);
  onFatal: Core['onFatal'] = (listener) => void (this.#fatal = listener);

  async close(): Promise<void> {
    // After a crash there is nobody to ask.
    if (this.#gone) return;
    // Said before: the answer and the exit can arrive in one turn, and then nothing runs between the two.
    this.#closing = true;
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    await this.#call('close');
    // Ended from here, a thread is stopped in the middle of what it lets go of, native code included.
    const late = setTimeout(() => void this.#worker.terminate(), endMs);
    await ended;
    clearTimeout(late);
  }
}
