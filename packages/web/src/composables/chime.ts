/** Seconds. */
const length = 0.55;
/** Two notes a fifth apart, the second a little later: heard, and not a call. Hertz, seconds, of full scale. */
const notes = [
  { pitch: 587.33, at: 0, loudness: 0.16 },
  { pitch: 880, at: 0.09, loudness: 0.13 },
];

/**
 * The sound of a new message, computed instead of fetched: it weighs nothing and belongs to nobody.
 *
 * @param rate  Samples per second.
 * @returns One channel, −1 to 1.
 */
export function chime(rate: number): Float32Array<ArrayBuffer> {
  const samples = new Float32Array(Math.round(length * rate));
  for (const { pitch, at, loudness } of notes) {
    for (let i = Math.round(at * rate); i < samples.length; i++) {
      const t = i / rate - at;
      // A soft attack, a bell's decay, and to nothing at the end: an edge anywhere would be a click.
      const envelope = Math.min(1, t / 0.006) * Math.exp(-t * 9) * Math.min(1, (length - i / rate) / 0.05);
      samples[i]! += loudness * envelope * (Math.sin(2 * Math.PI * pitch * t) + 0.25 * Math.sin(4 * Math.PI * pitch * t));
    }
  }
  return samples;
}
