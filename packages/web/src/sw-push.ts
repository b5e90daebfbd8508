import type { PushPayload } from '@kith/protocol';
import { keptLanguage, noticeOf, pathOf, putUp, reportsPath, reportsTag, titled } from './composables/notices.ts';
import { playTime } from './composables/play-time.ts';
import { hasDuty, lookedAt } from './composables/tabs.ts';
import { notification as english } from './locales/en.json';
import { notification as chinese } from './locales/zh-CN.json';
import { type NotificationEvent, scope } from './sw-scope.ts';

type Of<T extends PushPayload['type']> = Extract<PushPayload, { type: T }>;

const { registration } = scope;

/** What comes while no page is open: shows it, takes it back, and opens what is clicked. */
export function takePushes(): void {
  scope.addEventListener('push', (event) => event.waitUntil(take(parse(event.data?.text()))));
  scope.addEventListener('notificationclick', (event) => event.waitUntil(open(event)));
  scope.addEventListener('pushsubscriptionchange', (event) => event.waitUntil(subscribeAnew()));
}

/** What our server encrypted for this device: nobody else can, so its shape is not checked again. */
function parse(payload: string | undefined): PushPayload | undefined {
  try {
    return JSON.parse(payload ?? '') as PushPayload;
  } catch {
    return undefined;
  }
}

async function take(push: PushPayload | undefined): Promise<void> {
  switch (push?.type) {
    case 'message':
      return showMessage(push);
    case 'read':
      return takeBack(push);
    case 'report':
      return registration.showNotification(await text('notification.report'), { tag: reportsTag, icon: '/icon.svg', silent: await hasDuty('kith.notifications') });
    case 'test':
      return showTest();
    default:
      // Of a newer server. Browsers take the subscription away from who shows nothing.
      return registration.showNotification(await text('notification.unknown'), { tag: 'unknown', icon: '/icon.svg', silent: true });
  }
}

async function showMessage({ conversationId, seq, count, unread, title, body, voiceMs, media }: Of<'message'>): Promise<void> {
  setBadge(unread);
  const [standing] = await registration.getNotifications({ tag: conversationId });
  const known = standing && (noticeOf(standing)?.seq ?? 0) >= seq;
  // A page that is in sight shows it. One that is open and not in sight has told of it.
  if (!known && (await lookedAt()).size > 0) return;
  const silent = known || (await hasDuty('kith.notifications'));
  if (known) return putUp(registration, standing.title, { conversationId, seq }, { body: standing.body, silent, again: false });
  // Without content it says that there is something, and no more.
  const words =
    title === undefined
      ? { title: await text('notification.app'), body: await text('notification.new') }
      : {
          title,
          body: [body, voiceMs !== undefined ? `${await text('notification.voice')} ${playTime(voiceMs)}` : media && (await text(`notification.${media}`))]
            .filter(Boolean)
            .join(': '),
        };
  await putUp(registration, titled(words.title, count), { conversationId, seq }, { body: words.body, silent, again: !silent });
}

async function takeBack({ conversationId, unread }: Of<'read'>): Promise<void> {
  setBadge(unread);
  for (const standing of await registration.getNotifications({ tag: conversationId })) {
    // Every push has to show something: the same once more without a sound, and then it goes.
    const notice = noticeOf(standing);
    if (notice) await putUp(registration, standing.title, notice, { body: standing.body, silent: true, again: false });
  }
  for (const standing of await registration.getNotifications({ tag: conversationId })) standing.close();
}

async function showTest(): Promise<void> {
  await registration.showNotification(await text('notification.testTitle'), { body: await text('notification.testPush'), tag: 'test-push', icon: '/icon.svg' });
  for (const page of await scope.clients.matchAll({ type: 'window', includeUncontrolled: true })) page.postMessage({ arrived: 'test' });
}

async function open({ notification }: NotificationEvent): Promise<void> {
  notification.close();
  const notice = noticeOf(notification);
  const pages = await scope.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const page = pages.find(({ visibilityState }) => visibilityState === 'visible') ?? pages[0];
  const reports = notification.tag === reportsTag;
  if (!page) return void (await scope.clients.openWindow(reports ? reportsPath : notice ? pathOf(notice) : '/'));
  if (reports) page.postMessage({ reports });
  else if (notice) page.postMessage({ open: notice });
  // Refused where the browser saw no click; the conversation is open all the same.
  await page.focus().catch(() => undefined);
}

/** The browser has given the subscription up: another one, told to the server in the name of who is signed in. */
async function subscribeAnew(): Promise<void> {
  const { publicKey } = await ask<{ publicKey: string }>('push.key', {});
  const subscription = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: publicKey });
  const { endpoint, keys } = subscription.toJSON();
  await ask('push.subscribe', { endpoint, p256dh: keys!['p256dh'], auth: keys!['auth'], publicKey });
}

async function ask<T>(method: string, params: object): Promise<T> {
  const answer = await fetch(`/api/${method}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(params) });
  if (!answer.ok) throw new Error(`${method} answered ${answer.status}`);
  return (await answer.json()) as T;
}

function setBadge(unread: number): void {
  const { setAppBadge, clearAppBadge } = navigator as Partial<Navigator>;
  void (unread ? setAppBadge?.call(navigator, unread) : clearAppBadge?.call(navigator))?.catch(() => undefined);
}

async function text(key: `notification.${keyof typeof english}`): Promise<string> {
  const chosen = (await keptLanguage()) ?? navigator.language;
  return (/^zh/i.test(chosen) ? chinese : english)[key.split('.')[1] as keyof typeof english];
}
