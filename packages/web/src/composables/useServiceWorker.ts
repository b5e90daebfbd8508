import { pageKeepers } from './page-keepers.ts';
import { tellNewVersion } from './useNewVersion.ts';

/** Milliseconds without a touch after which nobody is disturbed by a page that loads itself anew. */
const idleMs = 5 * 60_000;
/** Milliseconds between two questions whether there is a new version. */
const askEveryMs = 60 * 60_000;

/** Is there a service worker for us to have? Pages over plain HTTP from another machine have none, and do without. */
const available = (): boolean => import.meta.env.PROD && 'serviceWorker' in navigator;

/** The registration, once the worker is at work; undefined where there is none. */
export const serviceWorkerReady = async (): Promise<ServiceWorkerRegistration | undefined> => (available() ? navigator.serviceWorker.ready : undefined);

/**
 * Registers the service worker: the program opens without the network from then on. A new version of it waits until this
 * page is hidden or left alone, and nothing is half done in it.
 */
export async function useServiceWorker(): Promise<void> {
  if (!available()) return;
  const { serviceWorker } = navigator;
  let hadWorker = serviceWorker.controller !== null;
  const registration = await serviceWorker.register(scriptUrl(), { updateViaCache: 'none' }).catch((error: unknown) => {
    console.warn('kith: no service worker', error);
    return undefined;
  });
  if (!registration) return;

  const found = (): void => {
    // The first one of all is not a new version.
    if (registration.waiting && serviceWorker.controller) offer(() => registration.waiting?.postMessage('take-over'));
  };
  const follow = (): void => registration.installing?.addEventListener('statechange', found);
  registration.addEventListener('updatefound', follow);
  follow();
  found();
  serviceWorker.addEventListener('controllerchange', () => {
    // This tab asked for it, or another did.
    if (hadWorker) offer(() => location.reload());
    hadWorker = true;
  });

  let askedAt = Date.now();
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible' || Date.now() - askedAt < askEveryMs) return;
    askedAt = Date.now();
    void registration.update().catch(() => undefined);
  });
}

/** The server has said that this version is too old. One that the worker finds is taken at a quiet moment; else a line says so. */
export async function lookForNewVersion(): Promise<void> {
  const registration = available() ? await navigator.serviceWorker.getRegistration() : undefined;
  await registration?.update().catch(() => undefined);
  // Never by itself here: where there is nothing newer to load, that would go on for ever.
  if (!registration?.waiting && !registration?.installing) tellNewVersion();
}

// A screen that is loaded on demand is not there any more: the server has a newer version, unless there is no network.
addEventListener('vite:preloadError', () => {
  fetch('/', { method: 'HEAD', cache: 'no-store' }).then(
    () => tellNewVersion(),
    () => undefined,
  );
});

let touchedAt = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;
let wanted: (() => void) | undefined;
let asked = false;

/** Takes the new version as soon as that disturbs nobody; until then a quiet line offers it. */
function offer(take: () => void): void {
  wanted = take;
  const now = (): void => {
    asked = true;
    wanted!();
  };
  // Somebody has said yes to the first half of it, or nobody is disturbed.
  if (asked || !isInUse()) return now();
  tellNewVersion(now);
  if (timer !== undefined) return;
  timer = setInterval(() => !isInUse() && now(), 60_000);
  document.addEventListener('visibilitychange', () => !isInUse() && now());
  for (const event of ['pointerdown', 'keydown', 'wheel', 'touchstart']) addEventListener(event, () => (touchedAt = Date.now()), { passive: true, capture: true });
}

/** Would somebody notice if the page were loaded anew? */
function isInUse(): boolean {
  if (document.visibilityState === 'visible' && Date.now() - touchedAt < idleMs) return true;
  if (document.querySelector('dialog[open], [role="menu"], [role="dialog"]')) return true;
  if ([...pageKeepers].some((keeps) => keeps())) return true;
  if ([...document.querySelectorAll<HTMLMediaElement>('audio, video')].some((media) => !media.paused)) return true;
  return [...document.querySelectorAll<HTMLInputElement | HTMLTextAreaElement>('textarea, input:not([type="checkbox"], [type="radio"], [type="range"])')].some(
    (field) => field.value !== field.defaultValue,
  );
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

/** Where scripts from strings are forbidden, the address of the worker's is a string that a policy has to answer for. */
function scriptUrl(): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  const url = '/sw.js';
  return trustedTypes?.createPolicy('kith-worker', { createScriptURL: () => url }).createScriptURL(url) ?? url;
}
