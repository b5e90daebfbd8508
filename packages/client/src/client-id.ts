/**
 * A key that names one message for ever: 128 random bits, url-safe.
 * `crypto.randomUUID` is missing on pages served without TLS, so this asks for plain random bytes.
 */
export const newClientId = (): string => hex(randomBytes(16));

function randomBytes(length: number): Uint8Array {
  if (globalThis.crypto) return crypto.getRandomValues(new Uint8Array(length));
  // Mini-programs have no crypto object. The time makes up for what a weak generator repeats.
  const bytes = Uint8Array.from({ length }, () => Math.floor(Math.random() * 256));
  new DataView(bytes.buffer).setFloat64(0, Date.now());
  return bytes;
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
