/** Rows that came lately; at most so many. */
const met = new Set<string>();
const most = 500;

/** Is this row drawn for the first time? Where its group is parted from another it is drawn anew, and is no news. */
export function isFirstSight(key: string): boolean {
  if (met.has(key)) return false;
  met.add(key);
  if (met.size > most) met.delete(met.values().next().value!);
  return true;
}
