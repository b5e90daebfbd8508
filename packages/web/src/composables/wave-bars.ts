/** Bars that are drawn of a waveform, and how loud the loudest is told to be. */
export const barsShown = 32;
const loudest = 31;
/** Pixels. */
const step = 4.5;
const stroke = 2.5;
const height = { least: 4, most: 20 };

export const waveBox = { width: barsShown * step - 2, height: height.most + 2 };

/** As many bars as are asked for, each as loud as the loudest moment it stands for. */
export function resample(bars: readonly number[], count: number): number[] {
  if (bars.length === 0) return Array.from({ length: count }, () => 0);
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor((index * bars.length) / count);
    const to = Math.max(from + 1, Math.ceil(((index + 1) * bars.length) / count));
    return Math.max(...bars.slice(from, to));
  });
}

/** One path for all bars. */
export function wavePath(bars: readonly number[]): string {
  return resample(bars, barsShown)
    .map((bar, index) => {
      const length = height.least + (Math.min(bar, loudest) / loudest) * (height.most - height.least) - stroke;
      const x = index * step + stroke / 2;
      return `M${x} ${((waveBox.height - length) / 2).toFixed(2)}v${length.toFixed(2)}`;
    })
    .join('');
}

/** What the recorder heard, as loudness from 0 to 1 at even distances, as the bars of a message: so quiet a voice is still seen. */
export function barsOf(levels: readonly number[], count: number): number[] {
  const most = Math.max(...levels, 0);
  if (most <= 0.002) return Array.from({ length: Math.min(count, Math.max(1, levels.length)) }, () => 0);
  // The ear hears by ratios: half as loud is not half the bar.
  const scale = (level: number) => Math.round(Math.sqrt(Math.min(1, level / most)) * loudest);
  return resample(levels, Math.min(count, levels.length)).map(scale);
}
