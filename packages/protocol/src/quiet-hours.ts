import type { EntityOf } from './entities.ts';

/**
 * Does the person want no pushes, notifications and sounds at this time, by the clock on their wall? Two equal ends are no hours at all.
 *
 * @param now  Milliseconds since 1970.
 */
export function isQuiet({ quietFrom, quietTo, timeZone }: Pick<EntityOf<'settings'>, 'quietFrom' | 'quietTo' | 'timeZone'>, now: number): boolean {
  if (quietFrom === null || quietTo === null || quietFrom === quietTo) return false;
  const minute = minuteOfDay(now, timeZone);
  return quietFrom < quietTo ? minute >= quietFrom && minute < quietTo : minute >= quietFrom || minute < quietTo;
}

function minuteOfDay(now: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en', { timeZone, hourCycle: 'h23', hour: 'numeric', minute: 'numeric' }).formatToParts(now);
  const part = (type: 'hour' | 'minute') => Number(parts.find((candidate) => candidate.type === type)!.value);
  return part('hour') * 60 + part('minute');
}
