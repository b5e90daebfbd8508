import { expect, test, vi } from 'vitest';
import { setLanguage } from '../i18n.ts';
import { useFormat } from './useFormat.ts';

test('[PG33] when somebody was last here is told in round figures, and the older the rounder', async () => {
  vi.stubGlobal('document', { documentElement: {} });
  const { ago } = useFormat();
  const minute = 60_000;
  // Noon, so that an hour ago is today.
  const noon = new Date().setHours(12, 0, 0, 0);
  const said = (before: number) => ago(noon - before, noon);
  await setLanguage('en');
  expect([0, 1, 7, 14, 37, 59, 61, 179].map((n) => said(n * minute + 20_000))).toEqual([
    'just now',
    '1 minute ago',
    '7 minutes ago',
    '10 minutes ago',
    '35 minutes ago',
    '55 minutes ago',
    '1 hour ago',
    '2 hours ago',
  ]);
  expect(said(24 * 60 * minute)).toBe('yesterday');
  expect(said(3 * 24 * 60 * minute)).toMatch(/^[A-Z][a-z]+day$/);
  expect(said(20 * 24 * 60 * minute)).toMatch(/^(?:\w+ \d+|\d+ \w+)(?:,? \d{4})?$/);
  await setLanguage('zh-CN');
  expect(said(3 * 24 * 60 * minute)).toMatch(/^星期.$/);
});

test('[MD3] how large a file is and how long it plays is told as people count', async () => {
  vi.stubGlobal('document', { documentElement: {} });
  const { bytes, duration } = useFormat();
  await setLanguage('en');
  expect([0, 1, 999, 1_000, 1_449_000, 12_600_000, 104_857_600, 5_000_000_000_000].map(bytes)).toEqual([
    '0 byte',
    '1 byte',
    '999 byte',
    '1 kB',
    '1.4 MB',
    '13 MB',
    '105 MB',
    '5,000 GB',
  ]);
  expect([0, 400, 42_400, 61_000, 3_729_000].map(duration)).toEqual(['0:00', '0:00', '0:42', '1:01', '1:02:09']);
});
