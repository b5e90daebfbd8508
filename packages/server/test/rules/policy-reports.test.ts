import { limits } from '@kith/protocol';
import { pino } from 'pino';
import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../manual-clock.ts';
import type { HttpAnswer } from '../harness.ts';
import { usePlace } from './place.ts';

// Browsers say when a page of ours breaks its content security policy: packages/server/src/http/policy-reports.ts.

const clock = new ManualClock();
const lines: string[] = [];
const place = usePlace({ clock, log: pino({}, { write: (line: string) => void lines.push(line) }), config: { trustProxy: '127.0.0.1' } });
const hourMs = 3_600_000;

const older = 'application/csp-report';
const newer = 'application/reports+json';
const violation = (more: object = {}): string =>
  JSON.stringify({
    'csp-report': {
      'document-uri': 'https://chat.example.org/c/secret-place',
      'violated-directive': 'script-src-elem',
      'effective-directive': 'script-src-elem',
      'blocked-uri': 'https://evil.example/take.js?what=secret-word',
      'source-file': 'https://chat.example.org/assets/index.js?v=secret-query',
      'line-number': 7,
      'script-sample': 'secret-sample',
      ...more,
    },
  });

const report = (body: string, { type = older, from = '203.0.113.1', headers = {} }: { type?: string; from?: string; headers?: Record<string, string> } = {}): Promise<HttpAnswer> =>
  place.server.http('POST', '/policy-reports', { headers: { 'content-type': type, 'x-forwarded-for': from, ...headers }, body });

async function counted(directive: string): Promise<number> {
  const { values } = await place.server.running.metrics.registry.getSingleMetric('kith_policy_reports_total')!.get();
  return values.find(({ labels }) => labels['directive'] === directive)?.value ?? 0;
}
async function limitHits(limit: string): Promise<number> {
  const { values } = await place.server.running.metrics.registry.getSingleMetric('kith_limit_hits_total')!.get();
  return values.find(({ labels }) => labels['limit'] === limit)!.value;
}
const logged = () => lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === 'a page broke its content security policy');
const noted = async () => (await place.rows.run<{ event: string; detail: string }>('select event, detail from audit')).filter(({ event }) => event === 'policy.broken');

beforeEach(() => clock.stall(hourMs));

describe('a page that broke its policy', () => {
  test('[CS2] is counted by directive, logged, and told to the audit log once an hour, without anything of what was on the page', async () => {
    const [before, told] = [await counted('script-src'), (await noted()).length];
    lines.length = 0;
    for (let time = 0; time < 3; time += 1) expect((await report(violation())).status).toBe(204);
    expect(await counted('script-src')).toBe(before + 3);
    const seen = { directive: 'script-src', blocked: 'https://evil.example', source: '/assets/index.js', line: 7 };
    expect(logged()).toMatchObject([seen, seen, seen]);
    expect((await noted()).slice(told).map(({ detail }) => JSON.parse(detail) as unknown)).toEqual([{ directive: 'script-src', blocked: 'https://evil.example' }]);
    await clock.stall(hourMs);
    await report(violation());
    expect((await noted()).length).toBe(told + 2);
    expect(lines.join('') + JSON.stringify(await noted())).not.toContain('secret');
  });

  test('[CS2] by the newer way comes in lists, of which everything else is passed over', async () => {
    const [before, others] = [await counted('img-src'), await counted('other')];
    const body = { effectiveDirective: 'img-src', blockedURL: 'data:image/png;base64,secret', sourceFile: '', lineNumber: null, sample: 'secret' };
    const list = [
      { type: 'deprecation', body: { id: 'x' } },
      { type: 'csp-violation', body },
      { type: 'csp-violation', body },
    ];
    expect((await report(JSON.stringify(list), { type: newer })).status).toBe(204);
    expect([await counted('img-src'), await counted('other')]).toEqual([before + 2, others]);
    expect(logged().at(-1)).toMatchObject({ blocked: 'data:', source: '', line: 0 });
  });

  test('[CS3] what is no report, or names no directive of ours, makes no new line of numbers', async () => {
    for (const [body, status] of [
      ['{', 400],
      ['null', 400],
      ['[]', 400],
      ['{"csp-report":[]}', 400],
      ['{"csp-report":"script-src"}', 400],
      ['[{"type":"csp-violation"}]', 400],
      [violation({ 'effective-directive': 'x'.repeat(1_000), 'blocked-uri': '\u001b[31m\nforged' }), 204],
      [violation({ 'effective-directive': { toString: 1 }, 'violated-directive': null, 'line-number': '7' }), 204],
    ] as const)
      expect([body, (await report(body)).status]).toEqual([body, status]);
    expect(await counted('other')).toBeGreaterThan(0);
    expect(logged().at(-2)).toMatchObject({ directive: 'other', blocked: 'unknown' });
    const { values } = await place.server.running.metrics.registry.getSingleMetric('kith_policy_reports_total')!.get();
    expect(values.length).toBeLessThanOrEqual(20);
  });

  test('[CS3] has so many bytes and not one more, and no other type is taken', async () => {
    const before = await limitHits('policyReportBytes');
    const most = violation().padEnd(limits.policyReportBytes);
    expect((await report(most)).status).toBe(204);
    expect((await report(`${most} `)).error).toBe('too_large');
    expect(await limitHits('policyReportBytes')).toBe(before + 1);
    for (const type of ['application/json', 'text/plain', 'multipart/form-data']) expect([type, (await report(violation(), { type })).status]).toEqual([type, 415]);
    // And these two types are taken nowhere else.
    expect((await place.server.http('POST', '/api/auth.guest', { headers: { 'content-type': older }, body: '{"name":"Eve"}' })).status).toBe(415);
  });

  test('[CS3] of another site is refused', async () => {
    for (const site of ['cross-site', 'same-site']) expect((await report(violation(), { headers: { 'sec-fetch-site': site } })).status).toBe(403);
    expect((await report(violation(), { headers: { 'sec-fetch-site': 'same-origin' } })).status).toBe(204);
  });

  test('[CS4] 20 at once are taken from one address, 60 from all, then one in so many seconds; the rest is counted and makes no line', async () => {
    const sent = async (count: number, from: (index: number) => string): Promise<number> => {
      let taken = 0;
      for (let index = 0; index < count; index += 1) {
        const answer = await report(violation(), { from: from(index) });
        expect([204, 429]).toContain(answer.status);
        expect(Number(answer.headers['retry-after']) > 0).toBe(answer.status === 429);
        if (answer.status === 204) taken += 1;
      }
      return taken;
    };
    const [before, lined] = [await limitHits('policy-reports'), logged().length];
    expect(await sent(25, () => '203.0.113.9')).toBe(20);
    expect(await sent(50, (index) => `198.51.100.${index}`)).toBe(40);
    expect(await limitHits('policy-reports')).toBe(before + 15);
    expect(logged().length).toBe(lined + 60);
    await clock.stall(10_000);
    expect(await sent(2, () => '203.0.113.9')).toBe(1);
  });
});
