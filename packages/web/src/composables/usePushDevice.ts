import { computed, ref, shallowRef, watch } from 'vue';
import { clientNow, findClient } from './useClient.ts';
import { kept } from './kept.ts';
import { serviceWorkerReady } from './useServiceWorker.ts';

/** How long to wait for a service worker that is being installed. Milliseconds. */
const workerMs = 10_000;

/** The person's choice for this device. */
const wanted = kept('kith.notifications', false);
const declined = kept('kith.notificationsDeclined', false);
const permission = ref<NotificationPermission>(now());
/** Why the browser made no subscription, in its own words. */
const refusal = shallowRef<string>();

function now(): NotificationPermission {
  return 'Notification' in globalThis ? Notification.permission : 'denied';
}
const ask = (): void => void (permission.value = now());
// Given or taken in another tab, or in the browser's own settings.
watch(wanted, ask, { flush: 'sync' });
void (navigator as Partial<Navigator>).permissions
  ?.query({ name: 'notifications' })
  .then((status) => (status.onchange = ask))
  .catch(() => undefined);

/** iPhones and iPads let only installed applications notify. */
const isApplePhone = /iPhone|iPad/.test(navigator.userAgent) || (/Macintosh/.test(navigator.userAgent) && navigator.maxTouchPoints > 1);
const isInstalled = (): boolean => matchMedia('(display-mode: standalone)').matches || (navigator as { standalone?: boolean }).standalone === true;

/** What of this browser stands in the way of any notification. */
export function findObstacle(): 'insecure' | 'install' | 'unsupported' | undefined {
  if (isApplePhone && !isInstalled()) return 'install';
  if (!isSecureContext) return 'insecure';
  return 'Notification' in globalThis && 'serviceWorker' in navigator ? undefined : 'unsupported';
}

/** The service worker in whose name notifications are shown. */
export async function findRegistration(): Promise<ServiceWorkerRegistration | undefined> {
  const registration = await (navigator as Partial<Navigator>).serviceWorker?.getRegistration();
  return registration?.active ? registration : undefined;
}

/** The same, and a moment's wait while a page opened for the first time is getting its worker. */
async function workerSoon(): Promise<ServiceWorkerRegistration | undefined> {
  return (await findRegistration()) ?? Promise.race([serviceWorkerReady(), new Promise<undefined>((resolve) => setTimeout(resolve, workerMs))]);
}

/** @returns null where the browser has no push, or no subscription */
export async function findSubscription(): Promise<PushSubscription | null> {
  return (await (await findRegistration())?.pushManager?.getSubscription()) ?? null;
}

/** Notifications on this device: the person's choice, the browser's permission, and the subscription to pushes. */
export function usePushDevice() {
  const on = computed(() => {
    // Who signs out takes their choice along.
    void clientNow.value;
    return wanted.value && permission.value === 'granted';
  });

  async function turnOn(): Promise<void> {
    // Only ever from a click: a question out of the blue is answered with no, for ever.
    await Notification.requestPermission();
    ask();
    if (permission.value !== 'granted') return;
    wanted.value = true;
    await subscribe();
  }

  /** @param anew  Whatever there was is given up first. */
  async function subscribe(anew = false): Promise<void> {
    const client = findClient();
    const manager = (await workerSoon())?.pushManager;
    if (!client || !manager) return;
    refusal.value = undefined;
    const { publicKey } = await client.call('push.key', {});
    let subscription = await manager.getSubscription();
    if (subscription && (anew || keyOf(subscription) !== publicKey)) {
      await subscription.unsubscribe();
      subscription = null;
    }
    try {
      subscription ??= await manager.subscribe({ userVisibleOnly: true, applicationServerKey: publicKey });
    } catch (error) {
      // No push service to be had: notifications of open pages work all the same.
      refusal.value = (error as Error).message;
      return;
    }
    const { endpoint, keys } = subscription.toJSON();
    await client.call('push.subscribe', { endpoint: endpoint!, p256dh: keys!['p256dh']!, auth: keys!['auth']!, publicKey });
  }

  /** Nothing more comes here, and nothing stands here. */
  async function forget(): Promise<void> {
    await (await findSubscription())?.unsubscribe();
    for (const notification of (await (await findRegistration())?.getNotifications()) ?? []) notification.close();
  }

  return {
    on,
    permission,
    refusal,
    /** Is there something to ask? Not where the browser or the person has said no. */
    offered: computed(() => !on.value && !declined.value && permission.value !== 'denied' && findObstacle() === undefined),
    decline: () => (declined.value = true),
    turnOn,
    async turnOff(): Promise<void> {
      wanted.value = false;
      declined.value = true;
      const subscription = await findSubscription();
      await forget();
      if (subscription) await findClient()?.call('push.unsubscribe', { endpoint: subscription.endpoint });
    },
    /** At every start, as the protocol asks. */
    async renew(): Promise<void> {
      ask();
      // A server that cannot take it now is asked at the next start.
      if (on.value) await subscribe().catch((error: unknown) => console.warn('kith: push', error));
    },
    repair: () => subscribe(true),
    forget,
  };
}

/** base64url, as the server writes its own. */
function keyOf({ options: { applicationServerKey } }: PushSubscription): string {
  return btoa(String.fromCharCode(...new Uint8Array(applicationServerKey ?? new ArrayBuffer(0))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '');
}
