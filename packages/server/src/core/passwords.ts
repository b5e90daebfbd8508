import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { RequestError } from '@kith/protocol';
import { commonPasswords } from './common-passwords.ts';

const hash = promisify(argon2);
/** Hashes at a time, each with its memory, and those that may wait; beyond, sign-in is busy and chat goes on. */
const atOnce = 2;
const waiting = 50;
const tagLength = 32;

interface Cost {
  /** KiB */
  memory: number;
  passes: number;
}

/** argon2id, off the event loop, a bounded number at a time. The parameters stand in each hash, so they can grow later. */
export class Passwords {
  readonly #cost: Cost;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /**
   * Compared with where there is no hash, so that it takes as long. It is made of chance and no password's: nobody has to
   * wait for it, and it cannot fail.
   */
  readonly #nobodys: string;

  constructor(cost: Cost) {
    this.#cost = cost;
    this.#nobodys = this.#written(randomBytes(16), randomBytes(tagLength));
  }

  get #prefix(): string {
    return `$argon2id$v=19$m=${this.#cost.memory},t=${this.#cost.passes},p=1$`;
  }

  /** @throws busy */
  hash(password: string): Promise<string> {
    return this.#bounded(async () => {
      const nonce = randomBytes(16);
      const tag = await derive(password, nonce, this.#cost);
      return this.#written(nonce, tag);
    });
  }

  #written(nonce: Buffer, tag: Buffer): string {
    return `${this.#prefix}${nonce.toString('base64')}$${tag.toString('base64')}`;
  }

  /**
   * @param stored  null: there is no such account or password. Takes as long as a wrong password, and is one.
   * @throws busy
   */
  async verify(password: string, stored: string | null): Promise<boolean> {
    const [, , , parameters, nonce, tag] = (stored ?? this.#nobodys).split('$');
    const [memory, passes] = /m=(\d+),t=(\d+)/.exec(parameters!)!.slice(1).map(Number) as [number, number];
    return this.#bounded(async () => {
      const derived = await derive(password, Buffer.from(nonce!, 'base64'), { memory, passes });
      return timingSafeEqual(derived, Buffer.from(tag!, 'base64')) && stored !== null;
    });
  }

  /** Was it hashed at another cost than today's? */
  isOutdated(stored: string): boolean {
    return !stored.startsWith(this.#prefix);
  }

  async #bounded<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= atOnce) {
      if (this.#waiting.length >= waiting) throw new RequestError('busy', { retryAfterMs: 2_000 });
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}

const derive = (password: string, nonce: Buffer, { memory, passes }: Cost): Promise<Buffer> =>
  hash('argon2id', { message: password, nonce, memory, passes, parallelism: 1, tagLength });

/**
 * A new password, wherever it is given: not one that many people choose, nor little more than a word that is tried first.
 *
 * @param words  What anybody knows of the person and of this site.
 * @throws bad_request
 */
export function requireGoodPassword(password: string, words: (string | null)[], field = 'password'): void {
  const plain = password.toLowerCase();
  const known = words.flatMap((word) => (word === null ? [] : [word.toLowerCase(), ...word.toLowerCase().split(/[^\p{L}\p{N}]+/u)])).filter((word) => word.length >= 3);
  const left = known.toSorted((a, b) => b.length - a.length).reduce((text, word) => text.replaceAll(word, ''), plain);
  const tooPlain = left !== plain && left.replace(/\P{L}/gu, '').length < 4;
  const path = `params.${field}`;
  if (tooPlain || commonPasswords.has(plain) || /^(.)\1*$/su.test(password)) throw new RequestError('bad_request', { path, message: `${path}: too easy to guess` });
}
