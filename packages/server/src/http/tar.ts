// Tar as POSIX has it (ustar, with pax headers where a name or a size does not fit): what every system can open, and what can be
// written without knowing what comes next.

const block = 512;
/** Bytes of a name that the plain header holds. */
const plainName = 100;
/** Sizes that eleven octal digits hold. */
const plainSize = 8 ** 11;

/** What stands before the bytes of an entry. @param at  Milliseconds since 1970. */
export function tarHeader(name: string, size: number, at: number): Buffer {
  const more: string[] = [];
  if (!/^[\x20-\x7e]*$/.test(name) || name.length > plainName) more.push(record('path', name));
  if (size >= plainSize) more.push(record('size', String(size)));
  const plain = header(name.replace(/[^\x20-\x7e]/g, '_').slice(0, plainName), size >= plainSize ? 0 : size, at, '0');
  if (more.length === 0) return plain;
  const body = Buffer.from(more.join(''));
  return Buffer.concat([header('PaxHeader', body.length, at, 'x'), body, tarPadding(body.length), plain]);
}

/** What stands behind them: an entry fills whole blocks. */
export const tarPadding = (size: number): Buffer => Buffer.alloc((block - (size % block)) % block);

/** What stands behind the last entry. */
export const tarEnd = (): Buffer => Buffer.alloc(2 * block);

function header(name: string, size: number, at: number, type: string): Buffer {
  const bytes = Buffer.alloc(block);
  const octal = (value: number, offset: number, length: number): void => void bytes.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  bytes.write(name, 0, 'latin1');
  octal(0o600, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(Math.floor(at / 1_000), 136, 12);
  bytes.write('        ', 148, 'latin1');
  bytes.write(type, 156, 'latin1');
  bytes.write('ustar\x0000', 257, 'latin1');
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return bytes;
}

/** A pax record says how long it is, itself included. */
function record(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length += 1;
  return `${length} ${key}=${value}\n`;
}
