import type { Client } from '@kith/client';
import { type Message, plainText } from '@kith/protocol';
import { watch } from 'vue';
import type { Router } from 'vue-router';
import { language, t } from '../i18n.ts';
import { fileInWords } from './file-words.ts';
import { keepLanguage, noticeOf, pathOf, putUp, reportsPath, titled } from './notices.ts';
import { lookAt, lookedAt, takeDuty } from './tabs.ts';
import { clientNow } from './useClient.ts';
import { isMuted } from './useConversations.ts';
import { usePeople } from './usePeople.ts';
import { findRegistration, usePushDevice } from './usePushDevice.ts';
import { useQuietHours } from './useQuietHours.ts';
import { useSound } from './useSound.ts';
import { useTitle } from './useTitle.ts';

/** As much of a message as a notification can show. UTF-16 units. */
const shownText = 300;

/**
 * Tells of new messages while a page is open: by a sound, and by a notification when the person is elsewhere. To be
 * called once; follows whoever is signed in.
 */
export function useNotifications(router: Router): void {
  const { ring, prepareSound } = useSound();
  const { on, renew, forget } = usePushDevice();
  const { isQuietNow, content } = useQuietHours();
  const { title } = useTitle();
  const { person } = usePeople();
  const isOurs = takeDuty('kith.notifications');
  prepareSound();

  // One after the other: what is read while a notification is on its way is closed behind it.
  let work = Promise.resolve();
  const inTurn = (job: () => Promise<void>): void => void (work = work.then(job).catch((error: unknown) => console.warn('kith: notification', error)));

  async function tell(client: Client, { id, conversationId, seq, senderId }: Message): Promise<void> {
    const view = client.conversation(conversationId);
    const message = client.store.get('message', id);
    if (!view || !message || message.deletedAt || view.readSeq >= seq || isMuted(view) || isQuietNow()) return;
    if (client.store.get('friend', senderId)?.blocked) return;
    const looked = await lookedAt();
    if (looked.has(conversationId)) return;
    ring();
    // Where any page of ours is in front of them, the page shows it.
    if (looked.size > 0 || !isOurs() || !on.value) return;
    const registration = await findRegistration();
    if (!registration) return;
    const name = person(senderId, conversationId).name;
    const said = view.inbox.request || !content.value ? t('notification.new') : plainText(message.text.slice(0, shownText)) || (fileInWords(message)?.word ?? '');
    const body = view.conversation.type === 'direct' ? said : t('list.from', { name, text: said });
    await putUp(registration, titled(title(view), view.unread), { conversationId, seq }, { body, silent: true, again: true });
  }

  /** What was read, here or elsewhere, recalled, or is of a conversation one is no longer in. */
  async function closeStale(client: Client): Promise<void> {
    for (const notification of (await (await findRegistration())?.getNotifications()) ?? []) {
      const notice = noticeOf(notification);
      if (!notice) continue;
      const view = client.conversation(notice.conversationId);
      if (!view || view.readSeq >= notice.seq || client.store.message(view.id, notice.seq)?.deletedAt) notification.close();
    }
  }

  let leave: (() => void)[] = [];
  watch(
    clientNow,
    (client, before) => {
      for (const end of leave) end();
      leave = [];
      if (before && !client) inTurn(forget);
      if (!client) return;
      const stale = (): void => inTurn(() => closeStale(client));
      let begun = false;
      const begin = (): void => {
        if (begun || client.connection.at !== 'ready') return;
        begun = true;
        stale();
        void renew();
      };
      leave.push(
        client.on('message', (message) => inTurn(() => tell(client, message))),
        client.store.watch(({ kinds }) => (kinds.has('inbox') || kinds.has('read') || kinds.has('message')) && stale()),
        client.onConnection(begin),
      );
      begin();
    },
    { immediate: true },
  );

  function look(): void {
    const here = clientNow.value && document.visibilityState === 'visible' && document.hasFocus();
    lookAt(here ? String(router.currentRoute.value.params['id'] ?? '') : undefined);
  }
  watch([clientNow, router.currentRoute], look, { immediate: true });
  for (const event of ['focus', 'blur']) addEventListener(event, look);
  document.addEventListener('visibilitychange', look);

  watch(language, (next) => 'caches' in globalThis && void keepLanguage(next), { immediate: true });
  // A click on a notification, told by the service worker.
  (navigator as Partial<Navigator>).serviceWorker?.addEventListener('message', ({ data }: MessageEvent<{ open?: Parameters<typeof pathOf>[0]; reports?: boolean }>) => {
    if (data.open) void router.push(pathOf(data.open));
    else if (data.reports) void router.push(reportsPath);
  });
}
