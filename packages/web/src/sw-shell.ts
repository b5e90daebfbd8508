import { type FetchEvent, scope } from './sw-scope.ts';

/** Written by the build: the paths of all files it made, and a hash over what is in them. */
declare const SHELL: { version: string; files: string[] };

const prefix = 'kith-shell-';
const cacheName = prefix + SHELL.version;
const files = new Set(SHELL.files);

/**
 * Keeps the program itself: what the build made, by content. Nothing else is ever kept here: no answer of the API, no
 * file that somebody sent, nothing of a person.
 */
export function keepShell(): void {
  scope.addEventListener('install', (event) => event.waitUntil(fill()));
  scope.addEventListener('activate', (event) => event.waitUntil(takeOver()));
  scope.addEventListener('fetch', (event) => {
    const answer = find(event);
    if (answer) event.respondWith(answer);
  });
  // A new version waits until a page says that nobody would be disturbed.
  scope.addEventListener('message', ({ data }) => {
    if (data === 'take-over') void scope.skipWaiting();
  });
}

async function fill(): Promise<void> {
  const cache = await caches.open(cacheName);
  await Promise.all(
    SHELL.files.map(async (path) => {
      // A name under assets/ holds the hash of what is inside: what an older version kept of it is the same.
      const kept = path.startsWith('/assets/') ? await caches.match(path, { ignoreVary: true }) : undefined;
      const response = kept ?? (await fetch(path, { cache: path.startsWith('/assets/') ? 'default' : 'no-cache' }));
      if (!response.ok) throw new Error(`${path} answered ${response.status}`);
      await cache.put(path, response);
    }),
  );
}

async function takeOver(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(prefix) && name !== cacheName);
  await Promise.all(old.map((name) => caches.delete(name)));
  await scope.clients.claim();
}

/** @returns undefined: the network's to answer, as if there were no worker. */
function find({ request }: FetchEvent): Promise<Response> | undefined {
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin) return undefined;
  if (request.mode === 'navigate') return isPage(pathname) ? fromCache('/', request) : undefined;
  return files.has(pathname) && pathname !== '/' ? fromCache(pathname, request) : undefined;
}

/** What the server, too, answers with the one page there is. */
const isPage = (path: string): boolean => !path.includes('.') && !/^\/(api|ws|files|metrics|healthz|readyz)(\/|$)/.test(path);

async function fromCache(path: string, request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  return (await cache.match(path, { ignoreVary: true })) ?? fetch(request);
}
