import { tus } from './harness.ts';
import { type Kind, type Role, type Stage, type Thing, roles } from './permissions.ts';

// The routes of HTTP beside the methods: who gets what there. permissions.test.ts compares this table with the router, so
// that a route without a row fails, and tries every cell on a real server.

/** A status; hidden: just as a thing that never was. */
export type Status = number | 'hidden';
type Expected = Status | Partial<Record<Role, Status>>;

export interface Route<K extends Kind = Kind> {
  kind: K;
  request: (stage: Stage) => { url: string; headers?: Record<string, string>; body?: string };
  /** By the thing, then by role. What is left out is hidden. */
  expect: Partial<Record<Exclude<Thing<K>, 'missing'>, Expected>>;
  missing: Expected;
  /** Without a session, or with one that has ended. */
  nobody: Status;
}

const to = <K extends Kind>(kind: K, request: Route['request'], expect: Route<K>['expect']): Route<K> => ({ kind, request, expect, missing: 404, nobody: 401 });
/** Whoever asks, signed in or not, is answered the same. */
const open = (url: string, status: number): Route => ({ kind: 'nothing', request: () => ({ url }), expect: { nothing: status }, missing: status, nobody: status });

const everybody = (status: Status): Partial<Record<Role, Status>> => Object.fromEntries(roles.map((role) => [role, status]));
const inGroup: Partial<Record<Role, Status>> = { owner: 200, admin: 200, member: 200 };
const read = to('file', ({ fileId }) => ({ url: `/files/${fileId}/name` }), {
  unsent: { owner: 200 },
  own: 200,
  group: inGroup,
  direct: { owner: 200, blocked: 200 },
});
const picture = to('avatar', ({ fileId }) => ({ url: `/avatars/${fileId}/64` }), {
  annas: { ...everybody(200), blocked: 'hidden' },
  own: 200,
  group: inGroup,
});
const upload = (headers: Record<string, string>, body: string | undefined, status: number): Route<'upload'> =>
  to('upload', ({ fileId }) => ({ url: `/files/${fileId}`, headers: { ...tus, ...headers }, ...(body !== undefined && { body }) }), { annas: { owner: status }, own: status });

/** `methods`: has a row for each of them in permissions.ts. */
export const routes: Record<string, Route | 'methods'> = {
  'POST /api/:method': 'methods',
  'GET /files/:id/*': read,
  'HEAD /files/:id/*': read,
  'HEAD /files/:id': upload({}, undefined, 200),
  'PATCH /files/:id': upload({ 'upload-offset': '0', 'content-length': '5' }, 'bytes', 204),
  'DELETE /files/:id': upload({}, undefined, 204),
  'OPTIONS /files/:id': open('/files/any', 204),
  'GET /avatars/:id/:side': picture,
  'HEAD /avatars/:id/:side': picture,
  'GET /api/server': open('/api/server', 200),
  'HEAD /api/server': open('/api/server', 200),
  // Browsers report without saying whose they are.
  'POST /policy-reports': {
    ...open('/policy-reports', 204),
    request: () => ({ url: '/policy-reports', headers: { 'content-type': 'application/csp-report' }, body: '{"csp-report":{"effective-directive":"img-src"}}' }),
  },
  'GET /healthz': open('/healthz', 200),
  'HEAD /healthz': open('/healthz', 200),
  'GET /readyz': open('/readyz', 200),
  'HEAD /readyz': open('/readyz', 200),
  'GET /ws': open('/ws', 426),
  'HEAD /ws': open('/ws', 426),
  'GET /*': open('/chats', 200),
  'HEAD /*': open('/chats', 200),
};
