import type { BrowserContext, BrowserContextOptions, CDPSession, Page, Worker } from 'playwright-core';
import type { MethodName } from '../packages/protocol/src/index.ts';
import type { Person } from '../packages/server/test/harness.ts';
import type { Device, PushService } from '../packages/server/test/push-service.ts';
import type { Site, Someone } from './people.ts';

interface Subscription {
  endpoint: string;
  p256dh: string;
  auth: string;
}

/** A notification as it stands on the screen. */
export interface Standing {
  title: string;
  body: string;
  tag: string;
  silent: boolean;
}

/**
 * What headless Chromium lacks, in pages and in the service worker: a permission to give, a screen to put notifications
 * on, and a push service to subscribe with. What stands and what is subscribed is kept in a cache that both see. Sounds
 * are counted where the browser starts them.
 */
function standIn({ subscriptions, answer }: { subscriptions: Subscription[]; answer: NotificationPermission }): void {
  // A blank page has no storage, and shows nothing.
  if (location.origin === 'null') return;
  const all = globalThis as unknown as Record<string, unknown>;
  const name = 'stand-in';
  const read = async <T>(key: string): Promise<T | undefined> => (await (await (await caches.open(name)).match(key))?.json()) as T | undefined;
  const write = async (key: string, value: unknown): Promise<void> => (await caches.open(name)).put(key, new Response(JSON.stringify(value)));

  const storage = all['localStorage'] as Storage | undefined;
  if (storage) {
    Object.defineProperty(Notification, 'permission', { get: () => storage.getItem('stand-in.permission') ?? 'default' });
    Notification.requestPermission = () => {
      all['asked'] = true;
      storage.setItem('stand-in.permission', answer);
      return Promise.resolve(answer);
    };
    all['sounds'] = 0;
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (...when) {
      all['sounds'] = (all['sounds'] as number) + 1;
      start.apply(this, when);
    };
  }
  // Without a screen to put it on, Chromium ends the worker that asks for a badge.
  all['badge'] = 0;
  navigator.setAppBadge = (count) => Promise.resolve(void (all['badge'] = count));
  navigator.clearAppBadge = () => Promise.resolve(void (all['badge'] = 0));

  const registration = ServiceWorkerRegistration.prototype;
  registration.showNotification = async (title, options) => {
    const { body, tag, data, silent } = options!;
    await write(`/times/${tag}`, ((await read<number>(`/times/${tag}`)) ?? 0) + 1);
    await write(`/notification/${tag}`, { title, body, tag, data: data as unknown, silent: silent === true });
  };
  registration.getNotifications = async ({ tag } = {}) => {
    const cache = await caches.open(name);
    const found: Notification[] = [];
    for (const { url } of await cache.keys()) {
      const { pathname } = new URL(url);
      if (!pathname.startsWith('/notification/')) continue;
      const standing = (await read<Notification>(pathname))!;
      if (tag === undefined || standing.tag === tag) found.push(Object.assign(standing, { close: () => void cache.delete(pathname) }));
    }
    return found;
  };

  interface Pushes {
    made: number;
    key?: string;
  }
  const subscriptionOf = ({ made, key }: Pushes) => {
    const { endpoint, p256dh, auth } = subscriptions[made - 1]!;
    const bytes = Uint8Array.from(atob(key!.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
    return {
      endpoint,
      options: { applicationServerKey: bytes.buffer },
      toJSON: () => ({ endpoint, keys: { p256dh, auth } }),
      unsubscribe: async () => (await write('/pushes', { made }), true),
    };
  };
  const manager = {
    async getSubscription() {
      const pushes = await read<Pushes>('/pushes');
      return pushes?.key === undefined ? null : subscriptionOf(pushes);
    },
    async subscribe({ applicationServerKey }: { applicationServerKey: string }) {
      const made = ((await read<Pushes>('/pushes'))?.made ?? 0) + 1;
      if (made > subscriptions.length) throw new DOMException('Registration failed - push service error', 'AbortError');
      await write('/pushes', { made, key: applicationServerKey });
      return subscriptionOf({ made, key: applicationServerKey });
    },
  };
  Object.defineProperty(registration, 'pushManager', { get: () => manager });

  if (storage) return;
  // The service worker takes pushes at the same time, and shows things for them in any order: how many is it done with?
  all['taken'] = 0;
  const event = (all['ExtendableEvent'] as { prototype: Event & { waitUntil(work: Promise<unknown>): void } }).prototype;
  const { waitUntil } = event;
  event.waitUntil = function (work) {
    waitUntil.call(this, work);
    const count = (): void => void (all['taken'] = (all['taken'] as number) + 1);
    if (this.type === 'push') void work.catch(() => undefined).finally(count);
  };
}

/** A browser that can be notified. */
export class PushBrowser {
  readonly context: BrowserContext;
  readonly #site: Site;
  /** What it subscribes with, one after the other. */
  readonly devices: Device[];
  #registered: Promise<{ session: CDPSession; registrationId: string }> | undefined;

  private constructor(site: Site, context: BrowserContext, devices: Device[]) {
    this.#site = site;
    this.context = context;
    this.devices = devices;
  }

  /**
   * Signs somebody in, in a browser that can be notified.
   *
   * @param options.answer  What the person says when the browser asks. Default: granted.
   * @param options.subscriptions  How many the push service gives before it refuses. Default: 3.
   */
  static async signIn(
    site: Site,
    service: PushService,
    who: Person,
    { answer = 'granted', subscriptions = 3, ...options }: { answer?: NotificationPermission; subscriptions?: number } & BrowserContextOptions = {},
  ): Promise<{ one: Someone; browser: PushBrowser }> {
    const devices = Array.from({ length: subscriptions }, () => service.device());
    const given = { subscriptions: devices.map((device) => device.subscription), answer };
    const page = await site.openBrowser({ storageState: site.stateOf(who), ...options });
    const context = page.context();
    await context.addInitScript(standIn, given);
    const browser = new PushBrowser(site, context, devices);
    await page.goto('/');
    // Touched: else it may make no sound.
    await page.getByRole('link', { name: 'Chats' }).click();
    const one = { page, name: who.user.name, handle: who.handle! };
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    await browser.worker.evaluate(standIn, given);
    return { one, browser };
  }

  /** It runs for as long as the test, because the test has its hands on it. */
  get worker(): Worker {
    return this.context.serviceWorkers()[0]!;
  }

  /** Another tab of it. */
  async openTab(path: string): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(path);
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    return page;
  }

  /** Hands a push to the service worker, as a push service does in the end, and waits until it is done with it. */
  async deliver(payload: unknown): Promise<void> {
    this.#registered ??= this.#watchRegistration();
    const { session, registrationId } = await this.#registered;
    const before = await this.worker.evaluate(() => (globalThis as unknown as { taken: number }).taken);
    await session.send('ServiceWorker.deliverPushMessage', { origin: this.#site.server.url, registrationId, data: JSON.stringify(payload) });
    await this.worker.evaluate(async (count) => {
      while ((globalThis as unknown as { taken: number }).taken === count) await new Promise((resolve) => setTimeout(resolve, 10));
    }, before);
  }

  /** Kept for as long as the browser: with the session that asked, Chromium would end the worker too. */
  async #watchRegistration(): Promise<{ session: CDPSession; registrationId: string }> {
    const session = await this.context.newCDPSession(this.context.pages()[0]!);
    const registrationId = await new Promise<string>((resolve, reject) => {
      session.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
        const found = registrations.find(({ scopeURL, isDeleted }) => scopeURL.startsWith(this.#site.server.url) && !isDeleted);
        if (found) resolve(found.registrationId);
      });
      session.send('ServiceWorker.enable').catch(reject);
    });
    return { session, registrationId };
  }

  /** The notifications that stand now. */
  async standing(): Promise<Standing[]> {
    return this.worker.evaluate(async () => {
      const worker = globalThis as unknown as { registration: ServiceWorkerRegistration };
      return (await worker.registration.getNotifications()).map(({ title, body, tag, silent }) => ({ title, body, tag, silent: silent === true }));
    });
  }

  /** A call in the name of this browser, past its pages. */
  async ask(method: MethodName): Promise<unknown> {
    const answer = await this.context.request.post(`/api/${method}`, { data: {}, headers: { origin: this.#site.server.url } });
    return answer.json();
  }

  /** The browser gives the subscription up, and says so to the service worker. */
  async changeSubscription(): Promise<void> {
    await this.worker.evaluate(async () => {
      const work: Promise<unknown>[] = [];
      dispatchEvent(Object.assign(new Event('pushsubscriptionchange'), { waitUntil: (promise: Promise<unknown>) => work.push(promise) }));
      await Promise.all(work);
    });
  }

  /** How often a notification with this tag was put up. */
  times(tag: string): Promise<number> {
    return this.worker.evaluate(async (wanted) => ((await (await caches.match(`/times/${wanted}`))?.json()) ?? 0) as number, tag);
  }

  /** The mark that the service worker has put on the application's icon. */
  badge(): Promise<number> {
    return this.worker.evaluate(() => (globalThis as unknown as { badge: number }).badge);
  }

  /** Clicks on the notification with this tag. @returns the address of the page that was opened for it, if one was */
  async click(tag: string): Promise<string | undefined> {
    return this.worker.evaluate(async (wanted) => {
      const worker = globalThis as unknown as { registration: ServiceWorkerRegistration; clients: { openWindow(url: string): Promise<null> } };
      const [notification] = await worker.registration.getNotifications({ tag: wanted });
      let opened: string | undefined;
      // Chromium opens no window without a finger on the screen.
      worker.clients.openWindow = (url) => {
        opened = url;
        return Promise.resolve(null);
      };
      const work: Promise<unknown>[] = [];
      dispatchEvent(Object.assign(new Event('notificationclick'), { notification, waitUntil: (promise: Promise<unknown>) => work.push(promise) }));
      await Promise.all(work);
      return opened;
    }, tag);
  }
}

/** The person turns to another window. */
export const lookAway = (page: Page): Promise<void> =>
  page.evaluate(() => {
    document.hasFocus = () => false;
    dispatchEvent(new Event('blur'));
  });

/** … and back. */
export const lookBack = (page: Page): Promise<void> =>
  page.evaluate(() => {
    document.hasFocus = () => true;
    dispatchEvent(new Event('focus'));
  });

export const sounds = (page: Page): Promise<number> => page.evaluate(() => (globalThis as unknown as { sounds: number }).sounds);
