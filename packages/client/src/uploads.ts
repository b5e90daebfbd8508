import { type ErrorBody, type FileRef, RequestError } from '@kith/protocol';
import { type Clock, fullJitter, wait } from './clock.ts';
import type { FileDoor } from './file-door.ts';
import type { Pending } from './outbox.ts';
import { ConnectionError } from './requests.ts';
import type { Call } from './sync.ts';
import { Pace, type Place, type Sending, UnreadableError, type Ways, transfer } from './transfer.ts';

/** The file of a message that is not known to be stored yet. */
export interface PendingFile {
  name: string;
  /** Bytes. */
  size: number;
  /** As it was chosen; once `stored`, as the server knows it by its bytes. */
  type: string;
  width?: number | undefined;
  height?: number | undefined;
  durationMs?: number | undefined;
  waveform?: number[] | undefined;
  /** Where it was taken stays in it. */
  original?: boolean | undefined;
  /** waiting: goes on by itself. paused: when it is told to. stored: at the server, and the message can follow. */
  state: 'waiting' | 'sending' | 'paused' | 'stored';
  /** Bytes that the server has. */
  sent: number;
  /** When the last of them arrived, by this device's clock. */
  sentAt?: number;
  place?: Place | undefined;
  /** Of the picture that is shown for a video, once it is at the server. */
  posterId?: string | undefined;
  /** Once `stored`. */
  ref?: FileRef | undefined;
}

export type PendingWithFile = Pending & { file: PendingFile };

/** Of a video there are two kinds of bytes: its own, and those of the picture that is shown for it. */
export type BytesOf = 'file' | 'poster';

/** What the outbox has of files and takes back about them. */
export interface FileEntries {
  /** Those that wait to be uploaded or are being uploaded, in the order of sending. */
  list(): PendingWithFile[];
  find(clientId: string): PendingWithFile | undefined;
  /** Resolves once storage keeps them, or cannot. */
  bytes(clientId: string, of: BytesOf): Promise<Blob | undefined>;
  change(clientId: string, file: Partial<PendingFile>): void;
  fail(clientId: string, error: ErrorBody): void;
}

/** Files that one device sends at the same time; a person has 6. */
const atOnce = 3;

/** Uploads what the outbox has, on the one device of a person that leads. */
export class Uploads {
  readonly #entries: FileEntries;
  readonly #door: FileDoor;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #pace = new Pace();
  readonly #running = new Map<string, AbortController>();
  /** Set while there is a connection. */
  #call: Call | undefined;

  constructor(options: { entries: FileEntries; door: FileDoor; clock: Clock; random: () => number }) {
    this.#entries = options.entries;
    this.#door = options.door;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  connect(call: Call): void {
    this.#call = call;
    this.pump();
  }

