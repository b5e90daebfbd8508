import { createHmac, timingSafeEqual } from 'node:crypto';

/** Seconds for which a code is shown. */
const stepS = 30;
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The code of a secret in a step of time, by RFC 6238 (SHA-1, what apps know), with so many digits. */
export function totp(secret: Buffer, step: number, digits = 6): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', secret).update(counter).digest();
  const at = mac[19]! & 0xf;
  return String((mac.readUInt32BE(at) & 0x7fff_ffff) % 10 ** digits).padStart(digits, '0');
}

/**
 * The step that a code is of: this one, the one before or the next, for clocks that are a little wrong; and later than the
 * last that was used, since a code is good once. `undefined`: it is no code now.
 */
export function stepOf(secret: Buffer, code: string, now: number, used: number): number | undefined {
  const current = Math.floor(now / 1_000 / stepS);
  const typed = Buffer.from(code.replace(/\s/g, '').padEnd(6).slice(0, 7));
  const fits = (step: number): boolean => typed.length === 6 && timingSafeEqual(Buffer.from(totp(secret, step)), typed);
  return [current - 1, current, current + 1].find((step) => step > used && fits(step));
}

export function toBase32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((five) => letters[parseInt(five.padEnd(5, '0'), 2)]).join('');
}

export function fromBase32(text: string): Buffer {
  const bits = Array.from(text, (letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((eight) => parseInt(eight, 2)));
}
