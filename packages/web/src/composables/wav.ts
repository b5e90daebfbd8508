/** Samples a second of what is encoded here: enough for speech. */
export const wavRate = 16_000;

/**
 * Speech as a WAV of 16 bits, mono: for browsers that can record in no other way.
 *
 * @param parts  Samples from -1 to 1, in the order in which they came.
 * @param rate  Samples a second of `parts`.
 */
export function encodeWav(parts: readonly Float32Array[], rate: number): ArrayBuffer {
  const samples = slower(parts, rate);
  const bytes = new ArrayBuffer(44 + samples.length * 2);
  const view = new DataView(bytes);
  const text = (at: number, word: string): void => new Uint8Array(bytes).set(new TextEncoder().encode(word), at);
  text(0, 'RIFF');
  view.setUint32(4, 36 + samples.length * 2, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, wavRate, true);
  view.setUint32(28, wavRate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, samples.length * 2, true);
  for (const [index, sample] of samples.entries()) view.setInt16(44 + index * 2, Math.round(Math.min(1, Math.max(-1, sample)) * 32_767), true);
  return bytes;
}

/** Each sample the mean of those it stands for, so that what is too high for the new rate does not come back as another tone. */
function slower(parts: readonly Float32Array[], rate: number): Float32Array {
  const count = parts.reduce((sum, part) => sum + part.length, 0);
  const result = new Float32Array(Math.floor((count * wavRate) / rate));
  const sums = new Float32Array(result.length);
  const counts = new Uint16Array(result.length);
  let at = 0;
  for (const part of parts) {
    for (const sample of part) {
      const to = Math.floor((at++ * wavRate) / rate);
      if (to >= result.length) break;
      sums[to]! += sample;
      counts[to]! += 1;
    }
  }
  for (let index = 0; index < result.length; index++) result[index] = counts[index] ? sums[index]! / counts[index]! : (result[index - 1] ?? 0);
  return result;
}
