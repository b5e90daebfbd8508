/** What stands in the browser's list of notifications: one for each conversation, whoever puts it there, a page or the service worker. */
export interface Notice {
  conversationId: string;
  /** Of the newest message it tells of, and what a click opens. */
  seq: number;
}

/** The language of the service worker's words: the person's choice is kept where a worker cannot read it. */
const languageCache = 'kith.language';
const languageKey = '/language';

export const noticeOf = (notification: Notification): Notice | undefined => notification.data as Notice | undefined;

/** Where a click on it leads. */
export const pathOf = ({ conversationId, seq }: Notice): string => `/c/${conversationId}?m=${seq}`;

/** What tells an operator of a report has this tag, and leads there. */
export const reportsTag = 'reports';
export const reportsPath = '/settings/reports';

/** With the number of messages where it is not one. */
export const titled = (title: string, count: number): string => (count > 1 ? `${title} (${count})` : title);

/**
 * Puts up the notification of a conversation in place of the one before.
 *
 * @param options.silent  Without the system's own sound.
 */
export function putUp(registration: ServiceWorkerRegistration, title: string, notice: Notice, options: { body: string; silent: boolean; again: boolean }): Promise<void> {
  const { body, silent, again } = options;
  const more = { body, tag: notice.conversationId, data: notice, icon: '/icon.svg', silent, renotify: again };
  return registration.showNotification(title, more);
}

export async function keepLanguage(language: string): Promise<void> {
  await (await caches.open(languageCache)).put(languageKey, new Response(language));
}

/** @returns undefined: never kept */
export async function keptLanguage(): Promise<string | undefined> {
  return (await caches.match(languageKey, { cacheName: languageCache }))?.text();
}
