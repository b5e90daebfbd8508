import type { ConversationView } from '@kith/client';
import { t } from '../i18n.ts';
import { attempt } from './useClient.ts';
import { isMuted } from './useConversations.ts';
import { type MenuItem, useMenu } from './useMenu.ts';
import { useReadMarks } from './useReadMarks.ts';

const hourMs = 3_600_000;

/** What can be done with a conversation from the list, on right click, long press or the menu key. */
export function useConversationMenu() {
  const { openAt } = useMenu();
  const { setRead, readAll, anyUnread } = useReadMarks();
  return (event: MouseEvent, view: ConversationView, title: string) => {
    const { id: conversationId, inbox, unread } = view;
    const mute = (until: number) => void attempt('conversation.mute', { conversationId, until });
    const items: MenuItem[] = [];
    items.push({ label: t(unread > 0 ? 'list.markRead' : 'list.markUnread'), icon: unread > 0 ? 'ticks' : 'unread', run: () => setRead(view, unread > 0) });
    // What waits to be accepted is nobody's to arrange yet.
    if (!inbox.request) {
      const pinned = inbox.pinnedAt > 0;
      items.push({ label: t(pinned ? 'list.unpin' : 'group.pin'), icon: 'pin', run: () => void attempt('conversation.pin', { conversationId, on: !pinned }) });
      if (isMuted(view)) items.push({ label: t('mute.end'), icon: 'bell', run: () => mute(0) });
      else
        items.push(
          { label: t('mute.hour'), icon: 'mute', run: () => mute(Date.now() + hourMs) },
          { label: t('mute.hours'), icon: 'mute', run: () => mute(Date.now() + 8 * hourMs) },
          { label: t('mute.ever'), icon: 'mute', run: () => mute(Number.MAX_SAFE_INTEGER) },
        );
    }
    if (anyUnread()) items.push({ label: t('list.readAll'), icon: 'ticks', run: readAll });
    openAt(event, { label: t('list.actions', { title }), items });
  };
}
