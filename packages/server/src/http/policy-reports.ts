import { RequestError, limits } from '@kith/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isLoopback } from '../config.ts';
import type { Core } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import { TokenBucket } from '../gateway/rate-limit.ts';
import { network } from '../gateway/strangers.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { policyDirectives, reportsPath } from './headers.ts';
import { isCrossSite } from './identify.ts';
import type { Doorkeeper } from './origin.ts';

interface Parts {
  core: Core;
  doorkeeper: Doorkeeper;
  clock: Clock;
  metrics: Metrics;
  log: Log;
}

/** Anybody can send some: a page that is broken for everybody is known after the first few. */
const rateOfAll = { burst: 60, perSecond: 0.5 };
const ratePerAddress = { burst: 20, perSecond: 0.1 };
const mostAddresses = 1_000;
/** Reports taken out of one request. */
const mostAtOnce = 20;
/** Milliseconds within which one directive is told to the audit log once. */
const tellEveryMs = 3_600_000;
/** UTF-16 units of a place or an origin that go into the log. */
const shownUnits = 200;

/** What a browser tells of a page that did what its policy forbids. Nothing of what was on the page. */
interface Broken {
  directive: string;
  /** Another site's origin, or a word such as `inline`. */
  blocked: string;
  /** The path of the script that did it, and its line. */
  source: string;
  line: number;
}

/**
 * `POST /policy-reports`: browsers say here that a page of ours broke its content security policy, which is an attack or a
 * mistake of ours. It is counted, logged and told to the audit log, and nothing of it is kept anywhere else.
 */
export async function addPolicyReports(app: FastifyInstance, { core, doorkeeper, clock, metrics, log }: Parts): Promise<void> {
  const all = new TokenBucket(rateOfAll, clock.now());
  const addresses = new Map<string, TokenBucket>();
  const told = new Map<string, number>();

  const waitMs = (ip: string): number => {
    const now = clock.now();
    if (isLoopback(ip)) return all.take(now);
    const key = network(ip);
    let own = addresses.get(key);
    if (!own) {
      if (addresses.size >= mostAddresses) for (const [one, bucket] of addresses) if (bucket.isFull(now)) addresses.delete(one);
      // More of them at once than are kept in mind are an attack; then only the bucket of all counts.
      if (addresses.size < mostAddresses) addresses.set(key, (own = new TokenBucket(ratePerAddress, now)));
    }
    return own?.take(now) || all.take(now);
  };

  const tell = async ({ directive, blocked }: Broken, ip: string): Promise<void> => {
    const now = clock.now();
    if (now - (told.get(directive) ?? -Infinity) < tellEveryMs) return;
    told.set(directive, now);
    await core.note([{ event: 'policy.broken', ip, detail: { directive, blocked } }]);
  };

  // In a scope of its own: these two types are taken here and nowhere else.
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(['application/csp-report', 'application/reports+json'], { parseAs: 'string', bodyLimit: limits.policyReportBytes }, (_request, body, done) =>
      done(null, body),
    );
    scope.setErrorHandler((error: Error & { code?: string }) => {
      throw error.code === 'FST_ERR_CTP_BODY_TOO_LARGE' ? new RequestError('too_large', { limit: 'policyReportBytes' }) : error;
    });
    scope.post(reportsPath, async (request: FastifyRequest, reply) => {
      if (isCrossSite(request.raw)) throw new RequestError('forbidden', { message: 'Only pages of this server may say so.' });
      const ip = doorkeeper.addressOf(request.raw);
      const wait = waitMs(ip);
      if (wait > 0) {
        metrics.limitHit('policy-reports');
        throw new RequestError('rate_limited', { retryAfterMs: wait });
      }
      const reports = readReports(request.body);
      for (const report of reports) {
        metrics.policyReports.inc({ directive: report.directive });
        log.warn({ ...report }, 'a page broke its content security policy');
        await tell(report, ip).catch((error: unknown) => log.error({ err: error }, 'the audit log could not be written'));
      }
      return reply.code(204).send();
    });
  });
}

/** Of what came, only words of ours, numbers, origins and paths. @throws bad_request */
function readReports(body: unknown): Broken[] {
  let given: unknown;
  try {
    given = JSON.parse(String(body));
  } catch {
    throw new RequestError('bad_json');
  }
  // The older form is one object, the newer a list of reports of all kinds.
  const bodies = Array.isArray(given)
    ? given.filter((one) => isRecord(one) && one['type'] === 'csp-violation').map((one: Record<string, unknown>) => one['body'])
    : [isRecord(given) ? given['csp-report'] : undefined];
  const found = bodies.slice(0, mostAtOnce).flatMap((one) => (isRecord(one) ? [readOne(one)] : []));
  if (found.length === 0) throw new RequestError('bad_request', { message: 'There is no report in it.' });
  return found;
}

function readOne(report: Record<string, unknown>): Broken {
  const text = (...names: string[]): string => names.map((name) => report[name]).find((value) => typeof value === 'string') ?? '';
  const line = report['lineNumber'] ?? report['line-number'];
  const directive = text('effectiveDirective', 'effective-directive', 'violated-directive').split(' ')[0]!;
  const from = URL.parse(text('sourceFile', 'source-file'));
  return {
    directive: policyDirectives.find((one) => directive === one || directive.startsWith(`${one}-`)) ?? 'other',
    blocked: shownOrigin(text('blockedURL', 'blocked-uri')),
    source: from ? from.pathname.slice(0, shownUnits) : '',
    line: typeof line === 'number' && Number.isSafeInteger(line) ? line : 0,
  };
}

/** Of an address no more than whose it is: the rest may be somebody's secret. */
function shownOrigin(blocked: string): string {
  if (/^[a-z-]{1,32}$/.test(blocked)) return blocked;
  const url = URL.parse(blocked);
  if (!url) return 'unknown';
  return (url.origin === 'null' ? url.protocol : url.origin).slice(0, shownUnits);
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
