import { crc32, deflateSync } from 'node:zlib';
import { randomBytes } from 'node:crypto';
import sharp, { type Sharp } from 'sharp';

// Pictures for tests: real ones by the encoder that cameras' files are nearest to, and such as no encoder would make.

/** A smooth picture with colours of its own, like a photo in what it costs. */
export function photo(width = 900, height = 600): Sharp {
  const hue = (): string => `hsl(${Math.floor(Math.random() * 360)}, 70%, 50%)`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><defs><linearGradient id="g"><stop stop-color="${hue()}"/><stop offset="1" stop-color="${hue()}"/></linearGradient></defs><rect width="100%" height="100%" fill="url(#g)"/><circle cx="30%" cy="40%" r="25%" fill="${hue()}"/><rect x="60%" y="10%" width="30%" height="60%" fill="${hue()}"/></svg>`;
  return sharp(Buffer.from(svg)).removeAlpha();
}

/** What a phone writes into its photos. The words can be looked for in bytes. */
export const told = {
  exif: { IFD0: { Make: 'KITHCAM', Copyright: 'somebody' }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 0/1', GPSLongitudeRef: 'W', GPSLongitude: '0/1 7/1 0/1' } },
  xmp: '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="51,30N" exif:Secret="KITHCAM"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>',
};

export type Format = 'jpeg' | 'png' | 'webp' | 'gif' | 'avif';
export const typeOf = (format: Format): string => `image/${format}`;

/** A photo that tells where it was taken, and lies on its side: 6 is a quarter turn. */
export async function telling(format: Exclude<Format, 'gif'>, { width = 900, height = 600, orientation = 1 } = {}): Promise<Buffer> {
  return photo(width, height).withMetadata({ orientation }).withExif(told.exif).withXmp(told.xmp).toFormat(format, { quality: 80 }).toBuffer();
}

/** Pictures one after the other, as GIF or WebP. */
export async function moving(format: 'gif' | 'webp', frames = 3, width = 120, height = 80): Promise<Buffer> {
  const pictures = await Promise.all(Array.from({ length: frames }, () => photo(width, height).png().toBuffer()));
  return sharp(pictures, { join: { animated: true } })
    .toFormat(format, { loop: 0 })
    .toBuffer();
}

const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

export function pngChunk(name: string, data: Buffer): Buffer {
  const [size, crc, body] = [Buffer.alloc(4), Buffer.alloc(4), Buffer.concat([Buffer.from(name, 'latin1'), data])];
  size.writeUInt32BE(data.length);
  crc.writeUInt32BE(crc32(body));
  return Buffer.concat([size, body, crc]);
}

/** A PNG by its parts. Without rows: as many as there should be, all black. */
export function png(width: number, height: number, { colour = 2, rows, more = [] }: { colour?: 0 | 2; rows?: Buffer; more?: Buffer[] } = {}): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // One bit a pixel where there is no colour: the largest picture of the fewest bytes.
  header.set([colour === 0 ? 1 : 8, colour], 8);
  const line = 1 + (colour === 0 ? Math.ceil(width / 8) : width * 3);
  return Buffer.concat([
    signature,
    pngChunk('IHDR', header),
    ...more,
    pngChunk('IDAT', deflateSync(rows ?? Buffer.alloc(line * height), { level: 9 })),
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
}

/** A small PNG like no other. */
export function noise(width = 16, height = 16): Buffer {
  const rows = randomBytes((1 + width * 3) * height);
  for (let row = 0; row < height; row += 1) rows[row * (1 + width * 3)] = 0;
  return png(width, height, { rows });
}
