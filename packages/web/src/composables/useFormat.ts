import { language, t } from '../i18n.ts';
import { playTime } from './play-time.ts';
import { useNow } from './useNow.ts';

const formats = new Map<string, Intl.DateTimeFormat>();

function format(at: number, options: Intl.DateTimeFormatOptions): string {
  const key = language() + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) formats.set(key, (found = new Intl.DateTimeFormat(language(), options)));
  return found.format(at);
}

const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'] as const;

/** Whole days between the calendar days of two times; positive when `at` is earlier. */
export function daysBefore(at: number, now: number): number {
  const day = (time: number) => new Date(time).setHours(0, 0, 0, 0);
  return Math.round((day(now) - day(at)) / 86_400_000);
}

export function useFormat() {
  const now = useNow();
  const year = (at: number) => (new Date(at).getFullYear() === new Date(now.value).getFullYear() ? {} : ({ year: 'numeric' } as const));

  const time = (at: number) => format(at, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

  return {
    time,
    /** Of a list row: 14:29, Yesterday, Tue, 3 Nov. */
    short(at: number): string {
      const days = daysBefore(at, now.value);
      if (days <= 0) return time(at);
      if (days === 1) return t('time.yesterday');
      if (days < 7) return format(at, { weekday: 'short' });
      return format(at, { day: 'numeric', month: 'short', ...year(at) });
    },
    /** Of a date line: Today, Yesterday, Tuesday, 3 November. */
    day(at: number): string {
      const days = daysBefore(at, now.value);
      if (days <= 0) return t('time.today');
      if (days === 1) return t('time.yesterday');
      if (days < 7) return format(at, { weekday: 'long' });
      return format(at, { day: 'numeric', month: 'long', ...year(at) });
    },
    date: (at: number) => format(at, { day: 'numeric', month: 'long', ...year(at) }),
    /** To the second, for what is asked for. */
    exact: (at: number) => format(at, { dateStyle: 'long', timeStyle: 'medium' }),
    full: (at: number) => format(at, { dateStyle: 'full', timeStyle: 'short' }),
    /** "10 minutes ago", "Tuesday", "3 November". Rounded, to five minutes from ten on: the exact minute of leaving is nobody's business. */
    ago(at: number, from = now.value): string {
      const minutes = Math.max(0, Math.floor((from - at) / 60_000));
      if (minutes < 1) return t('time.now');
      const rounded = minutes < 10 ? minutes : minutes - (minutes % 5);
      if (minutes < 60) return t('time.minutes', { n: rounded }, rounded);
      const days = daysBefore(at, from);
      if (days === 0) return t('time.hours', { n: Math.floor(minutes / 60) }, Math.floor(minutes / 60));
      if (days === 1) return t('time.yesterdayInside');
      if (days < 7) return format(at, { weekday: 'long' });
      return format(at, { day: 'numeric', month: 'long', ...year(at) });
    },
    month: (at: number) => format(at, { month: 'long', year: 'numeric' }),
    /** 1.4 MB, 812 kB: as people count, in thousands. */
    bytes(count: number): string {
      const step = Math.min(Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)), units.length - 1);
      const value = count / 1000 ** step;
      return new Intl.NumberFormat(language(), { style: 'unit', unit: units[step]!, unitDisplay: 'short', maximumFractionDigits: value < 10 && step > 0 ? 1 : 0 }).format(value);
    },
    /** 0:42, 1:02:09. */
    duration: playTime,
    /** Names in one phrase, as the language joins them. */
    list: (names: string[]) => new Intl.ListFormat(language(), { type: 'conjunction' }).format(names),
  };
}
