import { describe, expect, test } from 'vitest';
import { ConnectionRates, TokenBucket } from './rate-limit.ts';
import { Strangers, network } from './strangers.ts';

describe('a token bucket', () => {
  test('gives its burst at once, then as fast as it refills, and says how long to wait', () => {
    const bucket = new TokenBucket({ burst: 3, perSecond: 2 }, 0);
    expect([0, 0, 0].map(() => bucket.take(0))).toEqual([0, 0, 0]);
    expect(bucket.take(0)).toBe(500);
    expect(bucket.take(499)).toBe(1);
    expect(bucket.take(500)).toBe(0);
    expect(bucket.take(500)).toBe(500);
  });

  test('never holds more than its burst', () => {
    const bucket = new TokenBucket({ burst: 2, perSecond: 1 }, 0);
    expect([0, 0, 0].map(() => bucket.take(1_000_000))).toEqual([0, 0, 1_000]);
  });

  test('waiting the time it names is enough', () => {
    const bucket = new TokenBucket({ burst: 1, perSecond: 3 }, 0);
    let now = 0;
    for (let n = 0; n < 1_000; n++) {
      const wait = bucket.take(now);
      if (wait === 0) continue;
      now += wait;
      expect(bucket.take(now)).toBe(0);
    }
  });
});

describe('what is counted about a connection', () => {
  test('classes do not take from each other', () => {
    const rates = new ConnectionRates();
    for (let n = 0; n < 60; n++) expect(rates.take('send', 0)).toBe(0);
    expect(rates.take('send', 0)).toBe(100);
    expect(rates.take('command', 0)).toBe(0);
    expect(rates.take('sync', 0)).toBe(0);
  });

  test('refusals are forgotten after 10 s, frames that are not JSON after 60 s', () => {
    const rates = new ConnectionRates();
    for (let n = 0; n < 100; n++) expect(rates.refused(0)).toBe(false);
    expect(rates.refused(10_000)).toBe(false);
    for (let n = 0; n < 5; n++) expect(rates.bad(0)).toBe(false);
    expect(rates.bad(59_999)).toBe(true);
    expect(rates.bad(120_000)).toBe(false);
  });

  test('a connection that has been still is as good as new, and not before', () => {
    const [calls, pings, refusals, bad] = [new ConnectionRates(), new ConnectionRates(), new ConnectionRates(), new ConnectionRates()];
    expect(calls.isIdle(0)).toBe(true);
    for (let n = 0; n < 60; n++) calls.take('send', 0);
    expect([5_999, 6_000].map((now) => calls.isIdle(now))).toEqual([false, true]);
    pings.pinged(0);
    expect([99, 100].map((now) => pings.isIdle(now))).toEqual([false, true]);
    refusals.refused(0);
    expect([9_999, 10_000].map((now) => refusals.isIdle(now))).toEqual([false, true]);
    bad.bad(0);
    expect([59_999, 60_000].map((now) => bad.isIdle(now))).toEqual([false, true]);
  });
});

describe('those who knock', () => {
  test('addresses of the machine itself are not limited each', () => {
    const strangers = new Strangers(0);
    for (let n = 0; n < 200; n++) expect(strangers.enter('127.0.0.1', 0)).toBeUndefined();
    expect(strangers.enter('203.0.113.1', 0)).toBeUndefined();
  });

  test('all together: 1,000 at once, then 500 a second', () => {
    const strangers = new Strangers(0);
    const knock = (now: number): string | undefined => {
      const limit = strangers.enter('127.0.0.1', now);
      if (!limit) strangers.leave('127.0.0.1');
      return limit;
    };
    for (let n = 0; n < 1_000; n++) expect(knock(0)).toBeUndefined();
    expect(knock(0)).toBe('connections-rate');
    for (let n = 0; n < 500; n++) expect(knock(1_000)).toBeUndefined();
    expect(knock(1_000)).toBe('connections-rate');
  });

  test('who is remembered is bounded', () => {
    const strangers = new Strangers(0);
    for (let n = 0; n < 20_000; n++) {
      const ip = `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;
      expect(strangers.enter(ip, n * 10)).toBeUndefined();
      strangers.leave(ip);
    }
    expect(strangers.addressesKnown).toBeLessThanOrEqual(10_000);
  });

  test.each([
    ['203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
  ])('%s belongs to %s', (ip, expected) => {
    expect(network(ip)).toBe(expected);
  });
});
