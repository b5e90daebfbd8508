import { type FileRef, type Params, RequestError, type Result } from '@kith/protocol';
import type { Clock } from './clock.ts';
import { type FileDoor, TooLargeOnTheWay } from './file-door.ts';
import { ConnectionError } from './requests.ts';
import { sha256Of } from './sha256.ts';
import type { Call } from './sync.ts';

/** What is uploaded, as it stays over all attempts. */
export interface Sending {
  bytes: Blob;
  reserve: Omit<Params<'file.reserve'>, 'size' | 'sha256'>;
  /** What only its sender can measure. */
  measures?: Omit<Params<'file.commit'>, 'fileId' | 'sha256'>;
  /** Of an earlier attempt. */
  place?: Place | undefined;
}

/** Where the bytes go. */
export interface Place {
  fileId: string;
  /** Below the server's address. */
  url: string;
}

export interface Ways {
  call: Call;
  door: FileDoor;
  pace: Pace;
  clock: Clock;
  signal?: AbortSignal | undefined;
  onPlace?(place: Place | undefined): void;
  /** So many bytes are at the server. */
  onSent?(bytes: number): void;
}

/** The bytes cannot be read any more: the file was changed or is gone. */
export class UnreadableError extends Error {}

const unreadable = (error: unknown): never => {
  throw new UnreadableError(String(error));
};

/** Times that a place which is no good is given up for another within one attempt. */
const placesAtMost = 3;

/**
 * Brings a file to the server: a place, the bytes from where the server has them, the commit. Each step can be repeated, so
 * after any failure the same again goes on where it was.
 *
 * @throws RequestError, ConnectionError, UnreadableError, the reason of the signal
 */
export async function transfer({ bytes, reserve, measures, place: known }: Sending, ways: Ways): Promise<FileRef> {
  const { call, door, signal } = ways;
  const sha256 = sha256Of(bytes, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    return unreadable(error);
  });
  // Somebody waits for it only at the end.
  sha256.catch(() => {});
  let place = known;
  for (let places = 0; ; places++) {
    try {
      if (!place) {
        const { fileId, url } = await call('file.reserve', { ...reserve, size: bytes.size });
        place = { fileId, url };
        ways.onPlace?.(place);
      }
      await sendBytes(bytes, place, ways);
      const commit = { fileId: place.fileId, sha256: await sha256, ...measures };
      signal?.throwIfAborted();
      return (await call('file.commit', commit).catch((error: unknown) => commitWithoutPoster(error, commit, call))).file;
    } catch (error) {
      if (!place || !(error instanceof RequestError) || places === placesAtMost) throw error;
      if (error.code === 'checksum_mismatch') await door.upload(place.url, { method: 'DELETE', signal });
      // Not found: its time is over. Incomplete: the server knows best how far it is.
      else if (error.code !== 'not_found' && error.code !== 'incomplete') throw error;
      if (error.code !== 'incomplete') ways.onPlace?.((place = undefined));
    }
  }
}

/** What looked like a video is none to the server, or the picture for it is none: then it is a file without. */
function commitWithoutPoster(error: unknown, { posterId, ...commit }: Params<'file.commit'>, call: Call): Promise<Result<'file.commit'>> {
  if (posterId === undefined || !(error instanceof RequestError) || (error.code !== 'not_found' && error.code !== 'bad_request')) throw error;
  return call('file.commit', commit);
}

async function sendBytes(bytes: Blob, { url }: Place, { door, pace, clock, signal, onSent }: Ways): Promise<void> {
  let at = await offsetAt(url, door, signal);
  // In a message already, of which the answer was lost: the commit says so.
  if (at === undefined) return;
  onSent?.(at);
  while (at < bytes.size) {
    const part = bytes.slice(at, at + pace.bytes);
    const started = clock.now();
    let end: number;
    try {
      const response = await door.upload(url, { method: 'PATCH', headers: { 'content-type': 'application/offset+octet-stream', 'upload-offset': String(at) }, body: part, signal });
      end = Number(response.headers.get('upload-offset'));
    } catch (error) {
      pace.failed(part.size, error);
      signal?.throwIfAborted();
      // A request with bytes that cannot be read fails as if the network had.
      if (error instanceof ConnectionError) await part.slice(0, 1).arrayBuffer().catch(unreadable);
      throw error;
    }
    if (!(end > at && end <= bytes.size)) throw new RequestError('incomplete');
    pace.took(part.size, clock.now() - started);
    onSent?.((at = end));
  }
}

async function offsetAt(url: string, door: FileDoor, signal: AbortSignal | undefined): Promise<number | undefined> {
  try {
    const response = await door.upload(url, { method: 'HEAD', signal });
    const at = Number(response.headers.get('upload-offset') ?? Number.NaN);
    if (!Number.isSafeInteger(at)) throw new RequestError('internal');
    return at;
  } catch (error) {
    if (error instanceof RequestError && error.code === 'not_found') return undefined;
    throw error;
  }
}

const least = 65_536;
const most = 8_388_608;

/**
 * How many bytes go in one request: what takes about half a second. Then progress is seen, a pause is soon, and little is
 * lost with a connection.
 */
export class Pace {
  #bytes = 262_144;
  #most = most;

  get bytes(): number {
    return this.#bytes;
  }

  took(bytes: number, ms: number): void {
    if (bytes < this.#bytes) return;
    if (ms < 500) this.#bytes = Math.min(this.#most, this.#bytes * 2);
    else if (ms > 1_500) this.#bytes = Math.max(least, this.#bytes / 2);
  }

  failed(bytes: number, error: unknown): void {
    this.#bytes = Math.max(least, this.#bytes / 2);
    if (error instanceof TooLargeOnTheWay) this.#most = Math.max(least, bytes / 2);
  }
}
