/** Bytes that are read and hashed in one go: a few milliseconds, also on a phone. */
const pieceBytes = 262_144;
/** Up to so many bytes are given to the platform as a whole; it takes nothing in parts. */
const wholeBytes = 33_554_432;

/** The SHA-256 of a file, in hex. Pages over plain HTTP have no `crypto.subtle`, and a large file is not held in memory. @throws when it cannot be read */
export async function sha256Of(bytes: Blob, signal?: AbortSignal): Promise<string> {
  if (bytes.size <= wholeBytes && globalThis.crypto?.subtle) return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', await bytes.arrayBuffer())));
  const hash = new Sha256();
  for (let at = 0; at < bytes.size; at += pieceBytes) {
    hash.update(new Uint8Array(await bytes.slice(at, at + pieceBytes).arrayBuffer()));
    signal?.throwIfAborted();
  }
  return hex(hash.digest());
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** The first 32 bits of the fractions of roots of primes: cubic ones of the first 64, and square ones of the first 8. */
const [rounds, start] = (() => {
  const fraction = (root: number): number => Math.floor((root - Math.floor(root)) * 2 ** 32);
  const primes: number[] = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return [Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)) | 0), Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)) | 0)];
})();

/** FIPS 180-4, in parts. */
export class Sha256 {
  readonly #state = start.slice();
  readonly #words = new Int32Array(64);
  readonly #block = new Uint8Array(64);
  #filled = 0;
  #length = 0;

  update(bytes: Uint8Array): void {
    this.#length += bytes.length;
    let at = 0;
    if (this.#filled > 0) {
      at = Math.min(64 - this.#filled, bytes.length);
      this.#block.set(bytes.subarray(0, at), this.#filled);
      this.#filled += at;
      if (this.#filled < 64) return;
      this.#compress(this.#block, 0);
      this.#filled = 0;
    }
    for (; at + 64 <= bytes.length; at += 64) this.#compress(bytes, at);
    this.#block.set(bytes.subarray(at));
    this.#filled = bytes.length - at;
  }

  digest(): Uint8Array {
    const bits = this.#length * 8;
    const padding = new Uint8Array((this.#filled < 56 ? 64 : 128) - this.#filled);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits % 2 ** 32);
    this.update(padding);
    const out = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, n) => out.setInt32(n * 4, word));
    return new Uint8Array(out.buffer);
  }

  #compress(bytes: Uint8Array, at: number): void {
    const w = this.#words;
    for (let n = 0; n < 16; n++, at += 4) w[n] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    for (let n = 16; n < 64; n++) {
      const x = w[n - 15]!;
      const y = w[n - 2]!;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[n] = (w[n - 16]! + s0 + w[n - 7]! + s1) | 0;
    }
    const s = this.#state;
    let a = s[0]!;
    let b = s[1]!;
    let c = s[2]!;
    let d = s[3]!;
    let e = s[4]!;
    let f = s[5]!;
    let g = s[6]!;
    let h = s[7]!;
    for (let n = 0; n < 64; n++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + rounds[n]! + w[n]!) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    s[0] = (s[0]! + a) | 0;
    s[1] = (s[1]! + b) | 0;
    s[2] = (s[2]! + c) | 0;
    s[3] = (s[3]! + d) | 0;
    s[4] = (s[4]! + e) | 0;
    s[5] = (s[5]! + f) | 0;
    s[6] = (s[6]! + g) | 0;
    s[7] = (s[7]! + h) | 0;
  }
}
