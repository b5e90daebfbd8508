import type { Doorkeeper } from './origin.ts';

/** On every answer. What a page may do beyond, its content security policy says. */
export function commonHeaders({ secure, secureBelow }: Pick<Doorkeeper, 'secure' | 'secureBelow'>): Record<string, string> {
  return {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'camera=(), geolocation=(), microphone=(self), payment=(), usb=(), serial=(), hid=(), midi=(), display-capture=(), browsing-topics=()',
    'origin-agent-cluster': '?1',
    // Only where the whole site is on TLS: a browser that has seen this never comes back without.
    ...(secure && { 'strict-transport-security': `max-age=31536000${secureBelow ? '; includeSubDomains' : ''}` }),
  };
}

/** For answers that are no page. */
export const apiPolicy = "default-src 'none'; frame-ancestors 'none'";

/** For the web client. @param origin  By which it was called: older Safari does not count wss: as 'self'. */
export function pagePolicy(origin: string): string {
  return [...allowed(origin), `report-uri ${reportsPath}`, ...(origin.startsWith('https:') ? ['report-to pages'] : [])].join('; ');
}

/** Where browsers say that a page broke its policy. The newer way of telling them exists on https alone, and takes the place of the older there. */
export const reportsPath = '/policy-reports';
export const reportingEndpoints = `pages="${reportsPath}"`;

function allowed(origin: string): string[] {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    "font-src 'self'",
    `connect-src 'self' ${origin.replace(/^http/, 'ws')}`,
    "worker-src 'self'",
    "manifest-src 'self'",
    "frame-src 'none'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    // Under which Vue's runtime makes its templates, and the client names its service worker.
    'trusted-types vue kith-worker',
  ];
}

/** What a report may be about. `script-src-elem` and the like count as what they are a part of. */
export const policyDirectives: readonly string[] = allowed('').map((directive) => directive.split(' ')[0]!);
