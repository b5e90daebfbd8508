/**
 * A key that names one message for ever: the time in milliseconds, 48 bits of it, and 80 random bits, url-safe. Those that are made one after the other come
 * one after the other, so the server finds their place at once, however many there are.
 *
 * `crypto.randomUUID` is missing on pages served without TLS, so this asks for plain random bytes.
 */
export const newClientId = (): string => Date.now().toString(16).padStart(12, '0') + hex(randomBytes(10));

function randomBytes(length: number): Uint8Array {
  if (globalThis.crypto) return crypto.getRandomValues(new Uint8Array(length));
  // Mini-programs have no crypto object. The time makes up for what a weak generator repeats.
  return Uint8Array.from({ length }, () => Math.floor(Math.random() * 256));
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
