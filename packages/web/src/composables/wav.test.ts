import { expect, test } from 'vitest';
import { encodeWav, wavRate } from './wav.ts';

const samplesOf = (bytes: ArrayBuffer): number[] => [...new Int16Array(bytes, 44)];
const tone = (hertz: number, rate: number, seconds = 1): Float32Array => Float32Array.from({ length: rate * seconds }, (_, n) => Math.sin((2 * Math.PI * hertz * n) / rate) * 0.5);

test('[VO41] a WAV says what it is, and lasts as long as what was heard', () => {
  for (const rate of [16_000, 44_100, 48_000]) {
    const bytes = encodeWav([tone(440, rate).subarray(0, 1_000), tone(440, rate).subarray(1_000)], rate);
    const view = new DataView(bytes);
    const word = (at: number): string => String.fromCharCode(...new Uint8Array(bytes, at, 4));
    expect([word(0), word(8), word(12), word(36)]).toEqual(['RIFF', 'WAVE', 'fmt ', 'data']);
    expect([view.getUint32(4, true) + 8, view.getUint32(40, true) + 44]).toEqual([bytes.byteLength, bytes.byteLength]);
    expect([view.getUint16(20, true), view.getUint16(22, true), view.getUint32(24, true), view.getUint32(28, true), view.getUint16(32, true), view.getUint16(34, true)]).toEqual([
      1,
      1,
      wavRate,
      wavRate * 2,
      2,
      16,
    ]);
    expect(samplesOf(bytes)).toHaveLength(wavRate);
  }
});

test('[VO41] a tone stays that tone, what is too high is not heard as another, and what is too loud is cut', () => {
  const crossings = (samples: number[]): number => samples.filter((sample, n) => n > 0 && sample >= 0 !== samples[n - 1]! >= 0).length;
  const heard = samplesOf(encodeWav([tone(440, 48_000)], 48_000));
  expect(Math.abs(crossings(heard) - 880)).toBeLessThan(4);
  expect(Math.max(...heard)).toBeGreaterThan(15_000);
  expect(Math.max(...heard)).toBeLessThan(16_500);
  const tooHigh = samplesOf(encodeWav([tone(16_000, 48_000)], 48_000));
  expect(Math.max(...tooHigh.map(Math.abs))).toBeLessThan(500);
  expect(samplesOf(encodeWav([Float32Array.of(2, -2, 0)], 16_000))).toEqual([32_767, -32_767, 0]);
});
