/** Of sorted or unsorted numbers, by linear interpolation. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return Number.NaN;
  const place = (sorted.length - 1) * share;
  const low = Math.floor(place);
  return sorted[low]! + ((sorted[low + 1] ?? sorted[low]!) - sorted[low]!) * (place - low);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** From the least to the most. */
export const spread = (values: readonly number[]): [number, number] => [Math.min(...values), Math.max(...values)];

/** Three digits are what these measurements can tell. */
export function round(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(3)) : value;
}
