import { statfs } from 'node:fs/promises';
import { type MethodName, RequestError } from '@kith/protocol';

const mebibyte = 1_048_576;
/** Milliseconds between two looks at the volume. */
const lookMs = 2_000;

/** What makes the database grow for good. Reading, signing in, reading marks and all that takes away goes on. */
const storing: ReadonlySet<MethodName> = new Set<MethodName>([
  'auth.register',
  'auth.guest',
  'user.update',
  'friend.request',
  'conversation.create',
  'conversation.direct',
  'member.add',
  'room.create',
  'room.join',
  'message.send',
  'message.edit',
  'file.reserve',
  'draft.set',
  'announcement.send',
]);

/**
 * Keeps the last of the room on the data volume for what must work even then. Without it the disk would fill up to the
 * last byte, and nobody could sign in to delete anything.
 */
export class DiskReserve {
  readonly #folder: string;
  readonly #bytes: number;
  readonly #timer: NodeJS.Timeout | undefined;
  #low = false;

  /** @param mebibytes  0: none is kept. */
  constructor(folder: string, mebibytes: number) {
    this.#folder = folder;
    this.#bytes = mebibytes * mebibyte;
    if (mebibytes > 0) this.#timer = setInterval(() => void this.look(), lookMs).unref();
  }

  async look(): Promise<void> {
    if (this.#bytes === 0) return;
    try {
      const { bavail, bsize } = await statfs(this.#folder);
      this.#low = bavail * bsize < this.#bytes;
    } catch {
      // A volume that cannot say: then writes themselves find out.
      this.#low = false;
    }
  }

  /** Nothing that nobody asked for is stored now. */
  get isLow(): boolean {
    return this.#low;
  }

  /** @throws storage_full */
  requireRoomFor(method: MethodName): void {
    if (this.#low && storing.has(method)) throw new RequestError('storage_full');
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
