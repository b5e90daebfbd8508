import { crc32, deflateSync } from 'node:zlib';

// What people of the demo send each other, drawn and hummed by a few formulas: no file lies in the repository for it.

type Colour = readonly [hue: number, saturation: number, lightness: number];

interface Scene {
  width: number;
  height: number;
  /** From above to the horizon. */
  sky: readonly [Colour, Colour];
  /** Where its middle is, and its radius, in parts of the width and height. With petals it is a flower. */
  sun?: { x: number; y: number; r: number; colour: Colour; petals?: number };
  /** Ridges from the farthest to the nearest: height of the crest in parts of the height, how rough, and how it is coloured. */
  ridges: readonly { at: number; rough: number; turn: number; colour: Colour }[];
}

const scenes = {
  hills: {
    width: 1_200,
    height: 750,
    sky: [
      [28, 60, 74],
      [42, 78, 86],
    ],
    sun: { x: 0.7, y: 0.36, r: 0.07, colour: [46, 95, 93] },
    ridges: [
      { at: 0.52, rough: 0.09, turn: 1, colour: [18, 38, 62] },
      { at: 0.64, rough: 0.08, turn: 4, colour: [16, 46, 47] },
      { at: 0.8, rough: 0.06, turn: 2, colour: [20, 40, 30] },
    ],
  },
  lake: {
    width: 1_000,
    height: 1_250,
    sky: [
      [205, 45, 72],
      [196, 40, 88],
    ],
    ridges: [
      { at: 0.42, rough: 0.06, turn: 3, colour: [160, 22, 52] },
      { at: 0.5, rough: 0.03, turn: 6, colour: [150, 30, 36] },
      { at: 0.56, rough: 0.004, turn: 9, colour: [200, 34, 62] },
      { at: 0.86, rough: 0.02, turn: 1, colour: [96, 24, 34] },
    ],
  },
  fog: {
    width: 1_200,
    height: 800,
    sky: [
      [210, 10, 84],
      [210, 8, 90],
    ],
    ridges: [
      { at: 0.5, rough: 0.05, turn: 2, colour: [206, 9, 80] },
      { at: 0.62, rough: 0.06, turn: 5, colour: [206, 10, 71] },
      { at: 0.78, rough: 0.05, turn: 8, colour: [204, 12, 58] },
    ],
  },
  flowers: {
    width: 900,
    height: 900,
    sky: [
      [88, 26, 40],
      [96, 28, 28],
    ],
    sun: { x: 0.48, y: 0.42, r: 0.3, colour: [46, 88, 62], petals: 14 },
    ridges: [{ at: 0.82, rough: 0.03, turn: 7, colour: [18, 32, 34] }],
  },
} as const satisfies Record<string, Scene>;

export type SceneName = keyof typeof scenes;

/** A landscape, as a PNG. */
export function drawScene(name: SceneName): Buffer {
  const { width, height, sky, sun, ridges }: Scene = scenes[name];
  const rows = Buffer.alloc(height * (1 + width * 3));
  const crests = ridges.map(({ at, rough, turn }) =>
    Array.from({ length: width }, (_, x) => {
      const along = (x / width) * 2 * Math.PI;
      return height * (at + rough * (0.6 * Math.sin(along * 1.3 + turn) + 0.3 * Math.sin(along * 3.1 + 2 * turn) + 0.1 * Math.sin(along * 9 + turn)));
    }),
  );
  const grounds = ridges.map(({ colour }) => rgb(colour));
  const disc = sun && rgb(sun.colour);
  for (let y = 0; y < height; y++) {
    const air = rgb([0, 1, 2].map((part) => sky[0][part]! + ((sky[1][part]! - sky[0][part]!) * y) / height) as unknown as Colour);
    for (let x = 0; x < width; x++) {
      const ground = crests.findLastIndex((crest) => y >= crest[x]!);
      const inSun = sun && isInside(x - sun.x * width, y - sun.y * height, sun.r * width, sun.petals);
      const colour = ground >= 0 ? grounds[ground]! : inSun ? disc! : air;
      rows.set(colour, y * (1 + width * 3) + 1 + x * 3);
    }
  }
  return png(width, height, rows);
}

const isInside = (x: number, y: number, r: number, petals = 0): boolean =>
  Math.hypot(x, y) < (petals > 0 ? r * (0.75 + 0.25 * Math.abs(Math.cos((petals / 2) * Math.atan2(y, x)))) : r);

function rgb([hue, saturation, lightness]: Colour): [number, number, number] {
  const [s, l] = [saturation / 100, lightness / 100];
  const part = (n: number): number => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (l - s * Math.min(l, 1 - l) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
}

/** @param rows  Three bytes a pixel, each row behind a zero. */
function png(width: number, height: number, rows: Buffer): Buffer {
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8);
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

/** Samples of sound a second. */
const rate = 8_000;
const bars = 64;

/** Somebody hums, as a WAV, with how loud it is. */
export function hum(seconds: number): { bytes: Buffer; durationMs: number; waveform: number[] } {
  const samples = Buffer.alloc(seconds * rate);
  const loudness = (at: number): number => Math.max(0, 0.55 + 0.45 * Math.sin(at * 2.1)) * Math.abs(Math.sin(at * 7.3)) * (0.6 + 0.4 * Math.sin(at * 0.7 + 1));
  for (let n = 0; n < samples.length; n++) {
    const at = n / rate;
    samples[n] = 128 + Math.round(70 * loudness(at) * Math.sin(2 * Math.PI * 165 * at + 2 * Math.sin(at * 9)));
  }
  const head = Buffer.alloc(44);
  head.write('RIFF', 0, 'latin1');
  head.writeUInt32LE(36 + samples.length, 4);
  head.write('WAVEfmt ', 8, 'latin1');
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate, 28);
  head.writeUInt16LE(1, 32);
  head.writeUInt16LE(8, 34);
  head.write('data', 36, 'latin1');
  head.writeUInt32LE(samples.length, 40);
  const waveform = Array.from({ length: bars }, (_, bar) => Math.round(31 * Math.min(1, loudness(((bar + 0.5) / bars) * seconds))));
  return { bytes: Buffer.concat([head, samples]), durationMs: seconds * 1_000, waveform };
}

/** A sheet of paper with a line on it, as a PDF, made as large as its size is told. */
export function paper(line: string, size: number): Buffer {
  const drawn = `BT /F 18 Tf 72 720 Td (${line.replace(/[^\x20-\x7e]|[()\\]/g, '')}) Tj ET`;
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
    '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>',
    `<< /Length ${drawn.length} >>\nstream\n${drawn}\nendstream`,
  ];
  const text = `%PDF-1.4\n${objects.map((object, at) => `${at + 1} 0 obj\n${object}\nendobj\n`).join('')}trailer << /Root 1 0 R /Size 5 >>\n%%EOF\n`;
  return Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc(Math.max(0, size - text.length), '\n')]);
}
