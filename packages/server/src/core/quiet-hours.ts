import type { SettingsTable } from '../db/schema.ts';

/** Does the person want no pushes at this time, by the clock on their wall? Two equal ends are no hours at all. */
export function isQuiet({ quiet_from, quiet_to, time_zone }: Pick<SettingsTable, 'quiet_from' | 'quiet_to' | 'time_zone'>, now: number): boolean {
  if (quiet_from === null || quiet_to === null || quiet_from === quiet_to) return false;
  const minute = minuteOfDay(now, time_zone);
  return quiet_from < quiet_to ? minute >= quiet_from && minute < quiet_to : minute >= quiet_from || minute < quiet_to;
}

function minuteOfDay(now: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en', { timeZone, hourCycle: 'h23', hour: 'numeric', minute: 'numeric' }).formatToParts(now);
  const part = (type: 'hour' | 'minute') => Number(parts.find((candidate) => candidate.type === type)!.value);
  return part('hour') * 60 + part('minute');
}