  /** What is under way is cut: where to go on is asked of the server. */
  disconnect(): void {
    this.#call = undefined;
    for (const clientId of this.#running.keys()) {
      this.stop(clientId);
      if (this.#entries.find(clientId)?.file.state === 'sending') this.#entries.change(clientId, { state: 'waiting' });
    }
  }

  stop(clientId: string): void {
    this.#running.get(clientId)?.abort(new DOMException('Stopped.', 'AbortError'));
  }

  /** It is not wanted any more: nor is what the server has of it. If that is not told, it goes with the place after a day. */
  drop({ clientId, file }: PendingWithFile): void {
    this.stop(clientId);
    if (file.place) void this.#door.upload(file.place.url, { method: 'DELETE' }).catch(() => {});
  }

  pump(): void {
    if (!this.#call) return;
    for (const { clientId } of this.#entries.list()) {
      if (this.#running.size >= atOnce) return;
      if (!this.#running.has(clientId)) void this.#run(clientId, this.#call);
    }
  }

  async #run(clientId: string, call: Call): Promise<void> {
    const running = new AbortController();
    this.#running.set(clientId, running);
    try {
      for (let attempt = 0; !running.signal.aborted;) {
        const sent = this.#entries.find(clientId)?.file.sent ?? 0;
        const pauseMs = await this.#attempt(clientId, call, running.signal, attempt);
        if (pauseMs === undefined) return;
        attempt = (this.#entries.find(clientId)?.file.sent ?? 0) > sent ? 0 : attempt + 1;
        await this.#pauseFor(pauseMs, running.signal);
      }
    } finally {
      this.#running.delete(clientId);
      this.pump();
    }
  }

  /** @returns Milliseconds after which to try again; undefined: it is decided. */
  async #attempt(clientId: string, call: Call, signal: AbortSignal, attempt: number): Promise<number | undefined> {
    const [bytes, poster] = [await this.#entries.bytes(clientId, 'file'), await this.#entries.bytes(clientId, 'poster')];
    const entry = this.#entries.find(clientId);
    if (signal.aborted || !entry) return undefined;
    const { conversationId, file } = entry;
    const { name, type, width, height, durationMs, waveform, original, place } = file;
    const change = (part: Partial<PendingFile>): void => {
      if (!signal.aborted) this.#entries.change(clientId, part);
    };
    try {
      if (!bytes) throw new UnreadableError('Not kept.');
      change({ state: 'sending' });
      let { posterId } = file;
      const ways = { call, door: this.#door, pace: this.#pace, clock: this.#clock, signal };
      if (poster && posterId === undefined) {
        const reserve = { conversationId, clientId: `${clientId}-poster`, name: 'poster', type: poster.type };
        posterId = (await transfer({ bytes: poster, reserve }, ways).catch(withoutPoster))?.id;
        change({ posterId });
      }
      const ref = await transfer(
        {
          bytes,
          reserve: { conversationId, clientId, name, ...(type !== '' && { type }), ...(original && { original }) },
          measures: { width, height, durationMs, waveform, posterId },
          place,
        },
        {
          ...ways,
          onPlace: (found) => change({ place: found, sent: 0 }),
          onSent: (sent) => change({ sent, sentAt: this.#clock.now() }),
        },
      );
      change({ state: 'stored', sent: file.size, ref });
      return undefined;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (error instanceof UnreadableError) this.#entries.fail(clientId, unreadable.toBody());
      else if (!(error instanceof RequestError)) return fullJitter(attempt, this.#random);
      // The session ended: all wait for the next one.
      else if (error.code === 'unauthenticated') {
        change({ state: 'waiting' });
        if (this.#call === call) this.#call = undefined;
      }
      // A server that is full stays so until somebody does something: people should know.
      else if (!error.retryable || error.code === 'storage_full') this.#entries.fail(clientId, error.toBody());
      else return retryAfter(error, attempt, this.#random);
      return undefined;
    }
  }

  #pauseFor(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#clock.clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const timer = this.#clock.setTimeout(wake, ms);
      signal.addEventListener('abort', wake);
    });
  }
}

/** A file that no message carries. Trouble that may pass is waited out a few times. */
export async function upload(sending: Sending, ways: Ways & { random: () => number }): Promise<FileRef> {
  let { place } = sending;
  for (let attempt = 0; ; attempt++) {
    try {
      return await transfer({ ...sending, place }, { ...ways, onPlace: (found) => (place = found) });
    } catch (error) {
      ways.signal?.throwIfAborted();
      const refused = error instanceof RequestError ? error : undefined;
      const passes = refused ? refused.retryable && refused.code !== 'storage_full' : error instanceof ConnectionError;
      if (!passes || attempt === attemptsAtMost) throw error;
      await wait(ways.clock, refused ? retryAfter(refused, attempt, ways.random) : fullJitter(attempt, ways.random));
    }
  }
}

const attemptsAtMost = 5;

/** A video whose picture the server does not take goes without. */
function withoutPoster(error: unknown): undefined {
  if (!(error instanceof RequestError) || error.retryable || error.code === 'unauthenticated') throw error;
}

const unreadable = new RequestError('incomplete', { message: 'The file cannot be read any more. Choose it again.' });

/** A limit on rate says itself when to come back; trouble gets longer and longer pauses. */
export function retryAfter({ code, extra: { retryAfterMs: after } }: RequestError, attempt: number, random: () => number): number {
  return code === 'rate_limited' && after !== undefined ? after * (1 + random()) : Math.max(after ?? 0, fullJitter(attempt, random));
}
